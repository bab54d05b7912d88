//! What many seeds together have covered, and what they have not.

mod lists;

use std::{collections::BTreeMap, fmt};

pub use lists::{LAYERS, Layer};
use steadfast_sim::{Fault, Outcome};

/// What came of many seeds.
#[derive(Debug, Default)]
pub struct Totals {
    seeds: u64,
    passes: u64,
    seconds: u64,
    struck: BTreeMap<Fault, u64>,
    events: BTreeMap<String, u64>,
    codes: BTreeMap<String, u64>,
}

impl Totals {
    /// Adds a seed.
    pub fn add(&mut self, outcome: &Outcome) {
        fn add<K: Ord + Clone>(to: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
            for (key, count) in from {
                *to.entry(key.clone()).or_default() += count;
            }
        }
        add(&mut self.struck, &outcome.struck);
        add(&mut self.events, &outcome.kinds);
        add(&mut self.codes, &outcome.codes);
        self.passes += outcome.passes;
        self.seconds += outcome.took.as_secs();
        self.seeds += 1;
    }

    fn struck(&self, fault: Fault) -> u64 {
        self.struck.get(&fault).copied().unwrap_or(0)
    }

    /// What has not occurred, and faults that struck less often than this.
    pub fn missing(&self, faults_min: u64) -> Vec<String> {
        let rare = Fault::ALL.into_iter().filter(|fault| self.struck(*fault) < faults_min);
        let rare = rare.map(|fault| format!("fault {fault}, {} times", self.struck(fault)));
        let of = |what: &'static str,
                  listed: fn(&Layer) -> &'static [&'static str],
                  counts: &BTreeMap<String, u64>| {
            let all = LAYERS.iter().flat_map(|layer| listed(layer).iter().map(|name| (layer.name, *name)));
            let missing = all.filter(|(_, name)| !counts.contains_key(*name));
            missing.map(|(layer, name)| format!("{what} {name} of {layer}")).collect::<Vec<_>>()
        };
        let events = of("event", |layer| layer.events, &self.events);
        let codes = of("code", |layer| layer.codes, &self.codes);
        rare.chain(events).chain(codes).collect()
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |f: &mut fmt::Formatter<'_>, name: &dyn fmt::Display, count: u64| {
            writeln!(f, "  {:<32} {count}", name.to_string())
        };
        writeln!(f, "faults:")?;
        Fault::ALL.into_iter().try_for_each(|fault| line(f, &fault, self.struck(fault)))?;
        writeln!(f, "events:")?;
        self.events.iter().try_for_each(|(kind, count)| line(f, kind, *count))?;
        for layer in LAYERS {
            writeln!(f, "codes of {}:", layer.name)?;
            for code in layer.codes {
                line(f, code, self.codes.get(*code).copied().unwrap_or(0))?;
            }
        }
        writeln!(f, "other codes:")?;
        let listed = |code: &str| LAYERS.iter().any(|layer| layer.codes.contains(&code));
        for (code, count) in self.codes.iter().filter(|(code, _)| !listed(code)) {
            line(f, code, *count)?;
        }
        let (seeds, hours) = (self.seeds, self.seconds / 3_600);
        write!(f, "{seeds} seeds, {} passes, {hours} simulated hours", self.passes)
    }
}
