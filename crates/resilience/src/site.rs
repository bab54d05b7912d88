use std::sync::Arc;

use steadfast_core::{
    Coded, World,
    observe::{Observer, Signal, silent},
};

use crate::Error;

/// Where a part of a policy stands: its name, its world and who counts what it does.
#[derive(Clone)]
pub struct Site {
    /// The policy's name, from configuration or code.
    pub name: Arc<str>,
    /// Time and chance.
    pub world: World,
    /// Who counts.
    pub observer: Arc<dyn Observer>,
}

impl Site {
    /// A place of that name.
    pub fn new(name: &str, world: &World, observer: &Arc<dyn Observer>) -> Self {
        Self { name: name.into(), world: world.clone(), observer: observer.clone() }
    }
    /// The same where nobody counts.
    pub fn silent(name: &str, world: &World) -> Self {
        Self::new(name, world, &silent())
    }
    /// Counts a rejection on its way to the caller.
    pub(crate) fn reject(&self, error: Error) -> Error {
        self.observer.observe(Signal::Rejected { name: &self.name, by: error.code() });
        error
    }
}
