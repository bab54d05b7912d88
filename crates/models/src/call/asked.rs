//! The few members of a body that something here acts on, read in one pass.

use std::{borrow::Cow, ops::Range};

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CallOptions, Operation, Unreadable, unreadable};
use crate::wire::{There, form, responses};

/// More tokens nothing has.
pub(crate) const TOKENS_MAX: u64 = u32::MAX as u64;

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
    /// Is it to be answered in the background, nobody waiting?
    pub background: bool,
    /// Does the provider know more of the conversation than stands here?
    pub elsewhere: bool,
    /// Must the answer be JSON?
    pub json: bool,
    /// What is said about thinking before the answer.
    pub thinking: Thinking,
    /// The user, as the client names them: `user`, or `metadata.user_id` of a message.
    pub user: Option<String>,
    /// Is the client told the usage at the end of a stream?
    pub usage_in_stream: bool,
    /// The member that asks for a tariff which may be dearer than the usual one.
    pub dearer: Option<&'static str>,
    /// What the answer is, where that is not JSON.
    pub(crate) media_type: Option<&'static str>,
    /// Where in the body what stands.
    pub(crate) at: Places,
}

/// What a request says about thinking before the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Thinking {
    /// Nothing.
    #[default]
    Unsaid,
    /// It is asked for.
    Wanted,
    /// There is to be none: a chat's `reasoning_effort: "none"`. Other words for it are lost when
    /// a request is translated, and say nothing here.
    Unwanted,
}

/// Where members of the body stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) model: Range<usize>,
    pub(crate) messages: Range<usize>,
    /// What the model is told beside them.
    pub(crate) system: Option<Range<usize>>,
    pub(crate) stream_options: Option<Range<usize>>,
    pub(crate) background: Option<Range<usize>>,
    /// `max_tokens`, `max_completion_tokens` and `max_output_tokens`, which may be `null`.
    pub(crate) output_max: [Option<Range<usize>>; 3],
    /// `metadata` without what is meant for us, if something is.
    pub(crate) metadata: Option<(Range<usize>, String)>,
    /// What the client says of its own, under any names.
    own: Option<Range<usize>>,
    /// What else may say something of somebody.
    beside: [Option<Range<usize>>; 6],
    /// What the client takes the answer to be.
    prediction: Option<Range<usize>>,
}

impl Places {
    /// All that is said to the model.
    pub(crate) fn said(&self) -> impl Iterator<Item = Range<usize>> {
        [Some(self.messages.clone()), self.system.clone()].into_iter().flatten()
    }
    /// All that may say something of somebody, and whether names of members say nothing there.
    /// What stays the same as a conversation goes on comes first.
    pub(crate) fn texts(&self) -> impl Iterator<Item = (Range<usize>, bool)> {
        let named = |place: &Range<usize>| (place.clone(), false);
        let own = self.own.clone().map(|place| (place, true));
        let before = self.system.iter().chain(self.beside.iter().flatten()).map(named).chain(own);
        before.chain([named(&self.messages)]).chain(self.prediction.iter().map(named))
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    messages: Option<&'a RawValue>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow)]
    background: Option<&'a RawValue>,
    #[serde(borrow, default)]
    max_output_tokens: Raw<'a>,
    #[serde(default)]
    previous_response_id: There,
    #[serde(default)]
    conversation: There,
    #[serde(borrow)]
    prompt: Option<&'a RawValue>,
    #[serde(borrow)]
    text: Option<&'a RawValue>,
    stream: Option<bool>,
    #[serde(borrow, default)]
    max_tokens: Raw<'a>,
    #[serde(borrow, default)]
    max_completion_tokens: Raw<'a>,
    #[serde(borrow)]
    service_tier: Option<&'a RawValue>,
    #[serde(borrow)]
    speed: Option<&'a RawValue>,
    #[serde(borrow)]
    inference_geo: Option<&'a RawValue>,
    #[serde(borrow)]
    thinking: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(borrow)]
    reasoning_effort: Option<&'a RawValue>,
    n: Option<u32>,
    temperature: Option<f64>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    tool_choice: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow)]
    output_config: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    safety_identifier: Option<&'a RawValue>,
    #[serde(borrow)]
    prompt_cache_key: Option<&'a RawValue>,
    #[serde(borrow)]
    prediction: Option<&'a RawValue>,
    #[serde(borrow)]
    stop: Option<&'a RawValue>,
    #[serde(borrow)]
    stop_sequences: Option<&'a RawValue>,
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

/// The member with a tariff that is not known to cost no more than the usual one.
fn dearer(raw: &Body<'_>) -> Option<&'static str> {
    let usual = |tier: &str| {
        ["auto", "default", "flex", "batch", "standard", "standard_only"].contains(&tier.trim_matches('"'))
    };
    if raw.service_tier.is_some_and(|tier| !usual(tier.get())) {
        return Some("service_tier");
    }
    if raw.speed.is_some_and(|speed| speed.get() != "\"standard\"") {
        return Some("speed");
    }
    raw.inference_geo.is_some_and(|geo| geo.get() != "\"global\"").then_some("inference_geo")
}

/// What is said of thinking: in Anthropic's words, in those of responses, and in those of chats.
fn thinking(raw: &Body<'_>, operation: Operation) -> Thinking {
    #[derive(Deserialize)]
    struct Said<'a> {
        #[serde(rename = "type", alias = "effort", borrow)]
        how: Option<Cow<'a, str>>,
    }
    let wanted = |it: &RawValue| {
        let said = serde_json::from_str::<Said<'_>>(it.get());
        said.map_or(true, |it| !matches!(it.how.as_deref(), Some("disabled" | "none")))
    };
    let effort = raw.reasoning_effort.map(RawValue::get);
    let none = "\"none\"";
    if raw.thinking.is_some_and(wanted)
        || raw.reasoning.is_some_and(wanted)
        || effort.is_some_and(|it| it != none)
    {
        Thinking::Wanted
    } else if operation == Operation::Chat && effort == Some(none) {
        Thinking::Unwanted
    } else {
        Thinking::Unsaid
    }
}

/// Which of `max_tokens`, `max_completion_tokens` and `max_output_tokens` say in this operation how
/// long an answer may be.
const fn bounding(operation: Operation) -> [bool; 3] {
    match operation {
        Operation::Chat => [true, true, false],
        Operation::Messages => [true, false, false],
        Operation::Responses => [false, false, true],
        Operation::Embeddings | Operation::Transcription => [false; 3],
    }
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
        // Read from bytes, what nobody acts on would not be looked at.
        let text = std::str::from_utf8(body).map_err(|error| {
            Unreadable::Body(format!("it is not UTF-8 from byte {} on", error.valid_up_to()))
        })?;
        let raw: Body<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let model = raw.model.ok_or(Unreadable::Missing("model"))?;
        let said = match operation {
            Operation::Chat | Operation::Messages => raw.messages.ok_or(Unreadable::Missing("messages"))?,
            Operation::Responses | Operation::Embeddings | Operation::Transcription => {
                raw.input.ok_or(Unreadable::Missing("input"))?
            }
        };
        if matches!(operation, Operation::Chat | Operation::Messages) && !said.get().starts_with('[') {
            return Err(Unreadable::Body("`messages` is a list".into()));
        }
        let usage_in_stream = match raw.stream_options {
            Some(text) => serde_json::from_str::<StreamOptions>(text.get())
                .map_err(unreadable)?
                .include_usage
                .unwrap_or(false),
            None => false,
        };
        let bounds = [&raw.max_tokens, &raw.max_completion_tokens, &raw.max_output_tokens];
        let metadata = match raw.metadata {
            Some(metadata) => options.take_members(metadata)?.map(|left| (place(body, metadata), left)),
            None => None,
        };
        Ok(Self {
            model: serde_json::from_str(model.get()).map_err(unreadable)?,
            stream: raw.stream.unwrap_or(false),
            background: match raw.background {
                Some(it) => serde_json::from_str(it.get()).map_err(unreadable)?,
                None => false,
            },
            // Which of several a provider reads, nobody knows. Members of other operations nobody
            // reads.
            output_max: bounds
                .iter()
                .zip(bounding(operation))
                .filter(|(_, reads)| *reads)
                .try_fold(None, |most: Option<u64>, (raw, _)| Ok(most.max(raw.said()?)))?
                .map(|most| most.min(TOKENS_MAX)),
            elsewhere: raw.previous_response_id.0
                || raw.conversation.0
                || raw.prompt.is_some()
                || (operation == Operation::Responses && responses::names_items(said)),
            choices: raw.n.unwrap_or(1),
            temperature: raw.temperature,
            tools: raw.tools.is_some_and(|it| it.get() != "[]"),
            must_call: raw.tool_choice.is_some_and(|it| must_call(it.get())),
            json: [raw.response_format, raw.output_config, raw.text]
                .into_iter()
                .flatten()
                .any(|it| it.get().contains("\"json")),
            thinking: thinking(&raw, operation),
            user: match operation {
                Operation::Messages => raw.metadata.and_then(user_id),
                _ => match raw.user {
                    Some(user) => serde_json::from_str(user.get()).map_err(unreadable)?,
                    None => None,
                },
            },
            usage_in_stream,
            dearer: dearer(&raw),
            media_type: None,
            at: Places {
                model: place(body, model),
                messages: place(body, said),
                system: raw.system.or(raw.instructions).map(|it| place(body, it)),
                stream_options: raw.stream_options.map(|it| place(body, it)),
                background: raw.background.map(|it| place(body, it)),
                output_max: bounds.map(|raw| raw.place(body)),
                metadata,
                own: raw.metadata.map(|it| place(body, it)),
                beside: [
                    raw.user,
                    raw.safety_identifier,
                    raw.prompt_cache_key,
                    raw.stop,
                    raw.stop_sequences,
                    raw.prompt,
                ]
                .map(|raw| raw.map(|it| place(body, it))),
                prediction: raw.prediction.map(|it| place(body, it)),
            },
        })
    }
    /// Reads what is acted on from a form, whose type says how it is made up.
    pub(super) fn read_form(body: &Bytes, form: &HeaderValue) -> Result<Self, Unreadable> {
        let boundary = form.to_str().ok().and_then(form::boundary);
        let parts = boundary.and_then(|boundary| form::parts(body, boundary));
        let parts =
            parts.ok_or_else(|| Unreadable::Body("a whole multipart/form-data is expected".into()))?;
        let text = |name: &str| {
            let part = parts.iter().find(|part| part.name == name);
            let read = |at: Range<usize>| std::str::from_utf8(&body[at.clone()]).map(|text| (text, at));
            let not_text = |_| Unreadable::Body(format!("`{name}` is not UTF-8"));
            part.map(|part| read(part.at.clone())).transpose().map_err(not_text)
        };
        if !parts.iter().any(|part| part.name == "file") {
            return Err(Unreadable::Missing("file"));
        }
        let (model, at) = text("model")?.ok_or(Unreadable::Missing("model"))?;
        Ok(Self {
            model: model.to_owned(),
            stream: text("stream")?.is_some_and(|(value, _)| value.eq_ignore_ascii_case("true")),
            choices: 1,
            media_type: match text("response_format")?.map(|it| it.0) {
                Some("text" | "srt") => Some("text/plain; charset=utf-8"),
                Some("vtt") => Some("text/vtt; charset=utf-8"),
                _ => None,
            },
            at: Places {
                model: at,
                messages: text("prompt")?.map(|(_, at)| at).unwrap_or_default(),
                ..Places::default()
            },
            ..Self::default()
        })
    }
}
