//! A small house to test in: a log that outlives engines, and engines that can die.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use steadfast_core::{Failure, RunId, TenantId, World, chance::Seeded, observe::silent, time::PausedClock};
use steadfast_engine::{
    Accepted, Action, ActionOptions, Ctx, Data, Engine, EngineConfig, Record, Recording, Registry, RunView,
    Settled, Start, Status, WorkflowOptions,
};
use steadfast_log::{
    Append, Claim, ClaimChange, Commit, CommitError, Expect, Log, MemoryLog, Mortal, NewEvent, Position,
    Recorded, Snapshot, StreamId,
};

/// What happened outside, in order: (effect key, what).
pub(crate) type Effects = Arc<Mutex<Vec<(String, String)>>>;

pub(crate) struct House {
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) world: World,
    pub(crate) effects: Effects,
}

pub(crate) const NOTE: Action<String, u64> = Action::new("test.note");
pub(crate) const UNDO_NOTE: Action<String, ()> = Action::new("test.undo_note");
pub(crate) const FAIL: Action<Failure, u64> = Action::new("test.fail");
pub(crate) const SLOW: Action<u64, u64> = Action::new("test.slow");
pub(crate) const BOOK: Action<String, u64> = Action::new("test.book");

impl House {
    pub(crate) fn new() -> Self {
        let clock = PausedClock::at("2026-01-01T00:00:00Z".parse().expect("a time"));
        let world = World::new(Arc::new(clock), Arc::new(Seeded::new(7)));
        Self { log: Arc::new(MemoryLog::new(world.clone())), world, effects: Effects::default() }
    }

    /// The actions of this house: each notes what it does under its effect key.
    pub(crate) fn registry(&self) -> Registry {
        let mut registry = Registry::default();
        let effects = self.effects.clone();
        registry.action(&NOTE, ActionOptions::default(), move |task, what: String| {
            let effects = effects.clone();
            async move {
                let mut effects = effects.lock().expect("effects");
                effects.push((task.key.to_string(), what));
                Ok(effects.len() as u64)
            }
        });
        let effects = self.effects.clone();
        registry.action(&UNDO_NOTE, ActionOptions::default(), move |task, what: String| {
            let effects = effects.clone();
            async move {
                assert!(task.undoes.is_some(), "a compensation knows what it undoes");
                effects.lock().expect("effects").push((task.key.to_string(), format!("undo {what}")));
                if what == "stubborn" {
                    Err(Failure::internal("test.stubborn", "cannot be undone"))
                } else {
                    Ok(())
                }
            }
        });
        let effects = self.effects.clone();
        registry.action(&FAIL, ActionOptions::default(), move |task, failure: Failure| {
            effects.lock().expect("effects").push((task.key.to_string(), failure.code.clone()));
            async move { Err(failure) }
        });
        let (effects, world) = (self.effects.clone(), self.world.clone());
        registry.action(&SLOW, ActionOptions::once(Duration::from_secs(3_600)), move |task, seconds: u64| {
            let (effects, world) = (effects.clone(), world.clone());
            async move {
                world.clock().sleep(Duration::from_secs(seconds)).await;
                effects.lock().expect("effects").push((task.key.to_string(), format!("slow {seconds}")));
                Ok(seconds)
            }
        });
        registry
    }

    /// Adds an action whose effect is an event on the log, in the commit of its record.
    pub(crate) fn book_on(&self, registry: &mut Registry, log: Arc<dyn Log>) {
        let world = self.world.clone();
        registry.commit_action(
            &BOOK,
            ActionOptions::default(),
            move |task, what: String, record: Record<u64>| {
                let (log, world) = (log.clone(), world.clone());
                async move {
                    let outcome = Ok(what.len() as u64);
                    let key = task.key.claim(&task.tenant);
                    let claim = Claim {
                        request: steadfast_core::canonical::Hash::of_bytes(what.as_bytes()),
                        answer: "{}".into(),
                        expires: None,
                    };
                    let event = NewEvent::new(&world, "book.entry", 1, what.into_bytes());
                    let stream = StreamId::new(&task.tenant, "book", "one");
                    let commit = Commit {
                        appends: vec![
                            Append { stream, expect: Expect::Any, events: vec![event] },
                            record.append(&outcome)?,
                        ],
                        claims: vec![ClaimChange::Take(key, claim)],
                        ..Commit::default()
                    };
                    match log.commit(commit).await {
                        Ok(committed) => record.committed(&outcome, &committed, 1),
                        Err(CommitError::Claimed(..)) => Ok(Recording::earlier()),
                        Err(error) => Err(steadfast_core::Coded::failure(&error).retryable()),
                    }
                }
            },
        );
    }

    /// An engine that lives.
    pub(crate) fn engine(&self, registry: Registry) -> Engine {
        self.node(self.log.clone(), registry)
    }

    /// A way to the log that ends at commit number `commits`.
    pub(crate) fn mortal(&self, commits: u64, last_happens: bool) -> Arc<Mortal> {
        Arc::new(Mortal::new(self.log.clone(), commits, last_happens))
    }

    /// Accepts a run on a node that dies at commit number `commits`, and lets a minute pass.
    pub(crate) async fn crash(
        &self,
        registry: &Registry,
        (commits, last_happens): (u64, bool),
        workflow: &str,
        input: &impl serde::Serialize,
    ) -> RunId {
        let doomed = self.node(self.mortal(commits, last_happens), registry.clone());
        let run = accept(&doomed, workflow, input).await.run;
        self.world.clock().sleep(Duration::from_secs(60)).await;
        run
    }

    pub(crate) fn node(&self, log: Arc<dyn Log>, registry: Registry) -> Engine {
        let config = EngineConfig {
            // Months pass in some tests: look for wake-ups once a minute, not once a second.
            poll: Duration::from_secs(60).into(),
            // As often as can be, so that whatever is tested here is tested with snapshots.
            snapshot_after: 1,
            ..EngineConfig::default()
        };
        let engine = Engine::new(log, self.world.clone(), registry, config, silent());
        let running = engine.clone();
        tokio::spawn(async move { running.run().await });
        engine
    }

    pub(crate) fn effects(&self) -> Vec<String> {
        self.effects.lock().expect("effects").iter().map(|(_, what)| what.clone()).collect()
    }

    /// How often each key acted.
    pub(crate) fn keys(&self) -> BTreeMap<String, usize> {
        let mut keys = BTreeMap::new();
        for (key, _) in self.effects.lock().expect("effects").iter() {
            *keys.entry(key.clone()).or_default() += 1;
        }
        keys
    }

    #[expect(clippy::unused_self, reason = "reads well at the call")]
    pub(crate) fn stream(&self, run: RunId) -> StreamId {
        StreamId::new(&tenant(), steadfast_engine::record::RUN, run)
    }

    /// Holds the whole log against the promises, from its events alone.
    pub(crate) async fn audit(&self) {
        let mut audit = steadfast_engine::Audit::default();
        let mut derived = steadfast_log::Derived::default();
        let page = self.log.read_all(Position::START, usize::MAX).await.expect("reads");
        for recorded in &page.events {
            audit.apply(recorded);
            derived.apply(recorded).expect("in order");
        }
        assert_eq!(derived, self.log.derived());
        assert_eq!(audit.finish(&derived), Vec::<String>::new());
        self.snapshots_cost_time_only(&page.events).await;
    }

    /// Every run is the same without its snapshot.
    async fn snapshots_cost_time_only(&self, events: &[Recorded]) {
        let reader = Engine::new(
            self.log.clone(),
            self.world.clone(),
            self.registry(),
            EngineConfig::default(),
            silent(),
        );
        let kept = self.log.clone();
        for first in events.iter().filter(|recorded| recorded.event.kind == "run.started") {
            let run = first.stream.name().parse().expect("a run");
            let told = |view: RunView| serde_json::to_value(view).expect("json");
            let with = told(reader.describe(&first.stream.tenant(), run).await.expect("there"));
            let snapshot = kept.snapshot(&first.stream).await.expect("reads");
            let stands = steadfast_engine::verify_snapshot(&*kept, &first.stream).await.expect("reads");
            assert!(stands, "{snapshot:?}");
            kept.put_snapshot(first.stream.clone(), worthless()).await.expect("kept");
            let without = told(reader.describe(&first.stream.tenant(), run).await.expect("there"));
            assert_eq!(with, without, "{snapshot:?}");
            kept.put_snapshot(first.stream.clone(), snapshot.unwrap_or_else(worthless)).await.expect("kept");
        }
    }

    pub(crate) async fn kinds(&self, run: RunId) -> Vec<String> {
        let events = self.log.read_stream(&self.stream(run), 1, 10_000).await.expect("reads");
        events.iter().map(|recorded| recorded.event.kind.to_string()).collect()
    }
}

/// A snapshot that nobody reads.
pub(crate) fn worthless() -> Snapshot {
    Snapshot { version: 1, schema: 0, body: Bytes::new() }
}

pub(crate) fn tenant() -> TenantId {
    TenantId::default()
}

pub(crate) fn start(workflow: &str, input: &impl serde::Serialize) -> Start {
    Start::new(tenant(), "ana", workflow, Data::of(input).expect("json"))
}

pub(crate) async fn finish(engine: &Engine, run: RunId) -> Settled {
    let settled = engine.wait(&tenant(), run, Duration::from_secs(100_000)).await.expect("readable");
    settled.expect("the run ends")
}

pub(crate) async fn accept(engine: &Engine, workflow: &str, input: &impl serde::Serialize) -> Accepted {
    engine.start(start(workflow, input)).await.expect("accepted")
}

pub(crate) async fn view(engine: &Engine, run: RunId) -> RunView {
    engine.describe(&tenant(), run).await.expect("there")
}

/// Waits until the run stands at `status`; time is paused, so this is quick and exact.
pub(crate) async fn reach(engine: &Engine, run: RunId, status: Status) -> RunView {
    for _ in 0..1_000 {
        let view = view(engine, run).await;
        if view.status == status {
            return view;
        }
        engine.world().clock().sleep(Duration::from_millis(200)).await;
    }
    panic!("the run never became {status:?}: it is {:?}", view(engine, run).await);
}

/// Runs a workflow of `steps` notes, one after another, on whatever node accepts it.
pub(crate) fn notes(registry: &mut Registry) {
    registry.workflow("notes", 1, WorkflowOptions::default(), |ctx: Ctx, steps: u64| async move {
        let mut last = 0;
        for i in 0..steps {
            last = ctx.step(("note", i), &NOTE, &format!("note {i}")).await?;
        }
        Ok(last)
    });
}
