//! How calls and answers look on the wire, in each API.
//!
//! Readers take what is acted on and leave the bytes as they are; `translate` is for a
//! provider that speaks another API than the client.

pub(crate) mod chat;
pub(crate) mod edit;
pub(crate) mod embeddings;
pub(crate) mod form;
pub(crate) mod messages;
pub(crate) mod responses;
pub mod sse;
pub(crate) mod strings;
pub(crate) mod transcription;
pub(crate) mod translate;

use std::collections::VecDeque;

use crate::{
    answer::{Frame, Usage},
    failure::Failed,
};

/// Turns the events of a provider's stream into frames of the API that was called.
pub(crate) trait Reader: Send {
    /// Takes one event.
    fn event(&mut self, event: sse::Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed>;
    /// The stream ended, and not by an error of the connection. Was it whole?
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed>;
    /// What is known of the usage beside what its events say.
    fn told(&mut self, _: Usage) {}
}

impl Reader for Box<dyn Reader> {
    fn event(&mut self, event: sse::Event, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        (**self).event(event, frames)
    }
    fn end(&mut self, frames: &mut VecDeque<Frame>) -> Result<(), Failed> {
        (**self).end(frames)
    }
    fn told(&mut self, usage: Usage) {
        (**self).told(usage);
    }
}

/// A stream that ended before its answer did.
pub(crate) fn cut() -> Failed {
    Failed::new(crate::failure::Class::Cut, "the provider's stream broke off")
}
