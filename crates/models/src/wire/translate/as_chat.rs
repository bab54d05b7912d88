//! An answer of Anthropic's API as one of OpenAI's chat, whole and as a stream.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::json;
use crate::{
    answer::{Frame, Sense, Usage},
    failure::Failed,
    wire::{
        self,
        chat::DONE,
        error_within,
        messages::WireUsage,
        not_json,
        sse::{self, Event},
    },
};

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    content: Vec<Block<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: ChatUsage,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Message<'a>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: Option<String>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "String::is_empty")]
    reasoning_content: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'a>>,
}

#[derive(Serialize)]
struct ToolCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    arguments: &'a str,
}

#[derive(Serialize)]
struct ChatUsage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: Cached,
}

#[derive(Serialize)]
struct Cached {
    cached_tokens: u64,
}

impl From<Usage> for ChatUsage {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.input,
            completion_tokens: usage.output,
            total_tokens: usage.total(),
            prompt_tokens_details: Cached { cached_tokens: usage.cached },
        }
    }
}

/// Why a model stopped, in OpenAI's words.
fn finish_reason(stop_reason: Option<&str>) -> &'static str {
    match stop_reason {
        Some("max_tokens" | "model_context_window_exceeded") => "length",
        Some("tool_use") => "tool_calls",
        Some("refusal") => "content_filter",
        _ => "stop",
    }
}

/// A whole answer. `created` is in seconds since the epoch.
pub(crate) fn whole_as_chat(body: &[u8], created: i64) -> Result<(Bytes, Option<Usage>), Failed> {
    wire::messages::read_whole(body)?;
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    let mut text: Option<String> = None;
    let mut reasoning_content = String::new();
    let mut tool_calls = Vec::new();
    for block in &whole.content {
        match &*block.kind {
            "text" => text.get_or_insert_default().push_str(block.text.as_deref().unwrap_or_default()),
            "thinking" => reasoning_content.push_str(block.thinking.as_deref().unwrap_or_default()),
            "tool_use" => tool_calls.push(ToolCall {
                index: None,
                id: block.id.as_deref(),
                kind: Some("function"),
                function: Function {
                    name: block.name.as_deref(),
                    arguments: block.input.map_or("{}", RawValue::get),
                },
            }),
            _ => {}
        }
    }
    let usage = whole.usage.map(Usage::from);
    let completion = Completion {
        id: &whole.id,
        object: "chat.completion",
        created,
        model: &whole.model,
        choices: [Choice {
            index: 0,
            message: Message {
                role: "assistant",
                content: text,
                refusal: None,
                reasoning_content,
                tool_calls,
            },
            logprobs: None,
            finish_reason: finish_reason(whole.stop_reason.as_deref()),
        }],
        usage: usage.unwrap_or_default().into(),
    };
    Ok((json(&completion).into(), usage))
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    message: Option<Started<'a>>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Started<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    model: Cow<'a, str>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    thinking: Option<Cow<'a, str>>,
    #[serde(borrow)]
    partial_json: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
struct OutDelta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[ToolCall<'a>; 1]>,
}

const NOTHING: OutDelta<'static> =
    OutDelta { role: None, content: None, reasoning_content: None, tool_calls: None };

/// A stream of Anthropic's as a stream of chat.
#[derive(Debug)]
pub(crate) struct StreamAsChat {
    created: i64,
    tell_usage: bool,
    id: String,
    model: String,
    started: bool,
    finished: bool,
    ended: bool,
    /// How many tools were called so far.
    tools: usize,
    /// The open block calls a tool, and nothing is known of its arguments yet.
    no_arguments: bool,
    usage: Usage,
}

impl StreamAsChat {
    /// `tell_usage`: the client asked for it.
    pub(crate) fn new(created: i64, tell_usage: bool) -> Self {
        Self {
            created,
            tell_usage,
            id: String::new(),
            model: String::new(),
            started: false,
            finished: false,
            ended: false,
            tools: 0,
            no_arguments: false,
            usage: Usage::default(),
        }
    }
    fn chunk(&self, delta: &OutDelta<'_>, finish_reason: Option<&str>, sense: Sense) -> Frame {
        #[derive(Serialize)]
        struct Chunk<'a> {
            id: &'a str,
            object: &'static str,
            created: i64,
            model: &'a str,
            choices: [Choice<'a>; 1],
        }
        #[derive(Serialize)]
        struct Choice<'a> {
            index: u32,
            delta: &'a OutDelta<'a>,
            logprobs: Option<()>,
            finish_reason: Option<&'a str>,
        }
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: self.created,
            model: &self.model,
            choices: [Choice { index: 0, delta, logprobs: None, finish_reason }],
        };
        Frame::new(sse::write(None, &json(&chunk)), sense)
    }
    fn arguments(&self, arguments: &str) -> Frame {
        let function = Function { name: None, arguments };
        let call = ToolCall { index: Some(self.tools.saturating_sub(1)), id: None, kind: None, function };
        self.chunk(&OutDelta { tool_calls: Some([call]), ..NOTHING }, None, Sense::Content)
    }
    fn block_start(&mut self, block: &Block<'_>) -> Option<Frame> {
        if block.kind != "tool_use" {
            let text = block.text.as_deref().filter(|text| !text.is_empty())?;
            return Some(self.chunk(&OutDelta { content: Some(text), ..NOTHING }, None, Sense::Content));
        }
        let call = ToolCall {
            index: Some(self.tools),
            id: block.id.as_deref(),
            kind: Some("function"),
            function: Function { name: block.name.as_deref(), arguments: "" },
        };
        let frame = self.chunk(&OutDelta { tool_calls: Some([call]), ..NOTHING }, None, Sense::Content);
        self.tools += 1;
        self.no_arguments = true;
        Some(frame)
    }
    fn block_delta(&mut self, delta: &Delta<'_>) -> Option<Frame> {
        let some = |text: &Option<Cow<'_, str>>| text.as_deref().is_some_and(|text| !text.is_empty());
        if some(&delta.partial_json) {
            self.no_arguments = false;
            return delta.partial_json.as_deref().map(|part| self.arguments(part));
        }
        if !some(&delta.text) && !some(&delta.thinking) {
            return None;
        }
        let out = OutDelta {
            content: delta.text.as_deref(),
            reasoning_content: delta.thinking.as_deref(),
            ..NOTHING
        };
        Some(self.chunk(&out, None, Sense::Content))
    }
    fn close(&mut self, frames: &mut VecDeque<Frame>) {
        self.ended = true;
        if self.tell_usage {
            let usage = json!({
                "id": self.id, "object": "chat.completion.chunk", "created": self.created,
                "model": self.model, "choices": [], "usage": ChatUsage::from(self.usage),
            });
            frames.push_back(Frame::new(sse::write(None, &usage.to_string()), Sense::Closing));
        }
        frames.push_back(Frame::new(DONE, Sense::End));
    }
}

impl wire::Reader for StreamAsChat {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        let read: WireEvent<'_> = serde_json::from_slice(&event.data).map_err(|error| not_json(&error))?;
        let kind = &*read.kind;
        if kind == "error" {
            return Err(error_within(&event.data));
        }
        if let Some(usage) = read.usage.or(read.message.as_ref().and_then(|it| it.usage)) {
            self.usage = self.usage.max(usage.into());
        }
        let frame = match (kind, &read) {
            ("message_start", WireEvent { message: Some(message), .. }) => {
                self.started = true;
                self.id = message.id.to_string();
                self.model = message.model.to_string();
                let opening = OutDelta { role: Some("assistant"), content: Some(""), ..NOTHING };
                Some(self.chunk(&opening, None, Sense::Opening))
            }
            _ if !self.started && kind != "ping" => {
                return Err(Failed::malformed("the provider's stream does not start with message_start"));
            }
            ("content_block_start", WireEvent { content_block: Some(block), .. }) => self.block_start(block),
            ("content_block_delta", WireEvent { delta: Some(delta), .. }) => self.block_delta(delta),
            ("content_block_stop", _) if std::mem::take(&mut self.no_arguments) => Some(self.arguments("{}")),
            ("message_delta", WireEvent { delta: Some(delta), .. }) => {
                self.finished = true;
                let reason = finish_reason(delta.stop_reason.as_deref());
                let mut frame = self.chunk(&NOTHING, Some(reason), Sense::Closing);
                frame.usage = Some(self.usage);
                Some(frame)
            }
            ("message_stop", _) => {
                if !self.finished {
                    return Err(wire::cut());
                }
                self.close(frames);
                return Ok(());
            }
            _ => None,
        };
        frames.push_back(frame.unwrap_or(Frame::new(Bytes::new(), Sense::Idle)));
        Ok(())
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if !self.finished {
            return Err(wire::cut());
        }
        self.close(frames);
        Ok(())
    }
}
