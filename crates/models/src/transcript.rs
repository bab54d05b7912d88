//! An answer written down, so that it can be given again as it was.

use std::sync::Arc;

use bytes::Bytes;
use futures::stream;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use steadfast_core::Failure;

use crate::{
    Answer, Rejected,
    answer::{About, Body, Frame, Sense, Usage},
};

/// An answer, all of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    status: u16,
    /// It came as a stream.
    stream: bool,
    route: Arc<str>,
    provider: Arc<str>,
    model: Arc<str>,
    usage: Option<Usage>,
    text: String,
}

/// Masked: answers may be personal.
impl std::fmt::Debug for Transcript {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes of {}]", self.text.len(), self.provider)
    }
}

impl Transcript {
    /// With nothing in it yet.
    pub(crate) fn begin(status: StatusCode, about: &About, stream: bool) -> Self {
        Self {
            status: status.as_u16(),
            stream,
            route: about.route.clone(),
            provider: about.provider.clone(),
            model: about.model.clone(),
            usage: about.usage,
            text: String::new(),
        }
    }
    /// Of an answer that came at once; a stream is none.
    pub fn of(answer: &Answer) -> Result<Self, Rejected> {
        match &answer.body {
            Body::Whole(bytes) => {
                Self::begin(answer.status, &answer.about, false).with(std::slice::from_ref(bytes))
            }
            Body::Stream(_) => Err(unwritable("the answer is a stream and was not waited for")),
        }
    }
    /// With these pieces as what was said.
    pub(crate) fn with(mut self, pieces: &[Bytes]) -> Result<Self, Rejected> {
        let text = String::from_utf8(pieces.concat());
        self.text = text.map_err(|_| unwritable("the answer is not text"))?;
        Ok(self)
    }
    pub(crate) fn counted(mut self, usage: Option<Usage>) -> Self {
        self.usage = usage.or(self.usage);
        self
    }
    /// Is it an answer, and not a refusal?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }
    /// What was said, as it went over the wire.
    pub fn text(&self) -> &str {
        &self.text
    }
    /// The answer again.
    pub fn answer(self) -> Answer {
        let about = About {
            route: self.route,
            provider: self.provider,
            model: self.model,
            usage: self.usage,
            recorded: true,
            ..About::default()
        };
        let bytes = Bytes::from(self.text);
        let body = if self.stream {
            let all = Frame { bytes, sense: Sense::End, usage: self.usage };
            Body::Stream(Box::pin(stream::iter([all])))
        } else {
            Body::Whole(bytes)
        };
        Answer { status: StatusCode::from_u16(self.status).unwrap_or_default(), body, about }
    }
}

fn unwritable(message: &str) -> Rejected {
    Rejected::new(Failure::internal("answer.not_recordable", message), StatusCode::BAD_GATEWAY)
}
