//! Who may do what.

use axum::http::StatusCode;
use serde_json::json;
use steadfast_core::Role;

use crate::house::House;

#[tokio::test(start_paused = true)]
async fn without_a_good_token_nothing_under_the_interface_answers() {
    let house = House::new();
    let good = house.token("ana", Role::User);
    let tokens = [
        String::new(),
        "Bearer".into(),
        "Bearer ".into(),
        format!("Basic {good}"),
        format!("Bearer {good}x"),
        format!("Bearer  {good}"),
        good,
    ];
    for path in ["/api/v1/runs", "/api/v1/events", "/api/v1/breakers", "/api/v1/dead-letters"] {
        for token in &tokens {
            let answer = house.ask("GET", path).header("authorization", token).send().await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{path} {token}");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
        }
        let answer = house.ask("GET", path).send().await;
        assert_eq!((answer.status, answer.code()), (StatusCode::UNAUTHORIZED, "auth.missing".into()));
    }
    let twice = house.ask("GET", "/api/v1/runs").by("ana", Role::User).by("olga", Role::Admin);
    assert_eq!(twice.send().await.status, StatusCode::UNAUTHORIZED);
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(house.ask("GET", path).send().await.status, StatusCode::OK);
    }
}

#[tokio::test(start_paused = true)]
async fn what_belongs_to_operators_is_forbidden_to_users() {
    let house = House::new();
    let run = house.start("ana", &json!({ "workflow": "ask" })).await;
    for (method, path) in [
        ("GET", "/api/v1/events".to_owned()),
        ("GET", "/api/v1/breakers".to_owned()),
        ("POST", "/api/v1/breakers/mail/reset".to_owned()),
        ("POST", format!("/api/v1/runs/{run}/kill")),
    ] {
        let answer = house.ask(method, &path).by("ana", Role::User).send().await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert_eq!(answer.code(), "auth.forbidden");
    }
    let ask = house.ask("POST", "/api/v1/runs").by("olga", Role::Operator);
    let answer = ask.json(&json!({ "workflow": "inner", "priority": "high" })).send().await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_run_is_as_if_it_were_not_there_except_to_operators_of_its_tenant() {
    let house = House::new();
    let run = house.start("ana", &json!({ "workflow": "ask" })).await;
    let elsewhere = house.token_of("other", "olga", Role::Operator);
    let paths = [
        ("GET", format!("/api/v1/runs/{run}")),
        ("GET", format!("/api/v1/runs/{run}/events")),
        ("GET", format!("/api/v1/runs/{run}/explain")),
        ("POST", format!("/api/v1/runs/{run}/signals/other")),
        ("POST", format!("/api/v1/runs/{run}/cancel")),
    ];
    for (method, path) in &paths {
        let foreign = house.ask(method, path).by("luis", Role::User).json(&json!({})).send().await;
        assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "run.not_found".into()));
        let ask = house.ask(method, path).header("authorization", &format!("Bearer {elsewhere}"));
        let foreign = ask.json(&json!({})).send().await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{path}");
    }
    let list = house.ask("GET", "/api/v1/runs").by("luis", Role::User).send().await;
    assert_eq!(list.json()["items"], json!([]));
    for (method, path) in &paths {
        let ask = house.ask(method, path).by("olga", Role::Operator);
        let answer = ask.json(&json!({})).send().await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
    }
    assert_eq!(house.end(&run).await["status"], "cancelled");
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_shown_to_and_replayed_by_its_owner_and_operators_only() {
    let house = House::new();
    let run = house.start("ana", &json!({ "workflow": "break" })).await;
    assert_eq!(house.end(&run).await["status"], "dead");
    let list = |user: &str| house.ask("GET", "/api/v1/dead-letters").by(user, Role::User).send();
    let mine = list("ana").await.json();
    let id = mine["items"][0]["id"].as_str().expect("a letter").to_owned();
    assert_eq!(mine["items"][0]["run"], run.as_str());
    assert_eq!(list("luis").await.json()["items"], json!([]));
    let path = format!("/api/v1/dead-letters/{id}");
    let replay = format!("{path}/replay");
    for (method, path) in [("GET", &path), ("POST", &replay)] {
        let foreign = house.ask(method, path).by("luis", Role::User).send().await;
        assert_eq!((foreign.status, foreign.code()), (StatusCode::NOT_FOUND, "dead_letter.not_found".into()));
    }
    assert_eq!(house.look(&path).await["cause"]["code"], "test.broken");
    let replayed = house.ask("POST", &replay).by("ana", Role::User).send().await;
    assert_eq!(replayed.status, StatusCode::ACCEPTED, "{}", replayed.text);
    let again = house.ask("POST", &replay).by("olga", Role::Operator).send().await;
    assert_eq!((again.status, again.code()), (StatusCode::CONFLICT, "dead_letter.closed".into()));
}
