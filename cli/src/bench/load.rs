//! A load on any server that speaks HTTP: the same generator for ourselves and for others.

use std::sync::Arc;

use serde::Serialize;

use super::{
    http::{Each, Load},
    percentile, rate,
};
use crate::output;

/// What a load met.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    bench: &'static str,
    callers: u64,
    answered: usize,
    seconds: f64,
    rate: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    failed: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_failure: Option<String>,
}

/// Sends a load and measures the answers.
pub(crate) async fn load(load: Load, callers: u64, each: Each) -> anyhow::Result<Report> {
    let mut answered = Arc::new(load).send(callers, each).await?;
    let waits = &mut answered.waits;
    let mut at = |hundredths| percentile(waits, hundredths).as_secs_f64() * 1_000.0;
    let (p50_ms, p95_ms, p99_ms, max_ms) = (at(50), at(95), at(99), at(100));
    Ok(Report {
        bench: "bench load",
        callers,
        answered: waits.len(),
        seconds: answered.took.as_secs_f64(),
        rate: rate(waits.len() as u64, answered.took),
        p50_ms,
        p95_ms,
        p99_ms,
        max_ms,
        failed: answered.failures.len(),
        first_failure: answered.failures.into_iter().next(),
    })
}

impl Report {
    /// Every request was answered as expected.
    pub(crate) fn counts(&self) -> bool {
        self.failed == 0 && self.answered > 0
    }

    /// For people.
    pub(crate) fn print(&self) {
        output::line(format!(
            "{} callers for {:.1} s: {} answers, {:.0}/s, p50 {:.2} ms, p99 {:.2} ms, max {:.2} ms",
            self.callers, self.seconds, self.answered, self.rate, self.p50_ms, self.p99_ms, self.max_ms
        ));
        if let Some(failure) = &self.first_failure {
            output::line(format!("VOID: {} callers failed; the first: {failure}", self.failed));
        }
    }
}
