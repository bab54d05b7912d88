use std::time::Duration;

use serde::Serialize;

use super::percentile;
use crate::{output, verify::Verdict};

/// What an ack may take, at the 99th percentile.
const ACK_P99_MS_MAX: f64 = 20.0;
/// What the memory at the end may be of that after a quarter.
const GROWTH_MAX: f64 = 1.25;

/// A bench of conversations and whether its figures count.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(super) bench: &'static str,
    pub(super) connections: usize,
    /// Messages a second, and for how long.
    pub(super) rate: u64,
    pub(super) seconds: u64,
    pub(super) ack: Waits,
    pub(super) reply: Waits,
    pub(super) messages: u64,
    /// Connections that were lost without being cut.
    pub(super) reconnects: u64,
    pub(super) replies_lost: u64,
    /// Messages that were refused, or replied to otherwise than hoped for.
    pub(super) not_done: u64,
    /// Bytes; not known of a server in another process.
    pub(super) memory_quarter: Option<u64>,
    pub(super) memory_end: Option<u64>,
    /// Connections that were cut in the middle of work, and replies that never came then.
    pub(super) cuts: u64,
    pub(super) cut_replies_lost: u64,
    /// Transfers that were confirmed and told to be done, and those that the log holds.
    pub(super) confirmed: u64,
    pub(super) transferred: u64,
    pub(super) commits: u64,
    pub(super) syncs: u64,
    pub(super) verify: Verdict,
}

/// Waits in milliseconds, from when the message was due.
#[derive(Debug, Serialize)]
pub(super) struct Waits {
    #[serde(rename = "p50_ms")]
    p50: f64,
    #[serde(rename = "p99_ms")]
    p99: f64,
    #[serde(rename = "max_ms")]
    max: f64,
}

impl Waits {
    pub(super) fn of(waits: &mut [Duration]) -> Self {
        let mut at = |hundredths| percentile(waits, hundredths).as_secs_f64() * 1_000.0;
        Self { p50: at(50), p99: at(99), max: at(100) }
    }

    fn cells(&self, name: &str, bar: &str, met: &str) -> Vec<String> {
        let show = |ms: f64| format!("{ms:.2} ms");
        vec![name.into(), show(self.p50), show(self.p99), show(self.max), bar.into(), met.into()]
    }
}

impl Report {
    /// Why the figures do not count, if they do not.
    fn void(&self) -> Option<String> {
        let lost = self.replies_lost + self.cut_replies_lost;
        if !self.verify.passed {
            Some("the books do not hold together".into())
        } else if lost > 0 {
            Some(format!("{lost} replies were lost"))
        } else if self.not_done > 0 {
            Some(format!("{} messages were not done", self.not_done))
        } else if self.confirmed != self.transferred {
            let (told, made) = (self.confirmed, self.transferred);
            Some(format!("{told} transfers were told to be done, and {made} were"))
        } else {
            None
        }
    }

    /// The figures count.
    pub(crate) fn counts(&self) -> bool {
        self.void().is_none()
    }

    /// For people.
    pub(crate) fn print(&self) {
        output::line(format!(
            "{}, {} connections, {} messages/s for {} s",
            self.bench, self.connections, self.rate, self.seconds
        ));
        let met = |met: bool| if met { "met" } else { "MISSED" };
        let (bar, reached) = (format!("p99 <= {ACK_P99_MS_MAX} ms"), self.ack.p99 <= ACK_P99_MS_MAX);
        let rows = [self.ack.cells("ack", &bar, met(reached)), self.reply.cells("reply", "", "")];
        output::table(&["WHAT", "P50", "P99", "MAX", "BAR", ""], &rows);
        output::line(format!(
            "{} messages, {} replies lost, {} connections lost",
            self.messages, self.replies_lost, self.reconnects
        ));
        if let (Some(quarter), Some(end)) = (self.memory_quarter, self.memory_end) {
            let growth = ratio(end, quarter);
            output::line(format!(
                "memory {} MiB after a quarter, {} MiB at the end: {growth:.2} of it, bar <= {GROWTH_MAX}, {}",
                quarter >> 20,
                end >> 20,
                met(growth <= GROWTH_MAX)
            ));
        }
        output::line(format!(
            "{} connections cut in the middle of work, {} replies lost then",
            self.cuts, self.cut_replies_lost
        ));
        output::line(format!("{} transfers told to be done, {} made", self.confirmed, self.transferred));
        output::line(format!("{} commits in {} syncs", self.commits, self.syncs));
        output::line(self.verify.summary());
        if let Some(void) = self.void() {
            output::line(format!("VOID: {void}"));
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn ratio(one: u64, of: u64) -> f64 {
    one as f64 / (of.max(1)) as f64
}
