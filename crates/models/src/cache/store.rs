//! Answers in memory: found by their key, forgotten by age, use and size.
//!
//! One mutex guards entries, flights and the index of similar questions together, so that
//! between a miss and the start of a flight nothing can happen. It is held for a look into a
//! map and never over an await, a compression or a file.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use lru::LruCache;
use steadfast_core::Time;

use super::{
    Key,
    entry::Entry,
    invalidate::Which,
    similar::{Index, Near},
    single_flight::{Flight, Lead},
};
use crate::config::CacheConfig;

/// How many invalidations are known by what they meant. What was asked for before so many of them
/// is not kept.
const INVALIDATIONS_MAX: usize = 1_000;

/// What is in memory.
pub(super) struct Store {
    state: Mutex<State>,
    pub(super) counts: Counts,
}

/// How much is kept, and for how long past its time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) entries_max: usize,
    pub(super) memory_max: usize,
    pub(super) stale: Duration,
}

impl Room {
    pub(super) fn of(config: &CacheConfig) -> Self {
        Self {
            entries_max: usize::try_from(config.entries_max).unwrap_or(usize::MAX),
            memory_max: config.memory_max.as_usize(),
            stale: config.stale.get(),
        }
    }
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) hits: AtomicU64,
    pub(super) similar: AtomicU64,
    pub(super) shared: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) bypassed: AtomicU64,
    pub(super) kept: AtomicU64,
    pub(super) evicted: AtomicU64,
    pub(super) stale: AtomicU64,
}

struct State {
    entries: LruCache<Key, Slot>,
    flights: HashMap<Key, Arc<Flight>>,
    similar: Index,
    bytes: usize,
    /// The last invalidations, and how many there were in all.
    invalidations: VecDeque<Which>,
    invalidated: u64,
    room: Room,
}

/// An entry's place.
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) entry: Arc<Entry>,
    /// How often it was given again.
    pub(super) hits: u64,
    /// When it was last.
    pub(super) used: Time,
}

/// What a look found.
pub(super) enum Seen {
    Hit(Arc<Entry>),
    Follow(Arc<Flight>),
    Lead(Lead),
}

impl State {
    fn remove(&mut self, key: Key) -> Option<Slot> {
        let slot = self.entries.pop(&key)?;
        self.forget(key, &slot);
        Some(slot)
    }
    fn forget(&mut self, key: Key, slot: &Slot) {
        self.bytes = self.bytes.saturating_sub(slot.entry.size());
        if let Some(near) = &slot.entry.kept.near {
            self.similar.remove(key, near);
        }
    }
    fn hit(&mut self, key: &Key, now: Time) -> Option<Arc<Entry>> {
        let slot = self.entries.get_mut(key)?;
        slot.hits += 1;
        slot.used = now;
        Some(slot.entry.clone())
    }
    /// Was what was asked for after `since` invalidations invalidated by a later one?
    fn is_invalid(&self, slot: &Slot, since: u64) -> bool {
        let later = usize::try_from(self.invalidated - since).unwrap_or(usize::MAX);
        later > self.invalidations.len()
            || self.invalidations.iter().take(later).any(|which| which.fits(&slot.entry.kept))
    }
    /// Is there one that may still be given?
    fn fresh(&self, key: &Key, now: Time) -> bool {
        self.entries.peek(key).is_some_and(|slot| now < slot.entry.kept.expires)
    }
}

impl Store {
    pub(super) fn new(room: Room) -> Arc<Self> {
        let state = State {
            entries: LruCache::unbounded(),
            flights: HashMap::new(),
            similar: Index::default(),
            bytes: 0,
            invalidations: VecDeque::new(),
            invalidated: 0,
            room,
        };
        Arc::new(Self { state: Mutex::new(state), counts: Counts::default() })
    }
    /// There is so much room from now on.
    pub(super) fn resize(&self, room: Room) {
        let mut state = self.lock();
        state.room = room;
        self.fit(&mut state);
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// The answer, or the flight that brings it, or the right to ask for it.
    pub(super) fn look(self: &Arc<Self>, key: Key, by: Key, now: Time) -> Seen {
        let mut state = self.lock();
        if state.fresh(&key, now)
            && let Some(entry) = state.hit(&key, now)
        {
            return Seen::Hit(entry);
        }
        if let Some(flight) = state.flights.get(&by) {
            return Seen::Follow(flight.clone());
        }
        let flight = Flight::new();
        state.flights.insert(by, flight.clone());
        Seen::Lead(Lead::new(by, flight, self.clone()))
    }
    /// The answer, if it may still be given; nobody follows and nobody leads.
    pub(super) fn peek(&self, key: Key, now: Time) -> Option<Arc<Entry>> {
        let mut state = self.lock();
        if state.fresh(&key, now) { state.hit(&key, now) } else { None }
    }
    /// The answer, also one that should not be given any more.
    pub(super) fn stale(&self, key: Key, now: Time) -> Option<Arc<Entry>> {
        let mut state = self.lock();
        let kept = state.entries.peek(&key)?.entry.kept.expires.after(state.room.stale);
        if now < kept { state.hit(&key, now) } else { None }
    }
    /// The nearest answer to the same question in other words.
    pub(super) fn similar(&self, near: &Near, threshold: f64, now: Time, stale: bool) -> Option<Arc<Entry>> {
        let mut state = self.lock();
        let found = state.similar.find(near, threshold);
        let key = found.into_iter().find(|key| stale || state.fresh(key, now))?;
        state.hit(&key, now)
    }
    /// A flight has ended.
    pub(super) fn land(&self, key: &Key, flight: &Arc<Flight>) {
        let mut state = self.lock();
        if state.flights.get(key).is_some_and(|other| Arc::ptr_eq(other, flight)) {
            state.flights.remove(key);
        }
    }
    /// How often answers were invalidated.
    pub(super) fn invalidated(&self) -> u64 {
        self.lock().invalidated
    }
    /// Keeps an entry, and forgets others that there is no room for any more. False if it has
    /// no room itself, or was invalidated since it was asked for, after so many invalidations.
    pub(super) fn put(&self, key: Key, slot: Slot, since: u64) -> bool {
        let size = slot.entry.size();
        let mut state = self.lock();
        if size > state.room.memory_max {
            return false;
        }
        if state.is_invalid(&slot, since) {
            return false;
        }
        state.remove(key);
        if let Some(near) = &slot.entry.kept.near {
            state.similar.add(key, near);
        }
        state.bytes += size;
        state.entries.put(key, slot);
        self.fit(&mut state);
        true
    }
    fn fit(&self, state: &mut State) {
        let Room { entries_max, memory_max, .. } = state.room;
        while state.entries.len() > entries_max || state.bytes > memory_max {
            let Some((key, slot)) = state.entries.pop_lru() else { break };
            state.forget(key, &slot);
            self.counts.evicted.fetch_add(1, Relaxed);
        }
    }
    /// Puts the same answer in less space, if it is still there.
    pub(super) fn pack(&self, key: Key, packed: Entry) {
        let mut state = self.lock();
        let Some(slot) = state.entries.peek_mut(&key) else { return };
        if Arc::ptr_eq(&slot.entry.kept, &packed.kept) {
            let (before, after) = (slot.entry.size(), packed.size());
            slot.entry = Arc::new(packed);
            state.bytes = state.bytes.saturating_sub(before) + after;
        }
    }
    /// Is this very answer there?
    pub(super) fn holds(&self, key: Key, entry: &Entry) -> bool {
        let state = self.lock();
        state.entries.peek(&key).is_some_and(|slot| Arc::ptr_eq(&slot.entry.kept, &entry.kept))
    }
    /// Forgets what is too old even for hard times.
    pub(super) fn purge(&self, now: Time) {
        let stale = self.lock().room.stale;
        self.forget_where(|slot| slot.entry.kept.expires.after(stale) <= now);
    }
    /// Forgets answers, and says how many.
    pub(super) fn invalidate(&self, which: &Which) -> usize {
        {
            let mut state = self.lock();
            state.invalidated += 1;
            state.invalidations.push_front(which.clone());
            state.invalidations.truncate(INVALIDATIONS_MAX);
            // Who asks from now on wants no answer to what was asked before.
            state.flights.clear();
        }
        self.forget_where(|slot| which.fits(&slot.entry.kept))
    }
    fn forget_where(&self, gone: impl Fn(&Slot) -> bool) -> usize {
        let mut state = self.lock();
        let keys: Vec<_> = state.entries.iter().filter(|(_, slot)| gone(slot)).map(|(key, _)| *key).collect();
        for key in &keys {
            state.remove(*key);
        }
        keys.len()
    }
    /// All keys, the one that was not used for the longest time first.
    pub(super) fn keys(&self) -> Vec<Key> {
        self.lock().entries.iter().rev().map(|(key, _)| *key).collect()
    }
    /// One entry, if it is still there.
    pub(super) fn slot(&self, key: &Key) -> Option<Slot> {
        self.lock().entries.peek(key).cloned()
    }
    /// How many entries there are, and how much memory they take.
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.lock();
        (state.entries.len(), state.bytes)
    }
}
