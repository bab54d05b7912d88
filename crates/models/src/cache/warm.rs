//! Answers that are handed in before anybody asked.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use steadfast_resilience::Deadline;

use super::{Asker, Cache, Entry, Place, key::owners, verdict};
use crate::{
    Call, Caller, Operation,
    answer::{About, Frame, Usage},
    config::ShareWith,
    failure::Failed,
    route::Route,
    wire::{self, Reader, chat, messages, sse},
};
/// How long an embedding may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// A line of a file of answers.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct WarmLine {
    /// What is asked for.
    #[serde(default = "chat")]
    pub operation: Operation,
    /// The request's body, as a client would send it.
    pub request: Box<RawValue>,
    /// The answer's body. For a request that wants a stream, its text: all events as they
    /// go over the wire.
    pub answer: Box<RawValue>,
    /// Whose it is, where answers are not shared within the tenant.
    #[serde(default)]
    pub user: Option<Arc<str>>,
    /// Headers that the request would have: `x-steadfast-tags`, `x-steadfast-ttl`, ….
    #[serde(default)]
    pub headers: std::collections::BTreeMap<String, String>,
}

fn chat() -> Operation {
    Operation::Chat
}

/// A line that is not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It does not read.
    #[error("{0}")]
    Line(String),
    /// The request would not be answered.
    #[error("the request: {0}")]
    Request(String),
    /// The answer is none of this API, or not whole.
    #[error("the answer: {0}")]
    Answer(String),
    /// Such a call is never answered from what is kept.
    #[error("answers to such a request are not kept: it says so, or asks for chance, or is too large")]
    NotServed,
    /// It is nobody's, and nobody would get it.
    #[error("answers are each user's own: name the `user`, or share them (models.cache, `share`)")]
    Nobodys,
    /// The answer is cut, refused, calls tools, is too large or past its time.
    #[error("such an answer is not kept: cut, refused, with tool calls, too large or past its time")]
    NotKept,
}

impl WarmLine {
    /// Reads a line.
    pub fn read(line: &str) -> Result<Self, Unfit> {
        serde_json::from_str(line).map_err(|error| Unfit::Line(error.to_string()))
    }
    /// The call that it answers.
    pub(crate) fn call(&self, id: Arc<str>, caller: &Caller) -> Result<Call, Unfit> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let name: HeaderName = name.parse().map_err(|_| Unfit::Line(format!("{name:?} is no header")))?;
            let value = HeaderValue::from_str(value)
                .map_err(|_| Unfit::Line(format!("the value of header {name} is none")))?;
            headers.append(name, value);
        }
        let caller = Caller { tenant: caller.tenant.clone(), user: self.user.clone(), key: None };
        let body = self.request.get().to_owned().into();
        Call::read(id, self.operation, &headers, body, caller)
            .map_err(|error| Unfit::Request(error.to_string()))
    }
    /// Its answer, read and checked as if a provider had sent it.
    fn answer(&self, call: &Call) -> Result<Read, Failed> {
        let text = self.answer.get();
        if !call.asked.stream {
            let usage = match call.operation {
                Operation::Chat => chat::read_whole(text.as_bytes())?,
                Operation::Messages => messages::read_whole(text.as_bytes())?,
                Operation::Embeddings => wire::embeddings::read_whole(text.as_bytes())?,
                Operation::Responses => wire::responses::read_whole(text.as_bytes())?,
                Operation::Transcription => wire::transcription::read_whole(text.as_bytes())?,
            };
            return Ok(Read::Whole(usage));
        }
        let text: String = serde_json::from_str(text)
            .map_err(|_| Failed::malformed("the request wants a stream: a text of its events is expected"))?;
        let mut reader: Box<dyn Reader> = match call.operation {
            Operation::Messages => Box::new(messages::PassThrough::default()),
            Operation::Responses => Box::new(wire::responses::PassThrough::default()),
            Operation::Transcription => Box::new(wire::transcription::PassThrough::default()),
            Operation::Chat | Operation::Embeddings => {
                Box::new(chat::PassThrough::new(false, call.asked.choices))
            }
        };
        let mut parser = sse::Parser::default();
        parser.push(text.as_bytes());
        let mut frames = VecDeque::new();
        while let Some(event) = parser.next_event().map_err(|error| Failed::malformed(error.to_string()))? {
            reader.event(event, &mut frames)?;
        }
        reader.end(&mut frames)?;
        Ok(Read::Stream(frames))
    }
}

enum Read {
    Whole(Option<Usage>),
    Stream(VecDeque<Frame>),
}

impl Cache {
    /// Keeps the answer of a line under the call that it answers.
    pub(crate) async fn warm(&self, line: &WarmLine, call: &Arc<Call>, route: &Route) -> Result<(), Unfit> {
        let answer = line.answer(call).map_err(|failed| Unfit::Answer(failed.message))?;
        let deadline = Deadline::after(&self.world, PATIENCE);
        let place = self.place(call, route.mark()).ok_or(Unfit::NotServed)?;
        if self.config.of(call.operation).share == ShareWith::User && owners(call).iter().all(Option::is_none)
        {
            return Err(Unfit::Nobodys);
        }
        let near = self.near(Asker { call, bill: None }, route.mark(), &deadline).await;
        let place = Place { near, ..place };
        let about = About { route: route.name().clone(), provider: "warmed".into(), ..About::default() };
        let kept = match answer {
            Read::Whole(usage) => {
                let bytes = Bytes::copy_from_slice(line.answer.get().as_bytes());
                verdict::whole(call.operation, &bytes)
                    && place.put(|kept| Entry::whole(kept, bytes), call, &about, usage)
            }
            Read::Stream(frames) => {
                let usage = frames.iter().filter_map(|frame| frame.usage).reduce(Usage::max);
                verdict::stream(call.operation, call.asked.choices, frames.iter())
                    && place.put(|kept| Entry::stream(kept, frames.iter()), call, &about, usage)
            }
        };
        if kept { Ok(()) } else { Err(Unfit::NotKept) }
    }
}
