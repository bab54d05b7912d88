//! Answers that are given again to the same question.
//!
//! 1. [`Cache::look`] before a call goes out: an answer, or a [`Miss`]. Who misses the same
//!    at the same time waits for the first ([`single_flight`]).
//! 2. [`Miss::keep`] with what came: it is kept if it is whole, finished, and nothing that
//!    only the one who asked may have ([`verdict`]). A stream is kept when its end was seen.
//!
//! Answers belong to who asked: tenant and user are part of the [`key`], unless the operator
//! shares an operation's answers within the tenant. A stream and a whole answer are two
//! entries: bytes are given again as they came, and nothing is made up to turn one into the
//! other.

mod asking;
mod canonical;
mod entry;
mod file;
mod invalidate;
mod key;
mod shared;
mod similar;
mod single_flight;
mod slots;
mod store;
mod verdict;
mod warm;
mod writer;

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;
use steadfast_core::{World, secret::Keyring};
use steadfast_resilience::Deadline;

use crate::{
    Answer, Call,
    answer::{About, Body, CacheResult, Frame, Usage},
    call::{CacheUse, Operation},
    config::CacheConfig,
};

pub(crate) use asking::Asking;
pub use file::FileError;
pub use invalidate::Which;
pub(crate) use key::Key;
pub(crate) use similar::{Asker, Counting, Embedder};
pub use warm::{Unfit, WarmLine};

use entry::{Entry, Kept};
use file::Keeper;
use shared::Shared;
use similar::{Near, Question};
use single_flight::{Lead, News};
use store::{Room, Seen, Slot, Store};
use writer::Writer;

/// How many calls that fail one after another are followed. With a provider that fails
/// slowly, waiting for each in turn would use up the deadline of all.
const FLIGHTS_MAX: usize = 3;

/// Where the gateway keeps what must survive, and how.
#[derive(Debug, Clone, Default)]
pub struct Home {
    /// The folder for its files; without one nothing survives.
    pub folder: Option<PathBuf>,
    /// The keys that files are sealed with.
    pub keyring: Option<Keyring>,
    /// Real people are served: nothing may be kept in the clear.
    pub production: bool,
}

/// A cache that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Answers would lie in the clear.
    #[error(
        "in production kept answers must be encrypted: configure store.key, or set models.cache.file or \
         models.cache.enabled to false"
    )]
    InTheClear,
    /// Its file cannot be used.
    #[error("kept answers: {0}")]
    File(#[from] FileError),
    /// Its thread did not start.
    #[error("the thread that writes kept answers did not start: {0}")]
    Thread(std::io::Error),
}

/// How the cache does.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CacheStats {
    /// Answers that are kept.
    pub entries: usize,
    /// The memory that they take.
    pub bytes: usize,
    /// The most that they may take.
    pub bytes_max: u64,
    /// The size of their file.
    pub file_bytes: u64,
    /// How often the file could not be written.
    pub file_errors: u64,
    /// Calls that found their answer, also one that was just being given to another.
    pub hits: u64,
    /// Calls that found the answer to the same question in other words.
    pub similar: u64,
    /// Of the hits, those that joined another call under way.
    pub shared: u64,
    /// Calls that found nothing.
    pub misses: u64,
    /// Calls that did not look.
    pub bypassed: u64,
    /// The part of the calls that looked and found something; none before the first.
    pub hit_rate: Option<f64>,
    /// Answers that were kept.
    pub kept: u64,
    /// Answers that made room for others.
    pub evicted: u64,
    /// Answers that were given past their time because nobody could be asked.
    pub stale: u64,
}

/// Kept answers.
pub(crate) struct Cache {
    config: CacheConfig,
    store: Arc<Store>,
    writer: Arc<Writer>,
    embedder: Arc<dyn Embedder>,
    world: World,
}

/// What a look gave.
pub(crate) enum Looked {
    /// An answer.
    Found(Answer),
    /// None. Hand the answer that comes to [`Miss::keep`].
    Miss(Miss),
}

/// A call that must be answered. Dropped, others that wait for its answer no longer do.
pub(crate) struct Miss {
    result: CacheResult,
    place: Option<Place>,
}

/// Where the answer will lie.
struct Place {
    key: Key,
    near: Option<Near>,
    lead: Option<Lead>,
    /// How often answers had been invalidated before it was asked.
    since: u64,
    store: Arc<Store>,
    writer: Arc<Writer>,
    ttl: Duration,
    world: World,
    answer_max: usize,
}

impl Cache {
    pub(crate) fn new(
        config: &CacheConfig,
        home: &Home,
        embedder: Arc<dyn Embedder>,
        world: &World,
    ) -> Result<Self, CacheError> {
        let store = Store::new(Room::of(config));
        let mut file = None;
        if let Some(folder) = home.folder.as_ref().filter(|_| config.enabled && config.file) {
            if home.production && home.keyring.is_none() {
                return Err(CacheError::InTheClear);
            }
            file = Some(Keeper::open(folder, home.keyring.clone())?);
        }
        let writer = Writer::start(&store, file, config.compress_from.as_usize(), world);
        let writer = Arc::new(writer.map_err(CacheError::Thread)?);
        Ok(Self { config: config.clone(), store, writer, embedder, world: world.clone() })
    }
    /// The same answers under other rules. What there is no room for any more is forgotten. Where
    /// they are kept, and from which size on compressed, does not change.
    pub(crate) fn reloaded(&self, config: &CacheConfig, embedder: Arc<dyn Embedder>) -> Self {
        let (store, writer) = (self.store.clone(), self.writer.clone());
        store.resize(Room::of(config));
        Self { config: config.clone(), store, writer, embedder, world: self.world.clone() }
    }
    /// Could the answer to this call be kept, or have been?
    fn serves(&self, call: &Call) -> bool {
        let config = &self.config;
        let steady = call.asked.temperature.is_none_or(|it| it <= config.temperature_max);
        let lasting = call.options.ttl.is_none_or(|ttl| !ttl.is_zero());
        config.enabled
            && steady
            && lasting
            && matches!(call.operation, Operation::Chat | Operation::Messages | Operation::Embeddings)
            && call.options.cache != CacheUse::Bypass
            && call.body.len() <= config.request_max.as_usize()
    }
    /// Where the answer to a call that would take `route` lies or will lie, if anywhere.
    fn place(&self, call: &Call, route: &str) -> Option<Place> {
        if !self.serves(call) {
            return None;
        }
        Some(Place {
            key: Key::of(call, &call.body, route, self.config.of(call.operation).share)?,
            near: None,
            lead: None,
            since: self.store.invalidated(),
            store: self.store.clone(),
            writer: self.writer.clone(),
            ttl: self.ttl(call),
            world: self.world.clone(),
            answer_max: self.config.answer_max.as_usize(),
        })
    }
    /// Looks for the answer to a call that would take `route`. Waits for another one's answer
    /// to the same, until the deadline at most.
    pub(crate) async fn look(&self, asker: Asker<'_>, route: &str, deadline: &Deadline) -> Looked {
        let call = asker.call;
        let Some(mut place) = self.place(call, route) else {
            self.store.counts.bypassed.fetch_add(1, Relaxed);
            return Looked::Miss(Miss { result: CacheResult::Bypass, place: None });
        };
        if call.options.cache != CacheUse::Refresh
            && let Some(answer) = self.find(call, &mut place, deadline).await
        {
            return Looked::Found(answer);
        }
        place.near = match place.near {
            None => self.near(asker, route, deadline).await,
            near => near,
        };
        if call.options.cache != CacheUse::Refresh {
            if let Some(answer) = self.similar(&place, false) {
                self.store.counts.similar.fetch_add(1, Relaxed);
                return Looked::Found(answer);
            }
            self.store.counts.misses.fetch_add(1, Relaxed);
        }
        Looked::Miss(Miss { result: CacheResult::Miss, place: Some(place) })
    }
    /// The answer to the very same question, kept or on its way; else `place` may have the
    /// lead.
    async fn find(&self, call: &Call, place: &mut Place, deadline: &Deadline) -> Option<Answer> {
        let counts = &self.store.counts;
        let flight = place.flight(call);
        for _ in 0..FLIGHTS_MAX {
            let now = self.world.now();
            let entry = if call.asked.tools {
                self.store.peek(place.key, now)?
            } else {
                match self.store.look(place.key, flight, now) {
                    Seen::Hit(entry) => entry,
                    Seen::Lead(lead) => {
                        place.lead = Some(lead);
                        return None;
                    }
                    Seen::Follow(flight) => match flight.follow(deadline).await? {
                        News::Over | News::Asking => continue,
                        News::Alone => return None,
                        News::Stream(stream) => {
                            let frames = stream.upgrade()?.join(call.operation, &call.id)?;
                            counts.hits.fetch_add(1, Relaxed);
                            counts.shared.fetch_add(1, Relaxed);
                            let cache = Some(CacheResult::Hit);
                            let about = About { cache, ..About::default() };
                            let body = Body::Stream(frames);
                            return Some(Answer { status: http::StatusCode::OK, body, about });
                        }
                    },
                }
            };
            let answer = entry.answer(CacheResult::Hit).ok()?;
            counts.hits.fetch_add(1, Relaxed);
            return Some(answer);
        }
        None
    }
    /// What finds the question in other words, where the operator allows that.
    async fn near(&self, asker: Asker<'_>, route: &str, deadline: &Deadline) -> Option<Near> {
        let rule = self.config.of(asker.call.operation);
        if !rule.similar {
            return None;
        }
        let Question { text, same } = similar::question(asker.call, route, rule.share)?;
        let point = self.embedder.embed(asker, &text, deadline).await?;
        Some(Near { same, point })
    }
    fn similar(&self, place: &Place, stale: bool) -> Option<Answer> {
        let threshold = self.config.similar.threshold.get();
        let near = place.near.as_ref()?;
        let entry = self.store.similar(near, threshold, self.world.now(), stale)?;
        entry.answer(CacheResult::Similar).ok()
    }
    /// What was answered once, when nobody can be asked now: to the same question, or to the
    /// same in other words, however old.
    pub(crate) fn last_resort(&self, miss: &Miss) -> Option<Answer> {
        let place = miss.place.as_ref()?;
        let exact = || {
            let entry = self.store.stale(place.key, self.world.now())?;
            entry.answer(CacheResult::Hit).ok()
        };
        let answer = exact().or_else(|| self.similar(place, true))?;
        self.store.counts.stale.fetch_add(1, Relaxed);
        Some(answer)
    }
    fn ttl(&self, call: &Call) -> Duration {
        let most = self.config.ttl.get();
        call.options.ttl.map_or(most, |ttl| ttl.min(most))
    }
    /// Forgets answers, in memory and in the file, and says how many. None if the file could
    /// not be written: after a restart they would be back.
    pub(crate) async fn invalidate(&self, which: &Which) -> Option<usize> {
        let gone = self.store.invalidate(which);
        self.writer.settled().await.then_some(gone)
    }
    /// How it does.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub(crate) fn stats(&self) -> CacheStats {
        let counts = &self.store.counts;
        let (entries, bytes) = self.store.size();
        let (file_bytes, file_errors) = self.writer.file();
        let [hits, similar, misses] =
            [&counts.hits, &counts.similar, &counts.misses].map(|count| count.load(Relaxed));
        let looked = hits + similar + misses;
        CacheStats {
            entries,
            bytes,
            bytes_max: self.config.memory_max.get(),
            file_bytes,
            file_errors,
            hits,
            similar,
            shared: counts.shared.load(Relaxed),
            misses,
            bypassed: counts.bypassed.load(Relaxed),
            hit_rate: (looked > 0).then(|| (hits + similar) as f64 / looked as f64),
            kept: counts.kept.load(Relaxed),
            evicted: counts.evicted.load(Relaxed),
            stale: counts.stale.load(Relaxed),
        }
    }
}

impl Place {
    /// Which calls share one call upstream. A stream ends for all who read it when the one who
    /// asked wants no more time, and goes on or not as that one wants it.
    fn flight(&self, call: &Call) -> Key {
        let (deadline, goes_on) = (call.options.deadline, call.options.continue_stream);
        if !call.asked.stream || (deadline, goes_on) == (None, None) {
            return self.key;
        }
        self.key.with(format!("{deadline:?} {goes_on:?}").as_bytes())
    }
    /// Keeps an entry, if it is not too large.
    fn put(
        &self,
        make: impl FnOnce(Kept) -> Entry,
        call: &Call,
        about: &About,
        usage: Option<Usage>,
    ) -> bool {
        let now = self.world.now();
        let mut kept = Kept::new(call, about, usage, now, now.after(self.ttl));
        kept.near.clone_from(&self.near);
        let entry = make(kept);
        if entry.bytes.len() > self.answer_max {
            return false;
        }
        let slot = Slot { entry: Arc::new(entry), hits: 0, used: now };
        if !self.store.put(self.key, slot.clone(), self.since) {
            return false;
        }
        self.store.counts.kept.fetch_add(1, Relaxed);
        self.writer.put(self.key, slot);
        true
    }
}

impl Miss {
    /// What the look gave.
    pub(crate) fn result(&self) -> CacheResult {
        self.result
    }
    /// Keeps the answer if it may be given again, now or when its stream has ended well, and
    /// passes it on.
    pub(crate) fn keep(self, call: &Arc<Call>, mut answer: Answer) -> Answer {
        answer.about.cache = Some(self.result);
        let Some(mut place) = self.place else { return answer };
        let lead = place.lead.take();
        if answer.status != http::StatusCode::OK || answer.about.degraded.is_some() {
            return answer;
        }
        let about = answer.about.clone();
        answer.body = match answer.body {
            Body::Whole(bytes) => {
                let kept = verdict::whole(call.operation, &bytes)
                    && place.put(|kept| Entry::whole(kept, bytes.clone()), call, &about, about.usage);
                match lead {
                    Some(lead) if !kept => lead.alone(),
                    // Others look again, and find it.
                    _ => {}
                }
                Body::Whole(bytes)
            }
            Body::Stream(frames) => {
                let flight = lead.as_ref().map(Lead::flight);
                let of = call.clone();
                let answer_max = place.answer_max;
                let done = move |frames: &VecDeque<Frame>| {
                    let call = &of;
                    if verdict::stream(call.operation, call.asked.choices, frames.iter()) {
                        let usage = frames.iter().filter_map(|frame| frame.usage).reduce(Usage::max);
                        place.put(|kept| Entry::stream(kept, frames.iter()), call, &about, usage);
                    }
                    drop(lead);
                };
                let (shared, frames) =
                    Shared::new(frames, answer_max, Box::new(done), call.operation, &call.id);
                if let Some(flight) = flight {
                    flight.shares(&shared);
                }
                Body::Stream(frames)
            }
        };
        answer
    }
}
