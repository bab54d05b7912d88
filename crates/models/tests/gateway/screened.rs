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

const VALUES: [(&str, &str); 4] = [
    ("<EMAIL_1>", "ana@example.com"),
    ("<IBAN_1>", "DE89 3704 0044 0532 0130 00"),
    ("<CARD_1>", "4111 1111 1111 1111"),
    ("<PHONE_1>", "+52 55 1234 5678"),
];

fn restored(text: &str) -> String {
    VALUES.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// A stream that says these pieces, as text or to a tool.
fn stream(kind: &str, pieces: [&str; 2], to_tool: bool) -> String {
    let mut events = Vec::new();
    if kind == "anthropic" {
        let usage = json!({ "input_tokens": 1 });
        events
            .push(json!({ "type": "message_start", "message": { "id": "x", "model": "m", "usage": usage } }));
        let block = if to_tool {
            json!({ "type": "tool_use", "id": "t", "name": "pay", "input": {} })
        } else {
            json!({ "type": "text", "text": "" })
        };
        events.push(json!({ "type": "content_block_start", "index": 0, "content_block": block }));
        for piece in pieces {
            let delta = if to_tool {
                json!({ "type": "input_json_delta", "partial_json": piece })
            } else {
                json!({ "type": "text_delta", "text": piece })
            };
            events.push(json!({ "type": "content_block_delta", "index": 0, "delta": delta }));
        }
        events.push(json!({ "type": "content_block_stop", "index": 0 }));
        let delta = json!({ "stop_reason": if to_tool { "tool_use" } else { "end_turn" } });
        events.push(json!({ "type": "message_delta", "delta": delta, "usage": { "output_tokens": 1 } }));
        events.push(json!({ "type": "message_stop" }));
        let written =
            events.iter().map(|it| format!("event: {}\ndata: {it}\n\n", it["type"].as_str().expect("one")));
        return written.collect();
    }
    let chunk = |delta: Value, reason: Value| {
        let choices = json!([{ "index": 0, "delta": delta, "finish_reason": reason }]);
        json!({ "id": "x", "created": 1, "model": "m", "choices": choices })
    };
    if to_tool {
        let function = json!({ "name": "pay", "arguments": "" });
        let call = json!({ "index": 0, "id": "t", "type": "function", "function": function });
        events.push(chunk(json!({ "tool_calls": [call] }), Value::Null));
    }
    for piece in pieces {
        let call = json!([{ "index": 0, "function": { "arguments": piece } }]);
        let delta = if to_tool { json!({ "tool_calls": call }) } else { json!({ "content": piece }) };
        events.push(chunk(delta, Value::Null));
    }
    events.push(chunk(json!({}), json!(if to_tool { "tool_calls" } else { "stop" })));
    events.iter().map(|it| format!("data: {it}\n\n")).chain(["data: [DONE]\n\n".into()]).collect()
}

/// What the deltas of a stream of any API say, and what they give a tool.
fn streamed(events: &[&str]) -> (String, String) {
    let (mut said, mut given) = (String::new(), String::new());
    for event in events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok()) {
        let (chat, delta) = (&event["choices"][0]["delta"], &event["delta"]);
        let kind = event["type"].as_str().unwrap_or_default();
        let response = |of: &str| delta.as_str().filter(|_| kind == of);
        let text = chat["content"].as_str().or(delta["text"].as_str());
        said += text.or(response("response.output_text.delta")).unwrap_or_default();
        let json = chat["tool_calls"][0]["function"]["arguments"].as_str().or(delta["partial_json"].as_str());
        given += json.or(response("response.function_call_arguments.delta")).unwrap_or_default();
    }
    (said, given)
}

#[tokio::test]
async fn every_kind_is_restored_in_every_api_wherever_a_stream_cuts_it_in_text_and_for_tools() {
    let text = VALUES.map(|it| it.0).join(", ");
    let arguments = json!({ "to": text, "card": "<CARD_1>" }).to_string();
    let asked = VALUES.map(|it| it.1).join(" and ");
    for kind in ["openai", "anthropic"] {
        let mock = Mock::start(Plan::default()).await.expect("runs");
        let more = format!("kind = '{kind}'\nresponses = false\n");
        let gateway = Gateway::start(&route(&[&mock], &more)).await;
        for (path, to_tool) in ["/v1/chat/completions", "/v1/messages", "/v1/responses"]
            .into_iter()
            .flat_map(|path| [(path, false), (path, true)])
        {
            let all = if to_tool { &arguments } else { &text };
            for cut in 0..=all.len() {
                let (one, other) = all.split_at(cut);
                mock.next([Plan::replaying(stream(kind, [one, other], to_tool))]);
                let said = if path == "/v1/responses" { "input" } else { "messages" };
                let body =
                    json!({ "model": "m", "stream": true, said: [{ "role": "user", "content": asked }] });
                let answer = gateway.send(path, &[], body.to_string()).await;
                let got = streamed(&answer.events());
                let (said, given) = if to_tool { ("", all.as_str()) } else { (all.as_str(), "") };
                assert_eq!(got, (restored(said), restored(given)), "{kind} {path} {cut}: {}", answer.text);
            }
        }
        for seen in mock.seen() {
            let sent = String::from_utf8(seen.body.to_vec()).expect("text");
            assert!(
                VALUES.iter().all(|(name, value)| sent.contains(name) && !sent.contains(value)),
                "{sent}"
            );
        }
    }
}
