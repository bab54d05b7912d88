use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
};

use futures::future::FutureExt as _;
use rusqlite::Connection;
use steadfast_log::{ReadError, Reading};
use tokio::sync::oneshot;

use crate::{StoreError, durable::Durable, file};

/// What a thread does with its connection; gone afterwards if it is not to be trusted.
type Work = Box<dyn FnOnce(&mut Option<Connection>) + Send>;

/// Threads that read, each with a connection of its own, and one queue for all.
///
/// A queue and not permits: a permit is handed to whoever waits longest, and that may be a
/// task that awaits something else before it looks again, such as another read.
#[derive(Debug)]
pub(crate) struct Readers {
    path: Arc<PathBuf>,
    pub(crate) durable: Arc<Durable>,
    queue: Option<mpsc::Sender<Work>>,
    threads: Vec<JoinHandle<()>>,
    /// Without threads, whoever asks reads here and now.
    #[cfg(feature = "simulation")]
    at_once: Mutex<Option<Connection>>,
}

impl Readers {
    /// Opens the first connection at once, so that what is wrong is known early.
    pub(crate) fn open(path: &Path, threads: usize, durable: Arc<Durable>) -> Result<Self, StoreError> {
        let mut first = Some(file::open_reading(path)?);
        let (queue, work) = mpsc::channel();
        let work = Arc::new(Mutex::new(work));
        let mut readers = Self {
            path: Arc::new(path.to_owned()),
            durable,
            queue: Some(queue),
            threads: Vec::with_capacity(threads),
            #[cfg(feature = "simulation")]
            at_once: Mutex::default(),
        };
        for _ in 0..threads {
            let (work, conn) = (work.clone(), first.take());
            let thread = std::thread::Builder::new().name("log-reader".into());
            readers.threads.push(thread.spawn(move || run(&work, conn)).map_err(StoreError::io(path))?);
        }
        Ok(readers)
    }

    /// No threads.
    #[cfg(feature = "simulation")]
    pub(crate) fn at_once(path: &Path, durable: Arc<Durable>) -> Result<Self, StoreError> {
        Ok(Self {
            path: Arc::new(path.to_owned()),
            durable,
            queue: None,
            threads: Vec::new(),
            at_once: Mutex::new(Some(file::open_reading(path)?)),
        })
    }

    /// Runs `read` with a connection. It sees one state of the store only within a
    /// transaction of its own. Safe to drop half-way: what runs, ends by itself.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Reading<'_, T> {
        #[cfg(feature = "simulation")]
        if self.threads.is_empty() {
            let mut conn = self.at_once.lock().unwrap_or_else(PoisonError::into_inner);
            let result = with(&mut conn, &self.path, read);
            let seen = self.durable.seen();
            return async move { self.durable.reaches(seen).await.and(result) }.boxed();
        }
        self.queue(read).boxed()
    }

    async fn queue<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let (reply, answer) = oneshot::channel();
        let (path, durable) = (self.path.clone(), self.durable.clone());
        let work = move |conn: &mut Option<Connection>| {
            // Nobody waits for it any more.
            if reply.is_closed() {
                return;
            }
            let result = with(conn, &path, read);
            // A caller who is gone needs no answer.
            let _ = reply.send((result, durable.seen()));
        };
        let closed = || ReadError::Unavailable("the store is closed".into());
        self.queue.as_ref().ok_or_else(closed)?.send(Box::new(work)).map_err(|_| closed())?;
        let (result, seen) = answer.await.map_err(|_| ReadError::Unavailable("the read failed".into()))?;
        self.durable.reaches(seen).await.and(result)
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // What panics is caught in the thread.
            let _ = thread.join();
        }
    }
}

/// Until the queue is closed.
fn run(queue: &Mutex<mpsc::Receiver<Work>>, mut conn: Option<Connection>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(work) = next else { return };
        if catch_unwind(AssertUnwindSafe(|| work(&mut conn))).is_err() {
            tracing::error!("a read of the store panicked");
        }
    }
}

/// A connection in which a read panicked or failed is not trusted with the next one.
fn with<T>(
    kept: &mut Option<Connection>,
    path: &Path,
    read: impl FnOnce(&Connection) -> Result<T, ReadError>,
) -> Result<T, ReadError> {
    let conn = match kept.take() {
        Some(conn) => conn,
        None => file::open_reading(path).map_err(|error| ReadError::Unavailable(error.to_string()))?,
    };
    let result = read(&conn);
    if !matches!(result, Err(ReadError::Unavailable(_))) {
        *kept = Some(conn);
    }
    result
}
