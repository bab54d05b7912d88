use std::sync::Arc;

use steadfast_core::{World, observe::Observer};
use steadfast_log::{Cipher, Plain};

use crate::StoreConfig;

/// What a store is opened with.
#[derive(Clone)]
pub struct Options {
    /// How it works.
    pub config: StoreConfig,
    /// Time and chance.
    pub world: World,
    /// What payloads pass on their way to and from the file.
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

/// Counts since the store was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Commits that were written.
    pub commits: u64,
    /// Events in them.
    pub events: u64,
    /// Transactions, each one sync of the write-ahead log.
    pub syncs: u64,
}
