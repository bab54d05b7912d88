//! Puts values back into a stream, also where a placeholder comes in parts.
//!
//! A text that ends with what may become a placeholder keeps that end back, at most a
//! placeholder's length, until the next piece of the same text shows what it is. Texts of
//! different choices, tool calls and blocks don't wait for each other. When a text ends, and
//! when the stream does or breaks, what is kept back is said.

use std::{
    collections::VecDeque,
    ops::Range,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, ready};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::vault::{Vault, is_json};
use crate::{
    answer::{Frame, Frames, Sense},
    call::Operation,
    wire::{
        edit::{Edits, quoted},
        sse,
        strings::said,
    },
};

/// `frames` with values in them.
pub(super) fn restored(frames: Frames, vault: Arc<Vault>, operation: Operation, json: bool) -> Frames {
    let texts = Vec::new();
    Box::pin(Restored {
        frames,
        restorer: Restorer { vault, operation, json, texts },
        ready: VecDeque::new(),
    })
}

struct Restored {
    frames: Frames,
    restorer: Restorer,
    ready: VecDeque<Frame>,
}

impl Stream for Restored {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Frame>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.ready.pop_front() {
                return Poll::Ready(Some(frame));
            }
            match ready!(this.frames.as_mut().poll_next(context)) {
                Some(frame) => this.restorer.pass(frame, &mut this.ready),
                None => return Poll::Ready(None),
            }
        }
    }
}

/// Which text of a stream: of which member, of which choice or block, of which part of it.
type TextId = (&'static str, u64, u64);

/// A piece of a text in an event.
struct Piece {
    text: TextId,
    /// Where it stands in the event's data, with its quotes.
    at: Range<usize>,
    /// Nothing follows it.
    last: bool,
}

/// What an event says about texts.
#[derive(Default)]
struct Event {
    pieces: Vec<Piece>,
    /// Choices or blocks that end with it.
    ends: Vec<u64>,
    /// What must not be said again with a piece that is.
    once: Vec<Range<usize>>,
}

/// The end of a text that may become a placeholder.
struct Kept {
    text: TextId,
    end: String,
    /// The event whose piece it was, to say it with.
    event: sse::Event,
    at: Range<usize>,
    others: Vec<Range<usize>>,
    once: Vec<Range<usize>>,
}

struct Restorer {
    vault: Arc<Vault>,
    operation: Operation,
    json: bool,
    texts: Vec<Kept>,
}

impl Restorer {
    fn pass(&mut self, frame: Frame, ready: &mut VecDeque<Frame>) {
        match frame.sense {
            Sense::Idle | Sense::Moved(_) => return ready.push_back(frame),
            Sense::Failed(_) | Sense::End => self.say(|_| true, ready),
            Sense::Opening | Sense::Content | Sense::Closing => {}
        }
        // A frame holds one event.
        let mut parser = sse::Parser::default();
        parser.push(&frame.bytes);
        let Ok(Some(event)) = parser.next_event() else { return ready.push_back(frame) };
        let read = match self.operation {
            Operation::Messages => blocks(&event.data),
            Operation::Responses | Operation::Transcription => items(&event.data),
            _ => choices(&event.data),
        };
        let spoken = |text: TextId| read.pieces.iter().any(|piece| piece.text == text);
        self.say(|text| read.ends.contains(&text.1) && !spoken(text), ready);
        let mut edits = Edits::default();
        if read.pieces.is_empty() {
            let data = self.vault.restore_body(&event.data, self.json);
            if data != event.data {
                edits.replace(0..event.data.len(), String::from_utf8_lossy(&data).into_owned());
            }
        }
        for piece in &read.pieces {
            if let Some(text) = self.piece(piece, &read, &event) {
                edits.replace(piece.at.clone(), text);
            }
        }
        ready.push_back(Frame { bytes: changed(&event, edits), ..frame });
    }
    /// What `piece` becomes, if it changes.
    fn piece(&mut self, piece: &Piece, read: &Event, event: &sse::Event) -> Option<String> {
        let raw = std::str::from_utf8(event.data.get(piece.at.start + 1..piece.at.end - 1)?).ok()?;
        let kept =
            self.texts.iter().position(|it| it.text == piece.text).map(|at| self.texts.swap_remove(at));
        let mut text = said(raw);
        if let Some(kept) = &kept {
            text = (kept.end.clone() + &text).into();
        }
        let json = is_json(piece.text.0, self.json);
        let (restored, end) = self.vault.restore(&text, json, piece.last);
        let mut restored = restored.into_owned();
        if end < text.len() {
            if piece.last {
                restored.push_str(&text[end..]);
            } else {
                let others = read.pieces.iter().filter(|it| it.text != piece.text);
                self.texts.push(Kept {
                    text: piece.text,
                    end: text[end..].to_owned(),
                    event: event.clone(),
                    at: piece.at.clone(),
                    others: others.map(|it| it.at.clone()).collect(),
                    once: read.once.clone(),
                });
            }
        }
        (kept.is_some() || restored != text).then(|| quoted(&restored))
    }
    /// Says what was kept back of these texts.
    fn say(&mut self, which: impl Fn(TextId) -> bool, ready: &mut VecDeque<Frame>) {
        let mut i = 0;
        while i < self.texts.len() {
            if !which(self.texts[i].text) {
                i += 1;
                continue;
            }
            let kept = self.texts.remove(i);
            let mut edits = Edits::default();
            let end = self.vault.restore_all(&kept.end, is_json(kept.text.0, self.json));
            edits.replace(kept.at, quoted(&end));
            kept.others.into_iter().for_each(|at| edits.replace(at, "\"\""));
            kept.once.into_iter().for_each(|at| edits.replace(at, "null"));
            ready.push_back(Frame::new(changed(&kept.event, edits), Sense::Content));
        }
    }
}

/// `event` with changed data.
fn changed(event: &sse::Event, edits: Edits) -> Bytes {
    if edits.is_empty() {
        return event.raw.clone();
    }
    let data = edits.apply(&event.data);
    let name = std::str::from_utf8(&event.name).ok().filter(|name| !name.is_empty());
    sse::write(name, &String::from_utf8_lossy(&data))
}

/// Where a text of `data` stands.
fn place(data: &[u8], raw: Option<&RawValue>) -> Option<Range<usize>> {
    let raw = raw.filter(|it| it.get().starts_with('"'))?.get();
    let start = (raw.as_ptr() as usize).checked_sub(data.as_ptr() as usize)?;
    Some(start..start + raw.len())
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
    #[serde(borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_calls: Option<Vec<ToolCall<'a>>>,
    /// As one tool was called before there could be several.
    #[serde(borrow)]
    function_call: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct ToolCall<'a> {
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    function: Option<Function<'a>>,
    /// A tool that takes any text.
    #[serde(borrow)]
    custom: Option<Custom<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Custom<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// Texts in an event of OpenAI's chat.
fn choices(data: &[u8]) -> Event {
    let mut event = Event::default();
    let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else { return event };
    for choice in chunk.choices {
        let last = choice.finish_reason.is_some_and(|it| it.get() != "null");
        if last {
            event.ends.push(choice.index);
        }
        let Some(delta) = choice.delta else { continue };
        let mut add = |name, part, raw| {
            let piece = |at| Piece { text: (name, choice.index, part), at, last };
            event.pieces.extend(place(data, raw).map(piece));
        };
        add("content", 0, delta.content);
        add("refusal", 0, delta.refusal);
        add("reasoning", 0, delta.reasoning);
        add("reasoning_content", 0, delta.reasoning_content);
        let mut once = Vec::new();
        for call in delta.tool_calls.unwrap_or_default() {
            once.push(call.id);
            if let Some(function) = call.function {
                add("arguments", call.index, function.arguments);
                once.push(function.name);
            }
            if let Some(custom) = call.custom {
                add("input", call.index, custom.input);
                once.push(custom.name);
            }
        }
        if let Some(function) = delta.function_call {
            // An answer has either these or tool calls.
            add("arguments", 0, function.arguments);
            once.push(function.name);
        }
        event.once.extend(once.into_iter().filter_map(|it| place(data, it)));
    }
    event
}

#[derive(Deserialize)]
struct BlockEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    delta: Option<BlockDelta<'a>>,
}

#[derive(Deserialize)]
struct BlockDelta<'a> {
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    partial_json: Option<&'a RawValue>,
}

/// Texts in an event of Anthropic's messages.
fn blocks(data: &[u8]) -> Event {
    let mut event = Event::default();
    let Ok(read) = serde_json::from_slice::<BlockEvent<'_>>(data) else { return event };
    match (&*read.kind, read.delta) {
        ("content_block_delta", Some(delta)) => {
            let texts =
                [("text", delta.text), ("thinking", delta.thinking), ("partial_json", delta.partial_json)];
            for (name, raw) in texts {
                let piece = |at| Piece { text: (name, read.index, 0), at, last: false };
                event.pieces.extend(place(data, raw).map(piece));
            }
        }
        ("content_block_stop", _) => event.ends.push(read.index),
        _ => {}
    }
    event
}

#[derive(Deserialize)]
struct ItemEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(default)]
    output_index: u64,
    #[serde(default)]
    content_index: u64,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
}

/// Texts in an event of OpenAI's responses or transcriptions.
fn items(data: &[u8]) -> Event {
    let mut event = Event::default();
    let Ok(read) = serde_json::from_slice::<ItemEvent<'_>>(data) else { return event };
    let kind = read.kind.strip_prefix("response.").or_else(|| read.kind.strip_prefix("transcript."));
    let kind = kind.unwrap_or_default();
    let (kind, step) = kind.rsplit_once('.').unwrap_or_default();
    if step == "delta" {
        let name = match kind {
            "output_text" | "text" => "delta",
            "function_call_arguments" | "mcp_call_arguments" => "arguments",
            "refusal" => "refusal",
            _ => "reasoning",
        };
        let piece = |at| Piece { text: (name, read.output_index, read.content_index), at, last: false };
        event.pieces.extend(place(data, read.delta).map(piece));
    } else if step == "done" {
        event.ends.push(read.output_index);
    }
    event
}
