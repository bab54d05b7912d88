//! What the bank can be asked to do.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use steadfast_core::{Money, TenantId, Time};
use steadfast_log::{ClaimKey, StreamId};

use crate::{AccountId, HoldId, Limits, ProductId, ReservationId};

/// Something asked of the bank. Each is decided, and committed, as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// Opens an account.
    OpenAccount(OpenAccount),
    /// Moves money.
    Transfer(Transfer),
    /// Sets money aside.
    Hold(PlaceHold),
    /// Pays from a hold; what is not taken is free again.
    Capture(Capture),
    /// Gives a hold back.
    ReleaseHold(HoldAt),
    /// Ends a hold whose time has run out.
    ExpireHold(HoldAt),
    /// Offers a product.
    ListProduct(ListProduct),
    /// Sets stock aside.
    Reserve(Reserve),
    /// Gives a reservation back.
    ReleaseStock(ReservationAt),
    /// Ends a reservation whose time has run out.
    ExpireReservation(ReservationAt),
    /// Hands over what was reserved.
    Sell(ReservationAt),
    /// Takes back an effect of a run, or sees to it that it never comes.
    Undo(Undo),
}

/// See [`Op::OpenAccount`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OpenAccount {
    /// Its id.
    pub account: AccountId,
    /// Whose it is.
    pub owner: String,
    /// What the owner calls it.
    pub name: String,
    /// What is on it from the start; zero of a currency for none.
    pub opening: Money,
    /// What its balance may not go below, in minor units; zero or less.
    pub floor: i64,
    /// Its own limits.
    pub limits: Limits,
}

/// See [`Op::Transfer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Transfer {
    /// Who pays.
    pub from: AccountId,
    /// Who is paid.
    pub to: AccountId,
    /// How much; above zero.
    pub amount: Money,
    /// What for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memo: Option<Arc<str>>,
    /// It happened elsewhere and is imported: limits are not applied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub imported: bool,
    /// When it happened there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub booked: Option<Time>,
}

/// See [`Op::Hold`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlaceHold {
    /// Whose money.
    pub from: AccountId,
    /// Who may be paid from it.
    pub to: AccountId,
    /// How much; above zero.
    pub amount: Money,
    /// For how long; the bank's default when left out.
    pub ttl: Option<Duration>,
}

/// See [`Op::Capture`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Capture {
    /// Whose hold.
    pub from: AccountId,
    /// Who is paid: the one the hold is for.
    pub to: AccountId,
    /// Which hold.
    pub hold: HoldId,
    /// How much of it; all when left out.
    pub amount: Option<Money>,
}

/// A hold and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HoldAt {
    /// The account.
    pub account: AccountId,
    /// The hold.
    pub hold: HoldId,
}

/// See [`Op::ListProduct`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListProduct {
    /// Its id.
    pub product: ProductId,
    /// What people call it.
    pub name: String,
    /// Of one; above zero.
    pub price: Money,
    /// How many there are.
    pub stock: u32,
    /// Who is paid.
    pub merchant: AccountId,
}

/// See [`Op::Reserve`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reserve {
    /// What.
    pub product: ProductId,
    /// How many; at least one.
    pub quantity: u32,
    /// For how long; the bank's default when left out.
    pub ttl: Option<Duration>,
}

/// A reservation and where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReservationAt {
    /// The product.
    pub product: ProductId,
    /// The reservation.
    pub reservation: ReservationId,
}

/// See [`Op::Undo`]. Transfers, holds, captures, reservations and sales can be undone;
/// undoing twice, or what came to nothing, is fine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Undo {
    /// What was to be done, as it was asked for.
    pub forward: Box<Op>,
    /// The effect key it was asked under.
    pub key: String,
}

impl Op {
    /// What it is called in claims and events.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::OpenAccount(_) => "bank.open_account",
            Self::Transfer(_) => "bank.transfer",
            Self::Hold(_) => "bank.hold",
            Self::Capture(_) => "bank.capture",
            Self::ReleaseHold(_) => "bank.release_hold",
            Self::ExpireHold(_) => "bank.expire_hold",
            Self::ListProduct(_) => "bank.list_product",
            Self::Reserve(_) => "bank.reserve",
            Self::ReleaseStock(_) => "bank.release_stock",
            Self::ExpireReservation(_) => "bank.expire_reservation",
            Self::Sell(_) => "bank.sell",
            Self::Undo(_) => "bank.undo",
        }
    }

    /// The streams that it is decided on, in the order that its decision expects.
    pub(crate) fn streams(&self, tenant: &TenantId) -> Vec<StreamId> {
        let pair = |a: &AccountId, b: &AccountId| vec![a.stream(tenant), b.stream(tenant)];
        match self {
            Self::OpenAccount(op) => pair(&op.account, &AccountId::equity(op.opening.currency())),
            Self::Transfer(op) => pair(&op.from, &op.to),
            Self::Hold(op) => pair(&op.from, &op.to),
            Self::Capture(op) => pair(&op.from, &op.to),
            Self::ReleaseHold(at) | Self::ExpireHold(at) => vec![at.account.stream(tenant)],
            Self::ListProduct(op) => vec![op.product.stream(tenant), op.merchant.stream(tenant)],
            Self::Reserve(op) => vec![op.product.stream(tenant)],
            Self::ReleaseStock(at) | Self::ExpireReservation(at) | Self::Sell(at) => {
                vec![at.product.stream(tenant)]
            }
            Self::Undo(undo) => undo.forward.streams(tenant),
        }
    }
}

/// The claim under which an effect of a run is found. The engine starts its window once the
/// run has ended and nothing of it can be undone any more.
pub fn effect_claim(tenant: &TenantId, op: &Op, key: &str) -> ClaimKey {
    match op {
        // Whatever key the compensation has: what is undone is undone once.
        Op::Undo(undo) => steadfast_engine::effect_claim(tenant, &steadfast_engine::undo_key(&undo.key)),
        _ => steadfast_engine::effect_claim(tenant, key),
    }
}
