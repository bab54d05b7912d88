use axum::{
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use steadfast_core::{RunId, id_type};
use steadfast_engine::Data;

use crate::{
    Caller, Edge, Operator, OptionalKey, OrDefault, Place, Problem, REPLAYED, RawJson, runs::check_own,
};

id_type!(
    /// A message, derived from the key it was sent under.
    MessageId
);

impl MessageId {
    /// The same key of the same caller for the same thing is the same message.
    fn under(key: &OptionalKey, caller: &Caller, operation: &str, run: RunId) -> Option<Self> {
        let key = key.0.as_ref()?;
        let claim = key.claim(&caller.principal, operation);
        Some(Self::derived(&[run.as_bytes(), &claim.0.0]))
    }
}

/// 202: the message is durable; the run takes it when it comes to it.
pub(crate) async fn signal(
    State(edge): State<Edge>,
    caller: Caller,
    Path((id, name)): Path<(String, String)>,
    key: OptionalKey,
    RawJson(value): RawJson,
) -> Result<Response, Problem> {
    let run: RunId = id.parse().map_err(|error: steadfast_core::id::InvalidId| {
        Problem::bad_request("request.invalid_path", error.to_string()).with_field("id")
    })?;
    check_own(&edge, &caller, run).await?;
    let principal = &caller.principal;
    let message = MessageId::under(&key, &caller, &format!("runs.signal.{name}"), run);
    let value = Data::of(&value)?;
    let replayed = edge
        .engine()
        .signal(&principal.tenant, run, message.map(|it| it.0), &principal.user, &name, value)
        .await?;
    Ok(accepted(replayed))
}

fn accepted(replayed: bool) -> Response {
    let mut response = StatusCode::ACCEPTED.into_response();
    if replayed {
        let (name, value) = REPLAYED;
        response.headers_mut().insert(name, value);
    }
    response
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reason {
    #[serde(default)]
    reason: String,
}

/// 202: the run will end when it comes to the message, and undo what it did.
pub(crate) async fn cancel(
    State(edge): State<Edge>,
    caller: Caller,
    Place(run): Place<RunId>,
    key: OptionalKey,
    OrDefault(why): OrDefault<Reason>,
) -> Result<Response, Problem> {
    check_own(&edge, &caller, run).await?;
    let principal = &caller.principal;
    let message = MessageId::under(&key, &caller, "runs.cancel", run);
    let replayed = edge
        .engine()
        .cancel(&principal.tenant, run, message.map(|it| it.0), &principal.user, &why.reason)
        .await?;
    Ok(accepted(replayed))
}

/// 204: the run is over, and nothing was undone.
pub(crate) async fn kill(
    State(edge): State<Edge>,
    Operator(caller): Operator,
    Place(run): Place<RunId>,
    OrDefault(why): OrDefault<Reason>,
) -> Result<StatusCode, Problem> {
    let principal = &caller.principal;
    edge.engine().kill(&principal.tenant, run, &principal.user, &why.reason).await?;
    Ok(StatusCode::NO_CONTENT)
}
