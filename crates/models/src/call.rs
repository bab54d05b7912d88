//! What a client asks for.
//!
//! The body stays the bytes that came in. [`Asked`] is read from it in one pass: the few
//! members that something here acts on, and where they stand, so that they can be replaced
//! in place ([`crate::wire::edit`]). All else is neither read nor touched.

use std::{borrow::Cow, ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::value::RawValue;
use steadfast_core::{Coded, Fault, TenantId, config::Period};

/// Whose conventions a client follows: how errors look and how streams end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// OpenAI's chat completions.
    Chat,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's embeddings.
    Embeddings,
}

impl Operation {
    /// Whose API it is of.
    pub const fn api(self) -> Api {
        match self {
            Self::Chat | Self::Embeddings => Api::OpenAi,
            Self::Messages => Api::Anthropic,
        }
    }
    /// Its name, in metrics and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Whose things are touched.
    pub tenant: TenantId,
    /// Which user, if one is known.
    pub user: Option<Arc<str>>,
    /// Under which key, by its id.
    pub key: Option<Arc<str>>,
}

/// How urgent a call is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// When nothing else waits.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Somebody waits.
    High,
    /// Before everything else.
    Critical,
}

/// What the cache may do for a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CacheUse {
    /// Look, and keep.
    #[default]
    Use,
    /// Don't look, but keep what comes.
    Refresh,
    /// Neither.
    Bypass,
}

/// What a client wants beyond the API: headers `x-steadfast-NAME`, or members
/// `steadfast-NAME` of the request's `metadata`; a header goes first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// `priority`: `critical`, `high`, `normal` or `low`.
    pub priority: Priority,
    /// `cache`: `use`, `refresh` or `bypass`.
    pub cache: CacheUse,
    /// `ttl`: how long the answer may be kept, such as `1h`.
    pub ttl: Option<Duration>,
    /// `budget`: the name of the budget that pays.
    pub budget: Option<String>,
    /// `persona`: in whose voice degraded answers are given.
    pub persona: Option<String>,
    /// `deadline`: how long the client waits, such as `20s`.
    pub deadline: Option<Duration>,
    /// `continue`: whether a stream that breaks is continued by another provider.
    pub continue_stream: Option<bool>,
}

/// A request that does not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Not a JSON object, or a member of the wrong type.
    #[error("the body does not read: {0}")]
    Body(String),
    /// A member that must be there is not.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// An option of ours with a value it cannot have.
    #[error("{name}: {value:?} is not {expected}")]
    Option {
        /// The header or member.
        name: String,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
}

impl Unreadable {
    /// The member it is about.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Body(_) => None,
            Self::Missing(name) => Some(name),
            Self::Option { name, .. } => Some(name),
        }
    }
}

impl Coded for Unreadable {
    fn code(&self) -> &'static str {
        match self {
            Self::Body(_) => "request.invalid",
            Self::Missing(_) => "request.missing",
            Self::Option { .. } => "request.option",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

impl CallOptions {
    /// Takes one option; an unknown name is nobody's.
    fn set(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        let period = |text: &str| text.parse::<Period>().map(Period::get);
        match name {
            "priority" => {
                self.priority = match value {
                    "critical" => Priority::Critical,
                    "high" => Priority::High,
                    "normal" => Priority::Normal,
                    "low" => Priority::Low,
                    _ => return Err("critical, high, normal or low"),
                }
            }
            "cache" => {
                self.cache = match value {
                    "use" => CacheUse::Use,
                    "refresh" => CacheUse::Refresh,
                    "bypass" => CacheUse::Bypass,
                    _ => return Err("use, refresh or bypass"),
                }
            }
            "ttl" => self.ttl = Some(period(value).map_err(|_| "a period such as \"1h\"")?),
            "deadline" => self.deadline = Some(period(value).map_err(|_| "a period such as \"20s\"")?),
            "budget" => self.budget = Some(value.into()),
            "persona" => self.persona = Some(value.into()),
            "continue" => {
                self.continue_stream = Some(value.parse().map_err(|_| "true or false")?);
            }
            _ => {}
        }
        Ok(())
    }
    fn take(&mut self, prefix: &str, name: &str, value: &str) -> Result<(), Unreadable> {
        self.set(name, value).map_err(|expected| Unreadable::Option {
            name: format!("{prefix}{name}"),
            value: steadfast_core::shown(value, 40),
            expected,
        })
    }
}

const HEADER: &str = "x-steadfast-";
const MEMBER: &str = "steadfast-";

/// Headers that a provider of the same API gets as the client sent them.
const FORWARDED: [&str; 4] = ["anthropic-beta", "anthropic-version", "openai-beta", "traceparent"];

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
    /// Must the answer be JSON?
    pub json: bool,
    /// The user, as the client names them.
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
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u32>,
    temperature: Option<f64>,
    #[serde(borrow)]
    tools: Option<&'a RawValue>,
    #[serde(borrow)]
    response_format: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    stream_options: Option<&'a RawValue>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

fn place(body: &[u8], of: &RawValue) -> Range<usize> {
    let start = (of.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    start..start + of.get().len()
}

fn unreadable(error: serde_json::Error) -> Unreadable {
    // Serde's words may quote the body, but to the one who sent it.
    Unreadable::Body(error.to_string())
}

impl Asked {
    /// Reads what is acted on, and options from `metadata` into `options`.
    fn read(body: &Bytes, operation: Operation, options: &mut CallOptions) -> Result<Self, Unreadable> {
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
        let metadata = raw.metadata.map(|it| own_options(body, it, options)).transpose()?.flatten();
        Ok(Self {
            model: serde_json::from_str(model.get()).map_err(unreadable)?,
            stream: raw.stream.unwrap_or(false),
            output_max: raw.max_completion_tokens.or(raw.max_tokens),
            choices: raw.n.unwrap_or(1),
            temperature: raw.temperature,
            tools: raw.tools.is_some_and(|it| it.get() != "[]"),
            json: raw.response_format.is_some_and(|it| it.get().contains("json")),
            user: raw.user.map(Cow::into_owned),
            usage_in_stream,
            at: Places {
                model: place(body, model),
                messages: place(body, said),
                stream_options: raw.stream_options.map(|it| place(body, it)),
                metadata,
            },
        })
    }
}

/// Options of ours among `metadata`, and what is left of it without them.
fn own_options(
    body: &[u8],
    metadata: &RawValue,
    options: &mut CallOptions,
) -> Result<Option<(Range<usize>, String)>, Unreadable> {
    if !metadata.get().contains(MEMBER) {
        return Ok(None);
    }
    let members: Members<'_> = serde_json::from_str(metadata.get()).map_err(unreadable)?;
    let mut left = String::from("{");
    for (name, value) in &members.0 {
        if let Some(option) = name.strip_prefix(MEMBER) {
            let value: Cow<'_, str> = match serde_json::from_str::<String>(value.get()) {
                Ok(text) => text.into(),
                Err(_) => value.get().into(),
            };
            options.take("metadata.steadfast-", option, &value)?;
            continue;
        }
        if left.len() > 1 {
            left.push(',');
        }
        left.push_str(&serde_json::Value::from(name.as_ref()).to_string());
        left.push(':');
        left.push_str(value.get());
    }
    left.push('}');
    Ok(Some((place(body, metadata), left)))
}

/// An object's members in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> serde::de::Visitor<'de> for Reader {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// One call, from its first byte to its last.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its id: the client's own, or ours. It is in the answer, in records, and in errors as
    /// what support asks for.
    pub id: Arc<str>,
    /// What is asked for.
    pub operation: Operation,
    /// As it came in.
    pub body: Bytes,
    /// What of it is acted on.
    pub asked: Asked,
    /// Who asks.
    pub caller: Caller,
    /// What is wanted beyond the API.
    pub options: CallOptions,
    /// What providers of the same API get to see of the client's headers.
    pub(crate) forwarded: HeaderMap,
}

impl Call {
    /// Reads a call.
    pub fn read(
        id: Arc<str>,
        operation: Operation,
        headers: &HeaderMap,
        body: Bytes,
        caller: Caller,
    ) -> Result<Self, Unreadable> {
        let mut options = CallOptions::default();
        let asked = Asked::read(&body, operation, &mut options)?;
        for (name, value) in headers {
            if let Some(option) = name.as_str().strip_prefix(HEADER)
                && let Ok(value) = value.to_str()
            {
                options.take(HEADER, option, value)?;
            }
        }
        let mut forwarded = HeaderMap::new();
        for name in FORWARDED {
            for value in headers.get_all(name) {
                forwarded.append(name, value.clone());
            }
        }
        Ok(Self { id, operation, body, asked, caller, options, forwarded })
    }
    /// May another provider go on where this one's stream broke off? Only where the answer
    /// is one plain text.
    pub(crate) fn continuable(&self) -> bool {
        let asked = &self.asked;
        self.operation != Operation::Embeddings && asked.choices == 1 && !asked.json
    }
    /// A rough count of the tokens that go in: four bytes of JSON each.
    pub fn input_estimate(&self) -> u64 {
        u64::try_from(self.body.len() / 4).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &str)], body: &'static str) -> Result<Call, Unreadable> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().expect("a value"));
        }
        Call::read("1".into(), Operation::Chat, &map, Bytes::from_static(body.as_bytes()), Caller::default())
    }

    #[test]
    fn only_what_is_acted_on_is_read_and_its_place_is_known() {
        let body = r#" {"zebra":[1,2],"model" : "gpt-4o","messages":[{"role":"user"}],"n":2,"max_tokens":7,"stream":true,
            "stream_options":{"include_usage":true,"x":1},"tools":[{}],"future_thing":{"model":"no"}}"#;
        let call = read(&[], body).expect("reads");
        let asked = &call.asked;
        assert_eq!((asked.model.as_str(), asked.stream, asked.choices), ("gpt-4o", true, 2));
        assert_eq!((asked.output_max, asked.tools, asked.usage_in_stream), (Some(7), true, true));
        assert_eq!(&body[asked.at.model.clone()], "\"gpt-4o\"");
        assert_eq!(&body[asked.at.messages.clone()], r#"[{"role":"user"}]"#);
    }

    #[test]
    fn options_come_as_headers_or_metadata_and_wrong_ones_are_told() {
        let body = r#"{"model":"m","messages":[],"metadata":{"team":"a","steadfast-ttl":"1h","steadfast-priority":"low","z":"é"}}"#;
        let call = read(&[("x-steadfast-priority", "high"), ("x-steadfast-deadline", "250ms")], body)
            .expect("reads");
        assert_eq!(call.options.priority, Priority::High);
        assert_eq!(call.options.ttl, Some(Duration::from_secs(3_600)));
        assert_eq!(call.options.deadline, Some(Duration::from_millis(250)));
        let (_, left) = call.asked.at.metadata.expect("ours are taken out");
        assert_eq!(left, r#"{"team":"a","z":"é"}"#);

        let wrong = read(&[("x-steadfast-ttl", "60")], body).expect_err("no unit");
        assert_eq!(wrong.to_string(), "x-steadfast-ttl: \"60\" is not a period such as \"1h\"");
        assert_eq!(wrong.param(), Some("x-steadfast-ttl"));
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (body, said) in [
            ("", "a JSON object is expected"),
            ("[1]", "a JSON object is expected"),
            (r#"{"messages":[]}"#, "`model` is missing"),
            (r#"{"model":"m"}"#, "`messages` is missing"),
            (r#"{"model":"m","messages":{}}"#, "`messages` is a list"),
            (r#"{"model":1,"messages":[]}"#, "invalid type"),
            (r#"{"model":"m","model":"n","messages":[]}"#, "duplicate field"),
            (r#"{"model":"m","messages":[]"#, "EOF"),
        ] {
            let error = read(&[], body).expect_err(body).to_string();
            assert!(error.contains(said), "{body}: {error}");
        }
    }
}
