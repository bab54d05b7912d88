use serde::Serialize;

use super::{RUNS, Round};
use crate::{bench::report::median, output};

const READY_MAX: f64 = 0.25;
const OVER_MAX: f64 = 0.3;
const AGAIN_MAX: f64 = 3.0;

/// A bench of recovery and whether its figures count.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    kills: usize,
    runs: usize,
    /// What the moments of the kills were drawn from.
    seed: u64,
    /// From the start of the process until it is ready.
    ready_s: Spread,
    /// From ready to the last run's end, less the longest of the work that was left.
    over_s: Spread,
    /// Steps that had ended before a kill and were done again, since their record was not
    /// durable yet.
    effects_again: Spread,
    /// Runs that were accepted and did not complete, all kills together.
    lost: usize,
    /// Steps that were recorded before a restart and done again, all kills together.
    recorded_again: usize,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Spread {
    median: f64,
    lowest: f64,
    highest: f64,
    bar: f64,
    met: bool,
}

impl Spread {
    fn of(values: &[f64], bar: f64) -> Self {
        let median = median(values);
        Self {
            median,
            lowest: values.iter().copied().fold(f64::MAX, f64::min),
            highest: values.iter().copied().fold(f64::MIN, f64::max),
            bar,
            met: median <= bar,
        }
    }

    fn cells(&self, name: &str, unit: &str, places: usize) -> Vec<String> {
        let show = |value: f64| format!("{value:.places$}{unit}");
        vec![
            name.into(),
            show(self.median),
            show(self.lowest),
            show(self.highest),
            format!("<= {}{unit}", self.bar),
            if self.met { "met" } else { "MISSED" }.into(),
        ]
    }
}

impl Report {
    pub(super) fn new(seed: u64, rounds: &[Round]) -> Self {
        let of = |pick: fn(&Round) -> f64| rounds.iter().map(pick).collect::<Vec<_>>();
        let count = |pick: fn(&Round) -> usize| rounds.iter().map(pick).sum();
        Self {
            bench: "bench recovery",
            kills: rounds.len(),
            runs: RUNS,
            seed,
            ready_s: Spread::of(&of(|round| round.ready.as_secs_f64()), READY_MAX),
            over_s: Spread::of(&of(|round| round.over), OVER_MAX),
            effects_again: Spread::of(&of(|round| f64::from(round.effects_again)), AGAIN_MAX),
            lost: count(|round| round.lost),
            recorded_again: count(|round| round.recorded_again),
            problems: rounds.iter().flat_map(|round| round.problems.clone()).collect(),
        }
    }

    /// Why the figures do not count, if they do not.
    fn void(&self) -> Option<String> {
        if self.lost > 0 {
            Some(format!("{} runs were lost", self.lost))
        } else if self.recorded_again > 0 {
            Some(format!("{} recorded steps were done again", self.recorded_again))
        } else {
            self.problems.first().map(|problem| format!("a store does not hold together: {problem}"))
        }
    }

    /// The figures count.
    pub(crate) fn counts(&self) -> bool {
        self.void().is_none()
    }

    /// For people.
    pub(crate) fn print(&self) {
        output::line(format!(
            "{}, {} kills with {} runs of 5 steps of 200 ms in flight, --seed {}",
            self.bench, self.kills, self.runs, self.seed
        ));
        let rows = [
            self.ready_s.cells("restart to ready", " s", 3),
            self.over_s.cells("ready to all ended, over the work that was left", " s", 3),
            self.effects_again.cells("ended steps done again", "", 0),
        ];
        output::table(&["WHAT", "MEDIAN", "LOWEST", "HIGHEST", "BAR", ""], &rows);
        output::line(format!(
            "{} runs lost, {} recorded steps done again; every store verified afterwards",
            self.lost, self.recorded_again
        ));
        if let Some(void) = self.void() {
            output::line(format!("VOID: {void}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn round() -> Round {
        Round {
            ready: Duration::from_millis(50),
            over: 0.1,
            lost: 0,
            recorded_again: 0,
            effects_again: 2,
            problems: Vec::new(),
        }
    }

    #[test]
    fn what_is_lost_or_recorded_and_done_again_voids_the_figures() {
        assert!(Report::new(1, &[round()]).counts());
        assert!(!Report::new(1, &[round(), Round { lost: 1, ..round() }]).counts());
        assert!(!Report::new(1, &[round(), Round { recorded_again: 1, ..round() }]).counts());
        assert!(!Report::new(1, &[Round { problems: vec!["x".into()], ..round() }]).counts());
    }
}
