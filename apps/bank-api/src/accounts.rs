use axum::extract::State;
use steadfast_bank::{AccountId, AccountView, Bank, TRANSACTIONS, Transaction, Transactions};
use steadfast_server::{Caller, Json, Page, Place, Problem, Query};

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
) -> Result<Json<AccountView>, Problem> {
    Ok(Json(bank.account(&caller.principal, &id).await?))
}

pub(crate) async fn transactions(
    State(bank): State<Bank>,
    caller: Caller,
    Place(id): Place<AccountId>,
    mut query: Query,
) -> Result<Json<Page<Transaction>>, Problem> {
    let (cursor, limit) = (query.one("cursor")?, query.limit(TRANSACTIONS)?);
    query.finish()?;
    let page = bank.transactions(&caller.principal, &id, cursor.as_deref(), Some(limit));
    Ok(answer(page.await?))
}

/// The movements of all accounts of one user.
pub(crate) async fn all_transactions(
    State(bank): State<Bank>,
    caller: Caller,
    mut query: Query,
) -> Result<Json<Page<Transaction>>, Problem> {
    let user = of(&caller, &mut query)?;
    let (cursor, limit) = (query.one("cursor")?, query.limit(TRANSACTIONS)?);
    query.finish()?;
    let page = bank.transactions_of(&caller.principal, &user, cursor.as_deref(), Some(limit));
    Ok(answer(page.await?))
}

fn answer(page: Transactions) -> Json<Page<Transaction>> {
    Json(Page { items: page.transactions, next: page.next })
}
