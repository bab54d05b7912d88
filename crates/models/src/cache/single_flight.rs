//! One call upstream for identical calls that miss at the same time.
//!
//! 1. Who misses first leads; who misses the same meanwhile follows, and waits at most until
//!    its own deadline.
//! 2. The leader's answer is kept, and followers look again and find it.
//! 3. The leader's stream has begun: followers read it too, from its first event
//!    ([`super::shared`]). Nobody waits for a stream's end.
//! 4. The leader failed or went away: followers look again, and one of them leads.
//! 5. The answer is none to be given again: followers go on by themselves, all at once,
//!    rather than one after another.
//!
//! Calls with tools never follow: what calls a tool must be the model's answer to them alone.

use std::sync::{Arc, Weak};

use steadfast_resilience::Deadline;
use tokio::sync::watch;

use super::{Key, shared::Shared, store::Store};

/// What followers are told.
#[derive(Clone)]
pub(super) enum News {
    /// Wait.
    Asking,
    /// A stream can be read along.
    Stream(Weak<Shared>),
    /// Look again: there is an answer, or nobody leads.
    Over,
    /// Go on by yourself.
    Alone,
}

/// One call that others wait for.
#[derive(Debug)]
pub(super) struct Flight(watch::Sender<News>);

impl std::fmt::Debug for News {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Asking => "Asking",
            Self::Stream(_) => "Stream",
            Self::Over => "Over",
            Self::Alone => "Alone",
        })
    }
}

impl Flight {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(watch::Sender::new(News::Asking)))
    }
    /// Followers read this stream from now on.
    pub(super) fn shares(&self, stream: &Arc<Shared>) {
        self.0.send_replace(News::Stream(Arc::downgrade(stream)));
    }
    /// Waits for news, until the deadline at most.
    pub(super) async fn follow(&self, deadline: &Deadline) -> Option<News> {
        let mut news = self.0.subscribe();
        let told = deadline.run(news.wait_for(|news| !matches!(news, News::Asking))).await;
        // The sender is `self`, so it is there.
        Some(told.ok()?.map_or(News::Over, |news| news.clone()))
    }
}

/// Who leads. Dropped, somebody else may.
pub(super) struct Lead {
    key: Key,
    flight: Arc<Flight>,
    store: Arc<Store>,
}

impl Lead {
    pub(super) fn new(key: Key, flight: Arc<Flight>, store: Arc<Store>) -> Self {
        Self { key, flight, store }
    }
    pub(super) fn flight(&self) -> Arc<Flight> {
        self.flight.clone()
    }
    /// The answer is not for followers.
    pub(super) fn alone(self) {
        self.store.land(&self.key, &self.flight);
        self.flight.0.send_replace(News::Alone);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        self.store.land(&self.key, &self.flight);
        self.flight.0.send_if_modified(|news| {
            let last = matches!(news, News::Alone);
            if !last {
                *news = News::Over;
            }
            !last
        });
    }
}
