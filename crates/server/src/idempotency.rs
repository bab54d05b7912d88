use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, request::Parts},
};
use steadfast_core::{Failure, Principal};
use steadfast_log::ClaimKey;

use crate::Problem;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const KEY_MAX: usize = 255;

/// The header of an answer that was given before.
pub const REPLAYED: (HeaderName, HeaderValue) =
    (HeaderName::from_static("idempotency-replayed"), HeaderValue::from_static("true"));

/// What the caller calls this request, so that sending it twice does it once.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

/// The key of a request that may not go without: where money moves.
#[derive(Debug, Clone)]
pub struct RequiredKey(pub Key);

/// The key of a request that may have one.
#[derive(Debug, Clone)]
pub struct OptionalKey(pub Option<Key>);

impl Key {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The one among these headers, if there is one.
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let refuse = |message: &str| {
            let failure = Failure::refused("request.invalid_idempotency_key", message);
            Err(Problem::new(failure).with_field("Idempotency-Key"))
        };
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(_), Some(_)) => refuse("Idempotency-Key: given more than once"),
            (Some(value), None) => match value.to_str() {
                Ok(text)
                    if (1..=KEY_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()) =>
                {
                    Ok(Some(Self(text.into())))
                }
                _ => refuse("Idempotency-Key: expected 1 to 255 visible ASCII characters, such as a UUID"),
            },
        }
    }
    /// What its record is found by: the same text from someone else, or for something
    /// else, is another key.
    pub fn claim(&self, principal: &Principal, operation: &str) -> ClaimKey {
        ClaimKey::new(&principal.tenant, &principal.user, operation, &self.0)
    }
}

/// Masked: it is the caller's text.
impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[idempotency key]")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for OptionalKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Key::read(&parts.headers).map(Self)
    }
}

/// Where money moves, a request says what it is called.
pub(crate) fn key_required() -> Problem {
    Problem::new(Failure::refused(
        "idempotency_key_required",
        "send an Idempotency-Key header, such as a UUID: the same key again gives the same answer, and nothing is done twice",
    ))
    .with_field("Idempotency-Key")
}

impl<S: Send + Sync> FromRequestParts<S> for RequiredKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let key = Key::read(&parts.headers)?.ok_or_else(key_required)?;
        Ok(Self(key))
    }
}
