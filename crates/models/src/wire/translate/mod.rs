//! Between OpenAI's chat and Anthropic's messages, for a provider that speaks the other one,
//! from OpenAI's responses by way of chat to either, and from either by way of messages to
//! Amazon's Converse.
//!
//! What both can say is carried over, in its order and with its schemas and arguments byte
//! for byte. What only changes quality or cost and has no counterpart (`seed`, penalties,
//! `top_k`, thinking) is left out. What the answer would be wrong without (several choices,
//! log probabilities, sound) is refused as unsupported, so that another provider is asked.

mod as_chat;
mod as_messages;
mod as_responses;
mod chat_answer;
mod chat_request;
#[cfg(feature = "bedrock")]
mod converse_as_messages;
#[cfg(feature = "bedrock")]
mod converse_request;
#[cfg_attr(not(feature = "bedrock"), expect(dead_code, reason = "some of it is for Converse alone"))]
mod messages_request;
mod responses_to_chat;
mod through;
mod to_chat;
#[cfg(feature = "bedrock")]
mod to_converse;
mod to_messages;

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

pub(crate) use as_chat::{StreamAsChat, whole_as_chat};
pub(crate) use as_messages::{StreamAsMessages, whole_as_messages};
pub(crate) use as_responses::{StreamAsResponses, whole_as_response};
#[cfg(feature = "bedrock")]
pub(crate) use converse_as_messages::{StreamConverse, converse_as_messages};
pub(crate) use responses_to_chat::responses_to_chat;
pub(crate) use through::Through;
pub(crate) use to_chat::to_chat;
#[cfg(feature = "bedrock")]
pub(crate) use to_converse::{Converse, to_converse};
pub(crate) use to_messages::to_messages;

use crate::{
    failure::{Class, Failed},
    wire::WORDS_MAX,
};

/// A request of the client's that does not read as its own API has it.
fn refused(error: &serde_json::Error) -> Failed {
    let words = steadfast_core::shown(&error.to_string(), WORDS_MAX);
    Failed::new(Class::Refused, format!("the request does not read: {words}"))
}

/// Content is a text or a list of parts.
enum Content<'a, P> {
    Text(Cow<'a, str>),
    Parts(Vec<P>),
}

impl<'a, P: Deserialize<'a>> Content<'a, P> {
    fn read(raw: &'a RawValue) -> Result<Self, serde_json::Error> {
        if raw.get().starts_with('"') {
            text(raw).map(Self::Text)
        } else {
            serde_json::from_str(raw.get()).map(Self::Parts)
        }
    }
}

/// A JSON string, borrowed where nothing in it is escaped.
fn text(raw: &RawValue) -> Result<Cow<'_, str>, serde_json::Error> {
    #[derive(Deserialize)]
    #[serde(transparent)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    serde_json::from_str::<Text<'_>>(raw.get()).map(|text| text.0)
}

/// `data:image/png;base64,AAAA` as `image/png` and `AAAA`.
fn data_url(url: &str) -> Option<(&str, &str)> {
    url.strip_prefix("data:")?.split_once(";base64,")
}

/// JSON of types of ours, which can always be written.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(all(test, feature = "bedrock"))]
mod converse_tests;
#[cfg(test)]
mod tests;
