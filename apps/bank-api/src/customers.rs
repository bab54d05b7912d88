use axum::{
    extract::{Path, State},
    http::StatusCode,
};
use serde::Serialize;
use steadfast_bank::Bank;
use steadfast_core::Principal;
use steadfast_log::ClaimKey;
use steadfast_server::{Json, Operator, Problem, Query};

#[derive(Serialize)]
pub(crate) struct Standing {
    user: String,
    active: bool,
}

/// Who is not active may not pay, buy or begin conversations. The same again changes nothing.
pub(crate) async fn set<const ACTIVE: bool>(
    State(bank): State<Bank>,
    Operator(caller): Operator,
    Path(user): Path<String>,
    query: Query,
) -> Result<Json<Standing>, Problem> {
    query.finish()?;
    let active = bank.set_active(&caller.principal, &user, ACTIVE).await?.active;
    Ok(Json(Standing { user, active }))
}

/// Lets in who may act, before anything is accepted: 403 for others.
pub(crate) async fn admit(bank: &Bank, principal: &Principal, key: ClaimKey) -> Result<(), Problem> {
    bank.admit(principal, Some(key)).await.map_err(|failure| {
        let inactive = failure.code == "customer.inactive";
        let problem = Problem::new(failure);
        if inactive { problem.with_status(StatusCode::FORBIDDEN) } else { problem }
    })
}
