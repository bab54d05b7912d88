//! The order of stages that every call passes, each a file of its own.
//!
//! ```text
//! redact, screen → estimate, reserve budget → cache → admission → route → degrade
//! ```
//!
//! A stage that is not listed in [`Models::process`] is not there. Whatever a stage takes
//! (a reservation, a place, a permit) is given back when what it returned is dropped.

use std::{sync::Arc, time::Duration};

use http::HeaderMap;
use serde::Serialize;
use steadfast_core::{World, config::Environment, observe::Observer};
use steadfast_resilience::BreakerState;

use bytes::Bytes;

use crate::{
    answer::Answer,
    call::{Call, Caller, Operation},
    config::ModelsConfig,
    failure::Rejected,
    providers::SetupError,
    route::{Found, Probe, Routes},
};

/// The gateway.
pub struct Models {
    routes: Routes,
    observer: Arc<dyn Observer>,
    config: ModelsConfig,
    world: World,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models").field("models", &self.routes.models()).finish_non_exhaustive()
    }
}

/// How well models can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All providers are called.
    Healthy,
    /// Some are left alone.
    Degraded,
    /// All are left alone.
    Unhealthy,
}

impl Health {
    /// As a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Models {
    /// Sets up all providers; none is called yet. Keys are found in `env` or in files.
    pub fn new(
        config: ModelsConfig,
        env: &Environment,
        world: &World,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, SetupError> {
        let routes = Routes::new(&config, None, env, world, observer)?;
        Ok(Self { routes, observer: observer.clone(), config, world: world.clone() })
    }
    /// Another one for another configuration. Providers that did not change go on as they are:
    /// their connections, breakers and limits. Keys are read again.
    pub fn reloaded(&self, config: ModelsConfig, env: &Environment) -> Result<Self, SetupError> {
        let routes = Routes::new(&config, Some(&self.routes), env, &self.world, &self.observer)?;
        Ok(Self { routes, observer: self.observer.clone(), config, world: self.world.clone() })
    }
    /// Reads a call and answers it: all there is, in one.
    pub async fn process(
        &self,
        id: Arc<str>,
        operation: Operation,
        payload: Bytes,
        caller: Caller,
        options: &HeaderMap,
    ) -> Result<Answer, Rejected> {
        let call = Call::read(id, operation, options, payload, caller)?;
        self.answer(call).await
    }
    /// Answers a call. Dropped half-way, or its stream dropped, the call upstream is cancelled.
    pub async fn answer(&self, call: Call) -> Result<Answer, Rejected> {
        let call = Arc::new(call);
        self.routes.answer(&call).await
    }
    /// Models that can be asked for by name.
    pub fn models(&self) -> Vec<&str> {
        self.routes.models()
    }
    /// How the providers' breakers stand.
    pub fn breakers(&self) -> Vec<BreakerState> {
        self.routes.breakers()
    }
    /// Closes the breaker of that name. False if there is none.
    pub fn reset(&self, breaker: &str) -> bool {
        self.routes.reset(breaker)
    }
    /// All routes and providers.
    pub fn found(&self) -> Found {
        self.routes.found()
    }
    /// Asks everybody on the route of `model`, or on all routes, for something small, past
    /// breakers and limits.
    pub async fn probe(&self, model: Option<&str>, limit: Duration) -> Result<Vec<Probe>, Rejected> {
        self.routes.probe(model, limit).await
    }
    /// How well models can be reached.
    pub fn health(&self) -> Health {
        let breakers = self.routes.breakers();
        match breakers.iter().filter(|breaker| breaker.state != "closed").count() {
            0 => Health::Healthy,
            bad if bad == breakers.len() => Health::Unhealthy,
            _ => Health::Degraded,
        }
    }
    /// How it was configured.
    pub fn config(&self) -> &ModelsConfig {
        &self.config
    }
    /// Where its time and chance come from.
    pub fn world(&self) -> &World {
        &self.world
    }
}
