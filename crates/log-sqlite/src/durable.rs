//! What readers may see and is not durable yet.
//!
//! A group is visible to every connection from its COMMIT on, and durable only after the
//! sync. Nobody may act on what a power loss could take back, so a read is answered once
//! everything is durable that it may have seen.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

use steadfast_log::ReadError;
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub(crate) struct Durable {
    /// Groups whose COMMIT was begun.
    begun: AtomicU64,
    /// A sync failed, and what it was for has not been found out.
    doubted: AtomicBool,
    settled: Mutex<Settled>,
    /// Wakes readers in the order in which they came. A watch channel would leave that to
    /// chance, and a simulated store would not tell the same story each time.
    moved: Notify,
}

/// How far it is known what is on disk.
#[derive(Debug, Clone, Copy, Default)]
struct Settled {
    groups: u64,
    /// It is not known of the last one, and the file cannot be opened to find out.
    lost: bool,
}

impl Durable {
    /// To be called before a COMMIT.
    pub(crate) fn begin(&self) {
        self.begun.fetch_add(1, SeqCst);
    }

    /// All that was begun is durable, or gone for good.
    pub(crate) fn settle(&self) {
        *self.settled() = Settled { groups: self.begun.load(SeqCst), lost: false };
        self.moved.notify_waiters();
    }

    /// A sync failed.
    pub(crate) fn doubt(&self) {
        self.doubted.store(true, SeqCst);
    }

    /// Does it stand to be found out what is on disk?
    pub(crate) fn in_doubt(&self) -> bool {
        self.doubted.load(SeqCst)
    }

    /// What is on disk was found out.
    pub(crate) fn found(&self) {
        self.doubted.store(false, SeqCst);
        self.settle();
    }

    /// Nobody knows what is on disk.
    pub(crate) fn lose(&self) {
        self.settled().lost = true;
        self.moved.notify_waiters();
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.settled().lost
    }

    /// What a read that ends now may have seen.
    pub(crate) fn seen(&self) -> u64 {
        self.begun.load(SeqCst)
    }

    /// Until what was seen is durable.
    pub(crate) async fn reaches(&self, seen: u64) -> Result<(), ReadError> {
        loop {
            // Hears from here on of what moves.
            let moved = self.moved.notified();
            let settled = *self.settled();
            if settled.groups >= seen {
                return Ok(());
            }
            if settled.lost {
                return Err(ReadError::Unavailable("it is not known what is on disk".into()));
            }
            moved.await;
        }
    }

    fn settled(&self) -> MutexGuard<'_, Settled> {
        self.settled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{pin::Pin, sync::Arc, task::Poll};

    use futures::{FutureExt as _, poll, task::ArcWake};

    use super::*;

    /// Notes its number when it is woken.
    struct Woken(usize, Arc<Mutex<Vec<usize>>>);

    impl ArcWake for Woken {
        fn wake_by_ref(it: &Arc<Self>) {
            it.1.lock().expect("a lock").push(it.0);
        }
    }

    #[tokio::test]
    async fn readers_go_on_in_the_order_in_which_they_came() {
        let (durable, order) = (Durable::default(), Arc::new(Mutex::new(Vec::new())));
        durable.begin();
        let mut waiting: Vec<_> = (0..20).map(|_| durable.reaches(durable.seen()).boxed()).collect();
        for (i, reader) in waiting.iter_mut().enumerate() {
            let waker = futures::task::waker(Arc::new(Woken(i, order.clone())));
            assert!(Pin::new(reader).poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        }
        durable.settle();
        assert_eq!(*order.lock().expect("a lock"), (0..20).collect::<Vec<_>>());
        for reader in &mut waiting {
            assert_eq!(poll!(reader).map_ok(drop), Poll::Ready(Ok(())));
        }
    }
}
