//! Figures, each beside what the disk does in the same round.
//!
//! 1. Nine rounds; in each the floor is measured and then every line, one after another,
//!    so that a machine that is slow for a while is slow for all of them.
//! 2. A figure is the median of the rounds, a ratio the median of the rounds' ratios.
//! 3. If the fastest floor is more than twice the slowest, the machine was not still: the
//!    figures are void.
//! 4. What was written is verified afterwards, and the syncs are counted: a figure that
//!    was not durable, or left the books wrong, is void too.

mod child;
mod conversation;
mod floor;
pub(crate) mod gateway;
pub(crate) mod growth;
pub(crate) mod http;
mod load;
mod log;
mod place;
pub(crate) mod recovery;
mod report;
mod runs;
mod transfers;
pub(crate) mod ws;

pub(crate) use conversation::conversation;
pub(crate) use growth::growth;
pub(crate) use load::load;
pub(crate) use log::log;
pub(crate) use recovery::recovery;
pub(crate) use report::Report;
pub(crate) use runs::runs;
pub(crate) use transfers::transfers;
pub(crate) use ws::ws;

use std::time::Duration;

use steadfast_core::World;

/// How much is measured.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Rounds; figures are medians over them.
    pub(crate) rounds: usize,
    /// Divides the work of a round, for a quick look.
    pub(crate) scale: u64,
    /// The folder on whose file system everything is measured.
    pub(crate) folder: std::path::PathBuf,
}

impl Plan {
    /// `full` of something, or less in a quick look.
    pub(crate) fn count(&self, full: u64) -> u64 {
        (full / self.scale).max(1)
    }
}

/// The wait that so many hundredths of the waits stayed within.
pub(crate) fn percentile(waits: &mut [Duration], hundredths: usize) -> Duration {
    waits.sort_unstable();
    let place = (waits.len() * hundredths).div_ceil(100).saturating_sub(1);
    waits.get(place).copied().unwrap_or_default()
}

/// So many of something in a time, by the second.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(crate) fn rate(count: u64, took: Duration) -> f64 {
    count as f64 / took.as_secs_f64().max(f64::EPSILON)
}

/// How long `work` takes.
pub(crate) async fn timed(
    world: &World,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<Duration> {
    let began = world.clock().elapsed();
    work.await?;
    Ok(world.clock().elapsed().saturating_sub(began))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_wait_that_was_measured() {
        let mut waits: Vec<Duration> = (1..=200).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&mut waits, 50), Duration::from_millis(100));
        assert_eq!(percentile(&mut waits, 99), Duration::from_millis(198));
        assert_eq!(percentile(&mut waits[..1], 99), Duration::from_millis(1));
        assert_eq!(percentile(&mut [], 50), Duration::ZERO);
    }
}
