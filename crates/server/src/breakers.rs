use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use steadfast_core::{Coded as _, Failure};
use steadfast_resilience::BreakerState;

use crate::{Edge, Json, Operator, Page, Problem, Query};

pub(crate) async fn list(
    State(edge): State<Edge>,
    _: Operator,
    query: Query,
) -> Result<Json<Page<BreakerState>>, Problem> {
    query.finish()?;
    Ok(Json(Page { items: edge.breakers().breakers(), next: None }))
}

/// 204: it is closed.
pub(crate) async fn reset(
    State(edge): State<Edge>,
    _: Operator,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    match edge.breakers().reset(&name) {
        Ok(()) => Ok(StatusCode::NO_CONTENT),
        Err(error) => {
            let failure = error.failure();
            Err(Failure::refused("breaker.not_found", failure.message).into())
        }
    }
}
