//! A policy puts the parts together and wraps calls.
//!
//! 1. The caller's deadline, shortened to the policy's own.
//! 2. A place in the bulkhead, for the call as a whole with its waits: a callee in trouble
//!    is not met with more calls while others wait to retry.
//! 3. Per attempt a token of the rate limit, then the breaker. A token is given back if the
//!    breaker refuses. Both stand inside the retry, so that a retry is a call like any other
//!    to them, and a breaker that opens half-way ends the retries.
//! 4. Per attempt a timeout, handed to the call as its own deadline.
//!
//! The trap is in what failures mean. Only those that do not blame the caller count against
//! the callee; a rejection from a policy further down says nothing about it; and a timeout
//! never says that nothing happened, so the call must carry an idempotency key or have no
//! effect.

use std::{future::Future, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    Failure, Fault,
    config::{Period, positive},
    defaults,
};

use crate::{
    Breaker, BreakerConfig, Bulkhead, BulkheadConfig, Deadline, Error, RateLimit, RateLimitConfig, Retry,
    RetryConfig, Site, error::is_rejection,
};

/// How calls of one kind are protected. What is left out of a `[resilience.NAME]` table has
/// the default given here, whatever NAME is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PolicyConfig {
    /// The longest a call may take with all its waits and attempts. A caller in more of a
    /// hurry is heeded.
    #[serde(deserialize_with = "positive")]
    pub deadline: Period,
    /// The longest one attempt may take.
    #[serde(deserialize_with = "positive")]
    pub timeout: Period,
    /// How many calls run and wait at once.
    pub bulkhead: BulkheadConfig,
    /// How many attempts a period.
    pub rate_limit: RateLimitConfig,
    /// When to stop calling what does not work.
    pub breaker: BreakerConfig,
    /// When to try again.
    pub retry: RetryConfig,
}

impl PolicyConfig {
    /// For a store.
    pub fn store() -> Self {
        Self {
            timeout: defaults::STORE_TIMEOUT.into(),
            retry: RetryConfig::waiting(&defaults::STORE_RETRY_WAITS),
            ..Self::default()
        }
    }
    /// For the actions of one owner.
    pub fn action_group() -> Self {
        Self {
            timeout: defaults::ACTION_TIMEOUT.into(),
            breaker: BreakerConfig::action_group(),
            ..Self::default()
        }
    }
}

impl Default for PolicyConfig {
    /// For agents and models.
    fn default() -> Self {
        Self {
            deadline: defaults::CALL_DEADLINE.into(),
            timeout: defaults::AGENT_TIMEOUT.into(),
            bulkhead: BulkheadConfig::default(),
            rate_limit: RateLimitConfig::default(),
            breaker: BreakerConfig::default(),
            retry: RetryConfig::default(),
        }
    }
}

/// The parts of one name, shared by all its calls.
pub struct Policy {
    deadline: Duration,
    timeout: Duration,
    bulkhead: Option<Bulkhead>,
    rate_limit: Option<RateLimit>,
    breaker: Option<Breaker>,
    retry: Retry,
    site: Site,
}

impl Policy {
    /// A policy at its start: empty, full and closed.
    pub fn new(config: &PolicyConfig, site: Site) -> Self {
        let at = || site.clone();
        Self {
            deadline: config.deadline.get(),
            timeout: config.timeout.get(),
            bulkhead: config.bulkhead.enabled.then(|| Bulkhead::new(&config.bulkhead, at())),
            rate_limit: config.rate_limit.enabled.then(|| RateLimit::new(&config.rate_limit, at())),
            breaker: config.breaker.enabled.then(|| Breaker::new(config.breaker.clone(), at())),
            retry: Retry::new(&config.retry, at()),
            site,
        }
    }
    /// Its breaker, unless that is disabled.
    pub fn breaker(&self) -> Option<&Breaker> {
        self.breaker.as_ref()
    }
    /// Makes `call`, which is given the number of the attempt, from 1, and its deadline.
    /// Safe to drop half-way, as far as the call is.
    pub async fn call<T, F>(
        &self,
        deadline: &Deadline,
        mut call: impl FnMut(u32, Deadline) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let deadline = deadline.within(self.deadline);
        let _place = match &self.bulkhead {
            Some(bulkhead) => Some(bulkhead.enter(&deadline).await?),
            None => None,
        };
        let mut tries = self.retry.begin();
        loop {
            match self.attempt(tries.attempt(), &deadline, &mut call).await {
                Ok(value) => return Ok(value),
                Err(failure) => tries.again(failure, &deadline).await?,
            }
        }
    }
    async fn attempt<T, F>(
        &self,
        attempt: u32,
        deadline: &Deadline,
        call: &mut impl FnMut(u32, Deadline) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let late = |started| Error::Late { name: self.site.name.clone(), started };
        if let Some(limit) = &self.rate_limit {
            limit.take(1, deadline).await?;
        }
        if deadline.is_over() {
            self.refund();
            return Err(self.site.reject(late(false)).into());
        }
        let permit = self.breaker.as_ref().map(Breaker::admit).transpose().inspect_err(|_| self.refund())?;
        let own = deadline.within(self.timeout);
        let (result, unwell) = match own.run(call(attempt, own.clone())).await {
            Ok(Ok(value)) => (Ok(value), Some(false)),
            Ok(Err(failure)) if is_rejection(&failure) => (Err(failure), None),
            Ok(Err(failure)) => {
                let unwell = failure.fault != Fault::Caller;
                (Err(failure), Some(unwell))
            }
            Err(_) if deadline.is_over() => (Err(late(true).into()), Some(true)),
            Err(_) => {
                let timeout = Error::Timeout { name: self.site.name.clone(), after: self.timeout };
                (Err(timeout.into()), Some(true))
            }
        };
        match (permit, unwell) {
            (Some(permit), Some(true)) => permit.unwell(),
            (Some(permit), Some(false)) => permit.well(),
            _ => {}
        }
        result
    }
    fn refund(&self) {
        if let Some(limit) = &self.rate_limit {
            limit.refund(1);
        }
    }
}

#[cfg(test)]
mod tests;
