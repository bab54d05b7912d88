//! Which models of a provider are too busy, and until when.
//!
//! Providers limit each model by itself, so one that answered 429 says nothing about the
//! others. As long as none is busy, asking costs one atomic read.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

/// The most models that are remembered; clients name them.
const MODELS_MAX: usize = 100;

/// Times are those of the clock's `elapsed`.
#[derive(Default)]
pub(super) struct Busy {
    /// When the last of them is free again, in nanoseconds.
    all_free: AtomicU64,
    models: Mutex<Vec<(Arc<str>, Duration)>>,
}

impl Busy {
    /// How long `model` still wants to be left alone.
    pub(super) fn left(&self, model: &str, now: Duration) -> Option<Duration> {
        if Duration::from_nanos(self.all_free.load(Relaxed)) <= now {
            return None;
        }
        let models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, until) = models.iter().find(|(name, _)| **name == *model)?;
        until.checked_sub(now).filter(|left| !left.is_zero())
    }
    /// How long the one that wants to be left alone for longest still does.
    pub(super) fn longest(&self, now: Duration) -> Option<Duration> {
        let all_free = Duration::from_nanos(self.all_free.load(Relaxed));
        all_free.checked_sub(now).filter(|left| !left.is_zero())
    }
    /// `model` wants to be left alone for so long.
    pub(super) fn leave(&self, model: &Arc<str>, now: Duration, wait: Duration) {
        let until = now.saturating_add(wait);
        let mut models = self.models.lock().unwrap_or_else(PoisonError::into_inner);
        models.retain(|(name, end)| *end > now && name != model);
        if models.len() < MODELS_MAX {
            models.push((model.clone(), until));
        }
        let last = models.iter().map(|(_, end)| *end).max().unwrap_or_default();
        self.all_free.store(u64::try_from(last.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_model_is_left_alone_for_its_time_and_the_others_are_not() {
        let second = Duration::from_secs;
        let busy = Busy::default();
        assert_eq!(busy.left("a", second(0)), None);
        busy.leave(&"a".into(), second(10), second(5));
        busy.leave(&"b".into(), second(10), second(1));
        assert_eq!(busy.left("a", second(12)), Some(second(3)));
        assert_eq!(busy.left("b", second(12)), None);
        assert_eq!(busy.left("c", second(10)), None);
        assert_eq!(busy.longest(second(12)), Some(second(3)));
        assert_eq!((busy.left("a", second(15)), busy.longest(second(15))), (None, None));
        for i in 0..1_000 {
            busy.leave(&format!("m{i}").into(), second(20), second(5));
        }
        assert_eq!(busy.models.lock().expect("whole").len(), MODELS_MAX);
    }
}
