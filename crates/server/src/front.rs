use std::panic::AssertUnwindSafe;

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures::FutureExt as _;
use steadfast_core::Failure;

use crate::{Edge, Problem, RequestContext};

/// Around every request: ids in and out, the deadline, panics, problem documents, the
/// metric and the access line.
pub(crate) async fn front(State(edge): State<Edge>, mut request: Request, next: Next) -> Response {
    let began = edge.world().clock().elapsed();
    let context = RequestContext::read(request.headers(), edge.world());
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    request.extensions_mut().insert(context.clone());

    let limit = edge.config().request_timeout.get();
    let changes = !request.method().is_safe();
    let work = next.run(request);
    // What changes something is not dropped half-way when its client goes away or its time
    // is over: a commit may be under way, and what comes after it must come.
    let answer = if changes {
        let work = tokio::spawn(work);
        edge.within(limit, work).await.map(Result::ok)
    } else {
        let work = AssertUnwindSafe(work).catch_unwind();
        edge.within(limit, work).await.map(Result::ok)
    };
    let response = match answer {
        Some(Some(response)) => response,
        Some(None) => panicked(&context).into_response(),
        None => timed_out().into_response(),
    };
    let mut response = finish(&context, response);
    context.write(response.headers_mut());

    let status = response.status().as_u16();
    let took = edge.world().clock().elapsed().saturating_sub(began);
    edge.metrics().request(method, route, status, took);
    tracing::debug!(
        method,
        route,
        status_code = status,
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        correlation_id = %context.correlation(),
        "request answered"
    );
    response
}

/// Around requests that follow somebody else's conventions: panics, the metric and the access
/// line. Whoever leaves cancels what was asked for.
pub(crate) async fn foreign(State(edge): State<Edge>, request: Request, next: Next) -> Response {
    let began = edge.world().clock().elapsed();
    let method = method(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let answer = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    let mut response = answer.unwrap_or_else(|_| {
        tracing::error!(route, "a handler panicked");
        let said = r#"{"error":{"message":"the request met a fault in the server","type":"server_error","param":null,"code":"node.panicked"}}"#;
        let json = [(header::CONTENT_TYPE, "application/json")];
        (StatusCode::INTERNAL_SERVER_ERROR, json, said).into_response()
    });
    no_store(response.headers_mut());
    let status = response.status().as_u16();
    let took = edge.world().clock().elapsed().saturating_sub(began);
    edge.metrics().request(method, route, status, took);
    tracing::debug!(
        method,
        route,
        status_code = status,
        duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
        "request answered"
    );
    response
}

/// Writes the problem that the response stands for, if it does. An error of the
/// framework's own becomes one too; an answer with a JSON body is left as it is.
fn finish(context: &RequestContext, mut response: Response) -> Response {
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if (status.is_client_error() || status.is_server_error()) && !has_json(response.headers()) => {
            Problem::of_status(status)
        }
        None => {
            no_store(response.headers_mut());
            return response;
        }
    };
    if problem.status() == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(
            code = problem.code(),
            support_id = context.id(),
            correlation_id = %context.correlation(),
            "a request failed on our side"
        );
    }
    let mut written = problem.write(context);
    let headers = written.headers_mut();
    for (name, value) in response.headers() {
        if *name != header::CONTENT_TYPE && *name != header::CONTENT_LENGTH {
            headers.insert(name, value.clone());
        }
    }
    no_store(headers);
    written
}

fn has_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|it| it.as_bytes().starts_with(b"application/json"))
}

/// Answers are somebody's; nobody in between shall keep or reinterpret them.
fn no_store(headers: &mut HeaderMap) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
}

fn panicked(context: &RequestContext) -> Problem {
    tracing::error!(
        support_id = context.id(),
        correlation_id = %context.correlation(),
        "a handler panicked"
    );
    let message = "the request met a fault in the server; report it with the request's id, and ask with the same idempotency key whether it was done";
    Problem::new(Failure::internal("node.panicked", message))
}

fn timed_out() -> Problem {
    let message =
        "the request took too long; ask again with the same idempotency key to learn whether it was done";
    Problem::new(Failure::internal("node.timeout", message).retryable())
        .with_status(StatusCode::GATEWAY_TIMEOUT)
}

/// Methods are the caller's text; those that have a meaning are told apart.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}
