//! Answers and failures as HTTP.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use futures::ready;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};
use hyper::body::Frame as HttpFrame;

use crate::{
    Answer, Rejected,
    answer::{self, About, Frames},
    call::Api,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Anthropic's name for it.
const ANTHROPIC_ID: HeaderName = HeaderName::from_static("request-id");
const ROUTE: HeaderName = HeaderName::from_static("x-steadfast-route");
const PROVIDER: HeaderName = HeaderName::from_static("x-steadfast-provider");
const ATTEMPTS: HeaderName = HeaderName::from_static("x-steadfast-attempts");
const COST: HeaderName = HeaderName::from_static("x-steadfast-cost-usd");
const QUEUED: HeaderName = HeaderName::from_static("x-steadfast-queue-ms");
const CACHE: HeaderName = HeaderName::from_static("x-steadfast-cache");
const STEP: HeaderName = HeaderName::from_static("x-steadfast-step");
const DEGRADED: HeaderName = HeaderName::from_static("x-steadfast-degraded");
/// What OpenAI's own clients ask before they ask again.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream; charset=utf-8");
const NO_CACHE: HeaderValue = HeaderValue::from_static("no-cache");

/// An answer, whole ones of this type if it is not JSON.
pub(super) fn answer(answer: Answer, media_type: Option<&'static str>, id: &str) -> Response {
    let (body, kind) = match answer.body {
        answer::Body::Whole(bytes) => (Body::from(bytes), media_type.map_or(JSON, HeaderValue::from_static)),
        answer::Body::Stream(frames) => (Body::new(Stream { frames, over: false }), EVENTS),
    };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    if kind == EVENTS {
        headers.insert(CACHE_CONTROL, NO_CACHE);
    }
    headers.insert(CONTENT_TYPE, kind);
    tell(headers, &answer.about, id);
    response
}

/// The end of a call without one.
pub(super) fn rejected(rejected: Rejected, api: Api, id: &str) -> Response {
    let again = rejected.retry_after();
    let retryable = rejected.should_retry();
    let mut response = answer(rejected.answer(api, id), None, id);
    let headers = response.headers_mut();
    if let Some(seconds) = again {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    headers.insert(SHOULD_RETRY, HeaderValue::from_static(if retryable { "true" } else { "false" }));
    response
}

fn tell(headers: &mut HeaderMap, about: &About, id: &str) {
    let mut put = |name: HeaderName, text: &str| {
        // Names from the configuration and ids that were checked: they are header values.
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    };
    put(REQUEST_ID, id);
    put(ANTHROPIC_ID, id);
    if !about.route.is_empty() {
        put(ROUTE, &about.route);
        if let Some(cost) = about.cost {
            put(COST, &cost.to_string());
        }
    }
    if about.recorded {
        headers.insert(STEP, HeaderValue::from_static("recorded"));
    } else if !about.route.is_empty() {
        let queued = u64::try_from(about.queued.as_millis()).unwrap_or(u64::MAX);
        headers.insert(QUEUED, HeaderValue::from(queued));
        headers.insert(ATTEMPTS, HeaderValue::from(about.attempts));
    }
    if let Some(cache) = about.cache {
        headers.insert(CACHE, HeaderValue::from_static(cache.name()));
    }
    if let Some(degraded) = about.degraded {
        headers.insert(DEGRADED, HeaderValue::from_static(degraded.name()));
    }
    if !about.provider.is_empty()
        && let Ok(value) = HeaderValue::from_str(&about.provider)
    {
        headers.insert(PROVIDER, value);
    }
}

/// A stream's events as a body.
struct Stream {
    frames: Frames,
    over: bool,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<HttpFrame<Bytes>, Infallible>>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            match ready!(self.frames.as_mut().poll_next(context)) {
                None => self.over = true,
                // What only the gateway needs to know has no bytes.
                Some(frame) if frame.bytes.is_empty() => {}
                Some(frame) => return Poll::Ready(Some(Ok(HttpFrame::data(frame.bytes)))),
            }
        }
    }
}
