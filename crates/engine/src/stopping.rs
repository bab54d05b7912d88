use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Tells everybody that the node stops, in the order in which they began to wait: a watch
/// channel would leave that to chance, and no story could be told twice.
#[derive(Default)]
pub(crate) struct Stopping {
    said: AtomicBool,
    news: Notify,
}

impl Stopping {
    pub(crate) fn say(&self) {
        self.said.store(true, Ordering::Release);
        self.news.notify_waiters();
    }
    pub(crate) fn is_said(&self) -> bool {
        self.said.load(Ordering::Acquire)
    }
    /// Ends when the node stops. Safe to drop half-way.
    pub(crate) async fn said(&self) {
        // Made before the look, so that what is said in between is heard.
        let news = self.news.notified();
        if !self.is_said() {
            news.await;
        }
    }
}
