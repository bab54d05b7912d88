use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    answer::{Frame, Usage},
    wire::{
        self, Reader,
        sse::{Event, Parser},
    },
};

const CLAUDE: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn about(model: &str) -> Converse<'_> {
    Converse { model, output_max: Some(100), guardrail: None }
}

fn converse(body: &Value, model: &str) -> Result<Value, Failed> {
    let body = to_converse(body.to_string().as_bytes(), &about(model))?;
    Ok(serde_json::from_slice(&body).expect("JSON"))
}

fn cannot(body: &Value, model: &str) -> String {
    let failed = converse(body, model).expect_err("unsupported");
    assert_eq!(failed.class, Class::Unsupported, "{}", failed.message);
    failed.message
}

#[test]
fn what_messages_can_say_has_its_counterpart() {
    let body = json!({
        "model": "m", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop_sequences": ["a"],
        "system": [{ "type": "text", "text": "Be brief.", "cache_control": { "type": "ephemeral", "ttl": "1h" } }],
        "thinking": { "type": "enabled", "budget_tokens": 2_048 },
        "metadata": { "user_id": "u-1" },
        "tools": [
            { "name": "f", "description": "Does.", "input_schema": { "type": "object" }, "strict": true },
            { "name": "g", "input_schema": { "type": "object" }, "cache_control": { "type": "ephemeral" } },
        ],
        "tool_choice": { "type": "any" },
        "output_config": { "effort": "low", "format": { "type": "json_schema", "schema": { "type": "object" } } },
        "messages": [
            { "role": "user", "content": [
                { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
                { "type": "document", "title": "Q3: the  report.pdf",
                  "source": { "type": "base64", "media_type": "application/pdf", "data": "BBBB" } },
                { "type": "document", "title": "Q3 the report pdf",
                  "source": { "type": "text", "media_type": "text/plain", "data": "hi" } },
                { "type": "text", "text": "Look" }, { "type": "text", "text": " " },
            ]},
            { "role": "user", "content": "and say" },
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "hm", "signature": "s" },
                { "type": "redacted_thinking", "data": "UkVE" },
                { "type": "tool_use", "id": "t1", "name": "f", "input": { "b": 1, "a": 2 } },
                { "type": "tool_use", "id": "t2", "name": "g", "input": {} },
            ]},
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t1", "content": "done" },
                { "type": "tool_result", "tool_use_id": "t2", "is_error": true,
                  "content": [{ "type": "text", "text": "broken" }], "cache_control": { "type": "ephemeral" } },
            ]},
        ],
    });
    let expected = json!({
        "messages": [
            { "role": "user", "content": [
                { "image": { "format": "png", "source": { "bytes": "AAAA" } } },
                { "document": { "format": "pdf", "name": "Q3 the report pdf", "source": { "bytes": "BBBB" } } },
                { "document": { "format": "txt", "name": "Q3 the report pdf 2", "source": { "bytes": "aGk=" } } },
                { "text": "Look" }, { "text": "and say" },
            ]},
            { "role": "assistant", "content": [
                { "reasoningContent": { "reasoningText": { "text": "hm", "signature": "s" } } },
                { "reasoningContent": { "redactedContent": "UkVE" } },
                { "toolUse": { "toolUseId": "t1", "name": "f", "input": { "b": 1, "a": 2 } } },
                { "toolUse": { "toolUseId": "t2", "name": "g", "input": {} } },
            ]},
            { "role": "user", "content": [
                { "toolResult": { "toolUseId": "t1", "content": [{ "text": "done" }] } },
                { "toolResult": { "toolUseId": "t2", "content": [{ "text": "broken" }], "status": "error" } },
                { "cachePoint": { "type": "default" } },
            ]},
        ],
        "system": [{ "text": "Be brief." }, { "cachePoint": { "type": "default", "ttl": "1h" } }],
        "inferenceConfig": { "maxTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["a"] },
        "toolConfig": {
            "tools": [
                { "toolSpec": { "name": "f", "description": "Does.", "inputSchema": { "json": { "type": "object" } }, "strict": true } },
                { "toolSpec": { "name": "g", "inputSchema": { "json": { "type": "object" } } } },
                { "cachePoint": { "type": "default" } },
            ],
            "toolChoice": { "any": {} },
        },
        "additionalModelRequestFields": { "thinking": { "type": "enabled", "budget_tokens": 2_048 }, "top_k": 40 },
        "outputConfig": { "effort": "low", "textFormat": { "type": "json_schema",
            "structure": { "jsonSchema": { "name": "answer", "schema": "{\"type\":\"object\"}" } } } },
    });
    assert_eq!(converse(&body, CLAUDE).expect("translates"), expected);
    // Others are not told what only Anthropic's models know.
    let other = converse(&body, "amazon.nova-pro-v1:0").expect("translates");
    assert_eq!(other.get("additionalModelRequestFields"), None);
    let said = other["messages"][1]["content"].as_array().expect("parts");
    assert!(said.iter().all(|part| part.get("toolUse").is_some()), "{said:?}");
}

#[test]
fn chat_gets_there_by_way_of_messages_with_arguments_and_schemas_byte_for_byte() {
    let path = format!("{}/tests/wire/chat_tools_request.json", env!("CARGO_MANIFEST_DIR"));
    let message = to_messages(&std::fs::read(path).expect("a file"), CLAUDE, 4_096).expect("translates");
    let guarded = Converse { output_max: None, guardrail: Some(("gr-1", "3")), ..about(CLAUDE) };
    let body = to_converse(&message, &guarded).expect("translates");
    let text = String::from_utf8(body.to_vec()).expect("text");
    assert!(text.contains(r#""properties":{"units":{"type":"string"},"location""#), "order is kept: {text}");
    assert!(text.contains(r#""input":{"location": "Paris"}"#), "byte for byte: {text}");
    let body: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(body["inferenceConfig"], json!({}), "as long as the model likes");
    assert_eq!(body["guardrailConfig"], json!({ "guardrailIdentifier": "gr-1", "guardrailVersion": "3" }));
    let results = body["messages"][2]["content"].as_array().expect("results of parallel calls together");
    assert_eq!(results.len(), 2);
}

#[test]
fn one_tool_at_a_time_and_none_at_all() {
    let ask = |choice: Value| {
        json!({ "tools": [{ "name": "f", "input_schema": {} }], "tool_choice": choice,
                "messages": [{ "role": "user", "content": "x" }] })
    };
    let single = ask(json!({ "type": "auto", "disable_parallel_tool_use": true }));
    let body = converse(&single, CLAUDE).expect("translates");
    assert_eq!(body["toolConfig"].get("toolChoice"), None);
    assert_eq!(
        body["additionalModelRequestFields"],
        json!({ "tool_choice": { "type": "auto", "disable_parallel_tool_use": true } })
    );
    assert!(cannot(&single, "amazon.nova-pro-v1:0").contains("one tool at a time"));
    let none = ask(json!({ "type": "none" }));
    assert_eq!(converse(&none, CLAUDE).expect("translates").get("toolConfig"), None);
    let mut after = none;
    after["messages"] = json!([{ "role": "assistant", "content": [{ "type": "tool_use", "id": "t", "name": "f", "input": {} }] }]);
    assert!(cannot(&after, CLAUDE).contains("none"));
}

#[test]
fn what_converse_cannot_say_is_refused_and_not_lost() {
    let part = |part: Value| json!({ "messages": [{ "role": "user", "content": [part] }] });
    for (body, said) in [
        (
            part(json!({ "type": "image", "source": { "type": "url", "url": "https://example.org/a.png" } })),
            "image by",
        ),
        (
            part(
                json!({ "type": "image", "source": { "type": "base64", "media_type": "image/tiff", "data": "A" } }),
            ),
            "tiff",
        ),
        (
            part(
                json!({ "type": "document", "source": { "type": "url", "url": "https://example.org/a.pdf" } }),
            ),
            "document",
        ),
        (part(json!({ "type": "server_tool_use", "id": "x" })), "server_tool_use"),
        (json!({ "messages": [{ "role": "system", "content": "x" }] }), "role"),
        (
            json!({ "messages": [], "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }),
            "tools of its own",
        ),
    ] {
        let message = cannot(&body, CLAUDE);
        assert!(message.contains(said), "{message}");
    }
    assert_eq!(to_converse(b"{}", &about(CLAUDE)).expect_err("no messages").class, Class::Refused);
}

#[test]
fn a_whole_answer_becomes_a_message_and_a_completion() {
    let path = format!("{}/tests/wire/converse_answer.json", env!("CARGO_MANIFEST_DIR"));
    let answer = std::fs::read(path).expect("a file");
    let message = converse_as_messages(&answer, "id-1", "m").expect("reads");
    let expected = json!({
        "id": "id-1", "type": "message", "role": "assistant", "model": "m",
        "content": [
            { "type": "thinking", "thinking": "Short is good.", "signature": "EroCCkYI" },
            { "type": "redacted_thinking", "data": "UkVEQUNURUQ=" },
            { "type": "text", "text": "Hello" }, { "type": "text", "text": " from page 3" },
            { "type": "tool_use", "id": "tooluse_a", "name": "get_weather", "input": { "unit": "c", "location": "Lima" } },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 25, "cache_creation_input_tokens": 40, "cache_read_input_tokens": 120,
                   "cache_creation": { "ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 30 },
                   "output_tokens": 61 },
    });
    assert_eq!(serde_json::from_slice::<Value>(&message).expect("JSON"), expected);
    let used =
        Usage { input: 185, cached: 120, cache_written: 40, cache_written_hour: 30, output: 61, seconds: 0 };
    assert_eq!(wire::messages::read_whole(&message).expect("reads"), Some(used));
    let (chat, usage) = whole_as_chat(&message, 7).expect("reads");
    let chat: Value = serde_json::from_slice(&chat).expect("JSON");
    let said = &chat["choices"][0]["message"];
    assert_eq!(
        (&said["content"], &said["reasoning_content"], usage),
        (&json!("Hello from page 3"), &json!("Short is good."), Some(used))
    );
}

#[test]
fn why_it_stopped_and_what_is_no_answer() {
    let answer = |reason: &str| {
        let message = json!({ "role": "assistant", "content": [{ "text": "x" }] });
        json!({ "output": { "message": message }, "stopReason": reason, "usage": {} }).to_string()
    };
    for (reason, expected) in [
        ("end_turn", "end_turn"),
        ("max_tokens", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("guardrail_intervened", "refusal"),
        ("content_filtered", "refusal"),
        ("model_context_window_exceeded", "model_context_window_exceeded"),
        ("something_new", "end_turn"),
    ] {
        let message = converse_as_messages(answer(reason).as_bytes(), "i", "m").expect("reads");
        assert_eq!(serde_json::from_slice::<Value>(&message).expect("JSON")["stop_reason"], expected);
    }
    let class = |body: &str| converse_as_messages(body.as_bytes(), "i", "m").expect_err(body).class;
    assert_eq!(class(&answer("malformed_tool_use")), Class::Malformed);
    assert_eq!(class(r#"{"message":"The model is overloaded"}"#), Class::Unwell);
    assert_eq!(class("{}"), Class::Malformed);
    assert_eq!(class(r#"{"output":"#), Class::Malformed);
}

/// The events of a recorded stream, without what frames them.
fn recorded() -> Vec<Event> {
    let path = format!("{}/tests/wire/converse_stream.bin", env!("CARGO_MANIFEST_DIR"));
    let mut frames = crate::providers::AwsFrames::default();
    frames.push(&std::fs::read(path).expect("a file"));
    std::iter::from_fn(|| frames.next_event().expect("whole")).collect()
}

fn read(reader: &mut dyn Reader, events: Vec<Event>) -> Vec<Frame> {
    let mut frames = VecDeque::new();
    for event in events {
        reader.event(event, &mut frames).expect("reads");
    }
    reader.end(&mut frames).expect("whole");
    frames.into()
}

fn data(frames: &[Frame]) -> Vec<Value> {
    let mut parser = Parser::default();
    for frame in frames {
        parser.push(&frame.bytes);
    }
    let events = std::iter::from_fn(|| parser.next_event().expect("small"));
    events.filter_map(|event| serde_json::from_slice(&event.data).ok()).collect()
}

#[test]
fn a_stream_becomes_a_stream_of_messages() {
    let frames = read(&mut StreamConverse::new("id-1", "m"), recorded());
    let events = data(&frames);
    let kinds: Vec<_> = events.iter().map(|it| it["type"].as_str().unwrap_or_default()).collect();
    let block = |deltas: usize| {
        let mut kinds = vec!["content_block_delta"; deltas + 2];
        (kinds[0], kinds[deltas + 1]) = ("content_block_start", "content_block_stop");
        kinds
    };
    let blocks = [block(3), block(2), block(2), block(0)].concat();
    assert_eq!(kinds, [&["message_start"][..], &blocks, &["message_delta", "message_stop"]].concat());
    assert_eq!(events[0]["message"]["id"], "id-1");
    assert_eq!(events[1]["content_block"], json!({ "type": "thinking", "thinking": "", "signature": "" }));
    assert_eq!(events[4]["delta"], json!({ "type": "signature_delta", "signature": "EroCCkYI" }));
    let tool = json!({ "type": "tool_use", "id": "tooluse_Xk3-a", "name": "get_weather", "input": {} });
    assert_eq!((&events[10]["content_block"], &events[10]["index"]), (&tool, &json!(2)));
    let last = &events[events.len() - 2];
    assert_eq!(
        (&last["delta"]["stop_reason"], &last["usage"]["input_tokens"]),
        (&json!("tool_use"), &json!(25))
    );
    let used =
        Usage { input: 185, cached: 120, cache_written: 40, cache_written_hour: 30, output: 61, seconds: 0 };
    assert_eq!(frames.iter().find_map(|frame| frame.usage), Some(used));
}

#[test]
fn a_stream_becomes_a_stream_of_chat_and_of_responses() {
    let first = || StreamConverse::new("id-1", "m");
    let frames = read(&mut Through { first: first(), then: StreamAsChat::new(7, true) }, recorded());
    let chunks = data(&frames);
    let delta = |name: &str| -> String {
        chunks.iter().filter_map(|it| it["choices"][0]["delta"][name].as_str()).collect()
    };
    assert_eq!(
        (delta("content"), delta("reasoning_content")),
        ("I look: €".into(), "Two cities, two calls.".into())
    );
    let calls = chunks.iter().filter_map(|it| it["choices"][0]["delta"]["tool_calls"][0].as_object());
    let arguments = |index: u64| -> String {
        let of = calls.clone().filter(|call| call["index"] == index);
        of.filter_map(|call| call["function"]["arguments"].as_str()).collect()
    };
    assert_eq!((arguments(0), arguments(1)), (r#"{"location": "Paris"}"#.into(), "{}".into()));
    assert_eq!(chunks.last().expect("chunks")["usage"]["prompt_tokens"], 185);
    assert!(frames.last().expect("frames").bytes.ends_with(b"[DONE]\n\n"));

    let chat = Through { first: first(), then: StreamAsChat::new(7, true) };
    let frames = read(&mut Through { first: chat, then: StreamAsResponses::default() }, recorded());
    let completed = data(&frames).pop().expect("events");
    assert_eq!(completed["type"], "response.completed");
    assert_eq!(completed["response"]["usage"]["input_tokens"], 185);
}

#[test]
fn a_stream_that_ends_early_is_cut_and_one_without_its_usage_is_whole() {
    let events = recorded();
    for length in 0..events.len() {
        let mut reader = StreamConverse::new("i", "m");
        let mut frames = VecDeque::new();
        for event in &events[..length] {
            reader.event(event.clone(), &mut frames).expect("reads");
        }
        let stopped = length == events.len() - 1;
        let ended = reader.end(&mut frames);
        assert_eq!(ended.is_ok(), stopped, "{length}");
        if stopped {
            assert_eq!(frames.pop_back().expect("an end").bytes, wire::messages::STOP);
            assert_eq!(frames.pop_back().expect("a reason").usage, None, "nobody said");
        }
    }
    let event = |name: &'static str, data: &'static str| Event {
        name: Bytes::from_static(name.as_bytes()),
        data: Bytes::from_static(data.as_bytes()),
        raw: Bytes::new(),
    };
    let mut reader = StreamConverse::new("i", "m");
    let early = reader.event(event("contentBlockDelta", r#"{"delta":{"text":"x"}}"#), &mut VecDeque::new());
    assert_eq!(early.expect_err("no beginning").class, Class::Malformed);
    reader.event(event("messageStart", r#"{"role":"assistant"}"#), &mut VecDeque::new()).expect("reads");
    let lost = r#"{"contentBlockIndex":0,"delta":{"toolUse":{"input":"{}"}}}"#;
    let lost = reader.event(event("contentBlockDelta", lost), &mut VecDeque::new());
    assert_eq!(lost.expect_err("whose input?").class, Class::Malformed);
    let mut frames = VecDeque::new();
    reader.event(event("somethingNew", "{}"), &mut frames).expect("passed over");
    assert_eq!(frames[0].sense, crate::answer::Sense::Idle);
}
