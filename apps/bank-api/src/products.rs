use axum::extract::State;
use steadfast_bank::{Bank, ProductId, ProductView};
use steadfast_core::Time;
use steadfast_log::StreamId;
use steadfast_server::{Caller, Json, LIMIT_DEFAULT, Page, Place, Problem, Query};

pub(crate) async fn list(
    State(bank): State<Bank>,
    caller: Caller,
    mut query: Query,
) -> Result<Json<Page<ProductView>>, Problem> {
    let tenant = &caller.principal.tenant;
    let after = query.cursor(|text| {
        let (created, product) = text.split_once('-')?;
        let created = i64::from_str_radix(created, 16).ok()?;
        let product: ProductId = product.parse().ok()?;
        Some((Time::from_micros(created), product.stream(tenant)))
    })?;
    let limit = query.limit(LIMIT_DEFAULT)?;
    query.finish()?;
    let (items, last) = bank.products(&caller.principal, after, limit).await?;
    let next = last.map(|(created, product)| cursor(created, &product));
    Ok(Json(Page { items, next }))
}

/// Where the page after a product begins.
fn cursor(created: Time, product: &StreamId) -> String {
    format!("{:x}-{}", created.micros(), product.name())
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
