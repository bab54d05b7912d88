use steadfast_core::{Coded, Fault, Mutant, planted};

use crate::{Claim, ClaimKey, PayloadId, StreamId};

/// Why a commit was refused, or is not known to have happened.
///
/// A store reports the first of these that applies, in this order: size and shape,
/// claims, versions, payloads; within a kind, in the commit's order.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Over a limit. Split the work.
    #[error("commit has {actual} {what}, at most {limit} fit in one commit")]
    TooLarge {
        /// Which limit.
        what: &'static str,
        /// What the commit has.
        actual: usize,
        /// What fits.
        limit: usize,
    },
    /// Not a commit at all: a mistake in the calling code.
    #[error("commit is not valid: {0}")]
    Invalid(String),
    /// The key is taken; the record says what was answered.
    #[error("idempotency key is taken")]
    Claimed(ClaimKey, Claim),
    /// A stream is not where the commit expects it. Read, and decide again.
    #[error("{stream} is at version {actual}")]
    Conflict {
        /// Which stream.
        stream: StreamId,
        /// Its last version; 0 when it has no events.
        actual: u64,
    },
    /// A payload that was said to be stored is not.
    #[error("payload {0} is not stored; send its bytes")]
    NoPayload(PayloadId),
    /// The store could not write, and it is certain that nothing was written.
    #[error("the store refused the write: {0}")]
    Unavailable(String),
    /// The write may or may not have happened: ask again by claim or event id.
    #[error("the store lost track of the write: {0}")]
    Unknown(String),
    /// The store was restored and waits to be resumed.
    #[error("the store was restored and is held; check it, then run `steadfast resume`")]
    Held,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

impl Coded for CommitError {
    fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "commit.too_large",
            Self::Invalid(_) => "commit.invalid",
            Self::Claimed(..) => "commit.claimed",
            Self::Conflict { .. } => "commit.conflict",
            Self::NoPayload(_) => "commit.no_payload",
            Self::Unavailable(_) => "store.unavailable",
            Self::Unknown(_) => "store.unknown_outcome",
            Self::Held => "store.held",
            Self::Closed => "store.closed",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::TooLarge { .. } | Self::Claimed(..) | Self::Conflict { .. } => Fault::Caller,
            Self::Invalid(_)
            | Self::NoPayload(_)
            | Self::Unavailable(_)
            | Self::Unknown(_)
            | Self::Held
            | Self::Closed => Fault::Us,
        }
    }
    fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Unknown(_) | Self::Held | Self::Closed)
    }
    fn nothing_happened(&self) -> bool {
        !matches!(self, Self::Unknown(_)) || planted(Mutant::UnknownIsNothing)
    }
}

/// Why something could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The store did not answer.
    #[error("the store could not be read: {0}")]
    Unavailable(String),
    /// What is stored is not what was written.
    #[error("the store holds something broken: {0}")]
    Corrupt(String),
    /// The place belongs to another log.
    #[error("{0}")]
    BadCursor(String),
}

impl Coded for ReadError {
    fn code(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "store.unavailable",
            Self::Corrupt(_) => "store.corrupt",
            Self::BadCursor(_) => "cursor.invalid",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::BadCursor(_) => Fault::Caller,
            Self::Unavailable(_) | Self::Corrupt(_) => Fault::Us,
        }
    }
    fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}
