//! Anthropic's messages: answers and events of a stream that pass through.

use std::{borrow::Cow, collections::VecDeque};

use bytes::Bytes;
use serde::Deserialize;

use crate::{
    answer::{Frame, Sense, Usage},
    failure::Failed,
    wire::{self, There, error_within, not_json, sse::Event},
};

/// What ends a stream.
pub(crate) const STOP: Bytes =
    Bytes::from_static(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");

#[derive(Deserialize, Default, Clone, Copy)]
pub(crate) struct WireUsage {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_creation: Option<CacheCreation>,
}

#[derive(Deserialize, Default, Clone, Copy)]
struct CacheCreation {
    ephemeral_1h_input_tokens: Option<u64>,
}

impl From<WireUsage> for Usage {
    /// Here `input_tokens` are those that the cache had no part in.
    fn from(usage: WireUsage) -> Self {
        let cached = usage.cache_read_input_tokens.unwrap_or(0);
        let cache_written = usage.cache_creation_input_tokens.unwrap_or(0);
        Self {
            input: usage.input_tokens.unwrap_or(0).saturating_add(cached).saturating_add(cache_written),
            cached,
            cache_written,
            cache_written_hour: usage
                .cache_creation
                .and_then(|it| it.ephemeral_1h_input_tokens)
                .unwrap_or(0)
                .min(cache_written),
            output: usage.output_tokens.unwrap_or(0),
            ..Self::default()
        }
    }
}

#[derive(Deserialize)]
struct Whole<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(default)]
    error: There,
    #[serde(default)]
    content: There,
    usage: Option<WireUsage>,
}

/// Checks a whole answer, and reads its usage.
pub(crate) fn read_whole(body: &[u8]) -> Result<Option<Usage>, Failed> {
    let whole: Whole<'_> = serde_json::from_slice(body).map_err(|error| not_json(&error))?;
    if whole.error.0 || whole.kind.as_deref() == Some("error") {
        return Err(error_within(body));
    }
    if !whole.content.0 {
        return Err(Failed::malformed("the provider's answer has no content"));
    }
    Ok(whole.usage.map(Into::into))
}

#[derive(Deserialize)]
struct WireEvent<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    message: Option<Started>,
    usage: Option<WireUsage>,
}

#[derive(Deserialize)]
struct Started {
    usage: Option<WireUsage>,
}

/// Passes a stream through.
#[derive(Debug, Default)]
pub(crate) struct PassThrough {
    started: bool,
    finished: bool,
    ended: bool,
}

impl wire::Reader for PassThrough {
    fn event(&mut self, event: Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        let read: WireEvent<'_> = serde_json::from_slice(&event.data).map_err(|error| not_json(&error))?;
        let usage = read.usage.or(read.message.and_then(|it| it.usage)).map(Usage::from);
        let sense = match &*read.kind {
            "error" => return Err(error_within(&event.data)),
            "message_start" => {
                self.started = true;
                Sense::Opening
            }
            "ping" => Sense::Idle,
            _ if !self.started => {
                return Err(Failed::malformed("the provider's stream does not start with message_start"));
            }
            "content_block_delta" => Sense::Content,
            "message_delta" => {
                self.finished = true;
                Sense::Closing
            }
            "message_stop" if !self.finished => return Err(wire::cut()),
            "message_stop" => {
                self.ended = true;
                Sense::End
            }
            _ => Sense::Opening,
        };
        frames.push_back(Frame { bytes: event.raw, sense, usage });
        Ok(())
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        if self.ended {
            return Ok(());
        }
        if !self.finished {
            return Err(wire::cut());
        }
        frames.push_back(Frame::new(STOP, Sense::End));
        Ok(())
    }
}
