use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::json;
use steadfast_core::{
    Coded, Currency, Failure, Money, Mutant, Principal, Role, Time, money::MAX_MINOR, planted,
};
use steadfast_log::{Listing, ListingChange, StreamId};

use crate::{
    AccountId, BankConfig, Fact, Hold, HoldId, TransferId,
    answer::Reason,
    decision::{Draft, Scene},
    events::{AccountOpened, Posted},
    names::SYSTEM,
    op::OpenAccount,
};

/// What an account may pay. In minor units; the bank's own limits where left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The most that one transfer or hold may move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_transfer: Option<i64>,
    /// The most that may be paid in one day (UTC), open holds included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_day: Option<i64>,
}

/// An account as its facts tell it. Amounts are minor units of `currency`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Whose it is.
    pub owner: Arc<str>,
    /// What the owner calls it.
    pub name: Arc<str>,
    /// What it is kept in.
    pub currency: Currency,
    /// What the balance less the holds may not go below.
    pub floor: i64,
    /// Its own limits.
    pub limits: Limits,
    /// What is on it.
    pub balance: i64,
    /// What of it is set aside.
    pub held: i64,
    /// What sets it aside.
    pub holds: BTreeMap<HoldId, Hold>,
    /// The day (UTC) that `spent` belongs to.
    pub day: i64,
    /// What was paid that day.
    pub spent: i64,
}

impl Account {
    pub(crate) fn opened(opened: &AccountOpened) -> Self {
        Self {
            owner: opened.owner.clone(),
            name: opened.name.clone(),
            currency: opened.floor.currency(),
            floor: opened.floor.minor(),
            limits: opened.limits,
            balance: 0,
            held: 0,
            holds: BTreeMap::new(),
            day: 0,
            spent: 0,
        }
    }

    /// What could be paid now, down to a balance of zero.
    pub fn available(&self) -> i64 {
        if planted(Mutant::HeldIsAvailable) { self.balance } else { self.balance - self.held }
    }

    /// May they spend from it, and see it?
    pub fn belongs_to(&self, principal: &Principal) -> bool {
        *self.owner == *principal.user && *self.owner != *SYSTEM || principal.role == Role::Admin
    }

    /// What was paid on the day of `now`. A clock that was set back stays on its day.
    fn spent_on(&self, now: Time) -> i64 {
        if now.day() > self.day { 0 } else { self.spent }
    }

    /// Why `amount` may not leave, if so.
    pub(crate) fn check_payment(&self, amount: i64, now: Time, config: &BankConfig) -> Result<(), Reason> {
        let figure = |minor: i64| json!({ "minor": minor, "currency": self.currency });
        if *self.owner != *SYSTEM {
            let most = self.limits.per_transfer.or(config.per_transfer_max);
            if let Some(most) = most.filter(|most| amount > *most) {
                return Err(Reason::new("over_transfer_limit", "more than one transfer may move")
                    .with(json!({ "limit": figure(most), "asked": figure(amount) })));
            }
            let used = self.spent_on(now) + self.held;
            let most = self.limits.per_day.or(config.per_day_max);
            if let Some(most) = most.filter(|most| used.saturating_add(amount) > *most) {
                return Err(Reason::new(
                    "over_daily_limit",
                    "more than the account may pay today, open holds included",
                )
                .with(json!({
                    "limit": figure(most), "used": figure(used), "asked": figure(amount),
                })));
            }
        }
        self.check_cover(amount)
    }

    /// The same without limits: what is there, and not set aside.
    pub(crate) fn check_cover(&self, amount: i64) -> Result<(), Reason> {
        if self.available() - amount < self.floor {
            let figure = |minor: i64| json!({ "minor": minor, "currency": self.currency });
            return Err(Reason::new(
                "insufficient_funds",
                "the account has less available than was asked for",
            )
            .with(json!({
                "available": figure(self.available() - self.floor), "asked": figure(amount),
            })));
        }
        Ok(())
    }

    /// Why `amount` may not come in, if so.
    pub(crate) fn check_credit(&self, amount: i64) -> Result<(), Reason> {
        if self.balance > MAX_MINOR - amount {
            return Err(Reason::new("balance_out_of_range", "the receiving account cannot hold that much"));
        }
        Ok(())
    }

    pub(crate) fn apply(&mut self, fact: &Fact, time: Time) {
        match fact {
            Fact::Posted(posted) => self.post(posted, time),
            Fact::Held(held) => {
                self.held += held.amount.minor();
                let hold = Hold { amount: held.amount.minor(), expires: held.expires, to: held.to.clone() };
                self.holds.insert(held.hold, hold);
            }
            Fact::HoldReleased(released) => self.free(&released.hold),
            Fact::AccountOpened(_)
            | Fact::AccountRefused(_)
            | Fact::ProductListed(_)
            | Fact::Reserved(_)
            | Fact::ReservationReleased(_)
            | Fact::Sold(_)
            | Fact::Returned(_)
            | Fact::ProductRefused(_) => {}
        }
    }

    fn post(&mut self, posted: &Posted, time: Time) {
        let amount = posted.amount.minor();
        self.balance += amount;
        if let Some(hold) = &posted.hold {
            self.free(hold);
        }
        if amount < 0 && posted.reverses.is_none() {
            self.spent = self.spent_on(time) - amount;
            self.day = self.day.max(time.day());
        }
    }

    fn free(&mut self, hold: &HoldId) {
        if let Some(hold) = self.holds.remove(hold) {
            self.held -= hold.amount;
        }
    }
}

/// Opens an account, with what is on it from the start posted against equity.
pub(crate) fn open(scene: &Scene<'_>, op: &OpenAccount) -> Result<Draft, Failure> {
    scene.admin_only("open an account")?;
    let floor = Money::new(op.floor, op.opening.currency()).map_err(|error| error.failure())?;
    if op.opening.minor() < 0 || op.floor > 0 {
        return Err(Failure::refused(
            "account.invalid",
            "an account opens with zero or more and a floor of zero or less",
        ));
    }
    if op.owner == SYSTEM {
        return Err(Failure::refused(
            "account.invalid",
            "owner \"system\" is taken by the books themselves: use another name",
        ));
    }
    if scene.exists(0) {
        let reason = Reason::new("account_exists", "an account of that id is already there");
        return Ok(scene.refuse(0, reason));
    }
    let mut draft = Draft::settled(op.account.as_str(), Some(op.opening));
    let stream = scene.stream(0);
    let opened = AccountOpened {
        owner: op.owner.as_str().into(),
        name: op.name.as_str().into(),
        floor,
        limits: op.limits,
    };
    draft.listings.push(listing(scene, stream, &opened));
    draft.fact(0, Fact::AccountOpened(opened));
    let equity = AccountId::equity(op.opening.currency());
    let equity_balance = if scene.exists(1) {
        scene.account(1, &equity)?.balance
    } else {
        let opened = AccountOpened {
            owner: SYSTEM.into(),
            name: "equity".into(),
            floor: Money::new(-MAX_MINOR, op.opening.currency()).map_err(|error| error.failure())?,
            limits: Limits::default(),
        };
        draft.listings.push(listing(scene, scene.stream(1), &opened));
        draft.fact(1, Fact::AccountOpened(opened));
        0
    };
    let amount = op.opening.minor();
    if amount == 0 {
        return Ok(draft);
    }
    if equity_balance - amount < -MAX_MINOR {
        return Err(Failure::refused(
            "money.out_of_range",
            "the books cannot hold that much of one currency",
        ));
    }
    let transfer = TransferId(scene.id);
    let posting = |amount: Money, balance, with| {
        Fact::Posted(Posted {
            transfer,
            amount,
            balance,
            with,
            hold: None,
            reverses: None,
            memo: Some("opening balance".into()),
            booked: None,
        })
    };
    draft.fact(0, posting(op.opening, amount, equity));
    let negative = op.opening.times(-1).map_err(|error| error.failure())?;
    draft.fact(1, posting(negative, equity_balance - amount, op.account.clone()));
    Ok(draft)
}

fn listing(scene: &Scene<'_>, stream: &StreamId, opened: &AccountOpened) -> ListingChange {
    ListingChange::Put(Listing {
        stream: stream.clone(),
        kind: opened.floor.currency().code().into(),
        status: "open".into(),
        principal: Some(opened.owner.to_string()),
        labels: BTreeMap::from([("name".to_owned(), opened.name.to_string())]),
        created: scene.now,
        updated: scene.now,
    })
}
