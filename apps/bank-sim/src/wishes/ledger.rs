use std::time::Duration;

use steadfast_bank::{
    AccountId, HoldId, Limits, Op, ProductId, ReservationId,
    op::{Capture, HoldAt, ListProduct, OpenAccount, PlaceHold, ReservationAt, Reserve, Transfer},
};
use steadfast_core::{Currency, Money, Principal, Role, TenantId};

use super::{Chooser, What, Wish, money::PRODUCTS};
use crate::calls::Demand;

/// How long money and goods are set aside.
const BRIEFLY: Option<Duration> = Some(Duration::from_secs(20));
/// Refusals before acceptance, by the ledger itself.
const REFUSALS: u64 = 6;

impl Chooser<'_> {
    fn ask(&self, user: &str, role: Role, op: Op, what: What) -> Wish {
        let principal = Principal { tenant: TenantId::default(), user: user.into(), role };
        Wish { key: self.key.clone(), demand: Demand::Ledger(Box::new((principal, op))), what }
    }

    /// What no route leads to: holds and stock by hand.
    pub(crate) fn operation(&self) -> Wish {
        let (from, to) = self.two();
        let amount = mxn(1 + self.below(20_000));
        match self.below(12) {
            0..4 => {
                let op = PlaceHold { from: account(from), to: account(to), amount, ttl: BRIEFLY };
                self.ask(from, Role::User, Op::Hold(op), What::Ledger)
            }
            4..7 => self.of_hold(from, to, amount),
            7 | 8 => {
                let op = Reserve { product: self.product(), quantity: 1, ttl: BRIEFLY };
                self.ask(from, Role::User, Op::Reserve(op), What::Ledger)
            }
            9 | 10 => self.of_reservation(from),
            _ => self.refused(from, to),
        }
    }

    fn product(&self) -> ProductId {
        let product = self.one(&PRODUCTS[1..]).copied().unwrap_or(PRODUCTS[1]);
        product.parse().unwrap_or_else(|_| unreachable!("a good name"))
    }

    /// Captures a hold, or gives it back. It may be gone, or somebody else's.
    fn of_hold(&self, from: &'static str, to: &'static str, amount: Money) -> Wish {
        let hold = self.late_one(&self.notes.holds()).copied();
        let (from, payee, hold) = hold.unwrap_or((from, to, HoldId(uuid::Uuid::nil())));
        // Now and then for somebody whom it is not for.
        let to = if self.once_in(4) && to != from { to } else { payee };
        if self.once_in(3) {
            let op = Op::ReleaseHold(HoldAt { account: account(from), hold });
            return self.ask(from, Role::User, op, What::Ledger);
        }
        let amount = self.once_in(2).then_some(amount);
        let op = Op::Capture(Capture { from: account(from), to: account(to), hold, amount });
        self.ask(from, Role::User, op, What::Ledger)
    }

    fn of_reservation(&self, user: &'static str) -> Wish {
        let known = self.late_one(&self.notes.reservations()).cloned();
        let none = || (user, self.product(), ReservationId(uuid::Uuid::nil()));
        let (user, product, reservation) = known.unwrap_or_else(none);
        let at = ReservationAt { product, reservation };
        let op = if self.once_in(2) { Op::Sell(at) } else { Op::ReleaseStock(at) };
        self.ask(user, Role::User, op, What::Ledger)
    }

    /// What the ledger does not take in, or refuses.
    fn refused(&self, from: &'static str, to: &'static str) -> Wish {
        let (product, amount) = (self.product(), mxn(1));
        let (role, op, codes) = match self.below(REFUSALS) {
            0 => (Role::User, opening("nobody"), vec!["forbidden"]),
            1 => (Role::Admin, opening(from), vec!["account_exists"]),
            2 => {
                let ttl = Some(Duration::from_secs(365 * 24 * 3_600));
                let op = PlaceHold { from: account(from), to: account(to), amount, ttl };
                (Role::User, Op::Hold(op), vec!["ttl.out_of_range"])
            }
            3 => {
                let op = Op::Reserve(Reserve { product, quantity: 0, ttl: None });
                (Role::User, op, vec!["quantity.not_positive"])
            }
            4 => {
                let op = ListProduct {
                    product,
                    name: "again".into(),
                    price: amount,
                    stock: 1,
                    merchant: account(to),
                };
                (Role::Admin, Op::ListProduct(op), vec!["product_exists"])
            }
            _ => {
                let (from, to) = (account("marta"), account("luis"));
                let op =
                    Transfer { from, to, amount: mxn(2_000_001), memo: None, imported: false, booked: None };
                return self.ask(
                    "marta",
                    Role::User,
                    Op::Transfer(op),
                    What::Mistake(vec!["over_transfer_limit"]),
                );
            }
        };
        self.ask(from, role, op, What::Mistake(codes))
    }
}

fn opening(owner: &str) -> Op {
    Op::OpenAccount(OpenAccount {
        account: account(owner),
        owner: owner.into(),
        name: "checking".into(),
        opening: mxn(1),
        floor: 0,
        limits: Limits::default(),
    })
}

pub(crate) fn mxn(minor: u64) -> Money {
    let minor = i64::try_from(minor).unwrap_or(1);
    Money::new(minor, Currency::MXN).unwrap_or_else(|_| unreachable!("a small amount"))
}

pub(crate) fn account(user: &str) -> AccountId {
    AccountId::of(user, "checking").unwrap_or_else(|_| unreachable!("a good name"))
}
