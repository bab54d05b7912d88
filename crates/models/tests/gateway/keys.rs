//! Virtual keys, and the queue as operators see it.

use serde_json::{Value, json};
use steadfast_models::keys::KeyRequest;
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Answer, Gateway, ask, route};

const PRICE: &str = "[models.prices.m]\ninput = '1000000'\noutput = '2000000'\nthinks = 'never'\n";

async fn mock() -> Mock {
    Mock::start(Plan { chunks: 4, ..Plan::default() }).await.expect("runs")
}

async fn make(gateway: &Gateway, key: Value) -> (String, String) {
    let request: KeyRequest = serde_json::from_value(key).expect("a request");
    let (secret, info) = gateway.models.keys().create(request, "root").await.expect("made");
    (secret, info.id.to_string())
}

async fn call(gateway: &Gateway, key: &str) -> Answer {
    let bearer = format!("Bearer {key}");
    gateway.send("/v1/chat/completions", &[("authorization", &bearer)], ask(false)).await
}

fn code(answer: &Answer) -> (u16, String) {
    (answer.status.as_u16(), answer.json()["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_good_key_opens_either_api_and_others_are_told_in_their_apis_shape() {
    let upstream = mock().await;
    let gateway = Gateway::with_keys(&route(&[&upstream], "")).await;
    let (key, id) = make(&gateway, json!({ "name": "a", "user": "ana" })).await;
    assert_eq!(call(&gateway, &key).await.status, 200);
    let anthropic = gateway.send("/v1/messages", &[("x-api-key", &key)], ask(false)).await;
    assert_eq!(anthropic.status, 200);
    assert_eq!(code(&call(&gateway, "sk-sf-guess").await), (401, "key.invalid".into()));
    let wrong = gateway.send("/v1/messages", &[("x-api-key", "sk-sf-guess")], ask(false)).await.json();
    assert_eq!((&wrong["type"], &wrong["error"]["type"]), (&json!("error"), &json!("authentication_error")));
    gateway.models.keys().revoke(&id, "root").await.expect("revoked");
    assert_eq!(code(&call(&gateway, &key).await), (401, "key.revoked".into()));
    assert_eq!(upstream.calls(), 2);
}

#[tokio::test]
async fn a_key_is_shown_the_names_that_it_may_use_and_no_others() {
    let config = "[models.providers.main]\nkind = 'local'\n\
        [models.routes.smart]\nmodels = ['gpt-4o', 'gpt-5-*']\ntargets = [{ provider = 'main' }]\n\
        [models.routes.secret]\nmodels = ['acme-1']\ntargets = [{ provider = 'main' }]\n";
    let gateway = Gateway::with_keys(config).await;
    let (few, _) = make(&gateway, json!({ "routes": ["smart"] })).await;
    let (all, _) = make(&gateway, json!({})).await;
    for (key, names) in [(&few, &["gpt-4o", "smart"][..]), (&all, &["acme-1", "gpt-4o", "secret", "smart"])] {
        let bearer = format!("Bearer {key}");
        let header = [("authorization", bearer.as_str())];
        let anthropic = [header[0], ("anthropic-version", "2023-06-01")];
        for headers in [&header[..], &anthropic] {
            let list = gateway.get("/v1/models", headers).await.json();
            let ids: Vec<_> = list["data"].as_array().expect("a list").iter().map(|it| &it["id"]).collect();
            assert_eq!(ids, names);
        }
        let seen = if names.contains(&"secret") { 200 } else { 404 };
        for name in ["secret", "acme-1"] {
            assert_eq!(gateway.get(&format!("/v1/models/{name}"), &header).await.status, seen, "{name}");
        }
        assert_eq!(gateway.get("/v1/models/smart", &header).await.status, 200);
    }
}

#[tokio::test]
async fn keys_have_routes_rates_and_budgets_of_their_own() {
    let upstream = mock().await;
    let gateway = Gateway::with_keys(&(route(&[&upstream], "") + PRICE)).await;
    let (elsewhere, _) = make(&gateway, json!({ "routes": ["other"] })).await;
    assert_eq!(code(&call(&gateway, &elsewhere).await), (403, "key.route_not_allowed".into()));
    let (slow, _) = make(&gateway, json!({ "requests_per_minute": 2 })).await;
    let statuses = [call(&gateway, &slow).await, call(&gateway, &slow).await].map(|it| it.status.as_u16());
    assert_eq!(statuses, [200, 200]);
    let third = call(&gateway, &slow).await;
    assert_eq!(code(&third), (429, "key.rate_limited".into()));
    assert!(third.header("retry-after").parse::<u64>().expect("seconds") <= 30);
    // A call may need 100 tokens and more, and uses 17: what it did not use is given back.
    let (few, _) = make(&gateway, json!({ "tokens_per_minute": 200 })).await;
    for _ in 0..3 {
        assert_eq!(call(&gateway, &few).await.status, 200);
    }
    // A call that may need more than there ever is has its turn, and the next pay for it. They are
    // not made, so they do not count as calls.
    let (two, _) = make(&gateway, json!({ "requests_per_minute": 2, "tokens_per_minute": 1 })).await;
    assert_eq!(call(&gateway, &two).await.status, 200);
    for _ in 0..3 {
        let refused = call(&gateway, &two).await;
        assert_eq!(code(&refused), (429, "key.rate_limited".into()));
        assert!(refused.header("retry-after").parse::<u64>().expect("seconds") > 60, "for its tokens");
    }
    let (poor, id) = make(&gateway, json!({ "budget": { "limit": "400", "window": "day" } })).await;
    let mut last = call(&gateway, &poor).await;
    assert_eq!(last.status, 200, "{}", last.text);
    for _ in 0..20 {
        if last.status != 200 {
            break;
        }
        last = call(&gateway, &poor).await;
    }
    assert_eq!(code(&last), (402, "budget.exceeded".into()));
    assert_eq!(last.json()["error"]["figures"]["of"], json!(format!("default/{id}")));
}

#[tokio::test]
async fn who_waits_is_seen_and_clients_that_leave_free_their_places() {
    let upstream = mock().await;
    let config = route(&[&upstream], "") + "[models.admission]\nrunning = 1\n";
    let gateway = Gateway::start(&config).await;
    upstream.next([Fault::Hang]);
    let first = gateway.chat(false);
    let rest = async {
        while upstream.calls() == 0 {
            tokio::task::yield_now().await;
        }
        let urgent = [("x-steadfast-priority", "critical")];
        let second = gateway.send("/v1/chat/completions", &urgent, ask(false));
        let seen = async {
            loop {
                let queue = gateway.models.queue().expect("a queue");
                if let Some(waiting) = queue.waiting.first() {
                    assert_eq!((queue.running, waiting.position, waiting.priority), (1, 1, "critical"));
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = second => panic!("there is one place"),
            () = seen => {}
        }
    };
    tokio::select! {
        _ = first => panic!("nobody answers"),
        () = rest => {}
    }
    // Both have left.
    let third = gateway.chat(false).await;
    assert_eq!(third.status, 200);
    assert!(third.header("x-steadfast-queue-ms").parse::<u64>().is_ok());
    let state = gateway.models.queue().expect("a queue");
    assert_eq!((state.running, state.waiting.len()), (0, 0));
}
