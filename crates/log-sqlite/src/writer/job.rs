use bytes::Bytes;
use rusqlite::Connection;
use steadfast_log::{Commit, CommitError, Committed, PayloadId, ReadError, Snapshot, StreamId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

pub(crate) type Answer = Result<Committed, CommitError>;

/// Something for the writer to do.
pub(crate) struct Job {
    pub(crate) work: Work,
    /// A place in the queue; given back when the job is answered.
    pub(crate) permit: OwnedSemaphorePermit,
}

pub(crate) enum Work {
    Commit(Box<Prepared>, oneshot::Sender<Answer>),
    Snapshot(StreamId, Snapshot, oneshot::Sender<Result<(), ReadError>>),
    /// Runs between two groups, with transactions of its own.
    Task(Task),
}

pub(crate) type Task = Box<dyn FnOnce(&Connection) -> TaskEnd + Send>;

/// What became of the connection that a task had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskEnd {
    Fine,
    /// A COMMIT failed: what is on disk has to be found out.
    Broken,
}

/// A commit, with all the work done that needs no store.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) commit: Commit,
    pub(crate) side: Option<Bytes>,
    /// As they are stored.
    pub(crate) payloads: Vec<(PayloadId, Vec<u8>)>,
}

/// Ran its course or not, a job is answered once.
pub(super) fn refuse(job: Job, reason: &str) {
    let unavailable = || CommitError::Unavailable(reason.to_owned());
    // A caller who is gone needs no answer.
    match job.work {
        Work::Commit(_, reply) => drop(reply.send(Err(unavailable()))),
        Work::Snapshot(_, _, reply) => {
            drop(reply.send(Err(ReadError::Unavailable(reason.to_owned()))));
        }
        // Dropping a task drops its reply, which its caller notices.
        Work::Task(_) => {}
    }
}
