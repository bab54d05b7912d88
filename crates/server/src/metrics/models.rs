//! Calls of models. Names and labels are those of OpenTelemetry's conventions for generative
//! AI, where these have one. The model is no label: clients name models.

use std::{sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};
use steadfast_core::observe::Signal;

/// From a millisecond to about two minutes.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 18))
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: String,
    steadfast_route: String,
    http_response_status_code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Way {
    gen_ai_operation_name: &'static str,
    gen_ai_provider_name: String,
    steadfast_route: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Tokens {
    gen_ai_provider_name: String,
    steadfast_route: String,
    gen_ai_token_type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    gen_ai_provider_name: String,
    error_type: &'static str,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Models {
    calls: Family<Call, Histogram, fn() -> Histogram>,
    first: Family<Way, Histogram, fn() -> Histogram>,
    tokens: Family<Tokens, Counter<u64, AtomicU64>>,
    cost: Family<Way, Counter<f64, AtomicU64>>,
    queued: Histogram,
    failed: Family<Attempt, Counter>,
}

impl Default for Models {
    fn default() -> Self {
        Self {
            calls: Family::new_with_constructor(durations as fn() -> Histogram),
            first: Family::new_with_constructor(durations as fn() -> Histogram),
            tokens: Family::default(),
            cost: Family::default(),
            queued: durations(),
            failed: Family::default(),
        }
    }
}

impl Models {
    pub(super) fn register(&self, of: &mut Registry) {
        let seconds = || Unit::Seconds;
        let help = "From a call of a model to the end of its answer";
        of.register_with_unit("gen_ai_server_request_duration", help, seconds(), self.calls.clone());
        let help = "From a call of a model to its first content";
        of.register_with_unit("gen_ai_server_time_to_first_token", help, seconds(), self.first.clone());
        let help = "Tokens of models: input, cached (a part of input), output";
        of.register("gen_ai_client_token_usage", help, self.tokens.clone());
        let help = "What calls of models cost, in dollars";
        of.register("steadfast_models_cost_usd", help, self.cost.clone());
        let help = "How long calls of models waited for a place";
        of.register_with_unit("steadfast_models_queue_duration", help, seconds(), self.queued.clone());
        let help = "Attempts at providers of models that failed or were not made";
        of.register("steadfast_models_failed_attempts", help, self.failed.clone());
    }

    pub(super) fn observe(&self, signal: Signal<'_>) {
        match signal {
            Signal::ModelCall { operation, route, provider, status, first, took, queued, .. } => {
                let way = Way {
                    gen_ai_operation_name: operation,
                    gen_ai_provider_name: provider.into(),
                    steadfast_route: route.into(),
                };
                if let Some(first) = first {
                    self.first.get_or_create(&way).observe(first.as_secs_f64());
                }
                if queued > Duration::ZERO {
                    self.queued.observe(queued.as_secs_f64());
                }
                self.used(&way, signal);
                let call = Call {
                    gen_ai_operation_name: operation,
                    gen_ai_provider_name: way.gen_ai_provider_name,
                    steadfast_route: way.steadfast_route,
                    http_response_status_code: status,
                };
                self.calls.get_or_create(&call).observe(took.as_secs_f64());
            }
            Signal::ModelAttempt { provider, outcome } => {
                let attempt = Attempt { gen_ai_provider_name: provider.into(), error_type: outcome };
                self.failed.get_or_create(&attempt).inc();
            }
            _ => {}
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "a figure for graphs; the books count in whole nanos")]
    fn used(&self, way: &Way, signal: Signal<'_>) {
        let Signal::ModelCall { input, cached, output, cost_nanos, .. } = signal else { return };
        for (kind, count) in [("input", input), ("cached", cached), ("output", output)] {
            if count > 0 {
                let tokens = Tokens {
                    gen_ai_provider_name: way.gen_ai_provider_name.clone(),
                    steadfast_route: way.steadfast_route.clone(),
                    gen_ai_token_type: kind,
                };
                self.tokens.get_or_create(&tokens).inc_by(count);
            }
        }
        if cost_nanos > 0 {
            self.cost.get_or_create(way).inc_by(cost_nanos as f64 / 1e9);
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;

    use super::*;

    #[test]
    fn calls_and_failed_attempts_are_counted_under_opentelemetrys_names() {
        let models = Models::default();
        let mut registry = Registry::default();
        models.register(&mut registry);
        models.observe(Signal::ModelCall {
            operation: "chat",
            route: "smart",
            provider: "openai",
            status: 200,
            input: 12,
            cached: 0,
            output: 3,
            cost_nanos: 2_500_000,
            queued: Duration::ZERO,
            first: Some(Duration::from_millis(30)),
            took: Duration::from_millis(50),
        });
        models.observe(Signal::ModelAttempt { provider: "backup", outcome: "provider.cut" });
        let mut text = String::new();
        encode(&mut text, &registry).expect("written");
        let way = r#"gen_ai_operation_name="chat",gen_ai_provider_name="openai",steadfast_route="smart""#;
        for line in [
            format!(r#"gen_ai_server_request_duration_seconds_count{{{way},http_response_status_code="200"}} 1"#),
            format!("gen_ai_server_time_to_first_token_seconds_count{{{way}}} 1"),
            format!("steadfast_models_cost_usd_total{{{way}}} 0.0025"),
            r#"gen_ai_client_token_usage_total{gen_ai_provider_name="openai",steadfast_route="smart",gen_ai_token_type="input"} 12"#.into(),
            r#"steadfast_models_failed_attempts_total{gen_ai_provider_name="backup",error_type="provider.cut"} 1"#.into(),
        ] {
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
