//! A way to the log on which commits can fail, events can be of another kind, and streams
//! are read only with something scarce in hand.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use steadfast_core::{NodeId, secret::Secret};
use steadfast_log::{
    Claim, ClaimKey, Commit, CommitError, Committed, DueQuery, Identity, Lease, ListQuery, Listings, Log,
    MemoryLog, Page, PayloadId, Position, Reading, Recorded, Snapshot, StreamId, WakeUp,
};
use tokio::sync::Semaphore;

type Refuse = Box<dyn FnMut(&Commit) -> Option<CommitError> + Send>;

pub(crate) struct Through {
    inner: Arc<MemoryLog>,
    refuse: Mutex<Refuse>,
    /// How an event of the first kind reads.
    reads_as: Option<(&'static str, &'static str)>,
    /// What a read of a stream takes first.
    scarce: Option<Arc<Semaphore>>,
    /// Reads of streams that have not got it yet.
    pub(crate) queued: AtomicUsize,
}

impl Through {
    /// `refuse` says which commits fail; nothing of those happens.
    pub(crate) fn new(
        inner: Arc<MemoryLog>,
        refuse: impl FnMut(&Commit) -> Option<CommitError> + Send + 'static,
    ) -> Self {
        let refuse: Mutex<Refuse> = Mutex::new(Box::new(refuse));
        Self { inner, refuse, reads_as: None, scarce: None, queued: AtomicUsize::new(0) }
    }
    /// On which streams are read with a permit only, first come, first served.
    pub(crate) fn sharing(mut self, scarce: Arc<Semaphore>) -> Self {
        self.scarce = Some(scarce);
        self
    }
    /// As seen by a binary that knows the first kind, as it does the second.
    pub(crate) fn knowing(mut self, kind: &'static str, as_kind: &'static str) -> Self {
        self.reads_as = Some((kind, as_kind));
        self
    }
}

impl Log for Through {
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let refused = (self.refuse.lock().expect("a lock"))(&commit);
        match refused {
            Some(error) => async { Err(error) }.boxed(),
            None => self.inner.commit(commit),
        }
    }
    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        let read = self.inner.read_stream(stream, from, limit);
        async move {
            self.queued.fetch_add(1, Ordering::SeqCst);
            let permit = match &self.scarce {
                Some(scarce) => Some(scarce.acquire().await.expect("never closed")),
                None => None,
            };
            self.queued.fetch_sub(1, Ordering::SeqCst);
            let mut events = read.await?;
            drop(permit);
            for event in &mut events {
                if let Some((_, known)) = self.reads_as.filter(|(kind, _)| *kind == event.event.kind) {
                    (event.event.kind, event.event.schema) = (known.into(), 1);
                }
            }
            Ok(events)
        }
        .boxed()
    }
    fn identity(&self) -> Identity {
        self.inner.identity()
    }
    fn payload_key(&self) -> Secret<Vec<u8>> {
        self.inner.payload_key()
    }
    fn read_stream_back<'a>(
        &'a self,
        stream: &'a StreamId,
        before: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        self.inner.read_stream_back(stream, before, limit)
    }
    fn read_all(&self, after: Position, limit: usize) -> Reading<'_, Page> {
        self.inner.read_all(after, limit)
    }
    fn head<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, u64> {
        self.inner.head(stream)
    }
    fn claim(&self, key: ClaimKey) -> Reading<'_, Option<Claim>> {
        self.inner.claim(key)
    }
    fn payload(&self, id: PayloadId) -> Reading<'_, Option<Bytes>> {
        self.inner.payload(id)
    }
    fn due(&self, query: DueQuery) -> Reading<'_, Vec<WakeUp>> {
        self.inner.due(query)
    }
    fn list(&self, query: ListQuery) -> Reading<'_, Listings> {
        self.inner.list(query)
    }
    fn count(&self, query: ListQuery) -> Reading<'_, u64> {
        self.inner.count(query)
    }
    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, Option<Snapshot>> {
        self.inner.snapshot(stream)
    }
    fn put_snapshot(&self, stream: StreamId, snapshot: Snapshot) -> Reading<'_, ()> {
        self.inner.put_snapshot(stream, snapshot)
    }
    fn checkpoint<'a>(&'a self, subscriber: &'a str) -> Reading<'a, Option<Position>> {
        self.inner.checkpoint(subscriber)
    }
    fn lease<'a>(&'a self, name: &'a str, holder: NodeId, ttl: Duration) -> Reading<'a, Lease> {
        self.inner.lease(name, holder, ttl)
    }
    fn release<'a>(&'a self, name: &'a str, holder: NodeId) -> Reading<'a, ()> {
        self.inner.release(name, holder)
    }
    fn tail(&self) -> tokio::sync::watch::Receiver<Position> {
        self.inner.tail()
    }
}
