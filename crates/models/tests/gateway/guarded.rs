//! Virtual keys, tokens, and what operators see.

use http::Method;
use serde_json::{Value, json};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Answer, Gateway, ask, route};

const OPERATOR: (&str, &str) = ("authorization", "Bearer operator");
const PRICE: &str = "[models.prices.m]\ninput = '1000000'\noutput = '2000000'\n";

async fn mock() -> Mock {
    Mock::start(Plan { chunks: 4, ..Plan::default() }).await.expect("runs")
}

async fn make(gateway: &Gateway, key: Value) -> (String, String) {
    let made = gateway.send("/v1/steadfast/keys", &[OPERATOR], key.to_string()).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let made = made.json();
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    (text(&made["secret"]), text(&made["key"]["id"]))
}

async fn call(gateway: &Gateway, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    gateway.send("/v1/chat/completions", &[("authorization", &bearer)], ask(false)).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn only_who_shows_a_good_key_or_token_is_let_in_and_others_are_told_in_their_apis_shape() {
    let upstream = mock().await;
    let gateway = Gateway::guarded(&route(&[&upstream], "")).await;
    let (key, id) = make(&gateway, json!({ "name": "a", "user": "ana" })).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    let anthropic = gateway.send("/v1/messages", &[("x-api-key", &key)], ask(false)).await;
    assert_eq!(anthropic.status, 200);
    assert_eq!(call(&gateway, "user").await.status, 200);
    assert_eq!(code(&gateway.chat(false).await), (401, "key.missing".into()));
    assert_eq!(code(&call(&gateway, "sk-sf-guess").await), (401, "key.invalid".into()));
    assert_eq!(code(&call(&gateway, "nobody").await), (401, "token.invalid".into()));
    let message = gateway.message(false).await.json();
    assert_eq!(
        (&message["type"], &message["error"]["type"]),
        (&json!("error"), &json!("authentication_error"))
    );
    let path = format!("/v1/steadfast/keys/{id}");
    let gone = gateway.ask(Method::DELETE, &path, &[OPERATOR]).await;
    assert_eq!(gone.json()["state"], "revoked");
    assert_eq!(code(&call(&gateway, &key).await), (401, "key.revoked".into()));
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test]
async fn keys_have_routes_rates_and_budgets_of_their_own() {
    let upstream = mock().await;
    let gateway = Gateway::guarded(&(route(&[&upstream], "") + PRICE)).await;
    let (elsewhere, _) = make(&gateway, json!({ "routes": ["other"] })).await;
    assert_eq!(code(&call(&gateway, &elsewhere).await), (403, "key.route_not_allowed".into()));
    let (slow, _) = make(&gateway, json!({ "requests_per_minute": 2 })).await;
    let statuses = [call(&gateway, &slow).await, call(&gateway, &slow).await].map(|it| it.status.as_u16());
    assert_eq!(statuses, [200, 200]);
    let third = call(&gateway, &slow).await;
    assert_eq!(code(&third), (429, "key.rate_limited".into()));
    assert!(third.header("retry-after").parse::<u64>().expect("seconds") <= 30);
    // A call may need 100 tokens and more, and uses 13: two at once do not fit into 200.
    let (few, _) = make(&gateway, json!({ "tokens_per_minute": 200 })).await;
    for _ in 0..3 {
        assert_eq!(call(&gateway, &few).await.status, 200);
    }
    let (poor, id) = make(&gateway, json!({ "budget": { "limit": "300", "window": "day" } })).await;
    assert_eq!(call(&gateway, &poor).await.status, 200);
    let mut last = call(&gateway, &poor).await;
    for _ in 0..20 {
        if last.status != 200 {
            break;
        }
        last = call(&gateway, &poor).await;
    }
    assert_eq!(code(&last), (402, "budget.exceeded".into()));
    assert_eq!(last.json()["error"]["figures"]["of"], json!(id));
}

#[tokio::test]
async fn operators_see_keys_and_the_queue_and_nobody_else_does() {
    let upstream = mock().await;
    let config = route(&[&upstream], "") + "[models.admission]\nrunning = 1\n";
    let gateway = Gateway::guarded(&config).await;
    let (key, _) = make(&gateway, json!({ "name": "a" })).await;
    let bearer = format!("Bearer {key}");
    for who in ["Bearer user", &bearer] {
        let refused = gateway.get("/v1/steadfast/keys", &[("authorization", who)]).await;
        assert_eq!(refused.status, 403);
    }
    let keys = gateway.get("/v1/steadfast/keys", &[OPERATOR]).await;
    assert_eq!(keys.json()["items"][0]["state"], "active");
    assert!(!keys.text.contains(&key) && !keys.text.contains("hash"));

    upstream.next([Fault::Hang]);
    let first = call(&gateway, &key);
    let rest = async {
        while upstream.calls() == 0 {
            tokio::task::yield_now().await;
        }
        let urgent = [("authorization", "Bearer user"), ("x-steadfast-priority", "critical")];
        let second = gateway.send("/v1/chat/completions", &urgent, ask(false));
        let seen = async {
            loop {
                let status = gateway.get("/v1/steadfast/status", &[OPERATOR]).await.json();
                if status["queue"]["waiting"][0]["priority"] == "critical" {
                    return status;
                }
            }
        };
        let status = tokio::select! {
            _ = second => panic!("there is one place"),
            status = seen => status,
        };
        assert_eq!(
            (&status["queue"]["running"], &status["queue"]["waiting"][0]["position"]),
            (&json!(1), &json!(1))
        );
    };
    tokio::select! {
        _ = first => panic!("nobody answers"),
        () = rest => {}
    }
    // Both have left: both places are free again.
    let third = call(&gateway, &key).await;
    assert_eq!(third.status, 200);
    assert!(third.header("x-steadfast-queue-ms").parse::<u64>().is_ok());
    let state = gateway.models.queue().expect("a queue");
    assert_eq!((state.running, state.waiting.len()), (0, 0));
}
