//! A node of the simulation: engine and bank on a machine, reached through requests that are
//! performed there, and so die with it.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use steadfast_bank::{Bank, BankConfig};
use steadfast_core::{Failure, NodeId, World, chance::Seeded, observe::silent};
use steadfast_engine::{Deliver, Engine, EngineConfig, Registry, Subscriber};
use steadfast_log::{Log, Recorded};
use tokio::sync::mpsc;

use crate::{
    machine::Machine,
    outside::{Hands, Outside},
    plan::Fate,
    timeline::{SimClock, Timeline},
    wire::Wire,
    workflows,
};

/// What a request gets at.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) bank: Bank,
}

pub(crate) type Request = Box<dyn FnOnce(Parts) -> BoxFuture<'static, ()> + Send>;

/// The events that a subscriber was given: stream and version, in the order given.
#[derive(Clone, Default)]
pub(crate) struct Delivered(Arc<Mutex<Vec<(String, u64)>>>);

impl Delivered {
    fn lock(&self) -> MutexGuard<'_, Vec<(String, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn all(&self) -> Vec<(String, u64)> {
        self.lock().clone()
    }
}

impl Deliver for Delivered {
    fn deliver<'a>(&'a self, event: &'a Recorded) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async move {
            self.lock().push((event.stream.to_string(), event.version));
            Ok(())
        })
    }
}

/// Counts what machines hear of each other: as long as it grows, somebody may be awake.
#[derive(Clone, Default)]
pub(crate) struct Traffic(Arc<AtomicU64>);

impl Traffic {
    pub(crate) fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What outlives nodes.
#[derive(Clone)]
pub(crate) struct Ground {
    pub(crate) store: Arc<dyn Log>,
    pub(crate) timeline: Arc<Timeline>,
    pub(crate) fate: Fate,
    pub(crate) outside: Outside,
    pub(crate) delivered: Delivered,
    pub(crate) traffic: Traffic,
}

/// The events that the simulation's subscriber wants.
pub(crate) const WANTED: [&str; 3] = ["book.entry", "run.started", "run.ended"];

pub(crate) struct Node {
    pub(crate) machine: Machine,
    pub(crate) requests: mpsc::UnboundedSender<Request>,
    pub(crate) clock: Arc<SimClock>,
}

impl Node {
    /// Starts a node: its `life`-th start as number `index`.
    pub(crate) fn start(ground: &Ground, index: usize, life: u32, off: i64) -> anyhow::Result<Self> {
        let machine = Machine::new()?;
        let clock = Arc::new(SimClock::new(ground.timeline.clone()));
        clock.jump(off);
        let world = World::new(clock.clone(), Arc::new(Seeded::new(ground.fate.below(u64::MAX))));
        let log: Arc<dyn Log> = Arc::new(Wire {
            store: ground.store.clone(),
            world: world.clone(),
            fate: ground.fate.clone(),
            traffic: ground.traffic.clone(),
        });
        let hands = Hands {
            outside: ground.outside.clone(),
            fate: ground.fate.clone(),
            world: world.clone(),
            log: log.clone(),
            by: (index, life),
        };
        let (requests, mut inbox) = mpsc::unbounded_channel::<Request>();
        let delivered = ground.delivered.clone();
        machine.spawn(async move {
            let node = NodeId::next(&world);
            let (bank, decider) = Bank::open(log.clone(), world.clone(), node, BankConfig::default());
            let mut registry = Registry::default();
            hands.register(&mut registry);
            workflows::register(&mut registry);
            steadfast_bank::purchase::register(&mut registry, &bank);
            steadfast_bank::steps::register(&mut registry, &bank);
            let wanted = WANTED.map(str::to_owned).to_vec();
            registry.subscriber(Subscriber::sink("sim", wanted, Arc::new(delivered)));
            // Simulated hours pass: nobody looks every second.
            let config = EngineConfig { poll: Duration::from_secs(5).into(), ..EngineConfig::default() };
            let engine = Engine::new(log, world, registry, config, silent());
            let (running, timing) = (engine.clone(), bank.clone());
            tokio::spawn(decider);
            tokio::spawn(async move { running.run().await });
            tokio::spawn(async move { timing.run_timers().await });
            let parts = Parts { engine, bank };
            while let Some(request) = inbox.recv().await {
                tokio::spawn(request(parts.clone()));
            }
        });
        Ok(Self { machine, requests, clock })
    }
}
