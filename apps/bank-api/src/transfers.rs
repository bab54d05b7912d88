use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde::{Deserialize, Serialize};
use steadfast_bank::{AccountId, Answer, Ask, Bank, Key, Op, Status, TransferRequest};
use steadfast_core::{Failure, Money, canonical::Hash};
use steadfast_server::{Caller, Json, Problem, REPLAYED, RequiredKey};

use crate::{customers::admit, money::Amount};

/// What a transfer is asked for with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransferBody {
    /// A user or an account.
    to: String,
    #[serde(default)]
    from: Option<String>,
    amount: Amount,
    #[serde(default)]
    memo: Option<String>,
}

impl TransferBody {
    /// The request, if each part of it is one.
    pub fn read(self) -> Result<TransferRequest, Problem> {
        Ok(TransferRequest {
            amount: self.amount.read("amount")?,
            from: self.from.map(|from| account("from", &from)).transpose()?,
            to: self.to,
            memo: self.memo,
        })
    }
}

/// An account named in the body.
pub(crate) fn account(field: &'static str, text: &str) -> Result<AccountId, Problem> {
    text.parse().map_err(|error| {
        Problem::bad_request("account.invalid", format!("{field}: {error}")).with_field(field)
    })
}

#[derive(Serialize)]
struct Transferred {
    id: String,
    status: Status,
    amount: Option<Money>,
}

/// 201 once the money has moved; 422 when the rules of the bank say no, which is final and
/// the same under the same key.
pub(crate) async fn transfer(
    State(bank): State<Bank>,
    caller: Caller,
    RequiredKey(key): RequiredKey,
    Json(body): Json<TransferBody>,
) -> Result<Response, Problem> {
    let request = body.read()?;
    // Of what was asked, not of what it comes to: which account a user is paid into may
    // change between two sendings.
    let hash = Hash::of(&request).map_err(|error| Failure::refused("request.invalid", error.to_string()))?;
    let op = bank.transfer_op(&caller.principal, request).await;
    let op = Op::Transfer(op.map_err(place)?);
    admit(&bank, &caller.principal, key.claim(&caller.principal, op.name())).await?;
    let mut ask = Ask::new(op, caller.principal, Key::Client(key.as_str().into()));
    ask.request = Some(hash);
    ask.correlation = Some(caller.correlation);
    let reply = bank.ask(ask).await.map_err(place)?;
    let answer = outcome(reply.answer);
    Ok(if reply.replayed { ([REPLAYED], answer).into_response() } else { answer.into_response() })
}

fn outcome(answer: Answer) -> Result<Response, Problem> {
    let id = answer.id.clone();
    let answer = answer.into_result().map_err(|failure| Problem::new(failure).with_id(id))?;
    let Answer { id, status, amount, .. } = answer;
    let body = Json(Transferred { id, status, amount });
    Ok((StatusCode::CREATED, body).into_response())
}

/// Names the member of the body that a refusal of the bank is about.
fn place(failure: Failure) -> Problem {
    let field = match failure.code.as_str() {
        "to.invalid" | "transfer.same_account" => Some("to"),
        "account.no_default" => Some("from"),
        "memo.invalid" => Some("memo"),
        "money.currency_mismatch" => Some("amount.currency"),
        _ => None,
    };
    let problem = Problem::new(failure);
    match field {
        Some(field) => problem.with_field(field),
        None => problem,
    }
}
