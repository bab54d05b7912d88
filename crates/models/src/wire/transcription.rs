//! OpenAI's transcriptions: answers and events of a stream that pass through.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    answer::{Frame, Sense, Usage},
    failure::Failed,
    wire::{self, There, error_within, not_json, responses::step, sse::Event},
};

/// Tokens, or seconds of sound.
#[derive(Deserialize)]
pub(crate) struct TokenUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Option<Details>,
    seconds: Option<f64>,
}

/// Whole ones, also of one that has only begun.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "as many as fit; none of what is no number"
)]
fn seconds(of: f64) -> u64 {
    of.ceil() as u64
}

#[derive(Deserialize)]
struct Details {
    cached_tokens: Option<u64>,
}

impl From<TokenUsage> for Usage {
    fn from(usage: TokenUsage) -> Self {
        Self {
            input: usage.input_tokens.unwrap_or(0),
            cached: usage.input_tokens_details.and_then(|it| it.cached_tokens).unwrap_or(0),
            output: usage.output_tokens.unwrap_or(0),
            seconds: usage.seconds.map_or(0, seconds),
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
struct Whole {
    #[serde(default)]
    error: There,
    #[serde(default)]
    text: There,
    usage: Option<TokenUsage>,
}

/// Checks an answer in JSON, and reads its usage.
pub(crate) fn read_whole(body: &[u8]) -> Result<Option<Usage>, Failed> {
    let whole: Whole = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if whole.error.0 {
        return Err(error_within(body));
    }
    if !whole.text.0 {
        return Err(Failed::malformed("the provider's answer has no text"));
    }
    Ok(whole.usage.map(Into::into))
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    error: There,
    usage: Option<TokenUsage>,
}

/// Passes a stream through.
#[derive(Debug, Default)]
pub(crate) struct PassThrough {
    done: bool,
    ended: bool,
}

impl wire::Reader for PassThrough {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if event.data.trim_ascii() == b"[DONE]" {
            if !self.done {
                return Err(wire::cut());
            }
            self.ended = true;
            frames.push_back(Frame::new(event.raw, Sense::End));
            return Ok(());
        }
        let read: WireEvent<'_> = serde_json::from_slice(&event.data).map_err(|error| not_json(&error))?;
        let kind = read.kind.as_deref().unwrap_or_default();
        if read.error.0 || kind == "error" {
            return Err(error_within(&event.data));
        }
        let sense = if matches!(step(kind), "delta" | "segment") {
            Sense::Content
        } else if kind == "transcript.text.done" {
            self.done = true;
            Sense::Closing
        } else {
            Sense::Opening
        };
        frames.push_back(Frame { bytes: event.raw, sense, usage: read.usage.map(Into::into) });
        Ok(())
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if !self.done {
            return Err(wire::cut());
        }
        // There is no last line that a client waits for.
        frames.push_back(Frame::new(Bytes::new(), Sense::End));
        Ok(())
    }
}
