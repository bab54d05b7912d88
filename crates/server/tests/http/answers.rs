//! What right requests are answered with.

use std::{collections::BTreeSet, time::Duration};

use axum::http::StatusCode;
use serde_json::{Value, json};
use steadfast_core::Role;

use crate::house::House;

const RUNS: &str = "/api/v1/runs";

#[tokio::test(start_paused = true)]
async fn a_run_is_accepted_at_once_or_answered_with_its_outcome_when_waited_for() {
    let house = House::new();
    let ask = || house.ask("POST", RUNS).by("ana", Role::User);
    let accepted = ask().json(&json!({ "workflow": "echo", "input": [1] })).send().await;
    assert_eq!(accepted.status, StatusCode::ACCEPTED);
    let id = accepted.json()["id"].as_str().expect("an id").to_owned();
    assert_eq!(accepted.json(), json!({ "id": id, "status": "accepted" }));
    assert_eq!(accepted.header("location"), format!("{RUNS}/{id}"));
    assert_eq!(house.end(&id).await["output"], json!([1]));

    let ended = ask().header("prefer", "wait=5").json(&json!({ "workflow": "refuse" })).send().await;
    assert_eq!(ended.status, StatusCode::OK);
    assert_eq!(ended.header("preference-applied"), "wait=5");
    assert_eq!(ended.json()["status"], "failed");
    assert_eq!(ended.json()["failure"]["code"], "test.no");
    assert_eq!(ended.json()["failure"]["data"]["available"], 5);

    let began = house.world.now();
    let open = ask()
        .header("prefer", "wait=99999999999999999999999")
        .json(&json!({ "workflow": "ask" }))
        .send()
        .await;
    assert_eq!(open.status, StatusCode::ACCEPTED, "it is still going on");
    assert_eq!(open.header("preference-applied"), "wait=30", "never longer than allowed");
    assert_eq!(house.world.now().since(began).as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn g5_a_key_starts_one_run_however_often_and_however_spelled_it_is_sent() {
    let house = House::new();
    let send = |user: &'static str, body: &str| {
        let ask = house.ask("POST", RUNS).by(user, Role::User);
        let ask = ask.header("content-type", "application/json").header("prefer", "wait=5");
        ask.header("idempotency-key", "k-1").body(body).send()
    };
    let first = send("ana", r#"{"workflow":"echo","input":{"a":1,"b":2}}"#).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (StatusCode::OK, ""));
    let again = send("ana", r#"{ "input": {"b":2.0, "a":1}, "labels": {}, "workflow": "echo" }"#).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!((again.status, again.json()), (first.status, first.json()));
    let other = send("ana", r#"{"workflow":"echo","input":{"a":1,"b":3}}"#).await;
    assert_eq!(
        (other.status, other.code()),
        (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused".into())
    );
    let luis = send("luis", r#"{"workflow":"echo","input":{"a":1,"b":3}}"#).await;
    assert_eq!(luis.header("idempotency-replayed"), "", "a key belongs to who sent it");
    assert_eq!(house.look(RUNS).await["items"].as_array().map(Vec::len), Some(2));
}

#[tokio::test(start_paused = true)]
async fn g5_fifty_at_once_with_one_key_are_one_run_with_one_answer() {
    let house = House::new();
    let send = || {
        let ask = house.ask("POST", RUNS).by("ana", Role::User);
        let ask = ask.header("idempotency-key", "k-1").header("prefer", "wait=5");
        ask.json(&json!({ "workflow": "echo", "input": "x" })).send()
    };
    let answers = futures::future::join_all((0..50).map(|_| send())).await;
    let distinct: BTreeSet<String> = answers.iter().map(|answer| answer.text.clone()).collect();
    assert_eq!(distinct.len(), 1, "{distinct:?}");
    let first = |answer: &&crate::house::Answer| answer.header("idempotency-replayed").is_empty();
    assert_eq!(answers.iter().filter(first).count(), 1);
    assert_eq!(house.look(RUNS).await["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn signals_and_cancels_reach_a_run_and_a_key_makes_them_count_once() {
    let house = House::new();
    let run = house.start("ana", &json!({ "workflow": "ask" })).await;
    for _ in 0..2 {
        let ask = house.ask("POST", &format!("{RUNS}/{run}/signals/other")).by("ana", Role::User);
        let ask = ask.header("idempotency-key", "s-1").json(&json!({ "n": 1 }));
        assert_eq!(ask.send().await.status, StatusCode::ACCEPTED);
    }
    let events = house.look(&format!("{RUNS}/{run}/events")).await;
    let messages = |event: &&Value| event["type"] == "run.message";
    let items = events["items"].as_array().expect("events");
    assert_eq!(items.iter().filter(messages).count(), 1);

    let cancel = format!("{RUNS}/{run}/cancel");
    let answer = house.ask("POST", &cancel).by("ana", Role::User).send().await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "a reason may be left out");
    assert_eq!(house.end(&run).await["status"], "cancelled");
    let late = house.ask("POST", &cancel).by("ana", Role::User).send().await;
    assert_eq!((late.status, late.code()), (StatusCode::CONFLICT, "run.ended".into()));

    let run = house.start("ana", &json!({ "workflow": "ask" })).await;
    let kill = house.ask("POST", &format!("{RUNS}/{run}/kill")).by("olga", Role::Operator);
    let answer = kill.json(&json!({ "reason": "a test" })).send().await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.text);
    assert_eq!(house.end(&run).await["status"], "killed");
}

#[tokio::test(start_paused = true)]
async fn lists_are_filtered_and_their_pages_hold_everything_once() {
    let house = House::new();
    let mut started = BTreeSet::new();
    for i in 0..7 {
        let body = json!({ "workflow": "ask", "labels": { "turn": (i % 2).to_string(), "x": "y" } });
        started.insert(house.start("ana", &body).await);
    }
    house.start("luis", &json!({ "workflow": "ask", "labels": { "x": "y" } })).await;
    let get = |query: String| house.ask("GET", &format!("{RUNS}?{query}")).by("ana", Role::User).send();
    let (mut seen, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = get(format!("limit=3{cursor}")).await.json();
        for item in page["items"].as_array().expect("items") {
            assert!(seen.insert(item["id"].as_str().expect("id").to_owned()));
        }
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, started);
    let count = async |query: &str| {
        let page = get(query.into()).await.json();
        page["items"].as_array().expect("items").len()
    };
    assert_eq!(count("label=turn=1&label=x=y").await, 3);
    assert_eq!(count("label=turn:1&label=x=z").await, 0);
    assert_eq!(count("workflow=echo").await, 0);
    assert_eq!(count("workflow=ask&status=waiting&status=running").await, 7);
    assert_eq!(count("principal=ana").await, 7);
    let all = house.look(&format!("{RUNS}?principal=luis")).await;
    assert_eq!(all["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_run_tells_its_events_page_by_page_and_its_story() {
    let house = House::new();
    let run = house.start("ana", &json!({ "workflow": "echo" })).await;
    house.end(&run).await;
    let path = format!("{RUNS}/{run}/events");
    let first = house.look(&format!("{path}?limit=1")).await;
    assert_eq!(first["items"][0]["type"], "run.started");
    assert_eq!(first["items"][0]["specversion"], "1.0");
    assert_eq!(first["items"][0]["subject"], format!("default/run/{run}"));
    let next = first["next"].as_str().expect("more");
    let second = house.look(&format!("{path}?cursor={next}")).await;
    assert_eq!(second["items"][0]["streamversion"], 2);
    assert_eq!(second["next"], Value::Null);

    let story = format!("{RUNS}/{run}/explain");
    assert_eq!(house.look(&story).await["run"]["id"], run.as_str());
    let ask = house.ask("GET", &story).by("ana", Role::User).header("accept", "text/plain");
    let text = ask.send().await;
    assert!(text.header("content-type").starts_with("text/plain"));
    assert!(text.text.contains(&run));
}

#[tokio::test(start_paused = true)]
async fn the_log_is_read_from_a_cursor_by_stream_and_waited_for() {
    let house = House::new();
    let a = house.start("ana", &json!({ "workflow": "ask" })).await;
    let b = house.start("ana", &json!({ "workflow": "ask" })).await;
    let all = house.look("/api/v1/events").await;
    let subjects: BTreeSet<_> =
        all["items"].as_array().expect("items").iter().map(|it| it["subject"].to_string()).collect();
    assert_eq!(subjects.len(), 2);
    let one = house.look(&format!("/api/v1/events?stream=default/run/{a}")).await;
    assert!(
        one["items"].as_array().expect("items").iter().all(|it| it["subject"] == format!("default/run/{a}"))
    );
    let part = house.look("/api/v1/events?stream=default/ru").await;
    assert_eq!(part["items"], json!([]), "half a name is not a stream");

    let end = house.look("/api/v1/events?limit=200").await["next"].as_str().expect("a place").to_owned();
    let nothing = house.look(&format!("/api/v1/events?after={end}")).await;
    assert_eq!((&nothing["items"], nothing["next"].as_str()), (&json!([]), Some(end.as_str())));
    let path = format!("/api/v1/events?after={end}&wait=20&stream=default/run/{b}");
    let signal = house.ask("POST", &format!("{RUNS}/{b}/signals/answer")).by("ana", Role::User);
    let (waited, sent) = tokio::join!(house.look(&path), signal.json(&json!(1)).send());
    assert_eq!(sent.status, StatusCode::ACCEPTED);
    assert_eq!(waited["items"][0]["type"], "run.message");

    let other = house.token_of("other", "olga", Role::Operator);
    let ask = house.ask("GET", "/api/v1/events").header("authorization", &format!("Bearer {other}"));
    assert_eq!(ask.send().await.json()["items"], json!([]), "operators see their tenant");
    let admin = house.token_of("other", "root", Role::Admin);
    let ask = house.ask("GET", "/api/v1/events").header("authorization", &format!("Bearer {admin}"));
    assert_ne!(ask.send().await.json()["items"], json!([]));
}

#[tokio::test(start_paused = true)]
async fn breakers_are_listed_and_reset() {
    let house = House::new();
    let policy = house.breakers.get("mail").expect("configured");
    for _ in 0..5 {
        let breaker = policy.breaker().expect("has one");
        breaker.admit().expect("closed").unwell();
    }
    let state = async || house.look("/api/v1/breakers").await["items"][0]["state"].clone();
    assert_eq!(state().await, "open");
    let reset = |name: &str| {
        house.ask("POST", &format!("/api/v1/breakers/{name}/reset")).by("olga", Role::Operator).send()
    };
    assert_eq!(reset("mail").await.status, StatusCode::NO_CONTENT);
    assert_eq!(state().await, "closed");
    let unknown = reset("mial").await;
    assert_eq!((unknown.status, unknown.code()), (StatusCode::NOT_FOUND, "breaker.not_found".into()));
}

#[tokio::test(start_paused = true)]
async fn a_request_keeps_its_ids_and_everything_that_follows_is_correlated() {
    let house = House::new();
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let ask = house.ask("POST", RUNS).by("ana", Role::User).header("x-request-id", "web-7");
    let ask = ask.header("traceparent", &format!("00-{trace}-00f067aa0ba902b7-01"));
    let answer = ask.json(&json!({ "workflow": "echo" })).send().await;
    assert_eq!(answer.header("x-request-id"), "web-7");
    assert!(answer.header("traceparent").starts_with(&format!("00-{trace}-")));
    assert_eq!(answer.header("cache-control"), "no-store");
    let id = answer.json()["id"].as_str().expect("id").to_owned();
    let events = house.look(&format!("{RUNS}/{id}/events")).await;
    for event in events["items"].as_array().expect("items") {
        let correlation = event["correlationid"].as_str().expect("correlated");
        assert_eq!(correlation.replace('-', ""), trace);
    }
}

#[tokio::test(start_paused = true)]
async fn metrics_count_by_template_and_never_by_what_a_request_says() {
    let house = House::new();
    let run = house.start("ana", &json!({ "workflow": "echo" })).await;
    house.end(&run).await;
    house.ask("BREW", "/tea/pot-4711").send().await;
    let text = house.ask("GET", "/metrics").send().await.text;
    for line in [
        r#"steadfast_runs_total{workflow="echo",status="completed"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="POST",http_route="/api/v1/runs",http_response_status_code="202"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="GET",http_route="/api/v1/runs/{id}",http_response_status_code="200"} 1"#,
        r#"http_server_request_duration_seconds_count{http_request_method="_OTHER",http_route="none",http_response_status_code="404"} 1"#,
        r#"steadfast_tenant_requests_total{tenant="default"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains(&run) && !text.contains("4711") && text.ends_with("# EOF\n"));
    for i in 0..150 {
        let token = house.token_of(&format!("t{i}"), "ana", Role::User);
        house.ask("GET", RUNS).header("authorization", &format!("Bearer {token}")).send().await;
    }
    let text = house.ask("GET", "/metrics").send().await.text;
    assert!(text.contains(r#"steadfast_tenant_requests_total{tenant="_other"} 51"#));
}

#[tokio::test(start_paused = true)]
async fn what_a_client_began_is_finished_though_the_client_goes_away() {
    let house = House::new();
    let ask = house.ask("POST", "/api/v1/desk/start-late").by("ana", Role::User);
    tokio::select! {
        answer = ask.send() => panic!("it takes two seconds: {answer:?}"),
        () = house.world.clock().sleep(Duration::from_secs(1)) => {}
    }
    house.world.clock().sleep(Duration::from_secs(2)).await;
    assert_eq!(house.look(RUNS).await["items"].as_array().map(Vec::len), Some(1));
}
