use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError},
    task::Poll,
    time::Duration,
};

use steadfast_core::World;

use super::job::{Job, Work};

/// How long a group waits for committers that were answered a moment ago.
const FILL: Duration = Duration::from_micros(100);
/// After waits in vain, so many groups at most go without one.
const SKIP_MAX: u32 = 64;

/// How the writer waits for something to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// On a thread of its own, which blocks.
    Blocking,
    /// Whoever polls it comes again.
    #[cfg(feature = "simulation")]
    Polled,
}

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
    how: Waiting,
}

impl Inbox {
    pub(super) fn new(queue: Receiver<Job>, max_group: usize, world: World, how: Waiting) -> Self {
        Self { queue, waiting: VecDeque::new(), max_group, expected: 1, vain: 0, skip: 0, world, how }
    }

    /// Waits until there is something to do; nothing once the store is closed.
    pub(super) async fn next_group(&mut self) -> Option<Vec<Work>> {
        self.drain();
        if self.waiting.is_empty() {
            let job = self.next_job().await?;
            self.take(job);
            self.drain();
        }
        if self.how == Waiting::Blocking {
            self.fill();
        }
        let len = self.waiting.len().min(self.max_group);
        Some(self.waiting.drain(..len).collect())
    }

    async fn next_job(&mut self) -> Option<Job> {
        if self.how == Waiting::Blocking {
            return self.queue.recv().ok();
        }
        poll_fn(|_| match self.queue.try_recv() {
            Ok(job) => Poll::Ready(Some(job)),
            Err(TryRecvError::Disconnected) => Poll::Ready(None),
            Err(TryRecvError::Empty) => Poll::Pending,
        })
        .await
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, mpsc};

    use futures::FutureExt as _;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::writer::TaskEnd;

    fn inbox(max_group: usize) -> (Inbox, impl Fn(usize)) {
        let (send, queue) = mpsc::channel();
        let permits = Arc::new(Semaphore::new(1_000));
        let more = move |count| {
            for _ in 0..count {
                let permit = permits.clone().try_acquire_owned().expect("room");
                let work = Work::Task(Box::new(|_| TaskEnd::Fine));
                send.send(Job { work, permit }).expect("open");
            }
        };
        // Its clock stands still, so a wait lasts until its timeout.
        (Inbox::new(queue, max_group, World::manual(1).0, Waiting::Blocking), more)
    }

    fn next(inbox: &mut Inbox) -> Option<Vec<Work>> {
        inbox.next_group().now_or_never().expect("it blocks instead")
    }

    #[test]
    fn a_single_committer_is_never_waited_for() {
        let (mut inbox, more) = inbox(100);
        for _ in 0..50 {
            more(1);
            assert_eq!(next(&mut inbox).expect("open").len(), 1);
            inbox.before_answers(1);
            assert_eq!((inbox.expected, inbox.vain), (1, 0));
        }
    }

    #[test]
    fn a_group_expects_those_just_answered_and_gives_up_more_often_when_they_stay_away() {
        let (mut inbox, more) = inbox(100);
        more(3);
        assert_eq!(next(&mut inbox).expect("open").len(), 3);
        more(2);
        inbox.before_answers(3);
        assert_eq!(inbox.expected, 5);
        // They stay away: it is waited once, then not for two groups, later not for four.
        let mut waits = Vec::new();
        for _ in 0..10 {
            let skipped = inbox.skip > 0;
            assert_eq!(next(&mut inbox).expect("open").len(), 2);
            waits.push(!skipped);
            inbox.expected = 5;
            more(2);
        }
        let (yes, no) = (true, false);
        assert_eq!(waits, [yes, no, no, yes, no, no, no, no, yes, no]);
    }

    #[test]
    fn a_group_is_bounded_and_closing_leaves_nothing_behind() {
        let (mut inbox, more) = inbox(4);
        more(10);
        drop(more);
        let mut sizes = Vec::new();
        while let Some(group) = next(&mut inbox) {
            sizes.push(group.len());
            inbox.before_answers(group.len());
        }
        assert_eq!(sizes, [4, 4, 2]);
    }
}
