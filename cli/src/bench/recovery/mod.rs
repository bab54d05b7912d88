//! What kill -9 costs.
//!
//! 1. A server in a process of its own has 64 runs of five steps in flight, and is killed
//!    at a random moment. Each step leaves a trace outside the store when it begins and
//!    when it ends, which no crash takes back.
//! 2. The store is read as the crash left it: what is recorded there must not be done again.
//! 3. The server is started again. It is ready when it says so; the runs have ended when
//!    the store says so. What they take longer than the longest of the work that was left
//!    is what recovery cost.
//! 4. Every run that was accepted must have completed, and the store is verified.

mod judge;
mod report;

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use steadfast_core::{
    RunId, World,
    chance::{Chance as _, Seeded},
};

use super::child::{Node, Place};
use crate::{effects::StepsInput, output};
use judge::{Traces, Written};
pub(crate) use report::Report;

const RUNS: usize = 64;
const STEPS: StepsInput = StepsInput { steps: 5, millis: 200 };
/// Less than a run takes, so that all of them are in flight.
const KILLED_WITHIN_MS: u64 = 900;

/// What is measured.
pub(crate) struct Plan {
    /// How often the server is killed.
    pub(crate) kills: usize,
    /// What the moments are drawn from.
    pub(crate) seed: u64,
    /// The folder on whose file system the stores are made.
    pub(crate) folder: PathBuf,
}

/// One kill and what followed.
struct Round {
    /// From the start of the process to its word that it is ready.
    ready: Duration,
    /// From then to the end of the last run, less the longest of the work that was left.
    /// Seconds, below zero if work began before the server was ready.
    over: f64,
    /// Runs that were accepted and did not complete.
    lost: usize,
    /// Steps that were recorded before the restart and done again after it.
    recorded_again: usize,
    /// Steps that had ended before the kill and were done again.
    effects_again: u32,
    problems: Vec<String>,
}

/// How fast a server that was killed is back, and what it does again.
pub(crate) async fn recovery(plan: &Plan) -> anyhow::Result<Report> {
    let world = World::system();
    let chance = Seeded::new(plan.seed);
    let bar = output::progress(plan.kills as u64, "kills");
    let mut rounds = Vec::new();
    for _ in 0..plan.kills {
        let moment = Duration::from_micros(chance.below(KILLED_WITHIN_MS * 1_000));
        rounds.push(round(plan, moment, &world).await?);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(Report::new(plan.seed, &rounds))
}

async fn round(plan: &Plan, moment: Duration, world: &World) -> anyhow::Result<Round> {
    let place = Place::make(&plan.folder)?;
    let node = Node::start(&place, world).await?;
    let runs = try_join_all((0..RUNS).map(|number| node.begin(number, &STEPS))).await?;
    world.clock().sleep(moment).await;
    node.kill().await?;

    let before = Written::read(&place, world).await?;
    let traces = Traces::read(&place, 0)?;
    // Else the two would not speak of the same steps.
    ensure!(before.recorded().all(|step| traces.has_ended(&step)), "a step is recorded that left no trace");
    let began = world.clock().elapsed();
    let node = Node::start(&place, world).await?;
    let (ready, ready_at) = (world.clock().elapsed().saturating_sub(began), world.now());
    for (ended, run) in
        try_join_all((0..RUNS).map(|number| node.end(number, &STEPS))).await?.iter().zip(&runs)
    {
        ensure!(ended == run, "a key of run {run} led to another run");
    }
    node.stop().await?;

    let after = Written::read(&place, world).await?;
    let again = Traces::read(&place, traces.lines())?;
    let lost = runs.iter().filter(|run| !after.completed(run)).count();
    let last = after.last_end().context("no run has ended")?;
    let left = runs.iter().map(|run| before.left(run, &STEPS)).max().unwrap_or_default();
    let took = seconds(last.micros()) - seconds(ready_at.micros());
    Ok(Round {
        ready,
        over: took - left.as_secs_f64(),
        lost,
        recorded_again: before.recorded().filter(|step| again.began(step)).count(),
        effects_again: u32::try_from(traces.ended().filter(|step| again.began(step)).count())?,
        problems: judge::verify(&place, world).await?,
    })
}

/// A step of a run.
type Step = (RunId, String);

#[expect(clippy::cast_precision_loss, reason = "a time of this century in microseconds fits 53 bits")]
fn seconds(micros: i64) -> f64 {
    micros as f64 / 1_000_000.0
}
