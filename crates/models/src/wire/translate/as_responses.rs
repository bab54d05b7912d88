//! An answer of OpenAI's chat as one of its responses, whole and as a stream.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chat_answer::{Message, ToolCall};
use crate::{
    answer::{Frame, Sense, Usage},
    failure::Failed,
    wire::{
        self, There,
        chat::WireUsage,
        error_within, not_json,
        sse::{self, Event},
        thoughts::UNSIGNED_ID,
    },
};

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    created: Option<i64>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
    usage: Option<WireUsage>,
    #[serde(default)]
    error: There,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
    #[serde(borrow)]
    delta: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

/// What all events of one answer say about it.
#[derive(Default, Clone)]
struct Head {
    id: String,
    created: i64,
    model: String,
}

impl Head {
    fn of(whole: &Whole<'_>) -> Self {
        Self {
            id: whole.id.as_deref().unwrap_or("answer").to_owned(),
            created: whole.created.unwrap_or(0),
            model: whole.model.as_deref().unwrap_or_default().to_owned(),
        }
    }
    /// The id of its item of that number.
    fn item(&self, kind: &str, number: usize) -> String {
        format!("{kind}_{}_{number}", self.id)
    }
    fn response(&self, status: &str, reason: Option<&str>, output: &[Value], usage: Option<Usage>) -> Value {
        let usage = usage.map(|usage| {
            json!({
                "input_tokens": usage.input, "input_tokens_details": { "cached_tokens": usage.cached },
                "output_tokens": usage.output, "output_tokens_details": { "reasoning_tokens": 0 },
                "total_tokens": usage.total(),
            })
        });
        json!({
            "id": format!("resp_{}", self.id), "object": "response", "created_at": self.created, "status": status,
            "error": null, "incomplete_details": reason.map(|it| json!({ "reason": it })), "instructions": null,
            "max_output_tokens": null, "model": self.model, "output": output, "parallel_tool_calls": true,
            "previous_response_id": null, "store": false, "temperature": null, "top_p": null,
            "text": { "format": { "type": "text" } }, "tool_choice": "auto", "tools": [], "truncation": "disabled",
            "metadata": {}, "usage": usage,
        })
    }
}

/// How an answer ended: its status, and why it is not whole.
fn ending(reason: &str) -> (&'static str, Option<&'static str>) {
    match reason {
        "length" => ("incomplete", Some("max_output_tokens")),
        "content_filter" => ("incomplete", Some("content_filter")),
        _ => ("completed", None),
    }
}

fn text_part(kind: &str, text: &str) -> Value {
    match kind {
        "refusal" => json!({ "type": "refusal", "refusal": text }),
        THOUGHTS => json!({ "type": "reasoning_text", "text": text }),
        _ => json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] }),
    }
}

/// A whole answer.
pub(crate) fn whole_as_response(body: &[u8]) -> Result<(Bytes, Option<Usage>), Failed> {
    let mut whole: Whole<'_> = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if whole.error.0 {
        return Err(error_within(body));
    }
    let head = Head::of(&whole);
    let usage = whole.usage.take().map(Usage::from);
    let choice = whole.choices.into_iter().next();
    let choice = choice.ok_or_else(|| Failed::malformed("the provider's answer has no choices"))?;
    let message = choice.message.ok_or_else(|| Failed::malformed("the provider's answer has no message"))?;
    let (status, reason) = ending(choice.finish_reason.as_deref().unwrap_or_default());
    let mut output = Vec::new();
    if let Some(thought) = message.thought() {
        let content = [text_part(THOUGHTS, thought)];
        output.push(json!({
            "type": "reasoning", "id": head.item(UNSIGNED_ID, 0), "status": status, "summary": [], "content": content,
        }));
    }
    let texts = [("output_text", message.content), ("refusal", message.refusal)];
    let parts: Vec<_> = texts
        .into_iter()
        .filter_map(|(kind, text)| text.filter(|it| !it.is_empty()).map(|text| text_part(kind, &text)))
        .collect();
    if !parts.is_empty() {
        output.push(json!({
            "type": "message", "id": head.item("msg", output.len()), "status": status, "role": "assistant", "content": parts,
        }));
    }
    for call in message.tool_calls.unwrap_or_default() {
        let function = call.function;
        let name = function.as_ref().and_then(|it| it.name.as_deref()).unwrap_or_default();
        let arguments = function.as_ref().and_then(|it| it.arguments.as_deref()).unwrap_or_default();
        output.push(json!({
            "type": "function_call", "id": head.item("fc", output.len()), "call_id": call.id, "name": name,
            "arguments": arguments, "status": status,
        }));
    }
    let response = head.response(status, reason, &output, usage);
    Ok((response.to_string().into(), usage))
}

/// What events about thoughts are called.
const THOUGHTS: &str = "reasoning_text";
/// What events about a tool call are called.
const ARGUMENTS: &str = "function_call_arguments";

/// The item that is being said.
struct Open {
    /// `output_text`, `refusal`, [`THOUGHTS`] or [`ARGUMENTS`].
    kind: &'static str,
    /// Which of the answer's tool calls it is.
    call: usize,
    said: String,
    call_id: String,
    name: String,
}

/// A stream.
#[derive(Default)]
pub(crate) struct StreamAsResponses {
    head: Option<Head>,
    number: u64,
    open: Option<Open>,
    output: Vec<Value>,
    reason: Option<String>,
    usage: Option<Usage>,
    ended: bool,
}

impl StreamAsResponses {
    fn say(&mut self, kind: &str, mut data: Value, sense: Sense, frames: &mut VecDeque<Frame>) {
        data["type"] = json!(kind);
        data["sequence_number"] = json!(self.number);
        self.number += 1;
        frames.push_back(Frame::new(sse::write(Some(kind), &data.to_string()), sense));
    }
    fn head(&self) -> Head {
        self.head.clone().unwrap_or_default()
    }
    fn begin(&mut self, head: Head, frames: &mut VecDeque<Frame>) {
        let response = head.response("in_progress", None, &[], None);
        self.head = Some(head);
        self.say("response.created", json!({ "response": response }), Sense::Opening, frames);
        self.say("response.in_progress", json!({ "response": response }), Sense::Opening, frames);
    }
    /// The open item as it stands.
    fn item(&self, open: &Open, status: &str) -> Value {
        let at = self.output.len();
        if open.kind == ARGUMENTS {
            return json!({
                "type": "function_call", "id": self.head().item("fc", at), "call_id": open.call_id,
                "name": open.name, "arguments": open.said, "status": status,
            });
        }
        let content = if status == "in_progress" { vec![] } else { vec![text_part(open.kind, &open.said)] };
        if open.kind == THOUGHTS {
            return json!({
                "type": "reasoning", "id": self.head().item(UNSIGNED_ID, at), "status": status, "summary": [],
                "content": content,
            });
        }
        json!({
            "type": "message", "id": self.head().item("msg", at), "status": status, "role": "assistant",
            "content": content,
        })
    }
    fn start(&mut self, open: Open, frames: &mut VecDeque<Frame>) {
        self.close("completed", frames);
        let at = self.output.len();
        let item = self.item(&open, "in_progress");
        let added = json!({ "output_index": at, "item": item });
        self.say("response.output_item.added", added, Sense::Opening, frames);
        if open.kind != ARGUMENTS {
            let part = text_part(open.kind, "");
            let data = json!({ "item_id": item["id"], "output_index": at, "content_index": 0, "part": part });
            self.say("response.content_part.added", data, Sense::Opening, frames);
        }
        self.open = Some(open);
    }
    fn delta(&mut self, text: &str, frames: &mut VecDeque<Frame>) {
        let Some(mut open) = self.open.take() else { return };
        if !text.is_empty() {
            let at = self.output.len();
            let item = match open.kind {
                ARGUMENTS => "fc",
                THOUGHTS => UNSIGNED_ID,
                _ => "msg",
            };
            let id = self.head().item(item, at);
            let mut data = json!({ "item_id": id, "output_index": at, "delta": text });
            if open.kind != ARGUMENTS {
                data["content_index"] = json!(0);
            }
            if item == "msg" {
                data["logprobs"] = json!([]);
            }
            self.say(&format!("response.{}.delta", open.kind), data, Sense::Content, frames);
            open.said.push_str(text);
        }
        self.open = Some(open);
    }
    fn close(&mut self, status: &str, frames: &mut VecDeque<Frame>) {
        let Some(open) = self.open.take() else { return };
        let at = self.output.len();
        let item = self.item(&open, status);
        let place = || json!({ "item_id": item["id"], "output_index": at });
        let mut done = place();
        if open.kind == ARGUMENTS {
            (done["arguments"], done["name"]) = (json!(open.said), json!(open.name));
        } else {
            done["content_index"] = json!(0);
            done[if open.kind == "refusal" { "refusal" } else { "text" }] = json!(open.said);
        }
        self.say(&format!("response.{}.done", open.kind), done, Sense::Opening, frames);
        if open.kind != ARGUMENTS {
            let mut done = place();
            (done["content_index"], done["part"]) = (json!(0), text_part(open.kind, &open.said));
            self.say("response.content_part.done", done, Sense::Opening, frames);
        }
        let done = json!({ "output_index": at, "item": item });
        self.say("response.output_item.done", done, Sense::Opening, frames);
        self.output.push(item);
    }
    fn text(&mut self, kind: &'static str, text: Option<&str>, frames: &mut VecDeque<Frame>) {
        let Some(text) = text.filter(|it| !it.is_empty()) else { return };
        if self.open.as_ref().is_none_or(|open| open.kind != kind) {
            let open =
                Open { kind, call: 0, said: String::new(), call_id: String::new(), name: String::new() };
            self.start(open, frames);
        }
        self.delta(text, frames);
    }
    fn call(&mut self, call: ToolCall<'_>, frames: &mut VecDeque<Frame>) {
        let index = call.index.unwrap_or(0);
        let function = call.function;
        if self.open.as_ref().is_none_or(|open| open.kind != ARGUMENTS || open.call != index) {
            let name = function.as_ref().and_then(|it| it.name.as_deref()).unwrap_or_default().to_owned();
            let call_id = call.id.unwrap_or_default().into_owned();
            self.start(Open { kind: ARGUMENTS, call: index, said: String::new(), call_id, name }, frames);
        }
        let arguments = function.and_then(|it| it.arguments).unwrap_or_default();
        self.delta(&arguments, frames);
    }
    fn finish(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        let Some(reason) = self.reason.take() else { return Err(wire::cut()) };
        let (status, why) = ending(&reason);
        self.close(status, frames);
        let response = self.head().response(status, why, &self.output, self.usage);
        let kind = if status == "completed" { "response.completed" } else { "response.incomplete" };
        self.say(kind, json!({ "response": response }), Sense::End, frames);
        if let Some(last) = frames.back_mut() {
            last.usage = self.usage;
        }
        self.ended = true;
        Ok(())
    }
}

impl wire::Reader for StreamAsResponses {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if event.data.trim_ascii() == b"[DONE]" {
            return self.finish(frames);
        }
        let mut chunk: Whole<'_> = serde_json::from_slice(&event.data).map_err(|error| not_json(&error))?;
        if chunk.error.0 {
            return Err(error_within(&event.data));
        }
        if self.head.is_none() {
            self.begin(Head::of(&chunk), frames);
        }
        if let Some(usage) = chunk.usage.take() {
            self.usage = Some(self.usage.unwrap_or_default().max(usage.into()));
        }
        for choice in chunk.choices {
            if let Some(delta) = choice.delta {
                self.text(THOUGHTS, delta.thought(), frames);
                self.text("output_text", delta.content.as_deref(), frames);
                self.text("refusal", delta.refusal.as_deref(), frames);
                for call in delta.tool_calls.unwrap_or_default() {
                    self.call(call, frames);
                }
            }
            if let Some(reason) = choice.finish_reason {
                self.reason = Some(reason.into_owned());
            }
        }
        Ok(())
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended { Ok(()) } else { self.finish(frames) }
    }
    fn told(&mut self, usage: Usage) {
        self.usage = Some(self.usage.unwrap_or_default().max(usage));
    }
}
