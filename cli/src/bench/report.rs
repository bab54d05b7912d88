use serde::Serialize;

use super::floor::Floor;
use crate::{output, verify::Verdict};

/// What a line must reach.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bar {
    /// Its ratio to the floor, or more.
    RatioAtLeast(f64),
    /// Its ratio to the floor, or less.
    RatioAtMost(f64),
    /// Its figure, or more.
    AtLeast(f64),
    /// Its figure, or less.
    AtMost(f64),
}

/// One thing measured, round by round.
pub(super) struct Line {
    name: &'static str,
    unit: &'static str,
    bar: Bar,
    values: Vec<f64>,
    ratios: Vec<f64>,
}

impl Line {
    pub(super) const fn new(name: &'static str, unit: &'static str, bar: Bar) -> Self {
        Self { name, unit, bar, values: Vec::new(), ratios: Vec::new() }
    }
    /// A round's figure, and the floor that it is held against.
    pub(super) fn push(&mut self, value: f64, floor: f64) {
        self.values.push(value);
        self.ratios.push(value / floor.max(f64::EPSILON));
    }
}

/// A bench and whether its figures count.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    rounds: usize,
    floor: FloorFigures,
    lines: Vec<Figure>,
    /// Commits, those that prepared the bench included, and the syncs that they shared.
    commits: u64,
    syncs: u64,
    verify: Verdict,
    /// Why the figures do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    void: Option<String>,
}

#[derive(Debug, Serialize)]
struct FloorFigures {
    one_row_a_second: f64,
    one_row_p50_ms: f64,
    group_of_64_rows_a_second: f64,
    /// The fastest round by the slowest, of the floor that wavered most.
    spread: f64,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: &'static str,
    unit: &'static str,
    median: f64,
    lowest: f64,
    highest: f64,
    ratio_to_floor: f64,
    bar: String,
    met: bool,
}

const SPREAD_MAX: f64 = 2.0;

pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

fn spread(values: &[f64]) -> f64 {
    let highest = values.iter().copied().fold(f64::MIN, f64::max);
    let lowest = values.iter().copied().fold(f64::MAX, f64::min);
    highest / lowest
}

impl Report {
    pub(super) fn new(
        bench: &'static str,
        floors: &[Floor],
        lines: Vec<Line>,
        stats: steadfast_log_sqlite::Stats,
        verify: Verdict,
    ) -> Self {
        let of = |pick: fn(&Floor) -> f64| floors.iter().map(pick).collect::<Vec<_>>();
        let (one, group) = (of(|floor| floor.one), of(|floor| floor.group));
        let p50 = of(|floor| floor.one_p50.as_secs_f64() * 1_000.0);
        let spread = spread(&one).max(spread(&group));
        let void = if !verify.passed {
            Some("the books do not hold together".to_owned())
        } else if spread > SPREAD_MAX {
            Some(format!(
                "the floor's fastest round is {spread:.1} times its slowest: the machine was not still, run it again"
            ))
        } else {
            None
        };
        Self {
            bench,
            rounds: floors.len(),
            floor: FloorFigures {
                one_row_a_second: median(&one),
                one_row_p50_ms: median(&p50),
                group_of_64_rows_a_second: median(&group),
                spread,
            },
            lines: lines.iter().map(figure).collect(),
            commits: stats.commits,
            syncs: stats.syncs,
            verify,
            void,
        }
    }

    /// The figures count.
    pub(crate) fn counts(&self) -> bool {
        self.void.is_none()
    }

    /// For people.
    pub(crate) fn print(&self) {
        let floor = &self.floor;
        output::line(format!("{}, median of {} rounds", self.bench, self.rounds));
        let rows: Vec<Vec<String>> = self.lines.iter().map(Figure::cells).collect();
        let headers = ["WHAT", "MEDIAN", "LOWEST", "HIGHEST", "OF FLOOR", "BAR", ""];
        output::table(&headers, &rows);
        output::line(format!(
            "floor: {} rows/s one by one (p50 {:.3} ms), {} rows/s in groups of 64; fastest round {:.2} times the slowest",
            whole(floor.one_row_a_second),
            floor.one_row_p50_ms,
            whole(floor.group_of_64_rows_a_second),
            floor.spread,
        ));
        output::line(format!("{} commits in {} syncs", self.commits, self.syncs));
        output::line(self.verify.summary());
        if let Some(void) = &self.void {
            output::line(format!("VOID: {void}"));
        }
    }
}

impl Figure {
    fn cells(&self) -> Vec<String> {
        let show = |value: f64| {
            if self.unit == "ms" {
                format!("{value:.3} ms")
            } else {
                format!("{} {}", whole(value), self.unit)
            }
        };
        vec![
            self.name.into(),
            show(self.median),
            show(self.lowest),
            show(self.highest),
            format!("{:.2}", self.ratio_to_floor),
            self.bar.clone(),
            if self.met { "met" } else { "MISSED" }.into(),
        ]
    }
}

fn figure(line: &Line) -> Figure {
    let (value, ratio) = (median(&line.values), median(&line.ratios));
    let (bar, met) = match line.bar {
        Bar::RatioAtLeast(bar) => (format!(">= {bar} of floor"), ratio >= bar),
        Bar::RatioAtMost(bar) => (format!("<= {bar} of floor"), ratio <= bar),
        Bar::AtLeast(bar) => (format!(">= {} {}", whole(bar), line.unit), value >= bar),
        Bar::AtMost(bar) => (format!("<= {bar} {}", line.unit), value <= bar),
    };
    Figure {
        name: line.name,
        unit: line.unit,
        median: value,
        lowest: line.values.iter().copied().fold(f64::MAX, f64::min),
        highest: line.values.iter().copied().fold(f64::MIN, f64::max),
        ratio_to_floor: ratio,
        bar,
        met,
    }
}

/// A whole number in groups of three digits.
fn whole(value: f64) -> String {
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(' ');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn floor(one: f64) -> Floor {
        Floor { one, one_p50: Duration::from_micros(140), group: 100_000.0 }
    }

    #[test]
    fn a_figure_is_the_median_and_its_ratio_the_median_of_ratios() {
        let mut line = Line::new("x", "/s", Bar::RatioAtLeast(0.5));
        for (value, floor) in [(10.0, 100.0), (60.0, 100.0), (90.0, 100.0)] {
            line.push(value, floor);
        }
        let figure = figure(&line);
        assert_eq!((figure.median, figure.ratio_to_floor), (60.0, 0.6));
        assert!(figure.met);
        assert_eq!(whole(1_234_567.4), "1 234 567");
    }

    #[test]
    fn figures_over_a_floor_that_wavers_or_over_wrong_books_are_void() {
        let stats = steadfast_log_sqlite::Stats::default();
        let report = |floors: &[Floor], verify| Report::new("x", floors, vec![], stats, verify);
        let passed = Verdict { passed: true, ..Verdict::default() };
        assert!(report(&[floor(100.0), floor(199.0)], passed.clone()).counts());
        assert!(!report(&[floor(100.0), floor(201.0)], passed).counts());
        assert!(!report(&[floor(100.0)], Verdict::default()).counts());
    }
}
