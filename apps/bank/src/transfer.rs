use std::sync::Arc;

use steadfast_core::{Coded, Failure, Money, Mutant, Time, planted};

use crate::{
    Account, AccountId, Fact, HoldId, TransferId,
    decision::{Draft, Scene},
    events::{Paid, Posted, encode, kind},
    op::Transfer,
};

/// One movement of money, apart from who and whom.
pub(crate) struct Movement {
    pub(crate) amount: Money,
    pub(crate) hold: Option<HoldId>,
    pub(crate) reverses: Option<TransferId>,
    pub(crate) memo: Option<Arc<str>>,
    pub(crate) booked: Option<Time>,
}

type Side<'a> = (&'a AccountId, &'a Account);

/// What is wrong with a payment whatever the balances are.
pub(crate) fn check_pair(from: Side<'_>, to: Side<'_>, amount: Money) -> Result<(), Failure> {
    amount.positive().map_err(|error| error.failure())?;
    if from.0 == to.0 {
        return Err(Failure::refused(
            "transfer.same_account",
            format!("account {} cannot pay itself: name another", from.0),
        ));
    }
    for (id, account) in [from, to] {
        if account.currency != amount.currency() {
            return Err(Failure::refused(
                "money.currency_mismatch",
                format!(
                    "account {id} is kept in {}, the amount is in {}",
                    account.currency,
                    amount.currency()
                ),
            ));
        }
    }
    Ok(())
}

/// Moves money if the payer has it and may.
pub(crate) fn transfer(scene: &Scene<'_>, op: &Transfer) -> Result<Draft, Failure> {
    let from = scene.own_account(0, &op.from)?;
    let to = scene.account(1, &op.to)?;
    check_pair((&op.from, from), (&op.to, to), op.amount)?;
    let amount = op.amount.minor();
    let payable = if op.imported {
        scene.admin_only("import transactions")?;
        from.check_cover(amount)
    } else {
        from.check_payment(amount, scene.now, scene.config)
    };
    if let Err(reason) = payable.and_then(|()| to.check_credit(amount)) {
        return Ok(scene.payment_refused(0, reason));
    }
    let movement =
        Movement { amount: op.amount, hold: None, reverses: None, memo: op.memo.clone(), booked: op.booked };
    moved(scene, (&op.from, from), (&op.to, to), movement)
}

/// Takes a movement back: the payee pays what the payer had paid. Not having it any more
/// is no outcome but a failure, so that it can be tried again.
pub(crate) fn reverse(
    scene: &Scene<'_>,
    (from, to): (&AccountId, &AccountId),
    transfer: TransferId,
    amount: Money,
) -> Result<Draft, Failure> {
    let (payer, payee) = (scene.account(0, from)?, scene.account(1, to)?);
    payee.check_cover(amount.minor()).and_then(|()| payer.check_credit(amount.minor())).map_err(
        |reason| {
            let mut failure = Failure::refused(reason.code, reason.message).retryable();
            failure.data = reason.data;
            failure
        },
    )?;
    let mut draft = Draft::settled(TransferId(scene.id), Some(amount));
    let back = amount.times(-1).map_err(|error| error.failure())?;
    for (i, account, amount, with) in [(0, payer, amount, to), (1, payee, back, from)] {
        draft.fact(
            i,
            Fact::Posted(Posted {
                transfer: TransferId(scene.id),
                amount,
                balance: account.balance + amount.minor(),
                with: with.clone(),
                hold: None,
                reverses: Some(transfer),
                memo: None,
                booked: None,
            }),
        );
    }
    Ok(draft)
}

/// Both sides of a movement, and the purchase it pays for.
pub(crate) fn moved(
    scene: &Scene<'_>,
    (from, payer): Side<'_>,
    (to, payee): Side<'_>,
    movement: Movement,
) -> Result<Draft, Failure> {
    let transfer = TransferId(scene.id);
    let amount = movement.amount;
    let mut draft = Draft::settled(transfer, Some(amount));
    let minus = amount.times(-1).map_err(|error| error.failure())?;
    draft.fact(
        0,
        Fact::Posted(Posted {
            transfer,
            amount: minus,
            balance: payer.balance - amount.minor(),
            with: to.clone(),
            hold: movement.hold,
            reverses: movement.reverses,
            memo: movement.memo.clone(),
            booked: movement.booked,
        }),
    );
    let credit = Fact::Posted(Posted {
        transfer,
        amount,
        balance: payee.balance + amount.minor(),
        with: from.clone(),
        hold: None,
        reverses: movement.reverses,
        memo: movement.memo,
        booked: movement.booked,
    });
    if !planted(Mutant::OneSideOnly) {
        draft.fact(1, credit);
    }
    let body = || encode(&Paid { amount, from: from.clone(), to: to.clone(), transfer });
    scene.tell_purchase(&mut draft, kind::PAYMENT_COMPLETED, "paid", body);
    Ok(draft)
}
