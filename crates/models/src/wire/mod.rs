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
pub(crate) mod thoughts;
pub(crate) mod transcription;
pub(crate) mod translate;

use std::{borrow::Cow, collections::VecDeque};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::{
    answer::{Frame, Usage},
    failure::{Class, Failed},
};

/// The most letters of what is told about a body.
pub(crate) const WORDS_MAX: usize = 300;

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
    Failed::new(Class::Cut, "the provider's stream broke off")
}

/// An error body under a status that says all is well.
pub(crate) fn error_within(body: &[u8]) -> Failed {
    let said = words(body).map_or("no reason given".into(), |said| steadfast_core::shown(&said, WORDS_MAX));
    Failed::new(Class::Unwell, format!("the provider answered with an error: {said}"))
}

pub(crate) fn not_json(error: &serde_json::Error) -> Failed {
    // Serde's words may quote the answer; its place is enough.
    Failed::malformed(format!(
        "the provider's answer does not read at line {}, column {}",
        error.line(),
        error.column()
    ))
}

/// A member that is there and not null.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct There(pub(crate) bool);

impl<'de> Deserialize<'de> for There {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Option::<IgnoredAny>::deserialize(deserializer).map(|it| Self(it.is_some()))
    }
}

#[derive(Deserialize)]
struct Said<'a> {
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
}

#[derive(Deserialize, Default)]
struct SaidError<'a> {
    #[serde(borrow, default)]
    message: Option<Cow<'a, str>>,
}

/// What a provider's error body says in words, whoever's shape it has.
pub(crate) fn words(body: &[u8]) -> Option<String> {
    let said: Said<'_> = serde_json::from_slice(body).ok()?;
    let Some(error) = said.error else {
        return said.message.map(Into::into);
    };
    if let Ok(text) = serde_json::from_str::<String>(error.get()) {
        return Some(text);
    }
    serde_json::from_str::<SaidError<'_>>(error.get()).ok()?.message.map(Into::into)
}
