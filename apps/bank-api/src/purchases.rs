use axum::{extract::State, response::Response};
use serde::Deserialize;
use steadfast_bank::{
    Bank, ProductId,
    purchase::{PURCHASE, PurchaseRequest},
};
use steadfast_core::{Failure, canonical::Hash};
use steadfast_engine::{Data, Start};
use steadfast_server::{Caller, Edge, Json, Prefer, Problem, RequiredKey, answer_start};

use crate::{customers::admit, transfers::account};

/// What a purchase is asked for with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PurchaseBody {
    product: String,
    #[serde(default = "one")]
    quantity: u32,
    #[serde(default)]
    from: Option<String>,
}

const fn one() -> u32 {
    1
}

impl PurchaseBody {
    /// The request, if each part of it is one.
    pub fn read(self) -> Result<PurchaseRequest, Problem> {
        let product: ProductId = self.product.parse().map_err(|error| {
            Problem::bad_request("product.invalid", format!("product: {error}")).with_field("product")
        })?;
        if self.quantity == 0 {
            let message = "quantity is 0: buy at least one";
            return Err(Problem::bad_request("quantity.invalid", message).with_field("quantity"));
        }
        Ok(PurchaseRequest {
            product,
            quantity: self.quantity,
            from: self.from.map(|from| account("from", &from)).transpose()?,
            total: None,
        })
    }
}

/// A purchase is a run: 202 with its id or, when the caller waits and it ends in time, 200
/// with its outcome, which may be that it failed and was undone.
pub(crate) async fn buy(
    State(edge): State<Edge>,
    State(bank): State<Bank>,
    caller: Caller,
    RequiredKey(key): RequiredKey,
    prefer: Prefer,
    Json(body): Json<PurchaseBody>,
) -> Result<Response, Problem> {
    let request = body.read()?;
    // A product or account that is not there needs no run to say so.
    let found = bank.product(&caller.principal, &request.product).await;
    found.map_err(|failure| Problem::new(failure).with_field("product"))?;
    if let Some(from) = &request.from {
        let own = bank.own_account(&caller.principal, from).await;
        own.map_err(|failure| Problem::new(failure).with_field("from"))?;
    }
    let hash = Hash::of(&request).map_err(|error| Failure::refused("request.invalid", error.to_string()))?;
    let principal = &caller.principal;
    let claim = key.claim(principal, PURCHASE);
    admit(&bank, principal, claim).await?;
    let start = Start {
        correlation: Some(caller.correlation),
        key: Some((claim, hash)),
        ..Start::new(principal.tenant.clone(), &principal.user, PURCHASE, Data::of(&request)?)
    };
    answer_start(&edge, start, prefer).await
}
