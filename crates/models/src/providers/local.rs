//! Nobody: answers made here, always the same for the same call, without any network. For
//! trying things out and for tests; a model of its own it is not.
//!
//! It repeats what the user said. Where a schema is asked for, or a tool must be called, it
//! makes the smallest value that fits. Its embeddings count words and their parts, so that
//! texts with words in common are near each other.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{future::BoxFuture, stream};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use steadfast_core::World;

use super::{Order, Provider, Reply, edits};
use crate::{
    answer::{Frame, Sense},
    call::{Call, Operation},
    failure::{Class, Failed},
    wire::{
        self, Reader, WORDS_MAX,
        sse::{self, Event},
        translate::{
            StreamAsMessages, StreamAsResponses, responses_to_chat, to_chat, whole_as_messages,
            whole_as_response,
        },
    },
};

/// Numbers in an embedding, where the client does not say.
const DIMENSIONS: u64 = 256;
/// The most that a client may ask for.
const DIMENSIONS_MAX: u64 = 4_096;

/// The provider of answers that are made here.
pub(crate) struct Local {
    world: World,
}

impl Provider for Local {
    fn ask<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Reply, Failed>> {
        Box::pin(async move { self.answer(&order) })
    }
}

/// What it has to say.
struct Said {
    text: String,
    tool: Option<(String, Value)>,
    input: u64,
}

impl Said {
    fn output(&self) -> u64 {
        let tool = self.tool.as_ref().map_or(0, |(_, input)| tokens(&input.to_string()));
        tokens(&self.text) + tool
    }
    fn finish_reason(&self) -> &'static str {
        if self.tool.is_some() { "tool_calls" } else { "stop" }
    }
    fn usage(&self) -> Value {
        let (input, output) = (self.input, self.output());
        json!({ "prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output })
    }
}

fn tokens(text: &str) -> u64 {
    u64::try_from(text.len().div_ceil(4)).unwrap_or(u64::MAX)
}

impl Local {
    pub(crate) fn new(world: &World) -> Self {
        Self { world: world.clone() }
    }
    fn answer(&self, order: &Order<'_>) -> Result<Reply, Failed> {
        let call = order.call;
        let body = edits(order, false).apply(&call.body);
        if call.operation == Operation::Embeddings {
            let body = embeddings(&body, order.model)?;
            let usage = wire::embeddings::read_whole(&body)?;
            return Ok(Reply::Whole(body, usage));
        }
        if call.operation == Operation::Transcription {
            return transcribed(call);
        }
        if call.asked.choices > 1 {
            return Err(Failed::unsupported("the local provider has one answer"));
        }
        let body = match call.operation {
            Operation::Messages => to_chat(&body, order.model, false)?,
            Operation::Responses => responses_to_chat(&body, order.model, false)?,
            Operation::Chat | Operation::Embeddings | Operation::Transcription => body,
        };
        let request: Value = serde_json::from_slice(&body).map_err(|error| not_read(&error))?;
        let said = said(&request, call.asked.output_max.or(call.output_forced), order.so_far);
        self.reply(call, order.model, &said, &body)
    }
    /// `text` as the answer to a call, in the API and the mode that it asks for.
    pub(crate) fn say(&self, call: &Call, text: String) -> Result<Reply, Failed> {
        let said = Said { text, tool: None, input: 0 };
        self.reply(call, &call.asked.model, &said, &call.body)
    }
    /// `of` is what the answer's id is made from.
    fn reply(&self, call: &Call, model: &str, said: &Said, of: &[u8]) -> Result<Reply, Failed> {
        let messages = call.operation == Operation::Messages;
        let digest = hex::encode(&Sha256::digest(of)[..8]);
        let id = format!("chatcmpl-local-{digest}");
        let head = |object: &str| json!({ "id": id, "object": object, "created": self.world.now().seconds(), "model": model });
        if call.asked.stream {
            let reader: Box<dyn Reader> = if messages {
                Box::new(StreamAsMessages::default())
            } else if call.operation == Operation::Responses {
                Box::new(StreamAsResponses::default())
            } else {
                Box::new(wire::chat::PassThrough::new(!call.asked.usage_in_stream, 1))
            };
            let frames = frames(reader, &head("chat.completion.chunk"), said, &digest)?;
            return Ok(Reply::Stream(Box::pin(stream::iter(frames.into_iter().map(Ok)))));
        }
        let mut whole = head("chat.completion");
        let content = if said.tool.is_some() { Value::Null } else { json!(said.text) };
        let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
        if let Some(call) = tool_call(said, &digest) {
            message["tool_calls"] = json!([call]);
        }
        whole["choices"] = json!([{
            "index": 0, "message": message, "logprobs": null, "finish_reason": said.finish_reason(),
        }]);
        whole["usage"] = said.usage();
        let bytes: Bytes = whole.to_string().into();
        if messages {
            let (bytes, usage) = whole_as_messages(&bytes)?;
            return Ok(Reply::Whole(bytes, usage));
        }
        if call.operation == Operation::Responses {
            let (bytes, usage) = whole_as_response(&bytes)?;
            return Ok(Reply::Whole(bytes, usage));
        }
        let usage = wire::chat::read_whole(&bytes)?;
        Ok(Reply::Whole(bytes, usage))
    }
}

/// A recording is not listened to; what is said of it is always the same.
fn transcribed(call: &Call) -> Result<Reply, Failed> {
    let digest = hex::encode(&Sha256::digest(&call.body[call.asked.at.model.end..])[..8]);
    let text = format!("A recording, {digest}.");
    if call.asked.stream {
        let mut reader = wire::transcription::PassThrough::default();
        let mut frames = std::collections::VecDeque::new();
        let mut events: Vec<_> = text
            .split_inclusive(' ')
            .map(|word| json!({ "type": "transcript.text.delta", "delta": word }))
            .collect();
        events.push(json!({ "type": "transcript.text.done", "text": text }));
        for data in events.iter().map(Value::to_string) {
            let event = Event { raw: sse::write(None, &data), data: data.into(), ..Event::default() };
            reader.event(event, &mut frames)?;
        }
        reader.end(&mut frames)?;
        return Ok(Reply::Stream(Box::pin(stream::iter(frames.into_iter().map(Ok)))));
    }
    let whole = if call.asked.media_type.is_some() { text } else { json!({ "text": text }).to_string() };
    Ok(Reply::Whole(whole.into(), None))
}

fn not_read(error: &serde_json::Error) -> Failed {
    let words = steadfast_core::shown(&error.to_string(), WORDS_MAX);
    Failed::new(Class::Refused, format!("the request does not read: {words}"))
}

fn tool_call(said: &Said, digest: &str) -> Option<Value> {
    let (name, input) = said.tool.as_ref()?;
    let function = json!({ "name": name, "arguments": input.to_string() });
    Some(json!({ "id": format!("call_{digest}"), "type": "function", "function": function }))
}

/// The answer as a stream, word by word.
fn frames(
    mut reader: Box<dyn Reader>,
    head: &Value,
    said: &Said,
    digest: &str,
) -> Result<std::collections::VecDeque<Frame>, Failed> {
    let mut frames = std::collections::VecDeque::new();
    let mut send = |choices: Value, usage: Option<Value>| {
        let mut chunk = head.clone();
        chunk["choices"] = choices;
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        let data = chunk.to_string();
        let event = Event { raw: sse::write(None, &data), data: data.into(), ..Event::default() };
        reader.event(event, &mut frames)
    };
    let delta = |delta: Value| json!([{ "index": 0, "delta": delta, "finish_reason": null }]);
    send(delta(json!({ "role": "assistant", "content": "" })), None)?;
    match tool_call(said, digest) {
        Some(mut call) => {
            call["index"] = json!(0);
            send(delta(json!({ "tool_calls": [call] })), None)?;
        }
        None => {
            for word in said.text.split_inclusive(' ') {
                send(delta(json!({ "content": word })), None)?;
            }
        }
    }
    send(json!([{ "index": 0, "delta": {}, "finish_reason": said.finish_reason() }]), None)?;
    send(json!([]), Some(said.usage()))?;
    reader.end(&mut frames)?;
    debug_assert!(frames.back().is_some_and(|frame| frame.sense == Sense::End));
    Ok(frames)
}

fn said(request: &Value, output_max: Option<u64>, so_far: Option<&str>) -> Said {
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let last = messages.iter().rev().filter(|message| message["role"] == "user");
    // The last thing that is said after a break is that it should go on.
    let user = last.map(text_of).nth(usize::from(so_far.is_some())).unwrap_or_default();
    let schema = &request["response_format"]["json_schema"]["schema"];
    let mut text = match request["response_format"]["type"].as_str() {
        Some("json_schema") => smallest(schema, 0).to_string(),
        Some("json_object") => json!({ "answer": user }).to_string(),
        _ => format!("You said: {user}"),
    };
    if let Some(rest) = so_far.and_then(|so_far| text.strip_prefix(so_far)) {
        text = rest.into();
    }
    if let Some(max) = output_max {
        let bytes = usize::try_from(max.saturating_mul(4)).unwrap_or(usize::MAX);
        text.truncate(text.floor_char_boundary(bytes));
    }
    Said { text, tool: tool(request), input: tokens(&request["messages"].to_string()) }
}

fn text_of(message: &Value) -> String {
    match &message["content"] {
        Value::String(text) => text.clone(),
        Value::Array(parts) => parts.iter().filter_map(|part| part["text"].as_str()).collect(),
        _ => String::new(),
    }
}

/// The tool that must be called, if one must.
fn tool(request: &Value) -> Option<(String, Value)> {
    let tools = request["tools"].as_array()?;
    let named = request["tool_choice"]["function"]["name"].as_str();
    if named.is_none() && request["tool_choice"] != "required" {
        return None;
    }
    let wanted = |tool: &&Value| named.is_none_or(|name| tool["function"]["name"] == name);
    let function = &tools.iter().find(wanted)?["function"];
    Some((function["name"].as_str()?.into(), smallest(&function["parameters"], 0)))
}

/// The smallest value that fits a schema, as far as schemas go that models are given.
fn smallest(schema: &Value, depth: u32) -> Value {
    if depth > 16 {
        return Value::Null;
    }
    if let Some(value) = schema.get("const").or(schema.get("default")).or(schema["enum"].get(0)) {
        return value.clone();
    }
    if let Some(first) = schema["anyOf"].get(0).or(schema["oneOf"].get(0)) {
        return smallest(first, depth + 1);
    }
    let kind = schema["type"].as_str().or(schema["type"][0].as_str());
    match kind {
        Some("string") => json!(""),
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or(json!(0)),
        Some("boolean") => json!(false),
        Some("null") => Value::Null,
        Some("array") => {
            let least = schema["minItems"].as_u64().unwrap_or(0).min(16);
            (0..least).map(|_| smallest(&schema["items"], depth + 1)).collect()
        }
        _ => {
            let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
            let member = |name: &str| (name.to_owned(), smallest(&schema["properties"][name], depth + 1));
            Value::Object(required.iter().filter_map(Value::as_str).map(member).collect())
        }
    }
}

fn embeddings(body: &[u8], model: &str) -> Result<Bytes, Failed> {
    let request: Value = serde_json::from_slice(body).map_err(|error| not_read(&error))?;
    let texts: Vec<&str> = match &request["input"] {
        Value::String(text) => vec![text],
        Value::Array(texts) => texts.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if texts.is_empty() || request["input"].as_array().is_some_and(|all| all.len() != texts.len()) {
        return Err(Failed::new(Class::Refused, "`input` is a text or a list of texts"));
    }
    let dimensions = request["dimensions"].as_u64().unwrap_or(DIMENSIONS).clamp(1, DIMENSIONS_MAX);
    let packed = request["encoding_format"] == "base64";
    let data: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let vector = vector(text, dimensions);
            let embedding = if packed {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                json!(STANDARD.encode(bytes))
            } else {
                json!(vector)
            };
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let used: u64 = texts.iter().map(|text| tokens(text)).sum();
    let usage = json!({ "prompt_tokens": used, "total_tokens": used });
    let answer = json!({ "object": "list", "model": model, "data": data, "usage": usage });
    Ok(answer.to_string().into())
}

/// Words and three-letter parts of them, each counted at a place that its hash says.
pub(crate) fn vector(text: &str, dimensions: u64) -> Vec<f32> {
    let mut vector = vec![0_f32; usize::try_from(dimensions).unwrap_or(1)];
    let mut count = |part: &str, weight: f32| {
        let hash = Sha256::digest(part.as_bytes());
        let bits = u64::from_be_bytes(std::array::from_fn(|i| hash[i]));
        let at = usize::try_from(bits % dimensions).unwrap_or(0);
        vector[at] += if hash[8] & 1 == 0 { weight } else { -weight };
    };
    for word in text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word = word.to_lowercase();
        count(&word, 1.0);
        let letters: Vec<_> = format!(" {word} ").chars().collect();
        for part in letters.windows(3) {
            count(&part.iter().collect::<String>(), 0.25);
        }
    }
    let length = vector.iter().map(|number| number * number).sum::<f32>().sqrt();
    if length > 0.0 {
        for number in &mut vector {
            *number /= length;
        }
    }
    vector
}
