//! What the model gateway does, in figures.
//!
//! A call counts in a dozen series. They are looked up once for each route, provider and
//! status, and kept together, because calls are many and labels are text.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

/// From a millisecond to about two minutes.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 18))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    operation: &'static str,
    route: String,
    provider: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    route: String,
    provider: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    route: String,
    provider: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    provider: String,
    outcome: &'static str,
}

/// One call that is over.
pub(crate) struct Over<'a> {
    pub(crate) operation: &'static str,
    pub(crate) route: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) status: u16,
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) cost_nanos: u64,
    pub(crate) queued: Duration,
    pub(crate) first: Option<Duration>,
    pub(crate) took: Duration,
}

/// The series of one route, provider and status.
#[derive(Debug)]
struct Series {
    operation: &'static str,
    status: u16,
    calls: Counter,
    input: Counter,
    cached: Counter,
    output: Counter,
    cost: Counter,
    queued: Histogram,
    first: Histogram,
    took: Histogram,
}

type Durations = Family<Way, Histogram, fn() -> Histogram>;
type ByProvider = HashMap<String, Vec<Arc<Series>>>;

#[derive(Debug)]
pub(crate) struct ModelMetrics {
    calls: Family<Call, Counter>,
    tokens: Family<Tokens, Counter>,
    cost: Family<Way, Counter>,
    queued: Durations,
    first: Durations,
    took: Durations,
    failures: Family<Attempt, Counter>,
    series: RwLock<HashMap<String, ByProvider>>,
}

impl Default for ModelMetrics {
    fn default() -> Self {
        let of = || Family::new_with_constructor(durations as fn() -> Histogram);
        Self {
            calls: Family::default(),
            tokens: Family::default(),
            cost: Family::default(),
            queued: of(),
            first: of(),
            took: of(),
            failures: Family::default(),
            series: RwLock::default(),
        }
    }
}

impl ModelMetrics {
    pub(crate) fn register(&self, of: &mut Registry) {
        let seconds = || Unit::Seconds;
        let name = |name: &str| format!("steadfast_model_{name}");
        of.register(name("calls"), "Calls of models by how they ended", self.calls.clone());
        of.register(name("tokens"), "Tokens, in (cached among them) and out", self.tokens.clone());
        of.register(name("cost_nanodollars"), "What calls of models cost", self.cost.clone());
        let help = "How long calls of models waited for a place";
        of.register_with_unit(name("queue_duration"), help, seconds(), self.queued.clone());
        let help = "From a call's beginning to its first content, of streams";
        of.register_with_unit(name("first_content_duration"), help, seconds(), self.first.clone());
        let help = "From a call's beginning to its end";
        of.register_with_unit(name("call_duration"), help, seconds(), self.took.clone());
        let help = "Attempts at providers that failed or were not made";
        of.register(name("failed_attempts"), help, self.failures.clone());
    }
    pub(crate) fn failed(&self, provider: &str, outcome: &'static str) {
        self.failures.get_or_create(&Attempt { provider: provider.into(), outcome }).inc();
    }
    pub(crate) fn over(&self, over: &Over<'_>) {
        let series = self.series(over);
        series.calls.inc();
        series.input.inc_by(over.input);
        series.cached.inc_by(over.cached);
        series.output.inc_by(over.output);
        series.cost.inc_by(over.cost_nanos);
        series.queued.observe(over.queued.as_secs_f64());
        series.took.observe(over.took.as_secs_f64());
        if let Some(first) = over.first {
            series.first.observe(first.as_secs_f64());
        }
    }
    fn series(&self, over: &Over<'_>) -> Arc<Series> {
        let is = |it: &&Arc<Series>| it.status == over.status && it.operation == over.operation;
        let known = self.series.read().unwrap_or_else(PoisonError::into_inner);
        let of = known.get(over.route).and_then(|by| by.get(over.provider));
        if let Some(found) = of.and_then(|all| all.iter().find(is)) {
            return found.clone();
        }
        drop(known);
        let (route, provider) = (over.route.to_owned(), over.provider.to_owned());
        let way = Way { route: route.clone(), provider: provider.clone() };
        let tokens = |kind| {
            let labels = Tokens { route: route.clone(), provider: provider.clone(), kind };
            self.tokens.get_or_create(&labels).clone()
        };
        let (operation, status) = (over.operation, over.status);
        let call = Call { operation, route: route.clone(), provider: provider.clone(), status };
        let made = Arc::new(Series {
            operation,
            status,
            calls: self.calls.get_or_create(&call).clone(),
            input: tokens("input"),
            cached: tokens("cached"),
            output: tokens("output"),
            cost: self.cost.get_or_create(&way).clone(),
            queued: self.queued.get_or_create(&way).clone(),
            first: self.first.get_or_create(&way).clone(),
            took: self.took.get_or_create(&way).clone(),
        });
        let mut all = self.series.write().unwrap_or_else(PoisonError::into_inner);
        all.entry(route).or_default().entry(provider).or_default().push(made.clone());
        made
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn a_call_counts_once_in_each_of_its_series() {
        let (metrics, mut registry) = (ModelMetrics::default(), Registry::default());
        metrics.register(&mut registry);
        let call = |status, first| Over {
            operation: "chat",
            route: "smart",
            provider: "main",
            status,
            input: 10,
            cached: 4,
            output: 3,
            cost_nanos: 7,
            queued: Duration::ZERO,
            first,
            took: Duration::from_millis(20),
        };
        metrics.over(&call(200, None));
        metrics.over(&call(200, Some(Duration::from_millis(5))));
        metrics.over(&call(502, None));
        metrics.failed("main", "provider.cut");
        let mut text = String::new();
        encode(&mut text, &registry).expect("text");
        for line in [
            r#"steadfast_model_calls_total{operation="chat",route="smart",provider="main",status="200"} 2"#,
            r#"steadfast_model_calls_total{operation="chat",route="smart",provider="main",status="502"} 1"#,
            r#"steadfast_model_tokens_total{route="smart",provider="main",kind="cached"} 12"#,
            r#"steadfast_model_cost_nanodollars_total{route="smart",provider="main"} 21"#,
            r#"steadfast_model_first_content_duration_seconds_count{route="smart",provider="main"} 1"#,
            r#"steadfast_model_failed_attempts_total{provider="main",outcome="provider.cut"} 1"#,
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
