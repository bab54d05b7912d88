//! A rate limit keeps us below what a callee allows: so many calls a period, and a burst.
//!
//! A bucket holds up to `burst` tokens and gains `permits` of them every `per`. A call takes
//! one. If there is none it may take it on credit: the level goes below zero and the call
//! waits until the debt that was there when it came is paid, which keeps callers in order
//! without a queue. It is refused if that is longer than `wait` or than its deadline. A
//! token taken for a call that never left is given back ([`RateLimit::refund`]); so is
//! that of a caller that went away while waiting.
//!
//! Levels are whole numbers in units of 1 / (`per` in nanoseconds) of a token, in which a
//! nanosecond earns `permits` units: nothing is rounded, so nothing drifts.

use std::{
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::config::{Period, positive};

use crate::{Deadline, Error, Site};

/// How many calls a period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitConfig {
    /// Whether there is a limit at all.
    pub enabled: bool,
    /// Calls a period.
    pub permits: NonZeroU32,
    /// The period.
    #[serde(deserialize_with = "positive")]
    pub per: Period,
    /// Calls that may be made at once after a pause.
    pub burst: NonZeroU32,
    /// How long a call may wait for its turn before it is refused.
    pub wait: Period,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            permits: NonZeroU32::MIN,
            per: Duration::from_secs(1).into(),
            burst: NonZeroU32::MIN,
            wait: Duration::from_secs(1).into(),
        }
    }
}

/// A token bucket.
pub struct RateLimit {
    bucket: Mutex<Bucket>,
    permits: i128,
    cost: i128,
    full: i128,
    wait: Duration,
    site: Site,
}

struct Bucket {
    level: i128,
    at: Duration,
}

impl RateLimit {
    /// A full bucket.
    pub fn new(config: &RateLimitConfig, site: Site) -> Self {
        let cost = i128::try_from(config.per.get().as_nanos()).unwrap_or(i128::MAX).max(1);
        let full = cost.saturating_mul(config.burst.get().into());
        Self {
            bucket: Mutex::new(Bucket { level: full, at: site.world.clock().elapsed() }),
            permits: config.permits.get().into(),
            cost,
            full,
            wait: config.wait.get(),
            site,
        }
    }
    /// Takes `n` tokens, waiting for them if that is allowed. Dropped half-way, it gives
    /// them back.
    pub async fn take(&self, n: u32, deadline: &Deadline) -> Result<(), Error> {
        let wait = self.reserve(n, self.wait.min(deadline.remaining())).map_err(|retry_after| {
            self.site.reject(Error::Limited { name: self.site.name.clone(), retry_after })
        })?;
        if !wait.is_zero() {
            let mut reserved = Reserved { of: self, n };
            self.site.world.clock().sleep(wait).await;
            reserved.n = 0;
        }
        Ok(())
    }
    /// Takes `n` tokens if they are there now, and says how many it took: more than the bucket
    /// holds counts as all it holds, so that such a call has its turn too, when the bucket is full.
    pub fn try_take(&self, n: u32) -> Result<u32, Error> {
        let n = n.min(u32::try_from(self.full / self.cost).unwrap_or(u32::MAX));
        self.reserve(n, Duration::ZERO).map(|_| n).map_err(|retry_after| {
            self.site.reject(Error::Limited { name: self.site.name.clone(), retry_after })
        })
    }
    /// Takes `n` tokens that were used already, on credit: who comes next waits for them.
    pub fn charge(&self, n: u32) {
        let mut bucket = self.refilled();
        bucket.level = bucket.level.saturating_sub(self.cost.saturating_mul(n.into()));
    }
    /// Gives `n` tokens back: what they were taken for did not happen.
    pub fn refund(&self, n: u32) {
        let mut bucket = self.refilled();
        bucket.level = bucket.level.saturating_add(self.cost.saturating_mul(n.into())).min(self.full);
    }
    /// Takes `n` tokens and says how long to wait for them, or, without taking any, how
    /// long it would be.
    fn reserve(&self, n: u32, wait_max: Duration) -> Result<Duration, Duration> {
        let mut bucket = self.refilled();
        let level = bucket.level.saturating_sub(self.cost.saturating_mul(n.into()));
        let debt = u128::try_from(-level).unwrap_or(0).div_ceil(self.permits.unsigned_abs());
        let wait = Duration::from_nanos(u64::try_from(debt).unwrap_or(u64::MAX));
        if wait > wait_max {
            return Err(wait);
        }
        bucket.level = level;
        Ok(wait)
    }
    fn refilled(&self) -> MutexGuard<'_, Bucket> {
        let now = self.site.world.clock().elapsed();
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = i128::try_from(now.saturating_sub(bucket.at).as_nanos()).unwrap_or(i128::MAX);
        bucket.level = bucket.level.saturating_add(passed.saturating_mul(self.permits)).min(self.full);
        bucket.at = now;
        bucket
    }
}

/// Tokens of a caller that may go away before its turn.
struct Reserved<'a> {
    of: &'a RateLimit,
    n: u32,
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        self.of.refund(self.n);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use steadfast_core::World;

    use super::*;

    fn limit(world: &World, permits: u32, burst: u32, wait: u64) -> RateLimit {
        let count = |n| NonZeroU32::new(n).expect("not zero");
        let config = RateLimitConfig {
            enabled: true,
            permits: count(permits),
            burst: count(burst),
            wait: Duration::from_secs(wait).into(),
            ..RateLimitConfig::default()
        };
        RateLimit::new(&config, Site::silent("slack", world))
    }

    #[tokio::test]
    async fn a_burst_passes_then_calls_wait_in_order_then_they_are_refused() {
        let (world, clock) = World::manual(1);
        let limit = limit(&world, 1, 2, 1);
        let deadline = Deadline::after(&world, Duration::from_mins(1));
        limit.take(1, &deadline).await.expect("first of the burst");
        limit.take(1, &deadline).await.expect("second of the burst");
        let mut third = Box::pin(limit.take(1, &deadline));
        assert!(futures::poll!(&mut third).is_pending());
        let two = Duration::from_secs(2);
        let refused = Error::Limited { name: "slack".into(), retry_after: two };
        assert_eq!(limit.take(1, &deadline).await, Err(refused));
        clock.advance(Duration::from_secs(1));
        third.await.expect("its turn came");
    }

    #[tokio::test]
    async fn what_was_not_used_can_be_used_by_the_next() {
        let (world, _) = World::manual(1);
        let limit = limit(&world, 1, 1, 1);
        let deadline = Deadline::after(&world, Duration::from_mins(1));
        limit.take(1, &deadline).await.expect("the one token");
        limit.refund(1);
        limit.refund(1); // never above the burst
        limit.take(1, &deadline).await.expect("the same token");
        let mut gone = Box::pin(limit.take(1, &deadline));
        assert!(futures::poll!(&mut gone).is_pending());
        drop(gone);
        let mut next = Box::pin(limit.take(1, &deadline));
        assert!(futures::poll!(&mut next).is_pending(), "waits one second, not two");
        let soon = Deadline::after(&world, Duration::from_millis(10));
        assert!(limit.take(1, &soon).await.is_err(), "refused at once when the deadline is nearer");
    }

    #[tokio::test]
    async fn what_was_used_beyond_what_was_taken_is_paid_by_those_who_come_next() {
        let (world, clock) = World::manual(1);
        let limit = limit(&world, 1, 3, 0);
        assert_eq!(limit.try_take(100), Ok(3), "as much as there is");
        limit.charge(2);
        for _ in 0..2 {
            clock.advance(Duration::from_secs(1));
            assert!(limit.try_take(1).is_err(), "the debt is paid first");
        }
        let late = Error::Limited { name: "slack".into(), retry_after: Duration::from_secs(2) };
        assert_eq!(limit.try_take(2), Err(late));
        clock.advance(Duration::from_secs(1));
        limit.try_take(1).expect("the debt is paid");
    }

    proptest! {
        #[test]
        fn no_stretch_of_time_sees_more_than_its_permits_and_one_burst(
            permits in 1..50_u32, burst in 1..20_u32, steps in prop::collection::vec(0..3_000_u64, 1..200),
        ) {
            let (world, clock) = World::manual(1);
            let limit = limit(&world, permits, burst, 0);
            let (mut passed, mut millis) = (0_u64, 0_u64);
            for step in steps {
                clock.advance(Duration::from_millis(step));
                millis += step;
                passed += u64::from(limit.reserve(1, Duration::ZERO).is_ok());
                prop_assert!(passed * 1_000 <= u64::from(burst) * 1_000 + millis * u64::from(permits));
            }
        }
    }
}
