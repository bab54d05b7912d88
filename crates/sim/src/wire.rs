//! A node's way to the store, on which things go wrong.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use steadfast_core::{NodeId, World, secret::Secret};
use steadfast_log::{
    Claim, ClaimKey, Commit, CommitError, Committed, DueQuery, Identity, Lease, ListQuery, Listings, Log,
    Page, PayloadId, Position, ReadError, Reading, Recorded, Snapshot, StreamId, WakeUp,
};

use crate::{
    node::Traffic,
    plan::{Fate, Fault},
};

pub(crate) struct Wire {
    pub(crate) store: Arc<dyn Log>,
    pub(crate) world: World,
    pub(crate) fate: Fate,
    pub(crate) traffic: Traffic,
}

impl Wire {
    async fn delay(&self) {
        if self.fate.strikes(Fault::Slow) {
            let millis = 1 << self.fate.below(13);
            self.world.clock().sleep(Duration::from_millis(millis)).await;
        }
    }

    fn read<'a, T: Send + 'a>(&'a self, read: Reading<'a, T>) -> Reading<'a, T> {
        async move {
            self.delay().await;
            if self.fate.strikes(Fault::ReadFails) {
                return Err(ReadError::Unavailable("simulated".into()));
            }
            read.await
        }
        .boxed()
    }
}

impl Log for Wire {
    fn identity(&self) -> Identity {
        self.store.identity()
    }
    fn payload_key(&self) -> Secret<Vec<u8>> {
        self.store.payload_key()
    }
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        async move {
            self.delay().await;
            if self.fate.disk_is_full(self.world.clock().elapsed()) || self.fate.strikes(Fault::CommitRefused)
            {
                return Err(CommitError::Unavailable("simulated".into()));
            }
            if self.fate.strikes(Fault::CommitLost) {
                return Err(CommitError::Unknown("simulated".into()));
            }
            let committed = self.store.commit(commit).await;
            self.traffic.note();
            self.delay().await;
            if self.fate.strikes(Fault::AnswerLost) {
                return Err(CommitError::Unknown("simulated".into()));
            }
            committed
        }
        .boxed()
    }
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        self.read(self.store.read_stream(stream, from, limit))
    }
    fn read_stream_back<'a>(
        &'a self,
        stream: &'a StreamId,
        before: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        self.read(self.store.read_stream_back(stream, before, limit))
    }
    fn read_all(&self, after: Position, limit: usize) -> Reading<'_, Page> {
        self.read(self.store.read_all(after, limit))
    }
    fn head<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, u64> {
        self.read(self.store.head(stream))
    }
    fn claim(&self, key: ClaimKey) -> Reading<'_, Option<Claim>> {
        self.read(self.store.claim(key))
    }
    fn payload(&self, id: PayloadId) -> Reading<'_, Option<Bytes>> {
        self.read(self.store.payload(id))
    }
    fn due(&self, query: DueQuery) -> Reading<'_, Vec<WakeUp>> {
        self.read(self.store.due(query))
    }
    fn list(&self, query: ListQuery) -> Reading<'_, Listings> {
        self.read(self.store.list(query))
    }
    fn count(&self, query: ListQuery) -> Reading<'_, u64> {
        self.read(self.store.count(query))
    }
    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, Option<Snapshot>> {
        self.read(self.store.snapshot(stream))
    }
    fn put_snapshot(&self, stream: StreamId, snapshot: Snapshot) -> Reading<'_, ()> {
        self.read(self.store.put_snapshot(stream, snapshot))
    }
    fn checkpoint<'a>(&'a self, subscriber: &'a str) -> Reading<'a, Option<Position>> {
        self.read(self.store.checkpoint(subscriber))
    }
    fn lease<'a>(&'a self, name: &'a str, holder: NodeId, ttl: Duration) -> Reading<'a, Lease> {
        self.read(self.store.lease(name, holder, ttl))
    }
    fn release<'a>(&'a self, name: &'a str, holder: NodeId) -> Reading<'a, ()> {
        self.read(self.store.release(name, holder))
    }
    fn tail(&self) -> tokio::sync::watch::Receiver<Position> {
        self.store.tail()
    }
}
