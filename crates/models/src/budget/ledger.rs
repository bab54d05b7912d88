//! Who has spent how much, and who may spend more.
//!
//! *The rule.* A call is refused exactly when, for some limit that holds for it,
//! `spent + reserved + its upper bound > limit`. Otherwise its bound is reserved, with all
//! limits at once, under one lock. When it is over, what it cost is spent and the rest given
//! back. So `spent + reserved ≤ limit` at every moment, whatever runs beside it.
//!
//! *Across crashes.* Records are written in batches, so the last second of spending may be
//! missing after a crash, and a ledger that is summed up from records would then allow more
//! than it should. Therefore an account *books* ahead: before its `spent + reserved` grows
//! beyond what is booked in the file, it books more, and waits until that is on the disk.
//! What is booked and not spent counts as spent after a crash, until its window ends; a node
//! that stops in peace books no more than it spent. The file may say too much, never too
//! little. A booking is a part of the limit, so that most calls wait for no disk. Once a second
//! what is booked beyond that is given back, so that a crash takes what calls under way may
//! cost, and not what they could at the busiest moment so far.
//!
//! An account is read from the file when the first call needs it, in the same way: it has
//! booked nothing until the file says what it has spent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use steadfast_core::Time;
use tokio::sync::Notify;

use crate::config::Window;
use crate::usd::Usd;

/// Accounts that nobody used for so many full writings, which come once a second, give back
/// what they have booked, and are forgotten.
const IDLE_MAX: u32 = 60;

/// A limit that holds for a call: which, whose, and how much.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) account: AccountId,
    /// What people call the limit.
    pub(crate) name: Arc<str>,
    pub(crate) limit: Usd,
    pub(crate) window: Window,
}

/// Names an account: of a limit, of somebody, in one window. A call counts in the window in
/// which it began, however long it takes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AccountId {
    /// The limit and all that decides what counts against it: another such is another account.
    pub(crate) rule: Arc<str>,
    /// Whose it is.
    pub(crate) value: Arc<str>,
    pub(crate) window: i64,
}

/// What is to be written of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Booking {
    pub(crate) id: AccountId,
    /// Spent so far; `None` until the file has said.
    pub(crate) spent: Option<Usd>,
    /// What may be spent without asking again: in all, or, as long as nobody knows what is
    /// spent, beyond that.
    pub(crate) booked: Usd,
    /// No more than this.
    pub(crate) limit: Usd,
}

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "what is booked is its figure")]
pub(crate) struct Booked {
    pub(crate) id: AccountId,
    /// What counts as spent: for accounts that were not known before.
    pub(crate) spent: Usd,
    pub(crate) booked: Usd,
}

/// Why a call may not spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// A limit would be exceeded.
    Exceeded(Figures),
    /// Nothing can be booked, because the file cannot be written.
    Unrecorded,
}

/// How an account stands, and what was asked of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) name: Arc<str>,
    pub(crate) value: Arc<str>,
    pub(crate) limit: Usd,
    pub(crate) spent: Usd,
    pub(crate) reserved: Usd,
    pub(crate) asked: Usd,
    pub(crate) ends_in: Option<Duration>,
}

#[derive(Debug, Default)]
struct Account {
    limit: Usd,
    spent: Usd,
    reserved: Usd,
    /// What the file allows; `None` until it was read.
    booked: Option<Usd>,
    /// What it was asked for and has not said.
    wanted: Option<Usd>,
    /// Differs from the file.
    dirty: bool,
    /// Full writings since it was used.
    idle: u32,
}

impl Account {
    fn used(&self) -> Usd {
        self.spent.plus(self.reserved)
    }
    /// Wants `ahead` booked beyond `used`, once less than half of it is left: time enough for
    /// the disk. True if that was not wanted before.
    fn book(&mut self, used: Usd, ahead: Usd) -> bool {
        let low = used.plus(Usd::from_nanos(ahead.nanos() / 2)).min(self.limit.max(used));
        let enough = |it: Option<Usd>| it.is_some_and(|booked| low <= booked);
        if enough(self.booked) || enough(self.wanted) {
            return false;
        }
        let first = self.wanted.is_none();
        self.wanted = Some(used.plus(ahead).min(self.limit.max(used)));
        first
    }
}

#[derive(Debug, Default)]
struct State {
    accounts: HashMap<AccountId, Account>,
    /// Those that want more booked.
    wanting: Vec<AccountId>,
    /// The file cannot be written at present.
    broken: bool,
}

/// All accounts.
pub(crate) struct Ledger {
    state: Mutex<State>,
    /// Rings when the file has answered.
    answered: Notify,
    /// Wakes whoever writes the file. Without one nothing is kept across restarts.
    writer: Option<Box<dyn Fn() + Send + Sync>>,
    /// A limit divided by this is booked ahead.
    part: u64,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

/// What a call may spend. Dropped without having been settled, all of it is given back.
#[derive(Debug)]
pub(crate) struct Reservation {
    ledger: Arc<Ledger>,
    claims: Vec<Claim>,
    amount: Usd,
}

/// What a look at all accounts of a call says.
enum Look {
    Fine,
    /// The file must be asked first.
    Wait,
}

impl Ledger {
    /// One that keeps nothing across restarts.
    pub(crate) fn in_memory() -> Self {
        Self { state: Mutex::default(), answered: Notify::new(), writer: None, part: 1 }
    }
    /// One whose bookings somebody writes whom `writer` wakes. `ahead` is the part of a limit
    /// that is booked at a time.
    pub(crate) fn kept(ahead: f64, writer: impl Fn() + Send + Sync + 'static) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 1 to 1 000 000")]
        let part = (1.0 / ahead.clamp(0.000_001, 1.0)) as u64;
        Self { writer: Some(Box::new(writer)), part, ..Self::in_memory() }
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Reserves `amount` with all limits that hold, or with none. Waits only for the file.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        claims: Vec<Claim>,
        amount: Usd,
        now: Time,
    ) -> Result<Reservation, Refused> {
        let mut reservation = Reservation { ledger: self.clone(), claims, amount: Usd::ZERO };
        reservation.extend(amount, now).await?;
        Ok(reservation)
    }
    /// Adds to what is reserved in accounts that are all willing.
    fn take(&self, claims: &[Claim], amount: Usd, now: Time) -> Result<Look, Refused> {
        let mut state = self.lock();
        let mut wait = false;
        for claim in claims {
            let account = self.account(&mut state, claim);
            let asked = account.used().plus(amount);
            if account.booked.is_some() && asked > claim.limit {
                return Err(Refused::Exceeded(Figures {
                    name: claim.name.clone(),
                    value: claim.account.value.clone(),
                    limit: claim.limit,
                    spent: account.spent,
                    reserved: account.reserved,
                    asked: amount,
                    ends_in: claim
                        .window
                        .ends_in(now)
                        .filter(|_| claim.window.at(now) == claim.account.window),
                }));
            }
            wait |= account.booked.is_none_or(|booked| asked > booked);
        }
        if wait && state.broken {
            return Err(Refused::Unrecorded);
        }
        let mut wake = false;
        for claim in claims {
            let ahead = self.ahead(claim.limit);
            let account = self.account(&mut state, claim);
            let mut used = account.used().plus(amount);
            if !wait {
                account.reserved = account.reserved.plus(amount);
                used = account.used();
            }
            if account.book(used, ahead) {
                wake = true;
                state.wanting.push(claim.account.clone());
            }
        }
        drop(state);
        self.wake(wake);
        Ok(if wait { Look::Wait } else { Look::Fine })
    }
    fn ahead(&self, limit: Usd) -> Usd {
        Usd::from_nanos(limit.nanos() / self.part)
    }
    fn wake(&self, wake: bool) {
        if let Some(writer) = self.writer.as_ref().filter(|_| wake) {
            writer();
        }
    }
    fn account<'a>(&self, state: &'a mut State, claim: &Claim) -> &'a mut Account {
        let id = &claim.account;
        if !state.accounts.contains_key(id) {
            if self.writer.is_none() {
                // Without a file there is nobody else who forgets what is over.
                let over = |it: &AccountId| it.window < id.window && it.rule == id.rule;
                state.accounts.retain(|it, account| account.reserved > Usd::ZERO || !over(it));
            }
            let booked = self.writer.is_none().then_some(Usd::MAX);
            state.accounts.insert(id.clone(), Account { booked, ..Account::default() });
        }
        let account = state.accounts.entry(id.clone()).or_default();
        (account.limit, account.idle) = (claim.limit, 0);
        account
    }
    /// Other limits hold from now on: of an account whose limit does not, nobody knows what is
    /// spent until the file has told it again.
    pub(crate) fn ruled_by(&self, holds: impl Fn(&str) -> bool) {
        if self.writer.is_none() {
            return;
        }
        let mut state = self.lock();
        for (_, account) in state.accounts.iter_mut().filter(|(id, _)| !holds(&id.rule)) {
            let (limit, reserved) = (account.limit, account.reserved);
            *account = Account { limit, reserved, ..Account::default() };
        }
        drop(state);
        // Who waits for the file asks it anew.
        self.answered.notify_waiters();
    }
    /// What is to be written now: accounts that want more, and, once a second, `all` that have
    /// changed. Once `stopping`, nothing is booked that was not spent.
    pub(crate) fn bookings(&self, all: bool, stopping: bool) -> Vec<Booking> {
        let mut state = self.lock();
        let state = &mut *state;
        let mut out = Vec::new();
        for id in state.wanting.drain(..) {
            let Some(account) = state.accounts.get_mut(&id) else { continue };
            // Nobody wants it any more, or whoever does will say so again.
            let Some(booked) = account.wanted else { continue };
            account.dirty = false;
            let (spent, limit) = (account.booked.map(|_| account.spent), account.limit);
            out.push(Booking { id, spent, booked, limit });
        }
        if !all {
            return out;
        }
        let as_written = |it: &Account| it.booked.is_none_or(|booked| booked == it.spent && !it.dirty);
        let clean = |it: &Account| it.wanted.is_none() && as_written(it);
        state.accounts.retain(|_, it| it.idle < IDLE_MAX || it.reserved > Usd::ZERO || !clean(it));
        for (id, account) in &mut state.accounts {
            account.idle += 1;
            let Some(booked) = account.booked.filter(|_| account.wanted.is_none()) else { continue };
            let give_back = stopping || account.idle > IDLE_MAX && account.reserved == Usd::ZERO;
            let ahead = if give_back { Usd::ZERO } else { self.ahead(account.limit) };
            // Here first, then in the file: until it says so, nobody may go beyond it.
            let less = booked.min(account.used().plus(ahead));
            if account.dirty || less != booked {
                account.dirty = false;
                account.booked = Some(less);
                let (id, limit) = (id.clone(), account.limit);
                out.push(Booking { id, spent: Some(account.spent), booked: less, limit });
            }
        }
        out
    }
    /// The file has taken these.
    pub(crate) fn booked(&self, done: Vec<Booked>) {
        let mut state = self.lock();
        state.broken = false;
        for Booked { id, spent, booked } in done {
            let Some(account) = state.accounts.get_mut(&id) else { continue };
            if account.booked.is_none() && account.wanted.is_none() {
                // Other limits hold since it was asked.
                continue;
            }
            if account.booked.is_none() {
                // What ended while the file was asked may not be in it.
                account.spent = account.spent.plus(spent);
            }
            account.booked = Some(booked);
            account.wanted = None;
        }
        drop(state);
        self.answered.notify_waiters();
    }
    /// The file could not take these. Whoever waits is refused; so is who needs more of it.
    pub(crate) fn not_booked(&self, failed: Vec<Booking>) {
        let mut state = self.lock();
        state.broken = true;
        for booking in failed {
            if let Some(account) = state.accounts.get_mut(&booking.id) {
                account.wanted = None;
                account.dirty = account.booked.is_some();
            }
        }
        drop(state);
        self.answered.notify_waiters();
    }
    /// How all accounts stand that the file has told of: spent and reserved.
    pub(crate) fn standing(&self) -> Vec<(AccountId, Usd, Usd)> {
        let state = self.lock();
        let read = state.accounts.iter().filter(|(_, it)| it.booked.is_some());
        read.map(|(id, it)| (id.clone(), it.spent, it.reserved)).collect()
    }
}

impl Reservation {
    /// Reserves more, with all limits or with none.
    pub(crate) async fn extend(&mut self, more: Usd, now: Time) -> Result<(), Refused> {
        let ledger = self.ledger.clone();
        loop {
            // Listens before it looks, so that no answer is missed.
            let mut answered = std::pin::pin!(ledger.answered.notified());
            answered.as_mut().enable();
            match ledger.take(&self.claims, more, now)? {
                Look::Fine => {
                    self.amount = self.amount.plus(more);
                    return Ok(());
                }
                Look::Wait => answered.await,
            }
        }
    }
    /// The limits that hold.
    pub(crate) fn claims(&self) -> &[Claim] {
        &self.claims
    }
    /// What is reserved.
    pub(crate) const fn amount(&self) -> Usd {
        self.amount
    }
    /// It has cost so much; the rest is given back.
    pub(crate) fn settle(mut self, cost: Usd) {
        self.end(cost);
    }
    fn end(&mut self, cost: Usd) {
        let amount = std::mem::replace(&mut self.amount, Usd::ZERO);
        let claims = std::mem::take(&mut self.claims);
        if claims.is_empty() {
            return;
        }
        let mut state = self.ledger.lock();
        let mut wake = false;
        for claim in &claims {
            let ahead = self.ledger.ahead(claim.limit);
            let Some(account) = state.accounts.get_mut(&claim.account) else { continue };
            account.reserved = account.reserved.minus(amount);
            if account.booked.is_some() || account.wanted.is_some() {
                account.spent = account.spent.plus(cost);
            }
            account.dirty |= cost > Usd::ZERO;
            // More than the bound: what a provider fetched by itself.
            if cost > amount && account.book(account.used(), ahead) {
                wake = true;
                state.wanting.push(claim.account.clone());
            }
        }
        drop(state);
        self.ledger.wake(wake);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.end(Usd::ZERO);
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
