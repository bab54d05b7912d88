//! What operators of the gateway see and do, under `/v1/steadfast`. Every request needs an
//! operator among its extensions, as a token of theirs brings it.

use std::sync::Arc;

use axum::{
    Router,
    extract::{FromRequestParts, Path, Query, Request, State},
    response::{IntoResponse as _, Response},
    routing::{delete, get},
};
use bytes::Bytes;
use http::{StatusCode, header::CONTENT_TYPE, request::Parts};
use http_body_util::{BodyExt as _, Limited};
use serde::{Deserialize, Serialize};
use serde_json::json;
use steadfast_core::{Coded as _, Failure, Principal};

use super::{request_id, write};
use crate::{
    Models, Rejected,
    call::Api,
    keys::{KeyError, KeyRequest},
    record::RecordError,
};

const KEY_BYTES_MAX: usize = 16 << 10;

pub(super) fn routes() -> Router<Arc<Models>> {
    Router::new()
        .route("/v1/steadfast/status", get(status))
        .route("/v1/steadfast/costs", get(costs))
        .route("/v1/steadfast/keys", get(list).post(create))
        .route("/v1/steadfast/keys/{id}", delete(revoke))
}

/// Whoever operates the node.
struct Operator(Principal);

impl FromRequestParts<Arc<Models>> for Operator {
    type Rejection = Response;
    async fn from_request_parts(parts: &mut Parts, models: &Arc<Models>) -> Result<Self, Response> {
        match parts.extensions.get::<Principal>() {
            Some(principal) if principal.operates() => Ok(Self(principal.clone())),
            _ => {
                let failure = Failure::refused("auth.forbidden", "this needs an operator's token");
                let id = request_id(models, &parts.headers);
                Err(write::rejected(Rejected::new(failure, StatusCode::FORBIDDEN), Api::OpenAi, &id))
            }
        }
    }
}

fn answer(result: Result<impl Serialize, Rejected>, models: &Models) -> Response {
    match result.map(|body| serde_json::to_vec(&body)) {
        Ok(Ok(body)) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        Ok(Err(_)) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Err(rejected) => write::rejected(rejected, Api::OpenAi, &models.world().uuid().to_string()),
    }
}

fn bad(code: &str, message: impl Into<String>) -> Rejected {
    Rejected::new(Failure::refused(code, message), StatusCode::BAD_REQUEST)
}

async fn status(State(models): State<Arc<Models>>, _: Operator) -> Response {
    let (health, reasons) = (models.health(), models.reasons());
    let status = json!({
        "health": health.name(), "reasons": reasons, "queue": models.queue(), "spending": models.spending(),
    });
    answer(Ok(status), &models)
}

#[derive(Deserialize)]
struct CostQuery {
    by: String,
    month: String,
}

async fn costs(State(models): State<Arc<Models>>, _: Operator, query: Query<CostQuery>) -> Response {
    let result = match query.by.parse() {
        Err(expected) => Err(bad("costs.by", expected)),
        Ok(by) => match models.costs(&query.month, by).await {
            Ok(Some(costs)) => Ok(json!({ "items": costs })),
            Ok(None) => Err(bad("costs.month", "expected a month such as 2026-11")),
            Err(error) => Err(unreadable(&error)),
        },
    };
    answer(result, &models)
}

fn unreadable(error: &RecordError) -> Rejected {
    let status = match error {
        RecordError::Missing(_) => StatusCode::NOT_FOUND,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Rejected::new(Failure::internal("records.unreadable", error.to_string()), status)
}

async fn list(State(models): State<Arc<Models>>, _: Operator) -> Response {
    answer(Ok(json!({ "items": models.keys().list() })), &models)
}

async fn create(State(models): State<Arc<Models>>, Operator(by): Operator, request: Request) -> Response {
    let read = async {
        let body = Limited::new(request.into_body(), KEY_BYTES_MAX).collect().await;
        let body: Bytes =
            body.map_err(|_| bad("request.incomplete", "the body did not arrive whole"))?.to_bytes();
        let read: Result<KeyRequest, _> = serde_json::from_slice(&body);
        let key =
            read.map_err(|error| bad("request.invalid", steadfast_core::shown(&error.to_string(), 300)))?;
        key.check().map_err(|wrong| bad("key.invalid_request", wrong))?;
        let (secret, info) = models.keys().create(key, &by.user).await.map_err(unkept)?;
        Ok(json!({ "secret": secret, "key": info }))
    };
    answer(read.await, &models)
}

async fn revoke(
    State(models): State<Arc<Models>>,
    Operator(by): Operator,
    Path(id): Path<String>,
) -> Response {
    answer(models.keys().revoke(&id, &by.user).await.map_err(unkept), &models)
}

fn unkept(error: KeyError) -> Rejected {
    let (failure, status) = match &error {
        KeyError::Unknown(_) => (Failure::refused("key.unknown", error.to_string()), StatusCode::NOT_FOUND),
        KeyError::Commit(error) => (error.failure(), StatusCode::SERVICE_UNAVAILABLE),
        KeyError::Read(_) | KeyError::Decode(_) | KeyError::NoLog => {
            (Failure::internal("keys.unavailable", error.to_string()), StatusCode::SERVICE_UNAVAILABLE)
        }
    };
    Rejected::new(failure, status)
}
