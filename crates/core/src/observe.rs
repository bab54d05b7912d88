//! What lower crates report, and upper ones count.

use std::{sync::Arc, time::Duration};

/// Something worth counting. Names come from configuration or code, never from users.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Signal<'a> {
    /// A breaker changed its state (`closed`, `open`, `probing`).
    Breaker { name: &'a str, state: &'static str },
    /// A call is about to be tried again.
    Retry { name: &'a str, attempt: u32 },
    /// A call was turned away by a bulkhead, a rate limit or a spent budget.
    Rejected { name: &'a str, by: &'static str },
    /// A fallback answered instead of the first choice.
    Fallback { name: &'a str, level: &'static str },
    /// A run reached a state.
    Run { workflow: &'a str, status: &'static str },
    /// A step of a run ended.
    Step { action: &'a str, outcome: &'static str, took: Duration },
    /// The store synced a group of commits.
    Group { commits: usize, took: Duration },
    /// A group of commits failed as a whole.
    StoreError { code: &'static str },
}

/// Who counts. Must not block.
pub trait Observer: Send + Sync + 'static {
    /// Takes note.
    fn observe(&self, signal: Signal<'_>);
}

/// Counts nothing.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {
    fn observe(&self, _: Signal<'_>) {}
}

/// An observer that counts nothing, shared.
pub fn silent() -> Arc<dyn Observer> {
    Arc::new(Silent)
}
