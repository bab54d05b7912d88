//! Providers don't see personal data, and clients don't see placeholders.

use serde_json::{Value, json};
use steadfast_models_mock::{Mock, Plan};

use crate::harness::{Gateway, route};

const ASKED: &str = "I am bob@example.com, my card is 4111 1111 1111 1111.";

fn body(stream: bool, text: &str) -> String {
    json!({ "model": "m", "max_tokens": 100, "stream": stream, "messages": [{ "role": "user", "content": text }] })
        .to_string()
}

/// What a provider of each API says, whole and as a stream that cuts placeholders.
fn answers(kind: &str) -> [String; 2] {
    let words = ["Hello <EM", "AIL", "_1>, <", "CARD_1> ", "is <EMAIL_2>"];
    let whole = words.concat();
    if kind == "anthropic" {
        let mut events = vec![
            json!({ "type": "message_start", "message": { "id": "x", "model": "m", "usage": { "input_tokens": 1 } } }),
            json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        ];
        events.extend(words.map(|text| {
            let delta = json!({ "type": "text_delta", "text": text });
            json!({ "type": "content_block_delta", "index": 0, "delta": delta })
        }));
        events.push(json!({ "type": "content_block_stop", "index": 0 }));
        events.push(json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 1 } }));
        events.push(json!({ "type": "message_stop" }));
        let stream: Vec<_> = events
            .iter()
            .map(|it| format!("event: {}\ndata: {it}\n\n", it["type"].as_str().unwrap_or_default()))
            .collect();
        let content = json!([{ "type": "text", "text": whole }]);
        return [
            json!({ "id": "x", "type": "message", "role": "assistant", "model": "m", "content": content, "stop_reason": "end_turn" })
                .to_string(),
            stream.concat(),
        ];
    }
    let chunk = |delta: Value, reason: Value| {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
        format!("data: {}\n\n", json!({ "id": "x", "created": 1, "model": "m", "choices": choices }))
    };
    let mut stream: Vec<_> =
        words.iter().map(|text| chunk(json!({ "content": text }), Value::Null)).collect();
    stream.push(chunk(json!({}), json!("stop")));
    stream.push("data: [DONE]\n\n".into());
    let message = json!({ "role": "assistant", "content": whole });
    [
        json!({ "id": "x", "model": "m", "choices": [{ "index": 0, "message": message, "finish_reason": "stop" }] })
            .to_string(),
        stream.concat(),
    ]
}

#[tokio::test]
async fn a_prompt_leaves_redacted_and_the_answer_comes_back_restored_in_every_api() {
    for (kind, path) in [
        ("openai", "/v1/chat/completions"),
        ("anthropic", "/v1/messages"),
        ("openai", "/v1/messages"),
        ("anthropic", "/v1/chat/completions"),
    ] {
        for stream in [false, true] {
            let mock =
                Mock::start(Plan::replaying(answers(kind)[usize::from(stream)].clone())).await.expect("runs");
            let gateway = Gateway::start(&route(&[&mock], &format!("kind = '{kind}'"))).await;
            let answer = gateway.send(path, &[], body(stream, ASKED)).await;
            let expected = "Hello bob@example.com, 4111 1111 1111 1111 is <EMAIL_2>";
            assert_eq!(answer.said(), expected, "{kind} {path} {stream}: {}", answer.text);
            assert!(!stream || answer.is_whole_stream());
            let sent = String::from_utf8(mock.seen()[0].body.to_vec()).expect("text");
            assert!(sent.contains("I am <EMAIL_1>, my card is <CARD_1>."), "{sent}");
            assert!(!sent.contains("bob@") && !sent.contains("4111"), "{sent}");
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_inside_of_a_placeholder_says_what_it_kept_back_before_its_error() {
    let whole = answers("openai")[1].clone();
    let cut = &whole[..whole.find("AIL").expect("there") - 20];
    let at = cut.rfind("\n\n").expect("an event") + 2;
    let mock = Mock::start(Plan::replaying(whole[..at].to_owned())).await.expect("runs");
    let gateway = Gateway::before(&[&mock]).await;
    let answer = gateway.send("/v1/chat/completions", &[], body(true, ASKED)).await;
    assert_eq!(answer.said(), "Hello <EM", "{}", answer.text);
    assert!(
        answer.events().last().is_some_and(|it| it.contains("provider.cut")) && !answer.is_whole_stream()
    );
}

#[tokio::test]
async fn routes_and_kinds_can_be_left_alone_or_refused() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let config = format!("[models.screen.kinds]\nemail = 'off'\ncard = 'refuse'\n{}", route(&[&mock], ""));
    let gateway = Gateway::start(&config).await;
    let answer = gateway.send("/v1/chat/completions", &[], body(false, ASKED)).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["code"], "screen.personal_data");
    assert_eq!(mock.calls(), 0);
    let answer = gateway.send("/v1/chat/completions", &[], body(false, "to bob@example.com")).await;
    assert_eq!(answer.status, 200);
    let open = Gateway::start(&(route(&[&mock], "") + "screen = false\n")).await;
    assert_eq!(open.send("/v1/chat/completions", &[], body(false, ASKED)).await.status, 200);
    for seen in mock.seen() {
        assert!(String::from_utf8_lossy(&seen.body).contains("bob@example.com"));
    }
}

#[tokio::test]
async fn a_kept_answer_is_restored_with_the_values_of_whoever_asks_the_same() {
    let mock = Mock::start(Plan::replaying(answers("openai")[0].clone())).await.expect("runs");
    let gateway = Gateway::start(&(route(&[&mock], "") + "[models.cache]\nenabled = true\n")).await;
    for (who, cache) in [("bob@example.com", "miss"), ("eve@example.org", "hit")] {
        let asked = ASKED.replace("bob@example.com", who);
        let answer = gateway.send("/v1/chat/completions", &[], body(false, &asked)).await;
        assert_eq!(answer.said(), format!("Hello {who}, 4111 1111 1111 1111 is <EMAIL_2>"));
        assert_eq!(answer.header("x-steadfast-cache"), cache);
    }
    assert_eq!(mock.calls(), 1);
}
