//! A server on a log in memory, with a few workflows and an application.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{HeaderMap, Request, StatusCode},
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use steadfast_core::{
    Failure, Principal, Role, TenantId, World,
    chance::Seeded,
    observe::Observer,
    secret::Secret,
    time::{Clock, PausedClock, SystemClock},
};
use steadfast_engine::{Ctx, Data, Engine, EngineConfig, Registry, Start, WorkflowOptions};
use steadfast_log::MemoryLog;
use steadfast_resilience::{Policies, PolicyConfig, Registry as Breakers};
use steadfast_server::{
    App, Caller, Edge, Json, Key, Metrics, NodeKey, RequiredKey, Server, ServerConfig, ServerParts,
};
use tower::ServiceExt as _;

pub(crate) struct House {
    pub(crate) world: World,
    pub(crate) engine: Engine,
    pub(crate) key: NodeKey,
    pub(crate) breakers: Arc<Breakers>,
    pub(crate) server: Server,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().into()
    }
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// A request in the making.
pub(crate) struct Ask<'a> {
    house: &'a House,
    request: axum::http::request::Builder,
    body: String,
}

impl Ask<'_> {
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.request = self.request.header(name, value);
        self
    }
    pub(crate) fn by(self, user: &str, role: Role) -> Self {
        let token = self.house.token(user, role);
        self.header("authorization", &format!("Bearer {token}"))
    }
    pub(crate) fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }
    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(&body.to_string())
    }
    pub(crate) async fn send(self) -> Answer {
        let request = self.request.body(Body::from(self.body)).expect("a request");
        self.house.answer(request).await
    }
}

impl House {
    /// Time is paused and moves on when everybody waits.
    pub(crate) fn new() -> Self {
        let clock = PausedClock::at("2026-01-01T00:00:00Z".parse().expect("a time"));
        Self::build(Arc::new(clock), ServerConfig::default())
    }
    /// With the machine's clock: for real sockets.
    pub(crate) fn real(config: ServerConfig) -> Self {
        Self::build(Arc::new(SystemClock::new()), config)
    }

    fn build(clock: Arc<dyn Clock>, config: ServerConfig) -> Self {
        let world = World::new(clock, Arc::new(Seeded::new(7)));
        let log = Arc::new(MemoryLog::new(world.clone()));
        let metrics = Arc::new(Metrics::new());
        let observer: Arc<dyn Observer> = metrics.clone();
        let engine = Engine::new(log, world.clone(), workflows(), EngineConfig::default(), observer.clone());
        let running = engine.clone();
        tokio::spawn(async move { running.run().await });
        let policies = Policies::from([("mail".to_owned(), PolicyConfig::default())]);
        let breakers = Arc::new(Breakers::new(&policies, &world, &observer));
        let key = NodeKey::new(&Secret::new([7; 32]));
        let server = Server::new(ServerParts {
            engine: engine.clone(),
            key: key.clone(),
            config,
            metrics,
            breakers: breakers.clone(),
            apps: vec![Box::new(Desk)],
        });
        Self { world, engine, key, breakers, server }
    }

    pub(crate) fn token(&self, user: &str, role: Role) -> String {
        self.token_of("default", user, role)
    }
    pub(crate) fn token_of(&self, tenant: &str, user: &str, role: Role) -> String {
        let principal = Principal { tenant: tenant.parse().expect("a tenant"), user: user.into(), role };
        let ttl = Duration::from_secs(1_800);
        self.key.mint(&principal, ttl, &self.world).expect("a name")
    }
    pub(crate) fn ask(&self, method: &str, path: &str) -> Ask<'_> {
        Ask { house: self, request: Request::builder().method(method).uri(path), body: String::new() }
    }
    /// GET as an operator.
    pub(crate) async fn look(&self, path: &str) -> Value {
        let answer = self.ask("GET", path).by("olga", Role::Operator).send().await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.json()
    }
    /// Starts a run for a user and says which.
    pub(crate) async fn start(&self, user: &str, body: &Value) -> String {
        let ask = self.ask("POST", "/api/v1/runs").by(user, Role::User);
        let answer = ask.json(body).send().await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.text);
        answer.json()["id"].as_str().expect("an id").into()
    }
    /// The outcome of a run that ends.
    pub(crate) async fn end(&self, run: &str) -> Value {
        let run = run.parse().expect("an id");
        let tenant = TenantId::default();
        let limit = Duration::from_secs(1_000);
        let settled = self.engine.wait(&tenant, run, limit).await;
        settled.expect("readable").expect("ends");
        self.look(&format!("/api/v1/runs/{run}")).await
    }
    pub(crate) async fn answer(&self, request: Request<Body>) -> Answer {
        let router = self.server.router();
        let response = router.oneshot(request).await.expect("always answers");
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.expect("whole").to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).expect("text"),
        }
    }
}

fn workflows() -> Registry {
    let mut registry = Registry::default();
    let open = WorkflowOptions::default;
    registry.workflow("echo", 1, open(), |_: Ctx, input: Value| async move { Ok(input) });
    registry.workflow("refuse", 1, open(), |_: Ctx, _: Value| async move {
        let failure = Failure::refused("test.no", "the answer is no");
        Err::<(), _>(failure.with_data(serde_json::json!({ "available": 5 })))
    });
    registry.workflow("break", 1, open(), |_: Ctx, (): ()| async move {
        Err::<(), _>(Failure::internal("test.broken", "it broke"))
    });
    registry.workflow("ask", 1, open(), |ctx: Ctx, _: Value| async move {
        let answer: Value = ctx.signal("answer", "answer").await?;
        Ok(answer)
    });
    let closed = WorkflowOptions { open_to_users: false, ..open() };
    registry.workflow("inner", 1, closed, |_: Ctx, (): ()| async move { Ok(()) });
    registry
}

/// An application with a few bad days.
struct Desk;

impl App for Desk {
    fn name(&self) -> &'static str {
        "desk"
    }
    fn routes(&self, edge: Edge) -> Router {
        let patient = edge.clone();
        let slow = async move |_: Caller| {
            patient.world().clock().sleep(Duration::from_secs(3_600)).await;
        };
        let late = edge.clone();
        let start_late = async move |_: Caller| {
            late.world().clock().sleep(Duration::from_secs(2)).await;
            let input = Data::null();
            let start = Start::new(TenantId::default(), "ana", "echo", input);
            let started = late.engine().start(start).await;
            started.expect("accepted").run.to_string()
        };
        Router::new()
            .route("/panic", get(broken).post(broken))
            .route("/start-late", post(start_late))
            .route("/slow", get(slow))
            .route("/pay", post(async |RequiredKey(key): RequiredKey| mask(&key)))
            .route("/amount", post(async |Json(paid): Json<Paid>| paid.amount.minor.to_string()))
            .with_state(edge)
    }
}

fn mask(key: &Key) -> String {
    format!("{key:?}")
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Paid {
    amount: Amount,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Amount {
    minor: i64,
}

async fn broken() {
    panic!("a secret that no answer may show");
}
