//! What runs on a node: engine and bank, reached through requests that are performed there,
//! and so die with it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use steadfast_bank::{Bank, BankConfig};
use steadfast_core::{Failure, NodeId, observe::silent};
use steadfast_engine::{Deliver, Engine, EngineConfig, Registry, Subscriber};
use steadfast_log::Recorded;
use steadfast_sim::Site;
use tokio::sync::mpsc;

use crate::{
    outside::{Hands, Outside},
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

/// How long keys are kept: for longer than any clock is off.
pub(crate) const WINDOW: Duration = Duration::from_hours(2);

/// The events that the simulation's subscriber wants.
pub(crate) const WANTED: [&str; 3] = ["book.entry", "run.started", "run.ended"];

/// Runs a node, and performs what it is asked for.
pub(crate) async fn run(
    site: Site,
    (outside, delivered): (Outside, Delivered),
    mut requests: mpsc::UnboundedReceiver<Request>,
) {
    let Site { world, log, fate, by, .. } = site;
    let node = NodeId::next(&world);
    let (bank, decider) = Bank::open(log.clone(), world.clone(), node, BankConfig::default());
    let mut registry = Registry::default();
    let born = log.tail().borrow().n;
    Hands { outside, fate, world: world.clone(), log: log.clone(), by, born }.register(&mut registry);
    workflows::register(&mut registry);
    steadfast_bank::purchase::register(&mut registry, &bank);
    steadfast_bank::steps::register(&mut registry, &bank);
    let wanted = WANTED.map(str::to_owned).to_vec();
    registry.subscriber(Subscriber::sink("sim", wanted, Arc::new(delivered)));
    // Simulated hours pass: nobody looks every second.
    let config = EngineConfig {
        poll: Duration::from_secs(5).into(),
        idempotency_window: WINDOW.into(),
        ..EngineConfig::default()
    };
    let engine = Engine::new(log, world, registry, config, silent());
    let (running, timing) = (engine.clone(), bank.clone());
    tokio::spawn(decider);
    tokio::spawn(async move { running.run().await });
    tokio::spawn(async move { timing.run_timers().await });
    let parts = Parts { engine, bank };
    while let Some(request) = requests.recv().await {
        tokio::spawn(request(parts.clone()));
    }
}
