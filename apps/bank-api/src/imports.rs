use axum::extract::State;
use serde::Deserialize;
use steadfast_bank::{
    Bank,
    import::{self, Kind, Line, Report},
};
use steadfast_core::{Failure, Role};
use steadfast_server::{Caller, Json, Problem};

/// Lines of one request; the import command sends fewer.
const LINES_MAX: usize = 1_000;

/// Lines of a file of accounts or of transactions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportBody {
    kind: Kind,
    lines: Vec<Line>,
}

/// Carries out lines of a file, for admins. Each line has a key of its own that is never
/// forgotten, so that sending them again changes nothing.
pub(crate) async fn import(
    State(bank): State<Bank>,
    caller: Caller,
    Json(body): Json<ImportBody>,
) -> Result<Json<Report>, Problem> {
    if caller.principal.role < Role::Admin {
        let message = "importing needs an admin's token";
        return Err(Failure::refused("auth.forbidden", message).into());
    }
    if body.lines.len() > LINES_MAX {
        let message = format!("lines: {} given, send {LINES_MAX} at most", body.lines.len());
        return Err(Problem::bad_request("request.invalid_body", message).with_field("lines"));
    }
    let report = import::carry_out(&bank, &caller.principal, body.kind, body.lines).await;
    Ok(Json(report))
}
