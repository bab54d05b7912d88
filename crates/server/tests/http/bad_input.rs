//! Every wrong request gets its own clear problem, and the server goes on.

use axum::http::StatusCode;
use steadfast_core::Role;

use crate::house::House;

struct Case {
    what: &'static str,
    ask: (&'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    body: &'static str,
    expect: (u16, &'static str, &'static str),
}

const JSON: (&str, &str) = ("content-type", "application/json");
const RUNS: (&str, &str) = ("POST", "/api/v1/runs");
const LIST: &str = "/api/v1/runs";
const AMOUNT: (&str, &str) = ("POST", "/api/v1/desk/amount");
const NOBODY: &str = "/api/v1/runs/0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";

fn body(
    what: &'static str,
    ask: (&'static str, &'static str),
    body: &'static str,
    expect: (u16, &'static str, &'static str),
) -> Case {
    Case { what, ask, headers: &[JSON], body, expect }
}

fn head(
    what: &'static str,
    ask: (&'static str, &'static str),
    headers: &'static [(&'static str, &'static str)],
    expect: (u16, &'static str, &'static str),
) -> Case {
    Case { what, ask, headers, body: "{}", expect }
}

fn bodies() -> Vec<Case> {
    let json = (400, "request.invalid_json", "");
    let shape = |field| (400, "request.invalid_body", field);
    vec![
        body("nothing", RUNS, "", json),
        body("not JSON", RUNS, "workflow=echo", json),
        body("cut off", RUNS, r#"{"workflow":"echo""#, json),
        body("two values", RUNS, r#"{"workflow":"echo"} {}"#, json),
        body("not UTF-8 escapes", RUNS, r#"{"workflow":"\ud800"}"#, json),
        body("a number beyond all", RUNS, r#"{"workflow":"echo","input":1e999}"#, json),
        body("an array", RUNS, r#" ["echo"]"#, shape("")),
        body("a string", RUNS, "\"echo\"", shape("")),
        body("an unknown field", RUNS, r#"{"workflow":"echo","inptu":1}"#, shape("inptu")),
        body("a missing field", RUNS, r#"{"input":1}"#, shape("workflow")),
        body("a field twice", RUNS, r#"{"workflow":"echo","workflow":"x"}"#, shape("workflow")),
        body(
            "a field twice inside the input",
            RUNS,
            r#"{"workflow":"echo","input":{"a":1,"\u0061":2}}"#,
            shape("a"),
        ),
        body("another type", RUNS, r#"{"workflow":7}"#, shape("workflow")),
        body("an unknown workflow", RUNS, r#"{"workflow":"ecko"}"#, (422, "workflow.unknown", "")),
        body(
            "input of another shape",
            RUNS,
            r#"{"workflow":"break","input":1}"#,
            (400, "run.invalid_input", ""),
        ),
        body(
            "a label's name",
            RUNS,
            r#"{"workflow":"echo","labels":{"a b":"c"}}"#,
            (400, "run.invalid_label", ""),
        ),
        body("a label that is no text", RUNS, r#"{"workflow":"echo","labels":{"a":1}}"#, shape("labels.a")),
        body("a deadline without unit", RUNS, r#"{"workflow":"echo","deadline":"5"}"#, shape("deadline")),
        body("a priority", RUNS, r#"{"workflow":"echo","priority":"urgent"}"#, shape("priority")),
        body("a closed workflow", RUNS, r#"{"workflow":"inner"}"#, (403, "workflow.not_open", "")),
        body(
            "a priority above others",
            RUNS,
            r#"{"workflow":"echo","priority":"high"}"#,
            (403, "auth.forbidden", "priority"),
        ),
        body("a fraction", AMOUNT, r#"{"amount":{"minor":1.5}}"#, shape("amount.minor")),
        body("a number as text", AMOUNT, r#"{"amount":{"minor":"1"}}"#, shape("amount.minor")),
        body("a number beyond 64 bits", AMOUNT, r#"{"amount":{"minor":1e30}}"#, shape("amount.minor")),
        body("a field too deep", AMOUNT, r#"{"amount":{"minor":1,"cents":2}}"#, shape("amount.cents")),
        body("an array as an object deep down", AMOUNT, r#"{"amount":[1]}"#, shape("amount")),
        body("a missing one deep down", AMOUNT, r#"{"amount":{}}"#, shape("amount.minor")),
    ]
}

fn heads() -> Vec<Case> {
    let media = (415, "request.media_type", "");
    let query = |field| (400, "request.invalid_query", field);
    let key = (400, "request.invalid_idempotency_key", "Idempotency-Key");
    let missing = (404, "run.not_found", "");
    vec![
        head("no content type", RUNS, &[], media),
        head("a form", RUNS, &[("content-type", "application/x-www-form-urlencoded")], media),
        head("a compressed body", RUNS, &[JSON, ("content-encoding", "gzip")], media),
        head(
            "a body said to be huge",
            RUNS,
            &[JSON, ("content-length", "99999999999")],
            (413, "request.too_large", ""),
        ),
        head("a long key", RUNS, &[JSON, ("idempotency-key", LONG)], key),
        head("an empty key", RUNS, &[JSON, ("idempotency-key", "")], key),
        head("a key with blanks", RUNS, &[JSON, ("idempotency-key", "a b")], key),
        head("two keys", RUNS, &[JSON, ("idempotency-key", "a"), ("idempotency-key", "b")], key),
        head(
            "no key where money moves",
            ("POST", "/api/v1/desk/pay"),
            &[JSON],
            (400, "idempotency_key_required", "Idempotency-Key"),
        ),
        head("no such path", ("GET", "/api/v1/rums"), &[], (404, "request.no_such_path", "")),
        head("no such application", ("GET", "/api/v1/shop/pay"), &[], (404, "request.no_such_path", "")),
        head("another method", ("DELETE", LIST), &[], (405, "request.method_not_allowed", "")),
        head(
            "another method of an application",
            ("GET", "/api/v1/desk/pay"),
            &[],
            (405, "request.method_not_allowed", ""),
        ),
        head("an unknown filter", ("GET", "/api/v1/runs?stauts=waiting"), &[], query("stauts")),
        head("an unknown status", ("GET", "/api/v1/runs?status=gone"), &[], query("status")),
        head("a label without value", ("GET", "/api/v1/runs?label=a"), &[], query("label")),
        head("a limit of nothing", ("GET", "/api/v1/runs?limit=0"), &[], query("limit")),
        head("a limit too high", ("GET", "/api/v1/runs?limit=201"), &[], query("limit")),
        head("a limit twice", ("GET", "/api/v1/runs?limit=1&limit=2"), &[], query("limit")),
        head(
            "a cursor of one's own",
            ("GET", "/api/v1/runs?cursor=abc"),
            &[],
            (400, "cursor.invalid", "cursor"),
        ),
        head(
            "a query where none is taken",
            ("GET", "/api/v1/dead-letters/0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e?a=1"),
            &[],
            query("a"),
        ),
        head("a query to a write", ("POST", "/api/v1/runs?wait=5"), &[JSON], query("wait")),
        head(
            "a query to a write of an application",
            ("POST", "/api/v1/desk/pay?dry_run=true"),
            &[JSON],
            query("dry_run"),
        ),
        head(
            "a wait that is no number",
            RUNS,
            &[JSON, ("prefer", "wait=soon")],
            (400, "request.invalid_prefer", "Prefer"),
        ),
        head("a query that is not UTF-8", ("GET", "/api/v1/runs?limit=%ff"), &[], query("limit")),
        head(
            "somebody else's runs",
            ("GET", "/api/v1/runs?principal=luis"),
            &[],
            (403, "auth.forbidden", ""),
        ),
        head("an id that is none", ("GET", "/api/v1/runs/seven"), &[], (400, "request.invalid_path", "id")),
        head(
            "a path that is not UTF-8",
            ("GET", "/api/v1/runs/%ff"),
            &[],
            (400, "request.invalid_path", "id"),
        ),
        head("a run that is not there", ("GET", NOBODY), &[], missing),
        head("its events", ("GET", "/api/v1/runs/0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e/events"), &[], missing),
        head("its story", ("GET", "/api/v1/runs/0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e/explain"), &[], missing),
        head(
            "a signal to it",
            ("POST", "/api/v1/runs/0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e/signals/go"),
            &[JSON],
            missing,
        ),
        head(
            "its cancellation",
            ("POST", "/api/v1/runs/0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e/cancel"),
            &[JSON],
            missing,
        ),
        head(
            "a signal to no id",
            ("POST", "/api/v1/runs/seven/signals/go"),
            &[JSON],
            (400, "request.invalid_path", "id"),
        ),
        head(
            "a dead letter that is not there",
            ("GET", "/api/v1/dead-letters/0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e"),
            &[],
            (404, "dead_letter.not_found", ""),
        ),
        head("a kind of dead letters", ("GET", "/api/v1/dead-letters?status=alive"), &[], query("status")),
    ]
}

/// One more than a key may have.
const LONG: &str = match std::str::from_utf8(&[b'k'; 256]) {
    Ok(text) => text,
    Err(_) => "",
};

#[tokio::test(start_paused = true)]
async fn every_wrong_request_gets_its_own_problem_and_nothing_starts() {
    let house = House::new();
    for case in bodies().into_iter().chain(heads()) {
        let mut ask = house.ask(case.ask.0, case.ask.1).by("ana", Role::User);
        for (name, value) in case.headers {
            ask = ask.header(name, value);
        }
        let answer = ask.body(case.body).send().await;
        let json = answer.json();
        let got = (
            answer.status.as_u16(),
            json["code"].as_str().unwrap_or_default(),
            json["field"].as_str().unwrap_or_default(),
        );
        assert_eq!(got, case.expect, "{}: {}", case.what, answer.text);
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(json["status"], answer.status.as_u16(), "{}", case.what);
        assert_eq!(json["instance"], answer.header("x-request-id"));
    }
    let runs = house.look(LIST).await;
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_refused_also_when_its_length_is_not_told() {
    let house = House::new();
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let body = format!(r#"{{"workflow":"echo","input":{large}}}"#);
    let ask = house.ask("POST", LIST).by("ana", Role::User);
    let answer = ask.header(JSON.0, JSON.1).body(&body).send().await;
    assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(answer.code(), "request.too_large");
}

#[tokio::test(start_paused = true)]
async fn json_that_is_too_deep_is_refused_and_no_stack_overflows() {
    let house = House::new();
    let deep = "[".repeat(100_000);
    let body = format!(r#"{{"workflow":"echo","input":{deep}"#);
    let ask = house.ask("POST", LIST).by("ana", Role::User);
    let answer = ask.header(JSON.0, JSON.1).body(&body).send().await;
    assert_eq!(answer.code(), "request.invalid_json");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_poses_as_a_stored_one_is_taken_as_it_is_written() {
    let house = House::new();
    let sly = r#"{"workflow":"echo","input":{"$payload":"00","bytes":1}}"#;
    let ask = house.ask("POST", LIST).by("ana", Role::User);
    let ask = ask.header(JSON.0, JSON.1).header("prefer", "wait=5");
    let answer = ask.body(sly).send().await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert_eq!(answer.json()["output"]["$payload"], "00");
}
