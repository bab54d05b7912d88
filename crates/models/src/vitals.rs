//! How well the gateway has been doing of late, and what an operator should look at.
//!
//! Everything is counted in slices of a minute's sixth, of which the last five minutes are
//! kept. A share is only judged when there are calls enough.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Serialize;
use steadfast_core::{World, defaults};

const SLICE: Duration = Duration::from_secs(10);
const SLICES: usize = 30;
/// Fewer calls than this say nothing about shares.
const CALLS_MIN: u64 = 20;
/// One call in so many may be slow.
const SLOW_ONE_IN: u64 = 20;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// Look at it.
    Warning,
    /// Act.
    Critical,
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// `responses`, `errors`, `queue`, `cache`, `records`, `providers` or `answers`.
    pub what: &'static str,
    /// How bad it is.
    pub alarm: Alarm,
    /// For people.
    pub message: String,
}

#[derive(Debug, Clone, Copy, Default)]
struct Slice {
    number: u64,
    calls: u64,
    failed: u64,
    answered: u64,
    slow: u64,
    very_slow: u64,
    looked: u64,
    found: u64,
}

/// Counts of the last five minutes.
pub(crate) struct Vitals {
    slices: Mutex<[Slice; SLICES]>,
    world: World,
}

impl Vitals {
    pub(crate) fn new(world: &World) -> Self {
        Self { slices: Mutex::new([Slice::default(); SLICES]), world: world.clone() }
    }
    fn lock(&self) -> MutexGuard<'_, [Slice; SLICES]> {
        self.slices.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn now(&self) -> u64 {
        self.world.clock().elapsed().as_secs() / SLICE.as_secs()
    }
    fn count(&self, add: impl FnOnce(&mut Slice)) {
        let now = self.now();
        let mut slices = self.lock();
        let at = usize::try_from(now).unwrap_or(0) % SLICES;
        if slices[at].number != now {
            slices[at] = Slice { number: now, ..Slice::default() };
        }
        add(&mut slices[at]);
    }
    /// A call is over.
    pub(crate) fn note(&self, failed: bool, answered: bool, took: Duration) {
        self.count(|slice| {
            slice.calls += 1;
            slice.failed += u64::from(failed);
            slice.answered += u64::from(answered);
            slice.slow += u64::from(answered && took > defaults::MODEL_RESPONSE_WARNING);
            slice.very_slow += u64::from(answered && took > defaults::MODEL_RESPONSE_CRITICAL);
        });
    }
    /// The cache was looked into.
    pub(crate) fn looked_up(&self, found: bool) {
        self.count(|slice| {
            slice.looked += 1;
            slice.found += u64::from(found);
        });
    }
    /// All that is not as it should be, with so many calls waiting of those that may, and so many
    /// records lost.
    pub(crate) fn reasons(&self, waiting: usize, waiting_max: usize, lost: u64) -> Vec<Reason> {
        let now = self.now();
        let mut sum = Slice::default();
        for slice in self.lock().iter().filter(|it| it.number + SLICES as u64 > now) {
            sum.calls += slice.calls;
            sum.failed += slice.failed;
            sum.answered += slice.answered;
            sum.slow += slice.slow;
            sum.very_slow += slice.very_slow;
            sum.looked += slice.looked;
            sum.found += slice.found;
        }
        let mut reasons = Vec::new();
        let mut say = |what, alarm: Option<Alarm>, message: String| {
            reasons.extend(alarm.map(|alarm| Reason { what, alarm, message }));
        };
        let level = |critical: bool, warning: bool| match (critical, warning) {
            (true, _) => Some(Alarm::Critical),
            (_, true) => Some(Alarm::Warning),
            _ => None,
        };
        let many = |slow: u64| slow * SLOW_ONE_IN > sum.answered;
        let enough = sum.answered >= CALLS_MIN;
        say(
            "responses",
            level(enough && many(sum.very_slow), enough && many(sum.slow)),
            format!(
                "{} of {} answers took longer than 25 s, {} longer than 30 s",
                sum.slow, sum.answered, sum.very_slow
            ),
        );
        let part = |percent: u64| sum.calls >= CALLS_MIN && sum.failed * 100 >= sum.calls * percent;
        say(
            "errors",
            level(
                part(defaults::MODEL_ERRORS_CRITICAL_PERCENT),
                part(defaults::MODEL_ERRORS_WARNING_PERCENT),
            ),
            format!("{} of {} calls failed", sum.failed, sum.calls),
        );
        // Where none may wait, none is turned away by a queue.
        let full = waiting > 0 && waiting >= waiting_max;
        say(
            "queue",
            level(
                full || waiting >= defaults::MODEL_QUEUE_CRITICAL,
                waiting >= defaults::MODEL_QUEUE_WARNING,
            ),
            if full {
                format!("the queue is full: {waiting} waiting")
            } else {
                format!("{waiting} calls wait")
            },
        );
        let cold =
            sum.looked >= CALLS_MIN && sum.found * 100 < sum.looked * defaults::CACHE_HITS_WARNING_PERCENT;
        say("cache", level(false, cold), format!("{} of {} lookups hit", sum.found, sum.looked));
        say("records", level(lost > 0, false), format!("records of {lost} calls were lost"));
        reasons
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alarms(vitals: &Vitals, waiting: usize) -> Vec<(&'static str, Alarm)> {
        vitals.reasons(waiting, 1_000, 0).into_iter().map(|it| (it.what, it.alarm)).collect()
    }

    #[test]
    fn thresholds_of_the_design_ring_and_recover_by_themselves() {
        let (world, clock) = World::manual(1);
        let vitals = Vitals::new(&world);
        let second = Duration::from_secs(1);
        assert_eq!(alarms(&vitals, 49), []);
        assert_eq!(alarms(&vitals, 50), [("queue", Alarm::Warning)]);
        assert_eq!(alarms(&vitals, 100), [("queue", Alarm::Critical)]);
        assert_eq!(vitals.reasons(3, 3, 0)[0].message, "the queue is full: 3 waiting");
        for i in 0..100 {
            vitals.note(i < 5, i >= 5, second);
            clock.advance(second);
        }
        assert_eq!(alarms(&vitals, 0), [("errors", Alarm::Warning)]);
        for _ in 0..6 {
            vitals.note(true, false, second);
        }
        assert_eq!(alarms(&vitals, 0), [("errors", Alarm::Critical)]);
        clock.advance(300 * second);
        assert_eq!(alarms(&vitals, 0), []);
        for i in 0..100 {
            vitals.note(false, true, if i < 6 { 26 * second } else { second });
        }
        assert_eq!(alarms(&vitals, 0), [("responses", Alarm::Warning)]);
        for _ in 0..8 {
            vitals.note(false, true, 31 * second);
        }
        assert_eq!(alarms(&vitals, 0), [("responses", Alarm::Critical)]);
        clock.advance(300 * second);
        for i in 0..100 {
            vitals.looked_up(i < 29);
        }
        assert_eq!(alarms(&vitals, 0), [("cache", Alarm::Warning)]);
        vitals.looked_up(true);
        vitals.looked_up(true);
        assert_eq!(alarms(&vitals, 0), []);
    }
}
