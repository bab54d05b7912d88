use serde::Serialize;

use crate::{bench::report::median, output};

/// What a figure must reach.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Bar {
    AtLeast(f64),
    AtMost(f64),
    None,
}

/// One figure, round by round, and the floor's.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) name: &'static str,
    unit: &'static str,
    pub(super) bar: Bar,
    values: Vec<f64>,
    floors: Vec<f64>,
}

/// Everything that is measured.
pub(super) fn lines() -> Vec<Line> {
    let line = |name, unit, bar| Line { name, unit, bar, values: Vec::new(), floors: Vec::new() };
    vec![
        line("64 connections, whole answers", "/s", Bar::AtLeast(10_000.0)),
        line("processor time of one", "us", Bar::AtMost(100.0)),
        line("the same with durable records", "/s", Bar::None),
        line("16 connections, streams of 20 events", "/s", Bar::AtLeast(3_000.0)),
        line("processor time of one stream", "us", Bar::AtMost(280.0)),
        line("added at 500/s, p50", "ms", Bar::AtMost(0.25)),
        line("added at 500/s, p95", "ms", Bar::AtMost(0.40)),
        line("added to the first token at 50/s, p50", "ms", Bar::AtMost(0.40)),
        line("added to the first token at 50/s, p99", "ms", Bar::AtMost(1.5)),
        line("64 connections, kept answers", "/s", Bar::AtLeast(15_000.0)),
        line("peak memory", "MiB", Bar::AtMost(60.0)),
        line("first provider dead: calls upstream for one", "", Bar::AtMost(1.05)),
        line("first provider hangs, breaker open: p50", "ms", Bar::AtMost(5.0)),
        line("first provider hangs, breaker open: calls to it", "", Bar::None),
        line("30 % of answers are 500: complete", "%", Bar::AtLeast(100.0)),
        line("30 % of answers are 500: p99", "ms", Bar::AtMost(50.0)),
        line("streams cut after 10 events: complete, no text twice", "%", Bar::AtLeast(100.0)),
    ]
}

/// A figure of a round; NaN where the upstream alone has no such figure.
pub(super) fn push(lines: &mut [Line], name: &str, value: f64, floor: f64) {
    let line = lines.iter_mut().find(|line| line.name == name).expect("every figure has a line");
    line.values.push(value);
    line.floors.extend(Some(floor).filter(|floor| floor.is_finite()));
}

/// All figures.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    rounds: usize,
    lines: Vec<Figure>,
    /// Why the figures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    void: Option<String>,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    median: Option<f64>,
    lowest: Option<f64>,
    highest: Option<f64>,
    /// The same load straight at the upstream.
    floor: Option<f64>,
    bar: Bar,
    /// Nothing if it was not measured, or has no bar.
    met: Option<bool>,
}

const SPREAD_MAX: f64 = 2.0;

impl Report {
    pub(super) fn new(rounds: usize, lines: Vec<Line>) -> Self {
        let wavering = lines.first().filter(|line| {
            let (low, high) = ends(&line.floors);
            high > low * SPREAD_MAX
        });
        let void = wavering.map(|_| {
            format!("the floor's fastest round is more than {SPREAD_MAX} times its slowest: the machine was not still, run it again")
        });
        Self { bench: "bench gateway", rounds, lines: lines.iter().map(figure).collect(), void }
    }

    /// The figures count.
    pub(crate) fn counts(&self) -> bool {
        self.void.is_none()
    }

    /// For people.
    pub(crate) fn print(&self) {
        let rounds = self.rounds;
        output::line(format!(
            "{}, median of {rounds} rounds; floor: the same load straight at the upstream",
            self.bench
        ));
        let rows: Vec<_> = self.lines.iter().map(Figure::cells).collect();
        output::table(&["WHAT", "MEDIAN", "LOWEST", "HIGHEST", "FLOOR", "BAR", ""], &rows);
        if let Some(void) = &self.void {
            output::line(format!("VOID: {void}"));
        }
    }
}

fn ends(values: &[f64]) -> (f64, f64) {
    let low = values.iter().copied().fold(f64::MAX, f64::min);
    (low, values.iter().copied().fold(f64::MIN, f64::max))
}

fn figure(line: &Line) -> Figure {
    let some = |value: f64| Some(value).filter(|value| value.is_finite());
    let value = some(median(&line.values));
    let (lowest, highest) = ends(&line.values);
    let met = value.and_then(|value| match line.bar {
        Bar::AtLeast(bar) => Some(value >= bar),
        Bar::AtMost(bar) => Some(value <= bar),
        Bar::None => None,
    });
    Figure {
        name: line.name,
        unit: line.unit,
        median: value,
        lowest: value.and(some(lowest)),
        highest: value.and(some(highest)),
        floor: some(median(&line.floors)),
        bar: line.bar,
        met,
    }
}

impl Figure {
    fn cells(&self) -> Vec<String> {
        let show = |value: Option<f64>| match value {
            None => "-".into(),
            Some(value) => {
                let digits = if value.abs() < 10.0 { 3 } else { usize::from(value.abs() < 1_000.0) };
                format!("{value:.digits$} {}", self.unit).trim_end().to_owned()
            }
        };
        let bar = match self.bar {
            Bar::AtLeast(bar) => format!(">= {bar}"),
            Bar::AtMost(bar) => format!("<= {bar}"),
            Bar::None => String::new(),
        };
        let met = match (self.met, self.median) {
            (Some(true), _) => "met",
            (Some(false), _) => "MISSED",
            (None, None) => "not there",
            (None, Some(_)) => "",
        };
        vec![
            self.name.into(),
            show(self.median),
            show(self.lowest),
            show(self.highest),
            show(self.floor),
            bar,
            met.into(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_the_median_and_what_was_not_measured_is_not_met() {
        let mut lines = lines();
        let name = lines[0].name;
        for (value, floor) in [(9_000.0, 30_000.0), (11_000.0, 31_000.0), (12_000.0, 32_000.0)] {
            push(&mut lines, name, value, floor);
        }
        let report = Report::new(3, lines);
        assert_eq!((report.lines[0].median, report.lines[0].met), (Some(11_000.0), Some(true)));
        assert_eq!((report.lines[1].median, report.lines[1].met), (None, None));
        assert!(report.counts());
        let mut lines = super::lines();
        push(&mut lines, name, 1.0, 10_000.0);
        push(&mut lines, name, 1.0, 30_000.0);
        assert!(!Report::new(2, lines).counts());
    }
}
