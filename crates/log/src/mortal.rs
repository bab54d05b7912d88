use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, pending};
use steadfast_core::{NodeId, secret::Secret};

use crate::{
    Claim, ClaimKey, Commit, CommitError, Committed, DueQuery, Identity, Lease, ListQuery, Listings, Log,
    Page, PayloadId, Position, Reading, Recorded, Snapshot, StreamId, WakeUp,
};

/// A node's way to the log, which ends at a chosen commit: from then on nothing the node
/// does has any effect, as after kill -9. Its tasks hang; they are the stale owner too.
pub struct Mortal {
    inner: Arc<dyn Log>,
    left: AtomicU64,
    /// The last commit happens, but its answer is lost.
    last_happens: bool,
}

impl Mortal {
    /// Ends at commit number `commits`, counted from 1. Does that last one happen, with
    /// its answer lost, or not at all?
    pub fn new(inner: Arc<dyn Log>, commits: u64, last_happens: bool) -> Self {
        Self { inner, left: AtomicU64::new(commits), last_happens }
    }

    fn dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

fn hang<'a, T: Send + 'a>() -> BoxFuture<'a, T> {
    pending().boxed()
}

macro_rules! alive {
    ($self:ident, $call:expr) => {
        if $self.dead() { hang() } else { $call }
    };
}

impl Log for Mortal {
    fn identity(&self) -> Identity {
        self.inner.identity()
    }
    fn payload_key(&self) -> Secret<Vec<u8>> {
        self.inner.payload_key()
    }
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let before =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        match before {
            Ok(0) => hang(),
            Ok(1) => {
                if self.last_happens {
                    return async move {
                        drop(self.inner.commit(commit).await);
                        pending().await
                    }
                    .boxed();
                }
                hang()
            }
            _ => self.inner.commit(commit),
        }
    }
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        alive!(self, self.inner.read_stream(stream, from, limit))
    }
    fn read_stream_back<'a>(
        &'a self,
        stream: &'a StreamId,
        before: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        alive!(self, self.inner.read_stream_back(stream, before, limit))
    }
    fn read_all(&self, after: Position, limit: usize) -> Reading<'_, Page> {
        alive!(self, self.inner.read_all(after, limit))
    }
    fn head<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, u64> {
        alive!(self, self.inner.head(stream))
    }
    fn claim(&self, key: ClaimKey) -> Reading<'_, Option<Claim>> {
        alive!(self, self.inner.claim(key))
    }
    fn payload(&self, id: PayloadId) -> Reading<'_, Option<Bytes>> {
        alive!(self, self.inner.payload(id))
    }
    fn due(&self, query: DueQuery) -> Reading<'_, Vec<WakeUp>> {
        alive!(self, self.inner.due(query))
    }
    fn list(&self, query: ListQuery) -> Reading<'_, Listings> {
        alive!(self, self.inner.list(query))
    }
    fn count(&self, query: ListQuery) -> Reading<'_, u64> {
        alive!(self, self.inner.count(query))
    }
    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, Option<Snapshot>> {
        alive!(self, self.inner.snapshot(stream))
    }
    fn put_snapshot(&self, stream: StreamId, snapshot: Snapshot) -> Reading<'_, ()> {
        alive!(self, self.inner.put_snapshot(stream, snapshot))
    }
    fn checkpoint<'a>(&'a self, subscriber: &'a str) -> Reading<'a, Option<Position>> {
        alive!(self, self.inner.checkpoint(subscriber))
    }
    fn lease<'a>(&'a self, name: &'a str, holder: NodeId, ttl: Duration) -> Reading<'a, Lease> {
        alive!(self, self.inner.lease(name, holder, ttl))
    }
    fn release<'a>(&'a self, name: &'a str, holder: NodeId) -> Reading<'a, ()> {
        alive!(self, self.inner.release(name, holder))
    }
    fn tail(&self) -> tokio::sync::watch::Receiver<Position> {
        self.inner.tail()
    }
}
