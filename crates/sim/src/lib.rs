//! The kernel of the simulator: whole nodes on simulated time, network and store, from one
//! seed.
//!
//! A [`Scenario`] says what runs on the nodes and what must be true of it. Each node is a
//! [`machine`] with a scheduler of its own, which works in rounds, in an order that chance
//! decides, and so can end between any two of them. Time passes only when everybody waits.
//! What a node says to the store goes over a [`wire`] on which commits are refused, lost, or
//! happen without an answer; the [`store`] is the one that ships, on a disk that loses power.
//! After a storm of faults comes calm, and then the scenario judges.

mod machine;
mod plan;
mod scenario;
mod simulate;
mod store;
mod tail;
mod timeline;
mod wire;

pub use plan::{Fate, Fault, Plan};
pub use scenario::{End, Scenario, Site, Stop, Traffic, Verdict};
pub use simulate::{Outcome, simulate};
pub use store::events;
