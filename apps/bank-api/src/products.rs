use axum::extract::State;
use steadfast_bank::{Bank, ProductId, ProductView};
use steadfast_server::{Caller, Json, LIMIT_DEFAULT, Last, Page, Place, Problem, Query};

pub(crate) async fn list(
    State(bank): State<Bank>,
    caller: Caller,
    mut query: Query,
) -> Result<Json<Page<ProductView>>, Problem> {
    let tenant = &caller.principal.tenant;
    let after = query.cursor::<Last<ProductId>>()?;
    let after = after.map(|last| (last.created, last.name.stream(tenant)));
    let limit = query.limit(LIMIT_DEFAULT)?;
    query.finish()?;
    let (items, last) = bank.products(&caller.principal, after, limit).await?;
    let next = last.map(|(created, product)| Last { created, name: product.name() }.to_string());
    Ok(Json(Page { items, next }))
}

pub(crate) async fn show(
    State(bank): State<Bank>,
    caller: Caller,
    Place(id): Place<ProductId>,
    query: Query,
) -> Result<Json<ProductView>, Problem> {
    query.finish()?;
    Ok(Json(bank.product(&caller.principal, &id).await?))
}
