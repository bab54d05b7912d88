//! The thread that does what nobody waits for: it compresses, writes the file and forgets
//! what is too old.
//!
//! It is woken by the first answer after a quiet time, lets others gather for a moment and
//! does them all in one go: under load handing an answer over wakes nobody.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use steadfast_core::World;
use tokio::sync::oneshot;

use super::{
    Key,
    file::{Keeper, Loaded},
    store::{Slot, Store},
};

/// Answers that wait to be written. Those that find no room are written with all others, in
/// the next quiet time or at the end.
const WAITING_MAX: usize = 4_000;
/// How long answers gather.
const GATHER: Duration = Duration::from_millis(20);
/// How often old answers are looked for.
const PURGE_EVERY: Duration = Duration::from_secs(60);
/// Waste that a file may hold at the least.
const WASTE_MIN: u64 = 1 << 20;

/// What the thread is handed.
enum Job {
    Put(Key, Slot),
    /// Look at what was asked for beside the queue.
    Look,
}

/// What is asked for beside the queue, and what is told.
#[derive(Default)]
struct Desk {
    /// The file has what it should not: write it anew.
    behind: AtomicBool,
    /// The file lacks answers.
    lacking: AtomicBool,
    /// Who waits for that.
    waiting: Mutex<Vec<oneshot::Sender<bool>>>,
    file_size: AtomicU64,
    failed: AtomicU64,
}

/// The thread's handle. Dropped, what waits is written and the thread ends.
pub(super) struct Writer {
    jobs: Option<SyncSender<Job>>,
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts it, with what the file held already in `store`. Without a file it only compresses.
    pub(super) fn start(
        store: &Arc<Store>,
        file: Option<(Keeper, Loaded)>,
        compress_from: usize,
        world: &World,
    ) -> std::io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let desk = Arc::<Desk>::default();
        let mut keeper = None;
        if let Some((file, loaded)) = file {
            desk.behind.store(loaded.outdated, Relaxed);
            desk.file_size.store(file.size(), Relaxed);
            for (key, slot) in loaded.slots {
                store.put(key, slot, 0);
            }
            keeper = Some(file);
        }
        let (store, world, told) = (store.clone(), world.clone(), desk.clone());
        let worker = Worker { store, keeper, compress_from, world, desk: told, purged: Duration::ZERO };
        let thread = std::thread::Builder::new().name("model-cache".into()).spawn(|| worker.run(waiting))?;
        Ok(Self { jobs: Some(jobs), desk, thread: Some(thread) })
    }
    fn send(&self, job: Job) {
        let sent = self.jobs.as_ref().map(|jobs| jobs.try_send(job));
        if let Some(Err(TrySendError::Full(Job::Put(..)))) = sent {
            self.desk.lacking.store(true, Relaxed);
        }
    }
    /// An answer to be compressed and written, some time soon.
    pub(super) fn put(&self, key: Key, slot: Slot) {
        self.send(Job::Put(key, slot));
    }
    /// Ends when the file holds nothing that memory does not, or cannot be written.
    pub(super) async fn settled(&self) -> bool {
        let (sender, told) = oneshot::channel();
        // In this order: whoever finds the sender finds that there is something to do.
        self.desk.behind.store(true, SeqCst);
        self.desk.waiting.lock().unwrap_or_else(PoisonError::into_inner).push(sender);
        self.send(Job::Look);
        told.await.unwrap_or(false)
    }
    /// The file's size, and how often it could not be written.
    pub(super) fn file(&self) -> (u64, u64) {
        (self.desk.file_size.load(Relaxed), self.desk.failed.load(Relaxed))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has told where; the file is good up to its last record.
            let _ = thread.join();
        }
    }
}

struct Worker {
    store: Arc<Store>,
    keeper: Option<Keeper>,
    compress_from: usize,
    world: World,
    desk: Arc<Desk>,
    /// When old answers were last looked for.
    purged: Duration,
}

impl Worker {
    fn run(mut self, jobs: Receiver<Job>) {
        self.purge();
        self.tidy(true);
        loop {
            let first = jobs.recv_timeout(PURGE_EVERY);
            if first.is_ok() {
                std::thread::sleep(GATHER);
            }
            self.write(first.iter().chain(&jobs.try_iter().collect::<Vec<_>>()));
            if self.world.clock().elapsed() >= self.purged + PURGE_EVERY {
                self.purge();
            }
            let over = matches!(first, Err(RecvTimeoutError::Disconnected));
            self.tidy(over || first.is_err());
            if over {
                break;
            }
        }
    }
    fn purge(&mut self) {
        self.purged = self.world.clock().elapsed();
        self.store.purge(self.world.now());
    }
    fn write<'a>(&mut self, jobs: impl Iterator<Item = &'a Job>) {
        let mut slots = Vec::new();
        for job in jobs {
            let Job::Put(key, slot) = job else { continue };
            let (key, mut slot) = (*key, slot.clone());
            // What was forgotten meanwhile must not come back with the next start.
            if !self.store.holds(key, &slot.entry) {
                continue;
            }
            if slot.entry.bytes.len() >= self.compress_from
                && let Some(packed) = slot.entry.packed()
            {
                slot.entry = Arc::new(packed.clone());
                self.store.pack(key, packed);
            }
            slots.push((key, slot));
        }
        if let Some(keeper) = &mut self.keeper {
            let done = keeper.append(slots.into_iter());
            self.note(done);
        }
    }
    /// Writes the file anew if it must be, or if most of it is waste. In a quiet time also if
    /// it lacks something.
    fn tidy(&mut self, quiet: bool) {
        let waiting = std::mem::take(&mut *self.desk.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        let mut behind = self.desk.behind.swap(false, SeqCst);
        behind |= quiet && self.desk.lacking.swap(false, SeqCst);
        let mut good = true;
        if let Some(keeper) = &mut self.keeper {
            let live = u64::try_from(self.store.size().1).unwrap_or(u64::MAX);
            if behind || keeper.size() > live.saturating_mul(2).saturating_add(WASTE_MIN) {
                // One by one, so that what is forgotten meanwhile is not held in memory.
                let keys = self.store.keys();
                let done = keeper.rewrite(keys.iter().filter_map(|key| Some((*key, self.store.slot(key)?))));
                good = done.is_ok();
                self.note(done);
            }
        }
        for sender in waiting {
            // Who asked may have gone away.
            let _ = sender.send(good);
        }
    }
    fn note(&self, done: std::io::Result<()>) {
        if let Err(error) = done {
            // Half a record may have been written; all of it is written anew the next time.
            self.desk.behind.store(true, Relaxed);
            if self.desk.failed.fetch_add(1, Relaxed) == 0 {
                tracing::warn!(kind = ?error.kind(), "the file of kept answers cannot be written");
            }
        }
        if let Some(keeper) = &self.keeper {
            self.desk.file_size.store(keeper.size(), Relaxed);
        }
    }
}
