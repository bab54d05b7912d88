//! An answer of Amazon's Converse as one of Anthropic's API, whole and as a stream.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    as_messages::{Answer, Block, MessagesUsage},
    json,
};
use crate::{
    answer::{Frame, Sense, Usage},
    failure::Failed,
    wire::{
        self, There, error_within,
        messages::STOP,
        not_json,
        sse::{self, Event},
    },
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Whole<'a> {
    #[serde(borrow)]
    output: Option<Output<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
    usage: Option<WireUsage>,
    #[serde(default)]
    message: There,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Vec<Said<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Said<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_use: Option<Called<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<Reasoning<'a>>,
    #[serde(borrow)]
    citations_content: Option<Cited<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Called<'a> {
    #[serde(borrow)]
    tool_use_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning<'a> {
    #[serde(borrow)]
    reasoning_text: Option<Thought<'a>>,
    #[serde(borrow)]
    redacted_content: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow)]
    text: Cow<'a, str>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
}

/// A text with its sources, which messages have in another form.
#[derive(Deserialize)]
struct Cited<'a> {
    #[serde(borrow, default)]
    content: Vec<Generated<'a>>,
}

#[derive(Deserialize)]
struct Generated<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_write_input_tokens: Option<u64>,
    cache_details: Option<Vec<Written>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    #[serde(default)]
    ttl: String,
    #[serde(default)]
    input_tokens: u64,
}

impl From<WireUsage> for Usage {
    /// Here `inputTokens` are those that the cache had no part in.
    fn from(usage: WireUsage) -> Self {
        let cached = usage.cache_read_input_tokens.unwrap_or(0);
        let cache_written = usage.cache_write_input_tokens.unwrap_or(0);
        let details = usage.cache_details.unwrap_or_default();
        let hour = details.iter().filter(|it| it.ttl == "1h").map(|it| it.input_tokens);
        Self {
            input: usage.input_tokens.unwrap_or(0).saturating_add(cached).saturating_add(cache_written),
            cached,
            cache_written,
            cache_written_hour: hour.fold(0, u64::saturating_add).min(cache_written),
            output: usage.output_tokens.unwrap_or(0),
            ..Self::default()
        }
    }
}

/// Why a model stopped, in Anthropic's words. What a guardrail or filter held back was refused.
fn stop_reason(reason: &str) -> Result<&'static str, Failed> {
    Ok(match reason {
        "max_tokens" => "max_tokens",
        "stop_sequence" => "stop_sequence",
        "tool_use" => "tool_use",
        "model_context_window_exceeded" => "model_context_window_exceeded",
        "guardrail_intervened" | "content_filtered" => "refusal",
        "malformed_model_output" | "malformed_tool_use" => {
            return Err(Failed::malformed("the provider's model said what cannot be read"));
        }
        _ => "end_turn",
    })
}

fn nothing() -> Box<RawValue> {
    RawValue::from_string("{}".into()).unwrap_or_default()
}

fn some(text: Option<Cow<'_, str>>) -> Option<Cow<'_, str>> {
    text.filter(|text| !text.is_empty())
}

/// A whole answer of `model`, under this id.
pub(crate) fn converse_as_messages(body: &[u8], id: &str, model: &str) -> Result<Bytes, Failed> {
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    let (Some(message), Some(reason)) = (whole.output.and_then(|it| it.message), whole.stop_reason) else {
        let error = whole.message.0.then(|| error_within(body));
        return Err(error.unwrap_or_else(|| Failed::malformed("the provider's answer has no output")));
    };
    let mut content = Vec::with_capacity(message.content.len());
    for said in &message.content {
        if let Some(text) = &said.text {
            content.push(Block::Text { text });
        }
        for generated in said.citations_content.iter().flat_map(|it| &it.content) {
            content.extend(generated.text.as_deref().map(|text| Block::Text { text }));
        }
        if let Some(thought) = said.reasoning_content.as_ref().and_then(|it| it.reasoning_text.as_ref()) {
            let signature = thought.signature.as_deref().unwrap_or_default();
            content.push(Block::Thinking { thinking: &thought.text, signature });
        }
        if let Some(data) = said.reasoning_content.as_ref().and_then(|it| it.redacted_content.as_deref()) {
            content.push(Block::RedactedThinking { data });
        }
        if let Some(tool) = &said.tool_use {
            let input = tool.input.map_or_else(nothing, ToOwned::to_owned);
            content.push(Block::ToolUse { id: &tool.tool_use_id, name: &tool.name, input });
        }
    }
    let answer = Answer {
        id,
        kind: "message",
        role: "assistant",
        model,
        content,
        stop_reason: stop_reason(&reason)?,
        stop_sequence: None,
        usage: Usage::from(whole.usage.unwrap_or_default()).into(),
    };
    Ok(json(&answer).into())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireEvent<'a> {
    content_block_index: Option<u64>,
    #[serde(borrow)]
    start: Option<Start<'a>>,
    #[serde(borrow)]
    delta: Option<WireDelta<'a>>,
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start<'a> {
    #[serde(borrow)]
    tool_use: Option<Called<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireDelta<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_use: Option<Input<'a>>,
    #[serde(borrow)]
    reasoning_content: Option<ThoughtDelta<'a>>,
}

#[derive(Deserialize)]
struct Input<'a> {
    #[serde(borrow)]
    input: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ThoughtDelta<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    redacted_content: Option<Cow<'a, str>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Out<'a> {
    MessageStart { message: Opening<'a> },
    ContentBlockStart { index: u64, content_block: Begun<'a> },
    ContentBlockDelta { index: u64, delta: Delta<'a> },
    ContentBlockStop { index: u64 },
    MessageDelta { delta: Stop, usage: MessagesUsage },
}

#[derive(Serialize)]
struct Opening<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: [(); 0],
    stop_reason: Option<()>,
    stop_sequence: Option<()>,
    usage: MessagesUsage,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Begun<'a> {
    Text { text: &'static str },
    Thinking { thinking: &'static str, signature: &'static str },
    RedactedThinking { data: &'a str },
    ToolUse { id: &'a str, name: &'a str, input: Nothing },
}

#[derive(Serialize)]
struct Nothing {}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[expect(clippy::enum_variant_names, reason = "the API's own names")]
enum Delta<'a> {
    TextDelta { text: &'a str },
    ThinkingDelta { thinking: &'a str },
    SignatureDelta { signature: &'a str },
    InputJsonDelta { partial_json: &'a str },
}

#[derive(Serialize)]
struct Stop {
    stop_reason: &'static str,
    stop_sequence: Option<()>,
}

fn frame(out: &Out<'_>) -> Frame {
    let (name, sense) = match out {
        Out::MessageStart { .. } => ("message_start", Sense::Opening),
        // A tool's name is content already: the client may act on it.
        Out::ContentBlockStart { content_block: Begun::ToolUse { .. }, .. } => {
            ("content_block_start", Sense::Content)
        }
        Out::ContentBlockStart { .. } => ("content_block_start", Sense::Opening),
        Out::ContentBlockDelta { .. } => ("content_block_delta", Sense::Content),
        Out::ContentBlockStop { .. } => ("content_block_stop", Sense::Opening),
        Out::MessageDelta { .. } => ("message_delta", Sense::Closing),
    };
    Frame::new(sse::write(Some(name), &json(out)), sense)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thinking,
    Tool,
}

/// A stream of Converse as a stream of Anthropic's.
///
/// There blocks of text and thoughts begin with their first piece, and the usage comes after
/// the end.
#[derive(Debug, Default)]
pub(crate) struct StreamConverse {
    id: String,
    model: String,
    started: bool,
    ended: bool,
    stop_reason: Option<&'static str>,
    /// Blocks begun so far.
    blocks: u64,
    /// The open one: its index there, and what it is.
    open: Option<(u64, Kind)>,
    usage: Option<Usage>,
}

impl StreamConverse {
    /// Of `model`, under this id.
    pub(crate) fn new(id: &str, model: &str) -> Self {
        Self { id: id.into(), model: model.into(), ..Self::default() }
    }
    fn begin(&mut self, open: Option<(u64, Kind)>, content_block: Begun<'_>, frames: &mut VecDeque<Frame>) {
        self.stop(frames);
        frames.push_back(frame(&Out::ContentBlockStart { index: self.blocks, content_block }));
        self.blocks += 1;
        self.open = open;
    }
    fn stop(&mut self, frames: &mut VecDeque<Frame>) {
        if self.open.take().is_some() {
            frames.push_back(frame(&Out::ContentBlockStop { index: self.blocks.saturating_sub(1) }));
        }
    }
    /// A piece of the block at `at`, which begins with it if it has not.
    fn piece(
        &mut self,
        at: u64,
        kind: Kind,
        delta: Delta<'_>,
        frames: &mut VecDeque<Frame>,
    ) -> Result<(), Failed> {
        if self.open != Some((at, kind)) {
            let begun = match kind {
                Kind::Text => Begun::Text { text: "" },
                Kind::Thinking => Begun::Thinking { thinking: "", signature: "" },
                Kind::Tool => {
                    return Err(Failed::malformed("a tool of the provider's stream has no beginning"));
                }
            };
            self.begin(Some((at, kind)), begun, frames);
        }
        frames.push_back(frame(&Out::ContentBlockDelta { index: self.blocks.saturating_sub(1), delta }));
        Ok(())
    }
    fn delta(&mut self, at: u64, delta: WireDelta<'_>, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if let Some(text) = some(delta.text) {
            self.piece(at, Kind::Text, Delta::TextDelta { text: &text }, frames)?;
        }
        if let Some(partial_json) = some(delta.tool_use.map(|it| it.input)) {
            self.piece(at, Kind::Tool, Delta::InputJsonDelta { partial_json: &partial_json }, frames)?;
        }
        let Some(thought) = delta.reasoning_content else { return Ok(()) };
        if let Some(thinking) = some(thought.text) {
            self.piece(at, Kind::Thinking, Delta::ThinkingDelta { thinking: &thinking }, frames)?;
        }
        if let Some(signature) = some(thought.signature) {
            self.piece(at, Kind::Thinking, Delta::SignatureDelta { signature: &signature }, frames)?;
        }
        if let Some(data) = some(thought.redacted_content) {
            self.begin(Some((at, Kind::Thinking)), Begun::RedactedThinking { data: &data }, frames);
        }
        Ok(())
    }
    fn close(&mut self, stop_reason: &'static str, frames: &mut VecDeque<Frame>) {
        self.ended = true;
        self.stop(frames);
        let usage = self.usage.unwrap_or_default().into();
        let mut last = frame(&Out::MessageDelta { delta: Stop { stop_reason, stop_sequence: None }, usage });
        last.usage = self.usage;
        frames.push_back(last);
        frames.push_back(Frame::new(STOP, Sense::End));
    }
}

impl wire::Reader for StreamConverse {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        let read: WireEvent<'_> = serde_json::from_slice(&event.data).map_err(|error| not_json(&error))?;
        let at = read.content_block_index.unwrap_or(0);
        let before = frames.len();
        match (&event.name[..], read) {
            (b"messageStart", _) => {
                self.started = true;
                frames.push_back(frame(&Out::MessageStart {
                    message: Opening {
                        id: &self.id,
                        kind: "message",
                        role: "assistant",
                        model: &self.model,
                        content: [],
                        stop_reason: None,
                        stop_sequence: None,
                        usage: Usage::default().into(),
                    },
                }));
            }
            _ if !self.started => {
                return Err(Failed::malformed("the provider's stream does not start with messageStart"));
            }
            (b"contentBlockStart", WireEvent { start: Some(Start { tool_use: Some(tool) }), .. }) => {
                let begun = Begun::ToolUse { id: &tool.tool_use_id, name: &tool.name, input: Nothing {} };
                self.begin(Some((at, Kind::Tool)), begun, frames);
            }
            (b"contentBlockDelta", WireEvent { delta: Some(delta), .. }) => self.delta(at, delta, frames)?,
            (b"contentBlockStop", _) => self.stop(frames),
            (b"messageStop", WireEvent { stop_reason: Some(reason), .. }) => {
                self.stop_reason = Some(stop_reason(&reason)?);
            }
            (b"metadata", WireEvent { usage: Some(usage), .. }) => self.usage = Some(usage.into()),
            _ => {}
        }
        if let (Some(reason), Some(_)) = (self.stop_reason, self.usage) {
            self.close(reason, frames);
        }
        if frames.len() == before {
            frames.push_back(Frame::new(Bytes::new(), Sense::Idle));
        }
        Ok(())
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        match self.stop_reason {
            _ if self.ended => Ok(()),
            None => Err(wire::cut()),
            Some(reason) => {
                self.close(reason, frames);
                Ok(())
            }
        }
    }
}
