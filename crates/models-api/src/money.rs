//! Virtual keys, costs, and how queue and limits stand.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use serde::Serialize;
use steadfast_core::{Coded as _, Failure};
use steadfast_models::{
    QueueState, Reason, Spending,
    keys::{KeyError, KeyInfo, KeyRequest},
    record::{By, CALLS_MAX, CallRecord, Cost, RecordError, Wanted},
};
use steadfast_server::{Json, Operator, Page, Problem, Query};

use crate::app::Desk;

const BY: &str = "team, key, user, tenant, workflow, model, route, provider, budget or label:NAME";

#[derive(Serialize)]
pub(crate) struct Status {
    health: &'static str,
    reasons: Vec<Reason>,
    queue: Option<QueueState>,
    spending: Vec<Spending>,
}

/// What rings, who waits, and what limits have left.
pub(crate) async fn status(
    State(desk): State<Desk>,
    _: Operator,
    query: Query,
) -> Result<Json<Status>, Problem> {
    query.finish()?;
    let models = desk.app.current.get();
    Ok(Json(Status {
        health: models.health().name(),
        reasons: models.reasons(),
        queue: models.queue(),
        spending: models.spending(),
    }))
}

/// What a month cost.
pub(crate) async fn costs(
    State(desk): State<Desk>,
    _: Operator,
    mut query: Query,
) -> Result<Json<Page<Cost>>, Problem> {
    let by = query.read::<By>("by", BY)?.unwrap_or(By::Model);
    let month = query.one("month")?.unwrap_or_default();
    query.finish()?;
    let invalid = || Failure::refused("costs.invalid_month", "`month` is a month such as 2026-11");
    match desk.app.current.get().costs(&month, by).await {
        Ok(Some(items)) => Ok(Json(Page { items, next: None })),
        Ok(None) => Err(invalid().into()),
        Err(RecordError::Missing(_)) => Ok(Json(Page { items: Vec::new(), next: None })),
        Err(error) => Err(Failure::internal("records.unreadable", error.to_string()).into()),
    }
}

/// Single calls, the newest first; `next` is the `before` of the next page.
pub(crate) async fn calls(
    State(desk): State<Desk>,
    _: Operator,
    mut query: Query,
) -> Result<Json<Page<CallRecord>>, Problem> {
    let limit = query.read::<usize>("limit", "a count")?.unwrap_or(100).min(CALLS_MAX);
    let wanted = Wanted {
        id: query.one("id")?,
        run: query.one("run")?,
        key: query.one("key")?,
        user: query.one("user")?,
        before: query.read("before", "the number of a call")?,
        limit,
    };
    query.finish()?;
    match desk.app.current.get().calls(wanted).await {
        Ok(items) => {
            let next = items.last().filter(|_| items.len() == limit).map(|call| call.n.to_string());
            Ok(Json(Page { items, next }))
        }
        Err(RecordError::Missing(_)) => Ok(Json(Page { items: Vec::new(), next: None })),
        Err(error) => Err(Failure::internal("records.unreadable", error.to_string()).into()),
    }
}

/// All of them, the oldest first.
pub(crate) async fn keys(
    State(desk): State<Desk>,
    _: Operator,
    query: Query,
) -> Result<Json<Page<KeyInfo>>, Problem> {
    query.finish()?;
    Ok(Json(Page { items: desk.app.current.get().keys().list(), next: None }))
}

/// The only time that a key is shown.
#[derive(Serialize)]
pub(crate) struct Made {
    secret: String,
    #[serde(flatten)]
    info: KeyInfo,
}

pub(crate) async fn make(
    State(desk): State<Desk>,
    Operator(by): Operator,
    Json(wanted): Json<KeyRequest>,
) -> Result<(StatusCode, Json<Made>), Problem> {
    wanted.check().map_err(|wrong| Failure::refused("request.invalid", wrong))?;
    let models = desk.app.current.get();
    let (secret, info) = models.keys().create(wanted, &by.principal.user).await.map_err(unkept)?;
    Ok((StatusCode::CREATED, Json(Made { secret, info })))
}

pub(crate) async fn revoke(
    State(desk): State<Desk>,
    Operator(by): Operator,
    Path(id): Path<String>,
) -> Result<Json<KeyInfo>, Problem> {
    let models = desk.app.current.get();
    Ok(Json(models.keys().revoke(&id, &by.principal.user).await.map_err(unkept)?))
}

fn unkept(error: KeyError) -> Failure {
    match &error {
        KeyError::Unknown(_) => Failure::refused("key.not_found", error.to_string()),
        KeyError::Commit(error) => error.failure(),
        KeyError::Read(_) | KeyError::Decode(_) | KeyError::NoLog => {
            Failure::internal("keys.unavailable", error.to_string())
        }
    }
}
