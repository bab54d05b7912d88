use std::{num::NonZeroUsize, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    config::{Period, positive},
    defaults,
};

/// The bank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BankConfig {
    /// Requests that may wait for the decider; further ones are told that it is busy.
    pub queue: NonZeroUsize,
    /// Commits under way at once. More hide a slow store, fewer make fuller commits.
    pub commits_in_flight: NonZeroUsize,
    /// Accounts and products kept in memory, at least 1024.
    pub cached: usize,
    /// Events between two snapshots of one account.
    pub snapshot_every: u64,
    /// The most that one transfer or hold may move, in minor units, where the account
    /// itself says nothing. No limit when left out.
    pub per_transfer_max: Option<i64>,
    /// The most that an account may pay in one day (UTC), open holds included, in minor
    /// units, where the account itself says nothing. No limit when left out.
    pub per_day_max: Option<i64>,
    /// How long a hold or a reservation lasts when the request does not say.
    #[serde(deserialize_with = "positive")]
    pub hold_ttl: Period,
    /// The longest that a request may ask for.
    #[serde(deserialize_with = "positive")]
    pub hold_ttl_max: Period,
    /// How often to look for holds and reservations that ran out.
    #[serde(deserialize_with = "positive")]
    pub timers_every: Period,
    /// How long a caller waits for the decider before it is told to ask again.
    #[serde(deserialize_with = "positive")]
    pub answer_within: Period,
    /// How long after the answer an idempotency key is remembered.
    #[serde(deserialize_with = "positive")]
    pub idempotency_window: Period,
    /// How long the decider's lease outlives its last renewal.
    #[serde(deserialize_with = "positive")]
    pub lease: Period,
    /// How long a decider goes on when another one waits for the lease.
    #[serde(deserialize_with = "positive")]
    pub quantum: Period,
}

impl Default for BankConfig {
    fn default() -> Self {
        let count = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self {
            queue: count(4_096),
            commits_in_flight: count(16),
            cached: 50_000,
            snapshot_every: 500,
            per_transfer_max: None,
            per_day_max: None,
            hold_ttl: Duration::from_secs(15 * 60).into(),
            hold_ttl_max: Duration::from_secs(7 * 24 * 3_600).into(),
            timers_every: Duration::from_secs(1).into(),
            answer_within: Duration::from_secs(10).into(),
            idempotency_window: defaults::IDEMPOTENCY_WINDOW.into(),
            lease: Duration::from_millis(100).into(),
            quantum: Duration::from_millis(15).into(),
        }
    }
}
