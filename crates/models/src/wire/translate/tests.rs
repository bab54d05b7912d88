mod requests;
mod streams;

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

#[test]
fn what_a_chat_answer_thought_is_told_in_the_other_apis_without_a_signature() {
    for name in ["reasoning", "reasoning_content"] {
        let message = json!({ "role": "assistant", "content": "Yes.", name: "Hm." });
        let chat =
            json!({ "id": "c1", "choices": [{ "message": message, "finish_reason": "stop" }] }).to_string();
        let (message, _) = whole_as_messages(chat.as_bytes()).expect("translates");
        let thought = json!({ "type": "thinking", "thinking": "Hm.", "signature": "unsigned" });
        assert_eq!(value(&message)["content"], json!([thought, { "type": "text", "text": "Yes." }]));
        let (response, _) = whole_as_response(chat.as_bytes()).expect("translates");
        let output = &value(&response)["output"];
        let content = json!([{ "type": "reasoning_text", "text": "Hm." }]);
        assert_eq!(
            output[0],
            json!({ "type": "reasoning", "id": "rs_unsigned_c1_0", "status": "completed", "summary": [], "content": content })
        );
        assert_eq!(
            (&output[1]["id"], &output[1]["content"][0]["text"]),
            (&json!("msg_c1_1"), &json!("Yes."))
        );
    }
}
