//! The facts of accounts, products, purchases and customers. JSON, schema 1.

use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use steadfast_core::{Money, Time};
pub(crate) use steadfast_log::written as encode;
use steadfast_log::{DecodeError, Recorded, Upcasters};

use crate::{AccountId, HoldId, Limits, ProductId, PurchaseId, ReservationId, TransferId};

/// The version of all bodies' shapes.
pub const SCHEMA: u16 = 1;

steadfast_log::event_types! {
    schema SCHEMA;
    /// [`super::AccountOpened`]
    ACCOUNT_OPENED = "account.opened": AccountOpened;
    /// [`super::Posted`]
    POSTED = "account.posted": Posted;
    /// [`super::Held`]
    HELD = "account.held": Held;
    /// [`super::HoldReleased`]
    HOLD_RELEASED = "account.hold_released": HoldReleased;
    /// [`super::Refused`]
    ACCOUNT_REFUSED = "account.refused": Refused;
    /// [`super::ProductListed`]
    PRODUCT_LISTED = "product.listed": ProductListed;
    /// [`super::Reserved`]
    RESERVED = "product.reserved": Reserved;
    /// [`super::ReservationReleased`]
    RESERVATION_RELEASED = "product.reservation_released": ReservationReleased;
    /// [`super::Sold`]
    SOLD = "product.sold": Sold;
    /// [`super::Returned`]
    RETURNED = "product.returned": Returned;
    /// [`super::Refused`]
    PRODUCT_REFUSED = "product.refused": Refused;
    /// [`super::ContactAdded`]
    CONTACT_ADDED = "customer.contact_added": ContactAdded;
    /// [`super::ContactRemoved`]
    CONTACT_REMOVED = "customer.contact_removed": ContactRemoved;
    /// [`super::StandingChanged`]
    CUSTOMER_DEACTIVATED = "customer.deactivated": StandingChanged;
    /// [`super::StandingChanged`]
    CUSTOMER_ACTIVATED = "customer.activated": StandingChanged;
    /// [`super::Forestalled`]
    FORESTALLED = "effect.forestalled": Forestalled;
    /// [`super::PurchaseInitiated`]
    PURCHASE_INITIATED = "PURCHASE_INITIATED": PurchaseInitiated;
    /// [`super::StockReserved`]
    INVENTORY_RESERVED = "INVENTORY_RESERVED": StockReserved;
    /// [`super::Paid`]
    PAYMENT_COMPLETED = "PAYMENT_COMPLETED": Paid;
    /// [`super::NotPaid`]
    PAYMENT_FAILED = "PAYMENT_FAILED": NotPaid;
    /// [`super::ReservationReleased`]
    INVENTORY_RELEASED = "INVENTORY_RELEASED": ReservationReleased;
    /// [`super::Sold`]
    PURCHASE_COMPLETED = "PURCHASE_COMPLETED": Sold;
}

/// An account exists from here on, empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountOpened {
    /// Whose it is.
    pub owner: Arc<str>,
    /// What the owner calls it.
    pub name: Arc<str>,
    /// Zero of its currency, or the limit below which its balance may not go.
    pub floor: Money,
    /// Its own limits.
    #[serde(default)]
    pub limits: Limits,
}

/// Money came (amount above zero) or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posted {
    /// The movement; the other side has the same.
    pub transfer: TransferId,
    /// How much, with its sign.
    pub amount: Money,
    /// The balance after it, in minor units.
    pub balance: i64,
    /// The other side.
    pub with: AccountId,
    /// The hold that it captures; what it does not take of it is free again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldId>,
    /// The movement that it takes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverses: Option<TransferId>,
    /// What it was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memo: Option<Arc<str>>,
    /// When it happened elsewhere, if it was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub booked: Option<Time>,
}

/// Money was set aside: still in the balance, no longer available.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// The hold.
    pub hold: HoldId,
    /// How much.
    pub amount: Money,
    /// Until when.
    pub expires: Time,
    /// For whom; nobody else can be paid from it.
    pub to: AccountId,
}

/// Why something set aside is free again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Release {
    /// Somebody gave it back.
    Released,
    /// Its time ran out.
    Expired,
}

/// A hold is no more, and nothing of it was captured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldReleased {
    /// The hold.
    pub hold: HoldId,
    /// Why.
    pub why: Release,
}

/// An operation was accepted and came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// What it would have been known by.
    pub id: uuid::Uuid,
    /// Which operation: `bank.transfer`.
    pub operation: Arc<str>,
    /// Why.
    pub code: Arc<str>,
}

/// A product is for sale.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductListed {
    /// What people call it.
    pub name: Arc<str>,
    /// Of one.
    pub price: Money,
    /// How many there are.
    pub stock: u32,
    /// Who is paid.
    pub merchant: AccountId,
}

/// Stock was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reserved {
    /// The reservation.
    pub reservation: ReservationId,
    /// How many.
    pub quantity: u32,
    /// For whom.
    pub buyer: Arc<str>,
    /// Until when.
    pub expires: Time,
    /// Within which purchase.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purchase: Option<PurchaseId>,
}

/// A reservation is no more; its stock is free again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReservationReleased {
    /// The reservation.
    pub reservation: ReservationId,
    /// Why.
    pub why: Release,
}

/// What was reserved has been sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sold {
    /// The reservation.
    pub reservation: ReservationId,
    /// How many.
    pub quantity: u32,
}

/// What was sold is back in stock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// The reservation it had been sold from.
    pub reservation: ReservationId,
    /// How many.
    pub quantity: u32,
}

/// A purchase began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurchaseInitiated {
    /// Who buys.
    pub buyer: Arc<str>,
    /// What.
    pub product: ProductId,
    /// How many.
    pub quantity: u32,
    /// Altogether.
    pub total: Money,
}

/// What a purchase wants is set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StockReserved {
    /// Until when.
    pub expires: Time,
    /// The reservation.
    pub reservation: ReservationId,
}

/// A purchase was paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paid {
    /// How much.
    pub amount: Money,
    /// Who paid.
    pub from: AccountId,
    /// Who was paid.
    pub to: AccountId,
    /// The movement.
    pub transfer: TransferId,
}

/// A purchase could not be paid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NotPaid {
    /// Why.
    pub code: Arc<str>,
}

/// An effect was undone before it came; it will be refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forestalled {}

/// A customer knows somebody by a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactAdded {
    /// What the customer calls them. Plain text, like the names of users.
    pub name: Arc<str>,
    /// Who that is.
    pub user: Arc<str>,
}

/// A customer knows nobody by that name any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactRemoved {
    /// The name, letter by letter as it was added.
    pub name: Arc<str>,
}

/// A customer may no longer act, or may again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StandingChanged {
    /// The operator who said so.
    pub by: Arc<str>,
}

/// A fact of an account or a product.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is documented at its body")]
pub enum Fact {
    AccountOpened(AccountOpened),
    Posted(Posted),
    Held(Held),
    HoldReleased(HoldReleased),
    AccountRefused(Refused),
    ProductListed(ProductListed),
    Reserved(Reserved),
    ReservationReleased(ReservationReleased),
    Sold(Sold),
    Returned(Returned),
    ProductRefused(Refused),
}

impl Fact {
    /// The event's type and body.
    pub fn encode(&self) -> (&'static str, Bytes) {
        match self {
            Self::AccountOpened(body) => (kind::ACCOUNT_OPENED, encode(body)),
            Self::Posted(body) => (kind::POSTED, encode(body)),
            Self::Held(body) => (kind::HELD, encode(body)),
            Self::HoldReleased(body) => (kind::HOLD_RELEASED, encode(body)),
            Self::AccountRefused(body) => (kind::ACCOUNT_REFUSED, encode(body)),
            Self::ProductListed(body) => (kind::PRODUCT_LISTED, encode(body)),
            Self::Reserved(body) => (kind::RESERVED, encode(body)),
            Self::ReservationReleased(body) => (kind::RESERVATION_RELEASED, encode(body)),
            Self::Sold(body) => (kind::SOLD, encode(body)),
            Self::Returned(body) => (kind::RETURNED, encode(body)),
            Self::ProductRefused(body) => (kind::PRODUCT_REFUSED, encode(body)),
        }
    }

    /// Reads an event of an account's or a product's stream.
    pub fn decode(recorded: &Recorded) -> Result<Self, DecodeError> {
        Ok(match &*recorded.event.kind {
            kind::ACCOUNT_OPENED => Self::AccountOpened(decode(recorded)?),
            kind::POSTED => Self::Posted(decode(recorded)?),
            kind::HELD => Self::Held(decode(recorded)?),
            kind::HOLD_RELEASED => Self::HoldReleased(decode(recorded)?),
            kind::ACCOUNT_REFUSED => Self::AccountRefused(decode(recorded)?),
            kind::PRODUCT_LISTED => Self::ProductListed(decode(recorded)?),
            kind::RESERVED => Self::Reserved(decode(recorded)?),
            kind::RESERVATION_RELEASED => Self::ReservationReleased(decode(recorded)?),
            kind::SOLD => Self::Sold(decode(recorded)?),
            kind::RETURNED => Self::Returned(decode(recorded)?),
            kind::PRODUCT_REFUSED => Self::ProductRefused(decode(recorded)?),
            _ => return Err(unknown(recorded)),
        })
    }
}

pub(crate) fn unknown(recorded: &Recorded) -> DecodeError {
    DecodeError {
        stream: recorded.stream.to_string(),
        version: recorded.version,
        kind: recorded.event.kind.to_string(),
        schema: recorded.event.schema,
        reason: "this binary does not know the type; run a newer one".into(),
    }
}

/// There is one shape so far: nothing to upcast.
pub(crate) fn decode<T: DeserializeOwned>(recorded: &Recorded) -> Result<T, DecodeError> {
    Upcasters::default().decode(recorded, SCHEMA)
}
