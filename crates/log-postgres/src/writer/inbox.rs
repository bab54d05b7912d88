use tokio::sync::mpsc;

use super::job::Job;

/// What one transaction sends, in bytes, unless a single commit is larger.
const GROUP_BYTES: usize = 64 * 1024 * 1024;

/// Collects jobs into groups: what waits when the last group is done.
pub(super) struct Inbox {
    queue: mpsc::Receiver<Job>,
    max_group: usize,
    /// Did not fit into the group before.
    next: Option<Job>,
}

impl Inbox {
    pub(super) fn new(queue: mpsc::Receiver<Job>, max_group: usize) -> Self {
        Self { queue, max_group, next: None }
    }

    /// Waits until there is something to do; nothing once the store is closed.
    pub(super) async fn next_group(&mut self) -> Option<Vec<Job>> {
        let first = match self.next.take() {
            Some(job) => job,
            None => self.queue.recv().await?,
        };
        let mut bytes = first.weight();
        let mut group = vec![first];
        while group.len() < self.max_group
            && let Ok(job) = self.queue.try_recv()
        {
            bytes += job.weight();
            if bytes > GROUP_BYTES {
                self.next = Some(job);
                break;
            }
            group.push(job);
        }
        Some(group)
    }
}
