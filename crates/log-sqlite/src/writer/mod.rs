//! The one thread that writes.
//!
//! 1. It takes what is queued ([`inbox`]) into a transaction, in which each commit is
//!    checked and inserted in turn and sees the earlier ones of its group ([`group`],
//!    [`session`], [`beside`]).
//! 2. COMMIT makes the group visible, and a sync, on another thread, durable ([`sync`]).
//!    Meanwhile the next group fills; its COMMIT waits for that sync.
//! 3. Only then is anybody answered, and that holds for refusals too: they may rest on a
//!    commit of the same group that was not durable before.
//!
//! When an insert fails (disk full, IO, memory) SQLite may have rolled the whole
//! transaction back, so all of it is, and every member hears that nothing happened. When
//! COMMIT or the sync itself fails, the outcome is found out on a new connection
//! ([`recover`]).

mod beside;
mod checkpointer;
mod group;
mod heads;
mod inbox;
mod job;
mod recover;
mod session;
mod sync;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread::JoinHandle,
    time::Duration,
};

use futures::executor::block_on;
use rusqlite::{Connection, ErrorCode};
use steadfast_log::ReadError;
use tokio::sync::mpsc::UnboundedReceiver;

use self::{
    checkpointer::Checkpointer,
    group::Group,
    heads::Heads,
    inbox::{Inbox, Waiting},
    recover::Unsure,
    session::Session,
    sync::{Failed, Syncer, Syncing},
};
use crate::{StoreConfig, StoreError, file::Lock};

pub(crate) use self::{
    group::Publisher,
    job::{Job, Prepared, TaskEnd, Work},
    session::INSERT_EVENT,
};

/// Counts since the store was opened.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) events: AtomicU64,
    pub(crate) groups: AtomicU64,
}

impl Counters {
    fn add(&self, commits: u64, events: u64, synced: bool) {
        self.commits.fetch_add(commits, Relaxed);
        self.events.fetch_add(events, Relaxed);
        self.groups.fetch_add(synced.into(), Relaxed);
    }
}

/// What the writer is made of; moved into its thread.
pub(crate) struct Writer {
    pub(crate) path: PathBuf,
    pub(crate) config: StoreConfig,
    pub(crate) publisher: Publisher,
    pub(crate) incarnation: u32,
    pub(crate) lock: Lock,
    #[cfg(test)]
    pub(crate) faults: std::sync::Arc<faults::Faults>,
}

/// Why a session ended.
enum Ended {
    /// The store was closed.
    Closed,
    /// The connection cannot be trusted; these commits have no answer yet.
    Broken(Vec<Unsure>),
}

impl Writer {
    /// Starts the thread. It ends when the queue is closed and empty.
    pub(crate) fn start(
        self,
        conn: Connection,
        queue: UnboundedReceiver<Job>,
    ) -> Result<JoinHandle<()>, StoreError> {
        let path = self.path.clone();
        let spawn = || {
            let (pages, durable) = (self.config.checkpoint_pages.get(), self.publisher.durable.clone());
            let checkpointer = Checkpointer::start(&self.path, pages, durable)?;
            let syncer = Syncer::start(&self.path, self.publisher.clone())?;
            std::thread::Builder::new().name("log-writer".into()).spawn(move || {
                let inbox = Inbox::new(queue, self.publisher.world.clone(), Waiting::Blocking);
                block_on(self.run(conn, inbox, syncer, checkpointer));
            })
        };
        spawn().map_err(StoreError::io(&path))
    }

    /// The same without threads: works through what is queued whenever it is polled.
    #[cfg(feature = "simulation")]
    pub(crate) fn polled(self, conn: Connection, queue: UnboundedReceiver<Job>) -> crate::Polled {
        let checkpointer = Checkpointer::alone(self.config.checkpoint_pages.get());
        let syncer = Syncer::alone(&self.path, self.publisher.clone());
        let inbox = Inbox::new(queue, self.publisher.world.clone(), Waiting::Polled);
        Box::pin(self.run(conn, inbox, syncer, checkpointer))
    }

    async fn run(
        self,
        conn: Connection,
        mut inbox: Inbox,
        mut syncer: Syncer,
        mut checkpointer: Checkpointer,
    ) {
        let mut conn = Some(conn);
        loop {
            let open = match conn.take() {
                Some(open) => Some(open),
                None => self.wait_for_connection(&mut inbox).await,
            };
            let Some(mut open) = open else { break };
            if let Err(error) = checkpointer.watch(&mut open) {
                tracing::error!(%error, "the write-ahead log is not watched, and will grow");
            }
            match self.serve(&open, &mut inbox, &mut syncer, &mut checkpointer).await {
                Ended::Closed => {
                    // Leaves one whole file where no reader is in the way. If one is, the
                    // next start does it.
                    let _ = open.busy_timeout(Duration::ZERO);
                    let _ = sync_at_commit(&open, true);
                    let _ = crate::file::settle(&open, &self.path);
                    break;
                }
                Ended::Broken(unsure) => {
                    tracing::error!("the store lost its connection and opens a new one");
                    drop(open);
                    conn = self.recover(unsure);
                }
            }
        }
        drop(self.lock);
    }

    async fn serve(
        &self,
        conn: &Connection,
        inbox: &mut Inbox,
        syncer: &mut Syncer,
        checkpointer: &mut Checkpointer,
    ) -> Ended {
        let heads = Heads::new(self.config.heads);
        if let Err(error) = syncer.open() {
            tracing::error!(%error, "the write-ahead log cannot be opened to be synced");
            return Ended::Broken(Vec::new());
        }
        let prepared = sync_at_commit(conn, false).and_then(|()| Session::new(conn, heads, self.incarnation));
        let session = match prepared {
            Ok(session) => session,
            Err(error) => {
                tracing::error!(%error, "the store cannot prepare its statements");
                return Ended::Broken(Vec::new());
            }
        };
        let mut desk =
            Desk { writer: self, session, syncer, checkpointer, open: None, syncing: None, crowded: false };
        loop {
            let step = match desk.next(inbox).await {
                Next::Job(job) => desk.take(job, inbox).await,
                Next::Full => desk.write(inbox).await,
                Next::Synced(Ok(())) => {
                    desk.syncing = None;
                    Ok(())
                }
                Next::Synced(Err(failed)) => Err(desk.lost(failed)),
                Next::Closed => match desk.close(inbox).await {
                    Ok(()) => return Ended::Closed,
                    Err(unsure) => Err(unsure),
                },
            };
            if let Err(unsure) = step {
                desk.give_up("the group of commits before it was not written");
                return Ended::Broken(unsure);
            }
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "its twin in tests makes faults")]
    fn commit(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.prepare_cached("COMMIT")?.execute([]).map(drop)
    }

    #[cfg(test)]
    fn commit(&self, conn: &Connection) -> rusqlite::Result<()> {
        self.faults.commit(conn)
    }
}

/// What happens next.
enum Next {
    Job(Job),
    /// The group is complete, and the sync before it is done.
    Full,
    Synced(Result<(), Failed>),
    Closed,
}

/// A connection at work: at most one group that fills, and one that is synced.
struct Desk<'a> {
    writer: &'a Writer,
    session: Session<'a>,
    syncer: &'a mut Syncer,
    checkpointer: &'a mut Checkpointer,
    open: Option<Group>,
    syncing: Option<Syncing>,
    /// Others came while a commit that was alone was synced here: the next one is synced
    /// beside.
    crowded: bool,
}

impl Desk<'_> {
    async fn next(&mut self, inbox: &mut Inbox) -> Next {
        let full = self.open.as_ref().is_some_and(|open| open.len() >= self.writer.config.max_group.get());
        match (&mut self.syncing, self.open.is_some()) {
            (Some(syncing), _) if full => Next::Synced(syncing.await),
            (Some(syncing), _) => tokio::select! {
                biased;
                synced = syncing => Next::Synced(synced),
                job = inbox.next() => job.map_or(Next::Closed, Next::Job),
            },
            (None, true) if full => Next::Full,
            (None, true) => inbox.at_once().map_or(Next::Full, Next::Job),
            (None, false) => {
                self.crowded &= !inbox.is_empty();
                inbox.idle().await.map_or(Next::Closed, Next::Job)
            }
        }
    }

    /// An error is a group without a known outcome, wherever this returns one.
    async fn take(&mut self, job: Job, inbox: &Inbox) -> Result<(), Vec<Unsure>> {
        if let Work::Task(task) = job.work {
            return self.perform(task, inbox).await;
        }
        let mut open = match self.open.take() {
            Some(open) => open,
            None => match Group::begin(&self.session, &self.writer.publisher.world) {
                Ok(open) => open,
                Err(error) => {
                    job::refuse(job, &error.to_string());
                    return self.spoiled(None, &error);
                }
            },
        };
        match open.take(&mut self.session, job) {
            Ok(()) => {
                self.open = Some(open);
                Ok(())
            }
            Err(error) => self.spoiled(Some(open), &error),
        }
    }

    /// Writes the group that fills, and begins its sync.
    async fn write(&mut self, inbox: &Inbox) -> Result<(), Vec<Unsure>> {
        self.settle().await?;
        let Some(open) = self.open.take() else { return Ok(()) };
        self.writer.publisher.durable.begin();
        if let Err(error) = self.writer.commit(self.session.conn) {
            if is_full(&error) {
                // The last page of a group carries the mark that makes it valid, and is
                // written last: with no room for all of it there is no group.
                return self.spoiled(Some(open), &error);
            }
            self.writer.publisher.failed(&error);
            return Err(recover::unsure(open.written(self.session.position())));
        }
        let written = open.written(self.session.position());
        if written.changes_nothing() {
            self.writer.publisher.durable(written);
        } else if written.alone() && !self.crowded && inbox.is_empty() {
            self.syncer.now(written).map_err(|failed| self.lost(failed))?;
            self.crowded = !inbox.is_empty();
        } else {
            self.syncing = Some(self.syncer.begin(written));
        }
        self.checkpointer.after_group(self.session.conn, &*self.writer.publisher.observer);
        Ok(())
    }

    /// Until nothing is on its way to the disk.
    async fn settle(&mut self) -> Result<(), Vec<Unsure>> {
        match self.syncing.take() {
            Some(syncing) => syncing.await.map_err(|failed| self.lost(failed)),
            None => Ok(()),
        }
    }

    /// Between two groups, with transactions of its own, which sync as they commit.
    async fn perform(&mut self, task: job::Task, inbox: &Inbox) -> Result<(), Vec<Unsure>> {
        self.close(inbox).await?;
        let conn = self.session.conn;
        let done = sync_at_commit(conn, true).map(|()| task(conn)).and_then(|end| {
            sync_at_commit(conn, false)?;
            Ok(end)
        });
        match done {
            Ok(TaskEnd::Fine) => Ok(()),
            Ok(TaskEnd::Broken) => Err(Vec::new()),
            Err(error) => {
                self.writer.publisher.failed(&error);
                Err(Vec::new())
            }
        }
    }

    /// Writes what is there, to its end.
    async fn close(&mut self, inbox: &Inbox) -> Result<(), Vec<Unsure>> {
        self.write(inbox).await?;
        self.settle().await
    }

    /// Nothing of the group is written: rolls back and tells everybody so.
    fn spoiled(&mut self, open: Option<Group>, error: &rusqlite::Error) -> Result<(), Vec<Unsure>> {
        self.writer.publisher.failed(error);
        let conn = self.session.conn;
        // SQLite has often rolled back by itself.
        let rolled_back = conn.is_autocommit() || conn.execute_batch("ROLLBACK").is_ok();
        self.session.heads.clear();
        if let Some(open) = open {
            self.session.last = open.before;
            open.refuse(&error.to_string());
        }
        if self.syncing.is_none() {
            self.writer.publisher.durable.settle();
        }
        if rolled_back { Ok(()) } else { Err(Vec::new()) }
    }

    /// A sync failed.
    fn lost(&self, (written, error): Failed) -> Vec<Unsure> {
        tracing::error!(%error, "the store could not sync a group of commits");
        let failed = steadfast_core::observe::Signal::StoreError { code: "store.unavailable" };
        self.writer.publisher.observer.observe(failed);
        written.map(recover::unsure).unwrap_or_default()
    }

    /// The connection is given up, and with it the group that fills.
    fn give_up(&mut self, reason: &str) {
        if let Some(open) = self.open.take() {
            let _ = self.session.conn.execute_batch("ROLLBACK");
            open.refuse(reason);
        }
    }
}

/// Whether COMMIT syncs, or somebody else does.
fn sync_at_commit(conn: &Connection, yes: bool) -> rusqlite::Result<()> {
    conn.execute_batch(if yes { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" })
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

/// What a caller hears whose job the writer dropped.
pub(crate) fn gone() -> ReadError {
    ReadError::Unavailable("the store is closed".into())
}

#[cfg(test)]
pub(crate) mod faults;
#[cfg(test)]
mod tests;
