//! An answer of OpenAI's chat as one of Anthropic's API, whole and as a stream.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{json, value::RawValue};

use super::{
    chat_answer::{Message, ToolCall},
    json,
};
use crate::{
    answer::{Frame, Sense, Usage},
    failure::Failed,
    wire::{
        self, There,
        chat::WireUsage,
        error_within,
        messages::STOP,
        not_json,
        sse::{self, Event},
        thoughts::UNSIGNED,
    },
};

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    message: Message<'a>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

/// A whole message.
#[derive(Serialize)]
pub(super) struct Answer<'a> {
    pub(super) id: &'a str,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) role: &'static str,
    pub(super) model: &'a str,
    pub(super) content: Vec<Block<'a>>,
    pub(super) stop_reason: &'static str,
    pub(super) stop_sequence: Option<()>,
    pub(super) usage: MessagesUsage,
}

/// A part of it.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Block<'a> {
    Text {
        text: &'a str,
    },
    Thinking {
        thinking: &'a str,
        signature: &'a str,
    },
    #[cfg(feature = "bedrock")]
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: Box<RawValue>,
    },
}

#[derive(Serialize)]
pub(super) struct MessagesUsage {
    input_tokens: u64,
    cache_creation_input_tokens: u64,
    cache_read_input_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation: Option<CacheCreation>,
    output_tokens: u64,
}

#[derive(Serialize)]
struct CacheCreation {
    ephemeral_5m_input_tokens: u64,
    ephemeral_1h_input_tokens: u64,
}

impl From<Usage> for MessagesUsage {
    fn from(usage: Usage) -> Self {
        let hour = usage.cache_written_hour;
        Self {
            cache_creation: (hour > 0).then(|| CacheCreation {
                ephemeral_5m_input_tokens: usage.cache_written.saturating_sub(hour),
                ephemeral_1h_input_tokens: hour,
            }),
            input_tokens: usage.input.saturating_sub(usage.cached).saturating_sub(usage.cache_written),
            cache_creation_input_tokens: usage.cache_written,
            cache_read_input_tokens: usage.cached,
            output_tokens: usage.output,
        }
    }
}

/// Why a model stopped, in Anthropic's words.
fn stop_reason(finish_reason: Option<&str>) -> &'static str {
    match finish_reason {
        Some("length") => "max_tokens",
        Some("tool_calls" | "function_call") => "tool_use",
        Some("content_filter") => "refusal",
        _ => "end_turn",
    }
}

/// A whole answer.
pub(crate) fn whole_as_messages(body: &[u8]) -> Result<(Bytes, Option<Usage>), Failed> {
    let usage = wire::chat::read_whole(body)?;
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    let Some(choice) = whole.choices.first() else {
        return Err(Failed::malformed("the provider's answer has no choices"));
    };
    let said = choice.message.content.as_deref().or(choice.message.refusal.as_deref());
    let mut content = Vec::new();
    let thought = choice.message.thought();
    content.extend(thought.map(|thinking| Block::Thinking { thinking, signature: UNSIGNED }));
    if let Some(text) = said.filter(|text| !text.is_empty()) {
        content.push(Block::Text { text });
    }
    for call in choice.message.tool_calls.iter().flatten() {
        let Some(function) = &call.function else { continue };
        let arguments = function.arguments.as_deref().filter(|it| !it.trim().is_empty()).unwrap_or("{}");
        let input = RawValue::from_string(arguments.to_owned())
            .map_err(|_| Failed::malformed("the provider's tool call has arguments that are not JSON"))?;
        let id = call.id.as_deref().unwrap_or_default();
        content.push(Block::ToolUse { id, name: function.name.as_deref().unwrap_or_default(), input });
    }
    let answer = Answer {
        id: whole.id.as_deref().unwrap_or_default(),
        kind: "message",
        role: "assistant",
        model: whole.model.as_deref().unwrap_or_default(),
        content,
        stop_reason: stop_reason(choice.finish_reason.as_deref()),
        stop_sequence: None,
        usage: usage.unwrap_or_default().into(),
    };
    Ok((json(&answer).into(), usage))
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(default)]
    error: There,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    model: Option<Cow<'a, str>>,
    #[serde(borrow)]
    choices: Option<Vec<ChunkChoice<'a>>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct ChunkChoice<'a> {
    #[serde(borrow)]
    delta: Option<Message<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Says {
    Thoughts,
    Text,
}

/// A stream of chat as a stream of Anthropic's.
///
/// Chat names a tool call by its index in every piece, so pieces of parallel calls may come
/// in any order. Blocks have indices too: all tools' blocks stay open until the end.
#[derive(Debug, Default)]
pub(crate) struct StreamAsMessages {
    started: bool,
    ended: bool,
    stop_reason: Option<&'static str>,
    /// Blocks begun so far.
    blocks: usize,
    /// The open block of thoughts or text.
    open: Option<(Says, usize)>,
    /// Index of a tool call, and the block it has.
    tools: Vec<(usize, usize)>,
    usage: Usage,
}

impl StreamAsMessages {
    fn start(&mut self, chunk: &Chunk<'_>) -> Frame {
        self.started = true;
        let data = json!({ "type": "message_start", "message": {
            "id": chunk.id, "type": "message", "role": "assistant", "model": chunk.model, "content": [],
            "stop_reason": null, "stop_sequence": null, "usage": { "input_tokens": 0, "output_tokens": 0 },
        }});
        event("message_start", &data, Sense::Opening)
    }
    fn begin(&mut self, block: &serde_json::Value, frames: &mut VecDeque<Frame>) -> usize {
        let index = self.blocks;
        self.blocks += 1;
        let data = json!({ "type": "content_block_start", "index": index, "content_block": block });
        // A tool's name is content already: the client may act on it.
        let sense = if block["type"] == "tool_use" { Sense::Content } else { Sense::Opening };
        frames.push_back(event("content_block_start", &data, sense));
        index
    }
    fn say(&mut self, what: Says, text: &str, frames: &mut VecDeque<Frame>) {
        let index = match self.open {
            Some((open, index)) if open == what => index,
            _ => {
                self.end_open(frames);
                let block = match what {
                    Says::Thoughts => json!({ "type": "thinking", "thinking": "", "signature": UNSIGNED }),
                    Says::Text => json!({ "type": "text", "text": "" }),
                };
                let index = self.begin(&block, frames);
                self.open = Some((what, index));
                index
            }
        };
        let delta = match what {
            Says::Thoughts => json!({ "type": "thinking_delta", "thinking": text }),
            Says::Text => json!({ "type": "text_delta", "text": text }),
        };
        frames.push_back(piece(index, &delta));
    }
    fn end_open(&mut self, frames: &mut VecDeque<Frame>) {
        frames.extend(self.open.take().map(|(_, index)| stop(index)));
    }
    fn call(&mut self, call: &ToolCall<'_>, frames: &mut VecDeque<Frame>) {
        self.end_open(frames);
        let at = call.index.unwrap_or(0);
        let function = call.function.as_ref();
        let block = if let Some((_, block)) = self.tools.iter().find(|(index, _)| *index == at) {
            *block
        } else {
            let name = function.and_then(|it| it.name.as_deref()).unwrap_or_default();
            let block =
                self.begin(&json!({ "type": "tool_use", "id": call.id, "name": name, "input": {} }), frames);
            self.tools.push((at, block));
            block
        };
        let arguments = function.and_then(|it| it.arguments.as_deref()).unwrap_or_default();
        if !arguments.is_empty() {
            frames.push_back(piece(block, &json!({ "type": "input_json_delta", "partial_json": arguments })));
        }
    }
    fn close(&mut self, frames: &mut VecDeque<Frame>) {
        self.ended = true;
        self.end_open(frames);
        frames.extend(self.tools.drain(..).map(|(_, block)| stop(block)));
        let data = json!({
            "type": "message_delta",
            "delta": { "stop_reason": self.stop_reason, "stop_sequence": null },
            "usage": MessagesUsage::from(self.usage),
        });
        let mut frame = event("message_delta", &data, Sense::Closing);
        frame.usage = Some(self.usage);
        frames.push_back(frame);
        frames.push_back(Frame::new(STOP, Sense::End));
    }
}

fn event(name: &str, data: &serde_json::Value, sense: Sense) -> Frame {
    Frame::new(sse::write(Some(name), &data.to_string()), sense)
}

fn piece(index: usize, delta: &serde_json::Value) -> Frame {
    let data = json!({ "type": "content_block_delta", "index": index, "delta": delta });
    event("content_block_delta", &data, Sense::Content)
}

fn stop(index: usize) -> Frame {
    event("content_block_stop", &json!({ "type": "content_block_stop", "index": index }), Sense::Opening)
}

impl wire::Reader for StreamAsMessages {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if event.data.trim_ascii() == b"[DONE]" {
            return self.end(frames);
        }
        let chunk: Chunk<'_> = serde_json::from_slice(&event.data).map_err(|error| not_json(&error))?;
        if chunk.error.0 {
            return Err(error_within(&event.data));
        }
        if !self.started {
            let start = self.start(&chunk);
            frames.push_back(start);
        }
        let Some(choices) = chunk.choices else {
            return Err(Failed::malformed("an event of the provider's stream has no choices"));
        };
        if let Some(usage) = chunk.usage {
            self.usage = usage.into();
        }
        if let Some(choice) = choices.first() {
            if let Some(delta) = &choice.delta {
                if let Some(thought) = delta.thought() {
                    self.say(Says::Thoughts, thought, frames);
                }
                let said = delta.content.as_deref().or(delta.refusal.as_deref());
                if let Some(text) = said.filter(|text| !text.is_empty()) {
                    self.say(Says::Text, text, frames);
                }
                for call in delta.tool_calls.iter().flatten() {
                    self.call(call, frames);
                }
            }
            if let Some(reason) = choice.finish_reason.as_deref() {
                self.stop_reason = Some(stop_reason(Some(reason)));
            }
        }
        frames.push_back(Frame::new(Bytes::new(), Sense::Idle));
        Ok(())
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if self.stop_reason.is_none() {
            return Err(wire::cut());
        }
        self.close(frames);
        Ok(())
    }
}
