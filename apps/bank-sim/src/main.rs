//! `cargo sim`: plays seeds, and repeats the one that fails.

use std::{collections::BTreeMap, process::ExitCode};

use clap::Parser;
use steadfast_bank_sim::Banking;
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

#[derive(Default)]
struct Totals {
    struck: BTreeMap<Fault, u64>,
    kinds: BTreeMap<String, u64>,
    codes: BTreeMap<String, u64>,
    passes: u64,
    seconds: u64,
}

impl Totals {
    fn add(&mut self, outcome: &Outcome) {
        fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *to.entry(key.clone()).or_default() += count;
            }
        }
        add(&mut self.struck, &outcome.struck);
        add(&mut self.kinds, &outcome.kinds);
        add(&mut self.codes, &outcome.codes);
        self.passes += outcome.passes;
        self.seconds += outcome.took.as_secs();
    }
}

#[expect(clippy::print_stdout, reason = "this is a command, and this is its answer")]
fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let bar = indicatif::ProgressBar::new(args.seeds);
    let mut totals = Totals::default();
    for seed in args.from..args.from.saturating_add(args.seeds) {
        let plan = args.plan(seed);
        let outcome = played(&plan, args.twice)?;
        if !outcome.problems.is_empty() {
            bar.abandon();
            println!("seed {seed} failed:");
            outcome.problems.iter().take(20).for_each(|problem| println!("  {problem}"));
            if args.tell {
                outcome.stories.iter().for_each(|story| println!("{story}\n"));
                return Ok(ExitCode::FAILURE);
            }
            println!("play it again, as small as it gets:\n  {}", shrunk(plan)?);
            return Ok(ExitCode::FAILURE);
        }
        totals.add(&outcome);
        bar.inc(1);
    }
    bar.finish_and_clear();
    println!(
        "{} seeds, {} passes, {} simulated hours: every promise kept",
        args.seeds,
        totals.passes,
        totals.seconds / 3_600
    );
    let print = |name: &str, counts: Vec<(String, u64)>| {
        println!("{name}:");
        for (key, count) in counts {
            println!("  {key:<28} {count}");
        }
    };
    print("faults", Fault::ALL.map(|it| (it.to_string(), *totals.struck.get(&it).unwrap_or(&0))).to_vec());
    print("events", totals.kinds.into_iter().collect());
    print("codes", totals.codes.into_iter().collect());
    Ok(ExitCode::SUCCESS)
}

fn played(plan: &Plan, twice: bool) -> anyhow::Result<Outcome> {
    let mut outcome = simulate::<Banking>(plan)?;
    if twice && simulate::<Banking>(plan)?.trace != outcome.trace {
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
