//! How many calls run at once, and who comes next.
//!
//! There are so many places. Who finds one free takes it; who does not waits, with a bound on
//! how many do. The most urgent come first, users take turns among the equally urgent, and who
//! has waited for a while counts as more urgent by one step, and again after as long: so nobody
//! waits for ever, however many urgent calls come in. When too many wait, the newest of the
//! least urgent gives way to a more urgent one; who is not more urgent is refused.
//!
//! A call that would have to wait and could not be done in time is refused at once, with how
//! long it would take: the calls before it, at the pace of late, and half of its route's
//! answers' time. Who need not wait is never refused for that.
//!
//! A place is given back when the call is over, a stream's with its end; during the gateway's
//! own wait before a retry it is given back as well, and the retry comes again as `high`. Who
//! goes away while waiting is gone at once.

mod pace;
mod queue;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use serde::Serialize;
use steadfast_core::{Failure, World};
use steadfast_resilience::{Deadline, with_retry_after};
use tokio::sync::oneshot;

use crate::{
    call::{Call, Priority},
    config::AdmissionConfig,
    rejected::Rejected,
};
use pace::Paces;
use queue::{Queue, Ticket, Waiter};

/// Why a call may not enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// So many wait already.
    Full {
        /// How many.
        waiting: usize,
        /// When it is worth another try.
        again: Duration,
    },
    /// It could not be done in time.
    Late {
        /// How many come before it.
        before: usize,
        /// When its turn would come.
        wait: Duration,
    },
    /// A more urgent call took its place in the queue.
    GaveWay {
        /// When it is worth another try.
        again: Duration,
    },
    /// Its deadline passed while it waited.
    TimedOut,
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Self {
        let (code, message, again) = match refused {
            Refused::Full { waiting, again } => {
                ("queue.full", format!("{waiting} calls wait already; try again later"), again)
            }
            Refused::Late { before, wait } => (
                "queue.late",
                format!(
                    "it could not be done in time: {before} calls come before it, about {} ms",
                    wait.as_millis()
                ),
                wait,
            ),
            Refused::GaveWay { again } => {
                ("queue.gave_way", "a more urgent call took its place in the queue".into(), again)
            }
            Refused::TimedOut => {
                ("queue.timeout", "the deadline passed before its turn came".into(), Duration::ZERO)
            }
        };
        let failure = Failure { nothing_happened: true, ..Failure::internal(code, message) };
        let again = again.max(Duration::from_secs(1));
        Self::new(with_retry_after(failure.retryable(), again), StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// Who wants to enter.
#[derive(Debug, Clone)]
pub(crate) struct Visitor {
    pub(crate) user: Arc<str>,
    pub(crate) route: Arc<str>,
    pub(crate) priority: Priority,
}

impl Visitor {
    /// Whoever calls: the user, or the key where there is none, of their tenant.
    pub(crate) fn of(call: &Call, route: &Arc<str>) -> Self {
        let caller = &call.caller;
        let user = caller.within(caller.user.as_deref().or(caller.key.as_deref()));
        Self { user, route: route.clone(), priority: call.options.priority }
    }
}

type Reply = oneshot::Sender<Result<Place, Refused>>;

struct State {
    running: usize,
    queue: Queue<Reply>,
    paces: Paces,
    config: AdmissionConfig,
}

impl State {
    /// Without a bound everybody finds a place, and is counted all the same: there may be a
    /// bound later.
    fn running_max(&self) -> usize {
        let max = if self.config.enabled { self.config.running.get() } else { u32::MAX };
        usize::try_from(max).unwrap_or(usize::MAX)
    }
    fn waiting_max(&self) -> usize {
        usize::try_from(self.config.waiting).unwrap_or(usize::MAX)
    }
    /// Who takes a place that is free, or becomes free.
    fn next(&mut self, now: Duration) -> Option<Waiter<Reply>> {
        let next = if self.running < self.running_max() { self.queue.pop(now) } else { None };
        self.running += usize::from(next.is_some());
        next
    }
}

struct Inner {
    state: Mutex<State>,
    world: World,
}

/// The door.
#[derive(Clone)]
pub(crate) struct Admission {
    inner: Arc<Inner>,
}

/// One who waits, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Waiting {
    /// 1 is next.
    pub position: usize,
    /// The route.
    pub route: Arc<str>,
    /// `critical`, `high`, `normal` or `low`, as it came.
    pub priority: &'static str,
    /// How long it has waited.
    pub waited_ms: u64,
}

/// How the queue stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueState {
    /// Calls under way.
    pub running: usize,
    /// How many may be.
    pub running_max: usize,
    /// How many may wait.
    pub waiting_max: usize,
    /// Who waits, in the order of their turns.
    pub waiting: Vec<Waiting>,
}

/// A place. Dropped, it goes to who is next.
pub(crate) struct Place {
    inner: Arc<Inner>,
    route: Arc<str>,
    since: Duration,
    /// How long was waited for it.
    pub(crate) queued: Duration,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("route", &self.route).finish_non_exhaustive()
    }
}

/// Takes itself out of the queue when nobody waits for it any longer.
struct Standing<'a> {
    inner: &'a Inner,
    ticket: Option<Ticket>,
}

impl Drop for Standing<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // What is dropped here may be a reply with a place in it: not under the lock.
            let gone = self.inner.lock().queue.remove(ticket);
            drop(gone);
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Gives a place to one who waited for it.
    fn seat(self: &Arc<Self>, next: Waiter<Reply>, now: Duration) {
        let queued = now.saturating_sub(next.since);
        let place = Place { inner: self.clone(), route: next.route, since: now, queued };
        // If nobody listens any longer, the place comes back and is dropped in turn.
        drop(next.reply.send(Ok(place)));
    }
}

impl Admission {
    pub(crate) fn new(config: &AdmissionConfig, world: &World) -> Self {
        let state = State {
            running: 0,
            queue: Queue::new(config.ageing.get()),
            paces: Paces::new(world.clock().elapsed()),
            config: config.clone(),
        };
        let inner = Inner { state: Mutex::new(state), world: world.clone() };
        Self { inner: Arc::new(inner) }
    }
    /// From now on by this configuration. Who is under way or waits stays: where there are
    /// fewer places than calls under way, nobody enters until enough of them are over.
    pub(crate) fn configure(&self, config: &AdmissionConfig) {
        let now = self.inner.world.clock().elapsed();
        let mut state = self.inner.lock();
        state.config = config.clone();
        state.queue.set_ageing(config.ageing.get());
        let next: Vec<_> = std::iter::from_fn(|| state.next(now)).collect();
        drop(state);
        for next in next {
            self.inner.seat(next, now);
        }
    }
    fn place(&self, route: Arc<str>, since: Duration, queued: Duration) -> Place {
        Place { inner: self.inner.clone(), route, since, queued }
    }
    /// A place, once there is one. Dropped half-way, it leaves no trace.
    pub(crate) async fn enter(&self, visitor: &Visitor, deadline: &Deadline) -> Result<Place, Refused> {
        let now = self.inner.world.clock().elapsed();
        let (mut standing, answer) = {
            let mut state = self.inner.lock();
            if state.running < state.running_max() {
                state.running += 1;
                drop(state);
                return Ok(self.place(visitor.route.clone(), now, Duration::ZERO));
            }
            let before = state.queue.before(visitor.priority, &visitor.user);
            let wait = state.paces.wait(before + 1, state.running_max(), now);
            let needed = wait.saturating_add(state.paces.usual(&visitor.route, now));
            if needed > deadline.remaining() {
                return Err(Refused::Late { before, wait });
            }
            let waiting = state.queue.len();
            let full = waiting >= state.waiting_max();
            let gave_way = if full { state.queue.give_way(visitor.priority) } else { None };
            if full && gave_way.is_none() {
                return Err(Refused::Full { waiting, again: wait });
            }
            let (reply, answer) = oneshot::channel();
            let (user, route) = (visitor.user.clone(), visitor.route.clone());
            let ticket = state.queue.push(user, route, visitor.priority, now, reply);
            drop(state);
            if let Some(gone) = gave_way {
                // Who does not listen any longer has gone by itself.
                let _ = gone.reply.send(Err(Refused::GaveWay { again: wait }));
            }
            (Standing { inner: &self.inner, ticket: Some(ticket) }, answer)
        };
        let answer = deadline.run(answer).await;
        match answer {
            Ok(Ok(Ok(place))) => {
                standing.ticket = None;
                Ok(place)
            }
            Ok(Ok(Err(refused))) => {
                standing.ticket = None;
                Err(refused)
            }
            Ok(Err(_)) | Err(_) => Err(Refused::TimedOut),
        }
    }
    /// How the queue stands, if there is a bound.
    pub(crate) fn state(&self) -> Option<QueueState> {
        let now = self.inner.world.clock().elapsed();
        let state = self.inner.lock();
        let waiting = state.queue.in_order().into_iter().enumerate().map(|(i, waiter)| Waiting {
            position: i + 1,
            route: waiter.route.clone(),
            priority: waiter.priority.name(),
            waited_ms: u64::try_from(now.saturating_sub(waiter.since).as_millis()).unwrap_or(u64::MAX),
        });
        state.config.enabled.then(|| QueueState {
            waiting: waiting.collect(),
            running: state.running,
            running_max: state.running_max(),
            waiting_max: state.waiting_max(),
        })
    }
    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.inner.lock().queue.len()
    }
    /// How many may wait.
    pub(crate) fn waiting_max(&self) -> usize {
        self.inner.lock().waiting_max()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let now = self.inner.world.clock().elapsed();
        let mut state = self.inner.lock();
        state.paces.note(&self.route, now.saturating_sub(self.since), now);
        state.running -= 1;
        let next = state.next(now);
        drop(state);
        if let Some(next) = next {
            self.inner.seat(next, now);
        }
    }
}

/// A call's place, which it leaves for a while and comes back to.
pub(crate) struct Seat {
    admission: Admission,
    visitor: Visitor,
    place: Mutex<Option<Place>>,
}

impl std::fmt::Debug for Seat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}

impl Seat {
    pub(crate) async fn take(
        admission: &Admission,
        visitor: Visitor,
        deadline: &Deadline,
    ) -> Result<(Arc<Self>, Duration), Refused> {
        let place = admission.enter(&visitor, deadline).await?;
        let queued = place.queued;
        let seat = Self { admission: admission.clone(), visitor, place: Mutex::new(Some(place)) };
        Ok((Arc::new(seat), queued))
    }
    fn swap(&self, place: Option<Place>) -> Option<Place> {
        std::mem::replace(&mut *self.place.lock().unwrap_or_else(PoisonError::into_inner), place)
    }
    /// Gives the place to who is next.
    pub(crate) fn leave(&self) {
        drop(self.swap(None));
    }
    /// Comes back, as urgent at least as a retry is.
    pub(crate) async fn come_back(&self, deadline: &Deadline) -> Result<(), Refused> {
        let priority = self.visitor.priority.max(Priority::High);
        let place = self.admission.enter(&Visitor { priority, ..self.visitor.clone() }, deadline).await?;
        drop(self.swap(Some(place)));
        Ok(())
    }
}

#[cfg(test)]
#[path = "admission/tests.rs"]
mod tests;
