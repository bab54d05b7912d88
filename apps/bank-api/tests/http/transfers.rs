use axum::http::StatusCode;
use serde_json::json;

use crate::house::House;

#[tokio::test(start_paused = true)]
async fn money_moves_once_to_a_user_or_an_account() {
    let house = House::new().await;
    let paid = house.pay("ana", "k-1", "luis", 50_000).await;
    assert_eq!(paid.status, StatusCode::CREATED, "{}", paid.json);
    assert!(!paid.replayed());
    let id = paid.json["id"].as_str().expect("an id");
    let amount = json!({ "minor": 50_000, "currency": "MXN" });
    assert_eq!(paid.json, json!({ "id": id, "status": "settled", "amount": amount }));
    let again = house.pay("ana", "k-1", "luis", 50_000).await;
    assert!(again.replayed());
    assert_eq!((again.status, &again.json), (paid.status, &paid.json));
    assert_eq!(house.balance("ana").await, (2_450_000, 2_450_000));
    assert_eq!(house.balance("luis").await.0, 850_000);

    let body =
        r#"{"to":"ana-checking","from":"ana-savings","amount":{"minor":1,"currency":"MXN"},"memo":"ahorro"}"#;
    let own = house.post("ana", "transfers", "k-2", body).await;
    assert_eq!(own.status, StatusCode::CREATED, "{}", own.json);
    assert_eq!(house.balance("ana").await.0, 2_450_001);
}

#[tokio::test(start_paused = true)]
async fn g5_fifty_at_once_with_one_key_move_money_once_and_get_one_answer() {
    let house = House::new().await;
    let answers = (0..50).map(|_| house.pay("ana", "k-1", "luis", 100));
    let answers = futures::future::join_all(answers).await;
    assert!(answers.iter().all(|answer| answer.json == answers[0].json));
    assert_eq!(answers.iter().filter(|answer| !answer.replayed()).count(), 1);
    assert_eq!(house.balance("luis").await.0, 800_100);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_outcome_with_its_figures_and_the_same_under_its_key() {
    let house = House::new().await;
    let refused = house.pay("marta", "k-1", "luis", 150_001).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.json);
    assert_eq!(refused.code(), "insufficient_funds");
    assert_eq!(refused.json["data"]["available"]["minor"], 150_000);
    assert!(refused.json["id"].is_string());
    house.pay("ana", "k-1", "marta", 1_000).await;
    let again = house.pay("marta", "k-1", "luis", 150_001).await;
    assert!(again.replayed());
    assert_eq!(again.status, refused.status);
    for member in ["id", "code", "detail", "data"] {
        assert_eq!(again.json[member], refused.json[member]);
    }
    assert_eq!(house.balance("marta").await.0, 151_000);
    let other = house.pay("marta", "k-1", "luis", 1).await;
    assert_eq!((other.status, other.code()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
}

#[tokio::test(start_paused = true)]
async fn every_wrong_transfer_gets_its_own_problem_and_moves_nothing() {
    let house = House::new().await;
    let amount = |minor: &str| format!(r#"{{"to":"luis","amount":{{"minor":{minor},"currency":"MXN"}}}}"#);
    let to = |fields: &str| format!(r#"{{"amount":{{"minor":1,"currency":"MXN"}},{fields}}}"#);
    let shape = |field| (400, "request.invalid_body", field);
    let long = "x".repeat(141);
    for (what, body, expect) in [
        ("zero", amount("0"), (400, "money.not_positive", "amount.minor")),
        ("negative", amount("-1"), (400, "money.not_positive", "amount.minor")),
        ("2^53", amount("9007199254740992"), (400, "money.out_of_range", "amount.minor")),
        ("-2^53", amount("-9007199254740992"), (400, "money.out_of_range", "amount.minor")),
        ("2^63", amount("9223372036854775808"), (400, "money.out_of_range", "amount.minor")),
        ("1e29", amount("1e29"), (400, "money.out_of_range", "amount.minor")),
        ("-1e29", amount("-1e29"), (400, "money.out_of_range", "amount.minor")),
        ("an array for money", r#"{"to":"luis","amount":[1,"MXN"]}"#.into(), shape("amount")),
        ("an array for all", r#"["luis",null,{"minor":1,"currency":"MXN"}]"#.into(), shape("")),
        ("a fraction", amount("0.5"), shape("amount.minor")),
        ("a whole fraction", amount("1.0"), shape("amount.minor")),
        ("text", amount("\"1\""), shape("amount.minor")),
        ("null", amount("null"), shape("amount.minor")),
        ("no amount", r#"{"to":"luis"}"#.into(), shape("amount")),
        ("no currency", r#"{"to":"luis","amount":{"minor":1}}"#.into(), shape("amount.currency")),
        (
            "an unknown currency",
            r#"{"to":"luis","amount":{"minor":1,"currency":"ZZZ"}}"#.into(),
            (400, "money.unknown_currency", "amount.currency"),
        ),
        (
            "another currency",
            r#"{"to":"luis","amount":{"minor":1,"currency":"USD"}}"#.into(),
            (422, "account.no_default", "from"),
        ),
        ("more than it has", amount("2500001"), (422, "insufficient_funds", "")),
        ("an unknown field", to(r#""to":"luis","fee":1"#), shape("fee")),
        ("no payee", to(r#""memo":"x""#), shape("to")),
        ("an unknown payee", to(r#""to":"nobody""#), (404, "account.not_found", "")),
        ("a payee that is no name", to(r#""to":"lu is""#), (400, "to.invalid", "to")),
        ("oneself", to(r#""to":"ana""#), (422, "transfer.same_account", "to")),
        ("a foreign account", to(r#""to":"ana","from":"luis-checking""#), (404, "account.not_found", "")),
        ("an account that is no name", to(r#""to":"luis","from":"a/b""#), (400, "account.invalid", "from")),
        ("a long memo", to(&format!(r#""to":"luis","memo":"{long}""#)), (400, "memo.invalid", "memo")),
    ] {
        let answer = house.post("ana", "transfers", &what.replace(' ', "-"), &body).await;
        let field = answer.json["field"].as_str().unwrap_or_default();
        assert_eq!((answer.status.as_u16(), answer.code(), field), expect, "{what}: {}", answer.json);
    }
    let keyless = house.pay("ana", "", "luis", 1).await;
    assert_eq!((keyless.status, keyless.code()), (StatusCode::BAD_REQUEST, "idempotency_key_required"));
    assert_eq!(house.balance("ana").await, (2_500_000, 2_500_000));
    assert_eq!(house.balance("luis").await.0, 800_000);
}
