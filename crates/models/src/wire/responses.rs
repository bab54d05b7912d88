//! OpenAI's responses: answers and events of a stream that pass through.

use std::{borrow::Cow, collections::VecDeque};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::transcription::TokenUsage;
use crate::{
    answer::{Frame, Sense, Usage},
    failure::Failed,
    wire::{self, There, error_within, not_json, sse::Event},
};

/// Does a response's input name items that the provider keeps, whose size is not known here?
pub(crate) fn names_items(input: &RawValue) -> bool {
    #[derive(Deserialize)]
    struct Item<'a> {
        #[serde(rename = "type", borrow)]
        kind: Option<Cow<'a, str>>,
        #[serde(default)]
        role: There,
        #[serde(default)]
        encrypted_content: There,
    }
    let named = |item: &Item<'_>| match item.kind.as_deref() {
        Some("item_reference") => true,
        Some("reasoning") => !item.encrypted_content.0,
        Some(_) => false,
        // Without a type it is a message, or else the name of an item.
        None => !item.role.0,
    };
    // A list that does not read might be read as anything.
    input.get().starts_with('[')
        && serde_json::from_str::<Vec<Item<'_>>>(input.get()).map_or(true, |items| items.iter().any(named))
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(default)]
    error: There,
    output: Option<Vec<IgnoredAny>>,
    #[serde(borrow)]
    status: Option<Cow<'a, str>>,
    usage: Option<TokenUsage>,
}

/// Checks a whole answer, and reads its usage.
pub(crate) fn read_whole(body: &[u8]) -> Result<Option<Usage>, Failed> {
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if whole.error.0 || whole.status.as_deref() == Some("failed") {
        return Err(error_within(body));
    }
    if whole.output.is_none() {
        return Err(Failed::malformed("the provider's answer has no output"));
    }
    Ok(whole.usage.map(Into::into))
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    response: Option<Closed>,
}

#[derive(Deserialize)]
struct Closed {
    usage: Option<TokenUsage>,
}

/// What an event's name ends with.
pub(super) fn step(kind: &str) -> &str {
    kind.rsplit('.').next().unwrap_or_default()
}

/// An error, wherever in an event it stands.
fn failed(data: &[u8]) -> Failed {
    #[derive(Deserialize)]
    struct Outer<'a> {
        #[serde(borrow)]
        response: Option<&'a RawValue>,
    }
    let inner = serde_json::from_slice::<Outer<'_>>(data).ok().and_then(|it| it.response);
    error_within(inner.map_or(data, |it| it.get().as_bytes()))
}

/// Passes a stream through.
#[derive(Debug, Default)]
pub(crate) struct PassThrough {
    started: bool,
    ended: bool,
}

impl wire::Reader for PassThrough {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if event.data.trim_ascii() == b"[DONE]" {
            return Err(wire::cut());
        }
        let read: WireEvent<'_> = serde_json::from_slice(&event.data).map_err(|error| not_json(&error))?;
        let sense = match &*read.kind {
            "error" | "response.failed" => return Err(failed(&event.data)),
            "response.created" => {
                self.started = true;
                Sense::Opening
            }
            _ if !self.started => {
                return Err(Failed::malformed("the provider's stream does not start with response.created"));
            }
            "response.completed" | "response.incomplete" => {
                self.ended = true;
                Sense::End
            }
            "response.cancelled" => return Err(wire::cut()),
            kind if matches!(step(kind), "delta" | "partial_image") => Sense::Content,
            _ => Sense::Opening,
        };
        let usage = read.response.and_then(|it| it.usage).map(Usage::from);
        frames.push_back(Frame { bytes: event.raw, sense, usage });
        Ok(())
    }
    fn end(&mut self, _: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended { Ok(()) } else { Err(wire::cut()) }
    }
}
