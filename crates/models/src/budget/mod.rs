//! What calls cost, and that nobody spends more than they may.
mod bound;
pub(crate) mod ledger;
pub mod prices;
mod usd;
pub(crate) mod window;

pub use usd::Usd;
