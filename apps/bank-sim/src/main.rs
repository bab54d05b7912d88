//! `cargo sim`: plays seeds, and repeats the one that fails.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
};

use clap::Parser;
use indicatif::ProgressBar;
use steadfast_bank_sim::{Banking, coverage::Totals};
use steadfast_sim::{Fault, Outcome, Plan, simulate};

/// Plays whole nodes on simulated time, network and store, one world for each seed, and holds
/// what happened against the promises
#[derive(Debug, Parser)]
struct Args {
    /// How many seeds.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first of them.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Leave this kind of fault out; may be given more than once.
    #[arg(long, value_name = "FAULT")]
    without: Vec<Fault>,
    /// So many nodes, whatever the seed says.
    #[arg(long)]
    nodes: Option<usize>,
    /// So many requests, whatever the seed says.
    #[arg(long)]
    requests: Option<usize>,
    /// Where a seed fails, tell the stories of the runs it is about.
    #[arg(long)]
    tell: bool,
    /// Play each seed twice and see that both are the same.
    #[arg(long)]
    twice: bool,
    /// Write the digest of each seed's story to this file: another run has the same.
    #[arg(long, value_name = "FILE")]
    digests: Option<PathBuf>,
    /// Tell of seeds that fail, and go on.
    #[arg(long)]
    keep_going: bool,
    /// Fail also if anything of the lists of events and codes has not occurred, or a kind of
    /// fault struck less often than this.
    #[arg(long, value_name = "TIMES")]
    complete: Option<u64>,
}

impl Args {
    fn plan(&self, seed: u64) -> Plan {
        let mut plan = Plan::of(seed);
        plan.faults.retain(|fault| !self.without.contains(fault));
        plan.nodes = self.nodes.unwrap_or(plan.nodes);
        plan.requests = self.requests.unwrap_or(plan.requests);
        plan
    }
}

/// What is known so far.
#[derive(Default)]
struct Played {
    totals: Totals,
    digests: BTreeMap<u64, String>,
    failed: Vec<(Plan, Outcome)>,
}

#[expect(clippy::print_stdout, reason = "this is a command, and this is its answer")]
fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    steadfast_bank_sim::hush();
    let Played { totals, digests, mut failed } = play_all(&args)?;
    if let Some(file) = &args.digests {
        let mut lines = String::new();
        for (seed, digest) in &digests {
            writeln!(lines, "{seed} {digest}")?;
        }
        std::fs::write(file, lines)?;
    }
    failed.sort_by_key(|(plan, _)| plan.seed);
    if let (Some((plan, outcome)), false) = (failed.first(), args.keep_going) {
        println!("seed {} failed:", plan.seed);
        outcome.problems.iter().take(20).for_each(|problem| println!("  {problem}"));
        if args.tell {
            outcome.stories.iter().for_each(|story| println!("{story}\n"));
        } else {
            println!("play it again, as small as it gets:\n  {}", shrunk(plan.clone())?);
        }
        return Ok(ExitCode::FAILURE);
    }
    println!("{totals}");
    let missing = args.complete.map(|times| totals.missing(times)).unwrap_or_default();
    for missing in &missing {
        println!("did not occur: {missing}");
    }
    if failed.is_empty() {
        println!("every promise kept");
    }
    let fine = failed.is_empty() && missing.is_empty();
    Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// On all processors: each seed is a world of its own.
#[expect(clippy::print_stdout, reason = "whoever goes on wants to know at once")]
fn play_all(args: &Args) -> anyhow::Result<Played> {
    let (next, stop) = (AtomicU64::new(args.from), AtomicBool::new(false));
    let played = Mutex::new(Played::default());
    let bar = ProgressBar::new(args.seeds);
    let work = || -> anyhow::Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= args.from.saturating_add(args.seeds) {
                break;
            }
            let plan = args.plan(seed);
            let outcome = play(&plan, args.twice)?;
            let mut played = played.lock().unwrap_or_else(PoisonError::into_inner);
            played.totals.add(&outcome);
            played.digests.insert(seed, outcome.digest.clone());
            bar.inc(1);
            if let Some(problem) = outcome.problems.first() {
                if args.keep_going {
                    bar.suspend(|| println!("seed {seed} failed: {problem}"));
                }
                // Earlier seeds are under way, and play to their ends.
                stop.store(!args.keep_going, Ordering::Relaxed);
                played.failed.push((plan, outcome));
            }
        }
        Ok(())
    };
    let threads = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| match thread.join() {
            Ok(done) => done,
            Err(_) => anyhow::bail!("the simulation itself panicked"),
        })
    })?;
    bar.finish_and_clear();
    Ok(played.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn play(plan: &Plan, twice: bool) -> anyhow::Result<Outcome> {
    let mut outcome = simulate::<Banking>(plan)?;
    if twice && simulate::<Banking>(plan)?.digest != outcome.digest {
        outcome.problems.push("the same seed gave another story".into());
    }
    Ok(outcome)
}

/// The same failure with fewer faults, nodes and requests, as a command line.
fn shrunk(mut plan: Plan) -> anyhow::Result<String> {
    let seed = plan.seed;
    let fails = |plan: &Plan| anyhow::Ok(!simulate::<Banking>(plan)?.problems.is_empty());
    for fault in plan.faults.clone() {
        let mut smaller = plan.clone();
        smaller.faults.retain(|other| *other != fault);
        if fails(&smaller)? {
            plan = smaller;
        }
    }
    for nodes in 1..plan.nodes {
        let smaller = Plan { nodes, ..plan.clone() };
        if fails(&smaller)? {
            plan = smaller;
            break;
        }
    }
    for requests in [1, 2, 3, 5, 8, 12, 18].into_iter().filter(|few| *few < plan.requests) {
        let smaller = Plan { requests, ..plan.clone() };
        if fails(&smaller)? {
            plan = smaller;
            break;
        }
    }
    let of = Plan::of(seed);
    let left_out = of.faults.iter().filter(|fault| !plan.faults.contains(fault));
    let mut words = vec![format!("cargo sim --seeds 1 --from {seed}")];
    words.extend(left_out.map(|fault| format!("--without {fault}")));
    words.extend((plan.nodes != of.nodes).then(|| format!("--nodes {}", plan.nodes)));
    words.extend((plan.requests != of.requests).then(|| format!("--requests {}", plan.requests)));
    Ok(words.join(" "))
}
