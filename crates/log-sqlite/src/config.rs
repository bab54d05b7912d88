use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::config::{Period, positive};

/// How the store on SQLite works. Where it is, is said elsewhere, as `sqlite:PATH`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Commits that are written in one transaction and synced together, at most. A
    /// larger group carries more commits a second and makes each wait longer.
    pub max_group: NonZeroUsize,
    /// Commits that may wait for the writer; further ones wait outside, unread.
    pub queue: NonZeroUsize,
    /// Connections that read. Each one keeps up to 2 MiB of pages.
    pub readers: NonZeroUsize,
    /// Streams whose last version is kept in memory, at roughly 200 bytes each.
    pub heads: NonZeroUsize,
    /// Pages of 4 KiB in the write-ahead log before they are moved into the file. More
    /// pages make fewer, longer moves, and a slower start after a crash.
    pub checkpoint_pages: NonZeroU32,
    /// How long after their end the events of runs stay in the store, before they are
    /// sealed into segment files beside it. Books stay for ever.
    #[serde(deserialize_with = "positive")]
    pub runs_kept: Period,
    /// How long a large value outlives the last thing that refers to it. Must be longer
    /// than the longest backup takes.
    #[serde(deserialize_with = "positive")]
    pub payload_grace: Period,
}

impl Default for StoreConfig {
    #[expect(clippy::unwrap_used, reason = "literals above zero")]
    fn default() -> Self {
        Self {
            max_group: NonZeroUsize::new(256).unwrap(),
            queue: NonZeroUsize::new(1_024).unwrap(),
            readers: NonZeroUsize::new(4).unwrap(),
            heads: NonZeroUsize::new(65_536).unwrap(),
            checkpoint_pages: NonZeroU32::new(8_192).unwrap(),
            runs_kept: Duration::from_hours(30 * 24).into(),
            payload_grace: Duration::from_hours(24).into(),
        }
    }
}
