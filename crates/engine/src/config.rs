use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{config::Period, defaults};

/// `[engine]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// Runs that are advanced at the same time; more wait in order of priority. A larger
    /// value costs memory for each run that is going on.
    pub max_active_runs: usize,
    /// Runs that are taken up at the same time after a start, oldest due first.
    pub recovery_pace: usize,
    /// Open runs of one tenant; further ones are refused with `tenant.too_many_runs`.
    pub open_runs_per_tenant: u64,
    /// How long a waiting run stays in memory before it is read again from the log.
    pub keep_warm: Period,
    /// How often the store is asked for wake-ups that another node left behind.
    pub poll: Period,
    /// How long a node's runs stay its own after its last sign of life.
    pub node_lease: Period,
    /// A run that goes on as its next generation is kept in short once so many events came,
    /// or as many as it was sent messages in the last day, if that is more. These are what
    /// taking it up reads beside its present generation. A smaller value costs a write more
    /// often.
    pub snapshot_after: u64,
    /// Inputs and results above this many bytes (at most 64 KiB) are stored beside the log, once.
    pub inline_bytes: usize,
    /// How long dead letters are kept.
    pub dead_letters_kept: Period,
    /// How long an idempotency key is remembered after the end of the work.
    pub idempotency_window: Period,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_active_runs: 1_000,
            recovery_pace: 64,
            open_runs_per_tenant: 1_000_000,
            keep_warm: Duration::from_secs(1).into(),
            poll: Duration::from_secs(1).into(),
            node_lease: Duration::from_secs(10).into(),
            snapshot_after: 100,
            inline_bytes: 16 * 1024,
            dead_letters_kept: defaults::DEAD_LETTERS_KEPT.into(),
            idempotency_window: defaults::IDEMPOTENCY_WINDOW.into(),
        }
    }
}
