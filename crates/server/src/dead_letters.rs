use axum::{extract::State, http::StatusCode};
use steadfast_core::Failure;
use steadfast_engine::{DEAD_LETTER, DeadLetterId, DeadLetterView};
use steadfast_log::ListQuery;

use crate::{
    Caller, Edge, Json, Last, Page, Place, Problem, Query,
    query::unreadable,
    runs::{check_own, listing},
};

pub(crate) async fn list(
    State(edge): State<Edge>,
    caller: Caller,
    mut query: Query,
) -> Result<Json<Page<DeadLetterView>>, Problem> {
    let statuses = query.many("status");
    for status in &statuses {
        if !["open", "replayed", "expired"].contains(&status.as_str()) {
            return Err(unreadable("status", status, "open, replayed or expired"));
        }
    }
    let kind = query.one("kind")?;
    let asked = listing(&caller, &mut query, DEAD_LETTER)?;
    query.finish()?;
    let asked = ListQuery { kind, statuses, ..asked };
    let (items, more) = edge.engine().dead_letters(asked).await?;
    let next = items.last().filter(|_| more).map(|it| Last { created: it.created, name: it.id }.to_string());
    Ok(Json(Page { items, next }))
}

pub(crate) async fn show(
    State(edge): State<Edge>,
    caller: Caller,
    Place(id): Place<DeadLetterId>,
    query: Query,
) -> Result<Json<DeadLetterView>, Problem> {
    query.finish()?;
    Ok(Json(find(&edge, &caller, id).await?))
}

/// 202: it is open work again.
pub(crate) async fn replay(
    State(edge): State<Edge>,
    caller: Caller,
    Place(id): Place<DeadLetterId>,
) -> Result<StatusCode, Problem> {
    find(&edge, &caller, id).await?;
    let principal = &caller.principal;
    edge.engine().replay(&principal.tenant, id, &principal.user).await?;
    Ok(StatusCode::ACCEPTED)
}

/// A dead letter belongs to whom its run belongs; one without a run to operators.
async fn find(edge: &Edge, caller: &Caller, id: DeadLetterId) -> Result<DeadLetterView, Failure> {
    let tenant = &caller.principal.tenant;
    let view = edge.engine().dead_letter(tenant, id).await?;
    let allowed = match view.letter.run {
        _ if caller.principal.operates() => Ok(()),
        Some(run) => check_own(edge, caller, run).await,
        None => Err(missing()),
    };
    match allowed {
        Ok(()) => Ok(view),
        Err(error) if error.code == "run.not_found" => Err(missing()),
        Err(error) => Err(error),
    }
}

fn missing() -> Failure {
    Failure::refused("dead_letter.not_found", "there is no such dead letter")
}
