use axum::extract::State;
use steadfast_bank::{AccountId, AccountView, Bank, TRANSACTIONS, Transaction, Transactions};
use steadfast_server::{Caller, Edge, Json, Page, Place, Problem, Query};

/// Whose things are asked for: the caller's, unless they say otherwise. The bank refuses
/// what they may not see.
fn of(caller: &Caller, query: &mut Query) -> Result<String, Problem> {
    let asked = query.one("user")?;
    Ok(asked.unwrap_or_else(|| caller.principal.user.clone()))
}

pub(crate) async fn list(
    State(bank): State<Bank>,
    caller: Caller,
    mut query: Query,
) -> Result<Json<Page<AccountView>>, Problem> {
    let user = of(&caller, &mut query)?;
    query.finish()?;
    let items = bank.accounts(&caller.principal, &user).await?;
    Ok(Json(Page { items, next: None }))
}

pub(crate) async fn show(
    State(bank): State<Bank>,
    caller: Caller,
    Place(id): Place<AccountId>,
    query: Query,
) -> Result<Json<AccountView>, Problem> {
    query.finish()?;
    Ok(Json(bank.account(&caller.principal, &id).await?))
}

pub(crate) async fn transactions(
    State(edge): State<Edge>,
    State(bank): State<Bank>,
    caller: Caller,
    Place(id): Place<AccountId>,
    mut query: Query,
) -> Result<Json<Page<Transaction>>, Problem> {
    let list = format!("bank.transactions {} {id}", caller.principal.tenant);
    let (cursor, limit) = page(&edge, &list, &mut query)?;
    query.finish()?;
    let page = bank.transactions(&caller.principal, &id, cursor.as_deref(), Some(limit));
    Ok(answer(&edge, &list, page.await?))
}

/// The movements of all accounts of one user.
pub(crate) async fn all_transactions(
    State(edge): State<Edge>,
    State(bank): State<Bank>,
    caller: Caller,
    mut query: Query,
) -> Result<Json<Page<Transaction>>, Problem> {
    let user = of(&caller, &mut query)?;
    let list = format!("bank.transactions_of {} {user}", caller.principal.tenant);
    let (cursor, limit) = page(&edge, &list, &mut query)?;
    query.finish()?;
    let page = bank.transactions_of(&caller.principal, &user, cursor.as_deref(), Some(limit));
    Ok(answer(&edge, &list, page.await?))
}

fn page(edge: &Edge, list: &str, query: &mut Query) -> Result<(Option<String>, usize), Problem> {
    let cursor = query.one("cursor")?.map(|cursor| edge.unseal(list, &cursor)).transpose()?;
    Ok((cursor, query.limit(TRANSACTIONS)?))
}

fn answer(edge: &Edge, list: &str, page: Transactions) -> Json<Page<Transaction>> {
    let next = page.next.map(|place| edge.seal(list, &place));
    Json(Page { items: page.transactions, next })
}
