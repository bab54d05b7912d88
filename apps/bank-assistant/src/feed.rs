//! News for those who listen: which sessions moved, and how far runs are. The log is the
//! outbox: a session that moved is read by whoever listens, from where they stand. Progress
//! is told and not kept.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, future::pending};
use steadfast_core::{RequestId, RunId, SessionId};
use steadfast_engine::{Engine, Update};
use steadfast_log::{Position, follow};
use tokio::sync::{Notify, broadcast};

use crate::{exchange::Now, session::SESSION};

/// A listener that does not keep up loses the oldest progress, never a reply.
const PROGRESS_KEPT: usize = 256;
const PAGE: usize = 500;

/// How far a run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The request that is worked on.
    pub request: RequestId,
    /// The run that works on it.
    pub run: RunId,
    /// Which step: `transfer`, or `purchase.hold` for one of a run that it waits for.
    pub step: String,
    /// `started`, `done` or `failed`.
    pub status: &'static str,
    /// Of the step, from 1.
    pub attempt: u32,
    /// Its place among what is told of the request, from 1.
    pub seq: u64,
}

/// What a listener is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// There is something new in this session's stream.
    Moved(SessionId),
    /// A run went on.
    Progress(SessionId, Progress),
    /// A run of this session has ended.
    Ended(SessionId, RunId),
}

pub(crate) struct Feed {
    engine: Engine,
    state: Mutex<State>,
    listeners: AtomicU64,
    awake: Notify,
}

#[derive(Default)]
struct State {
    /// From where the log is followed; `None` while nobody listens.
    from: Option<Position>,
    sessions: HashMap<SessionId, Vec<(u64, Arc<Ears>)>>,
    runs: HashMap<RunId, Work>,
}

/// A run somebody listens to.
#[derive(Clone)]
struct Work {
    session: SessionId,
    request: Option<RequestId>,
    /// Of a run that another waits for: that one, and the step by which it waits.
    parent: Option<(RunId, String)>,
    seq: u64,
}

#[derive(Default)]
struct Ears {
    news: Mutex<Unheard>,
    arrived: Notify,
}

#[derive(Default)]
struct Unheard {
    moved: BTreeSet<SessionId>,
    /// A session has one run at a time: the last one to end is the one that matters.
    ended: BTreeMap<SessionId, RunId>,
    progress: VecDeque<(SessionId, Progress)>,
}

/// Hears of the sessions it watches, until dropped.
pub struct Listener {
    id: u64,
    feed: Arc<Feed>,
    ears: Arc<Ears>,
    watched: Mutex<BTreeSet<SessionId>>,
}

impl Feed {
    pub(crate) fn new(engine: Engine) -> Self {
        Self { engine, state: Mutex::default(), listeners: AtomicU64::new(0), awake: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn listen(self: &Arc<Self>) -> Listener {
        let id = self.listeners.fetch_add(1, Ordering::Relaxed);
        Listener { id, feed: self.clone(), ears: Arc::default(), watched: Mutex::default() }
    }

    /// A run works for a session from here on; told of only where somebody watches it.
    pub(crate) fn works_on(&self, run: RunId, session: SessionId, request: Option<RequestId>) {
        let mut state = self.lock();
        if state.sessions.contains_key(&session) {
            let new = Work { session, request, parent: None, seq: 0 };
            state.runs.entry(run).or_insert(new);
        }
    }

    /// The run was not accepted.
    pub(crate) fn never_begins(&self, run: RunId) {
        self.lock().runs.remove(&run);
    }

    pub(crate) async fn run(&self) {
        let mut updates = self.engine.updates();
        let mut from = None;
        // Kept over what arrives meanwhile, so that a page that is read is not read again.
        let mut page = pending().boxed();
        loop {
            tokio::select! {
                // The rarest first. A new page has to be read, and lets updates by meanwhile.
                biased;
                () = self.awake.notified() => {}
                next = &mut page => {
                    self.moved(from, next);
                    (from, page) = (None, pending().boxed());
                }
                update = updates.recv() => match update {
                    Ok((run, update)) => {
                        self.tell(run, update);
                        continue;
                    }
                    Err(broadcast::error::RecvError::Lagged(_)) => {
                        self.lagged();
                        continue;
                    }
                    Err(broadcast::error::RecvError::Closed) => return,
                },
            }
            let wanted = self.lock().from;
            if wanted != from {
                from = wanted;
                page = from.map_or_else(|| pending().boxed(), |from| self.follow(from).boxed());
            }
        }
    }

    /// The sessions that moved after `from`, and where to go on; nothing where the log
    /// could not be read.
    async fn follow(&self, from: Position) -> Option<(Vec<SessionId>, Position)> {
        let log = self.engine.log();
        let Ok(page) = follow(&**log, from, PAGE).await else {
            self.engine.world().clock().sleep(Duration::from_secs(1)).await;
            return None;
        };
        let mut moved = Vec::new();
        for recorded in page.events.iter().filter(|recorded| recorded.stream.category() == SESSION) {
            moved.extend(recorded.stream.name().parse::<SessionId>());
        }
        Some((moved, page.next))
    }

    fn moved(&self, from: Option<Position>, next: Option<(Vec<SessionId>, Position)>) {
        let Some((moved, next)) = next else { return };
        let mut state = self.lock();
        // Whoever began to listen meanwhile has set it anew.
        if state.from == from {
            state.from = Some(next);
        }
        for session in moved {
            for (_, ears) in state.sessions.get(&session).into_iter().flatten() {
                ears.moved(session);
            }
        }
    }

    /// Updates were lost, and with them perhaps the end of any run: whoever listens looks.
    fn lagged(&self) {
        let state = self.lock();
        for (run, work) in state.runs.iter().filter(|(_, work)| work.parent.is_none()) {
            for (_, ears) in state.sessions.get(&work.session).into_iter().flatten() {
                ears.ended(work.session, *run);
            }
        }
    }

    fn tell(&self, run: RunId, update: Update) {
        let mut state = self.lock();
        let Some(work) = state.runs.get(&run).cloned() else { return };
        let progress = match update {
            Update::Progress(value) => {
                if let (Ok(now), Some(work)) = (value.read::<Now>(), state.runs.get_mut(&run)) {
                    work.request = Some(now.request);
                    work.seq = 0;
                }
                return;
            }
            Update::ChildStarted { step, run: child } => {
                let parent = Some((run, name(step.as_str()).to_owned()));
                state.runs.insert(child, Work { parent, ..work });
                return;
            }
            Update::Ended(_) => {
                state.runs.remove(&run);
                if work.parent.is_none() {
                    for (_, ears) in state.sessions.get(&work.session).into_iter().flatten() {
                        ears.ended(work.session, run);
                    }
                }
                return;
            }
            Update::StepStarted { step, attempt } => state.progress(run, step.as_str(), "started", attempt),
            Update::StepEnded { step, ok } => {
                let status = if ok { "done" } else { "failed" };
                state.progress(run, step.as_str(), status, 1)
            }
        };
        let Some(progress) = progress else { return };
        for (_, ears) in state.sessions.get(&work.session).into_iter().flatten() {
            ears.progress(work.session, progress.clone());
        }
    }
}

impl State {
    fn forget(&mut self, listener: u64, watched: impl IntoIterator<Item = SessionId>) {
        let mut silent = BTreeSet::new();
        for session in watched {
            let Some(listening) = self.sessions.get_mut(&session) else { continue };
            listening.retain(|(id, _)| *id != listener);
            if listening.is_empty() {
                self.sessions.remove(&session);
                silent.insert(session);
            }
        }
        if !silent.is_empty() {
            self.runs.retain(|_, work| !silent.contains(&work.session));
        }
        if self.sessions.is_empty() {
            self.from = None;
        }
    }

    /// Counted on the run that the user knows of, under the step's own name.
    fn progress(&mut self, run: RunId, step: &str, status: &'static str, attempt: u32) -> Option<Progress> {
        let work = self.runs.get(&run)?;
        let (shown, step) = match &work.parent {
            Some((parent, waiting)) => (*parent, format!("{waiting}.{}", name(step))),
            None => (run, name(step).to_owned()),
        };
        let work = self.runs.get_mut(&shown)?;
        work.seq += 1;
        Some(Progress { request: work.request?, run: shown, step, status, attempt, seq: work.seq })
    }
}

/// A step's name without its key.
fn name(step: &str) -> &str {
    step.split('#').next().unwrap_or(step)
}

impl Ears {
    fn moved(&self, session: SessionId) {
        self.lock().moved.insert(session);
        self.arrived.notify_one();
    }
    fn ended(&self, session: SessionId, run: RunId) {
        self.lock().ended.insert(session, run);
        self.arrived.notify_one();
    }
    fn progress(&self, session: SessionId, progress: Progress) {
        let mut unheard = self.lock();
        if unheard.progress.len() >= PROGRESS_KEPT {
            unheard.progress.pop_front();
        }
        unheard.progress.push_back((session, progress));
        drop(unheard);
        self.arrived.notify_one();
    }
    fn lock(&self) -> MutexGuard<'_, Unheard> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listener {
    /// Hears of a session from now on, and that there may be something in it.
    pub fn watch(&self, session: SessionId) {
        if !self.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(session) {
            return self.ears.moved(session);
        }
        let mut state = self.feed.lock();
        if state.sessions.is_empty() {
            // Nothing was followed: what comes after this moment is.
            state.from = Some(*self.feed.engine.log().tail().borrow());
        }
        state.sessions.entry(session).or_default().push((self.id, self.ears.clone()));
        drop(state);
        self.feed.awake.notify_one();
        self.ears.moved(session);
    }

    /// Hears nothing of a session any more.
    pub fn unwatch(&self, session: SessionId) {
        if self.watched.lock().unwrap_or_else(PoisonError::into_inner).remove(&session) {
            self.feed.lock().forget(self.id, [session]);
        }
    }

    /// What came of this news could not be read: it is told once more.
    pub fn again(&self, news: News) {
        match news {
            News::Moved(session) => self.ears.moved(session),
            News::Ended(session, run) => self.ears.ended(session, run),
            News::Progress(..) => {}
        }
    }

    /// The next news. Safe to drop half-way.
    pub async fn next(&self) -> News {
        loop {
            let arrived = self.ears.arrived.notified();
            {
                let mut unheard = self.ears.lock();
                if let Some((session, progress)) = unheard.progress.pop_front() {
                    return News::Progress(session, progress);
                }
                if let Some(session) = unheard.moved.pop_first() {
                    return News::Moved(session);
                }
                if let Some((session, run)) = unheard.ended.pop_first() {
                    return News::Ended(session, run);
                }
            }
            arrived.await;
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let watched = std::mem::take(&mut *self.watched.lock().unwrap_or_else(PoisonError::into_inner));
        self.feed.lock().forget(self.id, watched);
    }
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").field("watched", &self.watched).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_does_not_keep_up_loses_progress_and_no_end_of_a_run() {
        let (ears, session) = (Ears::default(), SessionId::from_bytes([1; 16]));
        let (run, request) = (RunId::from_bytes([2; 16]), RequestId::from_bytes([3; 16]));
        ears.ended(session, run);
        ears.moved(session);
        for seq in 0..10_000 {
            let progress = Progress { request, run, step: "check".into(), status: "done", attempt: 1, seq };
            ears.progress(session, progress);
        }
        let unheard = ears.lock();
        assert_eq!(unheard.progress.len(), PROGRESS_KEPT);
        assert_eq!(unheard.ended.get(&session), Some(&run));
        assert!(unheard.moved.contains(&session));
    }
}
