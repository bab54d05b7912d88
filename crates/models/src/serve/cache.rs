//! What operators ask of the cache. Mounted apart from the models' own API: whoever mounts it
//! sees to it that only operators come here, and puts their [`Caller`] among the request's
//! extensions. Errors are problem documents, as everywhere in the node's own interface.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Request, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{StatusCode, header::CONTENT_TYPE};
use serde::Serialize;
use serde_json::json;
use steadfast_core::{Failure, Fault, shown};

use crate::{CacheStats, Caller, Current, Models, Unfit, WarmLine, Which, wire::WORDS_MAX};

/// `GET /cache`, `POST /cache/invalidate` and `POST /cache/warm`.
pub fn operator_routes(current: Arc<Current>) -> Router {
    let limit = current.get().config().body_max.as_usize();
    Router::new()
        .route("/cache", get(stats))
        .route("/cache/invalidate", post(invalidate))
        .route("/cache/warm", post(warm))
        .layer(DefaultBodyLimit::max(limit))
        .with_state(current)
}

async fn stats(State(current): State<Arc<Current>>) -> Json<CacheStats> {
    Json(current.get().cache_stats())
}

struct Refused(Failure, StatusCode);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(failure, status) = self;
        let document = json!({
            "type": format!("urn:steadfast:problem:{}", failure.code),
            "title": status.canonical_reason(), "status": status.as_u16(), "detail": failure.message,
            "code": failure.code, "retryable": failure.retryable, "nothing_happened": failure.nothing_happened,
        });
        (status, [(CONTENT_TYPE, "application/problem+json")], document.to_string()).into_response()
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        let status = if failure.fault == Fault::Caller {
            StatusCode::BAD_REQUEST
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        };
        Self(failure, status)
    }
}

fn invalid(message: impl Into<String>) -> Refused {
    Failure::refused("request.invalid", shown(&message.into(), WORDS_MAX)).into()
}

async fn body(request: Request, models: &Models) -> Result<(Caller, Bytes), Refused> {
    let (mut head, body) = request.into_parts();
    let caller = head.extensions.remove::<Caller>().unwrap_or_default();
    let limit = models.config().body_max;
    let body = axum::body::to_bytes(body, limit.as_usize()).await;
    let body =
        body.map_err(|_| invalid(format!("the body did not arrive whole, or is larger than {limit}")))?;
    Ok((caller, body))
}

async fn invalidate(State(current): State<Arc<Current>>, request: Request) -> Result<Response, Refused> {
    let models = current.get();
    let (caller, body) = body(request, &models).await?;
    let which: Which = serde_json::from_slice(&body).map_err(|error| invalid(error.to_string()))?;
    if !which.says_something() {
        return Err(invalid("say which answers: `operation`, `user` or `tag`, or `all`: true"));
    }
    let invalidated = models.invalidate(&Which { tenant: caller.tenant, ..which }).await?;
    Ok(Json(json!({ "invalidated": invalidated })).into_response())
}

#[derive(Serialize)]
struct Warmed {
    kept: usize,
    refused: Vec<LineRefused>,
}

#[derive(Serialize)]
struct LineRefused {
    /// From 1 on, in this request.
    line: usize,
    why: String,
}

/// The body's lines are JSON, one answer each; those that are empty don't count.
async fn warm(State(current): State<Arc<Current>>, request: Request) -> Result<Response, Refused> {
    let models = current.get();
    let (caller, body) = body(request, &models).await?;
    let text = std::str::from_utf8(&body).map_err(|_| invalid("the body is not text"))?;
    let mut warmed = Warmed { kept: 0, refused: Vec::new() };
    for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let kept: Result<(), Unfit> = match WarmLine::read(line) {
            Ok(line) => models.warm(&line, &caller).await,
            Err(unfit) => Err(unfit),
        };
        match kept {
            Ok(()) => warmed.kept += 1,
            Err(unfit) => {
                warmed.refused.push(LineRefused { line: i + 1, why: shown(&unfit.to_string(), WORDS_MAX) });
            }
        }
    }
    Ok(Json(warmed).into_response())
}
