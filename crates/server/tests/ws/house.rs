//! A server with somebody to talk to, whose clock moves when told.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use futures::future::BoxFuture;
use http_body_util::BodyExt as _;
use serde_json::json;
use steadfast_core::{Failure, Principal, Role, World, observe::Observer, secret::Secret, time::ManualClock};
use steadfast_engine::{Engine, EngineConfig, Registry};
use steadfast_log::MemoryLog;
use steadfast_resilience::{Policies, Registry as Breakers};
use steadfast_server::{
    App, Caller, ClientFrame, Connection, Conversation, Edge, Metrics, NodeKey, Outbox, ReplyStatus, Server,
    ServerConfig, ServerFrame, ServerParts, WsConfig,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
};
use tower::ServiceExt as _;

use crate::raw::Raw;

pub(crate) const TTL: Duration = Duration::from_secs(1_800);

pub(crate) struct House {
    pub(crate) world: World,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) key: NodeKey,
    pub(crate) address: SocketAddr,
    pub(crate) echo: Arc<Echo>,
    pub(crate) ended: JoinHandle<()>,
    router: Router,
    stop: Option<oneshot::Sender<()>>,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }
    pub(crate) async fn with(change: impl FnOnce(&mut WsConfig)) -> Self {
        let mut config = ServerConfig::default();
        change(&mut config.ws);
        Self::build(config, true).await
    }
    pub(crate) async fn build(config: ServerConfig, converses: bool) -> Self {
        let (world, clock) = World::manual(7);
        let log = Arc::new(MemoryLog::new(world.clone()));
        let metrics = Arc::new(Metrics::new());
        let observer: Arc<dyn Observer> = metrics.clone();
        let registry = Registry::default();
        let engine = Engine::new(log, world.clone(), registry, EngineConfig::default(), observer.clone());
        let key = NodeKey::new(&Secret::new([7; 32]));
        let echo = Arc::new(Echo::default());
        let server = Server::new(ServerParts {
            engine,
            key: key.clone(),
            config,
            metrics,
            breakers: Arc::new(Breakers::new(&Policies::new(), &world, &observer)),
            apps: vec![Box::new(Desk(converses.then(|| echo.clone())))],
        });
        let router = server.router();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let address = listener.local_addr().expect("bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let ended = tokio::spawn(async move {
            // Dropping the sender stops it too.
            server.serve(listener, async move { drop(stopped.await) }).await;
        });
        Self { world, clock, key, address, echo, ended, router, stop: Some(stop) }
    }
    pub(crate) fn stop(&mut self) {
        self.stop = None;
    }
    pub(crate) fn token(&self, user: &str) -> String {
        let principal =
            Principal { tenant: "default".parse().expect("a tenant"), user: user.into(), role: Role::User };
        self.key.mint(&principal, TTL, &self.world).expect("a name")
    }
    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connects")
    }
    /// An open connection of `ana`.
    pub(crate) async fn open(&self) -> Raw {
        self.open_as("ana").await
    }
    pub(crate) async fn open_as(&self, user: &str) -> Raw {
        let mut raw = Raw::new(self.connect().await);
        let head = raw.handshake(&[("authorization", &format!("Bearer {}", self.token(user)))]).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        raw
    }
    pub(crate) async fn metrics(&self) -> String {
        let request = Request::get("/metrics").body(Body::empty()).expect("a request");
        let response = self.router.clone().oneshot(request).await.expect("always answers");
        let bytes = response.into_body().collect().await.expect("whole").to_bytes();
        String::from_utf8(bytes.to_vec()).expect("text")
    }
    /// Waits until a line of the metrics is there.
    pub(crate) async fn shows(&self, line: &str) {
        while !self.metrics().await.lines().any(|it| it == line) {
            tokio::task::yield_now().await;
        }
    }
    /// Waits until no connection is open and what was heard is let go.
    pub(crate) async fn is_empty(&self) {
        self.shows("steadfast_ws_connections 0").await;
        let heard = self.echo.state();
        assert_eq!(heard.opened, heard.dropped, "what was returned for a connection ends with it");
    }
}

/// An application that may converse.
struct Desk(Option<Arc<Echo>>);

impl App for Desk {
    fn name(&self) -> &'static str {
        "desk"
    }
    fn routes(&self, _: Edge) -> Router {
        Router::new()
    }
    fn conversation(&self, _: Edge) -> Option<Arc<dyn Conversation>> {
        let echo = self.0.clone()?;
        Some(Arc::new(Desk(Some(echo))))
    }
}

/// Says again what it was told, and does as some words ask.
#[derive(Default)]
pub(crate) struct Echo {
    state: Mutex<State>,
    pub(crate) waits: Notify,
    pub(crate) go_on: Notify,
    pub(crate) closed: Notify,
}

#[derive(Default, Clone, Debug)]
pub(crate) struct State {
    pub(crate) opened: u32,
    pub(crate) dropped: u32,
    pub(crate) heard: Vec<String>,
}

impl Echo {
    pub(crate) fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    async fn pause(&self) {
        self.waits.notify_one();
        self.go_on.notified().await;
    }
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Conversation for Desk {
    fn admit<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(async {
            match caller.principal.user.as_str() {
                "mallory" => Err(Failure::refused("user.not_found", "there is no such user")),
                "trent" => Err(Failure::internal("store.unavailable", "the store is away").retryable()),
                "slow" => {
                    self.0.as_ref().expect("it converses").pause().await;
                    Ok(())
                }
                _ => Ok(()),
            }
        })
    }
    fn connect(&self, _: Caller, outbox: Outbox) -> Box<dyn Connection> {
        let echo = self.0.clone().expect("it converses");
        echo.change(|state| state.opened += 1);
        let (watching, watched) = (echo.clone(), outbox.clone());
        tokio::spawn(async move {
            watched.closed().await;
            watching.closed.notify_one();
        });
        Box::new(Talk { echo, outbox })
    }
}

struct Talk {
    echo: Arc<Echo>,
    outbox: Outbox,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.echo.change(|state| state.dropped += 1);
    }
}

impl Connection for Talk {
    fn hear(&mut self, frame: ClientFrame) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let text = match frame {
                ClientFrame::Message { text, .. } => text,
                other => format!("{other:?}"),
            };
            match text.as_str() {
                "panic" => panic!("as asked"),
                "wait" => self.echo.pause().await,
                "many" => (0..100).for_each(|n| self.say(n, "one of many".into())),
                "all" => {
                    for n in 0..100 {
                        self.outbox.deliver(reply(n, "one of all".into())).await;
                    }
                    return;
                }
                // More than the buffers between two sockets take.
                "large" => (0..24).for_each(|n| self.say(n, "x".repeat(1 << 20))),
                _ => {}
            }
            self.echo.change(|state| state.heard.push(text.clone()));
            self.say(1, text);
        })
    }
}

impl Talk {
    fn say(&self, frame: u64, text: String) {
        self.outbox.send(reply(frame, text));
    }
}

fn reply(frame: u64, text: String) -> ServerFrame {
    let id = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";
    ServerFrame::Reply {
        request_id: id.parse().expect("an id"),
        run_id: id.parse().expect("an id"),
        session_id: id.parse().expect("an id"),
        frame,
        status: ReplyStatus::Completed,
        text,
        data: json!({}),
    }
}
