//! What runs do. Those in [`plain`] use everything a run can do; those in [`odd`] make the
//! mistakes that can be made; those in [`changed`] are not what they were in the code of
//! before.

mod changed;
pub(crate) mod odd;
mod plain;

use serde::{Deserialize, Serialize};
use steadfast_engine::Registry;

use crate::outside::Deed;

/// What a run is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    /// Steps, turns, children: whatever the workflow counts.
    pub(crate) size: u64,
    /// The step that is refused, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fails_at: Option<u64>,
    /// How large the inputs of its steps are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) padding: String,
}

impl Order {
    fn deed(&self, i: u64) -> Deed {
        let refused = self.fails_at == Some(i);
        Deed { what: format!("deed {i}"), refused, padding: self.padding.clone() }
    }
}

/// A workflow, and what is known of it before it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Play {
    pub(crate) name: &'static str,
    /// The codes that it may fail with by itself.
    pub(crate) fails_with: &'static [&'static str],
    /// It never ends by itself.
    pub(crate) stuck: bool,
}

const fn play(name: &'static str, fails_with: &'static [&'static str]) -> Play {
    Play { name, fails_with, stuck: false }
}

/// The signal that some wait for.
pub(crate) const GO: &str = "go";

/// Those that end as their order says.
pub(crate) const PLAIN: [Play; 12] = [
    play("saga", &["sim.refused"]),
    play("crowd", &["sim.refused"]),
    play("waiting", &["sim.nobody"]),
    play("parent", &["sim.refused", "sim.broken"]),
    play("looping", &[]),
    play("sleeper", &[]),
    play("booking", &["sim.refused", "store.unavailable", "store.unknown_outcome"]),
    play("hurried", &["sim.late"]),
    play("heavy", &["sim.refused"]),
    play(
        "refund",
        &[
            "sim.refused",
            "out_of_stock",
            "reservation_not_open",
            "reservation_expired",
            "compensated",
            "ledger.late",
            "ledger.busy",
            "ledger.stopped",
            "store.unavailable",
            "store.unknown_outcome",
        ],
    ),
    play("lucky", &["sim.broken", "sim.refused"]),
    play("regret", &["sim.refused"]),
];

/// Those that are not right.
pub(crate) const ODD: [Play; 12] = [
    Play { name: "stuck", fails_with: &[], stuck: true },
    play("panicking", &["workflow.panicked"]),
    play("twice", &["workflow.duplicate_step"]),
    play("brood", &["run.too_many_children"]),
    play("orphan", &["workflow.unknown"]),
    play("misled", &["run.invalid_input"]),
    play("misfit", &["data.shape"]),
    play("falling", &["step.panicked"]),
    play("wordy", &["step.result_too_large"]),
    play("bulky", &["run.turn_too_large"]),
    play("endless", &["run.deadline_exceeded"]),
    play(
        "guarded",
        &[
            "sim.refused",
            "resilience.late",
            "resilience.open",
            "resilience.full",
            "resilience.limited",
            "resilience.timeout",
        ],
    ),
];

/// Those that the code of before has otherwise, or not at all.
pub(crate) const CHANGED: [Play; 4] =
    [play("versioned", &[]), play("patched", &[]), play("shaped", &[]), play("renewed", &["action.unknown"])];

/// Not for everybody: see [`crate::sceptic`].
pub(crate) const LISTENING: Play = play("listening", &[]);
pub(crate) const LASTING: Play = play("lasting", &[]);

/// The one of that name.
pub(crate) fn known(name: &str) -> Option<Play> {
    PLAIN.into_iter().chain(ODD).chain(CHANGED).chain([LISTENING, LASTING]).find(|play| play.name == name)
}

pub(crate) fn register(registry: &mut Registry, old_code: bool) {
    plain::register(registry);
    odd::register(registry);
    changed::register(registry, old_code);
}
