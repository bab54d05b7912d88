//! The purchase: reserve the goods, hold the money, take it, hand over. Each step's
//! effect is a commit on our own log with the step's record in it, and each has an undo,
//! so that a purchase that fails leaves neither goods nor money tied up.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;

use serde::{Deserialize, Serialize};
use steadfast_core::{Failure, Money, Principal, Role};
use steadfast_engine::{Action, ActionOptions, Ctx, Record, Recording, Registry, StepTask, WorkflowOptions};

use crate::{
    AccountId, Answer, Ask, Bank, HoldId, Key, Op, ProductId, PurchaseId, ReservationId,
    op::{Capture, PlaceHold, ReservationAt, Reserve, Undo},
};

/// The name of the workflow.
pub const PURCHASE: &str = "bank.purchase";

/// What a purchase is asked for with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurchaseRequest {
    /// What.
    pub product: ProductId,
    /// How many; one when left out.
    #[serde(default = "one")]
    pub quantity: u32,
    /// The account to pay from; the buyer's first checking account when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<AccountId>,
}

const fn one() -> u32 {
    1
}

/// What a finished purchase answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The purchase; also the run's id.
    pub id: PurchaseId,
    /// What.
    pub product: ProductId,
    /// How many.
    pub quantity: u32,
    /// What was paid.
    pub total: Money,
    /// From where.
    pub from: AccountId,
    /// The transfer that paid.
    pub payment: String,
}

/// Who pays whom, looked up once and recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Quote {
    from: AccountId,
    merchant: AccountId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Goods {
    product: ProductId,
    quantity: u32,
    purchase: PurchaseId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Payment {
    from: AccountId,
    to: AccountId,
    amount: Money,
    purchase: PurchaseId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Taking {
    from: AccountId,
    to: AccountId,
    hold: HoldId,
    purchase: PurchaseId,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Handover {
    product: ProductId,
    reservation: ReservationId,
    purchase: PurchaseId,
}

const QUOTE: Action<PurchaseRequest, Quote> = Action::new("bank.quote");
const RESERVE: Action<Goods, Answer> = Action::new("bank.reserve");
const HOLD: Action<Payment, Answer> = Action::new("bank.hold");
const CAPTURE: Action<Taking, Answer> = Action::new("bank.capture");
const SELL: Action<Handover, Answer> = Action::new("bank.sell");
const UNDO_RESERVE: Action<Goods, ()> = Action::new("bank.reserve.undo");
const UNDO_HOLD: Action<Payment, ()> = Action::new("bank.hold.undo");
const UNDO_CAPTURE: Action<Taking, ()> = Action::new("bank.capture.undo");

/// What a step means to the ledger.
trait Means {
    fn op(&self) -> Op;
    fn purchase(&self) -> PurchaseId;
}

impl Means for Goods {
    fn op(&self) -> Op {
        Op::Reserve(Reserve { product: self.product.clone(), quantity: self.quantity, ttl: None })
    }
    fn purchase(&self) -> PurchaseId {
        self.purchase
    }
}

impl Means for Payment {
    fn op(&self) -> Op {
        let (from, to) = (self.from.clone(), self.to.clone());
        Op::Hold(PlaceHold { from, to, amount: self.amount, ttl: None })
    }
    fn purchase(&self) -> PurchaseId {
        self.purchase
    }
}

impl Means for Taking {
    fn op(&self) -> Op {
        let (from, to) = (self.from.clone(), self.to.clone());
        Op::Capture(Capture { from, to, hold: self.hold, amount: None })
    }
    fn purchase(&self) -> PurchaseId {
        self.purchase
    }
}

impl Means for Handover {
    fn op(&self) -> Op {
        Op::Sell(ReservationAt { product: self.product.clone(), reservation: self.reservation })
    }
    fn purchase(&self) -> PurchaseId {
        self.purchase
    }
}

/// Adds the purchase and its actions to what an engine can run.
pub fn register(registry: &mut Registry, bank: &Bank) {
    // A ledger answers in milliseconds; what waits longer waits for the store.
    let options = || ActionOptions { timeout: Duration::from_secs(10), ..ActionOptions::default() };
    let quoting = bank.clone();
    registry.action(&QUOTE, options(), move |task, request| {
        let bank = quoting.clone();
        async move { quote(&bank, &task, request).await }
    });
    let forward = options();
    registry
        .commit_action(&RESERVE, forward.clone(), performing(bank))
        .commit_action(&HOLD, forward.clone(), performing(bank))
        .commit_action(&CAPTURE, forward.clone(), performing(bank))
        .commit_action(&SELL, forward, performing(bank))
        .action(&UNDO_RESERVE, options(), undoing(bank))
        .action(&UNDO_HOLD, options(), undoing(bank))
        .action(&UNDO_CAPTURE, options(), undoing(bank))
        .workflow(PURCHASE, 1, WorkflowOptions { needs_key: true, ..WorkflowOptions::default() }, purchase);
}

async fn purchase(ctx: Ctx, request: PurchaseRequest) -> Result<Receipt, Failure> {
    let purchase = PurchaseId(ctx.info().run.0);
    let PurchaseRequest { product, quantity, .. } = request.clone();
    let Quote { from, merchant } = ctx.step("quote", &QUOTE, &request).await?;
    let goods = Goods { product: product.clone(), quantity, purchase };
    let reserved = ctx.step("reserve", &RESERVE, &goods).undo(&UNDO_RESERVE, &goods).await?;
    let total = reserved.amount.ok_or_else(|| unreadable("amount"))?;
    let payment = Payment { from: from.clone(), to: merchant.clone(), amount: total, purchase };
    let held = ctx.step("hold", &HOLD, &payment).undo(&UNDO_HOLD, &payment).await?;
    let hold = held.id.parse().map_err(|_| unreadable("hold"))?;
    let taking = Taking { from: from.clone(), to: merchant, hold, purchase };
    let paid = ctx.step("capture", &CAPTURE, &taking).undo(&UNDO_CAPTURE, &taking).await?;
    let reservation = reserved.id.parse().map_err(|_| unreadable("reservation"))?;
    let handover = Handover { product: product.clone(), reservation, purchase };
    ctx.step("complete", &SELL, &handover).await?;
    Ok(Receipt { id: purchase, product, quantity, total, from, payment: paid.id })
}

fn unreadable(what: &str) -> Failure {
    Failure::internal("purchase.answer", format!("the ledger's answer has no {what}"))
}

async fn quote(bank: &Bank, task: &StepTask, request: PurchaseRequest) -> Result<Quote, Failure> {
    // A run may also be begun as such, by its workflow's name.
    bank.admit(&principal(task), None).await?;
    let product = bank.product(&principal(task), &request.product).await?;
    let from = match request.from {
        Some(from) => from,
        None => bank.paying_account(&task.tenant, &task.principal, product.price.currency()).await?,
    };
    Ok(Quote { from, merchant: product.merchant })
}

/// A run acts with the rights of whom it acts for, and no more.
fn principal(task: &StepTask) -> Principal {
    Principal { tenant: task.tenant.clone(), user: task.principal.clone(), role: Role::User }
}

fn ask(task: &StepTask, op: Op, key: &str, purchase: PurchaseId) -> Ask {
    let mut ask = Ask::new(op, principal(task), Key::Effect(key.to_owned()));
    ask.correlation = task.correlation;
    ask.purchase = Some(purchase);
    ask
}

fn performing<I: Means + Send + Sync + 'static>(
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

fn undoing<I: Means + Send + Sync + 'static>(
    bank: &Bank,
) -> impl Fn(StepTask, I) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync + 'static {
    let bank = bank.clone();
    move |task, input| {
        let bank = bank.clone();
        Box::pin(async move {
            let key = task.undoes.as_ref().map_or("", |key| key.as_str()).to_owned();
            let forward = Box::new(input.op());
            let undo = Op::Undo(Undo { forward, key });
            bank.ask(ask(&task, undo, task.key.as_str(), input.purchase())).await?;
            Ok(())
        })
    }
}
