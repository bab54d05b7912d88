use std::{sync::Arc, time::Duration};

use steadfast_core::{Coded, Failure, Fault};

/// Why a call was turned away or cut off.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The caller's time was over.
    #[error("{name}: the deadline passed {}", if *.started { "during the call" } else { "before the call could start" })]
    Late {
        /// The policy.
        name: Arc<str>,
        /// Had an attempt begun? Then it may have had its effect.
        started: bool,
    },
    /// One attempt took too long.
    #[error("{name}: no answer within {after:?}")]
    Timeout {
        /// The policy.
        name: Arc<str>,
        /// The time one attempt has.
        after: Duration,
    },
    /// The breaker is open, or its one probe is under way.
    #[error("{name}: the circuit is open after too many failures; it is probed again by itself")]
    Open {
        /// The policy.
        name: Arc<str>,
        /// When a probe is let through; `None` while one is under way.
        retry_after: Option<Duration>,
    },
    /// As many calls wait as may.
    #[error("{name}: busy, and {waiting} calls wait already")]
    Full {
        /// The policy.
        name: Arc<str>,
        /// How many may wait.
        waiting: u32,
    },
    /// The rate limit is spent for longer than the call may wait.
    #[error("{name}: the rate limit is spent for another {retry_after:?}")]
    Limited {
        /// The policy.
        name: Arc<str>,
        /// When this call would have had its turn.
        retry_after: Duration,
    },
}

const LATE: &str = "resilience.late";
const OPEN: &str = "resilience.open";
const FULL: &str = "resilience.full";
const LIMITED: &str = "resilience.limited";

impl Coded for Error {
    fn code(&self) -> &'static str {
        match self {
            Self::Late { .. } => LATE,
            Self::Timeout { .. } => "resilience.timeout",
            Self::Open { .. } => OPEN,
            Self::Full { .. } => FULL,
            Self::Limited { .. } => LIMITED,
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Timeout { .. } | Self::Open { .. } | Self::Late { started: true, .. } => Fault::Upstream,
            Self::Late { started: false, .. } | Self::Full { .. } | Self::Limited { .. } => Fault::Us,
        }
    }
    fn retryable(&self) -> bool {
        true
    }
    fn nothing_happened(&self) -> bool {
        !matches!(self, Self::Timeout { .. } | Self::Late { started: true, .. })
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        match error {
            Error::Open { retry_after: Some(wait), .. } | Error::Limited { retry_after: wait, .. } => {
                with_retry_after(error.failure(), wait)
            }
            _ => error.failure(),
        }
    }
}

/// Was the call turned away by a policy? Trying again at once would only knock harder.
pub(crate) fn is_rejection(failure: &Failure) -> bool {
    [LATE, OPEN, FULL, LIMITED].contains(&&*failure.code)
}

const RETRY_AFTER: &str = "retry_after_ms";

/// `failure` with what the callee said about when to come back (`Retry-After`).
pub fn with_retry_after(mut failure: Failure, wait: Duration) -> Failure {
    let millis = u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    match &mut failure.data {
        Some(serde_json::Value::Object(data)) => {
            data.insert(RETRY_AFTER.into(), millis.into());
        }
        data => *data = Some(serde_json::json!({ RETRY_AFTER: millis })),
    }
    failure
}

/// What [`with_retry_after`] said.
pub fn retry_after(failure: &Failure) -> Option<Duration> {
    failure.data.as_ref()?.get(RETRY_AFTER)?.as_u64().map(Duration::from_millis)
}

/// May a request answered with this HTTP status be sent again unchanged? 408, 429 and 5xx
/// except 501. Timeouts and broken connections, which have no status, may too.
pub const fn retryable_status(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502..=599)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_statuses_that_may_pass_are_retryable() {
        let retryable: Vec<u16> = (100..600).filter(|status| retryable_status(*status)).collect();
        let mut expected = vec![408, 429, 500];
        expected.extend(502..600);
        assert_eq!(retryable, expected);
    }

    #[test]
    fn retry_after_is_kept_beside_other_figures_and_never_shortened() {
        let failure = Failure::upstream("busy", "busy").with_data(serde_json::json!({ "left": 1 }));
        let failure = with_retry_after(failure, Duration::from_micros(1_500));
        assert_eq!(retry_after(&failure), Some(Duration::from_millis(2)));
        assert_eq!(failure.data.expect("data")["left"], 1);
    }
}
