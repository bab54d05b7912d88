use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};

use super::Global;
use crate::{
    bench::{self, Plan},
    output,
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

pub(crate) async fn run(command: BenchCommand, global: &Global) -> anyhow::Result<ExitCode> {
    let plan = |args: PlanArgs| Plan { rounds: args.rounds.into(), scale: args.scale, folder: args.folder };
    if cfg!(debug_assertions) {
        output::note("this is a debug build: its figures say nothing");
    }
    let report = match command {
        BenchCommand::Log(args) => bench::log(&plan(args)).await?,
        BenchCommand::Runs(args) => bench::runs(&plan(args)).await?,
        BenchCommand::Transfers(args) => bench::transfers(&plan(args)).await?,
    };
    if global.json {
        output::json(&report)?;
    } else {
        report.print();
    }
    Ok(if report.counts() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
