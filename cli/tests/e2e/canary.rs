//! Amounts, accounts, e-mails, phones and tokens never reach the server's log or metrics,
//! and what people say is not in its files as they said it.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use tokio_tungstenite::{
    connect_async,
    tungstenite::{client::IntoClientRequest as _, http::HeaderValue},
};

use crate::{
    http::{Client, send},
    node::{Node, Place, SERVE},
    talker::Talker,
};

/// Planted values, and how else they might be spelled.
const AMOUNT: &[&str] = &[
    "7316425",
    "73164.25",
    "73,164.25",
    "73 164.25",
    "setenta y tres mil",
    "seventy-three thousand",
    "1,750.50",
    "mil setecientos cincuenta",
];
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
    "032180000118359719",
    "canary words",
];
/// Words that are in no message but as such.
const SEALED: &[&str] = &["canary words", "setenta y tres mil", "seventy-three thousand"];

#[tokio::test(flavor = "multi_thread")]
async fn planted_values_never_appear_in_the_log_at_any_level() {
    for (level, third_party) in [("trace", "false"), ("trace", "true"), ("debug", "true")] {
        let place = Place::new();
        let mut command = place.command(SERVE);
        command.env("STEADFAST_LOG__LEVEL", level).env("STEADFAST_LOG__THIRD_PARTY", third_party);
        let mut node = Node::start(command);
        let client = Client::new(&node.url);
        let token = place.token("ana", "user");
        plant(&client, &token).await;
        plant_frames(&node.url, &token).await;
        plant_handshakes(&node.url, &token).await;
        let metrics = send(client.raw(Method::GET, "/metrics")).await.expect("an answer");
        assert_nothing_planted(&metrics.body.to_string(), &token);
        node.kill();
        let log = std::fs::read_to_string(place.path("log.txt")).expect("a log");
        assert!(log.lines().count() > 10, "there is something to look at: {log}");
        for line in log.lines() {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
            assert!(value["message"].is_string() && value["level"].is_string());
        }
        assert_nothing_planted(&log, &token);
        assert_sealed(&place.path("data"));
    }
}

fn assert_nothing_planted(text: &str, token: &str) {
    let lower = text.to_lowercase();
    for planted in AMOUNT.iter().chain(OTHERS) {
        let found = lower.find(&planted.to_lowercase());
        let around = found.map(|at| lower[..at].chars().rev().take(200).collect::<String>());
        let around = around.map(|before| before.chars().rev().collect::<String>());
        assert!(found.is_none(), "{planted:?} is there, after {around:?}");
    }
    assert!(!text.contains(token));
}

/// Of the words of messages, nothing is in the files.
fn assert_sealed(data: &Path) {
    let files = ["steadfast.db", "steadfast.db-wal"].map(|name| std::fs::read(data.join(name)));
    let bytes: Vec<u8> = files.into_iter().flatten().flatten().collect();
    let has = |words: &str| bytes.windows(words.len()).any(|window| window == words.as_bytes());
    assert!(has("session.heard"), "there is something to look at");
    for words in SEALED {
        assert!(!has(words), "{words:?} is in the store as it was said");
    }
}

/// Says the planted values, in messages and in frames that are none.
async fn plant_frames(url: &str, token: &str) {
    let mut talker = Talker::connect(url, token).await;
    for text in [
        "transfiere $73,164.25 a luis",
        "transfiere $1,750.50 a luis, canary words",
        "transfiere mil setecientos cincuenta pesos a luis",
        "transfiere setenta y tres mil ciento sesenta y cuatro pesos a luis",
        "send seventy-three thousand one hundred pesos to luis",
        "send 73164.25 to 032180000118359719",
        "my phone is +52 55 1234 9876 and my mail zorro.canary@example.com",
        "canarytoken.eyJhbGciOi.x",
    ] {
        let request = steadfast_core::World::system().uuid().to_string();
        talker.send(&json!({ "type": "message", "request_id": request, "text": text })).await;
        talker.ack(&request).await;
        let reply = talker.hear(&request, |frame| frame["type"] == "reply").await;
        if reply["status"] == "needs_confirmation" {
            talker.send(&json!({ "type": "confirm", "request_id": request, "accept": true })).await;
            talker.hear(&request, |frame| frame["type"] == "reply").await;
        }
    }
    let long = "zorro.canary@example.com 73,164.25 ".repeat(200);
    let mut talker = Talker::connect(url, token).await;
    for wrong in [
        r#"{"type":"message","text":"zorro.canary@example.com 73,164.25" "#.to_owned(),
        json!({ "type": "message", "text": long }).to_string(),
        json!({ "type": "message", "text": "hola", "zorro.canary@example.com": "73,164.25" }).to_string(),
        json!({ "type": "canarytoken", "text": "hola" }).to_string(),
        json!({ "type": "message", "text": "hola", "session_id": "canary-account-4417" }).to_string(),
        json!({ "type": "message", "text": "hola", "request_id": "+52 55 1234 9876" }).to_string(),
        json!({ "type": "confirm", "request_id": "canary-key", "accept": "73164.25" }).to_string(),
        json!("zorro.canary@example.com").to_string(),
    ] {
        talker.say(&wrong).await;
        let refused = talker.next().await.expect("the connection stays");
        assert_eq!(refused["type"], "error", "{wrong}: {refused}");
    }
    // Too large for any message: the connection is closed.
    talker.say(&long.repeat(20)).await;
    while talker.next().await.is_some() {}
}

/// Offers tokens and values in every part of a handshake.
async fn plant_handshakes(url: &str, token: &str) {
    let forged = "canarytoken.eyJhbGciOi.x";
    let protocols = |token: &str| ("Sec-WebSocket-Protocol", format!("steadfast.v1, bearer.{token}"));
    for (query, headers, good) in [
        ("", vec![protocols(token)], true),
        ("", vec![protocols(forged)], false),
        ("", vec![("Authorization", format!("Bearer {forged}"))], false),
        ("", vec![protocols(token), ("Authorization", format!("Bearer {forged}"))], false),
        ("", vec![protocols(token), ("Origin", "https://zorro.canary.example.com".to_owned())], false),
        ("?token=canarytoken.eyJ&to=luis-checking", vec![protocols(token)], false),
    ] {
        let address = format!("{}/ws{query}", url.replacen("http", "ws", 1));
        let mut request = address.into_client_request().expect("an address");
        for (name, value) in &headers {
            request.headers_mut().insert(*name, HeaderValue::from_str(value).expect("a header"));
        }
        assert_eq!(connect_async(request).await.is_ok(), good, "{query} {headers:?}");
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
