//! Large values at rest, with and without a key.

use reqwest::Method;
use serde_json::json;

use crate::{
    http::{Client, send},
    node::{Node, Place, SERVE},
};

const PLANTED: &str = "the-canary-in-the-payload";

/// Sends a run a value too large for an event, kills the server, and looks at the files.
async fn found_on_disk(place: &Place, config: &str) -> bool {
    std::fs::write(place.path("steadfast.toml"), config).expect("written");
    let mut args = SERVE.to_vec();
    args.extend(["--config", "steadfast.toml"]);
    let mut node = Node::start(place.command(&args));
    let client = Client::new(&node.url);
    let token = place.token("olga", "admin");
    let start = client
        .raw(Method::POST, "/api/v1/runs")
        .bearer_auth(&token)
        .json(&json!({ "workflow": "bench.steps", "input": { "steps": 2, "millis": 5_000 } }));
    let run = send(start).await.expect("an answer").text("id").to_owned();
    let large = PLANTED.repeat(2_000);
    let path = format!("/api/v1/runs/{run}/signals/large");
    let signal = client.raw(Method::POST, &path).bearer_auth(&token).json(&json!(large));
    assert_eq!(send(signal).await.expect("an answer").status, 202);
    node.kill();
    let files = ["steadfast.db", "steadfast.db-wal"].map(|name| std::fs::read(place.path("data").join(name)));
    let bytes: Vec<u8> = files.into_iter().flatten().flatten().collect();
    assert!(bytes.len() > large.len(), "there is something to look at");
    bytes.windows(PLANTED.len()).any(|window| window == PLANTED.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn large_values_are_encrypted_at_rest_when_a_key_is_configured() {
    assert!(found_on_disk(&Place::new(), "").await, "without a key the search finds what is there");
    let place = Place::new();
    std::fs::write(place.path("store.key"), "0f".repeat(32)).expect("written");
    assert!(!found_on_disk(&place, "[store]\nkey = { file = \"store.key\" }\n").await);
}

#[test]
fn a_key_that_is_none_stops_the_start_and_says_what_one_looks_like() {
    let place = Place::new();
    std::fs::write(place.path("store.key"), "secret").expect("written");
    std::fs::write(place.path("steadfast.toml"), "[store]\nkey = { file = \"store.key\" }\n")
        .expect("written");
    let said = place.refused(&["serve", "--config", "steadfast.toml", "--listen", "127.0.0.1:0"]);
    assert!(said.contains("store.key") && said.contains("64 hex digits"), "{said}");
    assert!(!said.contains("secret\n"), "{said}");
}
