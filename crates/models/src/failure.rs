//! What can go wrong with a provider, and how the client is told.
//!
//! [`Failed`] is one attempt. Its class answers what routing asks: may another provider
//! help, may the same one be asked again, is it unwell. [`Rejected`] is the end of a call:
//! a failure of ours with a status, written in the shape of the API that was called.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use serde_json::{json, value::RawValue};
use steadfast_core::{Coded, Failure, Fault};
use steadfast_resilience::{retry_after, with_retry_after};

use crate::{
    admission,
    answer::{About, Answer, Body},
    call::{Api, Operation, Unreadable},
};

/// Which wait was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For a connection.
    Connect,
    /// For the head of the answer.
    FirstByte,
    /// For the first content of a stream.
    FirstToken,
    /// For the next event of a stream.
    NextToken,
    /// For the whole of it.
    Total,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No connection: no such host, refused, or broken before the answer began.
    Connect,
    /// Too slow.
    Timeout(Wait),
    /// 429, or our own limit for this provider.
    Limited,
    /// 5xx and 408, or an error body under 200.
    Unwell,
    /// The answer broke off.
    Cut,
    /// Not the answer of such an API: not JSON, another content type, members missing.
    Malformed,
    /// The provider does not accept our key.
    Misconfigured,
    /// The provider does not have this model, or not for us. Clients name models: it says
    /// nothing about how well the provider is.
    NoModel,
    /// The provider cannot do what was asked for.
    Unsupported,
    /// The request is wrong: nobody would answer it.
    Refused,
    /// The breaker is open.
    Open,
    /// It could cost more than may be spent.
    Unaffordable,
}

impl Class {
    /// The code that the client, records and metrics see.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Connect => "provider.unreachable",
            Self::Timeout(Wait::Connect) => "provider.connect_timeout",
            Self::Timeout(Wait::FirstByte | Wait::FirstToken) => "provider.first_token_timeout",
            Self::Timeout(Wait::NextToken) => "provider.stalled",
            Self::Timeout(Wait::Total) => "provider.timeout",
            Self::Limited => "provider.rate_limited",
            Self::Unwell => "provider.error",
            Self::Cut => "provider.cut",
            Self::Malformed => "provider.malformed",
            Self::Misconfigured => "provider.misconfigured",
            Self::NoModel => "provider.no_such_model",
            Self::Unsupported => "provider.unsupported",
            Self::Refused => "provider.refused",
            Self::Open => "provider.open",
            Self::Unaffordable => "budget.exceeded",
        }
    }
    /// May another provider answer where this one did not?
    pub const fn fallback(self) -> bool {
        !matches!(self, Self::Refused)
    }
    /// May the same provider answer later?
    pub const fn retryable(self) -> bool {
        !matches!(
            self,
            Self::Refused | Self::Unsupported | Self::Misconfigured | Self::NoModel | Self::Unaffordable
        )
    }
    /// Does it say that the provider is unwell (`Some(true)`) or well, or nothing?
    pub const fn unwell(self) -> Option<bool> {
        match self {
            Self::Connect
            | Self::Timeout(_)
            | Self::Unwell
            | Self::Cut
            | Self::Malformed
            | Self::Misconfigured => Some(true),
            Self::Refused => Some(false),
            Self::Limited | Self::Unsupported | Self::NoModel | Self::Open | Self::Unaffordable => None,
        }
    }
    /// What the client is told if nobody else helped.
    const fn status(self) -> StatusCode {
        match self {
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Limited => StatusCode::TOO_MANY_REQUESTS,
            Self::Open | Self::Connect => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unwell | Self::Cut | Self::Malformed | Self::Misconfigured => StatusCode::BAD_GATEWAY,
            Self::Unsupported | Self::Refused => StatusCode::BAD_REQUEST,
            Self::NoModel => StatusCode::NOT_FOUND,
            Self::Unaffordable => StatusCode::PAYMENT_REQUIRED,
        }
    }
}

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// How.
    pub class: Class,
    /// The status that the provider answered with.
    pub status: Option<StatusCode>,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
    /// For people.
    pub message: String,
    /// What the provider said, in the shape of the API that was called.
    pub body: Option<Bytes>,
    /// Tokens in that it took all the same, for the part that it did.
    pub used: u64,
}

impl Failed {
    /// There was no time left.
    pub(crate) fn nobody_asked() -> Self {
        Self::new(Class::Timeout(Wait::Total), "the deadline passed before anybody was asked")
    }
    /// Without an answer.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, status: None, retry_after: None, message: message.into(), body: None, used: 0 }
    }
    /// A provider that speaks, but not as its API does.
    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::new(Class::Malformed, what)
    }
    /// Something that has no counterpart in the provider's API.
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::new(Class::Unsupported, what)
    }
    /// As what the policies deal with. Open breakers keep their own code, so that nobody
    /// waits for them.
    pub(crate) fn to_failure(&self) -> Failure {
        let code = if self.class == Class::Open { "resilience.open" } else { self.class.code() };
        let failure = Failure {
            retryable: self.class.retryable(),
            nothing_happened: !matches!(
                self.class,
                Class::Timeout(Wait::FirstByte | Wait::FirstToken | Wait::NextToken | Wait::Total)
                    | Class::Cut
                    | Class::Malformed
                    | Class::Unwell
            ),
            ..Failure::upstream(code, self.message.as_str())
        };
        match self.retry_after {
            Some(wait) => with_retry_after(failure, wait),
            None => failure,
        }
    }
}

/// A failed attempt, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Who.
    pub provider: Arc<str>,
    /// How it failed.
    pub class: Class,
    /// Was it really asked, or turned away before that?
    pub asked: bool,
}

/// A call that ends without an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// What is wrong.
    pub failure: Box<Failure>,
    /// The status it is told with.
    pub status: StatusCode,
    /// The member of the request that is wrong.
    pub param: Option<String>,
    /// The provider's own words, for what is the client's own fault.
    pub words: Option<Bytes>,
    /// Where it was tried.
    pub about: Box<About>,
    /// When another try is worth it, though none before that is.
    pub again: Option<Duration>,
}

impl Rejected {
    /// Under this status, without anybody having been asked.
    pub fn new(failure: Failure, status: StatusCode) -> Self {
        Self {
            failure: Box::new(failure),
            status,
            param: None,
            words: None,
            about: Box::default(),
            again: None,
        }
    }
    /// After the last attempt. What the client did wrong is told as the provider told it.
    pub(crate) fn of(failed: Failed, about: About) -> Self {
        let mut failure = failed.to_failure();
        failed.class.code().clone_into(&mut failure.code);
        let own_fault = matches!(
            failed.class,
            Class::Refused | Class::Unsupported | Class::NoModel | Class::Unaffordable
        );
        if own_fault {
            failure.fault = Fault::Caller;
        }
        let told = failed.status.filter(|_| own_fault && failed.class != Class::Unsupported);
        let words = if own_fault { failed.body } else { None };
        let status = told.unwrap_or(failed.class.status());
        Self { failure: Box::new(failure), status, param: None, words, about: Box::new(about), again: None }
    }
    /// Without a place.
    pub(crate) fn queued_out(refused: &admission::Refused) -> Self {
        use admission::Refused;
        let (code, message, again) = match refused {
            Refused::Full { waiting, again } => {
                ("queue.full", format!("{waiting} calls wait already; try again later"), *again)
            }
            Refused::Late { before, wait } => (
                "queue.late",
                format!(
                    "it could not be done in time: {before} calls come before it, about {} ms",
                    wait.as_millis()
                ),
                *wait,
            ),
            Refused::GaveWay { again } => {
                ("queue.gave_way", "a more urgent call took its place in the queue".into(), *again)
            }
            Refused::TimedOut => {
                ("queue.timeout", "the deadline passed before its turn came".into(), Duration::ZERO)
            }
        };
        let failure = Failure { nothing_happened: true, ..Failure::internal(code, message) };
        let again = again.max(Duration::from_secs(1));
        Self::new(with_retry_after(failure.retryable(), again), StatusCode::SERVICE_UNAVAILABLE)
    }
    /// As an answer in the shape of `api`.
    pub fn answer(self, api: Api, id: &str) -> Answer {
        let body = match self.words {
            Some(words) => words,
            None => error_body(api, self.status, &self.failure, self.param.as_deref(), id),
        };
        Answer { status: self.status, body: Body::Whole(body), about: *self.about }
    }
    /// Seconds after which the client may try again.
    pub fn retry_after(&self) -> Option<u64> {
        if !self.failure.retryable && self.again.is_none() {
            return None;
        }
        let wait = self.again.or_else(|| retry_after(&self.failure)).unwrap_or(Duration::from_secs(1));
        Some(u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1))
    }
}

impl From<Unreadable> for Rejected {
    fn from(error: Unreadable) -> Self {
        let param = error.param().map(str::to_owned);
        Self { param, ..Self::new(error.failure(), StatusCode::BAD_REQUEST) }
    }
}

/// Both APIs name kinds of errors; these go with the status.
const fn kind(api: Api, status: StatusCode) -> &'static str {
    match (api, status.as_u16()) {
        (_, 401) => "authentication_error",
        (_, 403) => "permission_error",
        (_, 429) => "rate_limit_error",
        (Api::Anthropic, 404) => "not_found_error",
        (Api::Anthropic, 413) => "request_too_large",
        (Api::Anthropic, 402) => "billing_error",
        (_, 400..=499) => "invalid_request_error",
        (Api::Anthropic, 503) => "overloaded_error",
        (Api::Anthropic, 504) => "timeout_error",
        (Api::Anthropic, _) => "api_error",
        (Api::OpenAi, _) => "server_error",
    }
}

/// An error in the shape of `api`, with our code and the id that support asks for.
pub(crate) fn error_body(
    api: Api,
    status: StatusCode,
    failure: &Failure,
    param: Option<&str>,
    id: &str,
) -> Bytes {
    let kind = kind(api, status);
    let message = match failure.fault {
        Fault::Caller => failure.message.clone(),
        Fault::Upstream | Fault::Us => format!("{} (support id {id})", failure.message),
    };
    let mut body = match api {
        Api::OpenAi => json!({ "error": {
            "message": message, "type": kind, "param": param, "code": failure.code, "support_id": id,
        }}),
        Api::Anthropic => json!({
            "type": "error",
            "error": { "type": kind, "message": message, "code": failure.code },
            "request_id": id,
        }),
    };
    if let Some(figures) = failure.data.as_ref().filter(|_| failure.code == "budget.exceeded") {
        body["error"]["figures"] = figures.clone();
    }
    body.to_string().into()
}

/// The event that ends a broken stream.
pub(crate) fn error_event(operation: Operation, failed: &Failed, id: &str) -> Bytes {
    let mut failure = failed.to_failure();
    failed.class.code().clone_into(&mut failure.code);
    event(operation, failed.class.status(), &failure, id)
}

/// The event that ends a stream which nobody broke, and which is of no use all the same.
pub(crate) fn rejected_event(operation: Operation, rejected: &Rejected, id: &str) -> Bytes {
    event(operation, rejected.status, &rejected.failure, id)
}

fn event(operation: Operation, status: StatusCode, failure: &Failure, id: &str) -> Bytes {
    let api = operation.api();
    let mut event = match api {
        Api::OpenAi if operation == Operation::Responses => {
            let message = format!("{} (support id {id})", failure.message);
            let data = json!({ "type": "error", "code": failure.code, "message": message, "param": null });
            return crate::wire::sse::write(Some("error"), &data.to_string());
        }
        Api::OpenAi => b"data: ".to_vec(),
        Api::Anthropic => b"event: error\ndata: ".to_vec(),
    };
    event.extend_from_slice(&error_body(api, status, failure, None, id));
    event.extend_from_slice(b"\n\n");
    event.into()
}

#[derive(serde::Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<std::borrow::Cow<'a, str>>,
}

#[derive(serde::Deserialize, Default)]
struct SaidError<'a> {
    #[serde(borrow, default)]
    message: Option<std::borrow::Cow<'a, str>>,
}

/// What a provider's error body says in words, whoever's shape it has.
pub(crate) fn words(body: &[u8]) -> Option<String> {
    let said: Said<'_> = serde_json::from_slice(body).ok()?;
    let Some(error) = said.error else {
        return said.message.map(Into::into);
    };
    if let Ok(text) = serde_json::from_str::<String>(error.get()) {
        return Some(text);
    }
    serde_json::from_str::<SaidError<'_>>(error.get()).ok()?.message.map(Into::into)
}

/// A provider's error in the shape of another API.
pub(crate) fn reshaped(api: Api, status: StatusCode, body: &[u8]) -> Bytes {
    let message = words(body).unwrap_or_else(|| format!("the provider answered {status}"));
    let kind = kind(api, status);
    let body = match api {
        Api::OpenAi => json!({ "error": { "message": message, "type": kind, "param": null, "code": null } }),
        Api::Anthropic => json!({ "type": "error", "error": { "type": kind, "message": message } }),
    };
    body.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_the_shape_of_the_api_that_was_called_with_our_code_and_a_support_id() {
        let failed =
            Failed { retry_after: Some(Duration::from_millis(2_100)), ..Failed::new(Class::Limited, "busy") };
        let rejected = Rejected::of(failed, About::default());
        assert_eq!((rejected.status.as_u16(), rejected.retry_after()), (429, Some(3)));
        let body = |api| match rejected.clone().answer(api, "id-1").body {
            Body::Whole(bytes) => serde_json::from_slice::<serde_json::Value>(&bytes).expect("JSON"),
            Body::Stream(_) => panic!("an error is whole"),
        };
        let openai = body(Api::OpenAi);
        assert_eq!(
            openai["error"],
            json!({ "message": "busy (support id id-1)", "type": "rate_limit_error", "param": null,
                    "code": "provider.rate_limited", "support_id": "id-1" })
        );
        let anthropic = body(Api::Anthropic);
        assert_eq!((&anthropic["type"], &anthropic["request_id"]), (&json!("error"), &json!("id-1")));
        assert_eq!(anthropic["error"]["type"], "rate_limit_error");
    }

    #[test]
    fn a_providers_words_are_found_in_any_shape() {
        for body in [
            r#"{"error":{"message":"no","type":"x"}}"#,
            r#"{"type":"error","error":{"type":"x","message":"no"}}"#,
            r#"{"error":"no"}"#,
            r#"{"message":"no"}"#,
        ] {
            assert_eq!(words(body.as_bytes()).as_deref(), Some("no"), "{body}");
        }
        assert_eq!(words(b"<html>"), None);
        let reshaped = reshaped(Api::OpenAi, StatusCode::BAD_REQUEST, br#"{"error":{"message":"no"}}"#);
        let shape = json!({ "error": { "type": "invalid_request_error", "message": "no", "param": null, "code": null } });
        assert_eq!(serde_json::from_slice::<serde_json::Value>(&reshaped).expect("JSON"), shape);
    }
}
