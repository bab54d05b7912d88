//! After a COMMIT that failed: nothing is accepted until it is known what is on disk.
//!
//! The frames of a failed COMMIT may lie whole in the write-ahead log, unsynced and
//! invisible, and come alive at the next start. Opening anew settles that: what counts is
//! moved into the file and synced, the rest is cut off (`file::open_writing`). Then each
//! commit's first event is there or it never will be. Where even that fails, the answer
//! is "unknown", and the next job tries to open again.

use rusqlite::{Connection, OptionalExtension, Result};
use steadfast_log::CommitError;
use tokio::sync::oneshot;

use super::{Writer, group::Written, inbox::Inbox, job::Answer};
use crate::file;

/// A commit of which it is not known whether it happened.
pub(super) struct Unsure {
    reply: oneshot::Sender<Answer>,
    /// The answer if the group is found on disk.
    answer: Answer,
    /// What proves that.
    proof: Proof,
}

/// The group was one transaction: a trace of any of its commits proves them all.
#[derive(Debug, Clone)]
enum Proof {
    /// This event has this n.
    Event(u64, [u8; 16]),
    /// This subscriber's checkpoint stands there. Finding it by chance is the same as
    /// having written it.
    Checkpoint(String, String),
    /// The group wrote nothing.
    Nothing,
}

pub(super) fn unsure(written: Written) -> Vec<Unsure> {
    let (members, before) = written.into_members();
    let wrote =
        || members.iter().filter(|member| member.answer.is_ok()).map(|member| &member.prepared.commit);
    let event = wrote()
        .flat_map(|commit| &commit.appends)
        .find_map(|append| append.events.first())
        .map(|event| Proof::Event(before + 1, *event.id.as_bytes()));
    let checkpoint = || {
        let last = wrote().flat_map(|commit| &commit.checkpoints).last()?;
        Some(Proof::Checkpoint(last.subscriber.clone(), last.position.to_string()))
    };
    let proof = event.or_else(checkpoint).unwrap_or(Proof::Nothing);
    members
        .into_iter()
        .map(|member| Unsure { reply: member.reply, answer: member.answer, proof: proof.clone() })
        .collect()
}

impl Writer {
    /// Opens anew and answers the unsure; nothing when the file cannot be opened.
    pub(super) fn recover(&self, unsure: Vec<Unsure>) -> Option<Connection> {
        let opened = self.reopen().and_then(|conn| {
            let found = match unsure.first() {
                Some(unsure) => holds(&conn, &unsure.proof).map_err(|error| error.to_string())?,
                None => true,
            };
            Ok((conn, found))
        });
        for unsure in unsure {
            let answer = match &opened {
                Ok((_, true)) => unsure.answer,
                Ok((_, false)) => {
                    Err(CommitError::Unavailable("the group of commits was not written".into()))
                }
                Err(error) => Err(CommitError::Unknown(error.clone())),
            };
            // A caller who is gone needs no answer.
            let _ = unsure.reply.send(answer);
        }
        match opened {
            Ok((conn, _)) => Some(conn),
            Err(error) => {
                self.publisher.durable.lose();
                tracing::error!(error, "the store cannot be opened again");
                None
            }
        }
    }

    /// Tries to open at every job that comes and refuses the job when that fails:
    /// nothing of it was tried. Nothing once the store is closed.
    pub(super) async fn wait_for_connection(&self, inbox: &mut Inbox) -> Option<Connection> {
        loop {
            let job = inbox.next().await?;
            match self.reopen() {
                Ok(conn) => {
                    inbox.put_back(job);
                    return Some(conn);
                }
                Err(error) => super::job::refuse(job, &error),
            }
        }
    }

    fn reopen(&self) -> std::result::Result<Connection, String> {
        #[cfg(test)]
        self.faults.reopen()?;
        let conn = file::open_writing(&self.path).map_err(|error| error.to_string())?;
        // What is found is durable now; readers may follow before its callers hear.
        let last = file::last_n(&conn).map_err(|error| error.to_string())?;
        self.publisher.durable.found();
        self.publisher.tail.send_if_modified(|tail| {
            let moved = tail.n != last;
            tail.n = last;
            moved
        });
        Ok(conn)
    }
}

fn holds(conn: &Connection, proof: &Proof) -> Result<bool> {
    match proof {
        Proof::Event(n, id) => Ok(conn
            .query_row("SELECT id FROM events WHERE n = ?1", [n], |row| row.get::<_, [u8; 16]>(0))
            .optional()?
            .is_some_and(|found| found == *id)),
        Proof::Checkpoint(subscriber, position) => conn
            .prepare("SELECT 1 FROM checkpoints WHERE subscriber = ?1 AND position = ?2")?
            .exists((subscriber, position)),
        Proof::Nothing => Ok(true),
    }
}
