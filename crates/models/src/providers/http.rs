//! Calls over HTTP: what is sent, how long is waited for what, and what a status, a content
//! type or a broken connection means.

use std::{
    collections::VecDeque,
    error::Error as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::{Stream, ready};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT},
};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Uri,
    body::{Body as _, Incoming},
};
use hyper_util::{
    client::legacy::{Client, Error as ClientError},
    rt::{TokioExecutor, TokioTimer},
};
use steadfast_core::{World, config::Environment};
use steadfast_resilience::Deadline;

use super::{
    Events, ProviderError,
    connect::{Connector, TooSlow},
    patience::Patience,
    status::asked_wait,
};
use crate::{
    answer::Frame,
    call::Api,
    config::{ProviderConfig, TimeoutConfig},
    failure::{Class, Failed, Wait},
    rejected::reshaped,
    wire::{
        Reader, cut, error_within,
        sse::{Event, Parser},
    },
};

/// The largest whole answer.
const ANSWER_MAX: usize = 64 << 20;
/// How much of an error is read.
const ERROR_MAX: usize = 256 << 10;
/// How long an idle connection is kept.
const IDLE: Duration = Duration::from_secs(30);
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// One provider's HTTP side.
pub(super) struct Http {
    name: Arc<str>,
    client: Client<Connector, Full<Bytes>>,
    base: String,
    query: String,
    headers: HeaderMap,
    timeouts: TimeoutConfig,
    class: Classify,
    world: World,
}

/// What a status that is no success means, with its headers and words.
pub(super) type Classify = fn(StatusCode, &HeaderMap, &[u8]) -> Class;

/// What an API wants beside the body.
pub(super) struct Manners {
    /// Where it is, if the configuration does not say.
    pub(super) url: &'static str,
    /// The header for the key, if the configuration does not say.
    pub(super) key_header: HeaderName,
    /// Headers that every request has.
    pub(super) headers: &'static [(&'static str, &'static str)],
    /// What its errors mean.
    pub(super) class: Classify,
}

/// How the events of a stream are told apart.
pub(super) enum Framing {
    /// By blank lines.
    Sse(Parser),
    /// As Amazon does it.
    #[cfg(feature = "bedrock")]
    Aws(super::bedrock::Frames),
}

impl Default for Framing {
    fn default() -> Self {
        Self::Sse(Parser::default())
    }
}

impl Framing {
    const fn media_type(&self) -> &'static str {
        match self {
            Self::Sse(_) => "text/event-stream",
            #[cfg(feature = "bedrock")]
            Self::Aws(_) => "application/vnd.amazon.eventstream",
        }
    }
    fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Sse(parser) => parser.push(bytes),
            #[cfg(feature = "bedrock")]
            Self::Aws(frames) => frames.push(bytes),
        }
    }
    fn next_event(&mut self) -> Result<Option<Event>, Failed> {
        match self {
            Self::Sse(parser) => parser.next_event().map_err(|error| Failed::malformed(error.to_string())),
            #[cfg(feature = "bedrock")]
            Self::Aws(frames) => frames.next_event(),
        }
    }
}

impl Http {
    pub(super) fn new(
        name: &Arc<str>,
        config: &ProviderConfig,
        manners: &Manners,
        env: &Environment,
        world: &World,
    ) -> Result<Self, ProviderError> {
        let base = if config.url.is_empty() { manners.url } else { config.url.trim_end_matches('/') };
        let wrong = || ProviderError::Address(name.to_string());
        let parsed: Uri = base.parse().map_err(|_| wrong())?;
        let encrypted = match parsed.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(wrong()),
        };
        let query = if config.query.is_empty() { String::new() } else { format!("?{}", config.query) };
        format!("{base}/models{query}").parse::<Uri>().map_err(|_| wrong())?;
        let connector = Connector::new(world, config.timeouts.connect.get(), encrypted)?;
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        Ok(Self {
            name: name.clone(),
            client,
            base: base.into(),
            query,
            headers: headers(name, config, manners, env)?,
            timeouts: config.timeouts.clone(),
            class: manners.class,
            world: world.clone(),
        })
    }
    /// The address of one operation.
    pub(super) fn address(&self, path: &str) -> Uri {
        // `new` tried a longer one of the same kind.
        format!("{}{path}{}", self.base, self.query).parse().unwrap_or_default()
    }
    /// Sends a body and waits for the head of the answer. `apis` are the client's, and the
    /// provider's own if that is one that clients speak.
    pub(super) async fn post(
        &self,
        to: &Uri,
        body: Bytes,
        forwarded: &HeaderMap,
        apis: (Api, Option<Api>),
        deadline: &Deadline,
    ) -> Result<Response<Incoming>, Failed> {
        self.send(self.request(to, body, forwarded, apis), apis, deadline).await
    }
    /// A request that has all it needs, but for a signature.
    pub(super) fn request(
        &self,
        to: &Uri,
        body: Bytes,
        forwarded: &HeaderMap,
        (api, native): (Api, Option<Api>),
    ) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = to.clone();
        let headers = request.headers_mut();
        headers.clone_from(&self.headers);
        // Who traces a call does so in any API.
        for name in forwarded.keys().filter(|name| Some(api) == native || *name == "traceparent") {
            // All that the client says, instead of what the configuration does.
            headers.remove(name);
            for value in forwarded.get_all(name) {
                headers.append(name, value.clone());
            }
        }
        request
    }
    /// Sends a request and waits for the head of the answer; anything but a success is a
    /// failure, in the shape of the client's API.
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
        (api, native): (Api, Option<Api>),
        deadline: &Deadline,
    ) -> Result<Response<Incoming>, Failed> {
        let mut patience = Patience::new(&self.world, Wait::FirstByte, self.timeouts.first.get(), deadline);
        let response = match patience.wait(self.client.request(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.broken(&error)),
            Err(wait) => return Err(self.late(wait)),
        };
        if response.status().is_success() {
            return Ok(response);
        }
        let (head, body) = response.into_parts();
        let words = self.collect(body, ERROR_MAX, deadline).await.unwrap_or_default();
        Err(self.refusal(head.status, &head.headers, words, api, native))
    }
    /// The whole of an answer, which must be JSON.
    pub(super) async fn whole(
        &self,
        response: Response<Incoming>,
        deadline: &Deadline,
    ) -> Result<Bytes, Failed> {
        if !has_type(response.headers(), "json") {
            return Err(self.wrong_type());
        }
        self.collect(response.into_body(), ANSWER_MAX, deadline).await
    }
    /// The whole of an answer that is plain text.
    pub(super) async fn text(
        &self,
        response: Response<Incoming>,
        deadline: &Deadline,
    ) -> Result<Bytes, Failed> {
        if response.headers().contains_key(CONTENT_TYPE) && has_type(response.headers(), "html") {
            return Err(self.wrong_type());
        }
        let text = self.collect(response.into_body(), ANSWER_MAX, deadline).await?;
        match crate::wire::words(&text) {
            Some(_) => Err(error_within(&text)),
            None => Ok(text),
        }
    }
    /// The events of an answer, as `reader` has them.
    pub(super) async fn events(
        &self,
        response: Response<Incoming>,
        framing: Framing,
        reader: Box<dyn Reader>,
        deadline: &Deadline,
    ) -> Result<Events, Failed> {
        if has_type(response.headers(), framing.media_type()) {
            return Ok(Box::pin(Reading {
                body: response.into_body(),
                framing,
                reader,
                frames: VecDeque::new(),
                end: None,
            }));
        }
        if !has_type(response.headers(), "json") {
            return Err(self.wrong_type());
        }
        let body = self.collect(response.into_body(), ERROR_MAX, deadline).await?;
        match crate::wire::words(&body) {
            Some(_) => Err(error_within(&body)),
            None => Err(self.wrong_type()),
        }
    }
    async fn collect(&self, mut body: Incoming, max: usize, deadline: &Deadline) -> Result<Bytes, Failed> {
        let mut patience = Patience::new(&self.world, Wait::NextToken, self.timeouts.between.get(), deadline);
        let mut all: Option<Vec<u8>> = None;
        let mut first = Bytes::new();
        loop {
            let frame = match patience.wait(body.frame()).await {
                Err(wait) => return Err(self.late(wait)),
                Ok(Some(Err(_))) => return Err(cut()),
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(all.map_or(first, Bytes::from)),
            };
            patience.renew();
            let Ok(data) = frame.into_data() else { continue };
            // Most answers come in one piece, which is then not copied.
            match &mut all {
                None if first.is_empty() => first = data,
                None => all = Some([&first[..], &data[..]].concat()),
                Some(all) => all.extend_from_slice(&data),
            }
            if all.as_ref().map_or(first.len(), Vec::len) > max {
                return Err(Failed::malformed(format!("provider {} answers without end", self.name)));
            }
        }
    }
    fn late(&self, wait: Wait) -> Failed {
        let what = match wait {
            Wait::Connect => "no connection",
            Wait::FirstByte | Wait::FirstToken => "no answer began",
            Wait::NextToken => "the answer stalled",
            Wait::Total => "the answer did not end in time",
        };
        Failed::new(Class::Timeout(wait), format!("provider {}: {what}", self.name))
    }
    fn broken(&self, error: &ClientError) -> Failed {
        if !error.is_connect() {
            let message = format!("provider {} closed the connection before it answered", self.name);
            return Failed::new(Class::Cut, message);
        }
        let mut source = error.source();
        while let Some(cause) = source {
            if cause.is::<TooSlow>() {
                return self.late(Wait::Connect);
            }
            source = cause.source();
        }
        Failed::new(Class::Connect, format!("provider {} cannot be reached", self.name))
    }
    fn wrong_type(&self) -> Failed {
        Failed::malformed(format!("provider {} answered with another type of content than asked", self.name))
    }
    fn refusal(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        words: Bytes,
        api: Api,
        native: Option<Api>,
    ) -> Failed {
        let class = (self.class)(status, headers, &words);
        let own_words = Some(api) == native && has_type(headers, "json") && !words.is_empty();
        let body = if own_words { words } else { reshaped(api, status, &words) };
        Failed {
            status: Some(status),
            retry_after: asked_wait(headers, &self.world),
            body: Some(body),
            ..Failed::new(class, format!("provider {} answered {}", self.name, status.as_u16()))
        }
    }
}

/// Does the answer say it is of this type? One that says nothing is taken at its word later.
fn has_type(headers: &HeaderMap, wanted: &str) -> bool {
    match headers.get(CONTENT_TYPE) {
        Some(value) => value.to_str().is_ok_and(|it| it.to_ascii_lowercase().contains(wanted)),
        None => true,
    }
}

fn headers(
    name: &Arc<str>,
    config: &ProviderConfig,
    manners: &Manners,
    env: &Environment,
) -> Result<HeaderMap, ProviderError> {
    let wrong = |field: String| ProviderError::Header(name.to_string(), field);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, JSON);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("steadfast/", env!("CARGO_PKG_VERSION"))));
    for (header, value) in manners.headers {
        headers.insert(*header, HeaderValue::from_static(value));
    }
    for (header, value) in &config.headers {
        let wrong = || wrong(format!("headers.{header}"));
        let key: HeaderName = header.parse().map_err(|_| wrong())?;
        headers.insert(key, value.parse().map_err(|_| wrong())?);
    }
    if let Some(source) = &config.key {
        let key = source.read(env).map_err(|error| ProviderError::Key(name.to_string(), "key", error))?;
        let header = match config.key_header.as_str() {
            "" => manners.key_header.clone(),
            named => named.parse().map_err(|_| wrong("key_header".into()))?,
        };
        // It has to be sent.
        let key = key.reveal();
        let text = if header == AUTHORIZATION { format!("Bearer {key}") } else { key.clone() };
        let mut value = HeaderValue::from_str(&text).map_err(|_| wrong("key".into()))?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// A stream that is being read.
struct Reading {
    body: Incoming,
    framing: Framing,
    reader: Box<dyn Reader>,
    frames: VecDeque<Frame>,
    /// Nothing more comes, and perhaps why.
    end: Option<Result<(), Failed>>,
}

impl Reading {
    /// Reads what has come so far.
    fn read(&mut self) -> Result<(), Failed> {
        while let Some(event) = self.framing.next_event()? {
            self.reader.event(event, &mut self.frames)?;
        }
        Ok(())
    }
}

impl Stream for Reading {
    type Item = Result<Frame, Failed>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(frame) = this.frames.pop_front() {
                return Poll::Ready(Some(Ok(frame)));
            }
            match &mut this.end {
                None => {}
                Some(end) => return Poll::Ready(std::mem::replace(end, Ok(())).err().map(Err)),
            }
            match ready!(Pin::new(&mut this.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        this.framing.push(&data);
                        this.end = this.read().err().map(Err);
                    }
                }
                Some(Err(_)) => this.end = Some(Err(cut())),
                None => this.end = Some(this.reader.end(&mut this.frames)),
            }
        }
    }
}
