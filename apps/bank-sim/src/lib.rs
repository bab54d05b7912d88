//! A node wholly under simulation, but for its socket and its file: HTTP, engine, bank and
//! assistant; workflows that use everything a run can do and make every mistake one can make;
//! customers who pay, buy and talk, over a network that loses, repeats and delays. The
//! promises that all of it is held against are in [`check`], which knows them from the
//! documents and not from the code; what must occur for a run of many seeds to be worth
//! something is listed in [`coverage`].

mod calls;
mod check;
mod clients;
pub mod coverage;
#[cfg(feature = "mutants")]
pub mod mutants;
mod node;
mod outside;
mod reader;
mod scenario;
mod sceptic;
mod staff;
mod subscribers;
mod talks;
mod tally;
mod wishes;
mod workflows;

pub use scenario::Banking;

/// What panics of the simulation's own begin with.
pub(crate) const ON_PURPOSE: &str = "on purpose";

/// Panics that are part of the play are not shown.
pub fn hush() {
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload_as_str().unwrap_or_default();
        if !text.starts_with(ON_PURPOSE) {
            shown(panic);
        }
    }));
}
