use std::{
    collections::VecDeque,
    sync::mpsc::{Receiver, RecvTimeoutError},
    time::Duration,
};

use steadfast_core::World;

use super::job::{Job, Work};

/// How long a group waits for committers that were answered a moment ago.
const FILL: Duration = Duration::from_micros(100);
/// After waits in vain, so many groups at most go without one.
const SKIP_MAX: u32 = 64;

/// Collects jobs into groups.
///
/// A committer that is answered tends to come back at once, so the next group is
/// expected to hold those just answered and those who queued meanwhile. A group that is
/// smaller waits [`FILL`] at most. A single committer is alone in its group and never
/// waited for. Where waiting turns out vain, ever more groups go without.
pub(super) struct Inbox {
    queue: Receiver<Job>,
    waiting: VecDeque<Work>,
    max_group: usize,
    expected: usize,
    vain: u32,
    skip: u32,
    world: World,
}

impl Inbox {
    pub(super) fn new(queue: Receiver<Job>, max_group: usize, world: World) -> Self {
        Self {
            queue,
            waiting: VecDeque::new(),
            max_group,
            expected: 1,
            vain: 0,
            skip: 0,
            world,
        }
    }

    /// Blocks until there is something to do; nothing once the store is closed.
    pub(super) fn next_group(&mut self) -> Option<Vec<Work>> {
        self.drain();
        if self.waiting.is_empty() {
            let job = self.queue.recv().ok()?;
            self.take(job);
            self.drain();
        }
        self.fill();
        let len = self.waiting.len().min(self.max_group);
        Some(self.waiting.drain(..len).collect())
    }

    /// To be called after the sync and before the answers of a group of `len`.
    pub(super) fn before_answers(&mut self, len: usize) {
        self.drain();
        self.expected = (self.waiting.len() + len).min(self.max_group);
    }

    /// Undoes [`Self::next_group`].
    pub(super) fn put_back(&mut self, group: Vec<Work>) {
        for work in group.into_iter().rev() {
            self.waiting.push_front(work);
        }
    }

    fn fill(&mut self) {
        if self.waiting.len() >= self.expected {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return;
        }
        let until = self.world.clock().elapsed() + FILL;
        while self.waiting.len() < self.expected {
            let left = until.saturating_sub(self.world.clock().elapsed());
            match self.queue.recv_timeout(left) {
                Ok(job) => {
                    self.take(job);
                    self.drain();
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.vain = (self.vain + 1).min(SKIP_MAX.ilog2());
                    self.skip = 1 << self.vain;
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
        self.vain = 0;
    }

    fn drain(&mut self) {
        while self.waiting.len() < self.max_group
            && let Ok(job) = self.queue.try_recv()
        {
            self.take(job);
        }
    }

    fn take(&mut self, job: Job) {
        drop(job.permit);
        self.waiting.push_back(job.work);
    }
}
