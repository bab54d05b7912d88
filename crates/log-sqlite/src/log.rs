use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use rusqlite::{Connection, OptionalExtension};
use steadfast_core::{
    NodeId, World,
    secret::{SealError, Secret},
};
use steadfast_log::{
    Cipher, Claim, ClaimKey, Commit, CommitError, Committed, DueQuery, Identity, Lease, Leases, ListQuery,
    Listings, Log, Page, PayloadId, Position, ReadError, Reading, Recorded, Side, Snapshot, StreamId, WakeUp,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::{
    Options, Stats, StoreError,
    durable::Durable,
    file::{self, About, Lock},
    read::{self, Archive, Readers, Source, unreadable},
    writer::{self, Counters, Job, Prepared, Publisher, Work, Writer},
};

/// The log in one SQLite file.
///
/// Dropping it ends its threads, after everything that was queued has been written.
pub struct SqliteLog {
    pub(crate) path: PathBuf,
    pub(crate) source: Arc<Source>,
    held: AtomicBool,
    pub(crate) world: World,
    cipher: Arc<dyn Cipher>,
    pub(crate) readers: Readers,
    writing: Option<Writing>,
    leases: Mutex<Leases>,
    tail: watch::Receiver<Position>,
    counters: Arc<Counters>,
    #[cfg(test)]
    pub(crate) faults: Arc<writer::faults::Faults>,
}

/// A writer that works when it is polled.
#[cfg(feature = "simulation")]
pub type Polled = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// The way to the writer.
struct Writing {
    queue: Option<mpsc::UnboundedSender<Job>>,
    permits: Arc<Semaphore>,
    room: usize,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Writing {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer ended with a panic");
        }
    }
}

impl SqliteLog {
    /// Opens the file for reading and writing, making or migrating it if need be. Blocks
    /// for the time that takes.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let threads = options.config.readers.get();
        let readers = |path: &Path, durable| Readers::open(path, threads, durable);
        let (mut log, writer, conn, jobs) = Self::begin(path, options, readers)?;
        let thread = writer.start(conn, jobs)?;
        if let Some(writing) = &mut log.writing {
            writing.thread = Some(thread);
        }
        Ok(log)
    }

    /// The same without threads, for a simulation: reads are made by whoever asks, at once,
    /// and what is to be written is written whenever the future is polled, which nobody
    /// wakes. It ends after the log was dropped; dropping it earlier is a writer that dies.
    #[cfg(feature = "simulation")]
    pub fn open_polled(path: impl AsRef<Path>, options: Options) -> Result<(Self, Polled), StoreError> {
        let (log, writer, conn, jobs) = Self::begin(path.as_ref(), options, Readers::at_once)?;
        Ok((log, writer.polled(conn, jobs)))
    }

    fn begin(
        path: &Path,
        options: Options,
        readers: impl FnOnce(&Path, Arc<Durable>) -> Result<Readers, StoreError>,
    ) -> Result<(Self, Writer, Connection, mpsc::UnboundedReceiver<Job>), StoreError> {
        let lock = Lock::take(path)?;
        let conn = file::open_writing(path)?;
        file::prepare(&conn, path, &options.world)?;
        path.parent().map_or(Ok(()), file::sync_dir)?;
        let durable = Arc::new(Durable::default());
        let mut log = Self::over(path, &conn, &options, readers(path, durable.clone())?)?;
        let (queue, jobs) = mpsc::unbounded_channel();
        let (tail, seen) = watch::channel(Position {
            incarnation: log.source.about.incarnation(),
            shard: 0,
            n: file::last_n(&conn).map_err(StoreError::sqlite(path))?,
        });
        log.tail = seen;
        let room = options.config.queue.get();
        let permits = Arc::new(Semaphore::new(room));
        let writer = Writer {
            path: path.to_owned(),
            config: options.config,
            publisher: Publisher {
                world: options.world,
                observer: options.observer,
                tail,
                counters: log.counters.clone(),
                durable,
            },
            incarnation: log.source.about.incarnation(),
            lock,
            #[cfg(test)]
            faults: log.faults.clone(),
        };
        log.writing = Some(Writing { queue: Some(queue), permits, room, thread: None });
        Ok((log, writer, conn, jobs))
    }

    /// Opens the file for reading alone, beside a running server or without one. It
    /// sees what is committed at each read; its tail stands still.
    pub fn open_read_only(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let path = path.as_ref();
        let conn = file::open_reading(path)?;
        file::check_current(&conn, path)?;
        let readers = Readers::open(path, options.config.readers.get(), Arc::default())?;
        Self::over(path, &conn, &options, readers)
    }

    fn over(path: &Path, conn: &Connection, options: &Options, readers: Readers) -> Result<Self, StoreError> {
        let sqlite = StoreError::sqlite(path);
        let about = About::read(conn).map_err(&sqlite)?;
        let (_, tail) = watch::channel(Position {
            incarnation: about.incarnation(),
            shard: 0,
            n: file::last_n(conn).map_err(&sqlite)?,
        });
        Ok(Self {
            path: path.to_owned(),
            held: AtomicBool::new(about.held),
            source: Arc::new(Source { about, archive: Archive::beside(path) }),
            world: options.world.clone(),
            cipher: options.cipher.clone(),
            readers,
            writing: None,
            leases: Mutex::default(),
            tail,
            counters: Arc::default(),
            #[cfg(test)]
            faults: Arc::default(),
        })
    }

    /// Counts since it was opened.
    pub fn stats(&self) -> Stats {
        use Ordering::Relaxed;
        Stats {
            commits: self.counters.commits.load(Relaxed),
            events: self.counters.events.load(Relaxed),
            syncs: self.counters.groups.load(Relaxed),
        }
    }

    /// Jobs that the writer has not answered.
    pub fn queued(&self) -> usize {
        self.writing.as_ref().map_or(0, |writing| writing.room - writing.permits.available_permits())
    }

    fn prepare(&self, commit: Commit) -> Result<Box<Prepared>, CommitError> {
        if self.identity().held {
            return Err(CommitError::Held);
        }
        commit.check()?;
        let side = Side::of(&commit).encode();
        let payloads = commit.payloads.iter().filter_map(|payload| {
            let bytes = payload.bytes.as_ref()?;
            Some((payload.id, self.cipher.encrypt(&payload.id.0.0, bytes)))
        });
        Ok(Box::new(Prepared { payloads: payloads.collect(), side, commit }))
    }

    /// Queues a job: at once where there is room, so that the order of calls is kept.
    pub(crate) fn submit(&self, work: Work) -> BoxFuture<'_, Result<(), Closed>> {
        let Some(writing) = &self.writing else {
            return ready(Err(Closed::ReadOnly)).boxed();
        };
        match writing.permits.clone().try_acquire_owned() {
            Ok(permit) => ready(writing.send(work, permit)).boxed(),
            Err(_) => async move {
                let permit = writing.permits.clone().acquire_owned().await;
                writing.send(work, permit.map_err(|_| Closed::Gone)?)
            }
            .boxed(),
        }
    }

    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Reading<'_, T> {
        if self.readers.durable.is_lost()
            && let Some(writing) = &self.writing
            && let Ok(permit) = writing.permits.clone().try_acquire_owned()
        {
            // The writer tries to open the file anew when it is given something to do. If it
            // is closed, there is nothing to find out.
            let _ = writing.send(Work::Task(Box::new(|_| writer::TaskEnd::Fine)), permit);
        }
        self.readers.read(read)
    }

    fn leases<T: Send + 'static>(&self, change: impl FnOnce(&mut Leases) -> T) -> Reading<'_, T> {
        let mut leases = self.leases.lock().unwrap_or_else(PoisonError::into_inner);
        ready(Ok(change(&mut leases))).boxed()
    }

    pub(crate) fn set_held(&self, held: bool) {
        self.held.store(held, Ordering::Release);
    }
}

/// Why a job was not queued.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Closed {
    ReadOnly,
    Gone,
}

impl Closed {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::ReadOnly => "it was opened for reading alone",
            Self::Gone => "it is closed",
        }
    }
}

impl Writing {
    fn send(&self, work: Work, permit: OwnedSemaphorePermit) -> Result<(), Closed> {
        let queue = self.queue.as_ref().ok_or(Closed::Gone)?;
        queue.send(Job { work, permit }).map_err(|_| Closed::Gone)
    }
}

impl Log for SqliteLog {
    fn payload_key(&self) -> Secret<Vec<u8>> {
        Secret::new(self.source.about.payload_key.clone())
    }

    fn identity(&self) -> Identity {
        Identity {
            log_id: self.source.about.log_id,
            incarnation: self.source.about.incarnation(),
            held: self.held.load(Ordering::Acquire),
        }
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let prepared = match self.prepare(commit) {
            Ok(prepared) => prepared,
            Err(refusal) => return ready(Err(refusal)).boxed(),
        };
        let (reply, answer) = oneshot::channel();
        let submitted = self.submit(Work::Commit(prepared, reply));
        async move {
            match submitted.await {
                Ok(()) => {}
                Err(Closed::Gone) => return Err(CommitError::Closed),
                Err(Closed::ReadOnly) => {
                    return Err(CommitError::Unavailable(Closed::ReadOnly.reason().into()));
                }
            }
            // The writer answers everything it takes, unless it panics.
            let lost = || CommitError::Unknown("the store's writer is gone".into());
            answer.await.unwrap_or_else(|_| Err(lost()))
        }
        .boxed()
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        let (stream, source) = (stream.clone(), self.source.clone());
        self.read(move |conn| read::read_stream(conn, &source, &stream, from, limit))
    }

    fn read_stream_back<'a>(
        &'a self,
        stream: &'a StreamId,
        before: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        let (stream, source) = (stream.clone(), self.source.clone());
        self.read(move |conn| read::read_stream_back(conn, &source, &stream, before, limit))
    }

    fn read_all(&self, after: Position, limit: usize) -> Reading<'_, Page> {
        let source = self.source.clone();
        self.read(move |conn| read::read_all(conn, &source, after, limit))
    }

    fn head<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, u64> {
        let stream = stream.clone();
        self.read(move |conn| read::head(conn, &stream))
    }

    fn claim(&self, key: ClaimKey) -> Reading<'_, Option<Claim>> {
        self.read(move |conn| {
            conn.prepare_cached("SELECT request, answer, expires FROM claims WHERE key = ?1")
                .and_then(|mut find| find.query_row([&key.0.0], read::claim).optional())
                .map_err(unreadable)
        })
    }

    fn payload(&self, id: PayloadId) -> Reading<'_, Option<Bytes>> {
        let cipher = self.cipher.clone();
        self.read(move |conn| {
            let stored: Option<Vec<u8>> = conn
                .prepare_cached("SELECT bytes FROM payloads WHERE id = ?1")
                .and_then(|mut find| find.query_row([&id.0.0], |row| row.get(0)).optional())
                .map_err(unreadable)?;
            let open = |stored: Vec<u8>| cipher.decrypt(&id.0.0, &stored).map(Bytes::from);
            stored.map(open).transpose().map_err(|error| match error {
                // The right key may come back with the next start; nothing is broken.
                SealError::UnknownKey(_) => ReadError::Unavailable(format!("payload {id}: {error}")),
                _ => ReadError::Corrupt(format!("payload {id}: {error}")),
            })
        })
    }

    fn due(&self, query: DueQuery) -> Reading<'_, Vec<WakeUp>> {
        self.read(move |conn| read::due(conn, &query))
    }

    fn list(&self, query: ListQuery) -> Reading<'_, Listings> {
        self.read(move |conn| read::list(conn, &query))
    }

    fn count(&self, query: ListQuery) -> Reading<'_, u64> {
        self.read(move |conn| read::count(conn, &query))
    }

    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, Option<Snapshot>> {
        let stream = stream.clone();
        self.read(move |conn| read::snapshot(conn, &stream))
    }

    fn put_snapshot(&self, stream: StreamId, snapshot: Snapshot) -> Reading<'_, ()> {
        let (reply, answer) = oneshot::channel();
        let submitted = self.submit(Work::Snapshot(stream, snapshot, reply));
        async move {
            submitted.await.map_err(|closed| ReadError::Unavailable(closed.reason().into()))?;
            answer.await.unwrap_or_else(|_| Err(writer::gone()))
        }
        .boxed()
    }

    fn checkpoint<'a>(&'a self, subscriber: &'a str) -> Reading<'a, Option<Position>> {
        let subscriber = subscriber.to_owned();
        self.read(move |conn| {
            let text: Option<String> = conn
                .prepare_cached("SELECT position FROM checkpoints WHERE subscriber = ?1")
                .and_then(|mut find| find.query_row([&subscriber], |row| row.get(0)).optional())
                .map_err(unreadable)?;
            text.map(|text| text.parse()).transpose().map_err(ReadError::Corrupt)
        })
    }

    fn lease<'a>(&'a self, name: &'a str, holder: NodeId, ttl: Duration) -> Reading<'a, Lease> {
        let now = self.world.clock().elapsed();
        self.leases(|leases| leases.ask(name, holder, now, ttl))
    }

    fn release<'a>(&'a self, name: &'a str, holder: NodeId) -> Reading<'a, ()> {
        self.leases(|leases| leases.release(name, holder))
    }

    fn tail(&self) -> watch::Receiver<Position> {
        self.tail.clone()
    }
}

impl std::fmt::Debug for SqliteLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteLog")
            .field("path", &self.path)
            .field("identity", &self.identity())
            .finish_non_exhaustive()
    }
}
