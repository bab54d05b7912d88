//! The few members of a body that something here acts on, read in one pass.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CallOptions, Operation, Unreadable, unreadable};

/// The members of a body that are acted on.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Asked {
    /// The model.
    pub model: String,
    /// As a stream?
    pub stream: bool,
    /// The most tokens that the answer may have.
    pub output_max: Option<u64>,
    /// How many answers.
    pub choices: u32,
    /// How random.
    pub temperature: Option<f64>,
    /// Are there tools to call?
    pub tools: bool,
    /// Must one of them be called?
    pub must_call: bool,
    /// Must the answer be JSON?
    pub json: bool,
    /// The user, as the client names them: `user`, or `metadata.user_id` of a message.
    pub user: Option<String>,
    /// Is the client told the usage at the end of a stream?
    pub usage_in_stream: bool,
    /// Where in the body what stands.
    pub(crate) at: Places,
}

/// Where members of the body stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) model: Range<usize>,
    pub(crate) messages: Range<usize>,
    pub(crate) stream_options: Option<Range<usize>>,
    /// `max_tokens` and `max_completion_tokens`, which may be `null`.
    pub(crate) output_max: [Option<Range<usize>>; 2],
    /// `metadata` without what is meant for us, if something is.
    pub(crate) metadata: Option<(Range<usize>, String)>,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    stream: Option<bool>,
    #[serde(borrow, default)]
    max_tokens: Raw<'a>,
    #[serde(borrow, default)]
    max_completion_tokens: Raw<'a>,
    n: Option<u32>,
    temperature: Option<f64>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

/// A member as it stands, also if it is `null`.
#[derive(Deserialize, Default)]
#[serde(transparent)]
struct Raw<'a>(#[serde(borrow, deserialize_with = "there")] Option<&'a RawValue>);

fn there<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Raw<'_> {
    fn said(&self) -> Result<Option<u64>, Unreadable> {
        self.0.map_or(Ok(None), |raw| serde_json::from_str(raw.get()).map_err(unreadable))
    }
    fn place(&self, body: &[u8]) -> Option<Range<usize>> {
        self.0.map(|raw| place(body, raw))
    }
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct UserId<'a> {
    #[serde(borrow)]
    user_id: Option<Cow<'a, str>>,
}

/// The user of a message.
fn user_id(metadata: &RawValue) -> Option<String> {
    memchr::memmem::find(metadata.get().as_bytes(), b"user_id")?;
    serde_json::from_str::<UserId<'_>>(metadata.get()).ok()?.user_id.map(Cow::into_owned)
}

/// Anything but leave to choose: `"auto"` and `"none"`, or objects of these types.
fn must_call(choice: &str) -> bool {
    !["\"auto\"", "\"none\""].iter().any(|free| choice.contains(free))
}

fn place(body: &[u8], of: &RawValue) -> Range<usize> {
    let start = (of.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + of.get().len()
}

impl Asked {
    /// Reads what is acted on, and options from `metadata` into `options`.
    pub(super) fn read(
        body: &Bytes,
        operation: Operation,
        options: &mut CallOptions,
    ) -> Result<Self, Unreadable> {
        if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Unreadable::Body("a JSON object is expected".into()));
        }
        let raw: Body<'_> = serde_json::from_slice(body).map_err(unreadable)?;
        let model = raw.model.ok_or(Unreadable::Missing("model"))?;
        let said = match operation {
            Operation::Chat | Operation::Messages => raw.messages.ok_or(Unreadable::Missing("messages"))?,
            Operation::Embeddings => raw.input.ok_or(Unreadable::Missing("input"))?,
        };
        if operation != Operation::Embeddings && !said.get().starts_with('[') {
            return Err(Unreadable::Body("`messages` is a list".into()));
        }
        let usage_in_stream = match raw.stream_options {
            Some(text) => serde_json::from_str::<StreamOptions>(text.get())
                .map_err(unreadable)?
                .include_usage
                .unwrap_or(false),
            None => false,
        };
        let metadata = match raw.metadata {
            Some(metadata) => options.take_members(metadata)?.map(|left| (place(body, metadata), left)),
            None => None,
        };
        Ok(Self {
            model: serde_json::from_str(model.get()).map_err(unreadable)?,
            stream: raw.stream.unwrap_or(false),
            // Which of two a provider reads, nobody knows.
            output_max: raw.max_completion_tokens.said()?.max(raw.max_tokens.said()?),
            choices: raw.n.unwrap_or(1),
            temperature: raw.temperature,
            tools: raw.tools.is_some_and(|it| it.get() != "[]"),
            must_call: raw.tool_choice.is_some_and(|it| must_call(it.get())),
            json: raw.response_format.is_some_and(|it| it.get().contains("json")),
            user: match operation {
                Operation::Messages => raw.metadata.and_then(user_id),
                Operation::Chat | Operation::Embeddings => raw.user.map(Cow::into_owned),
            },
            usage_in_stream,
            at: Places {
                model: place(body, model),
                messages: place(body, said),
                stream_options: raw.stream_options.map(|it| place(body, it)),
                output_max: [raw.max_tokens.place(body), raw.max_completion_tokens.place(body)],
                metadata,
            },
        })
    }
}
