use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    World,
    config::{Period, positive},
    observe::Observer,
};
use steadfast_log::{Cipher, Plain};

/// How the store on PostgreSQL works. Where it is, is said elsewhere, as `postgres://…`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Commits that one node writes in one transaction, at most. A larger group carries
    /// more commits a second and makes each wait longer.
    pub max_group: NonZeroUsize,
    /// Commits that may wait for the writer; further ones wait outside, unread.
    pub queue: NonZeroUsize,
    /// Connections that read. Two more write and listen.
    pub readers: NonZeroUsize,
    /// How long an answer of the server, or a lock that another node holds, is waited for
    /// before the connection is given up. A longer time rides out longer stalls, and lets a
    /// node that vanished in the middle of a write hold up the others for longer.
    #[serde(deserialize_with = "positive")]
    pub timeout: Period,
}

impl Default for StoreConfig {
    #[expect(clippy::unwrap_used, reason = "literals above zero")]
    fn default() -> Self {
        Self {
            max_group: NonZeroUsize::new(256).unwrap(),
            queue: NonZeroUsize::new(1_024).unwrap(),
            readers: NonZeroUsize::new(4).unwrap(),
            timeout: Duration::from_secs(10).into(),
        }
    }
}

/// What a store is opened with.
#[derive(Clone)]
pub struct Options {
    /// How it works.
    pub config: StoreConfig,
    /// Time and chance.
    pub world: World,
    /// What payloads pass on their way to and from the database.
    pub cipher: Arc<dyn Cipher>,
    /// Who counts groups and errors.
    pub observer: Arc<dyn Observer>,
}

impl Options {
    /// Defaults: payloads are stored as they are and nobody counts.
    pub fn new(world: World) -> Self {
        Self {
            config: StoreConfig::default(),
            world,
            cipher: Arc::new(Plain),
            observer: steadfast_core::observe::silent(),
        }
    }
}
