//! The thread that writes the file.
//!
//! Who records a call pushes it once, when it begins, and marks it when it ends: no more than
//! a short lock on the hot path. The thread takes all that was pushed, writes what has ended,
//! and keeps the rest for the next time; what is still open then has its progress written. It
//! writes once a second, and sooner when many calls have ended, when an account must book, or
//! when a call waits for its intent.

use std::{
    collections::HashSet,
    mem,
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use steadfast_core::World;
use tokio::sync::oneshot;

use super::{RecordError, bill::Bill, file::File, row::Row};
use crate::{
    budget::{ledger::Ledger, rules::Rule},
    config::RecordsConfig,
};

/// How long what has ended waits to be written.
const PERIOD: Duration = Duration::from_secs(1);
/// So many calls that have ended are written at once.
const BATCH: u64 = 512;
/// Rows are looked through for old ones every so many writings.
const FORGET_EVERY: u32 = 600;

#[derive(Default)]
struct Inbox {
    calls: Vec<Arc<Bill>>,
    intents: Vec<(Arc<Bill>, oneshot::Sender<bool>)>,
    /// Somebody waits.
    urgent: bool,
    flushes: Vec<oneshot::Sender<bool>>,
    stopping: bool,
    /// Limits as they came, the last ones hold.
    rules: Vec<Arc<[Rule]>>,
}

struct Shared {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    /// Calls that have ended and are not written.
    ended: AtomicU64,
    /// Calls that are known here.
    waiting: AtomicU64,
    lost: AtomicU64,
    broken: AtomicBool,
    config: RecordsConfig,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn urge(&self) {
        self.lock().urgent = true;
        self.wake.notify_one();
    }
}

/// Whoever records. Dropped, it writes what is left and ends.
pub(crate) struct Recorder {
    shared: Arc<Shared>,
    next: AtomicU64,
    thread: Option<JoinHandle<()>>,
}

impl Recorder {
    /// Opens the file and begins to write. The ledger that it serves is made by `ledger` from
    /// what wakes it.
    pub(crate) fn start(
        path: &Path,
        config: &RecordsConfig,
        rules: Arc<[Rule]>,
        world: &World,
        ledger: impl FnOnce(Box<dyn Fn() + Send + Sync>) -> Arc<Ledger>,
    ) -> Result<(Self, Arc<Ledger>), RecordError> {
        let (file, last) = File::open(path)?;
        let shared = Arc::new(Shared {
            inbox: Mutex::new(Inbox { rules: vec![rules], ..Inbox::default() }),
            wake: Condvar::new(),
            ended: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            broken: AtomicBool::new(false),
            config: config.clone(),
        });
        let urged = shared.clone();
        let ledger = ledger(Box::new(move || urged.urge()));
        let writer = Writer {
            shared: shared.clone(),
            ledger: ledger.clone(),
            world: world.clone(),
            file,
            open: Vec::new(),
            rules: Vec::new(),
            rounds: 0,
        };
        let thread = std::thread::Builder::new().name("gateway-records".into()).spawn(move || writer.run());
        let thread = thread.map_err(RecordError::Thread)?;
        Ok((Self { shared, next: AtomicU64::new(last + 1), thread: Some(thread) }, ledger))
    }
    /// The number of the next call.
    pub(crate) fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }
    /// From now on limits are these.
    pub(crate) fn ruled_by(&self, rules: Arc<[Rule]>) {
        self.shared.lock().rules.push(rules);
    }
    /// Takes note of a call that begins.
    pub(crate) fn opened(&self, bill: &Arc<Bill>) {
        let many = u64::from(self.shared.config.backlog.get());
        if self.shared.waiting.load(Relaxed) >= many {
            self.shared.lost.fetch_add(1, Relaxed);
            return;
        }
        self.shared.waiting.fetch_add(1, Relaxed);
        self.shared.lock().calls.push(bill.clone());
    }
    /// A call has ended.
    pub(crate) fn ended(&self) {
        if self.shared.ended.fetch_add(1, Relaxed) + 1 == BATCH {
            self.shared.urge();
        }
    }
    /// Writes down that a call is about to be made. False if that cannot be.
    pub(crate) async fn intend(&self, bill: &Arc<Bill>) -> bool {
        let (reply, answer) = oneshot::channel();
        {
            let mut inbox = self.shared.lock();
            inbox.intents.push((bill.clone(), reply));
            inbox.urgent = true;
        }
        self.shared.wake.notify_one();
        answer.await.unwrap_or(false)
    }
    /// Can it keep up? Otherwise calls that limits hold for are refused.
    pub(crate) fn keeps_up(&self) -> bool {
        let half = u64::from(self.shared.config.backlog.get()).div_ceil(2);
        self.shared.waiting.load(Relaxed) < half && !self.shared.broken.load(Relaxed)
    }
    /// Calls whose records are lost, because the disk did not take them.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Relaxed)
    }
    /// Writes everything down that has ended by now. False if that cannot be.
    pub(crate) async fn flush(&self) -> bool {
        let (reply, answer) = oneshot::channel();
        self.shared.lock().flushes.push(reply);
        self.shared.urge();
        answer.await.unwrap_or(false)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.shared.lock().stopping = true;
        self.shared.urge();
        if let Some(thread) = self.thread.take() {
            // A panic there has been logged; there is nothing left to save.
            let _ = thread.join();
        }
    }
}

struct Writer {
    shared: Arc<Shared>,
    ledger: Arc<Ledger>,
    world: World,
    file: File,
    /// Calls that have not been written to the end, and whether they were seen here before.
    open: Vec<(Arc<Bill>, bool)>,
    /// The limits of now, before them others that the file has not heard of yet.
    rules: Vec<Arc<[Rule]>>,
    rounds: u32,
}

impl Writer {
    fn run(mut self) {
        loop {
            let (mut inbox, in_time) = self.wait();
            let full = !in_time || !inbox.flushes.is_empty() || inbox.stopping;
            self.rules.append(&mut inbox.rules);
            self.open.extend(mem::take(&mut inbox.calls).into_iter().map(|bill| (bill, false)));
            let fine = self.write(&inbox.intents, full, inbox.stopping);
            for (_, reply) in inbox.intents {
                // Who has gone away needs no answer.
                let _ = reply.send(fine);
            }
            for reply in inbox.flushes {
                let _ = reply.send(fine);
            }
            if inbox.stopping {
                return;
            }
            if full {
                self.forget();
            }
        }
    }
    /// Until there is something to do; false if that is because of the time alone.
    fn wait(&self) -> (Inbox, bool) {
        let mut inbox = self.shared.lock();
        let mut in_time = true;
        if !inbox.urgent {
            let wait = self.shared.wake.wait_timeout_while(inbox, PERIOD, |inbox| !inbox.urgent);
            let (guard, timeout) = wait.unwrap_or_else(PoisonError::into_inner);
            (inbox, in_time) = (guard, !timeout.timed_out());
        }
        (mem::take(&mut *inbox), in_time)
    }
    /// One commit: what has ended, intents, progress if `full`, and bookings.
    fn write(&mut self, intents: &[(Arc<Bill>, oneshot::Sender<bool>)], full: bool, stopping: bool) -> bool {
        let mut rows = Vec::<Row>::new();
        self.shared.ended.store(0, Relaxed);
        for (bill, seen) in &self.open {
            // A call that began a moment ago needs no row before its end.
            if bill.is_over() || full && *seen && self.shared.config.enabled {
                rows.push(bill.row());
            }
        }
        let intents = intents.iter().map(|(bill, _)| bill).filter(|bill| !bill.is_over());
        rows.extend(intents.map(|bill| bill.row()));
        for (_, seen) in self.open.iter_mut().filter(|_| full) {
            *seen = true;
        }
        let bookings = self.ledger.bookings(full, stopping);
        if rows.is_empty() && bookings.is_empty() {
            self.ledger.booked(Vec::new());
            // What could not be written is wanted no more.
            self.shared.broken.store(false, Relaxed);
            return true;
        }
        match self.file.write(&rows, self.shared.config.enabled, &bookings, &self.rules) {
            Ok(booked) => {
                self.rules.drain(..self.rules.len().saturating_sub(1));
                self.ledger.booked(booked);
                let written: HashSet<u64> = rows.iter().filter(|row| row.closed).map(|row| row.n).collect();
                let before = self.open.len();
                self.open.retain(|(bill, _)| !written.contains(&bill.n));
                let done = u64::try_from(before - self.open.len()).unwrap_or(0);
                self.shared.waiting.fetch_sub(done, Relaxed);
                if self.shared.broken.swap(false, Relaxed) {
                    tracing::info!("records of model calls are written again");
                }
                true
            }
            Err(error) => {
                self.ledger.not_booked(bookings);
                if !self.shared.broken.swap(true, Relaxed) {
                    let code = error.sqlite_error_code().map_or("records.unwritable", |_| "records.sqlite");
                    tracing::error!(code, "records of model calls cannot be written");
                }
                false
            }
        }
    }
    fn forget(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        if self.rounds % FORGET_EVERY != 1 {
            return;
        }
        let before = self.world.now().before(self.shared.config.kept.get());
        match self.file.forget(before) {
            // The next round goes on with it.
            Ok(true) => self.rounds = 0,
            Ok(false) => {}
            Err(_) => tracing::warn!("old records of model calls cannot be removed"),
        }
    }
}
