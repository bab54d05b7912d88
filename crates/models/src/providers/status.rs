//! What a status that is no success says, and when to come back.

use std::time::Duration;

use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use steadfast_core::World;
use steadfast_resilience::retryable_status;

use crate::failure::Class;

/// What a status that is no success means.
pub(super) fn class(status: StatusCode, _: &HeaderMap, words: &[u8]) -> Class {
    match status.as_u16() {
        // Not busy but unpaid: waiting does not help.
        429 if memchr::memmem::find(words, b"insufficient_quota").is_some() => Class::Misconfigured,
        429 => Class::Limited,
        501 => Class::Unsupported,
        status if retryable_status(status) => Class::Unwell,
        401 | 402 => Class::Misconfigured,
        403 | 404 => Class::NoModel,
        400..=499 => Class::Refused,
        _ => Class::Misconfigured,
    }
}

/// `Retry-After`, in seconds, or finer as some say it.
pub(super) fn asked_wait(headers: &HeaderMap, world: &World) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds = |value: f64| Duration::try_from_secs_f64(value).ok();
    if let Some(millis) = number("retry-after-ms") {
        return seconds(millis / 1_000.0);
    }
    if let Some(value) = number(RETRY_AFTER.as_str()) {
        return seconds(value);
    }
    let date = httpdate::parse_http_date(headers.get(RETRY_AFTER)?.to_str().ok()?).ok()?;
    let at = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    let now = Duration::from_micros(u64::try_from(world.now().micros()).ok()?);
    Some(at.saturating_sub(now))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn retry_after_is_read_in_all_its_forms() {
        let (world, _) = World::manual(1);
        let wait = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            asked_wait(&headers, &world)
        };
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after", "Thu, 01 Jan 2026 00:00:30 GMT"), Some(Duration::from_secs(30)));
        assert_eq!(wait("retry-after", "Thu, 01 Jan 2015 00:00:30 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("retry-after", "soon"), None);
        assert_eq!(wait("retry-after", "-1"), None);
    }

    #[test]
    fn a_status_says_who_is_to_blame() {
        let of = |status| class(StatusCode::from_u16(status).expect("a status"), &HeaderMap::new(), b"{}");
        for status in [500, 502, 503, 504, 529, 408] {
            assert_eq!(of(status), Class::Unwell, "{status}");
        }
        for status in [400, 413, 422] {
            assert_eq!(of(status), Class::Refused, "{status}");
        }
        for status in [301, 401, 402] {
            assert_eq!(of(status), Class::Misconfigured, "{status}");
        }
        assert_eq!([of(403), of(404)], [Class::NoModel; 2]);
        assert_eq!(of(429), Class::Limited);
        let unpaid = br#"{"error":{"code":"insufficient_quota"}}"#;
        assert_eq!(class(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), unpaid), Class::Misconfigured);
    }
}
