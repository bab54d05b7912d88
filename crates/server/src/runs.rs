use std::collections::BTreeMap;

use axum::{
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, value::RawValue};
use steadfast_core::{
    Failure, Principal, RunId, Time, canonical::Hash, config::Period, principal::check_name,
};
use steadfast_engine::{Data, Priority, RunView, Settled, Start, Status, record::RUN};
use steadfast_log::{ListQuery, Listing, StreamId};

use crate::{
    Caller, CloudEvent, Edge, Json, LIMIT_DEFAULT, Last, OptionalKey, Page, Place, Prefer, Problem, Query,
    REPLAYED, auth::forbidden, idempotency::key_required, prefer::applied, query::unreadable,
};

/// The operation that keys of `POST /runs` belong to.
const START: &str = "runs.start";

/// What a run is started with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartRequest {
    workflow: String,
    #[serde(default)]
    input: Option<Box<RawValue>>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    /// `10m`
    #[serde(default)]
    deadline: Option<Period>,
    #[serde(default)]
    priority: Option<Priority>,
}

impl StartRequest {
    fn input(&self) -> Result<Data, Failure> {
        // Never read as `Data`, which would take the caller's word for a stored value.
        self.input.as_ref().map_or_else(|| Ok(Data::null()), Data::of)
    }
    /// Equal requests have equal hashes, however they are spelled.
    pub fn hash(&self) -> Result<Hash, Problem> {
        let input = self.input.as_ref().map_or("null", |raw| raw.get());
        let wrong = |error: serde_json::Error| {
            Problem::bad_request("request.invalid_body", error.to_string()).with_field("input")
        };
        let input: Value = serde_json::from_str(input).map_err(wrong)?;
        let parts = (&self.workflow, input, &self.labels, self.deadline, self.priority);
        Hash::of(&parts).map_err(wrong)
    }
}

/// An accepted run, and how it ended if it has.
#[derive(Debug, Clone, Serialize)]
pub struct RunRef {
    /// The run.
    pub id: RunId,
    /// `accepted` until it has ended.
    pub status: &'static str,
    /// Its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Data>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
}

impl RunRef {
    fn new(id: RunId, settled: Option<Settled>) -> Self {
        let status = settled.as_ref().map_or("accepted", |it| it.status.as_str());
        let (output, failure) = match settled.map(|it| it.outcome) {
            Some(Ok(output)) => (Some(output), None),
            Some(Err(failure)) => (None, Some(failure)),
            None => (None, None),
        };
        Self { id, status, output, failure }
    }
}

/// Starts a run and answers 202 with its id or, when the caller waits and it ends in
/// time, 200 with its outcome. A failed run is an outcome like any other.
pub async fn answer_start(edge: &Edge, start: Start, prefer: Prefer) -> Result<Response, Problem> {
    let (accepted, settled) = match prefer.wait {
        None => (edge.engine().start(start).await?, None),
        Some(wait) => edge.engine().start_and_wait(start, wait).await?,
    };
    let status = match settled {
        Some(_) => StatusCode::OK,
        None => StatusCode::ACCEPTED,
    };
    let mut response = (status, Json(RunRef::new(accepted.run, settled))).into_response();
    let headers = response.headers_mut();
    if let Ok(location) = HeaderValue::from_str(&format!("/api/v1/runs/{}", accepted.run)) {
        headers.insert(header::LOCATION, location);
    }
    headers.extend(prefer.wait.into_iter().flat_map(applied));
    if accepted.replayed {
        let (name, value) = REPLAYED;
        headers.insert(name, value);
    }
    Ok(response)
}

pub(crate) async fn start(
    State(edge): State<Edge>,
    caller: Caller,
    OptionalKey(key): OptionalKey,
    prefer: Prefer,
    Json(request): Json<StartRequest>,
) -> Result<Response, Problem> {
    let principal = &caller.principal;
    check_open(&edge, principal, &request)?;
    if request.deadline.is_some_and(|deadline| deadline.get().is_zero()) {
        return Err(unreadable("deadline", "0s", "a period above zero, such as 10m"));
    }
    let workflow = edge.engine().registry().newest(&request.workflow);
    if key.is_none() && workflow.is_some_and(|workflow| workflow.options().needs_key) {
        return Err(key_required());
    }
    let key = match key {
        Some(key) => Some((key.claim(principal, START), request.hash()?)),
        None => None,
    };
    let input = request.input()?;
    let start = Start {
        labels: request.labels,
        priority: request.priority,
        deadline: request.deadline.map(Period::get),
        correlation: Some(caller.correlation),
        key,
        ..Start::new(principal.tenant.clone(), &principal.user, request.workflow, input)
    };
    answer_start(&edge, start, prefer).await
}

/// What a user may not ask for.
fn check_open(edge: &Edge, principal: &Principal, request: &StartRequest) -> Result<(), Problem> {
    if principal.operates() {
        return Ok(());
    }
    let workflow = edge.engine().registry().newest(&request.workflow);
    if workflow.is_some_and(|workflow| !workflow.options().open_to_users) {
        let message = format!("workflow {} is started by operators only", request.workflow);
        return Err(Failure::refused("workflow.not_open", message).into());
    }
    if matches!(request.priority, Some(Priority::Critical | Priority::High)) {
        let message = "priority: only operators may go before others; use normal or low";
        return Err(Problem::new(forbidden(message)).with_field("priority"));
    }
    Ok(())
}

/// A run as lists show it.
#[derive(Debug, Serialize)]
pub(crate) struct RunRow {
    id: String,
    workflow: String,
    status: String,
    principal: Option<String>,
    labels: BTreeMap<String, String>,
    created: Time,
    updated: Time,
}

impl From<Listing> for RunRow {
    fn from(row: Listing) -> Self {
        Self {
            id: row.stream.name().into(),
            workflow: row.kind,
            status: row.status,
            principal: row.principal,
            labels: row.labels,
            created: row.created,
            updated: row.updated,
        }
    }
}

pub(crate) async fn list(
    State(edge): State<Edge>,
    caller: Caller,
    mut query: Query,
) -> Result<Json<Page<RunRow>>, Problem> {
    let statuses = query.many("status");
    for status in &statuses {
        let known = serde_json::from_value::<Status>(status.as_str().into());
        known.map_err(|_| unreadable("status", status, "a status of runs, such as waiting"))?;
    }
    let kind = query.one("workflow")?;
    let labels = labels(query.many("label"))?;
    let asked = listing(&caller, &mut query, RUN)?;
    query.finish()?;
    let page = edge.engine().list_runs(ListQuery { kind, statuses, labels, ..asked }).await?;
    let last = page.rows.last().filter(|_| page.more);
    let next = last.map(|row| Last { created: row.created, name: row.stream.name() }.to_string());
    let items = page.rows.into_iter().map(RunRow::from).collect();
    Ok(Json(Page { items, next }))
}

/// `label=name:value` or `label=name=value`, any number of times.
fn labels(texts: Vec<String>) -> Result<BTreeMap<String, String>, Problem> {
    let mut labels = BTreeMap::new();
    for text in texts {
        let pair = text.split_once(['=', ':']).filter(|(name, _)| check_name("label", name).is_ok());
        let Some((name, value)) = pair else {
            return Err(unreadable("label", &text, "name=value"));
        };
        labels.insert(name.into(), value.into());
    }
    Ok(labels)
}

/// The part of a list's query that all lists share: whose, from where, how many. A user
/// asks for their own things, whatever `principal` says.
pub(crate) fn listing(
    caller: &Caller,
    query: &mut Query,
    category: &'static str,
) -> Result<ListQuery, Problem> {
    let principal = &caller.principal;
    let asked = query.one("principal")?;
    let only = if principal.operates() {
        asked
    } else if asked.is_none_or(|asked| asked == principal.user) {
        Some(principal.user.clone())
    } else {
        return Err(Problem::new(forbidden("principal: only operators see other people's")));
    };
    let after = query.cursor::<Last<RunId>>()?;
    Ok(ListQuery {
        tenant: principal.tenant.clone(),
        principal: only,
        after: after.map(|last| (last.created, StreamId::new(&principal.tenant, category, last.name))),
        limit: query.limit(LIMIT_DEFAULT)?,
        ..ListQuery::default()
    })
}

pub(crate) async fn show(
    State(edge): State<Edge>,
    caller: Caller,
    Place(id): Place<RunId>,
    query: Query,
) -> Result<Json<RunView>, Problem> {
    query.finish()?;
    let run = edge.engine().describe(&caller.principal.tenant, id).await?;
    own(&caller, &run.principal)?;
    Ok(Json(run))
}

/// Somebody else's run is as if it were not there.
fn own(caller: &Caller, principal: &str) -> Result<(), Failure> {
    if caller.principal.operates() || caller.principal.user == principal {
        Ok(())
    } else {
        Err(Failure::refused("run.not_found", "there is no such run"))
    }
}

/// Refuses unless the caller may see the run and act on it.
pub(crate) async fn check_own(edge: &Edge, caller: &Caller, run: RunId) -> Result<(), Failure> {
    let tenant = &caller.principal.tenant;
    let principal = edge.engine().principal_of(tenant, run).await?;
    own(caller, &principal)
}

pub(crate) async fn events(
    State(edge): State<Edge>,
    caller: Caller,
    Place(id): Place<RunId>,
    mut query: Query,
) -> Result<Json<Page<CloudEvent>>, Problem> {
    let from = query.cursor::<u64>()?.unwrap_or(1);
    let limit = query.limit(LIMIT_DEFAULT)?;
    query.finish()?;
    check_own(&edge, &caller, id).await?;
    let tenant = &caller.principal.tenant;
    let mut events = edge.engine().events(tenant, id, from, limit + 1).await?;
    let next = events.get(limit).map(|event| event.version.to_string());
    events.truncate(limit);
    let log = edge.engine().log().identity();
    let items = events.iter().map(|it| CloudEvent::of(&log, it)).collect();
    Ok(Json(Page { items, next }))
}

/// Why the run did what it did: as JSON, or as text for people who ask for `text/plain`.
pub(crate) async fn explain(
    State(edge): State<Edge>,
    caller: Caller,
    Place(id): Place<RunId>,
    query: Query,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    query.finish()?;
    check_own(&edge, &caller, id).await?;
    let tenant = &caller.principal.tenant;
    let story = edge.engine().explain(tenant, id).await?;
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok());
    Ok(match accept {
        Some(accept) if accept.starts_with("text/plain") => story.to_string().into_response(),
        _ => Json(story).into_response(),
    })
}
