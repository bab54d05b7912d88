//! The rules: what an understood message comes to, in the light of what is pending and of
//! the books. Reads only; whatever moves money is a proposal that waits for a yes.

mod products;
mod purchase;
mod transfer;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use steadfast_bank::Bank;
use steadfast_core::{Failure, Principal, Time, World};
use steadfast_log::{ListQuery, Log};

use crate::{
    proposal::Proposal,
    told::{AccountLine, MovementLine, OrderLine, Told},
    understand::{AccountKind, Answer, Expecting, Intent, Understood},
};

pub(crate) use purchase::PurchaseDraft;
pub(crate) use transfer::TransferDraft;

/// A request that lacks something, or a yes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Draft {
    /// Money to somebody.
    Transfer(TransferDraft),
    /// Something to buy.
    Purchase(PurchaseDraft),
}

/// What is pending: a draft and the question that was asked about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// So far.
    pub draft: Draft,
    /// What was asked.
    pub expecting: Expecting,
    /// Complete, and shown: what a yes means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proposal: Option<Proposal>,
}

/// An understood message and what it meets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The message.
    pub understood: Understood,
    /// What is pending.
    pub pending: Option<Pending>,
    /// What is proposed is what the user saw when writing.
    pub seen: bool,
}

/// What the message comes to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// Say this; what is pending stays pending.
    Say(Told),
    /// Say this; what was pending is dropped.
    Drop(Told),
    /// Ask this.
    Ask(Told, Box<Pending>),
    /// Ask for a yes, until then.
    Propose(Box<Pending>, Time),
    /// Yes or no to what is pending.
    Decide(bool),
}

/// What the rules look at.
pub(crate) struct Scene<'a> {
    pub(crate) bank: &'a Bank,
    pub(crate) log: &'a dyn Log,
    pub(crate) world: &'a World,
    pub(crate) principal: Principal,
    pub(crate) confirm_within: std::time::Duration,
}

impl Scene<'_> {
    /// Decides what comes of a message.
    pub(crate) async fn check(&self, question: Question) -> Result<Verdict, Failure> {
        let Question { understood, pending, seen } = question;
        if let Some(pending) = &pending
            && let Some(answer) = &understood.answer
        {
            return self.answered(pending, answer, seen).await;
        }
        match understood.intent {
            Intent::Confirm => Ok(decide(pending.as_ref(), true, seen)),
            Intent::Deny => Ok(decide(pending.as_ref(), false, seen)),
            Intent::Transfer => self.transfer(TransferDraft::from(&understood.slots)).await,
            Intent::BuyProduct => self.purchase(PurchaseDraft::from(&understood.slots)).await,
            _ => self.informs(&understood).await.map(Verdict::Say),
        }
    }

    async fn informs(&self, understood: &Understood) -> Result<Told, Failure> {
        let slots = &understood.slots;
        match understood.intent {
            Intent::CheckBalance => self.balance(slots.from).await,
            Intent::ListTransactions => {
                self.movements(slots.count.map_or(5, std::num::NonZeroU32::get)).await
            }
            Intent::SearchProducts => self.search(slots.product.as_deref()).await,
            Intent::CheckStock => self.stock(slots.product.as_deref()).await,
            Intent::OrderStatus => self.orders().await,
            Intent::Greeting => Ok(Told::Greeting),
            Intent::Help => Ok(Told::Help),
            Intent::OutOfScope => Ok(Told::OutOfScope),
            intent => Ok(Told::Unsupported { intent }),
        }
    }

    /// The answer to the open question goes into the draft.
    async fn answered(&self, pending: &Pending, answer: &Answer, seen: bool) -> Result<Verdict, Failure> {
        if let Answer::Confirmed(yes) = answer {
            return Ok(decide(Some(pending), *yes, seen));
        }
        match pending.draft.clone() {
            Draft::Transfer(draft) => self.transfer(draft.answered(answer)).await,
            Draft::Purchase(draft) => self.purchase(draft.answered(answer)).await,
        }
    }

    fn expires(&self) -> Time {
        self.world.now().after(self.confirm_within)
    }

    async fn balance(&self, kind: Option<AccountKind>) -> Result<Told, Failure> {
        let accounts = self.bank.accounts(&self.principal, &self.principal.user).await?;
        let wanted = |name: &str| kind.is_none_or(|kind| is_of(name, kind));
        let line = |view: &steadfast_bank::AccountView| AccountLine {
            id: view.id.clone(),
            name: view.name.clone(),
            balance: view.balance,
            available: view.available,
        };
        let mut lines: Vec<_> = accounts.iter().filter(|view| wanted(&view.name)).map(line).collect();
        if lines.is_empty() {
            lines = accounts.iter().map(line).collect();
        }
        Ok(Told::Balance { accounts: lines })
    }

    async fn movements(&self, count: u32) -> Result<Told, Failure> {
        let limit = usize::try_from(count).unwrap_or(usize::MAX).clamp(1, 20);
        let user = &self.principal.user;
        let found = self.bank.transactions_of(&self.principal, user, None, Some(limit)).await?;
        let line = |movement: steadfast_bank::Transaction| MovementLine {
            time: movement.time,
            amount: movement.amount,
            balance: movement.balance,
            with: movement.with,
        };
        Ok(Told::Movements { movements: found.transactions.into_iter().map(line).collect() })
    }

    async fn orders(&self) -> Result<Told, Failure> {
        let query = ListQuery {
            tenant: self.principal.tenant.clone(),
            category: steadfast_engine::record::RUN.into(),
            kind: Some(steadfast_bank::purchase::PURCHASE.into()),
            principal: Some(self.principal.user.clone()),
            limit: 5,
            ..ListQuery::default()
        };
        let page = self.log.list(query).await;
        let page =
            page.map_err(|error| Failure::internal("orders.unreadable", error.to_string()).retryable())?;
        let line = |row: &steadfast_log::Listing| OrderLine {
            id: row.stream.name().to_owned(),
            status: row.status.clone(),
            created: row.created,
        };
        Ok(Told::Orders { orders: page.rows.iter().map(line).collect() })
    }
}

/// A yes counts for what the user saw, and for nothing else.
fn decide(pending: Option<&Pending>, yes: bool, seen: bool) -> Verdict {
    let Some(pending) = pending else {
        return Verdict::Say(Told::NothingPending);
    };
    match (&pending.proposal, yes) {
        (_, false) => Verdict::Decide(false),
        (Some(_), true) if seen => Verdict::Decide(true),
        (Some(_), true) => Verdict::Say(Told::Changed),
        (None, true) => Verdict::Say(Told::NothingPending),
    }
}

/// Is an account of this name of this kind?
pub(crate) fn is_of(name: &str, kind: AccountKind) -> bool {
    let prefix = match kind {
        AccountKind::Checking => "checking",
        AccountKind::Savings => "savings",
        AccountKind::Credit => "credit",
    };
    name.starts_with(prefix)
}

/// A rule of the bank said no.
pub(crate) fn refused(code: &str, details: Value, proposal: Option<Proposal>) -> Told {
    Told::Refused { code: code.into(), details, proposal }
}
