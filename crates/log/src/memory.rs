use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};
use steadfast_core::{Mutant, NodeId, World, planted, secret::Secret};
use tokio::sync::watch;

use crate::{
    Claim, ClaimChange, ClaimKey, Commit, CommitError, Committed, Derived, DueQuery, Identity, Lease,
    ListQuery, Listings, Log, Page, PayloadId, Position, Reading, Recorded, Side, Snapshot, StreamId, WakeUp,
};

/// A log in memory: the model that every store is held against, and the store of the
/// simulator. Durable as long as the process.
pub struct MemoryLog {
    world: World,
    identity: Identity,
    payload_key: Secret<Vec<u8>>,
    state: Mutex<State>,
    tail: watch::Sender<Position>,
}

#[derive(Default)]
struct State {
    events: Vec<Recorded>,
    streams: HashMap<StreamId, Vec<usize>>,
    derived: Derived,
    payloads: HashMap<PayloadId, Bytes>,
    snapshots: HashMap<StreamId, Snapshot>,
    checkpoints: HashMap<String, Position>,
    leases: Leases,
}

impl MemoryLog {
    /// An empty log.
    pub fn new(world: World) -> Self {
        let identity = Identity { log_id: world.uuid(), incarnation: 1, held: false };
        let payload_key = Secret::new(world.chance().bits().to_be_bytes().to_vec());
        let (tail, _) = watch::channel(at(0));
        Self { world, identity, payload_key, state: Mutex::default(), tail }
    }

    /// What is derived from the log, for comparison.
    pub fn derived(&self) -> Derived {
        self.lock().derived.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T: Send + 'static>(&self, read: impl FnOnce(&mut State) -> T) -> Reading<'static, T> {
        ready(Ok(read(&mut self.lock()))).boxed()
    }
}

/// The place of the n-th event of a log that was never restored.
const fn at(n: u64) -> Position {
    Position { incarnation: 1, shard: 0, n }
}

impl State {
    fn head(&self, stream: &StreamId) -> u64 {
        self.streams.get(stream).map_or(0, |events| events.len() as u64)
    }

    fn check(&self, commit: &Commit, now: steadfast_core::Time) -> Result<(), CommitError> {
        commit.check()?;
        let mut taken: Vec<(&ClaimKey, &Claim)> = Vec::new();
        for change in &commit.claims {
            if let ClaimChange::Take(key, claim) = change {
                let earlier = taken.iter().rev().find(|(other, _)| *other == key).map(|(_, claim)| *claim);
                let held = earlier.or_else(|| self.derived.claims.get(key));
                if let Some(held) = held.filter(|held| held.refuses(now)) {
                    return Err(CommitError::Claimed(*key, held.clone()));
                }
                taken.push((key, claim));
            }
        }
        for append in &commit.appends {
            let actual = self.head(&append.stream);
            if !append.expect.fits(actual) {
                return Err(CommitError::Conflict { stream: append.stream.clone(), actual });
            }
        }
        for (i, payload) in commit.payloads.iter().enumerate() {
            let in_commit = commit.payloads[..i].iter().any(|p| p.id == payload.id && p.bytes.is_some());
            if payload.bytes.is_none() && !in_commit && !self.payloads.contains_key(&payload.id) {
                return Err(CommitError::NoPayload(payload.id));
            }
        }
        Ok(())
    }

    fn apply(&mut self, commit: Commit) -> Committed {
        let side = Side::of(&commit);
        let mut side_bytes = side.encode();
        self.derived.apply_side(side);
        for payload in commit.payloads {
            if let Some(bytes) = payload.bytes {
                self.payloads.entry(payload.id).or_insert(bytes);
            }
        }
        for checkpoint in commit.checkpoints {
            self.checkpoints.insert(checkpoint.subscriber, checkpoint.position);
        }
        let mut versions = Vec::with_capacity(commit.appends.len());
        for append in commit.appends {
            let places = self.streams.entry(append.stream.clone()).or_default();
            for event in append.events {
                let position = at(self.events.len() as u64 + 1);
                places.push(self.events.len());
                self.events.push(Recorded {
                    position,
                    stream: append.stream.clone(),
                    version: places.len() as u64,
                    event,
                    side: side_bytes.take(),
                    ends: false,
                });
            }
            versions.push(places.len() as u64);
            self.derived.heads.insert(append.stream, places.len() as u64);
        }
        if let Some(last) = self.events.last_mut() {
            last.ends = true;
        }
        Committed { position: at(self.events.len() as u64), versions }
    }
}

impl Log for MemoryLog {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn payload_key(&self) -> Secret<Vec<u8>> {
        self.payload_key.clone()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let now = self.world.now();
        let mut state = self.lock();
        let result = state.check(&commit, now).map(|()| state.apply(commit));
        if let Ok(committed) = &result {
            self.tail.send_replace(committed.position);
        }
        ready(result).boxed()
    }

    fn read_stream<'a>(
        &'a self,
        stream: &'a StreamId,
        from: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        let skip = usize::try_from(from.max(1) - 1).unwrap_or(usize::MAX);
        self.read(|state| {
            let places = state.streams.get(stream).map_or(&[][..], Vec::as_slice);
            places.iter().skip(skip).take(limit).map(|place| state.events[*place].clone()).collect()
        })
    }

    fn read_stream_back<'a>(
        &'a self,
        stream: &'a StreamId,
        before: u64,
        limit: usize,
    ) -> Reading<'a, Vec<Recorded>> {
        let keep = usize::try_from(before.max(1) - 1).unwrap_or(usize::MAX);
        self.read(|state| {
            let places = state.streams.get(stream).map_or(&[][..], Vec::as_slice);
            let places = &places[..places.len().min(keep)];
            places.iter().rev().take(limit).map(|place| state.events[*place].clone()).collect()
        })
    }

    fn read_all(&self, after: Position, limit: usize) -> Reading<'_, Page> {
        let skip = usize::try_from(after.n).unwrap_or(usize::MAX);
        self.read(|state| {
            let mut events = Vec::new();
            for recorded in state.events.iter().skip(skip) {
                let full =
                    events.len() >= limit.max(1) && events.last().is_some_and(|last: &Recorded| last.ends);
                if full {
                    break;
                }
                events.push(recorded.clone());
            }
            let end = at(state.events.len() as u64);
            Page { next: events.last().map_or(end, |last| last.position), events }
        })
    }

    fn head<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, u64> {
        self.read(|state| state.head(stream))
    }

    fn claim(&self, key: ClaimKey) -> Reading<'_, Option<Claim>> {
        self.read(|state| state.derived.claims.get(&key).cloned())
    }

    fn payload(&self, id: PayloadId) -> Reading<'_, Option<Bytes>> {
        self.read(|state| state.payloads.get(&id).cloned())
    }

    fn due(&self, query: DueQuery) -> Reading<'_, Vec<WakeUp>> {
        let key = |w: &WakeUp| (w.due, w.stream.clone(), w.name.clone());
        self.read(|state| {
            let mut due: Vec<WakeUp> = state
                .derived
                .wake_ups
                .values()
                .filter(|w| w.due <= query.until && w.stream.category() == query.category)
                .filter(|w| query.after.as_ref().is_none_or(|after| key(w) > key(after)))
                .cloned()
                .collect();
            due.sort_by_cached_key(key);
            due.truncate(query.limit);
            due
        })
    }

    fn list(&self, query: ListQuery) -> Reading<'_, Listings> {
        self.read(|state| {
            let mut rows: Vec<_> = state
                .derived
                .listings
                .values()
                .filter(|row| query.matches(row))
                .filter(|row| {
                    query.after.as_ref().is_none_or(|after| (row.created, &row.stream) < (after.0, &after.1))
                })
                .cloned()
                .collect();
            rows.sort_by(|a, b| (b.created, &b.stream).cmp(&(a.created, &a.stream)));
            let more = rows.len() > query.limit;
            rows.truncate(query.limit);
            Listings { rows, more }
        })
    }

    fn count(&self, query: ListQuery) -> Reading<'_, u64> {
        self.read(|state| state.derived.listings.values().filter(|row| query.matches(row)).count() as u64)
    }

    fn snapshot<'a>(&'a self, stream: &'a StreamId) -> Reading<'a, Option<Snapshot>> {
        self.read(|state| state.snapshots.get(stream).cloned())
    }

    fn put_snapshot(&self, stream: StreamId, snapshot: Snapshot) -> Reading<'_, ()> {
        self.read(|state| {
            state.snapshots.insert(stream, snapshot);
        })
    }

    fn checkpoint<'a>(&'a self, subscriber: &'a str) -> Reading<'a, Option<Position>> {
        self.read(|state| state.checkpoints.get(subscriber).copied())
    }

    fn lease<'a>(&'a self, name: &'a str, holder: NodeId, ttl: Duration) -> Reading<'a, Lease> {
        let now = self.world.clock().elapsed();
        self.read(|state| state.leases.ask(name, holder, now, ttl))
    }

    fn release<'a>(&'a self, name: &'a str, holder: NodeId) -> Reading<'a, ()> {
        self.read(|state| state.leases.release(name, holder))
    }

    fn tail(&self) -> watch::Receiver<Position> {
        self.tail.subscribe()
    }
}

/// Leases of a store that one process writes: memory is enough, since a new process
/// finds none, as if all had run out.
#[derive(Debug, Default)]
pub struct Leases(HashMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    holder: NodeId,
    until: Duration,
    wanted: bool,
}

impl Leases {
    /// See [`Log::lease`]; `now` is monotonic.
    pub fn ask(&mut self, name: &str, holder: NodeId, now: Duration, ttl: Duration) -> Lease {
        match self.0.get_mut(name) {
            Some(entry) if entry.holder == holder => {
                let wanted = std::mem::take(&mut entry.wanted);
                entry.until = now + ttl;
                // Even if it ran out: nobody else took it in between.
                Lease::Held { again: true, wanted }
            }
            Some(entry)
                if entry.until > now || name.starts_with("node/") && planted(Mutant::LeaseNeverEnds) =>
            {
                entry.wanted = true;
                Lease::Taken { by: entry.holder }
            }
            _ => {
                self.0.insert(name.to_owned(), Entry { holder, until: now + ttl, wanted: false });
                Lease::Held { again: false, wanted: false }
            }
        }
    }

    /// See [`Log::release`].
    pub fn release(&mut self, name: &str, holder: NodeId) {
        if self.0.get(name).is_some_and(|entry| entry.holder == holder) {
            self.0.remove(name);
        }
    }
}

impl std::fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLog").field("identity", &self.identity).finish_non_exhaustive()
    }
}
