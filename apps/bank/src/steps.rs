//! Steps of runs that are operations of the ledger: each commits its effect together with
//! the step's record, and each can be undone.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use steadfast_core::{Failure, Money, Principal, Role};
use steadfast_engine::{Action, ActionOptions, Record, Recording, Registry, StepTask};

use crate::{
    AccountId, Answer, Ask, Bank, Key, Op, PurchaseId,
    op::{Transfer, Undo, effect_claim},
};

/// A transfer as a step of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferOrder {
    /// Who pays: an account of whom the run acts for.
    pub from: AccountId,
    /// Who is paid.
    pub to: AccountId,
    /// How much; above zero.
    pub amount: Money,
}

/// Moves money, once. Refused to whoever may not act by then.
pub const TRANSFER: Action<TransferOrder, Answer> = Action::new("bank.transfer");

/// Adds the transfer to what an engine can run.
pub fn register(registry: &mut Registry, bank: &Bank) {
    let (bank, perform) = (bank.clone(), Arc::new(performing(bank)));
    registry.commit_action(&TRANSFER, options(), move |task: StepTask, order: TransferOrder, record| {
        let (bank, perform) = (bank.clone(), perform.clone());
        async move {
            // One that was done before is not refused when it is asked for again.
            let claim = effect_claim(&task.tenant, &order.op(), task.key.as_str());
            bank.admit(&principal(&task), Some(claim)).await?;
            perform(task, order, record).await
        }
    });
}

/// What an undo of [`TRANSFER`] does: moves the money back, or sees to it that it never
/// moves.
pub async fn undo_transfer(bank: &Bank, task: &StepTask, order: &TransferOrder) -> Result<(), Failure> {
    undo(bank, task, order).await
}

impl Means for TransferOrder {
    fn op(&self) -> Op {
        Op::Transfer(Transfer {
            from: self.from.clone(),
            to: self.to.clone(),
            amount: self.amount,
            memo: None,
            imported: false,
            booked: None,
        })
    }
}

/// What a step means to the ledger.
pub(crate) trait Means {
    fn op(&self) -> Op;
    /// The purchase that it belongs to.
    fn purchase(&self) -> Option<PurchaseId> {
        None
    }
}

/// A ledger answers in milliseconds; what waits longer waits for the store.
pub(crate) fn options() -> ActionOptions {
    ActionOptions { timeout: Duration::from_secs(10), ..ActionOptions::default() }
}

/// A run acts with the rights of whom it acts for, and no more.
pub(crate) fn principal(task: &StepTask) -> Principal {
    Principal { tenant: task.tenant.clone(), user: task.principal.clone(), role: Role::User }
}

fn ask(task: &StepTask, op: Op, key: &str, purchase: Option<PurchaseId>) -> Ask {
    let mut ask = Ask::new(op, principal(task), Key::Effect(key.to_owned()));
    ask.correlation = task.correlation;
    ask.purchase = purchase;
    ask
}

pub(crate) fn performing<I: Means + Send + Sync + 'static>(
    bank: &Bank,
) -> impl Fn(StepTask, I, Record<Answer>) -> BoxFuture<'static, Result<Recording, Failure>> + Send + Sync + 'static
{
    let bank = bank.clone();
    move |task, input, record| {
        let bank = bank.clone();
        Box::pin(async move {
            let mut ask = ask(&task, input.op(), task.key.as_str(), input.purchase());
            let attached = record.clone();
            ask.attach = Some(Arc::new(move |outcome| attached.append(outcome)));
            let reply = bank.ask(ask).await?;
            match reply.attached {
                Some((committed, place)) => record.committed(&reply.answer.into_result(), &committed, place),
                None => Ok(Recording::earlier()),
            }
        })
    }
}

pub(crate) fn undoing<I: Means + Send + Sync + 'static>(
    bank: &Bank,
) -> impl Fn(StepTask, I) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static {
    let bank = bank.clone();
    move |task, input| {
        let bank = bank.clone();
        Box::pin(async move { undo(&bank, &task, &input).await })
    }
}

async fn undo(bank: &Bank, task: &StepTask, means: &impl Means) -> Result<(), Failure> {
    let key = task.undoes.as_ref().map_or("", |key| key.as_str()).to_owned();
    let undo = Op::Undo(Undo { forward: Box::new(means.op()), key });
    bank.ask(ask(task, undo, task.key.as_str(), means.purchase())).await.map(drop)
}
