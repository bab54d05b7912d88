//! Moves pages from the write-ahead log into the file, off the commit path.
//!
//! A second connection does the bulk while commits go on. What was added meanwhile is
//! little, and the writer moves it between two groups, after which the log starts again
//! at its beginning: under a constant load nobody else would ever find it empty. A reader
//! that stays in one transaction for long is the one thing that lets the log grow.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc::{self, TryRecvError},
    },
    thread::JoinHandle,
};

use rusqlite::{Connection, Result};
use steadfast_core::observe::{Observer, Signal};

use crate::{durable::Durable, file};

pub(super) struct Checkpointer {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicU32>,
    limit: u32,
    /// Acts from so many pages on.
    next: u32,
    asked: bool,
    /// None if the writer moves everything itself.
    mover: Option<Mover>,
}

/// The thread with the second connection. It says once that it is done for each time it is asked.
struct Mover {
    ask: mpsc::Sender<()>,
    done: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, limit: u32, durable: Arc<Durable>) -> std::io::Result<Self> {
        let ((ask, asks), (say_done, done)) = (mpsc::channel(), mpsc::channel());
        let path = path.to_owned();
        let thread = std::thread::Builder::new()
            .name("log-checkpoint".into())
            .spawn(move || move_when_asked(&path, &asks, &say_done, &durable))?;
        let mut started = Self::alone(limit);
        started.mover = Some(Mover { ask, done, thread });
        Ok(started)
    }

    /// Without a thread: the writer moves everything itself.
    pub(super) fn alone(limit: u32) -> Self {
        Self { pages: Arc::default(), limit, next: limit, asked: false, mover: None }
    }

    /// Has the connection count the pages it writes.
    pub(super) fn watch(&mut self, conn: &mut Connection) -> Result<()> {
        let pages = self.pages.clone();
        self.next = self.limit;
        conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, now: i32| {
            pages.store(u32::try_from(now).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))
    }

    /// To be called between two groups.
    pub(super) fn after_group(&mut self, conn: &Connection, observer: &dyn Observer) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.next {
            return;
        }
        if let Some(mover) = &self.mover {
            // A thread that is gone is not waited for.
            self.asked = self.asked || mover.ask.send(()).is_ok();
            if self.asked && mover.done.try_recv() == Err(TryRecvError::Empty) {
                return;
            }
            self.asked = false;
        }
        self.next = match move_pages(conn) {
            Ok(true) => self.limit,
            Ok(false) => pages.saturating_add(self.limit),
            Err(error) => {
                tracing::error!(%error, "pages could not be moved from the write-ahead log");
                observer.observe(Signal::StoreError { code: "store.checkpoint" });
                pages.saturating_add(self.limit)
            }
        };
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        if let Some(Mover { ask, thread, .. }) = self.mover.take() {
            drop(ask);
            // It has nothing to say.
            let _ = thread.join();
        }
    }
}

/// Moves what no reader needs where it is. Are all pages moved now?
fn move_pages(conn: &Connection) -> Result<bool> {
    conn.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
        let (log, moved): (i64, i64) = (row.get(1)?, row.get(2)?);
        Ok(log == moved)
    })
}

fn move_when_asked(path: &Path, asks: &mpsc::Receiver<()>, say_done: &mpsc::Sender<()>, durable: &Durable) {
    while asks.recv().is_ok() {
        let done = file::open_moving(path).and_then(|conn| {
            let sqlite = crate::StoreError::sqlite(path);
            // From here on it has the log open, and hears of a sync that fails. What was lost
            // before must not be moved: nobody would tell.
            file::last_n(&conn).map_err(&sqlite)?;
            if durable.in_doubt() { Ok(false) } else { move_pages(&conn).map_err(sqlite) }
        });
        if let Err(error) = done {
            // The writer tries next, and reports.
            tracing::warn!(%error, "pages could not be moved from the write-ahead log");
        }
        if say_done.send(()).is_err() {
            return;
        }
    }
}
