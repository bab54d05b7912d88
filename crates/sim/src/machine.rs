//! A machine: a scheduler of its own, which goes on as far as it is told and can be cut off
//! between any two rounds, with everything that ran on it wherever it stood.

use std::{
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    task::{Poll, Waker},
};

use tokio::runtime::{Builder, Runtime};

pub(crate) struct Machine {
    runtime: Runtime,
    /// Who wants to know that there is nothing left to do.
    resting: Arc<Mutex<Rest>>,
}

#[derive(Default)]
struct Rest {
    reached: bool,
    waker: Option<Waker>,
}

impl Machine {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let resting = Arc::new(Mutex::new(Rest::default()));
        let told = resting.clone();
        let runtime = Builder::new_current_thread()
            .on_thread_park(move || {
                let mut rest = told.lock().unwrap_or_else(PoisonError::into_inner);
                rest.reached = true;
                if let Some(waker) = rest.waker.take() {
                    waker.wake();
                }
            })
            .build()?;
        Ok(Self { runtime, resting })
    }

    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.runtime.spawn(work);
    }

    /// Has everything that ran on it ended?
    pub(crate) fn is_empty(&self) -> bool {
        self.runtime.metrics().num_alive_tasks() == 0
    }

    /// Polls what is awake, each task once, so many times over.
    pub(crate) fn rounds(&self, count: u64) {
        self.runtime.block_on(async {
            for _ in 0..count {
                // It takes its place behind all that is awake.
                let last = tokio::spawn(async {});
                if last.await.is_err() {
                    return;
                }
            }
        });
    }

    /// Goes on until all its tasks wait.
    pub(crate) fn drain(&self) {
        self.lock().reached = false;
        self.runtime.block_on(poll_fn(|cx| {
            let mut rest = self.lock();
            if rest.reached {
                return Poll::Ready(());
            }
            rest.waker = Some(cx.waker().clone());
            Poll::Pending
        }));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rest> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_machine_goes_on_as_far_as_it_is_told() {
        let machine = Machine::new().expect("a machine");
        machine.drain();
        let turns = Arc::new(AtomicU32::new(0));
        let counted = turns.clone();
        machine.spawn(async move {
            for _ in 0..10 {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        });
        machine.rounds(3);
        assert_eq!(turns.load(Ordering::Relaxed), 3);
        machine.drain();
        assert_eq!(turns.load(Ordering::Relaxed), 10);
        assert!(machine.is_empty());
    }
}
