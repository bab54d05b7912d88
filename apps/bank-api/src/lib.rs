//! The bank over HTTP, under `/api/v1/bank`.
//!
//! What is asked is read into this crate's own types and handed to the [`Bank`]; a refusal
//! by the rules of the bank is an outcome, and leaves as 422 with the id it was decided
//! under.
//!
//! [`Bank`]: steadfast_bank::Bank

mod accounts;
mod app;
mod contacts;
mod conversation;
mod customers;
mod imports;
mod money;
mod products;
mod purchases;
mod transfers;

pub use app::BankApp;
pub use contacts::ContactBody;
pub use imports::ImportBody;
pub use purchases::PurchaseBody;
pub use transfers::TransferBody;
