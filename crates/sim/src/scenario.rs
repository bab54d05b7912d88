use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::future::BoxFuture;
use steadfast_core::World;
use steadfast_log::{Log, Recorded};
use tokio::sync::Notify;

use crate::plan::{Fate, Plan};

/// What is simulated: code on nodes, people who ask for things, and what must be true in
/// the end. Scenarios live with what they test.
pub trait Scenario: Sized {
    /// For one plan.
    fn new(plan: &Plan) -> Self;
    /// What is there before anything goes wrong.
    fn prepare(&self, site: Site) -> BoxFuture<'static, anyhow::Result<()>>;
    /// A node, from its start until it was told to stop and has done so. When its machine
    /// ends, so does all that it spawned.
    fn node(&self, site: Site) -> BoxFuture<'static, ()>;
    /// Those who ask, each until there is nothing left to ask. They never die.
    fn people(&self, site: Site) -> Vec<BoxFuture<'static, ()>>;
    /// What is still open, in words. Nothing: all has ended.
    fn left(&self, store: &dyn Log) -> Option<String>;
    /// What came of it all.
    fn judge(&self, end: End<'_>) -> anyhow::Result<Verdict>;
}

/// Where code of a scenario runs.
#[derive(Clone)]
pub struct Site {
    /// Its time and chance.
    pub world: World,
    /// Its way to the store, in this life.
    pub log: Arc<dyn Log>,
    /// Which faults strike.
    pub fate: Fate,
    /// To be noted whenever something is sent to another machine.
    pub traffic: Traffic,
    /// Which node, and which of its lives, counted from 1.
    pub by: (usize, u32),
    /// It runs the code of before, not today's.
    pub old_code: bool,
    /// Told when it shall stop.
    pub stop: Stop,
}

/// Tells a node to stop.
#[derive(Clone, Default)]
pub struct Stop(Arc<Notify>);

impl Stop {
    /// Ends when the node shall stop.
    pub async fn told(&self) {
        self.0.notified().await;
    }
    pub(crate) fn tell(&self) {
        self.0.notify_one();
    }
}

/// Counts what machines hear of each other: as long as it grows, somebody may be awake.
#[derive(Clone, Default)]
pub struct Traffic(Arc<AtomicU64>);

impl Traffic {
    /// Something went from one machine to another.
    pub fn note(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is left when everything has stopped.
pub struct End<'a> {
    /// The store.
    pub store: Arc<dyn Log>,
    /// All that was written, in order.
    pub events: &'a [Recorded],
    /// A world in which no time passes any more.
    pub world: World,
    /// What is wrong already.
    pub problems: &'a [String],
}

/// What a scenario says of its end.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What is wrong.
    pub problems: Vec<String>,
    /// The stories of what the problems name, those of the end included.
    pub stories: Vec<String>,
    /// How often each code was answered or recorded as a failure.
    pub codes: BTreeMap<String, u64>,
}
