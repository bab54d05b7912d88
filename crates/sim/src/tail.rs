//! How a node hears of the end of the log.

use std::sync::{Arc, Mutex, PoisonError};

use steadfast_log::{Log, Position};
use tokio::sync::watch;

/// Tells all on one machine who wait for the log to go on, in the order in which they asked.
/// A watch channel wakes those who wait for it in an order left to chance, so each has one of
/// its own.
#[derive(Clone, Default)]
pub(crate) struct Tails(Arc<Mutex<Vec<watch::Sender<Position>>>>);

impl Tails {
    /// The end of the log as it is now, and as it will be.
    pub(crate) fn of(&self, store: &dyn Log) -> watch::Receiver<Position> {
        let now = *store.tail().borrow();
        let (sender, receiver) = watch::channel(now);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        receiver
    }

    /// Passes on what the store tells, for as long as there is a store.
    pub(crate) async fn pass_on(self, store: Arc<dyn Log>) {
        let mut tail = store.tail();
        while tail.changed().await.is_ok() {
            let now = *tail.borrow_and_update();
            let mut tails = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            tails.retain(|tail| !tail.is_closed());
            for tail in &*tails {
                tail.send_replace(now);
            }
        }
    }
}
