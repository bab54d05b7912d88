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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use steadfast_core::{TenantId, Time, World, canonical::Hash};

    use super::*;
    use crate::{Claim, ClaimKey, Listing, PayloadId, WakeUp};

    fn stream() -> StreamId {
        StreamId::new(&TenantId::default(), "test", "a")
    }

    fn commit() -> Commit {
        let event = NewEvent::new(&World::system(), "test.happened", 1, Bytes::from_static(b"{}"));
        Commit::append(stream(), Expect::Any, vec![event])
    }

    fn take(answer: &str) -> ClaimChange {
        let claim = Claim { request: Hash::of_bytes(b"r"), answer: answer.into(), expires: None };
        ClaimChange::Take(ClaimKey(Hash::of_bytes(b"k")), claim)
    }

    /// A commit with `text` in one place for each place that holds text, and with `count`
    /// of each kind of what stands beside events.
    fn beside(text: &'static str, count: usize) -> [Commit; 5] {
        let wake_up = WakeUp { stream: stream(), name: text.into(), due: Time::from_micros(0), owner: None };
        let listing = Listing {
            stream: stream(),
            kind: text.into(),
            status: "open".into(),
            principal: None,
            labels: BTreeMap::new(),
            created: Time::from_micros(0),
            updated: Time::from_micros(0),
        };
        let payload = Payload { id: PayloadId::of(b"k", "s", b"v"), stream: stream(), bytes: None };
        let checkpoint = Checkpoint { subscriber: text.into(), position: Position::START };
        [
            Commit { claims: vec![take(text); count], ..commit() },
            Commit { wake_ups: vec![WakeUpChange::Set(wake_up); count], ..commit() },
            Commit { listings: vec![ListingChange::Put(listing); count], ..commit() },
            Commit { checkpoints: vec![checkpoint; count], ..commit() },
            Commit { payloads: vec![payload; count], ..commit() },
        ]
    }

    #[test]
    fn whatever_a_commit_writes_counts() {
        for fits in beside("x", limits::ITEMS - 1) {
            assert_eq!(fits.check(), Ok(()));
        }
        for over in beside("x", limits::ITEMS) {
            let error = over.check().expect_err("91 items");
            let (actual, limit) = (limits::ITEMS + 1, limits::ITEMS);
            assert_eq!(error, CommitError::TooLarge { what: "written items", actual, limit });
        }
        // The event, 22 of each of four kinds, and a payload.
        let [claims, wake_ups, listings, checkpoints, mut payloads] = beside("x", 22);
        payloads.payloads.truncate(1);
        let mut mixed = Commit {
            wake_ups: wake_ups.wake_ups,
            listings: listings.listings,
            checkpoints: checkpoints.checkpoints,
            payloads: payloads.payloads,
            ..claims
        };
        assert_eq!(mixed.check(), Ok(()));
        mixed.payloads.push(mixed.payloads[0].clone());
        assert!(matches!(mixed.check(), Err(CommitError::TooLarge { actual: 91, .. })));
    }

    #[test]
    fn what_stands_beside_events_needs_one() {
        let [_, _, _, progress, _] = beside("x", 1);
        for (commit, fits) in beside("x", 1).into_iter().zip([false, false, false, true, false]) {
            let mut alone = Commit { appends: Vec::new(), ..commit };
            assert_eq!(alone.check().is_ok(), fits, "{alone:?}");
            // A checkpoint, which needs none, does not lend its place to the others.
            alone.checkpoints = progress.checkpoints.clone();
            assert_eq!(alone.check().is_ok(), fits, "{alone:?}");
        }
    }

    #[test]
    fn no_text_may_hold_a_nul() {
        let [claims, wake_ups, listings, checkpoints, _] = beside("a\0b", 1);
        let clear = WakeUpChange::Clear(stream(), "a\0b".into());
        let cleared = Commit { wake_ups: vec![clear], ..commit() };
        let (mut kind, mut key) = (commit(), commit());
        kind.appends[0].events[0].kind = "a\0b".into();
        key.appends[0].events[0].key_id = Some("a\0b".into());
        for commit in [claims, wake_ups, cleared, listings, checkpoints, kind, key] {
            assert!(matches!(commit.check(), Err(CommitError::Invalid(_))), "{commit:?}");
        }
    }

    #[test]
    fn answers_are_inline_bytes_as_bodies_are() {
        let mut most = commit();
        most.claims = vec![take(&"x".repeat(limits::INLINE_BYTES - 2))];
        assert_eq!(most.check(), Ok(()));
        most.claims.push(take("y"));
        let (actual, limit) = (limits::INLINE_BYTES + 1, limits::INLINE_BYTES);
        assert_eq!(most.check(), Err(CommitError::TooLarge { what: "inline bytes", actual, limit }));
    }
}
