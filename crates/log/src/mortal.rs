use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures::future::{BoxFuture, FutureExt, pending};

use crate::{Between, Commit, CommitError, Committed, Log, Reading};

/// A node's way to the log, which ends at a chosen commit: from then on nothing the node
/// does has any effect, as after kill -9. Its tasks hang; they are the stale owner too.
pub struct Mortal {
    inner: Arc<dyn Log>,
    left: AtomicU64,
    /// The last commit happens, but its answer is lost.
    last_happens: bool,
}

impl Mortal {
    /// Ends at commit number `commits`, counted from 1. Does that last one happen, with
    /// its answer lost, or not at all?
    pub fn new(inner: Arc<dyn Log>, commits: u64, last_happens: bool) -> Self {
        Self { inner, left: AtomicU64::new(commits), last_happens }
    }

    fn dead(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

fn hang<'a, T: Send + 'a>() -> BoxFuture<'a, T> {
    pending().boxed()
}

impl Between for Mortal {
    fn store(&self) -> &dyn Log {
        &*self.inner
    }
    fn carry(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let before =
            self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| Some(left.saturating_sub(1)));
        match before {
            Ok(0) => hang(),
            Ok(1) => {
                if self.last_happens {
                    return async move {
                        drop(self.inner.commit(commit).await);
                        pending().await
                    }
                    .boxed();
                }
                hang()
            }
            _ => self.inner.commit(commit),
        }
    }
    fn fetch<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, T> + Send + 'a,
    ) -> Reading<'a, T> {
        if self.dead() { hang() } else { ask(&*self.inner) }
    }
}
