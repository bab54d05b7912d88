use std::time::Duration;

use serde::Serialize;

use super::{Past, Plan, STARTS};
use crate::{bench::report::median, output, verify::Verdict};

const RATIO_MAX: f64 = 1.2;
const START_MAX: f64 = 1.0;
const MEMORY_MAX: u64 = 200_000_000;

/// A bench of growth and whether its figures count.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    /// Runs that had ended, and events in the store, when the server started.
    ended: u64,
    events: u64,
    waiting_at_start: u64,
    waiting: u64,
    /// A run of five steps, one at a time, medians.
    one_grown_ms: f64,
    one_empty_ms: f64,
    ratio: f64,
    /// A run that is taken up for a signal, medians: events in the stream of the long one.
    past_events: u64,
    long_past_ms: f64,
    no_past_ms: f64,
    past_ratio: f64,
    start_s: f64,
    slowest_start_s: f64,
    memory_bytes: u64,
    verify: Verdict,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        events: u64,
        (grown, empty): (&[Duration], &[Duration]),
        past: &Past,
        starts: &[Duration],
        memory_bytes: u64,
        verify: Verdict,
    ) -> Self {
        let of = |waits: &[Duration]| waits.iter().map(Duration::as_secs_f64).collect::<Vec<_>>();
        let millis = |waits: &[Duration]| median(&of(waits)) * 1_000.0;
        let (one_grown_ms, one_empty_ms) = (millis(grown), millis(empty));
        let (long_past_ms, no_past_ms) = (millis(&past.long), millis(&past.short));
        let starts = of(starts);
        Self {
            bench: "bench growth",
            ended: plan.ended,
            events,
            waiting_at_start: plan.waiting_at_start,
            waiting: plan.waiting,
            one_grown_ms,
            one_empty_ms,
            ratio: one_grown_ms / one_empty_ms,
            past_events: past.events,
            long_past_ms,
            no_past_ms,
            past_ratio: long_past_ms / no_past_ms,
            start_s: median(&starts),
            slowest_start_s: starts.iter().copied().fold(0.0, f64::max),
            memory_bytes,
            verify,
        }
    }

    /// The figures count.
    pub(crate) fn counts(&self) -> bool {
        self.verify.passed
    }

    /// For people.
    pub(crate) fn print(&self) {
        output::line(format!(
            "{}: {} runs that ended, {} events; {} runs wait, and later {}",
            self.bench, self.ended, self.events, self.waiting_at_start, self.waiting
        ));
        let row = |what: &str, value: String, bar: String, met: bool| {
            vec![what.to_owned(), value, bar, if met { "met" } else { "MISSED" }.to_owned()]
        };
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let megabytes = self.memory_bytes as f64 / 1e6;
        let rows = [
            row(
                "one run at a time, p50, against an empty store",
                format!("{:.2} ({:.3} / {:.3} ms)", self.ratio, self.one_grown_ms, self.one_empty_ms),
                format!("<= {RATIO_MAX}"),
                self.ratio <= RATIO_MAX,
            ),
            row(
                &format!("taking up a run of {} events, against one of 100", self.past_events),
                format!("{:.2} ({:.3} / {:.3} ms)", self.past_ratio, self.long_past_ms, self.no_past_ms),
                format!("<= {RATIO_MAX}"),
                self.past_ratio <= RATIO_MAX,
            ),
            row(
                &format!("start to ready, median of {STARTS}"),
                format!("{:.3} s (slowest {:.3})", self.start_s, self.slowest_start_s),
                format!("<= {START_MAX} s"),
                self.start_s <= START_MAX,
            ),
            row(
                &format!("memory with {} runs that wait", self.waiting),
                format!("{megabytes:.0} MB"),
                format!("<= {} MB", MEMORY_MAX / 1_000_000),
                self.memory_bytes <= MEMORY_MAX,
            ),
        ];
        output::table(&["WHAT", "FIGURE", "BAR", ""], &rows);
        output::line(self.verify.summary());
        if !self.counts() {
            output::line("VOID: the store does not hold together");
        }
    }
}
