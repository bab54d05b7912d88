//! Which answers are whole, and worth giving again.
//!
//! An answer is kept only if it says of itself that the model had finished: one that was
//! cut at its most tokens, filtered, refused, or that calls tools is for the one who asked.

use std::borrow::Cow;

use memchr::memmem;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    Operation,
    answer::{Frame, Sense},
    wire::sse,
};

/// May this whole answer be given again?
pub(super) fn whole(operation: Operation, body: &[u8]) -> bool {
    match operation {
        Operation::Chat => {
            serde_json::from_slice::<Chat<'_>>(body).is_ok_and(|chat| chat.fine() && chat.finished())
        }
        Operation::Messages => {
            serde_json::from_slice::<Message<'_>>(body).is_ok_and(|message| message.fine())
        }
        Operation::Embeddings => true,
        Operation::Responses | Operation::Transcription => false,
    }
}

/// May this stream, from its first event to its last, be given again? `choices` must have
/// come to their end in it.
pub(super) fn stream<'a>(
    operation: Operation,
    choices: u32,
    frames: impl Iterator<Item = &'a Frame>,
) -> bool {
    let mut open = choices;
    let mut ended = false;
    for frame in frames {
        match frame.sense {
            // Somebody else went on: the text may be fine, but nobody ever said it whole.
            Sense::Failed(_) | Sense::Moved(_) => return false,
            Sense::End => ended = true,
            Sense::Idle => {}
            Sense::Opening | Sense::Content | Sense::Closing => {
                let Some(finished) = event(operation, frame) else { return false };
                open = open.saturating_sub(finished);
            }
        }
    }
    ended && open == 0
}

/// How many choices end with an event; none if it holds what is not kept.
fn event(operation: Operation, frame: &Frame) -> Option<u32> {
    if frame.bytes.is_empty() {
        return Some(0);
    }
    match operation {
        Operation::Chat if !worth_reading(&frame.bytes) => Some(0),
        Operation::Messages if frame.sense != Sense::Closing && !has(&frame.bytes, b"tool_use") => Some(0),
        _ => {
            let mut parser = sse::Parser::default();
            parser.push(&frame.bytes);
            let data = parser.next_event().ok().flatten()?.data;
            match operation {
                Operation::Chat => {
                    let chunk: Chat<'_> = serde_json::from_slice(&data).ok()?;
                    let finished =
                        chunk.choices.iter().filter(|choice| choice.finish_reason.is_some()).count();
                    chunk.fine().then(|| u32::try_from(finished).unwrap_or(u32::MAX))
                }
                Operation::Messages => {
                    let event: Event<'_> = serde_json::from_slice(&data).ok()?;
                    let tool = event.content_block.is_some_and(|block| block.is_tool());
                    let reason = event.delta.and_then(|delta| delta.stop_reason);
                    let fine = !tool && reason.as_deref().is_none_or(is_end);
                    fine.then_some(u32::from(reason.is_some()))
                }
                Operation::Embeddings | Operation::Responses | Operation::Transcription => None,
            }
        }
    }
}

/// Does an event say more than a piece of text? Most do not, and need not be read.
fn worth_reading(bytes: &[u8]) -> bool {
    [&b"finish_reason"[..], b"tool_calls", b"function_call", b"refusal"].iter().any(|name| {
        memmem::find_iter(bytes, name).any(|at| {
            let rest = bytes[at + name.len()..].iter().filter(|byte| !b"\": ".contains(byte));
            !rest.take(4).eq(b"null")
        })
    })
}

fn has(bytes: &[u8], what: &[u8]) -> bool {
    memmem::find(bytes, what).is_some()
}

#[derive(Deserialize)]
struct Chat<'a> {
    #[serde(borrow, default)]
    choices: Vec<Choice<'a>>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(borrow)]
    finish_reason: Option<Cow<'a, str>>,
    #[serde(borrow, alias = "delta")]
    message: Option<Said<'a>>,
}

#[derive(Deserialize)]
struct Said<'a> {
    tool_calls: Option<Vec<IgnoredAny>>,
    function_call: Option<IgnoredAny>,
    #[serde(borrow)]
    refusal: Option<Cow<'a, str>>,
}

impl Chat<'_> {
    fn finished(&self) -> bool {
        !self.choices.is_empty() && self.choices.iter().all(|choice| choice.finish_reason.is_some())
    }
    fn fine(&self) -> bool {
        self.choices.iter().all(|choice| {
            let said = choice.message.as_ref();
            let tools = said.and_then(|said| said.tool_calls.as_ref()).is_some_and(|calls| !calls.is_empty());
            let function = said.is_some_and(|said| said.function_call.is_some());
            let refusal = said.and_then(|said| said.refusal.as_deref()).is_some_and(|text| !text.is_empty());
            let reason = choice.finish_reason.as_deref();
            !tools && !function && !refusal && reason.is_none_or(|reason| reason == "stop")
        })
    }
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    content: Vec<Block<'a>>,
}

#[derive(Deserialize)]
struct Block<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow)]
    delta: Option<Delta<'a>>,
    #[serde(borrow)]
    content_block: Option<Block<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow)]
    stop_reason: Option<Cow<'a, str>>,
}

impl Message<'_> {
    fn fine(&self) -> bool {
        self.stop_reason.as_deref().is_some_and(is_end) && !self.content.iter().any(Block::is_tool)
    }
}

impl Block<'_> {
    /// `tool_use`, and what the provider's own tools are named: `server_tool_use`, ….
    fn is_tool(&self) -> bool {
        self.kind.contains("tool_use")
    }
}

fn is_end(reason: &str) -> bool {
    matches!(reason, "end_turn" | "stop_sequence")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_model_finished_is_kept() {
        let chat = |choice: &str| format!(r#"{{"choices":[{choice}]}}"#);
        for (choice, fine) in [
            (r#"{"message":{"content":"a","refusal":null,"tool_calls":[]},"finish_reason":"stop"}"#, true),
            (r#"{"message":{"content":"a"},"finish_reason":"length"}"#, false),
            (r#"{"message":{"content":"a"},"finish_reason":"content_filter"}"#, false),
            (r#"{"message":{"content":"a"},"finish_reason":null}"#, false),
            (r#"{"message":{"content":"a"}}"#, false),
            (r#"{"message":{"content":"a"},"finish_reason":"something_new"}"#, false),
            (r#"{"message":{"content":null,"refusal":"I won't"},"finish_reason":"stop"}"#, false),
            // Providers have said `stop` and called tools all the same.
            (r#"{"message":{"tool_calls":[{"id":"1"}]},"finish_reason":"stop"}"#, false),
            (r#"{"message":{"function_call":{"name":"x"}},"finish_reason":"stop"}"#, false),
            (
                r#"{"message":{"content":"a"},"finish_reason":"stop"},{"message":{},"finish_reason":"length"}"#,
                false,
            ),
            ("", false),
        ] {
            assert_eq!(whole(Operation::Chat, chat(choice).as_bytes()), fine, "{choice}");
        }
        for (message, fine) in [
            (r#"{"content":[{"type":"text","text":"a"}],"stop_reason":"end_turn"}"#, true),
            (r#"{"content":[],"stop_reason":"stop_sequence"}"#, true),
            (r#"{"content":[],"stop_reason":"max_tokens"}"#, false),
            (r#"{"content":[],"stop_reason":"refusal"}"#, false),
            (r#"{"content":[],"stop_reason":"pause_turn"}"#, false),
            (r#"{"content":[{"type":"tool_use"}],"stop_reason":"end_turn"}"#, false),
            (r#"{"content":[],"stop_reason":null}"#, false),
            ("{", false),
        ] {
            assert_eq!(whole(Operation::Messages, message.as_bytes()), fine, "{message}");
        }
    }

    #[test]
    fn a_stream_is_kept_only_whole_and_finished() {
        let frame = |data: &str, sense| Frame::new(sse::write(None, data), sense);
        let text = |text: &str| {
            let data = format!(
                r#"{{"choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason": null}}]}}"#
            );
            frame(&data, Sense::Content)
        };
        let reason = |reason: &str| {
            frame(
                &format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason" : "{reason}"}}]}}"#),
                Sense::Closing,
            )
        };
        let tool = frame(
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0}]},"finish_reason":null}]}"#,
            Sense::Content,
        );
        let refusal = frame(r#"{"choices":[{"delta":{"refusal":"no"}}]}"#, Sense::Content);
        let end = || frame("[DONE]", Sense::End);
        let moved = Frame::new(bytes::Bytes::new(), Sense::Moved("p".into()));
        let failed = Frame::new(bytes::Bytes::new(), Sense::Failed("provider.cut"));
        let chat = |frames: &[Frame], choices| stream(Operation::Chat, choices, frames.iter());
        assert!(chat(&[text("a finish_reason is"), reason("stop"), end()], 1));
        assert!(chat(&[text("a"), reason("stop"), reason("stop"), end()], 2));
        assert!(!chat(&[text("a"), reason("stop"), end()], 2), "one choice is missing");
        assert!(!chat(&[text("a"), reason("length"), end()], 1));
        assert!(!chat(&[text("a"), reason("stop")], 1), "cut");
        assert!(!chat(&[text("a"), end()], 1));
        assert!(!chat(&[tool, reason("stop"), end()], 1));
        assert!(!chat(&[refusal, reason("stop"), end()], 1));
        assert!(!chat(&[text("a"), moved, reason("stop"), end()], 1));
        assert!(!chat(&[text("a"), failed], 1));

        let delta = |reason: &str| {
            let data = format!(r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}}}}"#);
            frame(&data, Sense::Closing)
        };
        let block = |kind: &str| {
            let data =
                format!(r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"{kind}"}}}}"#);
            frame(&data, Sense::Opening)
        };
        let stop = || frame(r#"{"type":"message_stop"}"#, Sense::End);
        let messages = |frames: &[Frame]| stream(Operation::Messages, 1, frames.iter());
        assert!(messages(&[block("text"), delta("end_turn"), stop()]));
        assert!(!messages(&[block("text"), delta("max_tokens"), stop()]));
        assert!(!messages(&[block("tool_use"), delta("end_turn"), stop()]));
        assert!(!messages(&[block("text"), stop()]));
    }
}
