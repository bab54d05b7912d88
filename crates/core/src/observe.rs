//! What lower crates report, and upper ones count.

use std::{sync::Arc, time::Duration};

/// Something worth counting. Names come from configuration or code, never from users.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Signal<'a> {
    /// A breaker changed its state.
    Breaker {
        /// The policy it belongs to.
        name: &'a str,
        /// `closed`, `open` or `probing`.
        state: &'static str,
    },
    /// A call is about to be tried again.
    Retry {
        /// The policy that retries.
        name: &'a str,
        /// The attempt that is about to start; the first retry is 2.
        attempt: u32,
    },
    /// A call was turned away.
    Rejected {
        /// The policy that did.
        name: &'a str,
        /// The code of the rejection, such as `resilience.full`.
        by: &'static str,
    },
    /// A fallback answered instead of the first choice.
    Fallback {
        /// The chain.
        name: &'a str,
        /// `secondary`, `safe_mode` or `escalated`.
        level: &'static str,
    },
    /// A run reached a state.
    Run {
        /// Which workflow it runs.
        workflow: &'a str,
        /// The state.
        status: &'static str,
    },
    /// A step of a run ended.
    Step {
        /// The registered action.
        action: &'a str,
        /// How it ended.
        outcome: &'static str,
        /// From the start of the attempt to its end.
        took: Duration,
    },
    /// The store synced a group of commits.
    Group {
        /// How many commits shared the sync.
        commits: usize,
        /// From the group's first write to the end of the sync.
        took: Duration,
    },
    /// A group of commits failed as a whole.
    StoreError {
        /// The error's code.
        code: &'static str,
    },
    /// A call of a model is over.
    ModelCall {
        /// `chat`, `messages` and so on.
        operation: &'static str,
        /// The route; empty if there was none.
        route: &'a str,
        /// Who was asked last; empty if nobody was.
        provider: &'a str,
        /// How it ended, as an HTTP status.
        status: u16,
        /// Tokens in.
        input: u64,
        /// Of these, from the provider's cache.
        cached: u64,
        /// Tokens out.
        output: u64,
        /// What it cost, in nano-dollars.
        cost_nanos: u64,
        /// How long it waited for a place.
        queued: Duration,
        /// When its first content came, from its beginning.
        first: Option<Duration>,
        /// How long it took.
        took: Duration,
    },
    /// An attempt at a provider of models failed, or was not made.
    ModelAttempt {
        /// Who.
        provider: &'a str,
        /// The code of its failure.
        outcome: &'static str,
    },
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
