use std::num::NonZeroUsize;

use lru::LruCache;
use serde::{Deserialize, Serialize};
use steadfast_core::{Coded, Failure, Time};
use steadfast_log::{Expect, Log, ReadError, Recorded, Snapshot, StreamId, events_through};

use crate::{Account, Fact, Product, events::SCHEMA};

/// What a stream's facts amount to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum State {
    Absent,
    Account(Box<Account>),
    Product(Box<Product>),
}

impl State {
    pub(crate) fn apply(&mut self, fact: &Fact, time: Time) {
        match (&mut *self, fact) {
            (Self::Absent, Fact::AccountOpened(opened)) => {
                *self = Self::Account(Box::new(Account::opened(opened)));
            }
            (Self::Absent, Fact::ProductListed(listed)) => {
                *self = Self::Product(Box::new(Product::listed(listed)));
            }
            (Self::Account(account), fact) => account.apply(fact, time),
            (Self::Product(product), fact) => product.apply(fact),
            (Self::Absent, _) => {}
        }
    }
}

/// A state, and what it is a state of.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    /// The last event in it.
    pub(crate) version: u64,
    /// The last event in the stream's snapshot.
    pub(crate) snapshot: u64,
    /// The tenure in which it was last known to be the newest.
    pub(crate) tenure: u64,
    pub(crate) state: State,
}

const PAGE: usize = 500;

impl Entry {
    fn empty() -> Self {
        Self { version: 0, snapshot: 0, tenure: 0, state: State::Absent }
    }

    /// What an append on top of it expects.
    pub(crate) fn expect(&self) -> Expect {
        match self.version {
            0 => Expect::New,
            version => Expect::Exact(version),
        }
    }

    fn fold(&mut self, recorded: &Recorded) -> Result<(), ReadError> {
        let fact = Fact::decode(recorded).map_err(|error| ReadError::Corrupt(error.to_string()))?;
        self.state.apply(&fact, recorded.event.time);
        self.version = recorded.version;
        Ok(())
    }

    /// The newest state of a stream: `known`, else its snapshot, and what came after.
    pub(crate) async fn load(
        log: &dyn Log,
        stream: &StreamId,
        known: Option<Self>,
    ) -> Result<Self, ReadError> {
        let mut entry = match known {
            Some(entry) => entry,
            None => Self::from_snapshot(log.snapshot(stream).await?),
        };
        loop {
            let events = log.read_stream(stream, entry.version + 1, PAGE).await?;
            for recorded in &events {
                entry.fold(recorded)?;
            }
            if events.len() < PAGE {
                return Ok(entry);
            }
        }
    }

    /// Is the snapshot of a stream what its events amount to?
    pub(crate) async fn check(
        log: &dyn Log,
        stream: &StreamId,
        snapshot: Snapshot,
    ) -> Result<bool, ReadError> {
        let (kept, mut fold) = (Self::from_snapshot(Some(snapshot)), Self::empty());
        let there = events_through(log, stream, kept.version, |recorded| fold.fold(recorded)).await?;
        Ok(there && fold.state == kept.state)
    }

    /// A snapshot of a shape that is not ours is as good as none.
    fn from_snapshot(snapshot: Option<Snapshot>) -> Self {
        let read = |snapshot: Snapshot| {
            let state =
                (snapshot.schema == SCHEMA).then(|| serde_json::from_slice(&snapshot.body).ok()).flatten()?;
            Some(Self { version: snapshot.version, snapshot: snapshot.version, tenure: 0, state })
        };
        snapshot.and_then(read).unwrap_or_else(Self::empty)
    }

    pub(crate) fn to_snapshot(&self) -> Snapshot {
        Snapshot { version: self.version, schema: SCHEMA, body: crate::events::encode(&self.state) }
    }
}

/// The accounts and products lately touched, as their streams tell them.
pub(crate) struct Books(LruCache<StreamId, Entry>);

impl Books {
    /// A commit may touch 64 streams; fewer than those would forget what they just did.
    const LEAST: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1_023);

    pub(crate) fn new(cached: usize) -> Self {
        let cached = NonZeroUsize::new(cached).unwrap_or(Self::LEAST);
        Self(LruCache::new(cached.max(Self::LEAST)))
    }
    /// Without counting as a use.
    pub(crate) fn peek(&self, stream: &StreamId) -> Option<&Entry> {
        self.0.peek(stream)
    }
    pub(crate) fn get(&mut self, stream: &StreamId) -> Option<&Entry> {
        self.0.get(stream)
    }
    pub(crate) fn get_mut(&mut self, stream: &StreamId) -> Option<&mut Entry> {
        self.0.get_mut(stream)
    }
    pub(crate) fn put(&mut self, stream: StreamId, entry: Entry) {
        self.0.put(stream, entry);
    }
    pub(crate) fn forget(&mut self, stream: &StreamId) {
        self.0.pop(stream);
    }
}

/// Store errors met on the way to an answer.
pub(crate) fn unreadable(error: &ReadError) -> Failure {
    let mut failure = error.failure();
    failure.nothing_happened = true;
    failure
}
