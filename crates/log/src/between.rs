use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use steadfast_core::{NodeId, secret::Secret};
use tokio::sync::watch;

use crate::{
    Claim, ClaimKey, Commit, CommitError, Committed, DueQuery, Identity, Lease, ListQuery, Listings, Log,
    Page, PayloadId, Position, Reading, Recorded, Snapshot, StreamId, WakeUp,
};

/// Something between a node and its store, on which things go wrong as a test wants them to.
/// It is a [`Log`] by that; what it leaves out goes straight through.
pub trait Between: Send + Sync + 'static {
    /// The store behind it.
    fn store(&self) -> &dyn Log;
    /// What a node knows of the end of the log.
    fn hear_tail(&self) -> watch::Receiver<Position> {
        self.store().tail()
    }
    /// A commit on its way.
    fn carry(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        self.store().commit(commit)
    }
    /// Anything else that is asked of the store, leases and snapshots included. What `ask` is
    /// not called for does not happen.
    fn fetch<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, T> + Send + 'a,
    ) -> Reading<'a, T> {
        ask(self.store())
    }
    /// A read of a stream.
    fn fetch_stream<'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, Vec<Recorded>> + Send + 'a,
    ) -> Reading<'a, Vec<Recorded>> {
        self.fetch(ask)
    }
    /// A look at a claim.
    fn fetch_claim<'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, Option<Claim>> + Send + 'a,
    ) -> Reading<'a, Option<Claim>> {
        self.fetch(ask)
    }
}

impl<B: Between> Log for B {
    fn identity(&self) -> Identity {
        self.store().identity()
    }
    fn payload_key(&self) -> Secret<Vec<u8>> {
        self.store().payload_key()
    }
    fn tail(&self) -> watch::Receiver<Position> {
        self.hear_tail()
    }
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        self.carry(commit)
    }
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        self.fetch_stream(move |store| store.read_stream(stream, from, limit))
    }
    fn read_stream_back<'a>(
        &'a self,
        stream: &'a StreamId,
        before: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        self.fetch(move |store| store.read_stream_back(stream, before, limit))
    }
    fn read_all(&self, after: Position, limit: usize) -> Reading<'_, Page> {
        self.fetch(move |store| store.read_all(after, limit))
    }
    fn head<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, u64> {
        self.fetch(move |store| store.head(stream))
    }
    fn claim(&self, key: ClaimKey) -> Reading<'_, Option<Claim>> {
        self.fetch_claim(move |store| store.claim(key))
    }
    fn payload(&self, id: PayloadId) -> Reading<'_, Option<Bytes>> {
        self.fetch(move |store| store.payload(id))
    }
    fn due(&self, query: DueQuery) -> Reading<'_, Vec<WakeUp>> {
        self.fetch(move |store| store.due(query))
    }
    fn list(&self, query: ListQuery) -> Reading<'_, Listings> {
        self.fetch(move |store| store.list(query))
    }
    fn count(&self, query: ListQuery) -> Reading<'_, u64> {
        self.fetch(move |store| store.count(query))
    }
    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, Option<Snapshot>> {
        self.fetch(move |store| store.snapshot(stream))
    }
    fn put_snapshot(&self, stream: StreamId, snapshot: Snapshot) -> Reading<'_, ()> {
        self.fetch(move |store| store.put_snapshot(stream, snapshot))
    }
    fn checkpoint<'a>(&'a self, subscriber: &'a str) -> Reading<'a, Option<Position>> {
        self.fetch(move |store| store.checkpoint(subscriber))
    }
    fn lease<'a>(&'a self, name: &'a str, holder: NodeId, ttl: Duration) -> Reading<'a, Lease> {
        self.fetch(move |store| store.lease(name, holder, ttl))
    }
    fn release<'a>(&'a self, name: &'a str, holder: NodeId) -> Reading<'a, ()> {
        self.fetch(move |store| store.release(name, holder))
    }
}
