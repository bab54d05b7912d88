//! A bulkhead keeps one slow callee from taking every task, socket and byte there is.
//!
//! So many calls run at once, so many more wait in order of arrival, and the next one is
//! told at once that it is too many: an unbounded queue only turns overload into
//! timeouts. Waiting counts against the caller's deadline. A place is given back when the
//! [`tokio::sync::SemaphorePermit`] is dropped, however the call ended.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::defaults;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{Deadline, Error, Site};

/// How many calls run and wait at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BulkheadConfig {
    /// Whether there is a bound at all.
    pub enabled: bool,
    /// Calls in flight at once. More load the callee harder.
    pub running: NonZeroU32,
    /// Calls that may wait for their turn; the next is refused. 0 refuses instead of waiting.
    pub waiting: u32,
}

impl Default for BulkheadConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            running: NonZeroU32::new(defaults::BULKHEAD_RUNNING).unwrap_or(NonZeroU32::MIN),
            waiting: defaults::BULKHEAD_WAITING,
        }
    }
}

/// Bounded concurrency with a bounded queue before it.
pub struct Bulkhead {
    running: Semaphore,
    waiting: Semaphore,
    bound: u32,
    site: Site,
}

impl Bulkhead {
    /// An empty one.
    pub fn new(config: &BulkheadConfig, site: Site) -> Self {
        Self {
            running: Semaphore::new(config.running.get() as usize),
            waiting: Semaphore::new(config.waiting as usize),
            bound: config.waiting,
            site,
        }
    }
    /// A place to run in, once there is one. Safe to drop half-way.
    pub async fn enter(&self, deadline: &Deadline) -> Result<SemaphorePermit<'_>, Error> {
        let late = || self.site.reject(Error::Late { name: self.site.name.clone(), started: false });
        if deadline.is_over() {
            return Err(late());
        }
        if let Ok(place) = self.running.try_acquire() {
            return Ok(place);
        }
        let Ok(_waiting) = self.waiting.try_acquire() else {
            let full = Error::Full { name: self.site.name.clone(), waiting: self.bound };
            return Err(self.site.reject(full));
        };
        // The semaphore is never closed, so only the deadline ends the wait early.
        match deadline.run(self.running.acquire()).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(late()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use steadfast_core::World;

    use super::*;

    #[tokio::test]
    async fn so_many_run_so_many_wait_and_the_rest_are_refused() {
        let (world, clock) = World::manual(1);
        let two = NonZeroU32::new(2).expect("two");
        let config = BulkheadConfig { running: two, waiting: 1, ..BulkheadConfig::default() };
        let bulkhead = Bulkhead::new(&config, Site::silent("mail", &world));
        let deadline = Deadline::after(&world, Duration::from_secs(5));
        let first = bulkhead.enter(&deadline).await.expect("a place");
        let _second = bulkhead.enter(&deadline).await.expect("a place");

        let mut third = Box::pin(bulkhead.enter(&deadline));
        assert!(futures::poll!(&mut third).is_pending());
        let full = Error::Full { name: "mail".into(), waiting: 1 };
        assert_eq!(bulkhead.enter(&deadline).await.err(), Some(full));
        drop(first);
        let _third = third.await.expect("the place that came free");

        let mut fourth = Box::pin(bulkhead.enter(&deadline));
        assert!(futures::poll!(&mut fourth).is_pending());
        clock.advance(Duration::from_secs(5));
        let late = Error::Late { name: "mail".into(), started: false };
        assert_eq!(fourth.await.err(), Some(late.clone()));
        assert_eq!(bulkhead.enter(&deadline).await.err(), Some(late));
    }
}
