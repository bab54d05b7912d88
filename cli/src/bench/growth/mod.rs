//! What a store that has grown costs.
//!
//! 1. One store is filled with runs that have ended; another stays empty. In turn on
//!    each, runs of five steps are made one at a time: what they take must not grow.
//! 2. A run goes on as its next generation until its stream is long, and is taken up as
//!    often as one with a short stream: that must take the same.
//! 3. Runs that wait are added, and a server of its own is started on that store several
//!    times, each ended by kill -9: how soon it is ready.
//! 4. The server is given more runs that wait. A waiting run holds nothing in memory, so
//!    what the process holds must stay small.

mod past;
mod report;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use hyper::{
    HeaderMap,
    header::{self, HeaderValue},
};
use indicatif::ProgressBar;
use serde_json::json;
use steadfast_core::{TenantId, World, observe::silent};
use steadfast_engine::{Data, Engine, EngineConfig, Registry, Start, Status};
use steadfast_log::Log as _;
use steadfast_log_sqlite::{Options, SqliteLog};
use tokio::task::JoinHandle;

use super::{
    child::{Node, Place},
    http::{Each, Load},
    percentile, timed,
};
use crate::{
    effects::{self, StepsInput},
    output,
    store::blocking,
    verify,
};
use past::Past;
pub(crate) use report::Report;

const AT_ONCE: u64 = 64;
const ROUNDS: usize = 9;
const RUNS_PER_ROUND: u64 = 100;
const STARTS: usize = 5;
const WITHIN: Duration = Duration::from_secs(60);
/// Longer than a run that waits is kept in memory.
const QUIET: Duration = Duration::from_secs(3);

/// What is measured.
pub(crate) struct Plan {
    /// Runs that have ended.
    pub(crate) ended: u64,
    /// Events in the stream of one run that goes on and on.
    pub(crate) past: u64,
    /// Runs that wait when the server starts.
    pub(crate) waiting_at_start: u64,
    /// Runs that wait in the end.
    pub(crate) waiting: u64,
    /// The folder on whose file system the stores are made.
    pub(crate) folder: PathBuf,
}

/// What a store that has grown costs.
pub(crate) async fn growth(plan: &Plan) -> anyhow::Result<Report> {
    let world = World::system();
    let (grown, empty) = (Place::make(&plan.folder)?, Place::make(&plan.folder)?);
    let bar = output::progress(plan.ended + plan.waiting, "runs");
    let full = Inside::open(&grown, &world, EngineConfig::default()).await?;
    full.fill(plan.ended, &bar).await?;
    let beside = Inside::open(&empty, &world, EngineConfig::default()).await?;
    let (mut one_grown, mut one_empty) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        one_empty.push(beside.one_by_one().await?);
        one_grown.push(full.one_by_one().await?);
    }
    full.wait(plan.waiting_at_start, &bar).await?;
    let events = full.log.tail().borrow().n;
    beside.close().await?;
    full.close().await?;
    let past = Past::measure(&grown, &world, plan.past).await?;
    let mut starts = Vec::new();
    for _ in 0..STARTS {
        let (node, took) = start(&grown, &world).await?;
        starts.push(took);
        node.kill().await?;
    }
    let (node, _) = start(&grown, &world).await?;
    wait_at(&node, &world, plan.waiting - plan.waiting_at_start).await?;
    bar.finish_and_clear();
    world.clock().sleep(QUIET).await;
    let memory = node.memory()?;
    node.stop().await?;
    let full = Inside::open(&grown, &world, EngineConfig::default()).await?;
    let verdict = verify::verify(&full.log, &world, true).await?;
    full.close().await?;
    Ok(Report::new(plan, events, (&one_grown, &one_empty), &past, &starts, memory, verdict))
}

async fn start(place: &Place, world: &World) -> anyhow::Result<(Node, Duration)> {
    let began = world.clock().elapsed();
    let node = Node::start(place, world).await?;
    Ok((node, world.clock().elapsed().saturating_sub(began)))
}

/// Has the server accept runs that wait.
async fn wait_at(node: &Node, world: &World, count: u64) -> anyhow::Result<()> {
    let (url, token) = node.runs();
    let bearer = HeaderValue::try_from(format!("Bearer {token}"))?;
    let load = Load {
        url: url.parse()?,
        headers: HeaderMap::from_iter([(header::AUTHORIZATION, bearer)]),
        body: json!({ "workflow": effects::WAITING, "input": null }).to_string().into(),
        keyed: true,
        expect: "\"id\":".into(),
        world: world.clone(),
    };
    let answered = Arc::new(load).send(AT_ONCE, Each::Count(count.div_ceil(AT_ONCE))).await?;
    ensure!(answered.failures.is_empty(), "a run was not accepted: {}", answered.failures[0]);
    Ok(())
}

/// An engine in this process.
struct Inside {
    log: Arc<SqliteLog>,
    engine: Engine,
    running: JoinHandle<()>,
}

impl Inside {
    async fn open(place: &Place, world: &World, config: EngineConfig) -> anyhow::Result<Self> {
        let (store, options) = (place.store()?, Options::new(world.clone()));
        let log = Arc::new(blocking(move || Ok(SqliteLog::open(store.path(), options)?)).await?);
        let mut registry = Registry::default();
        effects::register(&mut registry, world, None)?;
        let engine = Engine::new(log.clone(), world.clone(), registry, config, silent());
        let runs = engine.clone();
        Ok(Self { log, engine, running: tokio::spawn(async move { runs.run().await }) })
    }

    /// Runs that end at once.
    async fn fill(&self, count: u64, bar: &ProgressBar) -> anyhow::Result<()> {
        self.many(count, bar, |engine| async move { run(&engine, 0).await }).await
    }

    /// Runs that wait.
    async fn wait(&self, count: u64, bar: &ProgressBar) -> anyhow::Result<()> {
        self.many(count, bar, |engine| async move {
            let start = Start::new(TenantId::default(), "bench", effects::WAITING, Data::null());
            engine.start(start).await?;
            Ok(())
        })
        .await
    }

    async fn many<F: Future<Output = anyhow::Result<()>> + Send>(
        &self,
        count: u64,
        bar: &ProgressBar,
        one: impl Fn(Engine) -> F + Copy + Send + 'static,
    ) -> anyhow::Result<()> {
        let callers = (0..AT_ONCE).map(|_| {
            let (engine, bar) = (self.engine.clone(), bar.clone());
            tokio::spawn(async move {
                for _ in 0..count.div_ceil(AT_ONCE) {
                    one(engine.clone()).await?;
                    bar.inc(1);
                }
                anyhow::Ok(())
            })
        });
        try_join_all(callers).await?.into_iter().collect()
    }

    /// The median of some runs of five steps.
    async fn one_by_one(&self) -> anyhow::Result<Duration> {
        let mut waits = Vec::new();
        for _ in 0..RUNS_PER_ROUND {
            waits.push(timed(self.engine.world(), run(&self.engine, 5)).await?);
        }
        Ok(percentile(&mut waits, 50))
    }

    async fn close(self) -> anyhow::Result<()> {
        self.engine.stop(Duration::from_secs(5)).await;
        self.running.await?;
        let Self { log, engine, .. } = self;
        drop(engine);
        blocking(move || {
            drop(log);
            Ok(())
        })
        .await
    }
}

async fn run(engine: &Engine, steps: u32) -> anyhow::Result<()> {
    let input = Data::of(&StepsInput { steps, millis: 0 })?;
    let start = Start::new(TenantId::default(), "bench", effects::WORKFLOW, input);
    let (_, settled) = engine.start_and_wait(start, WITHIN).await?;
    let settled = settled.context("a run did not end within a minute")?;
    ensure!(settled.status == Status::Completed, "a run ended as {}", settled.status.as_str());
    Ok(())
}
