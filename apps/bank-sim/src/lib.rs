//! Engine and bank under simulation: workflows that use everything a run can do, customers
//! who pay and buy, over a network that loses, repeats and delays; and the promises that all
//! of it is held against in [`check`], which knows them from the documents and not from the
//! code.

mod check;
mod clients;
#[cfg(feature = "mutants")]
pub mod mutants;
mod node;
mod outside;
mod record;
mod scenario;
mod sceptic;
mod workflows;

pub use scenario::Banking;
