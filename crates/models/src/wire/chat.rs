//! OpenAI's chat completions: answers and events of a stream that pass through.

use std::collections::VecDeque;

use bytes::Bytes;
use serde::{Deserialize, de::IgnoredAny};

use crate::{
    answer::{Frame, Sense, Usage},
    failure::Failed,
    wire::{self, There, error_within, not_json, sse::Event},
};

/// What ends a stream.
pub(crate) const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

#[derive(Deserialize)]
pub(crate) struct WireUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    fn from(usage: WireUsage) -> Self {
        Self {
            input: usage.prompt_tokens.unwrap_or(0),
            cached: usage.prompt_tokens_details.and_then(|it| it.cached_tokens).unwrap_or(0),
            output: usage.completion_tokens.unwrap_or(0),
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    error: There,
    #[serde(default)]
    choices: Option<Vec<WholeChoice>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct WholeChoice {
    #[serde(default)]
    message: There,
}

/// Checks a whole answer, and reads its usage.
pub(crate) fn read_whole(body: &[u8]) -> Result<Option<Usage>, Failed> {
    let whole: Whole = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if whole.error.0 {
        return Err(error_within(body));
    }
    match whole.choices {
        Some(choices) if !choices.is_empty() && choices.iter().all(|it| it.message.0) => {
            Ok(whole.usage.map(Into::into))
        }
        _ => Err(Failed::malformed("the provider's answer has no choices")),
    }
}

#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    error: There,
    choices: Option<Vec<Choice>>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Choice {
    delta: Option<Delta>,
    #[serde(default)]
    finish_reason: There,
}

#[derive(Deserialize)]
struct Delta {
    #[serde(default)]
    content: Text,
    #[serde(default)]
    refusal: Text,
    #[serde(default)]
    reasoning_content: Text,
    /// The same by another name.
    #[serde(default)]
    reasoning: Text,
    /// The same in parts, which may be encrypted.
    #[serde(default)]
    reasoning_details: Text,
    #[serde(default)]
    tool_calls: Text,
    #[serde(default)]
    function_call: There,
    #[serde(default)]
    audio: There,
}

/// A text or list that is there and not empty. What it holds is looked at, but not kept.
#[derive(Default)]
struct Text(bool);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> serde::de::Visitor<'de> for Reader {
            type Value = Text;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, a list or null")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text, E> {
                Ok(Text(!text.is_empty()))
            }
            fn visit_unit<E>(self) -> Result<Text, E> {
                Ok(Text(false))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut parts: A) -> Result<Text, A::Error> {
                let mut any = false;
                while parts.next_element::<IgnoredAny>()?.is_some() {
                    any = true;
                }
                Ok(Text(any))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// What one event's data means.
struct Meaning {
    sense: Sense,
    /// How many choices end with it. Content and the reason for its end may come in one event.
    finishes: usize,
    usage: Option<Usage>,
}

fn read_event(data: &[u8]) -> Result<Meaning, Failed> {
    let chunk: Chunk = serde_json::from_slice(data).map_err(|error| not_json(&error))?;
    if chunk.error.0 {
        return Err(error_within(data));
    }
    let Some(choices) = chunk.choices else {
        return Err(Failed::malformed("an event of the provider's stream has no choices"));
    };
    let says = |it: &Choice| {
        it.delta.as_ref().is_some_and(|delta| {
            delta.content.0
                || delta.tool_calls.0
                || delta.reasoning_content.0
                || delta.reasoning.0
                || delta.reasoning_details.0
                || delta.refusal.0
                || delta.function_call.0
                || delta.audio.0
        })
    };
    let finishes = choices.iter().filter(|it| it.finish_reason.0).count();
    let sense = if choices.iter().any(says) {
        Sense::Content
    } else if finishes > 0 || (choices.is_empty() && chunk.usage.is_some()) {
        Sense::Closing
    } else {
        Sense::Opening
    };
    Ok(Meaning { sense, finishes, usage: chunk.usage.map(Into::into) })
}

/// Passes a stream through.
#[derive(Debug)]
pub(crate) struct PassThrough {
    /// The client did not ask for the usage, we did: the event that brings it stays here.
    hide_usage: bool,
    /// Choices that have not ended.
    open: usize,
    ended: bool,
}

impl PassThrough {
    pub(crate) fn new(hide_usage: bool, choices: u32) -> Self {
        let open = usize::try_from(choices).unwrap_or(usize::MAX);
        Self { hide_usage, open, ended: false }
    }
}

impl wire::Reader for PassThrough {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if event.data.trim_ascii() == b"[DONE]" {
            if self.open > 0 {
                return Err(wire::cut());
            }
            self.ended = true;
            frames.push_back(Frame::new(event.raw, Sense::End));
            return Ok(());
        }
        let Meaning { sense, finishes, usage } = read_event(&event.data)?;
        let only_usage = sense == Sense::Closing && finishes == 0;
        self.open = self.open.saturating_sub(finishes);
        let bytes = if only_usage && self.hide_usage { Bytes::new() } else { event.raw };
        frames.push_back(Frame { bytes, sense, usage });
        Ok(())
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if self.open > 0 {
            return Err(wire::cut());
        }
        // Some servers leave out the last line although the model had finished.
        frames.push_back(Frame::new(DONE, Sense::End));
        Ok(())
    }
}
