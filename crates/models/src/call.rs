//! What a client asks for.
//!
//! The body stays the bytes that came in. [`Asked`] is read from it in one pass: the few
//! members that something here acts on, and where they stand, so that they can be replaced
//! in place ([`crate::wire::edit`]). All else is neither read nor touched.

mod asked;
mod options;

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};
use steadfast_core::{Coded, Fault, TenantId, canonical::Hash};

pub(crate) use asked::TOKENS_MAX;
pub use asked::{Asked, Thinking};
pub use options::{CacheUse, CallOptions, Priority};

use crate::wire::{WORDS_MAX, edit::Edits, form};

/// Whose conventions a client follows: how errors look and how streams end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operation {
    /// OpenAI's chat completions.
    Chat,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's responses.
    Responses,
    /// OpenAI's embeddings.
    Embeddings,
    /// OpenAI's transcriptions of recordings.
    Transcription,
}

impl Operation {
    /// Whose API it is of.
    pub const fn api(self) -> Api {
        match self {
            Self::Chat | Self::Responses | Self::Embeddings | Self::Transcription => Api::OpenAi,
            Self::Messages => Api::Anthropic,
        }
    }
    /// Its name, in metrics and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Transcription => "transcription",
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

impl Caller {
    /// A name that is the tenant's own, told apart from other tenants': no tenant's has a slash.
    pub(crate) fn within(&self, name: Option<&str>) -> Arc<str> {
        [self.tenant.as_str(), "/", name.unwrap_or_default()].concat().into()
    }
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
    /// Written like an option of ours, and none.
    #[error("{name}: there is no such option{meant}; there are {known}")]
    NoOption {
        /// The header or member.
        name: String,
        /// What was probably meant.
        meant: String,
        /// What there is.
        known: String,
    },
}

impl Unreadable {
    /// The member it is about.
    pub fn param(&self) -> Option<&str> {
        match self {
            Self::Body(_) => None,
            Self::Missing(name) => Some(name),
            Self::Option { name, .. } | Self::NoOption { name, .. } => Some(name),
        }
    }
}

impl Coded for Unreadable {
    fn code(&self) -> &'static str {
        match self {
            Self::Body(_) => "request.invalid",
            Self::Missing(_) => "request.missing",
            Self::Option { .. } | Self::NoOption { .. } => "request.option",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// Headers that a provider of the same API gets as the client sent them.
const FORWARDED: [&str; 4] = ["anthropic-beta", "anthropic-version", "openai-beta", "traceparent"];

/// What a provider is not asked for, and a node does by other means.
fn in_background() -> Unreadable {
    Unreadable::Option {
        name: "background".into(),
        value: "true".into(),
        expected: "false: only responses are worked on in the background, and only by a node",
    }
}

fn unreadable(error: serde_json::Error) -> Unreadable {
    // Serde's words may quote the body: to the one who sent it, but not all of it.
    Unreadable::Body(steadfast_core::shown(&error.to_string(), WORDS_MAX))
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
    /// Has it placeholders where personal data was?
    pub(crate) redacted: bool,
    /// What providers of the same API get to see of the client's headers.
    pub(crate) forwarded: HeaderMap,
    /// How long an answer may be, where a limit wants every provider to be told.
    pub(crate) output_forced: Option<u64>,
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
        let mut forwarded = HeaderMap::new();
        let asked = if operation == Operation::Transcription {
            // How the parts of a form are separated stands in its type.
            let form = headers.get(CONTENT_TYPE).ok_or(Unreadable::Missing("content-type"))?;
            forwarded.insert(CONTENT_TYPE, form.clone());
            Asked::read_form(&body, form)?
        } else {
            Asked::read(&body, operation, &mut options)?
        };
        options.take_headers(headers)?;
        for name in FORWARDED {
            for value in headers.get_all(name) {
                forwarded.append(name, value.clone());
            }
        }
        Ok(Self {
            id,
            operation,
            body,
            asked,
            caller,
            options,
            redacted: false,
            forwarded,
            output_forced: None,
        })
    }
    /// Those headers that are part of a call. With its body they are all of it.
    pub fn headers_of(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
        headers.iter().filter(|(name, _)| {
            let name = name.as_str();
            name.starts_with("x-steadfast-") || name == CACHE_CONTROL || FORWARDED.contains(&name)
        })
    }
    /// The body of the same call, with somebody who waits for the answer.
    pub fn body_in_foreground(&self) -> Bytes {
        let mut edits = Edits::default();
        if let Some(place) = &self.asked.at.background {
            edits.replace(place.clone(), "false");
        }
        edits.apply(&self.body)
    }
    /// What is asked for. Other spellings of the same JSON have the same hash; so has the same
    /// form with other marks between its parts.
    pub fn hash(&self) -> Result<Hash, Unreadable> {
        if self.operation != Operation::Transcription {
            let body: serde_json::Value = serde_json::from_slice(&self.body).map_err(unreadable)?;
            return Hash::of(&(self.operation.name(), body)).map_err(unreadable);
        }
        let form = self.forwarded.get(CONTENT_TYPE).and_then(|it| it.to_str().ok());
        let parts = form.and_then(form::boundary).and_then(|boundary| form::parts(&self.body, boundary));
        let parts = parts.ok_or_else(|| Unreadable::Body("a whole form is expected".into()))?;
        let mut hashed = vec![self.operation.name().as_bytes()];
        hashed.extend(parts.iter().flat_map(|part| [part.name.as_bytes(), &self.body[part.at.clone()]]));
        Ok(Hash::of_parts(&hashed))
    }
    pub(crate) fn check_foreground(&self) -> Result<(), Unreadable> {
        if self.asked.background { Err(in_background()) } else { Ok(()) }
    }
    /// Puts a body in the place of the client's that says the same in other words.
    pub(crate) fn replace_body(&mut self, body: Bytes) -> Result<(), Unreadable> {
        // Who asks, and options, were taken from the first one.
        let user = self.asked.user.take();
        let asked = match (self.operation, self.forwarded.get(CONTENT_TYPE)) {
            (Operation::Transcription, Some(form)) => Asked::read_form(&body, form)?,
            _ => Asked::read(&body, self.operation, &mut CallOptions::default())?,
        };
        self.asked = Asked { user, ..asked };
        self.body = body;
        self.redacted = true;
        Ok(())
    }
    /// May another provider go on where this one's stream broke off? Only where the answer
    /// is one plain text.
    pub(crate) fn continuable(&self) -> bool {
        let asked = &self.asked;
        matches!(self.operation, Operation::Chat | Operation::Messages) && asked.choices == 1 && !asked.json
    }
    /// A rough count of the tokens that go in: four bytes of JSON each, or 64 of a recording,
    /// which has about ten a second.
    pub fn input_estimate(&self) -> u64 {
        let bytes = if self.operation == Operation::Transcription { 64 } else { 4 };
        u64::try_from(self.body.len() / bytes).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let foreign = read(&[("x-steadfast-persona", "jos\u{e9}")], body).expect_err("no ASCII");
        assert_eq!(foreign.param(), Some("x-steadfast-persona"));
    }

    #[test]
    fn what_is_written_like_an_option_and_is_none_is_refused_with_those_there_are() {
        let body = r#"{"model":"m","messages":[]}"#;
        let typo = read(&[("x-steadfast-prioritty", "high")], body).expect_err("a typo");
        assert_eq!((typo.code(), typo.param()), ("request.option", Some("x-steadfast-prioritty")));
        let said = typo.to_string();
        assert!(said.contains("did you mean priority?") && said.contains("deadline, cache, ttl"), "{said}");
        let member = r#"{"model":"m","messages":[],"metadata":{"steadfast-tll":"1h"}}"#;
        let said = read(&[], member).expect_err("a typo").to_string();
        assert!(said.starts_with("metadata.steadfast-tll: ") && said.contains("mean ttl?"), "{said}");
        // What answers say is no option, but for what is one too.
        for name in ["route", "provider", "attempts", "cost-usd", "queue-ms", "degraded"] {
            let name: &'static str = format!("x-steadfast-{name}").leak();
            assert_eq!(read(&[(name, "x")], body).expect_err(name).param(), Some(name));
        }
        let said = read(&[("x-steadfast-cache", "hit")], body).expect_err("an answer's").to_string();
        assert!(said.contains("use, refresh or bypass"), "{said}");
        // Nobody else's names are looked at.
        read(&[("x-stead", "1"), ("steadfast-ttl", "1")], body).expect("reads");
    }

    #[test]
    fn what_is_no_text_is_refused_also_where_nobody_looks_at_it() {
        let body = b"{\"model\":\"m\",\"messages\":[],\"unknown\":\"\xc3\"}";
        let read = |operation, headers: &HeaderMap, body: Bytes| {
            Call::read("id".into(), operation, headers, body, Caller::default())
                .expect_err("not UTF-8")
                .to_string()
        };
        let error = read(Operation::Chat, &HeaderMap::new(), Bytes::from_static(body));
        assert_eq!(error, "the body does not read: it is not UTF-8 from byte 38 on");

        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "multipart/form-data; boundary=b".parse().expect("a header"));
        let mut form = Vec::new();
        for (name, value) in [("file", b"RIFF\xff".as_slice()), ("model", b"m"), ("prompt", b"Ana\xff")] {
            form.extend(format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n").bytes());
            form.extend([value, b"\r\n"].concat());
        }
        form.extend(b"--b--\r\n");
        let error = read(Operation::Transcription, &headers, form.into());
        assert_eq!(error, "the body does not read: `prompt` is not UTF-8");
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
