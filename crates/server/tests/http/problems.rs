//! The problem documents that clients depend on, whole.

use axum::http::StatusCode;
use serde_json::{Value, json};
use steadfast_core::Role;

use crate::house::{Answer, House};

fn golden(answer: &Answer) -> Value {
    let mut headers = json!({});
    for name in ["content-type", "www-authenticate", "retry-after", "allow"] {
        if !answer.header(name).is_empty() {
            headers[name] = answer.header(name).into();
        }
    }
    json!({ "status": answer.status.as_u16(), "headers": headers, "body": answer.json() })
}

#[tokio::test(start_paused = true)]
async fn problem_documents_are_as_they_were() {
    let house = House::new();
    let ask = |method, path| house.ask(method, path).header("x-request-id", "test");
    let run = json!({ "workflow": "echo", "input": 1, "inptu": 2 });
    let answers = [
        ("no token", ask("GET", "/api/v1/runs")),
        ("not an operator", ask("GET", "/api/v1/events").by("ana", Role::User)),
        ("unknown field", ask("POST", "/api/v1/runs").by("ana", Role::User).json(&run)),
        ("no such path", ask("GET", "/nothing")),
        ("another method", ask("PUT", "/api/v1/runs")),
        ("no key", ask("POST", "/api/v1/desk/pay")),
        ("a panic", ask("GET", "/api/v1/desk/panic")),
        ("too slow", ask("GET", "/api/v1/desk/slow").by("ana", Role::User)),
    ];
    let mut documents = serde_json::Map::new();
    for (name, ask) in answers {
        documents.insert(name.into(), golden(&ask.send().await));
    }
    insta::assert_json_snapshot!(documents);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_takes_down_nothing_and_tells_nothing() {
    let house = House::new();
    for method in ["GET", "POST"] {
        let answer = house.ask(method, "/api/v1/desk/panic").send().await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.code(), "node.panicked");
        assert!(!answer.text.contains("secret"));
    }
    assert_eq!(house.ask("GET", "/healthz").send().await.status, StatusCode::OK);
}
