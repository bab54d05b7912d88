//! What a message means: an intent, what was said about it, and nothing that was guessed.

use serde::{Deserialize, Serialize};
use steadfast_core::{Currency, Money};

/// A language the assistant speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Spanish, as written in Mexico.
    #[default]
    Es,
    /// English.
    En,
}

/// What somebody wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Intent {
    /// How much there is, or is owed.
    CheckBalance,
    /// What moved: deposits, charges, statements.
    ListTransactions,
    /// Money to a person or an account.
    Transfer,
    /// A bill, a loan, a card, a top-up.
    PayService,
    /// What is for sale.
    SearchProducts,
    /// Is one thing there, and what does it cost.
    CheckStock,
    /// Buy it.
    BuyProduct,
    /// Where an order is.
    OrderStatus,
    /// Undo, return, give money back.
    RefundCancel,
    /// Stop a card, or replace it.
    BlockCard,
    /// Somebody else moved money, or tries to.
    ReportFraud,
    /// PINs, passwords, devices, getting in.
    ChangePin,
    /// A person, please.
    HumanAgent,
    /// Hello.
    Greeting,
    /// What can you do?
    Help,
    /// Yes.
    Confirm,
    /// No, or drop what is pending.
    Deny,
    /// Nothing of the above.
    OutOfScope,
}

impl Intent {
    /// All of them, in the order in which reports print them.
    pub const ALL: [Self; 18] = [
        Self::CheckBalance,
        Self::ListTransactions,
        Self::Transfer,
        Self::PayService,
        Self::SearchProducts,
        Self::CheckStock,
        Self::BuyProduct,
        Self::OrderStatus,
        Self::RefundCancel,
        Self::BlockCard,
        Self::ReportFraud,
        Self::ChangePin,
        Self::HumanAgent,
        Self::Greeting,
        Self::Help,
        Self::Confirm,
        Self::Deny,
        Self::OutOfScope,
    ];

    /// Its name in tables, data and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::CheckBalance => "check_balance",
            Self::ListTransactions => "list_transactions",
            Self::Transfer => "transfer",
            Self::PayService => "pay_service",
            Self::SearchProducts => "search_products",
            Self::CheckStock => "check_stock",
            Self::BuyProduct => "buy_product",
            Self::OrderStatus => "order_status",
            Self::RefundCancel => "refund_cancel",
            Self::BlockCard => "block_card",
            Self::ReportFraud => "report_fraud",
            Self::ChangePin => "change_pin",
            Self::HumanAgent => "human_agent",
            Self::Greeting => "greeting",
            Self::Help => "help",
            Self::Confirm => "confirm",
            Self::Deny => "deny",
            Self::OutOfScope => "out_of_scope",
        }
    }

    /// The intent of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|intent| intent.name() == name)
    }

    /// Does it say yes, no or hello rather than ask for something?
    pub const fn is_small_talk(self) -> bool {
        matches!(self, Self::Greeting | Self::Confirm | Self::Deny | Self::OutOfScope)
    }
}

/// Why an amount cannot be used as it stands: what to ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclear {
    /// `12.345`, `1,25`: thousands or decimals?
    Separator,
    /// More digits after the point than money has.
    TooPrecise,
    /// Two or more different amounts.
    Several,
    /// "About", "at least", "a thousand and some".
    Approximate,
    /// "Half of it", "all I have", "10 %".
    Relative,
    /// Of an unknown or unclear currency or thing: "20 bucks", "500 bitcoins".
    Currency,
    /// More than the bank can count.
    OutOfRange,
    /// It looks like a number and cannot be read for sure.
    NotUnderstood,
}

/// What was said about money.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    /// Nothing.
    #[default]
    Missing,
    /// One amount above zero, for sure.
    Exact(Money),
    /// Something that could be read in more than one way, or in none.
    Ambiguous {
        /// Why.
        reason: Unclear,
    },
    /// Zero or less.
    NotPositive,
}

impl Amount {
    /// The money, when it is certain.
    pub const fn exact(self) -> Option<Money> {
        match self {
            Self::Exact(money) => Some(money),
            Self::Missing | Self::Ambiguous { .. } | Self::NotPositive => None,
        }
    }
}

/// How many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quantity {
    /// Not said: one is meant.
    #[default]
    Missing,
    /// That many, at least one.
    Exact(std::num::NonZeroU32),
    /// Zero, negative, a fraction, or several numbers: to be asked.
    Unclear,
}

/// Who shall receive the money, as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recipient {
    /// The words: "luis", "mi mamá", "ana-savings".
    Words(String),
    /// Eighteen digits.
    Clabe {
        /// The digits.
        digits: String,
        /// Does the control digit fit?
        valid: bool,
    },
}

impl Recipient {
    /// As written, without the spaces of a CLABE.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Words(words) => words,
            Self::Clabe { digits, .. } => digits,
        }
    }
}

/// A kind of account of one's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountKind {
    /// Cheques, débito, nómina.
    Checking,
    /// Ahorro.
    Savings,
    /// Crédito.
    Credit,
}

/// What a message said besides its intent. Text only: who "luis" is, is for the workflow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slots {
    /// Money, whatever the intent.
    pub amount: Amount,
    /// Who receives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient: Option<Recipient>,
    /// Where money comes from, or which account is asked about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<AccountKind>,
    /// Where money goes to, when it is an own account.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<AccountKind>,
    /// The words for a product.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// How many of it.
    pub quantity: Quantity,
    /// The reference of an order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<String>,
    /// How many movements to list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<std::num::NonZeroU32>,
}

/// What the assistant asked last, and waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expecting {
    /// How much?
    Amount,
    /// To whom?
    Recipient,
    /// Which product?
    Product,
    /// How many?
    Quantity,
    /// Shall I?
    Confirmation(Matter),
    /// Which of these so many?
    Choice(u32),
    /// From which account?
    Account,
}

/// What a yes is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matter {
    /// A transfer.
    Transfer,
    /// A purchase.
    Purchase,
}

/// What is known before the message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// The language of the session, where the message itself does not tell.
    pub language: Language,
    /// The currency of an amount without one, and of a bare `$`.
    pub currency: Currency,
    /// The open question.
    pub expecting: Option<Expecting>,
}

impl Default for Context {
    fn default() -> Self {
        Self { language: Language::Es, currency: Currency::MXN, expecting: None }
    }
}

impl Context {
    /// The same with an open question.
    pub const fn expecting(self, question: Expecting) -> Self {
        Self { expecting: Some(question), ..self }
    }
}

/// What a message says to the open question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// An amount. May itself be unclear.
    Amount(Amount),
    /// Somebody.
    Recipient(Recipient),
    /// Words for a product.
    Product(String),
    /// So many.
    Quantity(Quantity),
    /// Yes or no.
    Confirmed(bool),
    /// Neither yes nor no, but something else than was proposed: "better 300", "no, to Marta".
    Change(Box<Slots>),
    /// The one at this place, counted from 1, never beyond what was offered.
    Choice(u32),
    /// One of the own accounts.
    Account(AccountKind),
    /// Words to find among what was offered: "the blue one".
    Words(String),
    /// Meant as an answer, and unreadable or out of bounds: ask again.
    Unclear,
}

/// A message, understood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Understood {
    /// The language of the message, or else of the session.
    pub language: Language,
    /// What it asks for, read alone.
    pub intent: Intent,
    /// What it says.
    pub slots: Slots,
    /// What it answers to the open question. When present it comes first and `intent` is
    /// only what the words would mean alone; when absent the message is a request of its own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer: Option<Answer>,
}
