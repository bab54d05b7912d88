//! The order of stages that every call passes, each a file of its own.
//!
//! ```text
//! redact, screen → estimate, reserve budget → cache → admission → route → degrade
//! ```
//!
//! A stage that is not listed in [`Models::process`] is not there. Whatever a stage takes
//! (a reservation, a place, a permit) is given back when what it returned is dropped.

use std::sync::Arc;

use http::HeaderMap;
use steadfast_core::{World, config::Environment, observe::Observer};
use steadfast_resilience::BreakerState;

use bytes::Bytes;

use crate::{
    answer::Answer,
    call::{Call, Caller, Operation},
    config::ModelsConfig,
    failure::Rejected,
    providers::SetupError,
    route::Routes,
    screen::Screen,
};

/// The gateway.
pub struct Models {
    screen: Screen,
    routes: Routes,
    config: ModelsConfig,
    world: World,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models").field("models", &self.routes.models()).finish_non_exhaustive()
    }
}

/// How well models can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// All providers are called.
    Healthy,
    /// Some are left alone.
    Degraded,
    /// All are left alone.
    Unhealthy,
}

impl Models {
    /// Sets up all providers; none is called yet. Keys are found in `env` or in files.
    pub fn new(
        config: ModelsConfig,
        env: &Environment,
        world: &World,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, SetupError> {
        let routes = Routes::new(&config, env, world, observer)?;
        let screen = Screen::new(&config.screen).map_err(SetupError::Screen)?;
        Ok(Self { screen, routes, config, world: world.clone() })
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
    pub async fn answer(&self, mut call: Call) -> Result<Answer, Rejected> {
        let wanted = self.routes.screened(&call.asked.model);
        let redacted = self.screen.redact(&mut call, wanted)?;
        let call = Arc::new(call);
        let result = self.routes.answer(&call).await;
        match (redacted, result) {
            (Some(redacted), Ok(answer)) => Ok(redacted.restore(&call, answer)),
            (Some(redacted), Err(rejected)) => Err(redacted.restore_words(rejected)),
            (None, result) => result,
        }
    }
    /// Models that can be asked for by name.
    pub fn models(&self) -> Vec<&str> {
        self.routes.models()
    }
    /// How the providers' breakers stand.
    pub fn breakers(&self) -> Vec<BreakerState> {
        self.routes.breakers()
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
