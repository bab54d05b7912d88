//! How fast calls have been done of late.

use std::{collections::HashMap, sync::Arc, time::Duration};

/// How much one more observation counts: a part of this.
const MEMORY: u32 = 16;
/// After so long without any, nothing is known any more.
const STALE: Duration = Duration::from_secs(60);
/// Observations of a route from which its usual time is taken.
const KEPT: usize = 32;

#[derive(Debug, Default)]
struct Route {
    latest: Vec<Duration>,
    next: usize,
    median: Duration,
    at: Duration,
}

#[derive(Debug)]
pub(super) struct Paces {
    /// How long a place was held, on average of late.
    held: Option<Duration>,
    at: Duration,
    routes: HashMap<Arc<str>, Route>,
}

impl Paces {
    pub(super) fn new(now: Duration) -> Self {
        Self { held: None, at: now, routes: HashMap::new() }
    }
    /// A place was held for so long.
    pub(super) fn note(&mut self, route: &Arc<str>, held: Duration, now: Duration) {
        let known = self.held.filter(|_| now.saturating_sub(self.at) < STALE);
        self.held = Some(known.map_or(held, |known| (known * (MEMORY - 1) + held) / MEMORY));
        self.at = now;
        if !self.routes.contains_key(route) {
            self.routes.insert(route.clone(), Route::default());
        }
        let Some(of) = self.routes.get_mut(route) else { return };
        if now.saturating_sub(of.at) >= STALE {
            (of.latest, of.next) = (Vec::with_capacity(KEPT), 0);
        }
        of.at = now;
        if of.latest.len() < KEPT {
            of.latest.push(held);
        } else {
            of.latest[of.next] = held;
        }
        of.next = (of.next + 1) % KEPT;
        // Sorting is dear beside the rest: not every time.
        if of.latest.len() < 8 || of.next.is_multiple_of(8) {
            let mut sorted = of.latest.clone();
            sorted.sort_unstable();
            of.median = sorted[sorted.len() / 2];
        }
    }
    /// When the turn of the `n`th in the queue comes, with so many places.
    pub(super) fn wait(&self, n: usize, places: usize, now: Duration) -> Duration {
        let held = self.held.filter(|_| now.saturating_sub(self.at) < STALE).unwrap_or_default();
        let nanos = held.as_nanos().saturating_mul(n as u128) / (places.max(1) as u128);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
    /// How long half of a route's calls take at most.
    pub(super) fn usual(&self, route: &Arc<str>, now: Duration) -> Duration {
        let of = self.routes.get(route).filter(|of| now.saturating_sub(of.at) < STALE);
        of.map(|of| of.median).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_follows_what_is_seen_and_is_forgotten_when_nothing_is() {
        let second = Duration::from_secs;
        let mut paces = Paces::new(second(0));
        let route: Arc<str> = "r".into();
        assert_eq!(paces.wait(100, 10, second(0)), second(0));
        for i in 0..100 {
            paces.note(&route, second(1 + i % 3), second(i));
        }
        let wait = paces.wait(10, 10, second(100));
        assert!(second(1) < wait && wait < second(3), "{wait:?}");
        assert_eq!(paces.usual(&route, second(100)), second(2));
        assert_eq!(paces.usual(&"other".into(), second(100)), second(0));
        assert_eq!(paces.wait(10, 10, second(200)), second(0));
        assert_eq!(paces.usual(&route, second(200)), second(0));
    }
}
