use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use hyper::{
    Uri,
    header::{HeaderName, HeaderValue},
};
use steadfast_core::{Failure, World};

use super::Global;
use crate::{
    bench::{
        self, Plan,
        http::{Each, Load},
    },
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
    /// kill -9 of a server with 64 runs in flight: how soon it is back, and what it does again.
    Recovery(RecoveryArgs),
    /// 100 calls of a model over a conversation of 209 000 tokens: what it takes to store.
    Conversation(ConversationArgs),
    /// A store with a million runs that ended: what one more takes, and one with a long past, how
    /// soon a server starts on it, and what it holds in memory with 100 000 runs that wait.
    Growth(GrowthArgs),
    /// The model gateway: what it carries and adds beside the upstream alone, and what clients
    /// notice of upstreams that fail. Needs two processors.
    Gateway(GatewayArgs),
    /// Any server over HTTP: one request, sent by many callers at once.
    Load(LoadArgs),
}

/// See [`BenchCommand::Recovery`].
#[derive(Debug, Args)]
pub(crate) struct RecoveryArgs {
    /// How often a server is killed.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u16).range(1..=999))]
    kills: u16,
    /// Draw the moments of the kills from this number, as an earlier run printed it.
    #[arg(long)]
    seed: Option<u64>,
    /// Make the stores in this folder; what is written there is removed again.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

/// See [`BenchCommand::Conversation`].
#[derive(Debug, Args)]
pub(crate) struct ConversationArgs {
    /// Make the store in this folder; what is written there is removed again.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

/// See [`BenchCommand::Growth`].
#[derive(Debug, Args)]
pub(crate) struct GrowthArgs {
    /// Runs that have ended, in thousands.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    thousands: u64,
    /// Make the stores in this folder; what is written there is removed again. A million runs
    /// take about two gigabytes.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

/// See [`BenchCommand::Gateway`].
#[derive(Debug, Args)]
pub(crate) struct GatewayArgs {
    /// Rounds; figures are medians over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=99))]
    rounds: u16,
    /// How long each figure of a round is measured.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Make the store in this folder; what is written there is removed again.
    #[arg(long, default_value = ".")]
    folder: PathBuf,
}

/// See [`BenchCommand::Load`].
#[derive(Debug, Args)]
pub(crate) struct LoadArgs {
    /// Where requests are posted to, as http://HOST:PORT/PATH.
    at: Uri,
    /// The body of each request, in JSON.
    #[arg(long, value_name = "JSON", default_value = "{}")]
    body: String,
    /// A header of each request, as NAME: VALUE; may be given more than once.
    #[arg(long = "header", value_name = "HEADER", value_parser = header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Give each request an Idempotency-Key of its own.
    #[arg(long)]
    keyed: bool,
    /// What each answer must contain, to count.
    #[arg(long, value_name = "TEXT", default_value = "")]
    expect: String,
    /// Callers at once, each with a connection of its own.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    callers: u64,
    /// All callers together ask so many times a second, at even times. Without it each asks
    /// again as soon as it is answered.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: Option<u64>,
    /// For how long.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("expected NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| "the name of a header has other letters")?;
    let value = value.trim().parse().map_err(|_| "the value of a header has other letters")?;
    Ok((name, value))
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
        BenchCommand::Recovery(args) => return recovery(args, global).await,
        BenchCommand::Conversation(args) => return conversation(args, global).await,
        BenchCommand::Growth(args) => return growth(args, global).await,
        BenchCommand::Gateway(args) => return gateway(args, global).await,
        BenchCommand::Load(args) => return load(args, global).await,
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

async fn recovery(args: RecoveryArgs, global: &Global) -> anyhow::Result<()> {
    let plan = bench::recovery::Plan {
        kills: args.kills.into(),
        seed: args.seed.unwrap_or_else(|| World::system().chance().bits()),
        folder: args.folder,
    };
    let report = bench::recovery(&plan).await?;
    if global.json {
        output::json(&report)?;
    } else {
        report.print();
    }
    judged(report.counts())
}

async fn conversation(args: ConversationArgs, global: &Global) -> anyhow::Result<()> {
    let report = bench::conversation(&args.folder).await?;
    if global.json {
        output::json(&report)?;
    } else {
        report.print();
    }
    judged(report.counts())
}

async fn growth(args: GrowthArgs, global: &Global) -> anyhow::Result<()> {
    let ended = args.thousands * 1_000;
    let plan = bench::growth::Plan {
        ended,
        past: ended / 10,
        waiting_at_start: ended / 100,
        waiting: ended / 10,
        folder: args.folder,
    };
    let report = bench::growth(&plan).await?;
    if global.json {
        output::json(&report)?;
    } else {
        report.print();
    }
    judged(report.counts())
}

async fn gateway(args: GatewayArgs, global: &Global) -> anyhow::Result<()> {
    let plan =
        bench::gateway::Plan { rounds: args.rounds.into(), seconds: args.seconds, folder: args.folder };
    let report = bench::gateway::gateway(plan).await?;
    if global.json {
        output::json(&report)?;
    } else {
        report.print();
    }
    judged(report.counts())
}

async fn load(args: LoadArgs, global: &Global) -> anyhow::Result<()> {
    let load = Load {
        url: args.at,
        headers: args.headers.into_iter().collect(),
        body: args.body.into(),
        keyed: args.keyed,
        expect: args.expect,
        world: World::system(),
    };
    let duration = Duration::from_secs(args.seconds);
    let each = args.rate.map_or(Each::For(duration), |rate| Each::Evenly(rate, duration));
    let report = bench::load(load, args.callers, each).await?;
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
