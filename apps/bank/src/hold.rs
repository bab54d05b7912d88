use std::time::Duration;

use serde::{Deserialize, Serialize};
use steadfast_core::{Coded, Failure, Money, Mutant, Time, planted};
use steadfast_log::{StreamId, WakeUp, WakeUpChange};

use crate::{
    Account, AccountId, Fact, HoldId,
    answer::Reason,
    decision::{Draft, Scene},
    events::{Held, HoldReleased, Release},
    op::{Capture, HoldAt, PlaceHold},
    transfer::{self, Movement},
};

/// Money set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// How much, in minor units.
    pub amount: i64,
    /// From then on it cannot be captured.
    pub expires: Time,
    /// Who may be paid from it.
    pub to: AccountId,
}

/// The name of the wake-up that ends a hold.
pub(crate) const HOLD_PREFIX: &str = "hold:";

fn timer(hold: HoldId) -> String {
    format!("{HOLD_PREFIX}{hold}")
}

pub(crate) fn clear(stream: &StreamId, hold: HoldId) -> WakeUpChange {
    WakeUpChange::Clear(stream.clone(), timer(hold).into())
}

/// Sets money aside: out of what is available, into what today's limit counts.
pub(crate) fn place(scene: &Scene<'_>, op: &PlaceHold) -> Result<Draft, Failure> {
    let from = scene.own_account(0, &op.from)?;
    let to = scene.account(1, &op.to)?;
    transfer::check_pair((&op.from, from), (&op.to, to), op.amount)?;
    let ttl = scene.ttl(op.ttl)?;
    if let Err(reason) = from.check_payment(op.amount.minor(), scene.now, scene.config) {
        return Ok(scene.payment_refused(0, reason));
    }
    let hold = HoldId(scene.id);
    let expires = scene.now.after(ttl);
    let mut draft = Draft::settled(hold, Some(op.amount));
    draft.wake_ups.push(WakeUpChange::Set(WakeUp {
        stream: scene.stream(0).clone(),
        name: timer(hold).into(),
        due: expires,
        owner: None,
    }));
    draft.fact(0, Fact::Held(Held { hold, amount: op.amount, expires, to: op.to.clone() }));
    Ok(draft)
}

/// The hold, if it can still be resolved. One that is gone is gone for one of three
/// reasons, and the account does not remember which: its history does.
fn find<'a>(account: &'a Account, hold: &HoldId) -> Result<&'a Hold, Reason> {
    account.holds.get(hold).ok_or_else(|| {
        Reason::new("hold_not_open", format!("hold {hold} was captured, released or expired, or never was"))
    })
}

/// Pays all or a part of a hold to the account it is for.
pub(crate) fn capture(scene: &Scene<'_>, op: &Capture) -> Result<Draft, Failure> {
    let from = scene.own_account(0, &op.from)?;
    let to = scene.account(1, &op.to)?;
    let hold = match find(from, &op.hold) {
        Ok(hold) => hold,
        Err(reason) => return Ok(scene.payment_refused(0, reason)),
    };
    let all = Money::new(hold.amount, from.currency).map_err(|error| error.failure())?;
    let amount = op.amount.unwrap_or(all);
    transfer::check_pair((&op.from, from), (&op.to, to), amount)?;
    if hold.to != op.to {
        return Err(Failure::refused(
            "hold.other_payee",
            format!("hold {} is not for account {}", op.hold, op.to),
        ));
    }
    let reason = if hold.expires <= scene.now {
        Some(Reason::new("hold_expired", "the hold ran out before it was captured"))
    } else if amount.minor() > hold.amount {
        Some(Reason::new("over_hold", "more than the hold sets aside was asked for"))
    } else {
        to.check_credit(amount.minor()).err()
    };
    if let Some(reason) = reason {
        return Ok(scene.payment_refused(0, reason));
    }
    let movement = Movement { amount, hold: Some(op.hold), reverses: None, memo: None, booked: None };
    let mut draft = transfer::moved(scene, (&op.from, from), (&op.to, to), movement)?;
    draft.wake_ups.push(clear(scene.stream(0), op.hold));
    Ok(draft)
}

/// Gives a hold back.
pub(crate) fn release(scene: &Scene<'_>, op: &HoldAt) -> Result<Draft, Failure> {
    let account = scene.own_account(0, &op.account)?;
    match find(account, &op.hold) {
        Ok(_) => Ok(freed(scene, op.hold, Release::Released)),
        Err(reason) => Ok(scene.refuse(0, reason)),
    }
}

/// Ends a hold that ran out; nothing if it is not there or not due.
pub(crate) fn expire(scene: &Scene<'_>, op: &HoldAt) -> Result<Draft, Failure> {
    scene.admin_only("expire a hold")?;
    let account = scene.account(0, &op.account)?;
    let due = account.holds.get(&op.hold).is_some_and(|hold| hold.expires <= scene.now);
    Ok(if due { freed(scene, op.hold, Release::Expired) } else { Draft::settled(op.hold, None) })
}

/// Takes a hold back, if it is still there.
pub(crate) fn undo(scene: &Scene<'_>, account: &AccountId, hold: HoldId) -> Result<Draft, Failure> {
    let open = scene.account(0, account)?.holds.contains_key(&hold) || planted(Mutant::HoldReleasedTwice);
    Ok(if open { freed(scene, hold, Release::Released) } else { Draft::settled(hold, None) })
}

fn freed(scene: &Scene<'_>, hold: HoldId, why: Release) -> Draft {
    let mut draft = Draft::settled(hold, None);
    draft.wake_ups.push(clear(scene.stream(0), hold));
    draft.fact(0, Fact::HoldReleased(HoldReleased { hold, why }));
    draft
}

/// A lifetime that was asked for, within bounds.
pub(crate) fn check_ttl(
    asked: Option<Duration>,
    default: Duration,
    most: Duration,
) -> Result<Duration, Failure> {
    match asked {
        None => Ok(default),
        Some(ttl) if ttl.is_zero() || ttl > most => Err(Failure::refused(
            "ttl.out_of_range",
            format!("ttl must be above zero and at most {} s", most.as_secs()),
        )),
        Some(ttl) => Ok(ttl),
    }
}
