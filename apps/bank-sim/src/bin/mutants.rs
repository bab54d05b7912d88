//! `cargo sim-mutants`: are the faults that are planted found?

use std::process::ExitCode;

use clap::Parser;
use steadfast_bank_sim::mutants::{Found, each, hunt, page, problems, within};
use steadfast_core::Mutant;

/// Plants faults, one at a time, and plays seeds until a check finds each
#[derive(Debug, Parser)]
struct Args {
    /// Only these; all of them when none is named.
    #[arg(value_parser = named)]
    faults: Vec<Mutant>,
    /// Look for nothing: print docs/planted-faults.md.
    #[arg(long)]
    page: bool,
}

fn named(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.iter().find(|mutant| format!("{mutant:?}") == name);
    found.copied().ok_or_else(|| "no such fault: docs/planted-faults.md lists them".into())
}

#[expect(clippy::print_stdout, reason = "this is a command, and this is its answer")]
fn main() -> ExitCode {
    let args = Args::parse();
    if args.page {
        print!("{}", page());
        return ExitCode::SUCCESS;
    }
    let faults = if args.faults.is_empty() { Mutant::ALL } else { &args.faults };
    let bar = indicatif::ProgressBar::new(faults.len() as u64);
    let found: Vec<Result<Found, String>> = each(faults, |mutant| {
        let found = looked_for(*mutant);
        bar.suspend(|| match &found {
            Ok(Found { seed, problem }) => {
                println!("{:<22} {:<6} seed {seed:>3}  {problem}", format!("{mutant:?}"), mutant.breaks());
            }
            Err(why) => println!("{:<22} {:<6} {why}", format!("{mutant:?}"), mutant.breaks()),
        });
        bar.inc(1);
        found
    });
    bar.finish_and_clear();
    let missed = found.iter().filter(|found| found.is_err()).count();
    println!("{} faults, {missed} not found", found.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Found, and not where nothing is wrong without it as well.
fn looked_for(mutant: Mutant) -> Result<Found, String> {
    let found = hunt(mutant)
        .ok_or_else(|| format!("is not found by {} within {}", mutant.check(), within(mutant)))?;
    match problems(found.seed, None).first() {
        None => Ok(found),
        Some(problem) => Err(format!("seed {} fails without it: {problem}", found.seed)),
    }
}
