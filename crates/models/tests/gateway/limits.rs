//! Limits, weights, canaries and simple calls.

use serde_json::json;
use steadfast_models_mock::{Mock, Plan};

use crate::harness::{Gateway, route};

async fn mock() -> Mock {
    Mock::start(Plan { chunks: 4, ..Plan::default() }).await.expect("runs")
}

#[tokio::test]
async fn what_is_over_a_providers_limit_goes_to_the_next_without_waiting() {
    let (first, second) = (mock().await, mock().await);
    let limit = "[models.providers.p0.requests]\nenabled = true\npermits = 1\nper = '1h'\nburst = 3\n";
    let gateway = Gateway::start(&(route(&[&first, &second], "") + limit)).await;
    for _ in 0..10 {
        assert_eq!(gateway.chat(false).await.status, 200);
    }
    assert_eq!((first.calls(), second.calls()), (3, 7));
}

#[tokio::test]
async fn tokens_are_taken_as_they_may_be_needed_and_settled_as_they_were_used() {
    let only = mock().await;
    // A call may need some 140 tokens and uses 13: with 200 an hour, one at a time fits often.
    let limit = "[models.providers.p0.tokens]\nenabled = true\npermits = 1\nper = '1h'\nburst = 200\n";
    let config = route(&[&only], "").replace("retry.waits = ['1000h']", "retry.enabled = false") + limit;
    let gateway = Gateway::start(&config).await;
    for i in 0..4 {
        let answer = gateway.chat(i % 2 == 0).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    // 200 - 4 * 13 = 148 are left: two at once are too many.
    let (a, b) = tokio::join!(gateway.chat(false), gateway.message(false));
    let mut statuses = [a.status.as_u16(), b.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 429]);
}

#[tokio::test]
async fn weights_and_canaries_get_their_share() {
    let (first, second, canary) = (mock().await, mock().await, mock().await);
    let config = route(&[&first, &second, &canary], "").replace(
        "targets = [{ provider = 'p0' }, { provider = 'p1' }, { provider = 'p2' }]",
        "targets = [{ provider = 'p0', weight = 3 }, { provider = 'p1', weight = 1 }]\norder = 'weight'\n\
         canary = { share = 0.1, target = { provider = 'p2' } }",
    );
    let gateway = Gateway::start(&config).await;
    for _ in 0..600 {
        assert_eq!(gateway.chat(false).await.status, 200);
    }
    // 405, 135 and 60 are expected; five standard deviations are allowed.
    let calls = [&first, &second, &canary].map(Mock::calls);
    for (calls, from, to) in [(calls[0], 344, 466), (calls[1], 80, 190), (calls[2], 23, 97)] {
        assert!((from..=to).contains(&calls), "{calls}");
    }
}

#[tokio::test]
async fn shares_and_pauses_are_seen() {
    let (first, second) = (mock().await, mock().await);
    let config = route(&[&first, &second], "").replace(
        "targets = [{ provider = 'p0' }, { provider = 'p1' }]",
        "targets = [{ provider = 'p0', weight = 3 }, { provider = 'p1', weight = 1 }]\norder = 'weight'\n\
         canary = { share = 0.2, target = { provider = 'p1' } }",
    );
    let shares = |gateway: &Gateway| {
        let found = gateway.models.found();
        let shares = found.routes[0].targets.iter().map(|it| it.share.map(|share| (share * 1_000.0).round()));
        shares.collect::<Vec<_>>()
    };
    assert_eq!(shares(&Gateway::start(&config).await), [Some(600.0), Some(400.0)]);
    let gateway = Gateway::before(&[&first, &second]).await;
    assert_eq!(shares(&gateway), [None, None]);
    first.plan(steadfast_models_mock::Fault::Status(429, Some(600)));
    assert_eq!(gateway.chat(false).await.header("x-steadfast-provider"), "p1");
    let found = gateway.models.found();
    let paused: Vec<_> =
        found.providers.iter().map(|it| it.paused_seconds.is_some_and(|it| it > 1)).collect();
    assert_eq!(paused, [true, false]);
    let reasons = gateway.models.reasons();
    assert!(
        reasons.iter().any(|it| it.what == "providers" && it.message.starts_with("p0 is paused for ")),
        "{reasons:?}"
    );
}

#[tokio::test]
async fn simple_calls_go_to_the_simple_model() {
    let (smart, cheap) = (mock().await, mock().await);
    let config = route(&[&smart, &cheap], "")
        .replace("{ provider = 'p0' }, { provider = 'p1' }", "{ provider = 'p0' }")
        + "simple = { enabled = true, body_max = '200B', target = { provider = 'p1', model = 'small' } }\n";
    let gateway = Gateway::start(&config).await;
    let ask = |more: serde_json::Value| {
        let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        body.to_string()
    };
    for (body, provider) in [
        (ask(json!({ "max_tokens": 50 })), "p1"),
        (ask(json!({})), "p0"),
        (ask(json!({ "max_tokens": 5_000 })), "p0"),
        (ask(json!({ "max_tokens": 50, "tools": [{}] })), "p0"),
        (ask(json!({ "max_tokens": 50, "user": "x".repeat(300) })), "p0"),
    ] {
        let answer = gateway.send("/v1/chat/completions", &[], body.clone()).await;
        assert_eq!(answer.header("x-steadfast-provider"), provider, "{body}");
    }
    let body: serde_json::Value = serde_json::from_slice(&cheap.seen()[0].body).expect("JSON");
    assert_eq!(body["model"], "small");
}
