//! A node's way to the store, on which things go wrong.

use std::{sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt};
use steadfast_core::World;
use steadfast_log::{Between, Commit, CommitError, Committed, Log, Position, ReadError, Reading};
use tokio::sync::watch;

use crate::{
    plan::{Fate, Fault},
    tail::Tails,
};

pub(crate) struct Wire {
    pub(crate) store: Arc<dyn Log>,
    pub(crate) world: World,
    pub(crate) fate: Fate,
    pub(crate) tails: Tails,
}

impl Wire {
    async fn delay(&self) {
        if self.fate.strikes(Fault::Slow) {
            let millis = 1 << self.fate.below(13);
            self.world.clock().sleep(Duration::from_millis(millis)).await;
        }
    }
}

impl Between for Wire {
    fn store(&self) -> &dyn Log {
        &*self.store
    }
    fn hear_tail(&self) -> watch::Receiver<Position> {
        self.tails.of(&*self.store)
    }
    fn carry(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        async move {
            self.delay().await;
            if self.fate.strikes(Fault::CommitRefused) {
                return Err(CommitError::Unavailable("simulated".into()));
            }
            if self.fate.strikes(Fault::CommitLost) {
                return Err(CommitError::Unknown("simulated".into()));
            }
            let committed = self.store.commit(commit).await;
            self.delay().await;
            if self.fate.strikes(Fault::AnswerLost) {
                return Err(CommitError::Unknown("simulated".into()));
            }
            committed
        }
        .boxed()
    }
    fn fetch<'a, T: Send + 'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, T> + Send + 'a,
    ) -> Reading<'a, T> {
        // The store answers at once; it is the answer that comes late, or not at all.
        let answer = ask(&*self.store);
        async move {
            self.delay().await;
            if self.fate.strikes(Fault::ReadFails) {
                return Err(ReadError::Unavailable("simulated".into()));
            }
            answer.await
        }
        .boxed()
    }
}
