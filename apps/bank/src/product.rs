use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::json;
use steadfast_core::{Coded, Failure, Money, Mutant, Principal, Role, Time, planted};
use steadfast_log::{Listing, ListingChange, StreamId, WakeUp, WakeUpChange};

use crate::{
    AccountId, Fact, ProductId, PurchaseId, ReservationId,
    answer::Reason,
    decision::{Draft, Scene},
    events::{
        ProductListed, PurchaseInitiated, Release, ReservationReleased, Reserved, Returned, Sold,
        StockReserved, encode, kind,
    },
    op::{ListProduct, ReservationAt, Reserve},
};

/// A product as its facts tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    /// What people call it.
    pub name: Arc<str>,
    /// Of one.
    pub price: Money,
    /// Who is paid.
    pub merchant: AccountId,
    /// How many can still be reserved.
    pub stock: u32,
    /// What is set aside.
    pub reservations: BTreeMap<ReservationId, Reservation>,
}

/// Stock set aside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reservation {
    /// How many.
    pub quantity: u32,
    /// For whom.
    pub buyer: Arc<str>,
    /// From then on it is given back.
    pub expires: Time,
    /// Within which purchase.
    pub purchase: Option<PurchaseId>,
}

impl Product {
    pub(crate) fn listed(listed: &ProductListed) -> Self {
        Self {
            name: listed.name.clone(),
            price: listed.price,
            merchant: listed.merchant.clone(),
            stock: listed.stock,
            reservations: BTreeMap::new(),
        }
    }

    pub(crate) fn apply(&mut self, fact: &Fact) {
        match fact {
            Fact::Reserved(reserved) => {
                self.stock = self.stock.saturating_sub(reserved.quantity);
                let reservation = Reservation {
                    quantity: reserved.quantity,
                    buyer: reserved.buyer.clone(),
                    expires: reserved.expires,
                    purchase: reserved.purchase,
                };
                self.reservations.insert(reserved.reservation, reservation);
            }
            Fact::ReservationReleased(released) => {
                if let Some(gone) = self.reservations.remove(&released.reservation) {
                    self.stock = self.stock.saturating_add(gone.quantity);
                }
            }
            Fact::Sold(sold) => {
                self.reservations.remove(&sold.reservation);
            }
            Fact::Returned(returned) => self.stock = self.stock.saturating_add(returned.quantity),
            Fact::ProductListed(_)
            | Fact::ProductRefused(_)
            | Fact::AccountOpened(_)
            | Fact::Posted(_)
            | Fact::Held(_)
            | Fact::HoldReleased(_)
            | Fact::AccountRefused(_) => {}
        }
    }
}

/// The name of the wake-up that ends a reservation.
pub(crate) const RESERVATION_PREFIX: &str = "reservation:";

fn timer(reservation: ReservationId) -> String {
    format!("{RESERVATION_PREFIX}{reservation}")
}

fn clear(stream: &StreamId, reservation: ReservationId) -> WakeUpChange {
    WakeUpChange::Clear(stream.clone(), timer(reservation).into())
}

/// Offers a product.
pub(crate) fn list(scene: &Scene<'_>, op: &ListProduct) -> Result<Draft, Failure> {
    scene.admin_only("list a product")?;
    op.price.positive().map_err(|error| error.failure())?;
    let merchant = scene.account(1, &op.merchant)?;
    if merchant.currency != op.price.currency() {
        return Err(Failure::refused(
            "money.currency_mismatch",
            format!(
                "account {} is kept in {}, the price is in {}",
                op.merchant,
                merchant.currency,
                op.price.currency()
            ),
        ));
    }
    if scene.exists(0) {
        let reason = Reason::new("product_exists", "a product of that id is already there");
        return Ok(scene.refuse(0, reason));
    }
    let mut draft = Draft::settled(op.product.as_str(), None);
    draft.listings.push(ListingChange::Put(Listing {
        stream: scene.stream(0).clone(),
        kind: op.price.currency().code().into(),
        status: "listed".into(),
        principal: None,
        labels: BTreeMap::new(),
        created: scene.now,
        updated: scene.now,
    }));
    draft.fact(
        0,
        Fact::ProductListed(ProductListed {
            name: op.name.as_str().into(),
            price: op.price,
            stock: op.stock,
            merchant: op.merchant.clone(),
        }),
    );
    Ok(draft)
}

/// Sets stock aside; the first step of a purchase, which begins with it.
pub(crate) fn reserve(scene: &Scene<'_>, op: &Reserve) -> Result<Draft, Failure> {
    let product = scene.product(0, &op.product)?;
    if op.quantity == 0 {
        return Err(Failure::refused("quantity.not_positive", "quantity must be at least 1"));
    }
    let total = product.price.times(op.quantity.into()).map_err(|error| error.failure())?;
    let expires = scene.now.after(scene.ttl(op.ttl)?);
    let buyer: Arc<str> = scene.principal.user.as_str().into();
    let reservation = ReservationId(scene.id);
    let enough = op.quantity <= product.stock || planted(Mutant::StockUnchecked);
    let mut draft = if enough {
        let mut draft = Draft::settled(reservation, Some(total));
        draft.fact(
            0,
            Fact::Reserved(Reserved {
                reservation,
                quantity: op.quantity,
                buyer: buyer.clone(),
                expires,
                purchase: scene.purchase,
            }),
        );
        draft.wake_ups.push(WakeUpChange::Set(WakeUp {
            stream: scene.stream(0).clone(),
            name: timer(reservation).into(),
            due: expires,
            owner: None,
        }));
        draft
    } else {
        let reason = Reason::new("out_of_stock", "there are not as many left as asked for")
            .with(json!({ "left": product.stock, "asked": op.quantity }));
        scene.refuse(0, reason)
    };
    if let Some(purchase) = scene.purchase {
        draft.listings.push(ListingChange::Put(Listing {
            stream: purchase.stream(&scene.principal.tenant),
            kind: op.product.to_string(),
            status: if enough { "reserved" } else { "failed" }.into(),
            principal: Some(buyer.to_string()),
            labels: BTreeMap::new(),
            created: scene.now,
            updated: scene.now,
        }));
        let initiated =
            PurchaseInitiated { buyer, product: op.product.clone(), quantity: op.quantity, total };
        scene.purchase_event(&mut draft, purchase, kind::PURCHASE_INITIATED, encode(&initiated));
        if enough {
            let body = encode(&StockReserved { expires, reservation });
            scene.purchase_event(&mut draft, purchase, kind::INVENTORY_RESERVED, body);
        }
    }
    Ok(draft)
}

fn own<'a>(
    product: &'a Product,
    principal: &Principal,
    reservation: &ReservationId,
) -> Result<&'a Reservation, Reason> {
    product
        .reservations
        .get(reservation)
        .filter(|found| *found.buyer == *principal.user || principal.role == Role::Admin)
        .ok_or_else(|| {
            Reason::new(
                "reservation_not_open",
                format!("reservation {reservation} was sold, released or expired, or never was"),
            )
        })
}

/// Gives a reservation back.
pub(crate) fn release(scene: &Scene<'_>, op: &ReservationAt) -> Result<Draft, Failure> {
    let product = scene.product(0, &op.product)?;
    Ok(match own(product, scene.principal, &op.reservation) {
        Ok(found) => freed(scene, op.reservation, found.purchase, Release::Released),
        Err(reason) => scene.refuse(0, reason),
    })
}

/// Ends a reservation that ran out; nothing if it is not there or not due.
pub(crate) fn expire(scene: &Scene<'_>, op: &ReservationAt) -> Result<Draft, Failure> {
    scene.admin_only("expire a reservation")?;
    let product = scene.product(0, &op.product)?;
    Ok(match product.reservations.get(&op.reservation) {
        Some(found) if found.expires <= scene.now => {
            freed(scene, op.reservation, found.purchase, Release::Expired)
        }
        _ => Draft::settled(op.reservation, None),
    })
}

/// Takes a reservation back, if it is still there.
pub(crate) fn undo_reserve(
    scene: &Scene<'_>,
    product: &ProductId,
    reservation: ReservationId,
) -> Result<Draft, Failure> {
    let product = scene.product(0, product)?;
    Ok(match product.reservations.get(&reservation) {
        Some(found) => freed(scene, reservation, found.purchase, Release::Released),
        None => Draft::settled(reservation, None),
    })
}

fn freed(scene: &Scene<'_>, reservation: ReservationId, purchase: Option<PurchaseId>, why: Release) -> Draft {
    let mut draft = Draft::settled(reservation, None);
    draft.wake_ups.push(clear(scene.stream(0), reservation));
    let released = ReservationReleased { reservation, why };
    if let Some(purchase) = purchase {
        scene.purchase_event(&mut draft, purchase, kind::INVENTORY_RELEASED, encode(&released));
        scene.purchase_status(&mut draft, purchase, "failed");
    }
    draft.fact(0, Fact::ReservationReleased(released));
    draft
}

/// Hands over what was reserved; the last step of a purchase.
pub(crate) fn sell(scene: &Scene<'_>, op: &ReservationAt) -> Result<Draft, Failure> {
    let product = scene.product(0, &op.product)?;
    let found = match own(product, scene.principal, &op.reservation) {
        Ok(found) => found,
        Err(reason) => return Ok(scene.refuse(0, reason)),
    };
    if found.expires <= scene.now {
        let reason = Reason::new("reservation_expired", "the reservation ran out before it was sold");
        return Ok(scene.refuse(0, reason));
    }
    let total = product.price.times(found.quantity.into()).map_err(|error| error.failure())?;
    let mut draft = Draft::settled(op.reservation, Some(total));
    draft.wake_ups.push(clear(scene.stream(0), op.reservation));
    let sold = Sold { reservation: op.reservation, quantity: found.quantity };
    if let Some(purchase) = found.purchase {
        scene.purchase_event(&mut draft, purchase, kind::PURCHASE_COMPLETED, encode(&sold));
        scene.purchase_status(&mut draft, purchase, "completed");
    }
    draft.fact(0, Fact::Sold(sold));
    Ok(draft)
}

/// Puts what a sale took back into stock.
pub(crate) fn undo_sell(
    scene: &Scene<'_>,
    product: &ProductId,
    reservation: ReservationId,
    total: Money,
) -> Result<Draft, Failure> {
    let price = scene.product(0, product)?.price;
    // A price never changes, so the total says how many were sold.
    let quantity = u32::try_from(total.minor() / price.minor().max(1)).unwrap_or(0);
    let mut draft = Draft::settled(reservation, None);
    draft.fact(0, Fact::Returned(Returned { reservation, quantity }));
    Ok(draft)
}
