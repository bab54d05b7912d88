//! The bank: a double-entry ledger, holds, a marketplace and the customers' contacts.
//!
//! [`Bank`] is the door. What it is asked becomes an [`Op`], which the one decider of the
//! ledger decides on the folded states and writes as events; see `decider`.

mod account;
mod answer;
mod bank;
mod books;
mod config;
mod contacts;
mod customer;
mod decider;
mod decision;
pub mod demo;
mod directory;
pub mod events;
mod hold;
pub mod import;
pub mod names;
pub mod op;
mod product;
pub mod purchase;
mod queries;
pub mod steps;
mod timers;
mod transfer;
pub mod verify;

pub use account::{Account, Limits};
pub use answer::{Answer, Reason, Reply, Status};
pub use bank::{Bank, TransferRequest};
pub use config::BankConfig;
pub use contacts::{CONTACTS_MAX, Contact};
pub use customer::Customer;
pub use decider::{Ask, Attach, Key, Stats};
pub use events::Fact;
pub use hold::Hold;
pub use names::{AccountId, HoldId, ProductId, PurchaseId, ReservationId, TransferId};
pub use op::{Op, effect_claim};
pub use product::{Product, Reservation};
pub use queries::{AccountView, ProductView, TRANSACTIONS, TRANSACTIONS_MAX, Transaction, Transactions};
