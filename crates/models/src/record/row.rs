//! What is written of a call: figures and names, never what was said.

use std::{sync::Arc, time::Duration};

use steadfast_core::{TenantId, Time};

use crate::{answer::Usage, usd::Usd};

/// All that costs are asked for by. What is not known is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(crate) struct Whose {
    pub(crate) tenant: TenantId,
    pub(crate) user: Arc<str>,
    pub(crate) key: Arc<str>,
    pub(crate) budget: Arc<str>,
    /// `name=value`, sorted, with commas between.
    pub(crate) labels: Arc<str>,
    pub(crate) route: Arc<str>,
    pub(crate) provider: Arc<str>,
    pub(crate) model: Arc<str>,
}

/// One call, as it stands.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) n: u64,
    pub(super) closed: bool,
    pub(super) begun: Time,
    pub(super) id: Arc<str>,
    pub(super) whose: Whose,
    pub(super) run: Arc<str>,
    pub(super) operation: &'static str,
    pub(super) stream: bool,
    pub(super) asked: Arc<str>,
    pub(super) attempts: u32,
    /// `provider:code`, with blanks between.
    pub(super) tried: String,
    pub(super) cache: &'static str,
    pub(super) degraded: &'static str,
    pub(super) status: u16,
    pub(super) code: String,
    pub(super) usage: Usage,
    pub(super) cost: Usd,
    pub(super) priced: bool,
    pub(super) estimated: bool,
    pub(super) queued: Duration,
    pub(super) first: Option<Duration>,
    pub(super) total: Duration,
}

/// Of some calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) calls: u64,
    pub(super) unpriced: u64,
    pub(super) input: u64,
    pub(super) cached: u64,
    pub(super) output: u64,
    pub(super) cost: Usd,
}

impl Sums {
    pub(super) fn add(&mut self, row: &Row) {
        self.calls += 1;
        self.unpriced += u64::from(!row.priced);
        self.input = self.input.saturating_add(row.usage.input);
        self.cached = self.cached.saturating_add(row.usage.cached);
        self.output = self.output.saturating_add(row.usage.output);
        self.cost = self.cost.plus(row.cost);
    }
}
