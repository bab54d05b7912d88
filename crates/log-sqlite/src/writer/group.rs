//! Commits that become durable together.

use std::{sync::Arc, time::Duration};

use rusqlite::Result;
use steadfast_core::{
    Mutant, Time, World,
    observe::{Observer, Signal},
    planted,
};
use steadfast_log::{CommitError, Position, ReadError};
use tokio::sync::{OwnedSemaphorePermit, oneshot, watch};

use super::{
    Counters,
    job::{self, Answer, Job, Prepared, Work},
    session::Session,
};
use crate::durable::Durable;

/// A transaction that takes in commits.
pub(super) struct Group {
    began: Duration,
    now: Time,
    /// The last n before it.
    pub(super) before: u64,
    members: Vec<Member>,
    snapshots: Vec<(oneshot::Sender<Result<(), ReadError>>, OwnedSemaphorePermit)>,
}

/// How a commit stands: its answer, if its group comes through.
pub(super) struct Member {
    pub(super) reply: oneshot::Sender<Answer>,
    pub(super) answer: Answer,
    pub(super) prepared: Box<Prepared>,
    /// Its place in the queue, until it is answered.
    place: OwnedSemaphorePermit,
}

impl Group {
    /// Begins the transaction.
    pub(super) fn begin(session: &Session<'_>, world: &World) -> Result<Self> {
        let began = world.clock().elapsed();
        session.conn.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let (now, before) = (world.now(), session.last);
        Ok(Self { began, now, before, members: Vec::new(), snapshots: Vec::new() })
    }

    fn wrote(&self) -> bool {
        !self.snapshots.is_empty() || self.members.iter().any(|member| member.answer.is_ok())
    }

    pub(super) fn len(&self) -> usize {
        self.members.len() + self.snapshots.len()
    }

    /// Takes one in. Where SQLite fails, the job is refused, and so must be the whole group.
    pub(super) fn take(&mut self, session: &mut Session<'_>, job: Job) -> Result<()> {
        let Job { work, permit: place } = job;
        let taken = match &work {
            Work::Commit(prepared, _) => session.write(prepared, self.now).map(Some),
            Work::Snapshot(stream, snapshot, _) => session.put_snapshot(stream, snapshot).map(|()| None),
            // Those have transactions of their own.
            Work::Task(_) => Ok(None),
        };
        match (taken, work) {
            (Ok(Some(Err(early))), Work::Commit(_, reply)) if planted(Mutant::RefusedTooEarly) => {
                drop(reply.send(Err(early)));
            }
            (Ok(Some(answer)), Work::Commit(prepared, reply)) => {
                self.members.push(Member { reply, answer, prepared, place });
            }
            (Ok(_), Work::Snapshot(_, _, reply)) => self.snapshots.push((reply, place)),
            (Ok(_), _) => {}
            (Err(error), work) => {
                job::refuse(Job { work, permit: place }, &error.to_string());
                return Err(error);
            }
        }
        Ok(())
    }

    /// The COMMIT is done: what is left is the sync.
    pub(super) fn written(self, position: Position) -> Written {
        Written { group: self, position }
    }

    /// Nothing of it happened.
    pub(super) fn refuse(self, reason: &str) {
        for member in self.members {
            // A caller who is gone needs no answer.
            let _ = member.reply.send(Err(CommitError::Unavailable(reason.to_owned())));
        }
        for (reply, _) in self.snapshots {
            let _ = reply.send(Err(ReadError::Unavailable(reason.to_owned())));
        }
    }
}

/// A group that every connection sees and that is not durable yet.
pub(super) struct Written {
    group: Group,
    position: Position,
}

impl Written {
    /// Is it a single commit?
    pub(super) fn alone(&self) -> bool {
        self.group.len() == 1
    }

    /// Refusals alone rest on what was durable before.
    pub(super) fn changes_nothing(&self) -> bool {
        !self.group.wrote()
    }

    /// Its commits, and the last n before it.
    pub(super) fn into_members(self) -> (Vec<Member>, u64) {
        (self.group.members, self.group.before)
    }
}

/// Tells the world of groups that are durable.
#[derive(Clone)]
pub(crate) struct Publisher {
    pub(crate) world: World,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) tail: watch::Sender<Position>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) durable: Arc<Durable>,
}

impl Publisher {
    /// The group is durable: readers may follow, and everybody is answered.
    pub(super) fn durable(&self, written: Written) {
        let Written { group, position } = written;
        self.durable.settle();
        let written = group.members.iter().filter(|member| member.answer.is_ok()).count();
        self.counters.add(written as u64, position.n - group.before, group.wrote());
        self.observer.observe(Signal::Group {
            commits: group.members.len(),
            took: self.world.clock().elapsed().saturating_sub(group.began),
        });
        if position.n > group.before {
            self.tail.send_replace(position);
        }
        // Callers who are gone need no answer. Places first: an answer brings the next job.
        for Member { reply, answer, place, .. } in group.members {
            drop(place);
            let _ = reply.send(answer);
        }
        for (reply, place) in group.snapshots {
            drop(place);
            let _ = reply.send(Ok(()));
        }
    }

    /// The disk does not do what it should.
    pub(super) fn failed(&self, error: &rusqlite::Error) {
        tracing::error!(%error, "the store could not write a group of commits");
        let code = if super::is_full(error) { "store.full" } else { "store.unavailable" };
        self.observer.observe(Signal::StoreError { code });
    }
}
