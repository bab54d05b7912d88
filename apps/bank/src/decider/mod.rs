//! The one decider of a shard.
//!
//! 1. Waiting requests are decided in memory, one after another, each on what the ones
//!    before it leave behind, and become commits with exact versions.
//! 2. Several commits are under way at once, but no two of them touch one stream: a
//!    commit rests on durable facts and on itself alone. If it could rest on one that is
//!    still under way, and that one lost its race against another node, the *version* it
//!    expects could be there with other facts under it. Requests for a stream that is
//!    busy wait, and go together into the next commit.
//! 3. A caller hears its answer once the commit that has it is durable; refusals too.
//! 4. On a conflict the states of before are taken back, the tails of their streams are
//!    read, and each request is decided anew: at once, later after up to 20 ms, at most
//!    8 times. A commit that conflicted is never sent again with other versions.
//! 5. On a taken key the request is answered from its claim and the others of the commit
//!    are decided anew. A repeat of a request that is under way joins it.

mod batch;
mod lease;
mod lines;
mod request;
mod settle;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use steadfast_core::{Failure, Fault, NodeId, World};
use steadfast_log::{Claim, ClaimKey, CommitError, Committed, Lease, Log, ReadError, StreamId, limits};
use tokio::sync::{Notify, mpsc};

pub use request::{Ask, Attach, Key};

use crate::{
    Answer, BankConfig, Reply,
    books::{Books, Entry, unreadable},
};
use batch::{Batch, Offer};
use lease::{LEASE, Tenure, Todo};
use lines::{Lines, Place};
pub(crate) use request::Request;

/// What a decider has counted since it started.
#[derive(Debug, Default)]
pub struct Stats {
    /// Commits that became durable.
    pub commits: AtomicU64,
    /// Requests in them.
    pub requests: AtomicU64,
    /// Conflicts that the store reported.
    pub conflicts: AtomicU64,
}

/// What the decider waits for, besides requests.
enum Event {
    Committed(Batch, Result<Committed, CommitError>),
    Loaded(StreamId, Result<Entry, ReadError>),
    /// What is recorded under the keys of the requests of a refused commit; its streams;
    /// and the error if the store lost track of it.
    Found(Vec<(Request, Found)>, Vec<StreamId>, Option<CommitError>),
    /// What is recorded under the key of a request that is not accepted.
    Rejected(Request, Failure, Result<Option<Claim>, ReadError>),
    /// A request whose wait after a conflict is over.
    Again(Request),
    Lease(Duration, Result<Lease, ReadError>),
    Rested,
    Done,
}

/// What was found under a request's own key, and under its forward key.
struct Found {
    own: Result<Option<Claim>, ReadError>,
    forward: Result<Option<Claim>, ReadError>,
}

/// Commits that may be under way although they are not full: one is synced, one is written.
const FEW: usize = 2;
/// Requests that fill a commit: most have two events on two streams.
const MANY: usize = limits::STREAMS_AND_EVENTS / 4;

type Work = FuturesUnordered<BoxFuture<'static, Event>>;

/// See the module's text. Ends when all its callers are gone, or when it is closed and has
/// answered what it took in.
pub(crate) struct Decider {
    log: Arc<dyn Log>,
    world: World,
    node: NodeId,
    config: Arc<BankConfig>,
    stats: Arc<Stats>,
    inbox: mpsc::Receiver<Request>,
    books: Books,
    /// Requests that wait; what commits under way have, and streams being read, is busy.
    waiting: Lines,
    /// Requests that have a key and no answer yet, and the repeats that joined them.
    pending: HashMap<ClaimKey, Vec<Request>>,
    commits: usize,
    /// Requests that are neither waiting nor in a commit.
    aside: usize,
    tenure: Tenure,
    work: Work,
}

impl Decider {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        world: World,
        node: NodeId,
        config: Arc<BankConfig>,
        stats: Arc<Stats>,
        inbox: mpsc::Receiver<Request>,
    ) -> Self {
        Self {
            books: Books::new(config.cached),
            tenure: Tenure::new(config.lease.get(), config.quantum.get()),
            log,
            world,
            node,
            config,
            stats,
            inbox,
            waiting: Lines::default(),
            pending: HashMap::new(),
            commits: 0,
            aside: 0,
            work: FuturesUnordered::new(),
        }
    }

    pub(crate) async fn run(mut self, closing: Arc<Notify>) {
        let mut open = true;
        while open || !self.idle() {
            self.step();
            let room = open && self.waiting.len() < self.config.queue.get();
            tokio::select! {
                biased;
                Some(event) = self.work.next(), if !self.work.is_empty() => self.on(event),
                () = closing.notified(), if open => self.inbox.close(),
                request = self.inbox.recv(), if room => match request {
                    Some(request) => self.accept(request),
                    None => open = false,
                },
                else => open = false,
            }
            self.drain();
        }
        // Only so that another node need not wait for it to run out.
        if let Err(error) = self.log.release(LEASE, self.node).await {
            tracing::debug!(%error, "the ledger's lease was not given back");
        }
    }

    fn idle(&self) -> bool {
        self.waiting.len() == 0 && self.commits == 0 && self.aside == 0
    }

    /// Takes in all that is already there, so that it can be decided together.
    fn drain(&mut self) {
        while let Some(Some(event)) = self.work.next().now_or_never() {
            self.on(event);
        }
        while self.waiting.len() < self.config.queue.get() {
            match self.inbox.try_recv() {
                Ok(request) => self.accept(request),
                Err(_) => return,
            }
        }
    }

    /// A new request, or a repeat of one that is under way, which joins it.
    fn accept(&mut self, request: Request) {
        if let Some(key) = request.key() {
            if let Some(joined) = self.pending.get_mut(&key) {
                if joined.len() < self.config.queue.get() {
                    joined.push(request);
                } else {
                    let _ = request.reply.send(Err(busy()));
                }
                return;
            }
            self.pending.insert(key, Vec::new());
        }
        self.waiting.push_back(request);
    }

    /// Looks after the lease, and decides what can be decided.
    fn step(&mut self) {
        let now = self.world.clock().elapsed();
        let work = self.waiting.len() > 0;
        match self.tenure.todo(now, work, self.commits > 0) {
            Todo::Ask => self.ask(now),
            Todo::Release => self.release(),
            Todo::Nothing => {}
        }
        if work && self.tenure.holds(now) {
            self.decide();
        }
    }

    fn ask(&mut self, now: Duration) {
        let (log, node, ttl) = (self.log.clone(), self.node, self.config.lease.get());
        let ask = async move { Event::Lease(now, log.lease(LEASE, node, ttl).await) };
        self.work.push(ask.boxed());
    }

    fn rest(&mut self, wait: Duration) {
        let sleep = self.world.clock().sleep(wait);
        self.work.push(sleep.map(|()| Event::Rested).boxed());
    }

    /// Gives the lease back and rests, so that the one who waits for it gets it.
    fn release(&mut self) {
        let (log, node) = (self.log.clone(), self.node);
        let rest = self.world.clock().sleep(self.config.quantum.get());
        let release = async move {
            if let Err(error) = log.release(LEASE, node).await {
                tracing::debug!(%error, "the ledger's lease was not given back");
            }
            rest.await;
            Event::Rested
        };
        self.work.push(release.boxed());
    }

    /// Decides waiting requests in order, as far as their streams are free and commits
    /// may be under way.
    fn decide(&mut self) {
        let mut batch = Batch::default();
        while !batch.is_empty() || self.may_begin() {
            let Some(request) = self.waiting.next() else {
                break;
            };
            if !self.current(&request) {
                self.waiting.push_front(request);
                continue;
            }
            let keys = [request.key(), request.forward_key];
            match batch.offer(request, &mut self.books, &self.world, &self.config) {
                Offer::Taken => {
                    keys.into_iter().flatten().for_each(|key| self.waiting.occupy(Place::Key(key)));
                }
                Offer::Answered(request, Ok(answer)) => self.finish_unwritten(*request, answer),
                Offer::Answered(request, Err(failure)) => self.rejected(*request, failure),
                Offer::Full(request) if batch.is_empty() => {
                    self.finish(*request, Err(too_large()));
                }
                Offer::Full(request) => {
                    self.send(std::mem::take(&mut batch));
                    self.waiting.push_front(*request);
                }
            }
        }
        if !batch.is_empty() {
            self.send(batch);
        }
    }

    /// May another commit be under way? While few are, whatever is in it; else only if it is
    /// full, since each one that is not costs the store as much.
    fn may_begin(&self) -> bool {
        let most = self.config.commits_in_flight.get();
        self.commits < most.min(FEW) || self.commits < most && self.waiting.len() >= MANY
    }

    /// Is all known that it is decided on? Starts to read what is not.
    fn current(&mut self, request: &Request) -> bool {
        let tenure = self.tenure.number();
        let mut current = true;
        for (i, stream) in request.streams.iter().enumerate() {
            if request.streams[..i].contains(stream) {
                continue;
            }
            if self.books.get(stream).is_some_and(|entry| entry.tenure == tenure) {
                continue;
            }
            current = false;
            self.load(stream.clone());
        }
        current
    }

    fn load(&mut self, stream: StreamId) {
        let known = self.books.peek(&stream).cloned();
        let (log, tenure) = (self.log.clone(), self.tenure.number());
        self.waiting.occupy(Place::Stream(stream.clone()));
        self.work.push(
            async move {
                let loaded = Entry::load(&*log, &stream, known).await;
                let loaded = loaded.map(|entry| Entry { tenure, ..entry });
                Event::Loaded(stream, loaded)
            }
            .boxed(),
        );
    }

    fn send(&mut self, mut batch: Batch) {
        for (stream, _) in &batch.before {
            self.waiting.occupy(Place::Stream(stream.clone()));
        }
        self.commits += 1;
        let (log, commit) = (self.log.clone(), batch.commit());
        self.work.push(
            async move {
                let result = log.commit(commit).await;
                Event::Committed(batch, result)
            }
            .boxed(),
        );
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Committed(batch, result) => self.committed(batch, result),
            Event::Loaded(stream, loaded) => self.loaded(stream, loaded),
            Event::Found(found, streams, lost) => self.found(found, &streams, lost.as_ref()),
            Event::Rejected(request, failure, own) => self.confirmed(request, failure, own),
            Event::Again(request) => {
                self.aside -= 1;
                self.waiting.push_front(request);
            }
            Event::Lease(asked, answer) => {
                if let Err(error) = &answer {
                    tracing::warn!(%error, "deciding without the ledger's lease");
                }
                if !self.tenure.answered(asked, &answer) {
                    let millis = 1 + self.world.chance().below(4);
                    self.rest(Duration::from_millis(millis));
                }
            }
            Event::Rested => self.tenure.rested(),
            Event::Done => {}
        }
    }

    fn loaded(&mut self, stream: StreamId, loaded: Result<Entry, ReadError>) {
        match loaded {
            Ok(entry) => self.books.put(stream.clone(), entry),
            Err(error) => {
                self.books.forget(&stream);
                let failure = unreadable(&error);
                for request in self.waiting.take_all(&stream) {
                    self.finish(request, Err(failure.clone()));
                }
            }
        }
        self.waiting.free(&Place::Stream(stream));
    }

    /// Tells the caller, and those who joined.
    fn finish(&mut self, request: Request, result: Result<Reply, Failure>) {
        let joined = request.key().and_then(|key| self.pending.remove(&key)).unwrap_or_default();
        let hash = request.taking.map(|taking| taking.request);
        for other in joined {
            if other.taking.map(|taking| taking.request) == hash {
                let result = match &result {
                    Ok(reply) => Ok(other.repeated(reply.answer.clone())),
                    Err(failure) => Err(failure.clone()),
                };
                let _ = other.reply.send(result);
            } else if result.is_ok() {
                let _ = other.reply.send(Err(request::reused()));
            } else {
                // The key is free after all: it is a request like any other.
                self.accept(other);
            }
        }
        // A caller that went away can ask again under its key.
        let _ = request.reply.send(result);
    }

    fn finish_unwritten(&mut self, request: Request, answer: Answer) {
        let reply = Reply { answer, replayed: false, conflicts: request.conflicts, attached: None };
        self.finish(request, Ok(reply));
    }
}

fn too_large() -> Failure {
    Failure::refused("commit.too_large", "the request and what is attached to it do not fit in one commit")
}

/// There are more requests than may wait.
pub(crate) fn busy() -> Failure {
    let mut failure = Failure::refused("ledger.busy", "too many requests wait; ask again").retryable();
    failure.fault = Fault::Us;
    failure
}
