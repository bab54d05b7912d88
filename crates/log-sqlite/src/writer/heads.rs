use std::num::NonZeroUsize;

use lru::LruCache;
use steadfast_log::StreamId;

/// Where a stream stands.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    /// Its short number; 0 when it has none yet.
    pub(super) key: i64,
    /// Its last version.
    pub(super) version: u64,
}

/// The heads of the streams last used, so that an append needs no look-up.
pub(super) struct Heads(LruCache<StreamId, Head>);

impl Heads {
    pub(super) fn new(limit: NonZeroUsize) -> Self {
        Self(LruCache::new(limit))
    }
    pub(super) fn get(&mut self, stream: &StreamId) -> Option<Head> {
        self.0.get(stream).copied()
    }
    pub(super) fn put(&mut self, stream: &StreamId, head: Head) {
        match self.0.get_mut(stream) {
            Some(known) => *known = head,
            None => drop(self.0.put(stream.clone(), head)),
        }
    }
    /// Forgets everything: what was read since belongs to a transaction that is gone.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
