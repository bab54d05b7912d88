use std::time::Duration;

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};

use crate::{Edge, Problem};

const PREFER: HeaderName = HeaderName::from_static("prefer");
const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// How long the caller would wait for the outcome (RFC 7240), never longer than the
/// server allows. Other preferences are passed over, as the RFC wants; a `wait` that does
/// not read is refused, as its caller counts on it.
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
        Self::read(&parts.headers, Edge::from_ref(state).config().wait_max.get())
    }
}

impl Prefer {
    /// What the headers say, where nobody waits for longer than `most`.
    pub fn read(headers: &HeaderMap, most: Duration) -> Result<Self, Problem> {
        let values = headers.get_all(PREFER).iter();
        let mut waits = values.filter_map(|value| wait(&String::from_utf8_lossy(value.as_bytes())));
        // The first one counts, as for every preference.
        let wait = waits.next().transpose()?;
        Ok(Self { wait: wait.map(|wait| wait.min(most)) })
    }
}

/// The first `wait` of a header's preferences.
fn wait(text: &str) -> Option<Result<Duration, Problem>> {
    text.split(',')
        .map(|preference| preference.split(';').next().unwrap_or_default())
        .map(|preference| preference.split_once('=').unwrap_or((preference, "")))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .map(|(_, value)| seconds(value.trim()))
}

fn seconds(text: &str) -> Result<Duration, Problem> {
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let digits = quoted.unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let shown: String = text.chars().take(64).collect();
        let message = format!("Prefer: wait = {shown:?}: expected whole seconds, such as `Prefer: wait=10`");
        return Err(Problem::bad_request("request.invalid_prefer", message).with_field("Prefer"));
    }
    // More than fits is more than is allowed.
    Ok(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
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
    fn a_wait_is_found_among_other_preferences_and_a_malformed_one_is_refused() {
        let seconds =
            |text| wait(text).map(|wait| wait.map(|it| it.as_secs()).map_err(|it| it.code().to_owned()));
        assert_eq!(seconds("wait=10"), Some(Ok(10)));
        assert_eq!(seconds("wait=\"10\""), Some(Ok(10)));
        assert_eq!(seconds("respond-async, WAIT = 5 ; x=1"), Some(Ok(5)));
        assert_eq!(seconds("wait=99999999999999999999999"), Some(Ok(u64::MAX)));
        for other in ["", "waiting=3", "respond-async", "handling=lenient"] {
            assert_eq!(seconds(other), None, "{other}");
        }
        for wrong in ["wait", "wait=", "wait=-1", "wait=soon", "wait=1.5", "wait=+1", "a=b, wait=10s"] {
            assert_eq!(seconds(wrong), Some(Err("request.invalid_prefer".into())), "{wrong}");
        }
    }
}
