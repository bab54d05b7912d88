//! Amounts, accounts, e-mails, phones and tokens never reach the server's log.

use reqwest::Method;
use serde_json::json;

use crate::{
    http::{Client, send},
    node::{Node, Place, SERVE},
};

/// Planted values, and how else they might be spelled.
const AMOUNT: &[&str] = &["7316425", "73164.25", "73,164.25", "73 164.25"];
const OTHERS: &[&str] = &[
    "zorro.canary@example.com",
    "zorro.canary",
    "+52 55 1234 9876",
    "525512349876",
    "5512349876",
    "canary-account-4417",
    "canarytoken",
    "eyJ",
    "luis-checking",
    "canary-key",
];

#[tokio::test(flavor = "multi_thread")]
async fn planted_values_never_appear_in_the_log_at_any_level() {
    for third_party in ["false", "true"] {
        let place = Place::new();
        let mut command = place.command(SERVE);
        command.env("STEADFAST_LOG__LEVEL", "trace").env("STEADFAST_LOG__THIRD_PARTY", third_party);
        let node = Node::start(command);
        let client = Client::new(&node.url);
        let token = place.token("ana", "user");
        plant(&client, &token).await;
        node.stop();
        let log = std::fs::read_to_string(place.path("log.txt")).expect("a log");
        assert!(log.lines().count() > 10, "there is something to look at: {log}");
        for line in log.lines() {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
            assert!(value["message"].is_string() && value["level"].is_string());
        }
        let lower = log.to_lowercase();
        for planted in AMOUNT.iter().chain(OTHERS) {
            let found = lower.find(&planted.to_lowercase());
            let around = found.map(|at| &lower[at.saturating_sub(200)..(at + 80).min(lower.len())]);
            assert!(found.is_none(), "{planted:?} is in the log: {around:?}");
        }
        assert!(!log.contains(&token));
    }
}

/// Sends the planted values every way that a request can carry one.
async fn plant(client: &Client, token: &str) {
    let amount = json!({ "minor": 7_316_425, "currency": "MXN" });
    let memo = "mail zorro.canary@example.com or +52 55 1234 9876";
    let bodies = [
        json!({ "to": "luis", "amount": amount, "memo": memo }),
        json!({ "to": "luis-checking", "amount": { "minor": 73_164.25, "currency": "MXN" } }),
        json!({ "to": "canary-account-4417", "amount": amount }),
        json!({ "to": "zorro.canary@example.com", "amount": amount }),
        json!({ "to": "luis", "amount": "73,164.25 MXN", "zorro.canary@example.com": 1 }),
    ];
    for (number, body) in bodies.iter().enumerate() {
        for path in ["/bank/transfers", "/bank/purchases", "/runs"] {
            let request = client
                .raw(Method::POST, &format!("/api/v1{path}"))
                .bearer_auth(token)
                .header("Idempotency-Key", format!("canary-key-{number}"))
                .header("X-Request-Id", "525512349876")
                .header("User-Agent", "zorro.canary@example.com")
                .json(body);
            send(request).await.expect("an answer");
        }
    }
    let run = json!({ "workflow": "bench.steps", "input": { "steps": 1, "millis": 0 },
                      "labels": { "mail": "zorro.canary@example.com" } });
    let request = client
        .raw(Method::POST, "/api/v1/runs")
        .bearer_auth(token)
        .header("Idempotency-Key", "canary-key-run")
        .header("Prefer", "wait=10")
        .json(&run);
    assert_eq!(send(request).await.expect("an answer").status, 200);
    for path in [
        "/api/v1/bank/accounts/canary-account-4417/transactions",
        "/api/v1/bank/accounts?user=zorro.canary",
        "/api/v1/runs?label=mail=zorro.canary@example.com&status=5512349876",
        "/canarytoken/525512349876",
    ] {
        send(client.raw(Method::GET, path).bearer_auth(token)).await.expect("an answer");
        let wrong = client.raw(Method::GET, path).bearer_auth("canarytoken.eyJhbGciOi.x");
        send(wrong).await.expect("an answer");
    }
}
