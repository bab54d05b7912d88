//! Virtual keys, costs, and how queue and limits stand. An operator sees and does what concerns
//! their own tenant, an admin all of it.

use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use serde::Serialize;
use steadfast_core::config::nearest;
use steadfast_core::{Coded as _, Failure, Principal, Role, TenantId};
use steadfast_models::{
    QueueState, Reason, Spending, Usd,
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
    /// Who waits is told to admins.
    queue: Option<QueueState>,
    /// Told to admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    spending: Option<Vec<Spending>>,
}

/// Of whom something is shown; `None` for everybody.
fn only(principal: &Principal) -> Option<TenantId> {
    (principal.role < Role::Admin).then(|| principal.tenant.clone())
}

/// What rings, who waits, and what limits have left.
pub(crate) async fn status(
    State(desk): State<Desk>,
    Operator(by): Operator,
    query: Query,
) -> Result<Json<Status>, Problem> {
    query.finish()?;
    let models = desk.app.current.get();
    let all = only(&by.principal).is_none();
    let mut queue = models.queue();
    if let Some(queue) = queue.as_mut().filter(|_| !all) {
        queue.waiting.clear();
    }
    let spending = all.then(|| models.spending());
    Ok(Json(Status { health: models.health().name(), reasons: models.reasons(), queue, spending }))
}

/// The present month.
fn month(desk: &Desk) -> String {
    desk.edge.world().now().to_string().chars().take(7).collect()
}

/// What a month cost.
pub(crate) async fn costs(
    State(desk): State<Desk>,
    Operator(by_whom): Operator,
    mut query: Query,
) -> Result<Json<Page<Cost>>, Problem> {
    let by = query.read::<By>("by", BY)?.unwrap_or(By::Model);
    let month = query.one("month")?;
    let month = month.unwrap_or_else(|| self::month(&desk));
    query.finish()?;
    let invalid = || Failure::refused("costs.invalid_month", "`month` is a month such as 2026-11");
    let models = desk.app.current.get();
    let keys = if by == By::Key { models.keys().list() } else { Vec::new() };
    match models.costs(&month, by, only(&by_whom.principal)).await {
        Ok(Some(mut items)) => {
            for cost in &mut items {
                let key = keys.iter().find(|key| *key.id == *cost.name);
                cost.key_name = key.map(|key| key.key.name.clone());
            }
            Ok(Json(Page { items, next: None }))
        }
        Ok(None) => Err(invalid().into()),
        Err(RecordError::Missing(_)) => Ok(Json(Page { items: Vec::new(), next: None })),
        Err(error) => Err(Failure::internal("records.unreadable", error.to_string()).into()),
    }
}

/// Single calls, the newest first; `next` is the `before` of the next page.
pub(crate) async fn calls(
    State(desk): State<Desk>,
    Operator(by): Operator,
    mut query: Query,
) -> Result<Json<Page<CallRecord>>, Problem> {
    let limit = query.read::<usize>("limit", "a count")?.unwrap_or(100).min(CALLS_MAX);
    let wanted = Wanted {
        id: query.one("id")?,
        run: query.one("run")?,
        key: match query.one("key")? {
            Some(named) => Some(key_id(&desk, &named, only(&by.principal))?),
            None => None,
        },
        user: query.one("user")?,
        tenant: only(&by.principal).map(|tenant| tenant.to_string()),
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

/// The id of the key of that id or name.
fn key_id(desk: &Desk, named: &str, of: Option<TenantId>) -> Result<String, Failure> {
    let mut keys = desk.app.current.get().keys().list();
    keys.retain(|key| of.as_ref().is_none_or(|tenant| key.key.tenant == *tenant));
    if let Some(key) = keys.iter().find(|key| *key.id == *named) {
        return Ok(key.id.to_string());
    }
    keys.retain(|key| key.key.name == named);
    match keys.as_slice() {
        [] => Err(unkept(KeyError::Unknown(steadfast_core::shown(named, 64)))),
        [key] => Ok(key.id.to_string()),
        several => {
            let ids: Vec<_> = several.iter().map(|key| &*key.id).collect();
            let message = format!("several keys have this name, ask for one by its id: {}", ids.join(", "));
            Err(Failure::refused("request.invalid", message))
        }
    }
}

/// A key, and what was spent under it.
#[derive(Serialize)]
pub(crate) struct Listed {
    #[serde(flatten)]
    info: KeyInfo,
    /// In the present month; nothing where no records are kept.
    spent_usd: Option<Usd>,
}

/// All of them, the oldest first.
pub(crate) async fn keys(
    State(desk): State<Desk>,
    Operator(by): Operator,
    query: Query,
) -> Result<Json<Page<Listed>>, Problem> {
    query.finish()?;
    let models = desk.app.current.get();
    let mut items = models.keys().list();
    if let Some(tenant) = only(&by.principal) {
        items.retain(|key| key.key.tenant == tenant);
    }
    let costs = models.costs(&month(&desk), By::Key, only(&by.principal)).await.ok().flatten();
    let listed = |info: KeyInfo| {
        let of = |costs: &Vec<Cost>| costs.iter().find(|it| *it.name == *info.id).map(|it| it.cost);
        Listed { spent_usd: costs.as_ref().map(|costs| of(costs).unwrap_or_default()), info }
    };
    Ok(Json(Page { items: items.into_iter().map(listed).collect(), next: None }))
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
    wanted.check(desk.edge.world().now()).map_err(|wrong| Failure::refused("request.invalid", wrong))?;
    if only(&by.principal).is_some_and(|tenant| wanted.tenant != tenant) {
        let message = format!("tenant: operators make keys of their own tenant, {}", by.principal.tenant);
        return Err(Failure::refused("auth.forbidden", message).into());
    }
    let models = desk.app.current.get();
    let found = models.found();
    if let Some(none) = wanted.routes.iter().find(|it| found.routes.iter().all(|route| route.name != **it)) {
        let names = found.routes.iter().map(|route| route.name.as_str());
        let meant = nearest(none, names).map(|it| format!("; did you mean {it:?}?")).unwrap_or_default();
        let message = format!("routes: there is no route {none:?}{meant}: see `steadfast models list`");
        return Err(Failure::refused("key.unknown_route", message).into());
    }
    let (secret, info) = models.keys().create(wanted, &by.principal.user).await.map_err(unkept)?;
    Ok((StatusCode::CREATED, Json(Made { secret, info })))
}

pub(crate) async fn revoke(
    State(desk): State<Desk>,
    Operator(by): Operator,
    Path(id): Path<String>,
) -> Result<Json<KeyInfo>, Problem> {
    let models = desk.app.current.get();
    let tenant = models.keys().show(&id).map_err(unkept)?.key.tenant;
    if only(&by.principal).is_some_and(|only| only != tenant) {
        return Err(unkept(KeyError::Unknown(id)).into());
    }
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
