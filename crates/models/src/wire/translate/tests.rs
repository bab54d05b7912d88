use std::collections::VecDeque;

use bytes::Bytes;
use serde_json::{Value, json};

use super::*;
use crate::{
    answer::{Frame, Sense, Usage},
    wire::{
        Reader,
        sse::{Event, Parser},
    },
};

fn wire(name: &str) -> Bytes {
    let path = format!("{}/tests/wire/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}")).into()
}

fn value(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}

#[test]
fn a_chat_request_with_tools_becomes_a_messages_request() {
    let body = to_messages(&wire("chat_tools_request.json"), "claude", 4_096).expect("translates");
    let expected = json!({
        "model": "claude", "max_tokens": 4_096,
        "messages": [
            { "role": "user", "content": [{ "type": "text", "text": "Weather in Paris and Lima?" }] },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "call_a", "name": "get_weather", "input": { "location": "Paris" } },
                { "type": "tool_use", "id": "call_b", "name": "get_weather", "input": { "location": "Lima" } },
            ]},
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "call_a", "content": [{ "type": "text", "text": "15 degrees" }] },
                { "type": "tool_result", "tool_use_id": "call_b", "content": [{ "type": "text", "text": "19 degrees" }] },
            ]},
        ],
        "tools": [
            { "name": "get_weather", "description": "Current weather.", "input_schema": {
                "type": "object", "properties": { "units": { "type": "string" }, "location": { "type": "string" } },
                "required": ["location"] } },
            { "name": "a_tool", "input_schema": { "type": "object", "properties": {} } },
        ],
        "tool_choice": { "type": "auto" },
    });
    assert_eq!(value(&body), expected);
    let text = String::from_utf8(body.to_vec()).expect("text");
    assert!(
        text.contains(r#""properties":{"units":{"type":"string"},"location""#),
        "the order is kept: {text}"
    );
    assert!(text.contains(r#""input":{"location": "Paris"}"#), "arguments byte for byte: {text}");
}

#[test]
fn what_else_chat_can_say_has_its_counterpart() {
    let body = json!({
        "model": "m", "max_completion_tokens": 7, "temperature": 1.7, "top_p": 0.5, "stop": "END", "user": "u-1",
        "stream": true, "seed": 1, "parallel_tool_calls": false,
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [
                { "type": "text", "text": "Look" },
                { "type": "image_url", "image_url": { "url": "data:image/png;base64,AAAA" } },
                { "type": "image_url", "image_url": { "url": "https://example.org/a.png" } },
                { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,BBBB" } },
            ]},
            { "role": "user", "content": "and say" },
        ],
        "tools": [{ "type": "function", "function": { "name": "f" } }],
        "tool_choice": { "type": "function", "function": { "name": "f" } },
        "response_format": { "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object" } } },
    });
    let body = to_messages(body.to_string().as_bytes(), "claude", 4_096).expect("translates");
    let expected = json!({
        "model": "claude", "max_tokens": 7, "temperature": 1.0, "top_p": 0.5, "stop_sequences": ["END"],
        "metadata": { "user_id": "u-1" }, "stream": true,
        "system": [{ "type": "text", "text": "Be brief." }],
        "messages": [{ "role": "user", "content": [
            { "type": "text", "text": "Look" },
            { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "AAAA" } },
            { "type": "image", "source": { "type": "url", "url": "https://example.org/a.png" } },
            { "type": "document", "title": "a.pdf",
              "source": { "type": "base64", "media_type": "application/pdf", "data": "BBBB" } },
            { "type": "text", "text": "and say" },
        ]}],
        "tools": [{ "name": "f", "input_schema": { "type": "object", "properties": {} } }],
        "tool_choice": { "type": "tool", "name": "f", "disable_parallel_tool_use": true },
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
    });
    assert_eq!(value(&body), expected);
}

#[test]
fn what_chat_alone_can_say_is_refused_and_not_lost() {
    for (member, text) in [
        (r#""n":2"#, "n above 1"),
        (r#""logprobs":true"#, "logprobs"),
        (r#""audio":{"voice":"x"}"#, "audio"),
        (r#""tools":[{"type":"custom","custom":{}}]"#, "tools of this type"),
    ] {
        let body = format!(r#"{{"messages":[],{member}}}"#);
        let failed = to_messages(body.as_bytes(), "claude", 1).expect_err(member);
        assert!(failed.class == Class::Unsupported && failed.message.contains(text), "{}", failed.message);
    }
    let sound = wire("chat_request.json");
    let sound = String::from_utf8(sound.to_vec())
        .expect("text")
        .replace(r#""n": 2,"#, "")
        .replace(r#""logprobs": true,"#, "");
    let failed = to_messages(sound.as_bytes(), "claude", 1).expect_err("sound");
    assert!(failed.message.contains("input_audio"), "{}", failed.message);
    assert_eq!(to_messages(b"{}", "claude", 1).expect_err("no messages").class, Class::Refused);
}

#[test]
fn arguments_that_are_no_json_are_kept_inside_some() {
    let ask = |arguments: &str| {
        let call =
            json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": arguments } });
        let body = json!({ "messages": [{ "role": "assistant", "tool_calls": [call] }] }).to_string();
        value(&to_messages(body.as_bytes(), "m", 1).expect("translates"))["messages"][0]["content"][0]["input"].clone()
    };
    assert_eq!(ask(""), json!({}));
    assert_eq!(ask("{\"a\":"), json!({ "arguments": "{\"a\":" }));
    assert_eq!(ask("[1]"), json!({ "arguments": "[1]" }));
}

#[test]
fn a_messages_request_with_tools_becomes_a_chat_request() {
    // Tools that run at the provider have no counterpart.
    let request = wire("messages_tools_request.json");
    assert_eq!(to_chat(&request, "gpt", false).expect_err("web_search").class, Class::Unsupported);
    let own = r#",{"type":"web_search_20250305","name":"web_search","max_uses":5}"#;
    let request = String::from_utf8(request.to_vec()).expect("text").replace(own, "");
    let body = to_chat(request.as_bytes(), "gpt", false).expect("translates");
    let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "get_weather", "arguments": arguments } });
    let expected = json!({
        "model": "gpt", "max_completion_tokens": 1_024,
        "messages": [
            { "role": "user", "content": "Weather in Paris and Lima?" },
            { "role": "assistant", "content": "I look.", "tool_calls": [
                call("toolu_a", r#"{"location":"Paris"}"#), call("toolu_b", r#"{"unit":"c","location":"Lima"}"#),
            ]},
            { "role": "tool", "tool_call_id": "toolu_a", "content": "15 degrees" },
            { "role": "tool", "tool_call_id": "toolu_b", "content": "19 degrees" },
        ],
        "tools": [{ "type": "function", "function": { "name": "get_weather", "description": "Current weather.",
            "parameters": { "type": "object",
                "properties": { "unit": { "type": "string" }, "location": { "type": "string" } },
                "required": ["location"] } } }],
        "tool_choice": "auto", "parallel_tool_calls": true,
    });
    assert_eq!(value(&body), expected);
    let text = String::from_utf8(body.to_vec()).expect("text");
    assert!(
        text.contains(r#""properties":{"unit":{"type":"string"},"location""#),
        "the order is kept: {text}"
    );
}

#[test]
fn what_else_messages_can_say_has_its_counterpart() {
    let body = to_chat(&wire("messages_request.json"), "gpt", true).expect("translates");
    let expected = json!({
        "model": "gpt", "max_tokens": 1_024, "user": "u-13",
        "messages": [
            { "role": "system", "content": "You are terse." },
            { "role": "user", "content": [
                { "type": "image_url", "image_url": { "url": "data:image/jpeg;base64,/9j/4AAQ" } },
                { "type": "file", "file": { "filename": "Report", "file_data": "data:application/pdf;base64,JVBERi0=" } },
                { "type": "text", "text": "Summarise." },
            ]},
        ],
    });
    assert_eq!(value(&body), expected);
    let body = json!({
        "max_tokens": 5, "stop_sequences": ["a", "b"], "temperature": 0.5, "stream": true,
        "system": "S", "tool_choice": { "type": "any", "disable_parallel_tool_use": true },
        "tools": [{ "name": "f", "input_schema": { "type": "object" } }],
        "output_config": { "format": { "type": "json_schema", "schema": { "type": "object" } } },
        "messages": [
            { "role": "assistant", "content": [
                { "type": "thinking", "thinking": "x", "signature": "y" }, { "type": "text", "text": "Yes." }] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t", "is_error": true, "content": [
                    { "type": "text", "text": "broken" },
                    { "type": "image", "source": { "type": "url", "url": "https://example.org/a.png" } }] },
                { "type": "text", "text": "Again" }] },
        ],
    });
    let body = to_chat(body.to_string().as_bytes(), "gpt", false).expect("translates");
    let expected = json!({
        "model": "gpt", "max_completion_tokens": 5, "stop": ["a", "b"], "temperature": 0.5,
        "stream": true, "stream_options": { "include_usage": true },
        "tool_choice": "required", "parallel_tool_calls": false,
        "tools": [{ "type": "function", "function": { "name": "f", "parameters": { "type": "object" } } }],
        "response_format": { "type": "json_schema",
            "json_schema": { "name": "answer", "strict": true, "schema": { "type": "object" } } },
        "messages": [
            { "role": "system", "content": "S" },
            { "role": "assistant", "content": "Yes." },
            { "role": "tool", "tool_call_id": "t", "content": "Error: broken" },
            { "role": "user", "content": [
                { "type": "image_url", "image_url": { "url": "https://example.org/a.png" } },
                { "type": "text", "text": "Again" }] },
        ],
    });
    assert_eq!(value(&body), expected);
}

#[test]
fn a_messages_answer_becomes_a_chat_answer() {
    let (body, usage) = whole_as_chat(&wire("messages_tools_answer.json"), 17).expect("translates");
    let call = |id: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": "get_weather", "arguments": arguments } });
    let expected = json!({
        "id": "msg_01Aq9w938a90dw8q", "object": "chat.completion", "created": 17, "model": "claude-opus-4-5",
        "choices": [{ "index": 0, "logprobs": null, "finish_reason": "tool_calls", "message": {
            "role": "assistant", "content": "I check both.", "refusal": null, "tool_calls": [
                call("toolu_01A09q90qw90lq917835lq9", r#"{"unit":"c","location":"San Francisco, CA"}"#),
                call("toolu_02", "{}"),
            ] } }],
        "usage": { "prompt_tokens": 472, "completion_tokens": 89, "total_tokens": 561,
                   "prompt_tokens_details": { "cached_tokens": 0 } },
    });
    assert_eq!(value(&body), expected);
    assert_eq!(usage, Some(Usage { input: 472, output: 89, ..Usage::default() }));

    let (body, usage) = whole_as_chat(&wire("messages_answer.json"), 17).expect("translates");
    let message = &value(&body)["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&json!("A report."), &json!("Short.")));
    let all = Usage {
        input: 2_095 + 2_051 + 100,
        cached: 100,
        cache_written: 2_051,
        cache_written_hour: 2_051,
        output: 503,
        seconds: 0,
    };
    assert_eq!(usage, Some(all));
}

#[test]
fn a_chat_answer_becomes_a_messages_answer() {
    let (body, _) = whole_as_messages(&wire("chat_tools_answer.json")).expect("translates");
    let expected = json!({
        "id": "chatcmpl-abc123", "type": "message", "role": "assistant", "model": "gpt-4o-mini",
        "content": [
            { "type": "tool_use", "id": "call_abc123", "name": "get_weather", "input": { "location": "Boston, MA" } },
            { "type": "tool_use", "id": "call_def456", "name": "get_weather", "input": {} },
        ],
        "stop_reason": "tool_use", "stop_sequence": null,
        "usage": { "input_tokens": 82, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 0,
                   "output_tokens": 17 },
    });
    assert_eq!(value(&body), expected);
    let (body, usage) = whole_as_messages(&wire("chat_answer.json")).expect("translates");
    let body = value(&body);
    assert_eq!((&body["stop_reason"], &body["usage"]["input_tokens"]), (&json!("end_turn"), &json!(93)));
    assert_eq!(body["usage"]["cache_read_input_tokens"], 1_024);
    assert_eq!(usage.map(Usage::total), Some(1_163));
}

#[test]
fn every_reason_to_stop_has_its_counterpart() {
    let chat = |reason: &str| {
        let body = json!({ "id": "i", "model": "m", "content": [], "stop_reason": reason }).to_string();
        let (body, _) = whole_as_chat(body.as_bytes(), 0).expect("translates");
        value(&body)["choices"][0]["finish_reason"].clone()
    };
    let reasons = ["end_turn", "stop_sequence", "pause_turn", "max_tokens", "tool_use", "refusal"];
    assert_eq!(reasons.map(chat), ["stop", "stop", "stop", "length", "tool_calls", "content_filter"]);
    let messages = |reason: &str| {
        let choice = json!({ "message": { "role": "assistant", "content": "x" }, "finish_reason": reason });
        let body = json!({ "choices": [choice] }).to_string();
        let (body, _) = whole_as_messages(body.as_bytes()).expect("translates");
        value(&body)["stop_reason"].clone()
    };
    let reasons = ["stop", "length", "tool_calls", "content_filter"];
    assert_eq!(reasons.map(messages), ["end_turn", "max_tokens", "tool_use", "refusal"]);
}

fn streamed(mut reader: impl Reader, wire: &[u8]) -> Result<Vec<Frame>, Failed> {
    let mut parser = Parser::default();
    parser.push(wire);
    let mut frames = VecDeque::new();
    while let Some(event) = parser.next_event().expect("small") {
        reader.event(event, &mut frames)?;
    }
    reader.end(&mut frames)?;
    Ok(frames.into())
}

fn events(frames: &[Frame]) -> Vec<Value> {
    let mut parser = Parser::default();
    for frame in frames {
        parser.push(&frame.bytes);
    }
    let mut events = Vec::new();
    while let Some(Event { data, .. }) = parser.next_event().expect("small") {
        events.push(serde_json::from_slice(&data).unwrap_or(Value::Null));
    }
    events
}

#[test]
fn a_messages_stream_becomes_a_chat_stream() {
    let frames = streamed(StreamAsChat::new(17, true), &wire("messages_stream.txt")).expect("whole");
    let events = events(&frames);
    let deltas: Vec<_> = events.iter().map(|event| event["choices"][0]["delta"].clone()).collect();
    let expected = [
        json!({ "role": "assistant", "content": "" }),
        json!({ "reasoning_content": "A greeting." }),
        json!({ "content": "Hello" }),
        json!({ "content": "!" }),
        json!({}),
    ];
    assert_eq!(deltas[..5], expected);
    assert_eq!(events[4]["choices"][0]["finish_reason"], "stop");
    let usage = json!({ "prompt_tokens": 32, "completion_tokens": 15, "total_tokens": 47,
                        "prompt_tokens_details": { "cached_tokens": 7 } });
    assert_eq!((&events[5]["choices"], &events[5]["usage"]), (&json!([]), &usage));
    assert_eq!(frames.last().map(|frame| frame.sense.clone()), Some(Sense::End));
    let told: Usage = frames.iter().filter_map(|frame| frame.usage).fold(Usage::default(), Usage::max);
    assert_eq!(told, Usage { input: 32, cached: 7, output: 15, ..Usage::default() });
}

#[test]
fn a_chat_stream_becomes_a_messages_stream() {
    let frames = streamed(StreamAsMessages::default(), &wire("chat_stream.txt")).expect("whole");
    let events = events(&frames);
    let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().expect("a type")).collect();
    let expected = [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ];
    assert_eq!(kinds, expected);
    assert_eq!(events[0]["message"]["id"], "chatcmpl-1");
    assert_eq!(events[2]["delta"], json!({ "type": "text_delta", "text": "Hello" }));
    assert_eq!(events[4]["delta"], json!({ "stop_reason": "end_turn", "stop_sequence": null }));
    assert_eq!(events[4]["usage"]["input_tokens"], 9);
}

#[test]
fn pieces_of_parallel_tool_calls_may_come_in_any_order() {
    let chunk = |call: Value| {
        let choice = json!({ "index": 0, "delta": { "tool_calls": [call] }, "finish_reason": null });
        format!("data: {}\n\n", json!({ "id": "x", "model": "m", "choices": [choice] }))
    };
    let begin = |index: u32| {
        chunk(
            json!({ "index": index, "id": format!("c{index}"), "function": { "name": "f", "arguments": "" } }),
        )
    };
    let more = |index: u32, text: &str| chunk(json!({ "index": index, "function": { "arguments": text } }));
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n";
    let stream =
        [begin(0), more(0, "{\"a\""), begin(1), more(1, "{}"), more(0, ":1}"), end.to_owned()].concat();
    let frames = streamed(StreamAsMessages::default(), stream.as_bytes()).expect("whole");
    let events = events(&frames);
    let input = |index: u32| -> String {
        let of = events.iter().filter(|event| event["index"] == index);
        of.filter_map(|event| event["delta"]["partial_json"].as_str()).collect()
    };
    assert_eq!((input(0).as_str(), input(1).as_str()), (r#"{"a":1}"#, "{}"));
    let stops: Vec<_> = events.iter().filter(|event| event["type"] == "content_block_stop").collect();
    assert_eq!(stops.len(), 2);
}

#[test]
fn a_tool_without_arguments_still_has_some_json() {
    let wire = wire("messages_stream.txt");
    let text = String::from_utf8(wire.to_vec()).expect("text");
    let start = r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#;
    let begin = text.find("event: content_block_start").expect("a block");
    let end = text.find("event: message_delta").expect("an end");
    let block = format!(
        "event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{start}}}\n\n\
         event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n"
    );
    let stream = format!("{}{block}{}", &text[..begin], &text[end..]);
    let frames = streamed(StreamAsChat::new(0, false), stream.as_bytes()).expect("whole");
    let arguments: String = events(&frames)
        .iter()
        .filter_map(|event| {
            event["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"].as_str().map(str::to_owned)
        })
        .collect();
    assert_eq!(arguments, "{}");
}

#[test]
fn a_stream_of_two_choices_is_whole_when_both_have_ended() {
    let end = |index: u32| {
        let choice = json!({ "index": index, "delta": {}, "finish_reason": "stop" });
        format!("data: {}\n\n", json!({ "choices": [choice] }))
    };
    let read = |stream: String| streamed(crate::wire::chat::PassThrough::new(false, 2), stream.as_bytes());
    assert_eq!(read(end(0)).expect_err("one is open").class, Class::Cut);
    assert_eq!(read(end(0) + "data: [DONE]\n\n").expect_err("one is open").class, Class::Cut);
    assert!(read(end(0) + &end(1)).expect("whole").last().is_some_and(|it| it.sense == Sense::End));
}

#[test]
fn a_stream_that_ends_before_its_answer_does_is_cut_wherever_that_is() {
    for (name, whole_from) in
        [("messages_stream.txt", "event: message_stop"), ("chat_stream.txt", "data: [DONE]")]
    {
        let wire = wire(name);
        let text = String::from_utf8(wire.to_vec()).expect("text");
        let mut ends: Vec<_> = text.match_indices("\n\n").map(|(at, _)| at + 2).collect();
        ends.pop();
        for end in ends {
            let part = &text.as_bytes()[..end];
            let (own, other) = if name.starts_with("chat") {
                (
                    streamed(crate::wire::chat::PassThrough::new(false, 1), part),
                    streamed(StreamAsMessages::default(), part),
                )
            } else {
                (
                    streamed(crate::wire::messages::PassThrough::default(), part),
                    streamed(StreamAsChat::new(0, false), part),
                )
            };
            // Once the model said why it stopped, the rest is form.
            let finished =
                text[..end].contains(r#"finish_reason":"stop"#) || text[..end].contains("message_delta");
            for result in [own, other] {
                match result {
                    Ok(_) => assert!(finished, "{name} at {end}"),
                    Err(failed) => {
                        assert!(
                            !finished && failed.class == Class::Cut,
                            "{name} at {end}: {}",
                            failed.message
                        );
                    }
                }
            }
        }
        assert!(text.contains(whole_from));
    }
}

/// What a broken or hostile side may send: a recorded text with parts of it doubled, left out or
/// replaced.
fn mangled(text: &[u8], edits: &[(usize, usize, u8)]) -> Vec<u8> {
    let mut text = text.to_vec();
    for (at, len, what) in edits {
        let at = at % (text.len() + 1);
        let end = (at + len % 40).min(text.len());
        let odd: [&[u8]; 6] = [b"null", b"{}", b"[]", b"\"", b"1e999", b"\\ud800"];
        match what % 8 {
            0 => drop(text.drain(at..end)),
            1 => {
                let doubled = text[at..end].to_vec();
                drop(text.splice(at..at, doubled));
            }
            n => drop(text.splice(at..end, odd[usize::from(n) - 2].to_vec())),
        }
    }
    text
}

proptest::proptest! {
    // By JSON's grammar: what nobody here acts on passes as it came, a number that is too large for
    // us or half a surrogate too.
    #[test]
    fn whatever_comes_is_translated_into_json_or_refused(
        edits in proptest::collection::vec((0..2_000_usize, 0..2_000_usize, 0..8_u8), 0..4),
    ) {
        let requests = ["chat_request", "chat_tools_request", "messages_request", "messages_tools_request"];
        for name in requests {
            let body = mangled(&wire(&format!("{name}.json")), &edits);
            for result in [to_messages(&body, "m", 1), to_chat(&body, "m", false)].into_iter().flatten() {
                proptest::prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&result).is_ok());
            }
        }
        for name in ["chat_answer", "chat_tools_answer", "messages_answer", "messages_tools_answer"] {
            let body = mangled(&wire(&format!("{name}.json")), &edits);
            for result in [whole_as_chat(&body, 0), whole_as_messages(&body)].into_iter().flatten() {
                proptest::prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&result.0).is_ok());
            }
        }
        for name in ["chat_stream.txt", "messages_stream.txt"] {
            let body = mangled(&wire(name), &edits);
            let streams = [
                streamed(StreamAsChat::new(0, true), &body),
                streamed(StreamAsMessages::default(), &body),
                streamed(crate::wire::chat::PassThrough::new(true, 1), &body),
                streamed(crate::wire::messages::PassThrough::default(), &body),
            ];
            for frames in streams.into_iter().flatten() {
                // One end, and nothing after it.
                let ends = frames.iter().filter(|frame| frame.sense == Sense::End).count();
                proptest::prop_assert_eq!(ends, 1);
                proptest::prop_assert_eq!(frames.last().map(|frame| &frame.sense), Some(&Sense::End));
            }
        }
    }
}
