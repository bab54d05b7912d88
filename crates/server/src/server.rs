use std::sync::Arc;

use axum::{
    Extension, Router,
    body::Body,
    http::{Request, StatusCode, header},
    middleware::{from_fn, from_fn_with_state},
    routing::{get, post},
};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use steadfast_engine::Engine;
use steadfast_resilience::Registry;
use tokio::net::TcpListener;

use crate::{
    App, Connections, Edge, Metrics, NodeKey, ServerConfig, breakers, dead_letters, events, front, health,
    listen, query, runs, signals, ws,
};

/// What a server is put together from.
pub struct ServerParts {
    /// What runs; through it log, time and chance.
    pub engine: Engine,
    /// What tokens are signed with.
    pub key: NodeKey,
    /// `[server]`
    pub config: ServerConfig,
    /// What `/metrics` shows: the observer that engine and store were given.
    pub metrics: Arc<Metrics>,
    /// What `/api/v1/breakers` shows.
    pub breakers: Arc<Registry>,
    /// What is mounted beside the engine's own routes.
    pub apps: Vec<Box<dyn App>>,
}

/// The HTTP side of a node.
#[derive(Debug)]
pub struct Server {
    edge: Edge,
    router: Router,
}

impl Server {
    /// Puts a server together. It serves nothing yet.
    pub fn new(parts: ServerParts) -> Self {
        let edge = Edge::new(parts.engine, parts.key, parts.config, parts.metrics, parts.breakers);
        let conversation = parts.apps.iter().find_map(|app| app.conversation(edge.clone()));
        let conversation = conversation.map(|it| ws::routes(edge.clone(), it)).unwrap_or_default();
        let mut api = engine_routes().with_state(edge.clone());
        let mut foreign = Router::new();
        for app in &parts.apps {
            api = api.nest(&format!("/{}", app.name()), app.routes(edge.clone()));
            foreign = foreign.merge(app.foreign(edge.clone()));
        }
        let apps: health::Apps = parts.apps.into();
        let router = Router::new()
            .route("/healthz", get(health::up))
            .route("/readyz", get(health::ready).layer(Extension(apps)))
            .route("/metrics", get(health::metrics))
            .with_state(edge.clone())
            .nest("/api/v1", api.route_layer(from_fn(query::none_on_posts)))
            .merge(conversation)
            .layer(from_fn_with_state(edge.clone(), front::front))
            .merge(foreign.layer(from_fn_with_state(edge.clone(), front::foreign)));
        Self { edge, router }
    }

    /// The routes as a service, for whoever brings requests by other means than a socket.
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// What a GET is answered with, by other means than a socket: status and body.
    pub async fn look(&self, target: &str, token: &str) -> Option<(StatusCode, Bytes)> {
        let request = Request::get(target).header(header::AUTHORIZATION, format!("Bearer {token}"));
        let request = request.body(Body::empty()).ok()?;
        let answer = TowerToHyperService::new(self.router.clone()).call(request).await;
        let (head, body) = answer.ok()?.into_parts();
        Some((head.status, body.collect().await.ok()?.to_bytes()))
    }

    /// Serves until `shutdown` ends and what was under way is answered, or the grace over.
    /// What is open then gets its answers as they come, for as long as the process goes on.
    pub async fn serve(self, listener: TcpListener, shutdown: impl Future<Output = ()>) -> Connections {
        listen::serve(self.edge, self.router, listener, shutdown).await
    }
}

fn engine_routes() -> Router<Edge> {
    Router::new()
        .route("/runs", get(runs::list).post(runs::start))
        .route("/runs/{id}", get(runs::show))
        .route("/runs/{id}/events", get(runs::events))
        .route("/runs/{id}/explain", get(runs::explain))
        .route("/runs/{id}/signals/{name}", post(signals::signal))
        .route("/runs/{id}/cancel", post(signals::cancel))
        .route("/runs/{id}/kill", post(signals::kill))
        .route("/dead-letters", get(dead_letters::list))
        .route("/dead-letters/{id}", get(dead_letters::show))
        .route("/dead-letters/{id}/replay", post(dead_letters::replay))
        .route("/events", get(events::list))
        .route("/breakers", get(breakers::list))
        .route("/breakers/{name}/reset", post(breakers::reset))
}
