//! The books, judged from outside.

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;

use crate::{
    http::Client,
    node::{Place, root},
};

/// What the demo begins with, in centavos.
pub(crate) fn seeded() -> BTreeMap<String, i64> {
    [
        ("ana-checking", 2_500_000),
        ("ana-savings", 10_000_000),
        ("luis-checking", 800_000),
        ("marta-checking", 150_000),
        ("mercado-checking", 0),
    ]
    .map(|(account, minor)| (account.to_owned(), minor))
    .into()
}

/// All accounts of the demo as the server lists them.
pub(crate) async fn listed(place: &Place, client: &Client) -> Vec<Value> {
    let token = place.token("root", "operator");
    let mut accounts = Vec::new();
    for user in ["ana", "luis", "marta", "mercado"] {
        let path = format!("/bank/accounts?user={user}");
        let answer = client.get(&token, &path).await;
        accounts.extend(answer["items"].as_array().expect("a list").iter().cloned());
    }
    accounts
}

/// Balances by account.
pub(crate) fn balances(listed: &[Value]) -> BTreeMap<String, i64> {
    let balance = |account: &Value| {
        let id = account["id"].as_str().expect("an id").to_owned();
        (id, account["balance"]["minor"].as_i64().expect("centavos"))
    };
    listed.iter().map(balance).collect()
}

/// Exports the log and has a program that shares nothing with ours recompute all of it.
pub(crate) fn recompute(place: &Place, listed: &[Value]) -> Value {
    place.ok(&["events", "export", "--output", "export.jsonl"]);
    let list = serde_json::to_string(listed).expect("JSON");
    std::fs::write(place.path("listed.json"), list).expect("written");
    let output = Command::new("python3")
        .arg(root().join("ci/recompute.py"))
        .arg(place.path("export.jsonl"))
        .arg("--listed")
        .arg(place.path("listed.json"))
        .arg("--effects")
        .arg(place.path("effects.txt"))
        .output()
        .expect("python3 runs");
    let told = String::from_utf8_lossy(&output.stdout);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}{said}");
    serde_json::from_str(&told).expect("JSON")
}
