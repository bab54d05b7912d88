//! A gateway on a free port, and a client for it.

use std::{collections::BTreeMap, sync::Arc};

use axum::{middleware, serve::ListenerExt as _};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client as HyperClient, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use steadfast_core::{World, config, observe::silent, time::ManualClock};
use steadfast_log::MemoryLog;
use steadfast_models::{Caller, Current, Home, Models, ModelsConfig, SetupError, serve};
use steadfast_models_mock::Mock;

/// A gateway that runs until it is dropped.
pub(crate) struct Gateway {
    pub(crate) models: Arc<Models>,
    pub(crate) current: Arc<Current>,
    pub(crate) address: std::net::SocketAddr,
    client: HyperClient<HttpConnector, Full<Bytes>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
    /// The data of a stream's events.
    pub(crate) fn events(&self) -> Vec<&str> {
        self.text.split("\n\n").filter_map(|event| event.split("data: ").nth(1)).collect()
    }
    /// All that was said, whole or streamed, in either API.
    pub(crate) fn said(&self) -> String {
        if !self.header("content-type").starts_with("text/event-stream") {
            let json = self.json();
            let chat = json["choices"][0]["message"]["content"].as_str();
            return chat.or(json["content"][0]["text"].as_str()).unwrap_or_default().into();
        }
        let mut said = String::new();
        for event in self.events() {
            let Ok(event) = serde_json::from_str::<Value>(event) else { continue };
            let chat = event["choices"][0]["delta"]["content"].as_str();
            said.push_str(chat.or(event["delta"]["text"].as_str()).unwrap_or_default());
        }
        said
    }
    /// The blocks of a stream of messages, each its type and what was said in it. They begin
    /// one after another, and all have ended before the message does.
    pub(crate) fn blocks(&self) -> Vec<(String, String)> {
        let (mut blocks, mut open) = (Vec::new(), Vec::new());
        for event in self.events() {
            let event: Value = serde_json::from_str(event).expect("JSON");
            let index = event["index"].as_u64().map_or(0, |it| usize::try_from(it).expect("small"));
            let is_open = open.iter().position(|it| *it == index);
            match event["type"].as_str().expect("a type") {
                "content_block_start" => {
                    assert_eq!(index, blocks.len(), "{}", self.text);
                    blocks.push((
                        event["content_block"]["type"].as_str().expect("a type").into(),
                        String::new(),
                    ));
                    open.push(index);
                }
                "content_block_delta" => {
                    assert!(is_open.is_some(), "{}", self.text);
                    let pieces =
                        ["text", "thinking", "partial_json"].map(|name| event["delta"][name].as_str());
                    blocks[index].1.extend(pieces.into_iter().flatten());
                }
                "content_block_stop" => drop(open.remove(is_open.expect("an open block"))),
                "message_delta" => assert!(open.is_empty(), "{}", self.text),
                _ => {}
            }
        }
        blocks
    }
    /// Does it end as a whole stream of its API does?
    pub(crate) fn is_whole_stream(&self) -> bool {
        self.text.ends_with("data: [DONE]\n\n")
            || self.text.ends_with("data: {\"type\":\"message_stop\"}\n\n")
    }
}

impl Gateway {
    /// One with this configuration, without a cache unless it says so; `KEY` is the providers'
    /// key.
    pub(crate) async fn start(config: &str) -> Self {
        Self::at(&Home::default(), config).await
    }
    /// The same, with a place for its files.
    pub(crate) async fn at(home: &Home, config: &str) -> Self {
        Self::serve(set_up(home, config).unwrap_or_else(|error| panic!("{error}"))).await
    }
    /// One whose time goes on when the clock is told.
    pub(crate) async fn timed(config: &str) -> (Self, Arc<ManualClock>) {
        let (world, clock) = World::manual(1);
        let models = Models::new(read(config), &env(), &world, &silent());
        (Self::serve(models.unwrap_or_else(|error| panic!("{error}"))).await, clock)
    }
    async fn serve(models: Models) -> Self {
        let current = Arc::new(Current::new(models));
        let models = current.get();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let listener = listener.tap_io(|stream| stream.set_nodelay(true).expect("nodelay"));
        let router = serve::routes(current.clone(), Arc::new(|headers| Ok(identified(headers))), None).merge(
            axum::Router::new()
                .nest("/operator", serve::operator_routes(current.clone()))
                .layer(middleware::map_request(operator)),
        );
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.expect("serves") });
        let client = HyperClient::builder(TokioExecutor::new()).build_http();
        Self { models, current, address, client, serving }
    }
    /// One with records in `folder`.
    pub(crate) async fn recorded(config: &str, folder: &std::path::Path) -> Self {
        let home = Home { folder: Some(folder.into()), ..Home::default() };
        Self::at(&home, config).await
    }
    /// One with virtual keys, on a log of its own.
    pub(crate) async fn with_keys(config: &str) -> Self {
        let log = Arc::new(MemoryLog::new(World::system()));
        let models = set_up(&Home::default(), config).unwrap_or_else(|error| panic!("{error}"));
        Self::serve(models.with_keys_on(log).await.expect("keys")).await
    }
    /// One whose only route, `m`, asks these upstreams in order, all of OpenAI's API.
    pub(crate) async fn before(mocks: &[&Mock]) -> Self {
        Self::start(&route(mocks, "")).await
    }
    pub(crate) async fn open(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> http::Response<Incoming> {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        self.client.request(request).await.expect("an answer")
    }
    pub(crate) async fn send(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Answer {
        whole(self.open(Method::POST, path, headers, body).await).await
    }
    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        whole(self.open(Method::GET, path, headers, Bytes::new()).await).await
    }
    /// Stops it, and waits until it has let go of its files.
    pub(crate) async fn stopped(mut self) {
        self.serving.abort();
        // It was aborted: that is what it says.
        let _ = (&mut self.serving).await;
        let models = Arc::downgrade(&self.models);
        drop(self);
        while models.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    }
    /// Its client closes all connections.
    pub(crate) fn hang_up(&mut self) {
        self.client = HyperClient::builder(TokioExecutor::new()).build_http();
    }
    /// A chat with model `m`.
    pub(crate) async fn chat(&self, stream: bool) -> Answer {
        self.send("/v1/chat/completions", &[], ask(stream)).await
    }
    /// A message to model `m`.
    pub(crate) async fn message(&self, stream: bool) -> Answer {
        self.send("/v1/messages", &[], ask(stream)).await
    }
}

/// A gateway without a socket.
pub(crate) fn models(home: &Home, config: &str) -> Result<Arc<Models>, SetupError> {
    set_up(home, config).map(Arc::new)
}

fn set_up(home: &Home, config: &str) -> Result<Models, SetupError> {
    Models::at(home, read(config), &env(), &World::system(), &silent())
}

/// Stands for a server that knows who asks: headers say it.
fn identified(headers: &HeaderMap) -> Caller {
    let told = |name: &str| headers.get(name).map(|it| it.to_str().expect("text").to_owned());
    Caller {
        tenant: told("test-tenant").map(|it| it.parse().expect("a name")).unwrap_or_default(),
        user: told("test-user").map(Into::into),
        key: told("test-key").map(Into::into),
    }
}

async fn operator(mut request: axum::extract::Request) -> axum::extract::Request {
    let caller = identified(request.headers());
    request.extensions_mut().insert(caller);
    request
}

async fn whole(response: http::Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let bytes = body.collect().await.expect("an answer that ends well").to_bytes();
    let text = String::from_utf8(bytes.to_vec()).expect("text");
    Answer { status: head.status, headers: head.headers, text }
}

/// The same body is a request in either API.
pub(crate) fn ask(stream: bool) -> String {
    json!({ "model": "m", "max_tokens": 100, "stream": stream, "messages": [{ "role": "user", "content": "go" }] })
        .to_string()
}

/// A configuration whose route `m` asks these upstreams in order; `more` is added to all of
/// them. Upstreams speak OpenAI's API unless `more` says otherwise.
pub(crate) fn route(mocks: &[&Mock], more: &str) -> String {
    let provider = |(i, mock): (usize, &&Mock)| {
        let url = mock.url();
        format!("[models.providers.p{i}]\nurl = '{url}'\nkey = {{ env = 'KEY' }}\n{more}\n")
    };
    let text: Vec<_> = mocks.iter().enumerate().map(provider).collect();
    let targets: Vec<_> = (0..mocks.len()).map(|i| format!("{{ provider = 'p{i}' }}")).collect();
    text.concat()
        + &format!("[models.routes.m]\ntargets = [{}]\nretry.waits = ['1000h']\n", targets.join(", "))
}

/// What a configuration says; without a cache unless it says so.
pub(crate) fn read(config: &str) -> ModelsConfig {
    #[derive(serde::Deserialize)]
    struct Config {
        models: ModelsConfig,
    }
    let check = |config: &Config| config.models.check("models");
    let cache = if config.contains("models.cache") { "" } else { "\n[models.cache]\nenabled = false\n" };
    let config = config.to_owned() + cache;
    let config: Config = config::load_checked(Some(("t.toml", &config)), &config::Environment::new(), check)
        .unwrap_or_else(|error| panic!("{error}"));
    config.models
}

/// Where keys are found.
pub(crate) fn env() -> config::Environment {
    BTreeMap::from([("KEY".into(), "secret-key".into())])
}
