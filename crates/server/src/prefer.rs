use std::time::Duration;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderName, HeaderValue, request::Parts},
};

use crate::{Edge, Problem};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long the caller would wait for the outcome (RFC 7240), never longer than the
/// server allows. What does not read is ignored, as the RFC wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefer {
    /// `wait=N`, in whole seconds.
    pub wait: Option<Duration>,
}

impl<S> FromRequestParts<S> for Prefer
where
    Edge: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let wait =
            parts.headers.get_all(PREFER).iter().filter_map(|value| value.to_str().ok()).find_map(wait);
        Ok(Self { wait: wait.map(|wait| wait.min(Edge::from_ref(state).config().wait_max.get())) })
    }
}

fn wait(text: &str) -> Option<Duration> {
    text.split(',')
        .filter_map(|preference| preference.split(';').next()?.split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, seconds)| seconds.trim().parse().ok())
        .map(Duration::from_secs)
}

/// Says that the preference was heeded, and how far.
pub fn applied(wait: Duration) -> [(HeaderName, HeaderValue); 1] {
    let value = HeaderValue::from_str(&format!("wait={}", wait.as_secs()));
    [(PREFERENCE_APPLIED, value.unwrap_or_else(|_| HeaderValue::from_static("wait")))]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_found_among_other_preferences_and_nonsense_is_ignored() {
        let seconds = |text| wait(text).map(|wait| wait.as_secs());
        assert_eq!(seconds("wait=10"), Some(10));
        assert_eq!(seconds("respond-async, WAIT = 5 ; x=1"), Some(5));
        for ignored in ["", "wait", "wait=", "wait=-1", "wait=soon", "waiting=3"] {
            assert_eq!(seconds(ignored), None, "{ignored}");
        }
    }
}
