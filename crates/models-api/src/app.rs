use std::sync::Arc;

use axum::{
    Router,
    extract::FromRef,
    middleware::from_fn_with_state,
    routing::{delete, get, post},
};
use steadfast_core::Failure;
use steadfast_models::{Current, serve};
use steadfast_resilience::Breakers;
use steadfast_server::{App, Edge};

use crate::{gate::gate, money, operate};

/// Reads the configuration again and puts it in place, or says why not. It may block.
pub type Reload = Arc<dyn Fn() -> Result<(), Failure> + Send + Sync>;

/// The gateway as what a server mounts.
#[derive(Clone)]
pub struct ModelsApp {
    pub(crate) current: Arc<Current>,
    reload: Reload,
}

/// What handlers for operators need.
#[derive(Clone)]
pub(crate) struct Desk {
    edge: Edge,
    pub(crate) app: ModelsApp,
}

impl FromRef<Desk> for Edge {
    fn from_ref(desk: &Desk) -> Self {
        desk.edge.clone()
    }
}

impl ModelsApp {
    /// Of this gateway.
    pub fn new(current: Arc<Current>, reload: Reload) -> Self {
        Self { current, reload }
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
        serve::routes(self.current.clone(), gate(edge))
    }
    fn health(&self) -> Option<&'static str> {
        let models = self.current.get();
        models.config().enabled.then(|| models.health().name())
    }
}
