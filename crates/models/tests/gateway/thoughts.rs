//! Models that think for long before they say anything.

use std::time::Duration;

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Gateway, ask, route};

const KINDS: &[&str] = &[
    "openai",
    "anthropic",
    #[cfg(feature = "bedrock")]
    "bedrock",
];
const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

fn body(path: &str) -> String {
    if path.ends_with("responses") {
        json!({ "model": "m", "stream": true, "input": "go" }).to_string()
    } else {
        ask(true)
    }
}

/// What a stream of any API thinks, and what it says.
fn heard(text: &str) -> (String, String) {
    let (mut thought, mut said) = (String::new(), String::new());
    for event in text.split("\n\n").filter_map(|event| event.split("data: ").nth(1)) {
        let Ok(event) = serde_json::from_str::<Value>(event) else { continue };
        let chat = &event["choices"][0]["delta"];
        let of = |kind: &str| event["delta"].as_str().filter(|_| event["type"] == kind);
        let thoughts = [&chat["reasoning"], &chat["reasoning_content"], &event["delta"]["thinking"]];
        thought.extend(thoughts.into_iter().filter_map(Value::as_str));
        thought.extend(of("response.reasoning_text.delta"));
        said.extend([&chat["content"], &event["delta"]["text"]].into_iter().filter_map(Value::as_str));
        said.extend(of("response.output_text.delta"));
    }
    (thought, said)
}

fn is_whole(text: &str) -> bool {
    ["data: [DONE]\n\n", "data: {\"type\":\"message_stop\"}\n\n"].iter().any(|end| text.ends_with(end))
        || text.contains("event: response.completed\n")
}

#[tokio::test]
async fn however_much_is_thought_first_the_answer_comes_and_nobody_is_unwell() {
    let plan = Plan { thoughts: 1_500, ..Plan::default() };
    let mock = Mock::start(plan.clone()).await.expect("runs");
    for kind in KINDS {
        let gateway = Gateway::start(&route(&[&mock], &format!("kind = '{kind}'\nresponses = false"))).await;
        for path in PATHS {
            let calls = mock.calls();
            let answer = gateway.send(path, &[], body(path)).await;
            let expected = (plan.thinking(), plan.text());
            assert_eq!(heard(&answer.text), expected, "{kind} {path} {}", answer.status);
            assert!(is_whole(&answer.text), "{kind} {path}");
            assert_eq!(mock.calls(), calls + 1, "{kind} {path}");
            if path == "/v1/messages" {
                let expected = [("thinking".to_owned(), plan.thinking()), ("text".into(), plan.text())];
                assert_eq!(answer.blocks(), expected, "{kind}");
            }
        }
        assert_eq!(gateway.models.breakers()[0].failures, 0);
    }
}

#[tokio::test]
async fn thoughts_are_content_and_what_follows_may_take_longer_than_they_took_to_begin() {
    let plan = Plan { thoughts: 10, fault: Fault::Hold(5), ..Plan::default() };
    let mock = Mock::start(plan.clone()).await.expect("runs");
    for kind in KINDS {
        let more =
            format!("kind = '{kind}'\nresponses = false\ntimeouts = {{ first = '45s', between = '2m' }}");
        let (gateway, clock) = Gateway::timed(&route(&[&mock], &more)).await;
        for path in PATHS {
            let mut response = gateway.open(Method::POST, path, &[], body(path)).await;
            let mut all = Vec::new();
            while heard(&String::from_utf8_lossy(&all)).0.is_empty() {
                let frame = response.frame().await.expect("more").expect("an event");
                all.extend_from_slice(&frame.into_data().expect("data"));
            }
            clock.advance(Duration::from_secs(46));
            mock.go_on();
            all.extend_from_slice(&response.collect().await.expect("the rest").to_bytes());
            let text = String::from_utf8(all).expect("text");
            assert_eq!(heard(&text), (plan.thinking(), plan.text()), "{kind} {path}: {text}");
            assert!(is_whole(&text), "{kind} {path}");
        }
    }
}

/// A stream of the next turn, after one whose thoughts were those of another API's model.
async fn next_turn(asked: &str, kind: &str, path: &str, list: &str, said: Value) -> Value {
    let mock = Mock::start(Plan { thoughts: 3, ..Plan::default() }).await.expect("runs");
    let config = route(&[&mock], "responses = false")
        + &route(&[&mock], &format!("kind = '{kind}'"))
            .replace("p0", "next")
            .replace("routes.m", "routes.next");
    let gateway = Gateway::start(&config).await;
    let answer = gateway.send(path, &[], asked.to_owned()).await;
    let mut events = answer.events().into_iter().filter_map(|it| serde_json::from_str::<Value>(it).ok());
    let thought = events.find_map(|mut event| match event["type"].as_str()? {
        "content_block_start" => Some(event["content_block"].take()),
        "response.output_item.done" => Some(event["item"].take()),
        _ => None,
    });
    let thought = thought.expect("a thought");
    assert!(["thinking", "reasoning"].contains(&thought["type"].as_str().expect("a type")), "{thought}");
    let text = said.to_string().replace("\"THOUGHT\"", &thought.to_string());
    let body = format!(r#"{{"model":"next","max_tokens":9,"stream":true,"{list}":{text}}}"#);
    gateway.send(path, &[], body).await;
    serde_json::from_slice::<Value>(&mock.seen()[1].body).expect("JSON")[list].take()
}

#[tokio::test]
async fn thoughts_of_another_apis_model_are_not_sent_to_who_never_had_them() {
    let go = json!({ "role": "user", "content": "go" });
    let text = json!({ "type": "text", "text": "so" });
    let said = json!([go, { "role": "assistant", "content": ["THOUGHT", text] }, go]);
    let got = next_turn(&body("/v1/messages"), "anthropic", "/v1/messages", "messages", said).await;
    assert_eq!(got, json!([go, { "role": "assistant", "content": [text] }, go]));
    let so = json!({ "role": "assistant", "content": "so" });
    let said = json!([go, "THOUGHT", so, go]);
    let got = next_turn(&body("/v1/responses"), "openai", "/v1/responses", "input", said).await;
    assert_eq!(got, json!([go, so, go]));
}
