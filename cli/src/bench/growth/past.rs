//! What it takes to take up a run that has gone on as its next generation many times,
//! against one that is in its first: each is sent a signal while it is out of memory.

use std::time::Duration;

use anyhow::{Context as _, bail};
use steadfast_core::{RunId, TenantId, World};
use steadfast_engine::{Data, Engine, EngineConfig, Start, Status, Update};

use super::{Inside, WITHIN};
use crate::{
    bench::{child::Place, timed},
    effects::{GENERATIONS, GenerationsInput},
};

const STEPS: u32 = 98;
const SAMPLES: usize = 25;
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Runs of a long past and of none.
pub(super) struct Past {
    /// Events in the stream of the long one.
    pub(super) events: u64,
    pub(super) long: Vec<Duration>,
    pub(super) short: Vec<Duration>,
}

impl Past {
    pub(super) async fn measure(place: &Place, world: &World, events: u64) -> anyhow::Result<Self> {
        // What waits leaves memory at once.
        let config = EngineConfig { keep_warm: Duration::ZERO.into(), ..EngineConfig::default() };
        let inside = Inside::open(place, world, config).await?;
        let engine = &inside.engine;
        let of_a_generation = u64::from(STEPS) + 2;
        let long = begin(engine, events.div_ceil(of_a_generation)).await?;
        let short = begin(engine, 1).await?;
        let events = engine.describe(&TenantId::default(), long).await?.events;
        let mut past = Self { events, long: Vec::new(), short: Vec::new() };
        for _ in 0..SAMPLES {
            past.short.push(take_up(engine, short).await?);
            past.long.push(take_up(engine, long).await?);
        }
        inside.close().await?;
        Ok(past)
    }
}

/// A run that stands in its last generation.
async fn begin(engine: &Engine, generations: u64) -> anyhow::Result<RunId> {
    let input = Data::of(&GenerationsInput { generations, steps: STEPS })?;
    let start = Start::new(TenantId::default(), "bench", GENERATIONS, input);
    let run = engine.start(start).await?.run;
    while engine.describe(&TenantId::default(), run).await?.status != Status::Waiting {
        engine.world().clock().sleep(100 * LOOK_AGAIN).await;
    }
    Ok(run)
}

async fn take_up(engine: &Engine, run: RunId) -> anyhow::Result<Duration> {
    while engine.active() > 0 {
        engine.world().clock().sleep(LOOK_AGAIN).await;
    }
    let mut updates = engine.updates();
    let tenant = TenantId::default();
    timed(engine.world(), async {
        engine.signal(&tenant, run, None, "bench", "go", Data::null()).await?;
        let told = async {
            loop {
                match updates.recv().await.context("nobody tells what a run does")? {
                    (of, Update::Progress(_)) if of == run => return anyhow::Ok(()),
                    _ => {}
                }
            }
        };
        tokio::select! {
            told = told => told,
            () = engine.world().clock().sleep(WITHIN) => bail!("a run was not taken up within a minute"),
        }
    })
    .await
}
