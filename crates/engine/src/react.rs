//! What events set off: triggers start workflows and signal runs, sinks hand events to
//! the outside. Each goes its own way from its own checkpoint; one that fails stops no
//! other, and what it cannot handle becomes a dead letter (law 3, promise G6).

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use steadfast_core::{Coded, Failure, Mutant, RunId, canonical::Hash, defaults, planted};
use steadfast_log::{ClaimKey, Commit, Lease, Position, Recorded, StreamId, Subscription};

use crate::{
    Data, Engine, Start,
    dead_letter::{DeadLetter, LetterKind},
    engine::Inner,
    record::kind,
};

const PAGE: usize = 100;

/// Hands an event to the outside. The same event may come again.
pub trait Deliver: Send + Sync + 'static {
    /// Once this is Ok, the event is not delivered again.
    fn deliver<'a>(&'a self, event: &'a Recorded) -> BoxFuture<'a, Result<(), Failure>>;
}

/// What a trigger does about an event.
#[derive(Debug, Clone)]
pub enum Reaction {
    /// Starts a run; once, however often the event comes.
    Start(Start),
    /// Signals a run; once, however often the event comes.
    Signal {
        /// Which run of the event's tenant.
        run: RunId,
        /// The signal's name.
        name: String,
        /// Its value.
        value: Data,
    },
}

type Decide = Arc<dyn Fn(&Recorded) -> Result<Option<Reaction>, Failure> + Send + Sync>;

#[derive(Clone)]
enum Does {
    Trigger(Decide),
    Sink(Arc<dyn Deliver>),
}

/// Someone who reacts to events.
#[derive(Clone)]
pub struct Subscriber {
    name: String,
    /// Event types, `*` at the end standing for the rest.
    events: Vec<String>,
    does: Does,
}

impl Subscriber {
    /// Decides for each event of these types what to do about it; `None` is nothing.
    pub fn trigger(
        name: impl Into<String>,
        events: Vec<String>,
        decide: impl Fn(&Recorded) -> Result<Option<Reaction>, Failure> + Send + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), events, does: Does::Trigger(Arc::new(decide)) }
    }
    /// Hands events of these types to the outside.
    pub fn sink(name: impl Into<String>, events: Vec<String>, deliver: Arc<dyn Deliver>) -> Self {
        Self { name: name.into(), events, does: Does::Sink(deliver) }
    }
    /// Its name, and that of its checkpoint.
    pub fn name(&self) -> &str {
        &self.name
    }
    fn wants(&self, kind: &str) -> bool {
        self.events.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => kind.starts_with(prefix),
            None => kind == pattern,
        })
    }
}

impl std::fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscriber")
            .field("name", &self.name)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Follows the log for one subscriber, until the future is dropped.
    pub(crate) async fn follow(&self, subscriber: Subscriber) {
        let engine = &self.inner;
        let lease = format!("subscriber/{}", subscriber.name);
        let ttl = engine.config.node_lease.get();
        loop {
            match engine.log.lease(&lease, engine.node, ttl).await {
                Ok(Lease::Held { .. }) => {
                    let pass = self.follow_for(&subscriber, ttl / 2);
                    if let Err(failure) = pass.await {
                        tracing::warn!(subscriber = %subscriber.name, code = %failure.code, "a subscriber cannot read on");
                        engine.world.clock().sleep(Duration::from_secs(1)).await;
                    }
                }
                Ok(Lease::Taken { .. }) | Err(_) => engine.world.clock().sleep(ttl / 3).await,
            }
        }
    }

    async fn follow_for(&self, subscriber: &Subscriber, limit: Duration) -> Result<(), Failure> {
        let engine = &self.inner;
        let until = engine.world.clock().elapsed() + limit;
        let subscription = Subscription::resume(engine.log.clone(), &*subscriber.name, Position::START);
        let mut subscription = subscription.await.map_err(|error| error.failure())?;
        loop {
            let left = until.saturating_sub(engine.world.clock().elapsed());
            if left.is_zero() {
                return Ok(());
            }
            let page = tokio::select! {
                biased;
                page = subscription.next(PAGE) => page.map_err(|error| error.failure())?,
                () = engine.world.clock().sleep(left) => return Ok(()),
            };
            if planted(Mutant::CheckpointFirst) {
                subscription.advance(page.next, true).await.map_err(|error| error.failure())?;
            }
            let mut wanted = false;
            for event in page.events.iter().filter(|event| subscriber.wants(&event.event.kind)) {
                wanted = true;
                self.handle_patiently(subscriber, event).await?;
            }
            // Pages without anything of ours need no write; they cost a re-read at most.
            let durable = wanted || page.events.len() >= PAGE;
            subscription.advance(page.next, durable).await.map_err(|error| error.failure())?;
        }
    }

    /// Tries, and tries again; then writes a dead letter and goes on with the next event.
    async fn handle_patiently(&self, subscriber: &Subscriber, event: &Recorded) -> Result<(), Failure> {
        let world = &self.inner.world;
        let mut waits = defaults::RETRY_WAITS.iter();
        loop {
            let Err(failure) = self.handle(subscriber, event).await else {
                return Ok(());
            };
            match waits.next() {
                Some(wait) if failure.retryable => {
                    world.clock().sleep(wait.mul_f64(world.chance().fraction())).await;
                }
                _ => return self.inner.lay_aside(subscriber, event, failure).await,
            }
        }
    }

    async fn handle(&self, subscriber: &Subscriber, event: &Recorded) -> Result<(), Failure> {
        match &subscriber.does {
            Does::Sink(deliver) => {
                let caught = std::panic::AssertUnwindSafe(deliver.deliver(event)).catch_unwind().await;
                caught.unwrap_or_else(|_| {
                    Err(Failure::internal("sink.panicked", format!("sink {} panicked", subscriber.name)))
                })
            }
            Does::Trigger(decide) => {
                let decide = std::panic::AssertUnwindSafe(async { decide(event) }).catch_unwind().await;
                let decided = decide.unwrap_or_else(|_| {
                    Err(Failure::internal(
                        "trigger.panicked",
                        format!("trigger {} panicked", subscriber.name),
                    ))
                });
                match decided? {
                    None => Ok(()),
                    Some(Reaction::Start(mut start)) => {
                        let id = event.event.id.to_string();
                        let key = ClaimKey::new(&start.tenant, "trigger", &subscriber.name, &id);
                        // The event is the request: the same event never asks for two runs.
                        start.key = Some((key, Hash::of_bytes(event.event.id.as_bytes())));
                        start.correlation = start.correlation.or(event.event.correlation);
                        self.start(start).await.map(drop)
                    }
                    Some(Reaction::Signal { run, name, value }) => {
                        let parts: [&[u8]; 2] = [subscriber.name.as_bytes(), event.event.id.as_bytes()];
                        let id = steadfast_core::id::derive("trigger", &parts);
                        self.signal(&event.stream.tenant(), run, Some(id), &subscriber.name, &name, value)
                            .await
                            .map(drop)
                    }
                }
            }
        }
    }
}

impl Inner {
    async fn lay_aside(
        &self,
        subscriber: &Subscriber,
        event: &Recorded,
        cause: Failure,
    ) -> Result<(), Failure> {
        tracing::error!(subscriber = %subscriber.name, code = %cause.code, "an event could not be handled and becomes a dead letter");
        let letter = DeadLetter {
            kind: LetterKind::Message,
            run: None,
            generation: 0,
            step: None,
            workflow: String::new(),
            subscriber: Some(subscriber.name.clone()),
            event: Some((event.stream.clone(), event.version)),
            action: None,
            cause,
            input: None,
            key: None,
        };
        let mut commit = Commit::default();
        self.add_letter(&mut commit, &event.stream.tenant(), "system", &letter);
        self.log.commit(commit).await.map(drop).map_err(|error| error.failure())
    }

    /// Gives an event to its subscriber once more.
    pub(crate) async fn replay_message(
        self: &Arc<Self>,
        letter: &DeadLetter,
        stream: &StreamId,
        by: &str,
    ) -> Result<(), Failure> {
        let gone = |what: &str| {
            Failure::refused("dead_letter.cannot_replay", format!("{what} is not there any more"))
        };
        let name = letter.subscriber.as_deref().unwrap_or_default();
        let subscriber = self.registry.subscribers().find(|subscriber| subscriber.name == name);
        let subscriber = subscriber.ok_or_else(|| gone(&format!("subscriber {name:?}")))?.clone();
        let (of, version) = letter.event.as_ref().ok_or_else(|| gone("the event"))?;
        let events = self.log.read_stream(of, *version, 1).await.map_err(|error| error.failure())?;
        let event = events.first().ok_or_else(|| gone("the event"))?;
        Engine { inner: self.clone() }.handle(&subscriber, event).await?;
        let mut commit = Commit::default();
        self.close_letter(&mut commit, stream, kind::LETTER_REPLAYED, by);
        self.log.commit(commit).await.map(drop).map_err(|error| error.failure())
    }
}
