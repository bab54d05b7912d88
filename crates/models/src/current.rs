//! The gateway as it is configured now.
//!
//! A request takes the present one with it and ends with it; the next request gets what was
//! put in its place meanwhile. So nothing is dropped when the configuration is read again.

use std::sync::{Arc, PoisonError, RwLock};

use steadfast_core::config::Environment;
use steadfast_resilience::{BreakerState, Breakers};

use crate::{Models, ModelsConfig, SetupError};

/// Which [`Models`] answers.
#[derive(Debug)]
pub struct Current(RwLock<Arc<Models>>);

impl Current {
    /// To begin with.
    pub fn new(models: Models) -> Self {
        Self(RwLock::new(Arc::new(models)))
    }
    /// The present one.
    pub fn get(&self) -> Arc<Models> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// Puts one of another configuration in its place, or leaves all as it is.
    pub fn reload(&self, config: ModelsConfig, env: &Environment) -> Result<(), SetupError> {
        let next = Arc::new(self.get().reloaded(config, env)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }
}

impl Breakers for Current {
    fn breakers(&self) -> Vec<BreakerState> {
        self.get().breakers()
    }
    fn reset(&self, name: &str) -> bool {
        self.get().reset(name)
    }
}
