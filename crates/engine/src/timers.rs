use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use steadfast_core::Time;
use steadfast_log::StreamId;
use tokio::sync::Notify;

/// The wake-ups of the near future, in memory; the store has the truth.
#[derive(Default)]
pub(crate) struct Timers {
    soon: Mutex<BTreeSet<(Time, StreamId)>>,
    pub(crate) changed: Notify,
}

impl Timers {
    fn lock(&self) -> MutexGuard<'_, BTreeSet<(Time, StreamId)>> {
        self.soon.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn add(&self, due: Time, stream: StreamId) {
        let first = {
            let mut soon = self.lock();
            soon.insert((due, stream));
            soon.first().is_some_and(|(first, _)| *first == due)
        };
        if first {
            self.changed.notify_one();
        }
    }

    /// The next one that is due, in due order.
    pub(crate) fn pop(&self, now: Time) -> Option<StreamId> {
        let mut soon = self.lock();
        if soon.first().is_some_and(|(due, _)| *due <= now) {
            soon.pop_first().map(|(_, stream)| stream)
        } else {
            None
        }
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.lock().first().map(|(due, _)| *due)
    }
}
