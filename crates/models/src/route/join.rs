//! Where one provider's text ends and another's goes on.
//!
//! The client must see one answer: the ids of the first provider, no second beginning, and
//! no text twice. Models that are asked to go on often begin anew, or repeat their last
//! words. So the beginning of the continuation is held back for as long as it could be such
//! a repetition, and what it repeats is left out. Fewer than [`REPEAT_MIN`] bytes are not
//! taken for one, as any text may begin with a word that another ends with; save where they
//! are all that was said, because then the model rather began anew.

use std::{borrow::Cow, collections::VecDeque};

use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    answer::{Frame, Sense},
    call::Operation,
    wire::sse,
};

/// The fewest bytes that count as a repetition of a part.
const REPEAT_MIN: usize = 12;

/// What a stream said so far, and what it takes to go on with it.
pub(super) struct Seam {
    operation: Operation,
    text: String,
    /// Only text was said, and it did not end.
    plain: bool,
    /// `id`, `created` and `model` of the first provider's chunks, as JSON.
    head: Option<[String; 3]>,
    /// The open block of text, for messages.
    block: Option<u64>,
    /// The continuation, once there is one.
    going_on: Option<GoingOn>,
}

#[derive(Default)]
struct GoingOn {
    repeat: Repeat,
    /// The first of the continuation's blocks that is shown, for messages, and its index in
    /// what the client reads: that of the open block if it goes on with it, else the next.
    first: Option<(u64, u64)>,
    /// The block that was open when the continuation began has ended.
    closed: bool,
}

#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    created: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    content: Option<Cow<'a, str>>,
    #[serde(borrow)]
    tool_calls: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct BlockEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    index: Option<u64>,
    #[serde(borrow)]
    content_block: Option<Kind<'a>>,
    #[serde(borrow)]
    delta: Option<Said<'a>>,
}

#[derive(Deserialize)]
struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
}

impl Seam {
    pub(super) fn new(operation: Operation) -> Self {
        Self { operation, text: String::new(), plain: true, head: None, block: None, going_on: None }
    }
    /// The text so far, if it can be gone on with.
    pub(super) fn text(&self) -> Option<&str> {
        let open = self.operation == Operation::Chat || self.block.is_some();
        (self.plain && open && !self.text.is_empty()).then_some(&self.text)
    }
    /// From now on events are those of a continuation.
    pub(super) fn begin(&mut self) {
        self.going_on = Some(GoingOn::default());
    }
    /// Passes one event on, fitted to what was said before.
    pub(super) fn pass(&mut self, frame: Frame, out: &mut VecDeque<Frame>) {
        if matches!(frame.sense, Sense::Idle | Sense::Moved(_) | Sense::Failed(_)) {
            return out.push_back(frame);
        }
        // A frame holds one event, and its reader has seen that its data is JSON.
        let mut parser = sse::Parser::default();
        parser.push(&frame.bytes);
        let Ok(Some(event)) = parser.next_event() else {
            return out.push_back(frame);
        };
        match self.operation {
            Operation::Messages => self.pass_block(&event.data, frame, out),
            _ => self.pass_chunk(&event.data, frame, out),
        }
    }

    fn pass_chunk(&mut self, data: &[u8], frame: Frame, out: &mut VecDeque<Frame>) {
        let Ok(chunk) = serde_json::from_slice::<Chunk<'_>>(data) else {
            return out.push_back(frame);
        };
        let choice = chunk.choices.first();
        let delta = choice.and_then(|it| it.delta.as_ref());
        let text = delta.and_then(|it| it.content.as_deref()).unwrap_or_default();
        let tools = delta.and_then(|it| it.tool_calls).map(RawValue::get).filter(|it| *it != "[]");
        let reason = choice.and_then(|it| it.finish_reason.as_deref());
        self.plain &= tools.is_none() && reason.is_none();
        let head = self.head.get_or_insert_with(|| {
            let raw = |it: Option<&RawValue>| it.map_or("null", RawValue::get).to_owned();
            [raw(chunk.id), raw(chunk.created), raw(chunk.model)]
        });
        let Some(going_on) = &mut self.going_on else {
            self.text.push_str(text);
            return out.push_back(frame);
        };
        let write = |choices: &str, usage: Option<&RawValue>, sense: Sense| {
            let [id, created, model] = &*head;
            let usage = usage.map(|it| format!(r#","usage":{it}"#)).unwrap_or_default();
            let chunk = format!(
                r#"{{"id":{id},"object":"chat.completion.chunk","created":{created},"model":{model},"choices":{choices}{usage}}}"#
            );
            Frame { bytes: sse::write(None, &chunk), sense, usage: frame.usage }
        };
        let mut more = going_on.repeat.take(&self.text, text);
        if reason.is_some() || tools.is_some() || frame.sense == Sense::Closing {
            more.push_str(&going_on.repeat.end(&self.text));
        }
        if !more.is_empty() {
            self.text.push_str(&more);
            let choices = json!([{ "index": 0, "delta": { "content": more }, "finish_reason": null }]);
            out.push_back(write(&choices.to_string(), None, Sense::Content));
        }
        if let Some(tools) = tools {
            let choices = format!(r#"[{{"index":0,"delta":{{"tool_calls":{tools}}},"finish_reason":null}}]"#);
            out.push_back(write(&choices, None, Sense::Content));
        }
        if let Some(reason) = reason {
            let choices = json!([{ "index": 0, "delta": {}, "finish_reason": reason }]);
            out.push_back(write(&choices.to_string(), chunk.usage, Sense::Closing));
        } else if choice.is_none() && !frame.bytes.is_empty() {
            out.push_back(write("[]", chunk.usage, Sense::Closing));
        }
    }

    fn pass_block(&mut self, data: &[u8], frame: Frame, out: &mut VecDeque<Frame>) {
        let Ok(event) = serde_json::from_slice::<BlockEvent<'_>>(data) else {
            return out.push_back(frame);
        };
        let kind = event.content_block.as_ref().map(|it| &*it.kind);
        let text = event.delta.as_ref().and_then(|it| it.text.as_deref());
        let (Some(going_on), Some(open)) = (&mut self.going_on, self.block) else {
            match &*event.kind {
                "content_block_start" if kind == Some("text") => self.block = event.index,
                "content_block_start" if kind != Some("thinking") => self.plain = false,
                "content_block_delta" => self.text.push_str(text.unwrap_or_default()),
                "content_block_stop" if self.block == event.index => self.block = None,
                "message_delta" => self.plain = false,
                _ => {}
            }
            return out.push_back(frame);
        };
        let index = event.index.unwrap_or(0);
        let joined = going_on.first == Some((index, open));
        match (&*event.kind, going_on.first) {
            // A thought before it is not shown: the answer had begun already.
            ("content_block_start", None) if matches!(kind, Some("thinking" | "redacted_thinking")) => {}
            ("content_block_start", None) if kind == Some("text") => going_on.first = Some((index, open)),
            ("content_block_start", None) => {
                going_on.first = Some((index, open + 1));
                self.close(open, out);
                out.push_back(moved(data, &event.kind, open + 1, frame));
            }
            ("message_start", _) | ("content_block_delta" | "content_block_stop", None) => {}
            ("content_block_delta", _) if joined => {
                let more = going_on.repeat.take(&self.text, text.unwrap_or_default());
                self.say(&more, open, out);
            }
            ("content_block_stop", _) if joined => self.close(open, out),
            ("content_block_start" | "content_block_delta" | "content_block_stop", Some((first, ours))) => {
                self.plain = false;
                let index = ours + index.saturating_sub(first);
                out.push_back(moved(data, &event.kind, index, frame));
            }
            _ => {
                if event.kind == "message_delta" {
                    self.close(open, out);
                }
                out.push_back(frame);
            }
        }
    }
    /// Says more of the open block.
    fn say(&mut self, more: &str, open: u64, out: &mut VecDeque<Frame>) {
        if !more.is_empty() {
            self.text.push_str(more);
            let delta = json!({ "type": "text_delta", "text": more });
            let data = json!({ "type": "content_block_delta", "index": open, "delta": delta });
            let bytes = sse::write(Some("content_block_delta"), &data.to_string());
            out.push_back(Frame::new(bytes, Sense::Content));
        }
    }
    /// Ends the open block, with what was held back of it.
    fn close(&mut self, open: u64, out: &mut VecDeque<Frame>) {
        self.plain = false;
        let Some(going_on) = self.going_on.as_mut().filter(|it| !it.closed) else { return };
        going_on.closed = true;
        let more = going_on.repeat.end(&self.text);
        self.say(&more, open, out);
        let data = json!({ "type": "content_block_stop", "index": open });
        out.push_back(Frame::new(sse::write(Some("content_block_stop"), &data.to_string()), Sense::Opening));
    }
}

/// The same event at another index.
fn moved(data: &[u8], kind: &str, index: u64, frame: Frame) -> Frame {
    let Ok(mut data) = serde_json::from_slice::<serde_json::Value>(data) else { return frame };
    data["index"] = index.into();
    Frame { bytes: sse::write(Some(kind), &data.to_string()), ..frame }
}

/// Finds out how much of a continuation repeats the text that it continues.
#[derive(Default)]
struct Repeat {
    held: String,
    decided: bool,
}

impl Repeat {
    /// Takes more of the continuation, and gives what is surely new.
    fn take(&mut self, before: &str, more: &str) -> String {
        if self.decided {
            return more.to_owned();
        }
        self.held.push_str(more);
        if self.held.is_empty() || could_repeat_more(before, &self.held) {
            return String::new();
        }
        self.end(before)
    }
    /// Nothing more comes that could decide it.
    fn end(&mut self, before: &str) -> String {
        self.decided = true;
        let mut held = std::mem::take(&mut self.held);
        held.split_off(repeated(before, &held))
    }
}

/// Is `held` a part of `before` that could go on to its end?
fn could_repeat_more(before: &str, held: &str) -> bool {
    memchr::memmem::find_iter(before.as_bytes(), held.as_bytes()).any(|at| {
        let left = before.len() - at;
        left > held.len() && counts(before, left)
    })
}

/// Are so many bytes at the end of `before` enough to be known again?
fn counts(before: &str, bytes: usize) -> bool {
    bytes >= REPEAT_MIN || bytes == before.len()
}

/// How many bytes at the beginning of `held` are the end of `before`.
fn repeated(before: &str, held: &str) -> usize {
    let most = held.len().min(before.len());
    let is_end = |len: &usize| {
        counts(before, *len)
            && held.is_char_boundary(*len)
            && before.as_bytes().ends_with(&held.as_bytes()[..*len])
    };
    (1..=most).rev().find(is_end).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(before: &str, pieces: &[&str]) -> String {
        let mut repeat = Repeat::default();
        let mut text = before.to_owned();
        for piece in pieces {
            let more = repeat.take(before, piece);
            text.push_str(&more);
        }
        text + &repeat.end(before)
    }

    #[test]
    fn what_a_continuation_repeats_is_left_out() {
        let before = "The quick brown fox jumps over the lazy";
        let whole = "The quick brown fox jumps over the lazy dog, and sleeps.";
        for (pieces, how) in [
            (&[" dog,", " and sleeps."][..], "goes on"),
            (&["The quick ", "brown fox jumps over the lazy dog,", " and sleeps."], "begins anew"),
            (&["jumps over ", "the ", "lazy", " dog, and sleeps."], "repeats its last words"),
            (&["T", "h", "e", " quick brown fox jumps over the lazy dog, and sleeps."], "letter by letter"),
        ] {
            assert_eq!(joined(before, pieces), whole, "{how}");
        }
        // What only looks like a repetition at first is kept.
        assert_eq!(joined(before, &["The quick", " answer"]), format!("{before}The quick answer"));
        assert_eq!(joined(before, &["The quick"]), format!("{before}The quick"));
        assert_eq!(joined("a b c", &["c d"]), "a b cc d", "too short to be told from chance");
        assert_eq!(joined("Well, ", &["We", "ll, yes"]), "Well, yes", "all of what little was said");
        assert_eq!(joined("Well, ", &["I ", "see"]), "Well, I see");
        assert_eq!(joined("größer als é é é é", &["größer als é é é é", "!"]), "größer als é é é é!");
    }

    proptest::proptest! {
        #[test]
        fn nothing_new_is_ever_lost(before in "[ab ]{0,40}", pieces in proptest::collection::vec("[ab c]{0,9}", 0..6)) {
            let pieces: Vec<_> = pieces.iter().map(String::as_str).collect();
            let more = pieces.concat();
            let text = joined(&before, &pieces);
            let kept = text.strip_prefix(before.as_str()).expect("what was said stays");
            let left_out = more.strip_suffix(kept).expect("only a beginning is left out");
            proptest::prop_assert!(before.ends_with(left_out));
            proptest::prop_assert!(left_out.is_empty() || counts(&before, left_out.len()));
        }
    }
}
