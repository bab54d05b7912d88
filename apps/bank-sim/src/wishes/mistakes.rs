//! Requests that are wrong, each with what it must be told.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};
use steadfast_core::{Role, World};

use super::{Chooser, OPERATOR, What, Wish};
use crate::{
    calls::{By, Call, Sent, token},
    workflows::odd::TOO_MUCH,
};

const RUNS: &str = "/api/v1/runs";
const TRANSFERS: &str = "/api/v1/bank/transfers";
const PURCHASES: &str = "/api/v1/bank/purchases";
const CONTACTS: &str = "/api/v1/bank/contacts";
const NONE: &str = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";

type Mistakes = Vec<(Call, &'static str)>;

impl Chooser<'_> {
    pub(super) fn mistake(&self) -> Wish {
        let of = match self.below(10) {
            0 => tokens(),
            1 | 2 => requests(),
            3 | 4 => bodies(),
            5 | 6 => runs(),
            7 => self.known(),
            8 if self.narrow => full(),
            _ => bank(),
        };
        let (call, code) =
            self.one(&of).cloned().unwrap_or_else(|| (Call::get("ana", "/"), "request.no_such_path"));
        self.http(call, What::Mistake(code.split(' ').collect()))
    }

    /// About what is known to be there.
    fn known(&self) -> Mistakes {
        let mut mistakes = Vec::new();
        if let Some(run) = self.one(&self.notes.runs()) {
            let of = |what: &str| format!("{RUNS}/{run}{what}");
            mistakes.extend([
                (Call::get("luis", of("")), "run.not_found"),
                (Call::post("ana", of("/signals/-"), json!(1)), "signal.invalid_name"),
                (Call::post("ana", of("/kill"), json!({})), "auth.forbidden"),
                (Call::get("ana", of("/events?cursor=x")), "cursor.invalid"),
            ]);
        }
        if let Some(key) = self.one(&self.notes.accepted_transfers()) {
            let body = transfer("ana", 1, "MXN");
            mistakes.push((
                Call::post(key.0, TRANSFERS, body).keyed(&key.1),
                "idempotency_key_reused customer.inactive",
            ));
        }
        if let Some(key) = self.one(&self.notes.accepted_runs()) {
            let body = json!({ "workflow": "saga", "input": { "size": 99 } });
            mistakes.push((Call::post("ana", RUNS, body).keyed(key), "idempotency_key_reused"));
        }
        mistakes
    }
}

fn tokens() -> Mistakes {
    let plain = || Call::get("ana", RUNS);
    let with = |token: String| Call { by: By::Token(token), ..plain() };
    // Clocks are wrong by less than a day.
    let day = Duration::from_secs(24 * 3_600);
    let (world, clock) = World::manual(1);
    let now = world.now();
    clock.jump(now.before(day));
    let old = token("ana", Role::User, Duration::from_secs(60), &world);
    clock.jump(now.after(day));
    let young = token("ana", Role::User, Duration::from_secs(60), &world);
    let mut two = Call::get("ana", "/ws");
    two = two.with("sec-websocket-protocol", "bearer.another");
    vec![
        (Call { by: By::Nobody, ..plain() }, "auth.missing"),
        (with("nonsense".into()), "token.invalid"),
        (with(old), "token.expired"),
        (with(young), "token.not_yet_valid"),
        (two, "auth.ambiguous"),
        (Call::get("ana", "/api/v1/events"), "auth.forbidden"),
        (
            Call::post("ana", "/api/v1/bank/imports", json!({ "kind": "accounts", "lines": [] })),
            "auth.forbidden",
        ),
        (Call::get("ana", format!("{RUNS}?principal=luis")), "auth.forbidden"),
    ]
}

fn requests() -> Mistakes {
    let delete = |path: &str| Call { method: Method::DELETE, ..Call::get("ana", path) };
    let operator = |call: Call| call.role(Role::Operator);
    vec![
        (Call::get("ana", "/api/v1/nothing"), "request.no_such_path"),
        (delete(RUNS), "request.method_not_allowed"),
        (Call::post("ana", "/api/v1/runs/%FF/signals/go", json!(1)), "request.invalid"),
        (Call::get("ana", "/api/v1/runs/seven"), "request.invalid_path"),
        (Call::get("ana", format!("{RUNS}?colour=red")), "request.invalid_query"),
        (Call::get("ana", format!("{RUNS}?cursor=x")), "cursor.invalid"),
        (Call::get("ana", "/api/v1/bank/transactions?cursor=x"), "cursor.invalid"),
        (Call::get("ana", "/ws"), "request.invalid_upgrade"),
        (operator(Call::post(OPERATOR, "/api/v1/breakers/none/reset", json!({}))), "breaker.not_found"),
        (operator(Call::get(OPERATOR, format!("/api/v1/dead-letters/{NONE}"))), "dead_letter.not_found"),
    ]
}

fn bodies() -> Mistakes {
    let send = |sent: Sent| Call { sent, ..Call::post("ana", RUNS, json!(null)) };
    let start = || Call::post("ana", RUNS, json!({ "workflow": "saga", "input": { "size": 1 } }));
    vec![
        (send(Sent::Text("{}".into())), "request.media_type"),
        (send(Sent::Broken), "request.cut_off"),
        (send(Sent::Endless), "request.timeout"),
        (send(Sent::Json(json!("x".repeat(300 * 1024)))), "request.too_large"),
        (send(Sent::Text("{".into())).with("content-type", "application/json"), "request.invalid_json"),
        (send(Sent::Json(json!({ "workflow": 7 }))), "request.invalid_body"),
        (start().with("prefer", "wait=soon"), "request.invalid_prefer"),
        (start().keyed("two words"), "request.invalid_idempotency_key"),
        (Call::post("ana", TRANSFERS, transfer("luis", 1, "MXN")), "idempotency_key_required"),
    ]
}

fn runs() -> Mistakes {
    let start = |body: Value| Call::post("ana", RUNS, body);
    let labels: std::collections::BTreeMap<String, &str> = (0..17).map(|i| (format!("l{i}"), "x")).collect();
    let saga = |labels: Value| json!({ "workflow": "saga", "input": { "size": 1 }, "labels": labels });
    vec![
        (start(json!({ "workflow": "sega", "input": null })), "workflow.unknown"),
        (start(json!({ "workflow": "saga", "input": { "size": "x" } })), "run.invalid_input"),
        (start(saga(json!(labels))), "run.too_many_labels"),
        (start(saga(json!({ "not a name": "x" }))), "run.invalid_label"),
        (start(json!({ "workflow": TOO_MUCH, "input": { "size": 1 } })), "commit.too_large"),
        (start(json!({ "workflow": "bank.assistant", "input": null })), "workflow.not_open"),
        (start(json!({ "workflow": "saga", "input": { "size": 1 }, "priority": "high" })), "auth.forbidden"),
        (Call::get("ana", format!("{RUNS}/{NONE}")), "run.not_found"),
    ]
}

fn transfer(to: &str, minor: i64, currency: &str) -> Value {
    json!({ "to": to, "amount": { "minor": minor, "currency": currency } })
}

fn bank() -> Mistakes {
    let pay = |body: Value| Call::post("ana", TRANSFERS, body).keyed("a-mistake");
    let buy = |body: Value| Call::post("ana", PURCHASES, body).keyed("a-mistake");
    let know = |name: &str, user: &str| Call::post("ana", CONTACTS, json!({ "name": name, "user": user }));
    let mut foreign = transfer("luis-checking", 1, "USD");
    foreign["from"] = json!("ana-checking");
    let mut nowhere = transfer("luis", 1, "MXN");
    nowhere["from"] = json!("no account!");
    let mut long = transfer("luis", 1, "MXN");
    long["memo"] = json!("x".repeat(200));
    vec![
        (pay(transfer("", 1, "MXN")), "to.invalid"),
        (pay(nowhere), "account.invalid"),
        (pay(transfer("luis", 0, "MXN")), "money.not_positive"),
        (pay(transfer("luis", 1, "XXX")), "money.unknown_currency"),
        (pay(transfer("luis", 1 << 60, "MXN")), "money.out_of_range"),
        (pay(long), "memo.invalid"),
        (pay(transfer("luis", 1, "USD")), "account.no_default"),
        (pay(transfer("ana", 1, "MXN")), "transfer.same_account"),
        (pay(foreign), "money.currency_mismatch"),
        (pay(transfer("nobody", 1, "MXN")), "account.not_found"),
        (buy(json!({ "product": "" })), "product.invalid"),
        (buy(json!({ "product": "perpetuum-mobile" })), "product.not_found"),
        (buy(json!({ "product": "cafe-chiapas", "quantity": 0 })), "quantity.invalid"),
        (know(" ", "luis"), "contact.invalid_name"),
        (know("Luis", "marta"), "contact.name_taken"),
        (know("Me", "ana"), "contact.self"),
        (know("Nobody", "nobody"), "user.not_found"),
        (Call::get("ana", "/api/v1/bank/accounts?user=luis"), "user.not_found"),
    ]
}

fn full() -> Mistakes {
    let more = json!({ "name": "One more", "user": "ana" });
    vec![(Call::post(FULL, CONTACTS, more), "contact.too_many")]
}

/// Whoever knows as many people as anyone may.
pub(crate) const FULL: &str = "paula";
