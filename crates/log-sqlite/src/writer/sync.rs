//! The sync that makes a group durable, on a thread of its own while the next group fills.
//!
//! Connections write with `synchronous = NORMAL`, in which COMMIT does not sync; this does,
//! past SQLite, with one `fdatasync` of the write-ahead log. A commit that is alone is
//! synced where it was written, which saves waking two threads.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    thread::JoinHandle,
};

use futures::future::{BoxFuture, FutureExt as _, ready};
use steadfast_core::{Mutant, planted};
use tokio::sync::oneshot;

use super::group::{Publisher, Written};
use crate::file;

/// A sync that failed, and the group of which nobody knows now; it is gone if the thread is.
pub(super) type Failed = (Option<Written>, io::Error);
/// Ends with the sync. By then everybody of the group is answered.
pub(super) type Syncing = BoxFuture<'static, Result<(), Failed>>;

struct Order {
    wal: Arc<File>,
    written: Written,
    done: oneshot::Sender<Result<(), Failed>>,
}

pub(super) struct Syncer {
    path: PathBuf,
    publisher: Publisher,
    /// Open as long as the connection that writes it.
    wal: Option<Arc<File>>,
    orders: Option<mpsc::Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncer {
    pub(super) fn start(path: &Path, publisher: Publisher) -> io::Result<Self> {
        let mut syncer = Self::alone(path, publisher);
        let (orders, queue) = mpsc::channel::<Order>();
        let publisher = syncer.publisher.clone();
        let thread = std::thread::Builder::new().name("log-sync".into()).spawn(move || {
            while let Ok(Order { wal, written, done }) = queue.recv() {
                // The writer waits for this, unless it panicked.
                let _ = done.send(sync(&wal, written, &publisher));
            }
        })?;
        (syncer.orders, syncer.thread) = (Some(orders), Some(thread));
        Ok(syncer)
    }

    /// Without a thread: each sync is done when it is polled the second time.
    pub(super) fn alone(path: &Path, publisher: Publisher) -> Self {
        Self { path: file::beside(path, "-wal"), publisher, wal: None, orders: None, thread: None }
    }

    /// There is a new connection. At once, and not with the first sync: when somebody
    /// else's sync of the log fails, only those hear of it who have it open.
    pub(super) fn open(&mut self) -> io::Result<()> {
        self.wal = None;
        self.wal = Some(Arc::new(File::open(&self.path)?));
        Ok(())
    }

    /// Begins to make a group durable.
    pub(super) fn begin(&self, written: Written) -> Syncing {
        let Some(wal) = self.wal.clone() else {
            return ready(Err((Some(written), gone()))).boxed();
        };
        let Some(orders) = &self.orders else {
            let publisher = self.publisher.clone();
            return async move {
                futures::pending!();
                sync(&wal, written, &publisher)
            }
            .boxed();
        };
        let (done, synced) = oneshot::channel();
        match orders.send(Order { wal, written, done }) {
            Ok(()) => async { synced.await.unwrap_or_else(|_| Err((None, gone()))) }.boxed(),
            Err(mpsc::SendError(order)) => ready(Err((Some(order.written), gone()))).boxed(),
        }
    }

    /// Makes a group durable here and now.
    pub(super) fn now(&self, written: Written) -> Result<(), Failed> {
        match &self.wal {
            Some(wal) => sync(wal, written, &self.publisher),
            None => Err((Some(written), gone())),
        }
    }
}

fn sync(wal: &File, written: Written, publisher: &Publisher) -> Result<(), Failed> {
    let synced = if planted(Mutant::SyncSkipped) { Ok(()) } else { wal.sync_data() };
    match synced {
        Ok(()) => {
            publisher.durable(written);
            Ok(())
        }
        Err(error) => {
            publisher.durable.doubt();
            Err((Some(written), error))
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("nobody is there to sync")
}

impl Drop for Syncer {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}
