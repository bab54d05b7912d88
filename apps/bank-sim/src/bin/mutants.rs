//! explore
use clap::Parser;
use std::collections::BTreeMap;
use steadfast_bank_sim::mutants;
use steadfast_core::Mutant;

#[derive(Debug, Parser)]
struct Args {
    names: Vec<String>,
    #[arg(long, default_value_t = 40)]
    seeds: u64,
    #[arg(long)]
    all: bool,
}
#[expect(clippy::print_stdout, reason = "x")]
fn main() {
    let args = Args::parse();
    let chosen: Vec<Mutant> = Mutant::ALL
        .iter()
        .copied()
        .filter(|m| args.names.is_empty() || args.names.contains(&format!("{m:?}")))
        .collect();
    mutants::each(&chosen, |m| {
        let began = std::time::SystemTime::now();
        let mut hits: BTreeMap<String, (u64, u64, String)> = BTreeMap::new();
        for seed in 0..args.seeds {
            let mut seen = std::collections::BTreeSet::new();
            for p in mutants::problems(seed, Some(*m)) {
                let label = p.split(':').next().unwrap_or("").chars().take(30).collect::<String>();
                if seen.insert(label.clone()) {
                    let e = hits.entry(label.clone()).or_insert((seed, 0, p.clone()));
                    e.1 += 1;
                }
            }
            if !args.all && hits.contains_key(m.check()) {
                break;
            }
            if began.elapsed().map_or(0, |e| e.as_secs()) > 60 {
                println!("{m:?}: gave up at {seed}");
                break;
            }
        }
        let took = began.elapsed().map_or(0, |e| e.as_millis());
        println!(
            "{} {m:?} [{}] {took} ms",
            if hits.contains_key(m.check()) { "ok  " } else { "MISS" },
            m.check()
        );
        for (l, (seed, n, p)) in hits {
            println!("      {l} first {seed} x{n}: {}", p.chars().take(200).collect::<String>());
        }
    });
}
