//! What calls cost, and that nobody spends more than they may.
pub(crate) mod bound;
pub(crate) mod count;
pub(crate) mod ledger;
pub mod prices;
pub(crate) mod rules;
pub(crate) mod window;
