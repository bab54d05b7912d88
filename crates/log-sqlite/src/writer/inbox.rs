use std::{collections::VecDeque, time::Duration};

use steadfast_core::World;
use tokio::sync::mpsc::UnboundedReceiver;

use super::job::Job;

/// How often a job that may come at once is looked out for before the thread goes to sleep:
/// for about as long as waking it takes.
const LOOKS: u32 = 1_000;
/// A job that comes within this is worth looking out for the next one.
const BRISK: Duration = Duration::from_micros(150);

/// How the writer waits for something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// On a thread of its own, which sleeps.
    Blocking,
    /// Whoever polls it comes again.
    #[cfg(feature = "simulation")]
    Polled,
}

/// Where jobs come in.
pub(super) struct Inbox {
    queue: UnboundedReceiver<Job>,
    back: VecDeque<Job>,
    world: World,
    how: Waiting,
    /// The last job came while it was looked out for, or soon after.
    brisk: bool,
}

impl Inbox {
    pub(super) fn new(queue: UnboundedReceiver<Job>, world: World, how: Waiting) -> Self {
        Self { queue, back: VecDeque::new(), world, how, brisk: false }
    }

    /// The next job, when there is one; nothing once the store is closed. Safe to drop
    /// half-way.
    pub(super) async fn next(&mut self) -> Option<Job> {
        match self.at_once() {
            Some(job) => Some(job),
            None => self.queue.recv().await,
        }
    }

    /// The same where nothing else is to be done. A committer that is alone comes back
    /// within microseconds, and would wait for this thread to wake: it is looked out for
    /// where the last one came so soon. A quiet store sleeps at once.
    pub(super) async fn idle(&mut self) -> Option<Job> {
        let looks = if self.brisk && self.how == Waiting::Blocking { LOOKS } else { 0 };
        for _ in 0..looks {
            match self.at_once() {
                Some(job) => return Some(job),
                None => std::thread::yield_now(),
            }
        }
        let began = self.world.clock().elapsed();
        let job = self.next().await;
        self.brisk = self.world.clock().elapsed().saturating_sub(began) < BRISK;
        job
    }

    pub(super) fn is_empty(&self) -> bool {
        self.back.is_empty() && self.queue.is_empty()
    }

    /// A job that is here already.
    pub(super) fn at_once(&mut self) -> Option<Job> {
        self.back.pop_front().or_else(|| self.queue.try_recv().ok())
    }

    /// Undoes [`Self::next`].
    pub(super) fn put_back(&mut self, job: Job) {
        self.back.push_front(job);
    }
}
