//! One call from its beginning to its end: what it asked for, what it cost so far, and what it
//! may still cost.
//!
//! Every attempt at a provider is an [`Attempt`]. Before it is made, its upper bound fits into
//! what is reserved, or more is reserved, or it is not made. When it ends, its cost is known:
//! from the usage that the provider told; without one, as after a stream that broke or a client
//! that left, from the bound of what went in and a count of what came out, or its bound if nothing
//! came yet or the model may have thought unseen; an attempt that the provider refused costs
//! nothing. The call is over when it has ended and so have all its attempts; then what it cost is
//! spent and the rest is given back.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use steadfast_core::{Time, World};

use super::row::{Row, Whose};
use crate::{
    admission::Seat,
    answer::{Frame, Sense, Usage},
    budget::{
        bound::Bound,
        count::said,
        ledger::{Claim, Refused, Reservation},
        prices::{Price, Prices},
    },
    call::{Call, Operation, TOKENS_MAX, Thinking},
    failure::{Class, Tried, Wait},
    usd::Usd,
};

/// More no attempt costs, whatever a provider says: a million dollars.
const COST_MAX: Usd = Usd::from_nanos(1_000_000_000_000_000);

/// What is known of a call when it begins.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) n: u64,
    pub(crate) begun: Time,
    pub(crate) labels: Arc<str>,
    /// The route, if there is one for its model.
    pub(crate) route: Arc<str>,
}

/// How a call ended.
#[derive(Debug, Clone, Default)]
pub(crate) struct End {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) attempts: u32,
    pub(crate) tried: Vec<Tried>,
    pub(crate) queued: Duration,
    /// What the cache did, if it was asked.
    pub(crate) cache: &'static str,
    /// What the answer is instead of a route's.
    pub(crate) degraded: &'static str,
}

/// One call.
pub(crate) struct Bill {
    pub(crate) n: u64,
    begun: Time,
    started: Duration,
    world: World,
    prices: Arc<Prices>,
    id: Arc<str>,
    operation: Operation,
    stream: bool,
    asked: Arc<str>,
    thinking: Thinking,
    run: Arc<str>,
    /// What came out of the attempt under way, in bytes.
    coming: AtomicU64,
    over: AtomicBool,
    state: Mutex<State>,
}

struct State {
    whose: Whose,
    /// What may be spent, if a limit holds for the call.
    reservation: Option<Reservation>,
    /// Its place among those under way.
    seat: Option<Arc<Seat>>,
    bound: Bound,
    cost: Usd,
    priced: bool,
    estimated: bool,
    usage: Usage,
    alive: u32,
    /// What the attempts under way may cost: one that broke off lasts until another goes on.
    open: Usd,
    /// The price of the attempt under way.
    price: Option<Price>,
    first: Option<Duration>,
    end: Option<End>,
    total: Duration,
}

impl std::fmt::Debug for Bill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bill").field("n", &self.n).finish_non_exhaustive()
    }
}

impl Bill {
    pub(crate) fn new(call: &Call, opening: Opening, prices: &Arc<Prices>, world: &World) -> Self {
        let text = |it: &Option<Arc<str>>| it.clone().unwrap_or_default();
        let whose = Whose {
            tenant: call.caller.tenant.clone(),
            user: text(&call.caller.user),
            key: text(&call.caller.key),
            budget: call.options.budget.as_deref().unwrap_or_default().into(),
            labels: opening.labels,
            route: opening.route,
            ..Whose::default()
        };
        Self {
            n: opening.n,
            begun: opening.begun,
            started: world.clock().elapsed(),
            world: world.clone(),
            prices: prices.clone(),
            id: call.id.clone(),
            operation: call.operation,
            stream: call.asked.stream,
            asked: call.asked.model.as_str().into(),
            thinking: call.asked.thinking,
            run: text(&call.options.run),
            coming: AtomicU64::new(0),
            over: AtomicBool::new(false),
            state: Mutex::new(State {
                whose,
                reservation: None,
                seat: None,
                bound: Bound::default(),
                cost: Usd::ZERO,
                priced: true,
                estimated: false,
                usage: Usage::default(),
                alive: 0,
                open: Usd::ZERO,
                price: None,
                first: None,
                end: None,
                total: Duration::ZERO,
            }),
        }
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    fn since(&self) -> Duration {
        self.world.clock().elapsed().saturating_sub(self.started)
    }
    /// At most so many tokens are needed for each attempt.
    pub(crate) fn bounded(&self, bound: Bound) {
        self.lock().bound = bound;
    }
    /// So much may be spent. Calls without this have no limit.
    pub(crate) fn held(&self, reservation: Reservation) {
        self.lock().reservation = Some(reservation);
    }
    /// The limits that hold for it.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        self.lock().reservation.as_ref().map_or_else(Vec::new, |it| it.claims().to_vec())
    }
    /// The route, if there is one for its model.
    pub(crate) fn route(&self) -> Arc<str> {
        self.lock().whose.route.clone()
    }
    /// It has a place, until it is over with all its attempts.
    pub(crate) fn seated(&self, seat: Arc<Seat>) {
        self.lock().seat = Some(seat);
    }
    /// Its place.
    pub(crate) fn seat(&self) -> Option<Arc<Seat>> {
        self.lock().seat.clone()
    }
    /// An attempt is about to be made; `more` goes in beside what the client sent.
    pub(crate) async fn attempt(
        self: &Arc<Self>,
        provider: &Arc<str>,
        local: bool,
        model: &Arc<str>,
        more: u64,
    ) -> Result<Attempt, Refused> {
        let price = self.prices.find(provider, local, model);
        let (bound, most, wanted) = {
            let state = self.lock();
            let bound = Bound { input: state.bound.input.saturating_add(more), ..state.bound };
            let most = price.unwrap_or(Price::FREE).bound(bound.input, bound.output, bound.seconds);
            let reserved = state.reservation.as_ref().map_or(Usd::MAX, Reservation::amount);
            (bound, most, state.cost.plus(state.open).plus(most).minus(reserved))
        };
        if wanted > Usd::ZERO {
            self.reserve_more(wanted).await?;
        }
        let mut state = self.lock();
        state.whose.provider = provider.clone();
        state.whose.model = model.clone();
        state.alive += 1;
        state.open = state.open.plus(most);
        state.price = price;
        self.coming.store(0, Relaxed);
        drop(state);
        Ok(Attempt { bill: self.clone(), price, bound, most, usage: Usage::default(), said: 0, open: true })
    }
    async fn reserve_more(&self, more: Usd) -> Result<(), Refused> {
        /// Puts it back, also if nobody waits for it any longer.
        struct Borrowed<'a>(&'a Bill, Option<Reservation>);
        impl Drop for Borrowed<'_> {
            fn drop(&mut self) {
                self.0.lock().reservation = self.1.take();
            }
        }
        let taken = self.lock().reservation.take();
        let mut borrowed = Borrowed(self, taken);
        match &mut borrowed.1 {
            Some(reservation) => reservation.extend(more, self.world.now()).await,
            None => Ok(()),
        }
    }
    /// The most that was made, where `said` was seen of it. An answer of which nothing came may
    /// have been made all the same, as may thoughts that nobody is shown; what else did not come
    /// was not made.
    fn made(&self, price: Option<Price>, said: u64, most: u64) -> u64 {
        let unseen = said == 0 || price.is_some_and(|price| price.thinks(self.thinking));
        if unseen { most } else { said.min(most) }
    }
    /// The first content went out.
    pub(crate) fn began(&self) {
        let at = self.since();
        self.lock().first.get_or_insert(at);
    }
    /// Nothing more will be asked for. What it cost so far.
    pub(crate) fn end(&self, end: End) -> Ended {
        let mut state = self.lock();
        if state.end.is_none() {
            state.end = Some(end);
            state.total = self.since();
        }
        self.settle_if_over(&mut state);
        Ended {
            cost: (state.priced).then_some(state.cost),
            usage: state.usage,
            provider: state.whose.provider.clone(),
            route: state.whose.route.clone(),
            first: state.first,
            total: state.total,
        }
    }
    fn settle_if_over(&self, state: &mut State) {
        if state.end.is_none() || state.alive > 0 || self.over.swap(true, Relaxed) {
            return;
        }
        if let Some(reservation) = state.reservation.take() {
            reservation.settle(state.cost);
        }
        if let Some(seat) = state.seat.take() {
            seat.leave();
        }
    }
    /// Has it ended, with all its attempts?
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Relaxed)
    }
    /// As it stands.
    pub(super) fn row(&self) -> Row {
        let state = self.lock();
        let closed = self.is_over();
        let mut usage = state.usage;
        let (mut cost, mut estimated) = (state.cost, state.estimated);
        if state.alive > 0 {
            // This is paid, whatever happens next.
            let made = self.made(state.price, self.coming.load(Relaxed), state.bound.output);
            let so_far = Usage { input: state.bound.input, output: made, ..Usage::default() };
            usage = usage.plus(so_far);
            cost = cost.plus(state.price.map_or(Usd::ZERO, |price| price.cost(so_far)));
            estimated = true;
        }
        let end = state.end.clone().unwrap_or_default();
        let tried: Vec<_> =
            end.tried.iter().map(|it| format!("{}:{}", it.provider, it.class.code())).collect();
        Row {
            n: self.n,
            closed,
            begun: self.begun,
            id: self.id.clone(),
            whose: state.whose.clone(),
            run: self.run.clone(),
            operation: self.operation.name(),
            stream: self.stream,
            asked: self.asked.clone(),
            attempts: end.attempts,
            tried: tried.join(" "),
            cache: end.cache,
            degraded: end.degraded,
            status: end.status,
            code: end.code,
            usage,
            cost,
            priced: state.priced && (state.alive == 0 || state.price.is_some()),
            estimated,
            queued: end.queued,
            first: state.first,
            total: if closed { state.total } else { self.since() },
        }
    }
}

/// What metrics and the client are told at the end.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    /// What it cost, if all of it has a price.
    pub(crate) cost: Option<Usd>,
    pub(crate) usage: Usage,
    pub(crate) provider: Arc<str>,
    pub(crate) route: Arc<str>,
    pub(crate) first: Option<Duration>,
    pub(crate) total: Duration,
}

/// One attempt at a provider. Dropped without a word, as when the client leaves, it counts
/// with what is known of it.
#[derive(Debug)]
pub(crate) struct Attempt {
    bill: Arc<Bill>,
    price: Option<Price>,
    bound: Bound,
    /// What it may cost.
    most: Usd,
    usage: Usage,
    /// What was seen of it, in bytes.
    said: u64,
    open: bool,
}

impl Attempt {
    /// One event of its stream.
    pub(crate) fn saw(&mut self, frame: &Frame) {
        if let Some(usage) = frame.usage {
            self.usage = self.usage.max(usage);
        }
        if frame.sense == Sense::Content {
            if self.said == 0 {
                self.bill.began();
            }
            self.said = self.said.saturating_add(said(self.bill.operation, &frame.bytes));
            self.bill.coming.store(self.said, Relaxed);
        }
    }
    /// It ended well, and used so much, if the provider says.
    pub(crate) fn done(&mut self, told: Option<Usage>) {
        let told = told.unwrap_or_default().max(self.usage);
        if told == Usage::default() {
            return self.known();
        }
        self.close(told, false);
    }
    /// A whole answer of so many bytes.
    pub(crate) fn whole(&mut self, bytes: usize, told: Option<Usage>) {
        self.said = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.done(told);
    }
    /// It failed. Providers take nothing for what they refuse, but for what they did before.
    pub(crate) fn failed(&mut self, class: Class, input: u64) {
        let sent = matches!(
            class,
            Class::Timeout(Wait::FirstByte | Wait::FirstToken | Wait::NextToken | Wait::Total)
                | Class::Cut
                | Class::Malformed
        );
        if sent { self.known() } else { self.close(Usage { input, ..Usage::default() }, false) }
    }
    /// Counts with what is known of it, and with the bound of what is not.
    fn known(&mut self) {
        let input = if self.usage.input > 0 { self.usage.input } else { self.bound.input };
        let made = self.bill.made(self.price, self.said, self.bound.output);
        let output = self.usage.output.max(made);
        let seconds = if self.usage.seconds > 0 { self.usage.seconds } else { self.bound.seconds };
        self.close(Usage { input, output, seconds, ..self.usage }, true);
    }
    fn close(&mut self, usage: Usage, estimated: bool) {
        if !std::mem::replace(&mut self.open, false) {
            return;
        }
        let usage = usage.at_most(TOKENS_MAX);
        let mut state = self.bill.lock();
        state.alive -= 1;
        state.open = state.open.minus(self.most);
        state.usage = state.usage.plus(usage);
        state.estimated |= estimated;
        let used = usage != Usage::default();
        match self.price {
            Some(price) => state.cost = state.cost.plus(price.cost(usage).min(COST_MAX)),
            None => state.priced &= !used,
        }
        self.bill.settle_if_over(&mut state);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.open {
            self.known();
        }
    }
}
