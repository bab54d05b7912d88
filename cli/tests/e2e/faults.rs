//! What is wrong with the surroundings: each its own clear error.

use std::time::Duration;

use reqwest::Method;

use crate::{
    http::{Client, Reply, send, transfer},
    node::Place,
};

#[test]
fn a_typo_in_the_configuration_stops_the_start_with_file_line_and_suggestion() {
    let place = Place::new();
    let path = place.path("typo.toml");
    std::fs::write(&path, "[engine]\n\nmax_active_rums = 5\n").expect("written");
    for verb in [&["serve"][..], &["config", "check"]] {
        let args: Vec<&str> = verb.iter().chain(&["--config", "typo.toml"]).copied().collect();
        let said = place.refused(&args);
        assert!(said.contains("typo.toml:3"), "{said}");
        assert!(said.contains("did you mean `max_active_runs`?"), "{said}");
    }
    let said = place.refused(&["serve", "--config", "missing.toml"]);
    assert!(said.contains("missing.toml"), "{said}");
}

#[test]
fn a_check_refuses_all_that_would_stop_the_start() {
    let place = Place::new();
    let key = "0f".repeat(32);
    std::fs::write(place.path("key"), &key).expect("written");
    std::fs::write(place.path("short"), "abc").expect("written");
    let file = "[log]\nlevel = 'loud,,='\n\
        [store]\nkey = { env = 'GONE' }\n\
        [sinks.audit]\nurl = 'example.com'\nsecret = { file = 'key' }\nevents = ['*']\n\
        [sinks.other]\nurl = 'https://example.com'\nsecret = { file = 'short' }\nevents = ['*']\n\
        [models.providers.main]\nkey = { file = 'none' }\n\
        [models.providers.far]\nurl = 'https://user:hunter2 @x'\n\
        [models.providers.odd]\nheaders = { 'a b' = 'c' }\n\
        [models.providers.cloud]\nkind = 'bedrock'\n\
        [models.routes.m]\ntargets = [{ provider = 'mian' }]\n\
        [models.budget.limits.all]\nlimit = '1'\nroutes = ['n']\n";
    std::fs::write(place.path("wrong.toml"), file).expect("written");
    for verb in [&["config", "check"][..], &["serve", "--demo", "--listen", "127.0.0.1:0"]] {
        let said = place.refused(&[verb, &["--config", "wrong.toml"]].concat());
        for told in [
            "wrong.toml:2: log.level: ",
            "wrong.toml:4: store.key: variable GONE is not set",
            "wrong.toml:6: sinks.audit.url: ",
            "wrong.toml:11: sinks.other.secret: expected at least 24 bytes",
            "wrong.toml:14: models.providers.main.key: ",
            "wrong.toml:16: models.providers.far.url: ",
            "models.providers.odd.headers.a b: ",
            "models.providers.cloud.key: ",
            "did you mean `main`?",
            "models.budget.limits.all.routes.0",
        ] {
            assert!(said.contains(told), "{verb:?}: {told}: {said}");
        }
        assert!(!said.contains("hunter2") && !said.contains("abc"), "{said}");
    }
    assert!(!place.path("data").exists(), "nothing was made");

    // With what it points to, it is as fine as it is for the start, and one that has to be
    // read alone was fine before.
    let file = "[node]\nproduction = true\n[store]\nkey = { env = 'GIVEN' }\n\
        [models.providers.main]\nkey = { env = 'GIVEN' }\n";
    std::fs::write(place.path("fine.toml"), file).expect("written");
    let check = ["config", "check", "--config", "fine.toml"];
    assert!(place.refused(&check).contains("variable GIVEN is not set"));
    place.ok(&["config", "show", "--config", "fine.toml"]);
    let checked = place.command(&check).env("GIVEN", &key).output().expect("runs");
    assert!(checked.status.success(), "{checked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_store_and_a_taken_port_are_refused() {
    let place = Place::new();
    let node = place.serve();
    let said = place.refused(&["serve", "--listen", "127.0.0.1:0"]);
    assert!(said.contains("in use by another process"), "{said}");
    let address = node.url.trim_start_matches("http://");
    let said = place.refused(&["serve", "--listen", address, "--store", "sqlite:other.db"]);
    assert!(said.contains(address) && said.contains("--listen"), "{said}");
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let reply = client.post(&token, &transfer("ana", "still", "luis", 1)).await;
    assert!(reply.expect("the first one goes on").status < 300);
}

#[test]
fn a_store_of_a_newer_schema_and_a_file_of_somebody_else_are_refused_untouched() {
    let place = Place::new();
    place.serve().stop();
    let path = place.path("data/steadfast.db");
    let store = rusqlite::Connection::open(&path).expect("opens");
    store.pragma_update(None, "user_version", 9_999).expect("written");
    store.pragma_update(None, "journal_mode", "DELETE").expect("no log beside it");
    drop(store);
    let before = std::fs::read(&path).expect("read");
    let said = place.refused(&["serve"]);
    assert!(said.contains("schema 9999"), "{said}");
    let said = place.refused(&["verify"]);
    assert!(said.contains("schema 9999"), "{said}");
    assert!(std::fs::read(&path).expect("read") == before, "untouched");

    std::fs::write(place.path("letter.txt"), "dear reader, ".repeat(1_000)).expect("written");
    let said = place.refused(&["serve", "--store", "sqlite:letter.txt"]);
    assert!(said.contains("not a Steadfast store"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_it_cannot_keep_and_keeps_what_it_accepted() {
    let place = Place::new();
    place.serve().stop();
    // No file may grow beyond 1 MiB: the log beside the store soon does.
    let mut node = place.serve_after("trap '' XFSZ; ulimit -f 2048");
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let mut replies: Vec<Reply> = Vec::new();
    let full = |reply: &Reply| reply.status >= 500;
    while replies.len() < 5_000 && !replies.last().is_some_and(full) {
        let ask = transfer("ana", &format!("full-{}", replies.len()), "luis", 1);
        replies.push(client.post(&token, &ask).await.expect("the process survives"));
    }
    let last = replies.last().expect("some");
    assert!(full(last), "the disk never filled up: {last:?}");
    assert_eq!(last.body["retryable"], true, "{last:?}");
    assert!(last.text("code").starts_with("store.") || last.text("code").starts_with("ledger."), "{last:?}");
    let health = send(client.raw(Method::GET, "/healthz")).await.expect("an answer");
    assert_eq!(health.status, 200);
    assert!(node.alive());
    node.kill();

    // With room again, the very same requests give the very same answers, or the first.
    let node = place.serve();
    let client = Client::new(&node.url);
    for (number, first) in replies.iter().enumerate() {
        let ask = transfer("ana", &format!("full-{number}"), "luis", 1);
        let reply = client.post(&token, &ask).await.expect("an answer");
        assert!(reply.status < 300, "{reply:?}");
        if !full(first) {
            assert_eq!(reply.outcome(), first.outcome());
        }
    }
    let accounts = client.get(&token, "/bank/accounts").await;
    let moved = i64::try_from(replies.len()).expect("few");
    let checking = accounts["items"].as_array().expect("a list").iter();
    let checking = checking.clone().find(|account| account["id"] == "ana-checking");
    assert_eq!(checking.expect("ana's")["balance"]["minor"], 2_500_000 - moved);
    node.stop();
    place.verify(&["--rebuild"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_running_store_restores_held_and_goes_on_when_resumed() {
    let place = Place::new();
    let node = place.serve();
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let ask = transfer("ana", "kept", "luis", 4_200);
    let first = client.post(&token, &ask).await.expect("an answer");
    place.ok(&["backup", "copy.db"]);
    node.stop();
    place.ok(&["restore", "copy.db", "--store", "sqlite:data/again.db"]);
    place.ok(&["verify", "--rebuild", "--store", "sqlite:data/again.db"]);
    let serve = ["serve", "--bench", "--listen", "127.0.0.1:0", "--store", "sqlite:data/again.db"];
    let held = crate::node::Node::start(place.command(&serve));
    let client = Client::new(&held.url);
    let held_token = place.token("ana", "user");
    let ready = send(client.raw(Method::GET, "/readyz")).await.expect("an answer");
    assert_eq!((ready.status, ready.text("code")), (503, "store.held"), "{ready:?}");
    assert_eq!(ready.body["nothing_happened"], true, "asking changes nothing: {ready:?}");
    for path in ["/bank/transfers", "/bank/purchases", "/runs"] {
        let body = match path {
            "/bank/transfers" => {
                serde_json::json!({ "to": "luis", "amount": { "minor": 100, "currency": "MXN" } })
            }
            "/bank/purchases" => serde_json::json!({ "product": "cafe-chiapas" }),
            _ => serde_json::json!({ "workflow": "bench.steps", "input": { "steps": 1, "millis": 0 } }),
        };
        let request = client
            .raw(reqwest::Method::POST, &format!("/api/v1{path}"))
            .bearer_auth(&held_token)
            .header("Idempotency-Key", "held")
            .json(&body);
        let refused = send(request).await.expect("an answer");
        assert_eq!((refused.status, refused.text("code")), (503, "store.held"), "{path}");
    }
    held.stop();
    place.ok(&["resume", "--store", "sqlite:data/again.db"]);
    let node = crate::node::Node::start(place.command(&serve));
    let client = Client::new(&node.url);
    let again = client.post(&token, &ask).await.expect("an answer");
    assert!(again.replayed, "{again:?}");
    assert_eq!(again.outcome(), first.outcome());
    tokio::time::timeout(Duration::from_secs(10), async { node.stop() }).await.expect("it stops");
}
