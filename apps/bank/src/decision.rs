//! What a request comes to, given the states it rests on: no IO, no clock, no chance.

use std::time::Duration;

use bytes::Bytes;
use steadfast_core::{Failure, Money, Mutant, Principal, Role, Time, planted};
use steadfast_log::{ClaimKey, ListingChange, StreamId, WakeUpChange};
use uuid::Uuid;

use crate::{
    Account, AccountId, Answer, BankConfig, Fact, HoldId, Op, Product, ProductId, PurchaseId, Reason, Status,
    TransferId, account,
    books::State,
    events::{Forestalled, NotPaid, Refused, encode, kind},
    hold,
    names::EFFECT,
    op::Undo,
    product, transfer,
};

/// All that a decision may look at.
pub(crate) struct Scene<'a> {
    /// What the operation will be known by.
    pub(crate) id: Uuid,
    pub(crate) now: Time,
    pub(crate) principal: &'a Principal,
    pub(crate) config: &'a BankConfig,
    pub(crate) operation: &'static str,
    pub(crate) purchase: Option<PurchaseId>,
    /// The streams of [`Op::streams`] and their states.
    pub(crate) streams: &'a [StreamId],
    pub(crate) states: Vec<&'a State>,
}

/// What is to be written for a request, and answered once it is durable.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Facts by the index of their stream.
    pub(crate) facts: Vec<(usize, Fact)>,
    /// Events of streams that nothing is decided on: purchases, marks.
    pub(crate) beside: Vec<(StreamId, &'static str, Bytes)>,
    pub(crate) wake_ups: Vec<WakeUpChange>,
    pub(crate) listings: Vec<ListingChange>,
    /// A key to take with this answer, so that an effect which was undone stays away.
    pub(crate) forestalls: bool,
    pub(crate) answer: Answer,
}

impl Draft {
    pub(crate) fn settled(id: impl ToString, amount: Option<Money>) -> Self {
        Self {
            facts: Vec::with_capacity(2),
            beside: Vec::new(),
            wake_ups: Vec::new(),
            listings: Vec::new(),
            forestalls: false,
            answer: Answer { id: id.to_string(), status: Status::Settled, amount, reason: None },
        }
    }

    pub(crate) fn fact(&mut self, stream: usize, fact: Fact) {
        self.facts.push((stream, fact));
    }

    /// Double entry: what one account gains, others lose, in each currency. A decision
    /// has one currency in practice; two that cancel out would be refused as well.
    fn balances(&self) -> bool {
        let mut sums: Vec<Money> = Vec::with_capacity(1);
        for (_, fact) in &self.facts {
            let Fact::Posted(posted) = fact else { continue };
            let currency = posted.amount.currency();
            match sums.iter_mut().find(|sum| sum.currency() == currency) {
                Some(sum) => match sum.plus(posted.amount) {
                    Ok(next) => *sum = next,
                    Err(_) => return false,
                },
                None => sums.push(posted.amount),
            }
        }
        sums.iter().all(|sum| sum.minor() == 0) || planted(Mutant::OneSideOnly)
    }
}

impl<'a> Scene<'a> {
    pub(crate) fn stream(&self, i: usize) -> &StreamId {
        &self.streams[i]
    }
    pub(crate) fn exists(&self, i: usize) -> bool {
        !matches!(self.states[i], State::Absent)
    }
    /// An account that anybody may pay to.
    pub(crate) fn account(&self, i: usize, id: &AccountId) -> Result<&'a Account, Failure> {
        match self.states[i] {
            State::Account(account) => Ok(account),
            State::Absent | State::Product(_) => Err(account_not_found(id)),
        }
    }
    /// An account that the principal may spend from. Somebody else's is not found.
    pub(crate) fn own_account(&self, i: usize, id: &AccountId) -> Result<&'a Account, Failure> {
        let account = self.account(i, id)?;
        if account.belongs_to(self.principal) { Ok(account) } else { Err(account_not_found(id)) }
    }
    pub(crate) fn product(&self, i: usize, id: &ProductId) -> Result<&'a Product, Failure> {
        match self.states[i] {
            State::Product(product) => Ok(product),
            State::Absent | State::Account(_) => Err(product_not_found(id)),
        }
    }
    pub(crate) fn admin_only(&self, what: &str) -> Result<(), Failure> {
        if self.principal.role == Role::Admin {
            Ok(())
        } else {
            Err(Failure::refused("forbidden", format!("only an admin may {what}")))
        }
    }
    pub(crate) fn ttl(&self, asked: Option<Duration>) -> Result<Duration, Failure> {
        let config = self.config;
        hold::check_ttl(asked, config.hold_ttl.get(), config.hold_ttl_max.get())
    }

    /// A refusal, kept on the stream whose state it rests on: the version that the commit
    /// expects then holds for the refusal too.
    pub(crate) fn refuse(&self, i: usize, reason: Reason) -> Draft {
        let mut draft = Draft::settled(self.id, None);
        let refused =
            Refused { id: self.id, operation: self.operation.into(), code: reason.code.as_str().into() };
        draft.fact(
            i,
            match self.states[i] {
                State::Product(_) => Fact::ProductRefused(refused),
                State::Account(_) | State::Absent => Fact::AccountRefused(refused),
            },
        );
        draft.answer.status = Status::Refused;
        draft.answer.reason = Some(reason);
        draft
    }
    /// A refusal of money, which its purchase hears of.
    pub(crate) fn payment_refused(&self, i: usize, reason: Reason) -> Draft {
        let body = encode(&NotPaid { code: reason.code.as_str().into() });
        let mut draft = self.refuse(i, reason);
        self.tell_purchase(&mut draft, kind::PAYMENT_FAILED, "failed", || body);
        draft
    }

    /// An event of the purchase that this is a part of, if it is.
    pub(crate) fn tell_purchase(
        &self,
        draft: &mut Draft,
        kind: &'static str,
        status: &str,
        body: impl FnOnce() -> Bytes,
    ) {
        if let Some(purchase) = self.purchase {
            self.purchase_event(draft, purchase, kind, body());
            self.purchase_status(draft, purchase, status);
        }
    }
    pub(crate) fn purchase_event(
        &self,
        draft: &mut Draft,
        purchase: PurchaseId,
        kind: &'static str,
        body: Bytes,
    ) {
        let stream = purchase.stream(&self.principal.tenant);
        draft.beside.push((stream, kind, body));
    }
    pub(crate) fn purchase_status(&self, draft: &mut Draft, purchase: PurchaseId, status: &str) {
        let stream = purchase.stream(&self.principal.tenant);
        let change = ListingChange::Status(stream, status.into(), self.now);
        draft.listings.push(change);
    }
}

/// The same for an account that is not there and for somebody else's.
pub(crate) fn account_not_found(id: &AccountId) -> Failure {
    Failure::refused("account.not_found", format!("there is no account {id}"))
}
pub(crate) fn product_not_found(id: &ProductId) -> Failure {
    Failure::refused("product.not_found", format!("there is no product {id}"))
}

/// Decides one request. An error claims nothing and writes nothing. `forward` is what is
/// known of the effect that an undo is about.
pub(crate) fn decide(scene: &Scene<'_>, op: &Op, forward: Option<&Answer>) -> Result<Draft, Failure> {
    let draft = match op {
        Op::OpenAccount(op) => account::open(scene, op),
        Op::Transfer(op) => transfer::transfer(scene, op),
        Op::Hold(op) => hold::place(scene, op),
        Op::Capture(op) => hold::capture(scene, op),
        Op::ReleaseHold(op) => hold::release(scene, op),
        Op::ExpireHold(op) => hold::expire(scene, op),
        Op::ListProduct(op) => product::list(scene, op),
        Op::Reserve(op) => product::reserve(scene, op),
        Op::ReleaseStock(op) => product::release(scene, op),
        Op::ExpireReservation(op) => product::expire(scene, op),
        Op::Sell(op) => product::sell(scene, op),
        Op::Undo(op) => undo(scene, op, forward),
    }?;
    if draft.balances() {
        Ok(draft)
    } else {
        Err(Failure::internal(
            "ledger.unbalanced",
            "postings of one decision do not sum to zero; nothing was written",
        ))
    }
}

fn undo(scene: &Scene<'_>, op: &Undo, forward: Option<&Answer>) -> Result<Draft, Failure> {
    let Some(forward) = forward else {
        // It never came. Taking its key now is what keeps it away.
        let mut draft = Draft::settled(scene.id, None);
        let mark = forward_claim(scene, op).0.to_string();
        let stream = StreamId::new(&scene.principal.tenant, EFFECT, mark);
        draft.beside.push((stream, kind::FORESTALLED, encode(&Forestalled {})));
        draft.forestalls = true;
        return Ok(draft);
    };
    if forward.status != Status::Settled {
        return Ok(Draft::settled(scene.id, None));
    }
    let broken = || Failure::internal("undo.answer", "the forward answer cannot be read");
    let id: Uuid = forward.id.parse().map_err(|_| broken())?;
    let amount = || forward.amount.ok_or_else(broken);
    match &*op.forward {
        Op::Transfer(t) => transfer::reverse(scene, (&t.from, &t.to), TransferId(id), amount()?),
        Op::Capture(c) => transfer::reverse(scene, (&c.from, &c.to), TransferId(id), amount()?),
        Op::Hold(h) => hold::undo(scene, &h.from, HoldId(id)),
        Op::Reserve(r) => product::undo_reserve(scene, &r.product, crate::ReservationId(id)),
        Op::Sell(s) => product::undo_sell(scene, &s.product, s.reservation, amount()?),
        other => Err(Failure::refused("undo.not_possible", format!("{} has no undo", other.name()))),
    }
}

fn forward_claim(scene: &Scene<'_>, undo: &Undo) -> ClaimKey {
    crate::effect_claim(&scene.principal.tenant, &undo.forward, &undo.key)
}

#[cfg(test)]
mod tests {
    use steadfast_core::{Currency, money::MAX_MINOR};

    use super::*;
    use crate::events::Posted;

    #[test]
    fn only_postings_that_sum_to_zero_in_each_currency_balance() {
        let (mxn, usd) = (Currency::MXN, Currency::USD);
        for (balances, postings) in [
            (true, &[][..]),
            (true, &[(5, mxn), (-5, mxn)]),
            (true, &[(5, mxn), (-5, usd), (-5, mxn), (5, usd)]),
            (true, &[(5, mxn), (5, mxn), (-10, mxn)]),
            (false, &[(5, mxn)]),
            (false, &[(5, mxn), (-4, mxn)]),
            (false, &[(5, mxn), (-5, usd)]),
            (false, &[(5, mxn), (-5, mxn), (1, usd)]),
            (false, &[(MAX_MINOR, mxn), (1, mxn), (-MAX_MINOR, mxn), (-1, mxn)]),
        ] {
            let mut draft = Draft::settled("t", None);
            for (minor, currency) in postings {
                let posted = Posted {
                    transfer: TransferId(Uuid::nil()),
                    amount: Money::new(*minor, *currency).unwrap(),
                    balance: 0,
                    with: AccountId::equity(*currency),
                    hold: None,
                    reverses: None,
                    memo: None,
                    booked: None,
                };
                draft.fact(0, Fact::Posted(posted));
            }
            assert_eq!(draft.balances(), balances, "{postings:?}");
        }
    }
}
