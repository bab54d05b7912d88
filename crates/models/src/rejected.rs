//! A call that ends without an answer, and how the client is told: in the shape of the API that
//! was called.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;
use steadfast_core::{Coded, Failure, Fault, defaults};
use steadfast_resilience::retry_after;

use crate::{
    answer::{About, Answer, Body},
    call::{Api, Operation, Unreadable},
    failure::{Class, Failed},
    wire::{responses::Sent, sse, words},
};

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
    /// It was tried as often as may be: whoever tries again at once multiplies what failed.
    pub tried_enough: bool,
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
            tried_enough: false,
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
        Self {
            failure: Box::new(failure),
            status,
            param: None,
            words,
            about: Box::new(about),
            again: None,
            tried_enough: false,
        }
    }
    /// As an answer in the shape of `api`.
    pub fn answer(self, api: Api, id: &str) -> Answer {
        let body = match self.words {
            Some(words) => words,
            None => error_body(api, self.status, &self.failure, self.param.as_deref(), id),
        };
        Answer { status: self.status, body: Body::Whole(body), about: *self.about }
    }
    /// Should the client try again by itself? When somebody said when, clients wait for no longer
    /// than a minute, and come at once if it is more. Otherwise not where it was done for them.
    pub fn should_retry(&self) -> bool {
        self.failure.retryable
            && match retry_after(&self.failure) {
                Some(wait) => wait <= defaults::RETRY_AFTER_MAX,
                None => !self.tried_enough,
            }
    }
    /// Seconds after which the client may try again.
    pub fn retry_after(&self) -> Option<u64> {
        let told = retry_after(&self.failure).filter(|_| self.failure.retryable);
        let soon = self.should_retry().then_some(Duration::from_secs(1));
        let wait = self.again.or(told).or(soon)?;
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
pub(crate) fn error_event(sent: &Sent, failed: &Failed, id: &str) -> Bytes {
    let mut failure = failed.to_failure();
    failed.class.code().clone_into(&mut failure.code);
    event(sent, failed.class.status(), &failure, id)
}

/// The event that ends a stream which nobody broke, and which is of no use all the same.
pub(crate) fn rejected_event(sent: &Sent, rejected: &Rejected, id: &str) -> Bytes {
    event(sent, rejected.status, &rejected.failure, id)
}

fn event(sent: &Sent, status: StatusCode, failure: &Failure, id: &str) -> Bytes {
    let api = sent.operation().api();
    let mut event = match api {
        Api::OpenAi if sent.operation() == Operation::Responses => {
            let message = format!("{} (support id {id})", failure.message);
            let data = json!({
                "type": "error", "code": failure.code, "message": message, "param": null,
                "sequence_number": sent.next_number(),
            });
            return sse::write(Some("error"), &data.to_string());
        }
        Api::OpenAi => b"data: ".to_vec(),
        Api::Anthropic => b"event: error\ndata: ".to_vec(),
    };
    event.extend_from_slice(&error_body(api, status, failure, None, id));
    event.extend_from_slice(b"\n\n");
    event.into()
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
