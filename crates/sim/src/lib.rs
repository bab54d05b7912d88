//! Whole nodes on simulated time, network and store, from one seed.
//!
//! Engine and bank are the real ones. Each node is a [`machine`] with a scheduler of its own,
//! polled task by task in an order that chance decides, and so can end between any two polls.
//! Time passes only when everybody waits. What a node says to the store goes over a [`wire`]
//! on which commits are refused, lost, or happen without an answer; clients ask over a network
//! that loses, repeats and delays. After a storm of faults comes calm, and then the whole
//! story is held against the promises in [`check`], which knows them from the documents and
//! not from the code.

mod check;
mod clients;
mod machine;
mod node;
mod outside;
mod plan;
mod simulate;
mod timeline;
mod wire;
mod workflows;

pub use plan::{Fault, Plan};
pub use simulate::{Outcome, simulate};
