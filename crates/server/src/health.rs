use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Extension,
    extract::State,
    http::{HeaderName, header},
};
use serde::Serialize;
use steadfast_core::{Failure, defaults};

use crate::{App, Edge, Json, Problem};

/// What is mounted.
pub(crate) type Apps = Arc<[Box<dyn App>]>;

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
    /// How well applications can do their work.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    apps: BTreeMap<&'static str, &'static str>,
}

/// The process answers; nothing more.
pub(crate) async fn up() -> Json<Health> {
    Json(Health { status: "up", apps: BTreeMap::new() })
}

/// It can take work: the store answers, is not held, and the node is not stopping.
pub(crate) async fn ready(
    State(edge): State<Edge>,
    Extension(apps): Extension<Apps>,
) -> Result<Json<Health>, Problem> {
    let not = |code: &str, message: &str| {
        let failure = Failure { nothing_happened: true, ..Failure::internal(code, message) };
        Err(Problem::new(failure.retryable()))
    };
    if edge.stopping() {
        return not("node.stopping", "this node is stopping");
    }
    let log = edge.engine().log();
    if log.identity().held {
        return not(
            "store.held",
            "the store was restored and is held; check it, then run `steadfast resume`",
        );
    }
    let limit = defaults::STORE_TIMEOUT;
    match edge.within(limit, log.checkpoint("ready")).await {
        Some(Ok(_)) => {
            let apps = apps.iter().filter_map(|app| Some((app.name(), app.health()?))).collect();
            Ok(Json(Health { status: "ready", apps }))
        }
        Some(Err(error)) => Err(error.into()),
        None => not("store.unavailable", "the store does not answer"),
    }
}

/// What Prometheus scrapes.
pub(crate) async fn metrics(State(edge): State<Edge>) -> ([(HeaderName, &'static str); 1], String) {
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = edge.metrics().text(edge.engine().active());
    ([(header::CONTENT_TYPE, media)], text)
}
