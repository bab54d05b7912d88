//! What is said, in each API.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Plan, bedrock, bedrock::Verb};

/// Which API is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Chat,
    Messages,
    Embeddings,
    Bedrock(Verb),
}

/// What of a request decides what is said.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Request {
    #[serde(default)]
    pub(crate) model: String,
    #[serde(default)]
    pub(crate) stream: bool,
    #[serde(default)]
    stream_options: StreamOptions,
    #[serde(default)]
    messages: Vec<Message>,
    #[serde(default)]
    input: Value,
    #[serde(default, rename = "guardrailConfig")]
    guardrail_config: Value,
    /// What a guardrail by itself is asked about.
    #[serde(default)]
    content: Value,
}

#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Debug, Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Value,
}

pub(crate) const INPUT: u64 = 9;
pub(crate) const CACHED: u64 = 4;

impl Request {
    /// Does it carry a guardrail?
    pub(crate) fn guardrail(&self) -> bool {
        self.guardrail_config["guardrailIdentifier"].is_string()
    }
    /// Does this word stand in it?
    pub(crate) fn says(&self, word: &str) -> bool {
        let messages = self.messages.iter().any(|it| it.content.to_string().contains(word));
        messages || self.content.to_string().contains(word)
    }
    /// What is left to be said: all of it, or what comes after the answer that broke off.
    pub(crate) fn pieces(&self, plan: &Plan) -> Vec<String> {
        let pieces: Vec<_> = (0..plan.chunks).map(Plan::piece).collect();
        let said = match self.messages.as_slice() {
            [.., assistant, _] | [.., assistant] if assistant.role == "assistant" => text(&assistant.content),
            _ => String::new(),
        };
        let all = pieces.concat();
        match all.strip_prefix(said.as_str()) {
            Some(rest) if !plan.begins_anew && !said.is_empty() => {
                rest.split_inclusive(' ').map(str::to_owned).collect()
            }
            _ => pieces,
        }
    }
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

fn usage(dialect: Dialect, output: usize) -> Value {
    match dialect {
        Dialect::Messages => json!({
            "input_tokens": INPUT - CACHED, "cache_read_input_tokens": CACHED,
            "cache_creation_input_tokens": 0, "output_tokens": output,
        }),
        _ => json!({
            "prompt_tokens": INPUT, "completion_tokens": output, "total_tokens": INPUT + output as u64,
            "prompt_tokens_details": { "cached_tokens": CACHED },
        }),
    }
}

pub(crate) fn arguments(tool: usize) -> Value {
    json!({ "city": format!("City {tool}"), "days": tool })
}

/// An error as the API has it.
pub(crate) fn error(dialect: Dialect, status: u16) -> Value {
    match dialect {
        Dialect::Messages => json!({
            "type": "error", "error": { "type": "api_error", "message": format!("mock error {status}") },
        }),
        Dialect::Bedrock(_) => bedrock::error(status),
        Dialect::Chat | Dialect::Embeddings => json!({
            "error": { "message": format!("mock error {status}"), "type": "server_error",
                       "param": null, "code": "mock_error" },
        }),
    }
}

/// A whole answer.
pub(crate) fn whole(dialect: Dialect, request: &Request, plan: &Plan) -> Value {
    let pieces = request.pieces(plan);
    let text = pieces.concat();
    match dialect {
        Dialect::Bedrock(verb) => bedrock::whole(verb, request, plan),
        Dialect::Embeddings => {
            let count = request.input.as_array().map_or(1, Vec::len);
            let one =
                |index| json!({ "object": "embedding", "index": index, "embedding": [0.25, -0.5, 0.75] });
            let data: Vec<_> = (0..count).map(one).collect();
            json!({ "object": "list", "data": data, "model": request.model,
                    "usage": { "prompt_tokens": INPUT, "total_tokens": INPUT } })
        }
        Dialect::Chat => {
            let mut message =
                json!({ "role": "assistant", "content": text, "refusal": null, "annotations": [] });
            if plan.tools > 0 {
                message["content"] = Value::Null;
                message["tool_calls"] = (0..plan.tools)
                    .map(|tool| {
                        json!({ "id": format!("call_{tool}"), "type": "function",
                                "function": { "name": "weather", "arguments": arguments(tool).to_string() } })
                    })
                    .collect();
            }
            let reason = if plan.tools > 0 { "tool_calls" } else { "stop" };
            json!({ "id": "chatcmpl-mock", "object": "chat.completion", "created": 1_700_000_000,
                    "model": request.model, "system_fingerprint": "fp_mock", "future_field": { "kept": true },
                    "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": reason }],
                    "usage": usage(dialect, pieces.len()) })
        }
        Dialect::Messages => {
            let mut content = vec![json!({ "type": "text", "text": text })];
            if plan.tools > 0 {
                let call = |tool| {
                    json!({ "type": "tool_use", "id": format!("toolu_{tool}"), "name": "weather",
                            "input": arguments(tool) })
                };
                content = (0..plan.tools).map(call).collect();
            }
            let reason = if plan.tools > 0 { "tool_use" } else { "end_turn" };
            json!({ "id": "msg_mock", "type": "message", "role": "assistant", "model": request.model,
                    "content": content, "stop_reason": reason, "stop_sequence": null,
                    "future_field": { "kept": true }, "usage": usage(dialect, pieces.len()) })
        }
    }
}

/// One event of a stream, and whether it is a piece of the answer.
pub(crate) struct Said {
    pub(crate) bytes: Bytes,
    pub(crate) piece: bool,
}

fn data(value: &Value) -> String {
    format!("data: {value}\n\n")
}

fn named(value: &Value) -> String {
    format!("event: {}\ndata: {value}\n\n", value["type"].as_str().unwrap_or_default())
}

/// An error in a stream.
pub(crate) fn error_event(dialect: Dialect) -> Bytes {
    if let Dialect::Bedrock(_) = dialect {
        return bedrock::error_event();
    }
    let error = error(dialect, 500);
    if dialect == Dialect::Messages { named(&error).into() } else { data(&error).into() }
}

/// A piece that does not read.
pub(crate) fn bad_event(dialect: Dialect) -> Bytes {
    match dialect {
        Dialect::Bedrock(_) => bedrock::bad_event(),
        _ => Bytes::from_static(b"data: {\"choices\":[{\"del\n\n"),
    }
}

/// What a stream's bytes are.
pub(crate) const fn stream_type(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Bedrock(_) => "application/vnd.amazon.eventstream",
        _ => "text/event-stream",
    }
}

/// A stream's events.
pub(crate) fn events(dialect: Dialect, request: &Request, plan: &Plan) -> Vec<Said> {
    if let Dialect::Bedrock(_) = dialect {
        return bedrock::events(request, plan);
    }
    let mut said = Vec::new();
    let mut say = |text: String, piece: bool| said.push(Said { bytes: text.into(), piece });
    let pieces = request.pieces(plan);
    if dialect == Dialect::Messages {
        let message = json!({ "id": "msg_mock", "type": "message", "role": "assistant", "content": [],
            "model": request.model, "stop_reason": null, "stop_sequence": null, "usage": usage(dialect, 1) });
        say(named(&json!({ "type": "message_start", "message": message })), false);
        say(named(&json!({ "type": "ping" })), false);
        let thinking = usize::from(plan.thoughts > 0);
        if plan.thoughts > 0 {
            let block = json!({ "type": "thinking", "thinking": "", "signature": "" });
            say(named(&json!({ "type": "content_block_start", "index": 0, "content_block": block })), false);
            for number in 0..plan.thoughts {
                let delta = json!({ "type": "thinking_delta", "thinking": Plan::thought(number) });
                say(named(&json!({ "type": "content_block_delta", "index": 0, "delta": delta })), true);
            }
            let delta = json!({ "type": "signature_delta", "signature": "c2lnbmVk" });
            say(named(&json!({ "type": "content_block_delta", "index": 0, "delta": delta })), false);
            say(named(&json!({ "type": "content_block_stop", "index": 0 })), false);
        }
        for tool in 0..plan.tools.max(1) {
            let index = thinking + tool;
            let block = if plan.tools > 0 {
                json!({ "type": "tool_use", "id": format!("toolu_{tool}"), "name": "weather", "input": {} })
            } else {
                json!({ "type": "text", "text": "" })
            };
            say(
                named(&json!({ "type": "content_block_start", "index": index, "content_block": block })),
                false,
            );
            let deltas: Vec<Value> = if plan.tools > 0 {
                let part = |part: &str| json!({ "type": "input_json_delta", "partial_json": part });
                halves(&arguments(tool).to_string()).iter().map(|it| part(it)).collect()
            } else {
                pieces.iter().map(|text| json!({ "type": "text_delta", "text": text })).collect()
            };
            for delta in deltas {
                say(named(&json!({ "type": "content_block_delta", "index": index, "delta": delta })), true);
            }
            say(named(&json!({ "type": "content_block_stop", "index": index })), false);
        }
        let reason = if plan.tools > 0 { "tool_use" } else { "end_turn" };
        let delta = json!({ "stop_reason": reason, "stop_sequence": null });
        let usage = json!({ "output_tokens": pieces.len() });
        say(named(&json!({ "type": "message_delta", "delta": delta, "usage": usage })), false);
        say(named(&json!({ "type": "message_stop" })), false);
        return said;
    }
    let chunk = |delta: Value, reason: Option<&str>| {
        json!({ "id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 1_700_000_000,
                "model": request.model, "system_fingerprint": "fp_mock",
                "choices": [{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason }] })
    };
    say(data(&chunk(json!({ "role": "assistant", "content": "", "refusal": null }), None)), false);
    for number in 0..plan.thoughts {
        say(data(&chunk(json!({ "content": "", "reasoning": Plan::thought(number) }), None)), true);
    }
    if plan.tools > 0 {
        for tool in 0..plan.tools {
            let function = json!({ "name": "weather", "arguments": "" });
            let call = json!({ "index": tool, "id": format!("call_{tool}"), "type": "function", "function": function });
            say(data(&chunk(json!({ "tool_calls": [call] }), None)), true);
            for part in halves(&arguments(tool).to_string()) {
                let call = json!({ "index": tool, "function": { "arguments": part } });
                say(data(&chunk(json!({ "tool_calls": [call] }), None)), true);
            }
        }
        say(data(&chunk(json!({}), Some("tool_calls"))), false);
    } else {
        for text in &pieces {
            say(data(&chunk(json!({ "content": text }), None)), true);
        }
        say(data(&chunk(json!({}), Some("stop"))), false);
    }
    if request.stream_options.include_usage {
        let mut last = chunk(json!({}), None);
        last["choices"] = json!([]);
        last["usage"] = usage(dialect, pieces.len());
        say(data(&last), false);
    }
    say("data: [DONE]\n\n".into(), false);
    said
}

pub(crate) fn halves(text: &str) -> [&str; 2] {
    text.split_at(text.len() / 2).into()
}
