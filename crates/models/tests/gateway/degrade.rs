//! What is answered when nobody can be asked.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use steadfast_core::time::ManualClock;
use steadfast_models::{Degradation, Health};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Answer, Gateway, route};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

fn asking(text: &str, more: Value) -> String {
    let mut body =
        json!({ "model": "m", "max_tokens": 100, "messages": [{ "role": "user", "content": text }] });
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body.to_string()
}

/// A gateway before this upstream that gives up at once, with what `[models.cache]` and more
/// say.
async fn gateway(mock: &Mock, more: &str) -> Gateway {
    timed(mock, more).await.0
}

/// The same, and its clock.
async fn timed(mock: &Mock, more: &str) -> (Gateway, Arc<ManualClock>) {
    let config =
        route(&[mock], "breaker.enabled = false").replace("retry.waits = ['1000h']", "retry.enabled = false");
    Gateway::timed(&(config + "[models.cache]\nenabled = true\n" + more)).await
}

fn told(answer: &Answer) -> (u16, &str, &str) {
    (answer.status.as_u16(), answer.header("x-steadfast-degraded"), answer.header("x-steadfast-cache"))
}

#[tokio::test]
async fn an_answer_past_its_time_is_given_when_nobody_can_be_asked_and_says_so() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let (gateway, clock) = timed(&mock, "").await;
    let brief = [("x-steadfast-ttl", "1ms")];
    for path in [CHAT, MESSAGES] {
        for stream in [false, true] {
            mock.plan(Plan::default());
            let body = || asking("hi", json!({ "stream": stream }));
            let first = gateway.send(path, &brief, body()).await;
            // It is over at once: as long as somebody can be asked, somebody is.
            clock.advance(Duration::from_millis(2));
            let second = gateway.send(path, &brief, body()).await;
            assert_eq!(second.header("x-steadfast-cache"), "miss");
            mock.plan(Fault::Status(503, None));
            clock.advance(Duration::from_millis(2));
            let third = gateway.send(path, &[], body()).await;
            assert_eq!(told(&third), (200, "cached", "hit"));
            assert_eq!(third.said(), first.said());
            assert_eq!((stream, third.header("x-steadfast-attempts")), (third.is_whole_stream(), "1"));
            let bypassing = gateway.send(path, &[("x-steadfast-cache", "bypass")], body()).await;
            assert_eq!(
                (bypassing.status.as_u16(), told(&bypassing).1),
                (502, ""),
                "who wants none gets none"
            );
            let other = gateway.send(path, &[("test-user", "luis")], body()).await;
            assert_eq!(other.status, 502, "and nobody another's");
        }
    }
}

#[tokio::test]
async fn similar_answers_are_off_by_default_labelled_and_of_the_same_user() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    for (on, expected) in [("", "miss"), ("chat.similar = true\n", "similar")] {
        let gateway = gateway(&mock, on).await;
        let first = gateway.send(CHAT, &[], asking("How do I raise my limit?", json!({}))).await;
        assert_eq!(told(&first), (200, "", "miss"));
        let second = gateway.send(CHAT, &[], asking("Please, how can I raise the limit", json!({}))).await;
        assert_eq!(told(&second), (200, "", expected), "{on}");
        for (headers, text) in [
            (&[][..], "How do I lower my limit?"),
            (&[("test-user", "luis")], "how can I raise the limit"),
            (&[("test-tenant", "other")], "how can I raise the limit"),
        ] {
            let other = gateway.send(CHAT, headers, asking(text, json!({}))).await;
            assert_eq!(told(&other), (200, "", "miss"), "{text}");
        }
        let stream =
            gateway.send(CHAT, &[], asking("how can I raise my limit", json!({ "stream": true }))).await;
        assert_eq!(told(&stream), (200, "", "miss"));
        let message = gateway.send(MESSAGES, &[], asking("how can I raise my limit", json!({}))).await;
        assert_eq!(told(&message), (200, "", "miss"));
    }
    // Past its time it still helps when nobody can be asked.
    let (gateway, clock) = timed(&mock, "chat.similar = true\n").await;
    gateway.send(CHAT, &[("x-steadfast-ttl", "1ms")], asking("What's my limit?", json!({}))).await;
    clock.advance(Duration::from_millis(2));
    mock.plan(Fault::Status(500, None));
    let answer = gateway.send(CHAT, &[], asking("what is my limit", json!({}))).await;
    assert_eq!(told(&answer), (200, "cached", "similar"));
}

#[tokio::test]
async fn the_gateways_own_embeddings_can_say_what_is_near() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let local = "similar.model = 'embed'\nchat.similar = true\n[models.providers.here]\nkind = 'local'\n\
        [models.routes.embed]\ntargets = [{ provider = 'here' }]\n";
    let gateway = gateway(&mock, local).await;
    let calls = mock.calls();
    let first = gateway.send(CHAT, &[], asking("How do I raise my limit?", json!({}))).await;
    let second = gateway.send(CHAT, &[], asking("how can I raise the limit", json!({}))).await;
    assert_eq!([told(&first).2, told(&second).2], ["miss", "similar"]);
    assert_eq!(mock.calls(), calls + 1);
}

const TEMPLATES: &str = "[models.degrade]\nsimplified = true\n\
    [[models.degrade.templates]]\ntext = 'We are back soon.'\n\
    [[models.degrade.templates]]\noperation = 'messages'\ntext = 'Come back later.'\n\
    [[models.degrade.templates]]\npersona = 'pirate'\ntext = 'Arr, the sea is rough.'\n";

#[tokio::test]
async fn templates_are_proper_answers_of_the_api_and_the_mode_that_were_asked_for() {
    let mock = Mock::start(Fault::Status(500, None)).await.expect("runs");
    let gateway = gateway(&mock, TEMPLATES).await;
    for (path, persona, text) in [
        (CHAT, "", "We are back soon."),
        (CHAT, "clerk", "We are back soon."),
        (CHAT, "pirate", "Arr, the sea is rough."),
        (MESSAGES, "", "Come back later."),
        (MESSAGES, "pirate", "Arr, the sea is rough."),
    ] {
        for stream in [false, true] {
            let headers = [("x-steadfast-persona", persona)];
            let answer = gateway.send(path, &headers, asking("hi", json!({ "stream": stream }))).await;
            assert_eq!(told(&answer), (200, "template", "miss"), "{path} {persona}: {}", answer.text);
            assert_eq!((answer.said().as_str(), answer.is_whole_stream()), (text, stream));
            if !stream {
                let json = answer.json();
                let finished =
                    if path == CHAT { &json["choices"][0]["finish_reason"] } else { &json["stop_reason"] };
                assert_eq!(finished, if path == CHAT { "stop" } else { "end_turn" });
                assert!(json["usage"].is_object() && json["model"] == "m", "{json}");
            }
        }
    }
    // It is never kept: as soon as somebody answers, that is what is given.
    mock.plan(Plan::default());
    let answer = gateway.send(CHAT, &[], asking("hi", json!({}))).await;
    assert_eq!(told(&answer), (200, "", "miss"));
}

#[tokio::test]
async fn what_would_do_harm_is_not_made_up_and_the_error_has_a_support_id() {
    let mock = Mock::start(Fault::Status(500, None)).await.expect("runs");
    let gateway = gateway(&mock, TEMPLATES).await;
    let tools = json!([{ "type": "function", "function": { "name": "pay", "parameters": {} } }]);
    for (path, body) in [
        (CHAT, asking("hi", json!({ "response_format": { "type": "json_object" } }))),
        (CHAT, asking("hi", json!({ "n": 2 }))),
        (CHAT, asking("hi", json!({ "tools": tools, "tool_choice": "required" }))),
        (
            MESSAGES,
            asking(
                "hi",
                json!({ "tools": [{ "name": "pay", "input_schema": {} }], "tool_choice": { "type": "any" } }),
            ),
        ),
        ("/v1/embeddings", json!({ "model": "m", "input": "hi" }).to_string()),
    ] {
        let answer = gateway.send(path, &[("x-request-id", "support-7")], body).await;
        assert!(answer.status.is_server_error(), "{path}: {}", answer.text);
        assert_eq!(answer.header("x-steadfast-degraded"), "");
        assert!(answer.json()["error"]["message"].as_str().expect("words").contains("support-7"));
    }
    let free = asking("hi", json!({ "tools": tools, "tool_choice": "auto" }));
    assert_eq!(told(&gateway.send(CHAT, &[], free).await).1, "template");
    mock.plan(Fault::Status(400, None));
    let own_fault = gateway.send(CHAT, &[], asking("hi", json!({}))).await;
    assert_eq!(told(&own_fault), (400, "", ""));
}

#[tokio::test]
async fn without_a_text_the_local_provider_answers_if_that_is_wanted() {
    let mock = Mock::start(Fault::Status(500, None)).await.expect("runs");
    for (more, expected) in [
        ("", 502),
        ("[models.degrade]\nsimplified = true\n", 200),
        ("[models.degrade]\nenabled = false\nsimplified = true\n", 502),
    ] {
        let gateway = gateway(&mock, more).await;
        for path in [CHAT, MESSAGES] {
            for stream in [false, true] {
                let answer = gateway.send(path, &[], asking("hi", json!({ "stream": stream }))).await;
                assert_eq!(answer.status, expected, "{more}");
                if expected == 200 {
                    assert_eq!(told(&answer).1, "simplified");
                    assert_eq!((answer.said().as_str(), answer.is_whole_stream()), ("You said: hi", stream));
                }
            }
        }
    }
}

#[tokio::test]
async fn the_level_is_seen_in_health_and_recovers_with_the_upstream() {
    let mock = Mock::start(Fault::Status(500, None)).await.expect("runs");
    let (gateway, clock) = timed(&mock, TEMPLATES).await;
    let state = || (gateway.models.degradation(), gateway.models.health());
    assert_eq!(state(), (Degradation::None, Health::Healthy));
    gateway.send(CHAT, &[], asking("a", json!({}))).await;
    assert_eq!(state(), (Degradation::Full, Health::Unhealthy));
    mock.plan(Plan::default());
    gateway.send(CHAT, &[], asking("b", json!({}))).await;
    assert_eq!(state(), (Degradation::Partial, Health::Degraded));
    clock.advance(Duration::from_secs(90));
    assert_eq!(state(), (Degradation::None, Health::Healthy));
}

#[tokio::test]
async fn a_full_queue_is_a_reason_of_its_own_and_says_nothing_about_providers() {
    let mock = Mock::start(Fault::Hang).await.expect("runs");
    let gateway = gateway(&mock, "[models.admission]\nrunning = 1\nwaiting = 1\n").await;
    let refused = async {
        while gateway.models.queue().is_none_or(|queue| queue.waiting.is_empty()) {
            tokio::task::yield_now().await;
        }
        for _ in 0..20 {
            let answer = gateway.send(CHAT, &[], asking("c", json!({}))).await;
            assert_eq!(answer.json()["error"]["code"], "queue.full");
        }
        assert_eq!(
            (gateway.models.degradation(), gateway.models.health()),
            (Degradation::None, Health::Degraded)
        );
        let reasons = gateway.models.reasons();
        let told = |reason: &steadfast_models::Reason| (reason.what, reason.message.clone());
        let told: Vec<_> = reasons.iter().map(told).collect();
        assert!(told.contains(&("queue", "the queue is full: 1 waiting".into())), "{told:?}");
        assert!(!told.iter().any(|(what, _)| *what == "answers"), "{told:?}");
    };
    tokio::select! {
        answer = gateway.send(CHAT, &[], asking("a", json!({}))) => panic!("nobody answers: {answer:?}"),
        answer = gateway.send(CHAT, &[], asking("b", json!({}))) => panic!("nobody answers: {answer:?}"),
        () = refused => {}
    }
}
