//! Canonical defaults, in one place. Configuration overrides them; the reference page
//! under `docs/` is generated from the structs that use them.

use std::time::Duration;

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Waits before the retries of agents and models, with full jitter.
pub const RETRY_WAITS: [Duration; 3] = [secs(1), secs(2), secs(4)];
/// Waits before the retries of a store.
pub const STORE_RETRY_WAITS: [Duration; 3] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400)];
/// The part of calls that may be retries, over time.
pub const RETRY_SHARE: f64 = 0.2;
/// Retries that are always at hand, so that a quiet service can retry too.
pub const RETRY_RESERVE: u32 = 10;
/// The longest `Retry-After` that is waited for; a longer one ends the call.
pub const RETRY_AFTER_MAX: Duration = secs(60);
/// How often a version conflict is decided again.
pub const CONFLICT_ATTEMPTS: u32 = 8;
/// The longest wait between two such decisions.
pub const CONFLICT_WAIT: Duration = Duration::from_millis(20);

/// Consecutive failures that open a breaker.
pub const BREAKER_FAILURES: u32 = 5;
/// The window over which the failure rate is measured.
pub const BREAKER_WINDOW: Duration = secs(300);
/// Calls in the window before the rate counts.
pub const BREAKER_MIN_CALLS: u32 = 20;
/// Failure rate that opens a breaker.
pub const BREAKER_RATE: f64 = 0.10;
/// How long a breaker stays open.
pub const BREAKER_OPEN: Duration = secs(30);
/// Successful probes that close it.
pub const BREAKER_SUCCESSES: u32 = 2;
/// The same for action groups.
pub const ACTION_GROUP_FAILURES: u32 = 3;
/// How long an action group's breaker stays open.
pub const ACTION_GROUP_OPEN: Duration = secs(60);

/// Calls in flight at once.
pub const BULKHEAD_RUNNING: u32 = 10;
/// Calls that wait for their turn.
pub const BULKHEAD_WAITING: u32 = 500;

/// Timeout of one attempt at calling an agent.
pub const AGENT_TIMEOUT: Duration = secs(30);
/// Timeout of one attempt at asking a model.
pub const MODEL_TIMEOUT: Duration = secs(45);
/// A call with all its waits and attempts, where the caller allows more.
pub const CALL_DEADLINE: Duration = secs(180);
/// Timeout of one attempt of an action.
pub const ACTION_TIMEOUT: Duration = secs(3);
/// Timeout of one attempt at the store.
pub const STORE_TIMEOUT: Duration = secs(2);

/// An answer of a model that takes longer is slow.
pub const MODEL_RESPONSE_WARNING: Duration = secs(25);
/// One that takes longer is too slow.
pub const MODEL_RESPONSE_CRITICAL: Duration = secs(30);
/// The part of calls of models that may fail, in percent.
pub const MODEL_ERRORS_WARNING_PERCENT: u64 = 5;
/// The part from which on somebody must act.
pub const MODEL_ERRORS_CRITICAL_PERCENT: u64 = 10;
/// Calls of models that may wait.
pub const MODEL_QUEUE_WARNING: usize = 50;
/// Waiting calls from which on somebody must act.
pub const MODEL_QUEUE_CRITICAL: usize = 100;
/// The part of lookups in the response cache that should hit, in percent.
pub const CACHE_HITS_WARNING_PERCENT: u64 = 30;
/// How long a model's answer is given again.
pub const CACHE_TTL: Duration = secs(24 * 3_600);
/// How many of them are kept.
pub const CACHE_ENTRIES: u32 = 10_000;

/// How long after the end of the work its idempotency key is remembered.
pub const IDEMPOTENCY_WINDOW: Duration = secs(24 * 3_600);
/// How long dead letters are kept.
pub const DEAD_LETTERS_KEPT: Duration = secs(14 * 24 * 3_600);
/// How long an access token is valid.
pub const ACCESS_TOKEN: Duration = secs(30 * 60);

/// Turns of one generation of a run.
pub const TURNS_MAX: u32 = 10_000;
/// Children of one run.
pub const CHILDREN_MAX: u32 = 10_000;
/// Children started in one turn.
pub const CHILDREN_PER_TURN: usize = 50;
/// Messages delivered in one turn.
pub const MESSAGES_PER_TURN: usize = 100;
