//! Simulated time: one for all, and a wall clock for each machine that may be wrong.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use steadfast_core::{
    Time,
    time::{Clock, Sleep},
};

/// 2026-01-01T00:00:00Z
const BASE: Time = Time::from_micros(1_767_225_600_000_000);

/// The time that really passes. It moves only when everybody waits.
#[derive(Default)]
pub(crate) struct Timeline {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    elapsed: Duration,
    next: u64,
    sleeping: BTreeMap<(Duration, u64), Waker>,
}

impl Timeline {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.lock().elapsed
    }

    /// When the next sleeper wakes.
    pub(crate) fn next(&self) -> Option<Duration> {
        self.lock().sleeping.first_key_value().map(|((until, _), _)| *until)
    }

    /// Moves on to `until` and wakes whoever slept up to then, the earliest first.
    pub(crate) fn advance(&self, until: Duration) {
        let mut awake = Vec::new();
        {
            let mut state = self.lock();
            state.elapsed = state.elapsed.max(until);
            while let Some(first) = state.sleeping.first_entry().filter(|first| first.key().0 <= until) {
                awake.push(first.remove());
            }
        }
        awake.into_iter().for_each(Waker::wake);
    }
}

/// A machine's clock.
pub(crate) struct SimClock {
    timeline: Arc<Timeline>,
    /// How far its wall clock is off, in microseconds.
    off: AtomicI64,
}

impl SimClock {
    pub(crate) fn new(timeline: Arc<Timeline>) -> Self {
        Self { timeline, off: AtomicI64::new(0) }
    }

    /// Somebody sets the wall clock.
    pub(crate) fn jump(&self, micros: i64) {
        self.off.store(micros, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Time {
        let now = BASE.after(self.timeline.elapsed()).micros();
        Time::from_micros(now.saturating_add(self.off.load(Ordering::Relaxed)))
    }
    fn elapsed(&self) -> Duration {
        self.timeline.elapsed()
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        let until = self.timeline.elapsed().saturating_add(duration);
        Box::pin(Sleeping { timeline: self.timeline.clone(), until, place: None })
    }
}

struct Sleeping {
    timeline: Arc<Timeline>,
    until: Duration,
    place: Option<u64>,
}

impl Future for Sleeping {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let timeline = self.timeline.clone();
        let mut state = timeline.lock();
        if state.elapsed >= self.until {
            return Poll::Ready(());
        }
        let place = *self.place.get_or_insert_with(|| {
            state.next += 1;
            state.next
        });
        state.sleeping.insert((self.until, place), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // Dropped outside of the lock: a waker may free a task, and with it other sleepers.
            let waker = self.timeline.lock().sleeping.remove(&(self.until, place));
            drop(waker);
        }
    }
}
