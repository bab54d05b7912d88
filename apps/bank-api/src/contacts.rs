use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use steadfast_bank::{Bank, Contact};
use steadfast_core::Failure;
use steadfast_server::{Caller, Json, Page, Problem, Query};

/// Who is to be known by which name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContactBody {
    name: String,
    user: String,
}

#[derive(Serialize)]
pub(crate) struct Removed {
    name: String,
    /// False when there was none of that name.
    removed: bool,
}

pub(crate) async fn list(
    State(bank): State<Bank>,
    caller: Caller,
    query: Query,
) -> Result<Json<Page<Contact>>, Problem> {
    query.finish()?;
    let items = bank.contacts(&caller.principal).await?;
    Ok(Json(Page { items, next: None }))
}

/// 201 with the contact; the same again changes nothing and is answered the same.
pub(crate) async fn add(
    State(bank): State<Bank>,
    caller: Caller,
    Json(body): Json<ContactBody>,
) -> Result<(StatusCode, Json<Contact>), Problem> {
    let contact = bank.add_contact(&caller.principal, &body.name, &body.user).await;
    Ok((StatusCode::CREATED, Json(contact.map_err(place)?)))
}

/// By its name in the query, where any text can stand.
pub(crate) async fn remove(
    State(bank): State<Bank>,
    caller: Caller,
    mut query: Query,
) -> Result<Json<Removed>, Problem> {
    let name = query.one("name")?;
    query.finish()?;
    let name = name.ok_or_else(|| {
        let message = "name: say which contact, as in ?name=Ana";
        Problem::bad_request("request.invalid_query", message).with_field("name")
    })?;
    let removed = bank.remove_contact(&caller.principal, &name).await?;
    Ok(Json(Removed { name, removed }))
}

fn place(failure: Failure) -> Problem {
    let field = match failure.code.as_str() {
        "contact.invalid_name" | "contact.name_taken" => Some("name"),
        "contact.self" | "user.not_found" => Some("user"),
        _ => None,
    };
    let problem = Problem::new(failure);
    match field {
        Some(field) => problem.with_field(field),
        None => problem,
    }
}
