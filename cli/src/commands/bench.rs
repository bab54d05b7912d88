use std::path::PathBuf;

use clap::{Args, Subcommand};
use steadfast_core::Failure;

use super::Global;
use crate::{
    bench::{self, Plan},
    output,
    store::StoreArgs,
};

/// See [`super::Command::Bench`].
#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Commits: 64 committers with one event each, and one committer alone.
    Log(PlanArgs),
    /// Runs of five steps: 64 at once in process and over HTTP, and one at a time.
    Runs(PlanArgs),
    /// Transfers: among 10 000 accounts, and all into one.
    Transfers(PlanArgs),
    /// Conversations over WebSocket: acks and replies under load, and connections that are
    /// cut in the middle of work.
    Ws(WsArgs),
}

/// See [`BenchCommand::Ws`].
#[derive(Debug, Args)]
pub(crate) struct WsArgs {
    /// Connections, each with a conversation of its own.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// Messages a second, all connections together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    rate: u64,
    /// For how long.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Measure the file system of this folder; what is written there is removed again.
    #[arg(long, default_value = ".", conflicts_with = "running")]
    folder: PathBuf,
    /// Measure the running server of --url, whose store must be here to be verified. It
    /// needs the demo's people, and nobody else may move money meanwhile.
    #[arg(long)]
    running: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// How much is measured.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=99))]
    rounds: u16,
    /// Divide the work of a round by this, for a quick look.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    scale: u64,
    /// Measure the file system of this folder; what is written there is removed again.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

pub(crate) async fn run(command: BenchCommand, global: &Global) -> anyhow::Result<()> {
    let plan = |args: PlanArgs| Plan { rounds: args.rounds.into(), scale: args.scale, folder: args.folder };
    if cfg!(debug_assertions) && !global.json {
        output::note("this is a debug build: its figures say nothing");
    }
    let report = match command {
        BenchCommand::Ws(args) => return ws(args, global).await,
        BenchCommand::Log(args) => bench::log(&plan(args)).await?,
        BenchCommand::Runs(args) => bench::runs(&plan(args)).await?,
        BenchCommand::Transfers(args) => bench::transfers(&plan(args)).await?,
    };
    if global.json {
        output::json(&report)?;
    } else {
        report.print();
    }
    judged(report.counts())
}

async fn ws(args: WsArgs, global: &Global) -> anyhow::Result<()> {
    let plan = bench::ws::Plan {
        connections: args.connections.into(),
        rate: args.rate,
        seconds: args.seconds,
        folder: args.folder,
        running: args.running.then(|| (global.connection.clone(), args.store)),
    };
    let report = bench::ws(&plan).await?;
    if global.json {
        output::json(&report)?;
    } else {
        report.print();
    }
    judged(report.counts())
}

fn judged(counts: bool) -> anyhow::Result<()> {
    if counts {
        return Ok(());
    }
    Err(Failure::refused("bench.void", "the figures do not count; the report says why").into())
}
