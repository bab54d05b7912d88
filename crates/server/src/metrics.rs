//! Every metric and its unit. Names of HTTP follow OpenTelemetry's conventions.
//!
//! A label's values come from code or configuration, never from a request: methods from a
//! closed set, routes as templates. Tenants are the one exception, and have a budget.

mod models;

use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use steadfast_core::{
    TenantId,
    observe::{Observer, Signal},
};

/// Tenants with a series of their own; the rest share `_other`.
const TENANTS_MAX: usize = 100;

/// From half a millisecond to about 16 seconds.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.000_5, 2.0, 16))
}

macro_rules! labels {
    ($($name:ident { $($label:ident),+ })+) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        struct $name { $($label: String),+ }
    )+};
}
labels! {
    Run { workflow, status }
    StepEnd { action, outcome }
    Action { action }
    Code { code }
    Policy { policy }
    Rejection { policy, by }
    Level { policy, level }
    Change { breaker, state }
    Tenant { tenant }
    Frame { direction, kind }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
#[expect(clippy::struct_field_names, reason = "the labels' names are OpenTelemetry's")]
struct Http {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Closed {
    code: u16,
    by: &'static str,
}

/// Counts what the node does; `/metrics` shows it. Given to engine, store and policies as
/// their [`Observer`].
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    runs: Family<Run, Counter>,
    runs_active: Gauge<i64, AtomicI64>,
    steps: Family<StepEnd, Counter>,
    step_duration: Family<Action, Histogram, fn() -> Histogram>,
    groups: Histogram,
    group_duration: Histogram,
    commits: Counter,
    store_errors: Family<Code, Counter>,
    retries: Family<Policy, Counter>,
    rejections: Family<Rejection, Counter>,
    fallbacks: Family<Level, Counter>,
    breaker_changes: Family<Change, Counter>,
    breaker_open: Family<Policy, Gauge<i64, AtomicI64>>,
    requests: Family<Http, Histogram, fn() -> Histogram>,
    tenant_requests: Family<Tenant, Counter<u64, AtomicU64>>,
    tenants: Mutex<BTreeSet<TenantId>>,
    connections: Gauge<i64, AtomicI64>,
    frames: Family<Frame, Counter>,
    closed: Family<Closed, Counter>,
    models: models::Models,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let mut made = Self {
            registry: Registry::default(),
            runs: Family::default(),
            runs_active: Gauge::default(),
            steps: Family::default(),
            step_duration: Family::new_with_constructor(durations as fn() -> Histogram),
            groups: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            group_duration: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            commits: Counter::default(),
            store_errors: Family::default(),
            retries: Family::default(),
            rejections: Family::default(),
            fallbacks: Family::default(),
            breaker_changes: Family::default(),
            breaker_open: Family::default(),
            requests: Family::new_with_constructor(durations as fn() -> Histogram),
            tenant_requests: Family::default(),
            tenants: Mutex::default(),
            connections: Gauge::default(),
            frames: Family::default(),
            closed: Family::default(),
            models: models::Models::default(),
        };
        made.register();
        made
    }

    fn register(&mut self) {
        let of = &mut self.registry;
        let seconds = || Unit::Seconds;
        let name = |name: &str| format!("steadfast_{name}");
        of.register(name("runs"), "Runs by the state they reached", self.runs.clone());
        of.register(name("runs_active"), "Runs in memory", self.runs_active.clone());
        of.register(name("steps"), "Steps by how they ended", self.steps.clone());
        let help = "From the start of a step's attempt to its end";
        of.register_with_unit(name("step_duration"), help, seconds(), self.step_duration.clone());
        let help = "Commits that shared a sync";
        of.register(name("store_group_commits"), help, self.groups.clone());
        let help = "From a group's first write to the end of its sync";
        of.register_with_unit(name("store_group_duration"), help, seconds(), self.group_duration.clone());
        of.register(name("store_commits"), "Commits made durable", self.commits.clone());
        let help = "Groups of commits that failed as a whole";
        of.register(name("store_errors"), help, self.store_errors.clone());
        of.register(name("retries"), "Calls tried again", self.retries.clone());
        of.register(name("rejections"), "Calls turned away", self.rejections.clone());
        of.register(name("fallbacks"), "Answers of a fallback", self.fallbacks.clone());
        let help = "Changes of state of breakers";
        of.register(name("breaker_changes"), help, self.breaker_changes.clone());
        of.register(name("breaker_open"), "1 while a breaker is not closed", self.breaker_open.clone());
        let help = "Requests with an access token, by tenant";
        of.register(name("tenant_requests"), help, self.tenant_requests.clone());
        of.register(name("ws_connections"), "Open WebSocket connections", self.connections.clone());
        of.register(name("ws_frames"), "Frames of WebSocket connections", self.frames.clone());
        let help = "WebSocket connections that ended, by close code";
        of.register(name("ws_closed"), help, self.closed.clone());
        let help = "From a request's head to its answer";
        of.register_with_unit("http_server_request_duration", help, seconds(), self.requests.clone());
        self.models.register(of);
    }

    /// One answered request. `route` is the template.
    pub(crate) fn request(&self, method: &'static str, route: &str, status: u16, took: Duration) {
        let labels =
            Http { http_request_method: method, http_route: route.into(), http_response_status_code: status };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// One authenticated request.
    pub(crate) fn tenant(&self, tenant: &TenantId) {
        let mut known = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        let named = known.contains(tenant) || known.len() < TENANTS_MAX && known.insert(tenant.clone());
        drop(known);
        let tenant = if named { tenant.as_str() } else { "_other" };
        let labels = Tenant { tenant: tenant.into() };
        self.tenant_requests.get_or_create(&labels).inc();
    }

    /// One more open connection, until what is returned is dropped.
    pub(crate) fn connection(&self) -> Open {
        self.connections.inc();
        Open(self.connections.clone())
    }

    /// One frame of a connection, `in` or `out`. A kind is a word of the code.
    pub(crate) fn frame(&self, direction: &str, kind: &str) {
        let labels = Frame { direction: direction.into(), kind: kind.into() };
        self.frames.get_or_create(&labels).inc();
    }

    /// One connection that ended, and who ended it.
    pub(crate) fn closed(&self, code: u16, by: &'static str) {
        self.closed.get_or_create(&Closed { code, by }).inc();
    }

    /// Everything, as OpenMetrics text.
    pub(crate) fn text(&self, runs_active: usize) -> String {
        self.runs_active.set(i64::try_from(runs_active).unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A connection that is counted as open.
#[derive(Debug)]
pub(crate) struct Open(Gauge<i64, AtomicI64>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Observer for Metrics {
    #[expect(clippy::cast_precision_loss, reason = "a group has at most some thousand commits")]
    fn observe(&self, signal: Signal<'_>) {
        match signal {
            Signal::Run { workflow, status } => {
                let (workflow, status) = (workflow.into(), status.into());
                self.runs.get_or_create(&Run { workflow, status }).inc();
            }
            Signal::Step { action, outcome, took } => {
                let (action, outcome): (String, _) = (action.into(), outcome.into());
                let of = Action { action: action.clone() };
                self.step_duration.get_or_create(&of).observe(took.as_secs_f64());
                self.steps.get_or_create(&StepEnd { action, outcome }).inc();
            }
            Signal::Group { commits, took } => {
                self.groups.observe(commits as f64);
                self.group_duration.observe(took.as_secs_f64());
                self.commits.inc_by(commits as u64);
            }
            Signal::StoreError { code } => {
                let code = code.into();
                self.store_errors.get_or_create(&Code { code }).inc();
            }
            Signal::Retry { name, .. } => {
                let policy = name.into();
                self.retries.get_or_create(&Policy { policy }).inc();
            }
            Signal::Rejected { name, by } => {
                let (policy, by) = (name.into(), by.into());
                self.rejections.get_or_create(&Rejection { policy, by }).inc();
            }
            Signal::Fallback { name, level } => {
                let (policy, level) = (name.into(), level.into());
                self.fallbacks.get_or_create(&Level { policy, level }).inc();
            }
            Signal::Breaker { name, state } => {
                let (policy, breaker) = (name.into(), name.into());
                let open = i64::from(state != "closed");
                self.breaker_open.get_or_create(&Policy { policy }).set(open);
                let state = state.into();
                self.breaker_changes.get_or_create(&Change { breaker, state }).inc();
            }
            call => self.models.observe(call),
        }
    }
}
