//! A way to the log on which commits can fail, events can be of another kind, and streams
//! are read only with something scarce in hand.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use steadfast_core::World;
use steadfast_log::{
    Between, Commit, CommitError, Committed, Log, MemoryLog, ReadError, Reading, Recorded, StreamId,
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
    /// Events of streams that were read.
    pub(crate) read: AtomicUsize,
    /// Streams whose first events the store cannot give.
    pub(crate) corrupt: Mutex<HashSet<StreamId>>,
    /// How long a read of a stream takes.
    slow: Option<(World, Duration)>,
    reading: AtomicUsize,
    /// Reads of streams at the same time, at most.
    pub(crate) most_reading: AtomicUsize,
}

impl Through {
    /// `refuse` says which commits fail; nothing of those happens.
    pub(crate) fn new(
        inner: Arc<MemoryLog>,
        refuse: impl FnMut(&Commit) -> Option<CommitError> + Send + 'static,
    ) -> Self {
        let refuse: Mutex<Refuse> = Mutex::new(Box::new(refuse));
        Self {
            inner,
            refuse,
            reads_as: None,
            scarce: None,
            queued: AtomicUsize::default(),
            read: AtomicUsize::default(),
            corrupt: Mutex::default(),
            slow: None,
            reading: AtomicUsize::default(),
            most_reading: AtomicUsize::default(),
        }
    }
    /// On which streams are read with a permit only, first come, first served.
    pub(crate) fn sharing(mut self, scarce: Arc<Semaphore>) -> Self {
        self.scarce = Some(scarce);
        self
    }
    /// On which a read of a stream takes some time.
    pub(crate) fn slow(mut self, world: &World, each: Duration) -> Self {
        self.slow = Some((world.clone(), each));
        self
    }
    /// As seen by a binary that knows the first kind, as it does the second.
    pub(crate) fn knowing(mut self, kind: &'static str, as_kind: &'static str) -> Self {
        self.reads_as = Some((kind, as_kind));
        self
    }
}

impl Between for Through {
    fn store(&self) -> &dyn Log {
        &*self.inner
    }
    fn carry(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let refused = (self.refuse.lock().expect("a lock"))(&commit);
        match refused {
            Some(error) => async { Err(error) }.boxed(),
            None => self.inner.commit(commit),
        }
    }
    fn fetch_stream<'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, Vec<Recorded>> + Send + 'a,
    ) -> Reading<'a, Vec<Recorded>> {
        let read = ask(&*self.inner);
        async move {
            self.queued.fetch_add(1, Ordering::SeqCst);
            let permit = match &self.scarce {
                Some(scarce) => Some(scarce.acquire().await.expect("never closed")),
                None => None,
            };
            self.queued.fetch_sub(1, Ordering::SeqCst);
            let reading = self.reading.fetch_add(1, Ordering::SeqCst) + 1;
            self.most_reading.fetch_max(reading, Ordering::SeqCst);
            if let Some((world, each)) = &self.slow {
                world.clock().sleep(*each).await;
            }
            self.reading.fetch_sub(1, Ordering::SeqCst);
            let mut events = read.await?;
            drop(permit);
            let corrupt = self.corrupt.lock().expect("a lock");
            if events.first().is_some_and(|event| event.version == 1 && corrupt.contains(&event.stream)) {
                return Err(ReadError::Corrupt("a page that is not as it was written".into()));
            }
            drop(corrupt);
            self.read.fetch_add(events.len(), Ordering::SeqCst);
            for event in &mut events {
                if let Some((_, known)) = self.reads_as.filter(|(kind, _)| *kind == event.event.kind) {
                    (event.event.kind, event.event.schema) = (known.into(), 1);
                }
            }
            Ok(events)
        }
        .boxed()
    }
}
