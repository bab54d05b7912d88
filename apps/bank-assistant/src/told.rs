//! Everything the assistant can say, as data. The words come from `phrases`.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use steadfast_bank::{AccountId, ProductId};
use steadfast_core::{Money, Time};

use crate::{
    proposal::Proposal,
    session::ReplyStatus,
    understand::{Intent, Unclear},
};

/// What is said. JSON: the `data` of a reply, with `kind` for programs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Told {
    /// Own accounts.
    Balance {
        /// Those asked for, oldest first.
        accounts: Vec<AccountLine>,
    },
    /// What moved of late.
    Movements {
        /// Newest first.
        movements: Vec<MovementLine>,
    },
    /// What is for sale.
    Products {
        /// Those that fit.
        products: Vec<ProductLine>,
    },
    /// One product.
    Stock {
        /// It.
        product: ProductLine,
    },
    /// Own purchases.
    Orders {
        /// Newest first.
        orders: Vec<OrderLine>,
    },
    /// Hello.
    Greeting,
    /// What can be asked.
    Help,
    /// Not a matter of this bank.
    OutOfScope,
    /// Understood, and not to be done here.
    Unsupported {
        /// What was wanted.
        intent: Intent,
    },
    /// How much?
    AskAmount {
        /// What was wrong with what was said.
        #[serde(skip_serializing_if = "Option::is_none")]
        why: Option<AmountWrong>,
        /// The open question, for programs.
        asks: Asks,
    },
    /// To whom?
    AskRecipient {
        /// Who is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
        /// Who could be meant; empty where nobody fits.
        choices: Vec<String>,
        /// The open question, for programs.
        asks: Asks,
    },
    /// What?
    AskProduct {
        /// What is not known.
        #[serde(skip_serializing_if = "Option::is_none")]
        unknown: Option<String>,
        /// What could be meant; empty where nothing fits.
        choices: Vec<ProductLine>,
        /// The open question, for programs.
        asks: Asks,
    },
    /// How many?
    AskQuantity {
        /// Of what.
        product: ProductLine,
        /// The open question, for programs.
        asks: Asks,
    },
    /// Shall I? To exactly this.
    Confirm {
        /// The arguments.
        proposal: Proposal,
        /// After this it is void.
        expires: Time,
        /// What was said to it was not understood.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        unclear: bool,
    },
    /// Money moved.
    Transferred {
        /// The transfer's id.
        id: String,
        /// What was done.
        proposal: Proposal,
    },
    /// Bought and paid.
    Purchased {
        /// The purchase's id.
        id: String,
        /// What was done.
        proposal: Proposal,
    },
    /// It was not done.
    Refused {
        /// Stable, for programs.
        code: String,
        /// The figures.
        #[serde(skip_serializing_if = "Value::is_null", default)]
        details: Value,
        /// What was to be done.
        #[serde(skip_serializing_if = "Option::is_none")]
        proposal: Option<Proposal>,
    },
    /// Dropped, as the user wished.
    Cancelled,
    /// The time to confirm is over.
    Expired,
    /// It was changed after it was shown; the yes was to the old one.
    Changed,
    /// A yes or no to nothing.
    NothingPending,
    /// The run ended before it could reply. What it did was undone, or stands.
    Stopped,
}

/// What the assistant waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names say it")]
pub enum Asks {
    Amount,
    Recipient,
    Product,
    Quantity,
}

/// Why an amount is asked for again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AmountWrong {
    /// It can be read in several ways, or in none.
    Unclear(Unclear),
    /// Zero or less.
    NotPositive,
    /// No account of this currency.
    NoAccount,
}

/// An account as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in the bank's account view")]
pub struct AccountLine {
    pub id: AccountId,
    pub name: String,
    pub balance: Money,
    pub available: Money,
}

/// A movement as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in the bank's transaction")]
pub struct MovementLine {
    pub time: Time,
    pub amount: Money,
    pub balance: Money,
    pub with: AccountId,
}

/// A product as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "as in the bank's product view")]
pub struct ProductLine {
    pub id: ProductId,
    pub name: String,
    pub price: Money,
    pub stock: u32,
}

/// A purchase as it is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct OrderLine {
    pub id: String,
    pub status: String,
    pub created: Time,
}

impl Told {
    /// How a request stands once this was said.
    pub const fn status(&self) -> ReplyStatus {
        match self {
            Self::Confirm { .. } => ReplyStatus::NeedsConfirmation,
            Self::Refused { .. }
            | Self::Cancelled
            | Self::Expired
            | Self::Changed
            | Self::Unsupported { .. }
            | Self::Stopped => ReplyStatus::Failed,
            _ => ReplyStatus::Completed,
        }
    }
}
