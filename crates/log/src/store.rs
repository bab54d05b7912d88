use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use steadfast_core::{NodeId, secret::Secret};
use tokio::sync::watch;
use uuid::Uuid;

use crate::{
    Claim, ClaimKey, Commit, CommitError, Committed, DueQuery, ListQuery, Listings, PayloadId, Position,
    ReadError, Recorded, StreamId, WakeUp,
};

/// What reading returns.
pub type Reading<'a, T> = BoxFuture<'a, Result<T, ReadError>>;

/// Which log this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// Given once, when the log was made.
    pub log_id: Uuid,
    /// Raised by every restore.
    pub incarnation: u32,
    /// Restored and not yet resumed: no timer and no step may run.
    pub held: bool,
}

/// A part of the log, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Whole commits only.
    pub events: Vec<Recorded>,
    /// Where to go on; the log's end when there was nothing more.
    pub next: Position,
}

/// A state folded from a stream, so that not every event has to be read again.
/// Stores keep it with a hash and return nothing when the hash does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The last event in it.
    pub version: u64,
    /// Version of the body's shape; a reader ignores those it does not know.
    pub schema: u16,
    /// Self-describing.
    pub body: Bytes,
}

/// The answer to asking for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// It is yours until its time runs out. `again`: it was yours all the time since you
    /// last asked, so nobody else acted in between. `wanted`: somebody asked for it since.
    Held {
        /// Nobody held it in between.
        again: bool,
        /// Another node waits for it.
        wanted: bool,
    },
    /// Somebody else has it; they are told that you want it.
    Taken {
        /// Who.
        by: NodeId,
    },
}

/// The contract of a store.
///
/// *Order.* Commits of one shard happen one after another; a commit sees all earlier
/// ones. *Durability.* When `commit` returns Ok, the commit survives kill -9 and power
/// loss; when it returns a refusal, everything that the refusal rests on does too.
/// *Definite.* Every error but [`CommitError::Unknown`] means that nothing happened.
/// *Cancellation.* Dropping the future of `commit` does not undo it; it may still happen.
/// Reads are safe to drop. All methods may be called from any task.
pub trait Log: Send + Sync + 'static {
    /// Which log this is.
    fn identity(&self) -> Identity;

    /// The log's own secret, which payload ids are made with. Goes where the log goes.
    fn payload_key(&self) -> Secret<Vec<u8>>;

    /// Writes one commit. See [`CommitError`] for which refusal wins.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>>;

    /// The events of a stream with version ≥ `from`, oldest first, at most `limit`.
    fn read_stream<'a>(&'a self, stream: &'a StreamId, from: u64, limit: usize)
    -> Reading<'a, Vec<Recorded>>;

    /// The events of a stream with version < `before`, newest first, at most `limit`.
    fn read_stream_back<'a>(
        &'a self,
        stream: &'a StreamId,
        before: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>>;

    /// The events after a position, oldest first: about `limit` of them, more where a
    /// commit would be cut. Never skips: positions become visible in order.
    fn read_all(&self, after: Position, limit: usize) -> Reading<'_, Page>;

    /// The last version of a stream; 0 when it has no events.
    fn head<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, u64>;

    /// The record under a key, live or not; expired ones may already be gone.
    fn claim(&self, key: ClaimKey) -> Reading<'_, Option<Claim>>;

    /// A large value.
    fn payload(&self, id: PayloadId) -> Reading<'_, Option<Bytes>>;

    /// Wake-ups in order of (due, stream, name).
    fn due(&self, query: DueQuery) -> Reading<'_, Vec<WakeUp>>;

    /// The rows of a list, newest first.
    fn list(&self, query: ListQuery) -> Reading<'_, Listings>;

    /// How many rows a list has; `after` and `limit` do not count.
    fn count(&self, query: ListQuery) -> Reading<'_, u64>;

    /// The last snapshot of a stream.
    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, Option<Snapshot>>;

    /// Keeps a snapshot, in place of an earlier one. May be lost; costs time only.
    fn put_snapshot(&self, stream: StreamId, snapshot: Snapshot) -> Reading<'_, ()>;

    /// How far a subscriber has read.
    fn checkpoint<'a>(&'a self, subscriber: &'a str) -> Reading<'a, Option<Position>>;

    /// Asks for or renews a lease for `ttl`, by the store's own clock. Leases give
    /// liveness, never safety: what a late holder writes is fenced by versions.
    fn lease<'a>(&'a self, name: &'a str, holder: NodeId, ttl: Duration) -> Reading<'a, Lease>;

    /// Gives a lease back early.
    fn release<'a>(&'a self, name: &'a str, holder: NodeId) -> Reading<'a, ()>;

    /// The position of the last durable event, and a way to wait for the next.
    fn tail(&self) -> watch::Receiver<Position>;
}
