use bytes::Bytes;
use steadfast_core::{Mutant, planted};

use crate::{ClaimChange, CommitError, ListingChange, NewEvent, Payload, Position, StreamId, WakeUpChange};

/// What one commit may hold, on every store.
pub mod limits {
    /// Streams and events together.
    pub const STREAMS_AND_EVENTS: usize = 64;
    /// Items written: events, claims, wake-ups, listings, payloads, checkpoints.
    pub const ITEMS: usize = 90;
    /// Bytes of bodies and of what stands beside them.
    pub const INLINE_BYTES: usize = 256 * 1024;
    /// Bytes of one payload.
    pub const PAYLOAD_BYTES: usize = 4 * 1024 * 1024;
}

/// What must be true of a stream for an append to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// It has no events.
    New,
    /// Its last event has this version.
    Exact(u64),
    /// Nothing: messages, which are de-duplicated by their id.
    Any,
}

impl Expect {
    /// May an append follow the version `head`? 0 is that of a stream without events.
    pub fn fits(self, head: u64) -> bool {
        match self {
            Self::New => head == 0 || planted(Mutant::NewUnchecked),
            Self::Exact(version) => head == version || planted(Mutant::VersionUnchecked),
            Self::Any => true,
        }
    }
}

/// Events to add to one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// Where.
    pub stream: StreamId,
    /// On what condition.
    pub expect: Expect,
    /// What, in order; at least one.
    pub events: Vec<NewEvent>,
}

/// How far a subscriber has read. Losing one costs repeats only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Who.
    pub subscriber: String,
    /// Up to here, this included.
    pub position: Position,
}

/// One atomic write: all of it, or nothing.
///
/// Changes to claims, wake-ups, listings and payloads are recorded on the commit's first
/// event, so that their tables can be rebuilt; a commit that has any needs an event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// Events, at most one append for each stream.
    pub appends: Vec<Append>,
    /// Idempotency records.
    pub claims: Vec<ClaimChange>,
    /// Promises to look again.
    pub wake_ups: Vec<WakeUpChange>,
    /// Rows of lists.
    pub listings: Vec<ListingChange>,
    /// Large values.
    pub payloads: Vec<Payload>,
    /// Subscribers' progress.
    pub checkpoints: Vec<Checkpoint>,
}

impl Commit {
    /// A commit that appends `events` to one stream.
    pub fn append(stream: StreamId, expect: Expect, events: Vec<NewEvent>) -> Self {
        Self { appends: vec![Append { stream, expect, events }], ..Self::default() }
    }

    /// The rules that need no store. Every store calls this first.
    pub fn check(&self) -> Result<(), CommitError> {
        let events: usize = self.appends.iter().map(|append| append.events.len()).sum();
        let beside = self.claims.len() + self.wake_ups.len() + self.listings.len() + self.payloads.len();
        let bound = |what, actual, limit| {
            if actual > limit { Err(CommitError::TooLarge { what, actual, limit }) } else { Ok(()) }
        };
        bound("streams and events", self.appends.len() + events, limits::STREAMS_AND_EVENTS)?;
        bound("written items", events + beside + self.checkpoints.len(), limits::ITEMS)?;
        bound("inline bytes", self.inline_bytes(), limits::INLINE_BYTES)?;
        for payload in &self.payloads {
            bound("payload bytes", payload.bytes.as_ref().map_or(0, Bytes::len), limits::PAYLOAD_BYTES)?;
        }
        let invalid = |reason: String| Err(CommitError::Invalid(reason));
        if events == 0 && beside > 0 {
            return invalid("claims, wake-ups, listings and payloads need an event in their commit".into());
        }
        if events == 0 && self.checkpoints.is_empty() {
            return invalid("a commit must write something".into());
        }
        if self.texts().any(|text| text.contains('\0')) {
            return invalid("a text holds a NUL character, which not every store can keep".into());
        }
        for (i, append) in self.appends.iter().enumerate() {
            append.stream.check().map_err(CommitError::Invalid)?;
            if append.events.is_empty() {
                return invalid(format!("the append to {} has no events", append.stream));
            }
            if self.appends[..i].iter().any(|earlier| earlier.stream == append.stream) {
                return invalid(format!("{} is appended to twice in one commit", append.stream));
            }
        }
        Ok(())
    }

    /// Every text that a store keeps as text.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let events = self.appends.iter().flat_map(|append| &append.events);
        let events = events.flat_map(|event| [&*event.kind].into_iter().chain(event.key_id.as_deref()));
        let claims = self.claims.iter().filter_map(|change| match change {
            ClaimChange::Take(_, claim) => Some(&*claim.answer),
            ClaimChange::Settle(..) => None,
        });
        let wake_ups = self.wake_ups.iter().flat_map(|change| match change {
            WakeUpChange::Set(wake_up) => [wake_up.stream.as_str(), &*wake_up.name],
            WakeUpChange::Clear(stream, name) => [stream.as_str(), &**name],
        });
        let listings = self.listings.iter().flat_map(ListingChange::texts);
        let payloads = self.payloads.iter().map(|payload| payload.stream.as_str());
        let checkpoints = self.checkpoints.iter().map(|checkpoint| &*checkpoint.subscriber);
        events.chain(claims).chain(wake_ups).chain(listings).chain(payloads).chain(checkpoints)
    }

    fn inline_bytes(&self) -> usize {
        let bodies = self.appends.iter().flat_map(|append| &append.events).map(|event| event.body.len());
        let answers = self.claims.iter().map(|change| match change {
            ClaimChange::Take(_, claim) => claim.answer.len(),
            ClaimChange::Settle(..) => 0,
        });
        bodies.chain(answers).sum()
    }
}

/// What a commit became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Of its last event; of the log's end when it had none.
    pub position: Position,
    /// The last version of each appended stream, in the order of the appends.
    pub versions: Vec<u64>,
}
