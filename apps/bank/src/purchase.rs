//! The purchase: reserve the goods, hold the money, take it, hand over. Each step's
//! effect is a commit on our own log with the step's record in it, and each has an undo,
//! so that a purchase that fails leaves neither goods nor money tied up.

use serde::{Deserialize, Serialize};
use steadfast_core::{Failure, Money};
use steadfast_engine::{Action, Ctx, Registry, StepTask, WorkflowOptions};

use crate::{
    AccountId, Answer, Bank, HoldId, Op, ProductId, PurchaseId, ReservationId,
    op::{Capture, PlaceHold, ReservationAt, Reserve},
    steps::{Means, options, performing, principal, undoing},
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
    /// What the buyer was told it costs in all; at any other price nothing is bought.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<Money>,
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

impl Means for Goods {
    fn op(&self) -> Op {
        Op::Reserve(Reserve { product: self.product.clone(), quantity: self.quantity, ttl: None })
    }
    fn purchase(&self) -> Option<PurchaseId> {
        Some(self.purchase)
    }
}

impl Means for Payment {
    fn op(&self) -> Op {
        let (from, to) = (self.from.clone(), self.to.clone());
        Op::Hold(PlaceHold { from, to, amount: self.amount, ttl: None })
    }
    fn purchase(&self) -> Option<PurchaseId> {
        Some(self.purchase)
    }
}

impl Means for Taking {
    fn op(&self) -> Op {
        let (from, to) = (self.from.clone(), self.to.clone());
        Op::Capture(Capture { from, to, hold: self.hold, amount: None })
    }
    fn purchase(&self) -> Option<PurchaseId> {
        Some(self.purchase)
    }
}

impl Means for Handover {
    fn op(&self) -> Op {
        Op::Sell(ReservationAt { product: self.product.clone(), reservation: self.reservation })
    }
    fn purchase(&self) -> Option<PurchaseId> {
        Some(self.purchase)
    }
}

/// Adds the purchase and its actions to what an engine can run.
pub fn register(registry: &mut Registry, bank: &Bank) {
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
    if request.total.is_some_and(|told| told != total) {
        return Err(Failure::refused("price_changed", "the price is no longer the one that was shown"));
    }
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
