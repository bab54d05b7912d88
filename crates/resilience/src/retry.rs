//! Retries help against what passes by itself, and hurt everything else.
//!
//! What is retried: failures that say so ([`steadfast_core::Failure::retryable`]), never a
//! rejection by a policy, as the point of one is to leave the callee alone.
//!
//! When: after a random part of the next wait (full jitter: callers that failed together
//! do not come back together), or after what the callee asked for (`Retry-After`), if that
//! is longer. A wait that would not leave time before the deadline is not begun.
//!
//! How many: at most one per configured wait, and over all calls no more than a share of
//! them. Each call pays `share` of a token into the budget, each retry takes one out; the
//! budget holds `reserve` tokens and starts full. So retries ≤ reserve + share × calls:
//! when everything fails, a callee sees 1.2 times its load, not 4 times.
//!
//! What is known at the end: that nothing happened only if no attempt leaves doubt. A
//! refusal after an attempt that timed out must not claim otherwise.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    Failure,
    config::{Period, Share},
    defaults,
    observe::Signal,
};

use crate::{
    Deadline, Site,
    error::{is_rejection, retry_after},
};

/// When a failed call is tried again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RetryConfig {
    /// Whether there are retries at all.
    pub enabled: bool,
    /// The longest wait before each retry; a random part of it is waited. As many retries
    /// as there are waits.
    pub waits: Vec<Period>,
    /// The part of calls that may be retries, over time.
    pub share: Share,
    /// Retries that are at hand beyond that share.
    pub reserve: u32,
}

impl RetryConfig {
    /// The canonical budget with these waits.
    pub fn waiting(waits: &[Duration]) -> Self {
        Self { waits: waits.iter().map(|wait| (*wait).into()).collect(), ..Self::default() }
    }
}

impl Default for RetryConfig {
    fn default() -> Self {
        const SHARE: Share = match Share::new(defaults::RETRY_SHARE) {
            Ok(share) => share,
            Err(_) => panic!("the default is a share"),
        };
        Self {
            enabled: true,
            waits: defaults::RETRY_WAITS.map(Period::from).to_vec(),
            share: SHARE,
            reserve: defaults::RETRY_RESERVE,
        }
    }
}

/// Tokens are counted in thousandths.
const TOKEN: u64 = 1_000;

/// Decides about retries, for all calls of one policy.
pub struct Retry {
    waits: Vec<Duration>,
    tokens: AtomicU64,
    income: u64,
    full: u64,
    site: Site,
}

impl Retry {
    /// With a full budget.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0..=1 times 1000")]
    pub fn new(config: &RetryConfig, site: Site) -> Self {
        let waits = if config.enabled { &*config.waits } else { &[] };
        let reserve = u64::from(config.reserve) * TOKEN;
        Self {
            waits: waits.iter().map(|wait| wait.get()).collect(),
            tokens: AtomicU64::new(reserve),
            income: (config.share.get() * 1_000.0) as u64,
            full: reserve.max(TOKEN),
            site,
        }
    }
    /// The first attempt of a call.
    pub fn begin(&self) -> Tries<'_> {
        let paid = |tokens: u64| Some((tokens + self.income).min(self.full));
        let _ = self.tokens.fetch_update(Relaxed, Relaxed, paid);
        Tries { retry: self, attempt: 1, earlier: None }
    }
    /// The wait before the attempt after `attempt`, if there is to be one.
    fn wait(&self, attempt: u32, failure: &Failure, deadline: &Deadline) -> Option<Duration> {
        let longest = *self.waits.get(usize::try_from(attempt - 1).ok()?)?;
        let asked = retry_after(failure).unwrap_or_default();
        let wait = longest.mul_f64(self.site.world.chance().fraction()).max(asked);
        if !failure.retryable || asked > defaults::RETRY_AFTER_MAX || wait >= deadline.remaining() {
            return None;
        }
        let spent = self.tokens.fetch_update(Relaxed, Relaxed, |tokens| tokens.checked_sub(TOKEN));
        if spent.is_err() {
            let by = "resilience.retry_budget";
            self.site.observer.observe(Signal::Rejected { name: &self.site.name, by });
        }
        spent.ok().map(|_| wait)
    }
}

/// The attempts of one call.
pub struct Tries<'a> {
    retry: &'a Retry,
    attempt: u32,
    earlier: Option<Failure>,
}

impl Tries<'_> {
    /// Which attempt it is, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }
    /// After a failed attempt: returns when it is time for the next, or gives the failure
    /// the call ends with. Safe to drop half-way.
    pub async fn again(&mut self, mut failure: Failure, deadline: &Deadline) -> Result<(), Failure> {
        if let Some(earlier) = self.earlier.take() {
            if is_rejection(&failure) {
                // What the callee said is worth more than that it was left alone then.
                return Err(earlier);
            }
            failure.nothing_happened &= earlier.nothing_happened;
        }
        let wait =
            if is_rejection(&failure) { None } else { self.retry.wait(self.attempt, &failure, deadline) };
        let Some(wait) = wait else {
            return Err(failure);
        };
        self.earlier = Some(failure);
        let site = &self.retry.site;
        site.world.clock().sleep(wait).await;
        self.attempt += 1;
        site.observer.observe(Signal::Retry { name: &site.name, attempt: self.attempt });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use steadfast_core::World;

    use super::*;
    use crate::error::with_retry_after;

    fn busy() -> Failure {
        Failure::upstream("busy", "busy")
    }

    #[test]
    fn a_wait_is_random_within_its_bound_and_at_least_what_was_asked_for() {
        let (world, _) = World::manual(1);
        let config = RetryConfig { reserve: 1_000_000, ..RetryConfig::default() };
        let retry = Retry::new(&config, Site::silent("model", &world));
        let deadline = Deadline::after(&world, Duration::from_secs(100));
        let asking = |secs| with_retry_after(busy(), Duration::from_secs(secs));
        for attempt in 1..=3 {
            let longest = defaults::RETRY_WAITS[attempt as usize - 1];
            let waits: Vec<_> = (0..200).filter_map(|_| retry.wait(attempt, &busy(), &deadline)).collect();
            assert_eq!(waits.len(), 200);
            assert!(waits.iter().all(|wait| *wait < longest));
            assert!(waits.iter().max() > Some(&longest.mul_f64(0.9)));
            assert!(waits.iter().min() < Some(&longest.mul_f64(0.1)));
            let asked = Duration::from_secs(50);
            assert_eq!(retry.wait(attempt, &asking(50), &deadline), Some(asked));
        }
        let near = deadline.within(Duration::from_secs(50));
        for (attempt, failure, deadline, why) in [
            (4, busy(), &deadline, "no wait is left"),
            (1, Failure::refused("no", "no"), &deadline, "it is final"),
            (1, asking(61), &deadline, "it was asked to stay away for too long"),
            (1, asking(50), &near, "the deadline is nearer"),
        ] {
            assert_eq!(retry.wait(attempt, &failure, deadline), None, "{why}");
        }
    }

    #[tokio::test]
    async fn doubt_of_an_earlier_attempt_stays_and_a_rejection_does_not_hide_it() {
        let (world, _) = World::manual(1);
        let config = RetryConfig::waiting(&[Duration::ZERO, Duration::ZERO]);
        let retry = Retry::new(&config, Site::silent("model", &world));
        let deadline = Deadline::after(&world, Duration::from_secs(1));
        let sure = Failure { nothing_happened: true, ..busy() };
        let open = Failure::from(crate::Error::Open { name: "model".into(), retry_after: None });

        let mut tries = retry.begin();
        tries.again(busy(), &deadline).await.expect("a second attempt");
        tries.again(sure.clone(), &deadline).await.expect("a third attempt");
        assert_eq!(tries.attempt(), 3);
        assert_eq!(tries.again(sure.clone(), &deadline).await, Err(busy()));

        let mut tries = retry.begin();
        tries.again(busy(), &deadline).await.expect("a second attempt");
        assert_eq!(tries.again(open.clone(), &deadline).await, Err(busy()));
        assert_eq!(retry.begin().again(open.clone(), &deadline).await, Err(open));
    }

    proptest! {
        #[test]
        fn retries_never_exceed_their_reserve_and_share(
            calls in 1..500_u32, share in 0..=100_u32, reserve in 0..20_u32,
        ) {
            let (world, _) = World::manual(1);
            let share = Share::new(f64::from(share) / 100.0).expect("a share");
            let config = RetryConfig { share, reserve, ..RetryConfig::waiting(&[Duration::ZERO; 3]) };
            let retry = Retry::new(&config, Site::silent("model", &world));
            let deadline = Deadline::after(&world, Duration::from_secs(1));
            let mut retries = 0_u32;
            for _ in 0..calls {
                let tries = retry.begin();
                let all = (1..=3).take_while(|n| retry.wait(*n, &busy(), &deadline).is_some());
                retries += u32::try_from(all.count()).expect("three");
                drop(tries);
            }
            let most = f64::from(reserve) + share.get() * f64::from(calls);
            prop_assert!(f64::from(retries) <= most + 1e-9);
            prop_assert!(u64::from(retries) >= u64::from(reserve).min(3 * u64::from(calls)));
        }
    }
}
