use std::sync::Arc;

use axum::{
    Router,
    extract::FromRef,
    middleware::from_fn_with_state,
    routing::{delete, get, post},
};
use steadfast_core::{Failure, secret::Keyring};
use steadfast_engine::{Engine, Registry};
use steadfast_models::{Current, serve};
use steadfast_resilience::Breakers;
use steadfast_server::{App, Edge};

use crate::{
    durable::OnEngine,
    gate::gate,
    money, operate,
    responses::{self, Responses},
};

/// Reads the configuration again and puts it in place, or says why not. It may block.
pub type Reload = Arc<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// The gateway as what a server mounts.
#[derive(Clone)]
pub struct ModelsApp {
    pub(crate) current: Arc<Current>,
    reload: Reload,
    responses: Responses,
}

/// Registers what the gateway runs, for a binary that only reads runs.
pub fn register(registry: &mut Registry) {
    responses::register(registry, None);
}

/// What handlers for operators need.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) edge: Edge,
    pub(crate) app: ModelsApp,
}

impl FromRef<Desk> for Edge {
    fn from_ref(desk: &Desk) -> Self {
        desk.edge.clone()
    }
}

impl ModelsApp {
    /// Of this gateway. What is asked and answered beyond a request is sealed with the ring's
    /// first key.
    pub fn new(current: Arc<Current>, reload: Reload, keyring: Keyring) -> Self {
        let responses = Responses::new(current.clone(), keyring);
        Self { current, reload, responses }
    }
    /// Registers what it runs: responses in the background.
    pub fn register(&self, registry: &mut Registry) {
        responses::register(registry, Some(self.responses.clone()));
    }
    /// Says which engine runs it.
    pub fn run_on(&self, engine: &Engine) {
        self.responses.run_on(engine);
    }
    /// Tells all who still wait that the node stops.
    pub fn stop(&self) {
        self.current.get().stop();
    }
    /// Writes down all calls that have ended.
    pub async fn flush(&self) {
        self.current.get().flush().await;
    }
    /// The providers' breakers.
    pub fn breakers(&self) -> Arc<dyn Breakers> {
        self.current.clone()
    }
    /// Reads the configuration again and puts it in place, or leaves all as it is.
    pub async fn reload(&self) -> Result<(), Failure> {
        let reload = self.reload.clone();
        let reloaded = tokio::task::spawn_blocking(move || reload()).await;
        let fault = "reading the configuration again met a fault in the server";
        reloaded.unwrap_or_else(|_| Err(Failure::internal("node.panicked", fault)))
    }
}

impl App for ModelsApp {
    fn name(&self) -> &'static str {
        "models"
    }
    fn routes(&self, edge: Edge) -> Router {
        let desk = Desk { edge, app: self.clone() };
        let operators = from_fn_with_state(desk.clone(), operate::only_operators);
        Router::new()
            .route("/", get(operate::list))
            .route("/test", post(operate::test))
            .route("/reload", post(operate::reload))
            .route("/status", get(money::status))
            .route("/costs", get(money::costs))
            .route("/calls", get(money::calls))
            .route("/keys", get(money::keys).post(money::make))
            .route("/keys/{id}", delete(money::revoke))
            .with_state(desk)
            .merge(serve::operator_routes(self.current.clone()).layer(operators))
    }
    fn foreign(&self, edge: Edge) -> Router {
        let durable = Arc::new(OnEngine::new(edge.engine().clone(), &self.responses));
        serve::routes(self.current.clone(), gate(edge), Some(durable))
    }
    fn health(&self) -> Option<&'static str> {
        let models = self.current.get();
        models.config().enabled.then(|| models.health().name())
    }
}
