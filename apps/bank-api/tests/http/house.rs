//! A bank with the demo's people, on a log in memory, behind the real router.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Body,
    http::{HeaderMap, Request, StatusCode},
};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steadfast_bank::{Bank, BankConfig, demo, purchase};
use steadfast_bank_api::BankApp;
use steadfast_core::{
    NodeId, Principal, Role, TenantId, World, chance::Seeded, observe::silent, secret::Secret,
    time::PausedClock,
};
use steadfast_engine::{Engine, EngineConfig, Registry};
use steadfast_log::MemoryLog;
use steadfast_resilience::{Policies, Registry as Breakers};
use steadfast_server::{Metrics, NodeKey, Server, ServerConfig, ServerParts};
use tower::ServiceExt as _;

pub(crate) struct House {
    world: World,
    key: NodeKey,
    server: Server,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_default()
    }
    pub(crate) fn replayed(&self) -> bool {
        self.headers.contains_key("idempotency-replayed")
    }
}

impl House {
    /// Time is paused and moves on when everybody waits.
    pub(crate) async fn new() -> Self {
        let clock = PausedClock::at("2026-01-01T00:00:00Z".parse().expect("a time"));
        let world = World::new(Arc::new(clock), Arc::new(Seeded::new(7)));
        let log = Arc::new(MemoryLog::new(world.clone()));
        let node = NodeId::next(&world);
        let (bank, decider) = Bank::open(log.clone(), world.clone(), node, BankConfig::default());
        tokio::spawn(decider);
        demo::seed(&bank, &TenantId::default()).await.expect("seeded");
        let mut registry = Registry::default();
        purchase::register(&mut registry, &bank);
        let engine = Engine::new(log, world.clone(), registry, EngineConfig::default(), silent());
        let running = engine.clone();
        tokio::spawn(async move { running.run().await });
        let key = NodeKey::new(&Secret::new([7; 32]));
        let server = Server::new(ServerParts {
            engine,
            key: key.clone(),
            config: ServerConfig::default(),
            metrics: Arc::new(Metrics::new()),
            breakers: Arc::new(Breakers::new(&Policies::new(), &world, &silent())),
            apps: vec![Box::new(BankApp::new(bank))],
        });
        Self { world, key, server }
    }

    fn token(&self, user: &str, role: Role) -> String {
        let principal = Principal { tenant: TenantId::default(), user: user.into(), role };
        let ttl = Duration::from_secs(86_400);
        self.key.mint(&principal, ttl, &self.world).expect("a name")
    }

    pub(crate) async fn get_as(&self, user: &str, role: Role, path: &str) -> Answer {
        let request = Request::get(format!("/api/v1/bank/{path}"))
            .header("authorization", format!("Bearer {}", self.token(user, role)))
            .body(Body::empty());
        self.answer(request.expect("a request")).await
    }
    pub(crate) async fn get(&self, user: &str, path: &str) -> Answer {
        self.get_as(user, Role::User, path).await
    }
    /// POST by a user under a key; none when it is empty. Waits for outcomes.
    pub(crate) async fn post(&self, user: &str, path: &str, key: &str, body: &str) -> Answer {
        self.post_as(user, Role::User, path, key, body).await
    }
    pub(crate) async fn post_as(&self, user: &str, role: Role, path: &str, key: &str, body: &str) -> Answer {
        self.send(self.token(user, role), &format!("bank/{path}"), key, body).await
    }
    /// Starts a run of a user's.
    pub(crate) async fn start(&self, user: &str, key: &str, body: &str) -> Answer {
        self.send(self.token(user, Role::User), "runs", key, body).await
    }
    async fn send(&self, token: String, path: &str, key: &str, body: &str) -> Answer {
        let mut request = Request::post(format!("/api/v1/{path}"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("prefer", "wait=30");
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        let request = request.body(Body::from(body.to_owned()));
        self.answer(request.expect("a request")).await
    }
    pub(crate) async fn delete(&self, user: &str, path: &str) -> Answer {
        let request = Request::delete(format!("/api/v1/bank/{path}"))
            .header("authorization", format!("Bearer {}", self.token(user, Role::User)))
            .body(Body::empty());
        self.answer(request.expect("a request")).await
    }
    pub(crate) async fn pay(&self, user: &str, key: &str, to: &str, minor: i64) -> Answer {
        let body = json!({ "to": to, "amount": { "minor": minor, "currency": "MXN" } });
        self.post(user, "transfers", key, &body.to_string()).await
    }
    pub(crate) async fn balance(&self, user: &str) -> (i64, i64) {
        let account = self.get(user, &format!("accounts/{user}-checking")).await.json;
        let minor = |name: &str| account[name]["minor"].as_i64().expect("an amount");
        (minor("balance"), minor("available"))
    }
    pub(crate) async fn stock(&self, product: &str) -> u64 {
        let product = self.get("ana", &format!("products/{product}")).await.json;
        product["stock"].as_u64().expect("stock")
    }
    /// Every run there is.
    pub(crate) async fn runs(&self) -> Value {
        let request = Request::get("/api/v1/runs")
            .header("authorization", format!("Bearer {}", self.token("olga", Role::Operator)))
            .body(Body::empty());
        self.answer(request.expect("a request")).await.json
    }
    async fn answer(&self, request: Request<Body>) -> Answer {
        let response = self.server.router().oneshot(request).await;
        let (head, body) = response.expect("always answers").into_parts();
        let bytes = body.collect().await.expect("whole").to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            json: serde_json::from_slice(&bytes).expect("json"),
        }
    }
}
