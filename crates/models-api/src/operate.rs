//! What operators see and do.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    http::StatusCode,
    middleware::Next,
    response::Response,
};
use serde::{Deserialize, Serialize};
use steadfast_models::{Caller, Found, Probe};
use steadfast_server::{Json, Operator, OrDefault, Page, Problem, Query};

use crate::app::Desk;

/// How long everybody has to answer a trial.
const TRIAL: Duration = Duration::from_secs(30);

/// Before the routes that the gateway itself has for operators.
pub(crate) async fn only_operators(Operator(caller): Operator, mut request: Request, next: Next) -> Response {
    let caller = caller.principal;
    let caller = Caller { tenant: caller.tenant, user: Some(caller.user.into()), key: None };
    request.extensions_mut().insert(caller);
    next.run(request).await
}

#[derive(Serialize)]
pub(crate) struct Overview {
    enabled: bool,
    health: &'static str,
    #[serde(flatten)]
    found: Found,
}

/// Routes, providers, and how they stand.
pub(crate) async fn list(
    State(desk): State<Desk>,
    _: Operator,
    query: Query,
) -> Result<Json<Overview>, Problem> {
    query.finish()?;
    let models = desk.app.current.get();
    let (enabled, health) = (models.config().enabled, models.health().name());
    Ok(Json(Overview { enabled, health, found: models.found() }))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Trial {
    model: Option<String>,
}

/// One small call to everybody.
pub(crate) async fn test(
    State(desk): State<Desk>,
    _: Operator,
    OrDefault(trial): OrDefault<Trial>,
) -> Result<Json<Page<Probe>>, Problem> {
    let models = desk.app.current.get();
    match models.probe(trial.model.as_deref(), TRIAL).await {
        Ok(items) => Ok(Json(Page { items, next: None })),
        Err(rejected) => Err(Problem::new(*rejected.failure).with_status(rejected.status)),
    }
}

/// 204: the configuration that was read is in place.
pub(crate) async fn reload(State(desk): State<Desk>, _: Operator) -> Result<StatusCode, Problem> {
    desk.app.reload().await?;
    Ok(StatusCode::NO_CONTENT)
}
