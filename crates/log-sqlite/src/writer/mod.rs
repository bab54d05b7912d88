//! The one thread that writes.
//!
//! 1. It takes what is queued and, for at most 100 µs, what is about to be ([`inbox`]).
//! 2. In one transaction it checks and inserts each commit in turn; a commit sees the
//!    earlier ones of its group ([`session`], [`beside`]).
//! 3. COMMIT syncs. Only then is anybody answered, and that holds for refusals too: they
//!    may rest on a commit of the same group that was not durable before.
//!
//! While step 3 waits for the disk the next group queues up. When an insert fails (disk
//! full, IO, memory) SQLite may have rolled the whole transaction back, so all of it is,
//! and every member hears that nothing happened. When COMMIT itself fails, the outcome
//! is found out on a new connection ([`recover`]).

mod beside;
mod checkpointer;
mod heads;
mod inbox;
mod job;
mod recover;
mod session;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread::JoinHandle,
    time::Duration,
};

use futures::FutureExt as _;
use rusqlite::{Connection, ErrorCode};
use steadfast_core::{World, observe::Observer, observe::Signal};
use steadfast_log::{CommitError, Position, ReadError};
use tokio::sync::{oneshot, watch};

use self::{
    checkpointer::Checkpointer,
    heads::Heads,
    inbox::{Inbox, Waiting},
    job::Answer,
    recover::Unsure,
    session::Session,
};
use crate::{StoreConfig, StoreError, file::Lock};

pub(crate) use self::{
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

/// What the writer is made of; moved into its thread.
pub(crate) struct Writer {
    pub(crate) path: PathBuf,
    pub(crate) config: StoreConfig,
    pub(crate) world: World,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) incarnation: u32,
    pub(crate) tail: watch::Sender<Position>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) lock: Lock,
    #[cfg(test)]
    pub(crate) faults: Arc<faults::Faults>,
}

/// Why a session ended.
enum Ended {
    /// The store was closed.
    Closed,
    /// The connection cannot be trusted; these commits have no answer yet.
    Broken(Vec<Unsure>),
}

/// How a commit of a running group stands: its answer, if the group comes through.
struct Member {
    reply: oneshot::Sender<Answer>,
    answer: Answer,
    prepared: Box<Prepared>,
}

impl Writer {
    /// Starts the thread. It ends when the queue is closed and empty.
    pub(crate) fn start(
        self,
        conn: Connection,
        queue: mpsc::Receiver<Job>,
    ) -> Result<JoinHandle<()>, StoreError> {
        let path = self.path.clone();
        let spawn = || {
            let checkpointer = Checkpointer::start(&self.path, self.config.checkpoint_pages.get())?;
            std::thread::Builder::new().name("log-writer".into()).spawn(move || {
                let inbox = self.inbox(queue, Waiting::Blocking);
                // It blocks where a future would wait.
                let ended = self.run(conn, inbox, checkpointer).now_or_never();
                debug_assert!(ended.is_some(), "nothing waits on the writer's thread");
            })
        };
        spawn().map_err(StoreError::io(&path))
    }

    /// The same without a thread: works through what is queued whenever it is polled.
    #[cfg(feature = "simulation")]
    pub(crate) fn polled(self, conn: Connection, queue: mpsc::Receiver<Job>) -> crate::Polled {
        let checkpointer = Checkpointer::alone(self.config.checkpoint_pages.get());
        let inbox = self.inbox(queue, Waiting::Polled);
        Box::pin(self.run(conn, inbox, checkpointer))
    }

    fn inbox(&self, queue: mpsc::Receiver<Job>, how: Waiting) -> Inbox {
        Inbox::new(queue, self.config.max_group.get(), self.world.clone(), how)
    }

    async fn run(self, conn: Connection, mut inbox: Inbox, mut checkpointer: Checkpointer) {
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
            match self.serve(&open, &mut inbox, &mut checkpointer).await {
                Ended::Closed => {
                    // Leaves one whole file where no reader is in the way. If one is, the
                    // next start does it.
                    let _ = open.busy_timeout(Duration::ZERO);
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

    async fn serve(&self, conn: &Connection, inbox: &mut Inbox, checkpointer: &mut Checkpointer) -> Ended {
        let heads = Heads::new(self.config.heads);
        let mut session = match Session::new(conn, heads, self.incarnation) {
            Ok(session) => session,
            Err(error) => {
                tracing::error!(%error, "the store cannot prepare its statements");
                return Ended::Broken(Vec::new());
            }
        };
        while let Some(group) = inbox.next_group().await {
            let (tasks, group): (Vec<_>, Vec<_>) =
                group.into_iter().partition(|work| matches!(work, Work::Task(_)));
            if !group.is_empty()
                && let Err(unsure) = self.write_group(&mut session, inbox, group)
            {
                for task in tasks {
                    job::refuse(task, "");
                }
                return Ended::Broken(unsure);
            }
            for task in tasks {
                if let Work::Task(task) = task
                    && task(conn) == TaskEnd::Broken
                {
                    return Ended::Broken(Vec::new());
                }
            }
            checkpointer.after_group(conn, &*self.observer);
        }
        Ended::Closed
    }

    /// Writes a group and answers it. An error is a COMMIT without a known outcome.
    fn write_group(
        &self,
        session: &mut Session<'_>,
        inbox: &mut Inbox,
        group: Vec<Work>,
    ) -> Result<(), Vec<Unsure>> {
        let clock = self.world.clock();
        let (began, size, before) = (clock.elapsed(), group.len(), session.last);
        if let Err(error) = session.conn.execute_batch("BEGIN IMMEDIATE") {
            return self.spoiled(session, before, group, Vec::new(), &error);
        }
        let now = self.world.now();
        let mut members = Vec::with_capacity(size);
        let mut snapshots = Vec::new();
        let mut works = group.into_iter();
        while let Some(work) = works.next() {
            let result = match work {
                Work::Commit(prepared, reply) => match session.write(&prepared, now) {
                    Ok(answer) => {
                        members.push(Member { reply, answer, prepared });
                        Ok(())
                    }
                    Err(error) => Err((Work::Commit(prepared, reply), error)),
                },
                Work::Snapshot(stream, snapshot, reply) => match session.put_snapshot(&stream, &snapshot) {
                    Ok(()) => {
                        snapshots.push(reply);
                        Ok(())
                    }
                    Err(error) => Err((Work::Snapshot(stream, snapshot, reply), error)),
                },
                Work::Task(_) => Ok(()),
            };
            if let Err((failed, error)) = result {
                let left = std::iter::once(failed).chain(works).collect();
                return self.spoiled(session, before, left, members, &error);
            }
        }
        if let Err(error) = self.sync(session.conn) {
            if is_full(&error) {
                // The last page of a group carries the mark that makes it valid, and is
                // written last: with no room for all of it there is no group.
                return self.spoiled(session, before, Vec::new(), members, &error);
            }
            self.failed(&error);
            return Err(recover::unsure(members, before));
        }
        let written = members.iter().filter(|member| member.answer.is_ok());
        self.counters.commits.fetch_add(written.count() as u64, Relaxed);
        self.counters.events.fetch_add(session.last - before, Relaxed);
        // A group that wrote nothing had nothing to sync.
        let wrote = !snapshots.is_empty() || members.iter().any(|member| member.answer.is_ok());
        self.counters.groups.fetch_add(wrote.into(), Relaxed);
        self.observer
            .observe(Signal::Group { commits: members.len(), took: clock.elapsed().saturating_sub(began) });
        if session.last > before {
            self.tail.send_replace(session.position());
        }
        inbox.before_answers(size);
        // Callers who are gone need no answer.
        for member in members {
            let _ = member.reply.send(member.answer);
        }
        for reply in snapshots {
            let _ = reply.send(Ok(()));
        }
        Ok(())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "its twin in tests makes faults")]
    fn sync(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.execute_batch("COMMIT")
    }

    #[cfg(test)]
    fn sync(&self, conn: &Connection) -> rusqlite::Result<()> {
        self.faults.commit(conn)
    }

    /// Nothing of the group is written: rolls back and tells everybody so.
    fn spoiled(
        &self,
        session: &mut Session<'_>,
        before: u64,
        left: Vec<Work>,
        members: Vec<Member>,
        error: &rusqlite::Error,
    ) -> Result<(), Vec<Unsure>> {
        self.failed(error);
        // SQLite has often rolled back by itself.
        let rolled_back = session.conn.is_autocommit() || session.conn.execute_batch("ROLLBACK").is_ok();
        session.heads.clear();
        session.last = before;
        let reason = error.to_string();
        for member in members {
            let _ = member.reply.send(Err(CommitError::Unavailable(reason.clone())));
        }
        for work in left {
            job::refuse(work, &reason);
        }
        if rolled_back { Ok(()) } else { Err(Vec::new()) }
    }

    fn failed(&self, error: &rusqlite::Error) {
        tracing::error!(%error, "the store could not write a group of commits");
        self.observer.observe(Signal::StoreError {
            code: if is_full(error) { "store.full" } else { "store.unavailable" },
        });
    }
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
