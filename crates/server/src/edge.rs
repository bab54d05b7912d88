use std::{sync::Arc, time::Duration};

use steadfast_core::World;
use steadfast_engine::Engine;
use steadfast_resilience::Registry;
use tokio::sync::watch;

use crate::{Metrics, NodeKey, ServerConfig, TokenError, seen::Seen, token::Good};

/// What every handler may lean on. Cheap to clone.
///
/// An application's own state holds one and implements `FromRef`, so that the extractors
/// of this crate work in its handlers too.
#[derive(Clone)]
pub struct Edge {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    key: NodeKey,
    seen: Seen,
    config: ServerConfig,
    metrics: Arc<Metrics>,
    breakers: Arc<Registry>,
    stopping: watch::Sender<bool>,
}

impl Edge {
    pub(crate) fn new(
        engine: Engine,
        key: NodeKey,
        config: ServerConfig,
        metrics: Arc<Metrics>,
        breakers: Arc<Registry>,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                engine,
                key,
                seen: Seen::default(),
                config,
                metrics,
                breakers,
                stopping: watch::Sender::new(false),
            }),
        }
    }
    /// The engine, and through it log and world.
    pub fn engine(&self) -> &Engine {
        &self.inner.engine
    }
    /// Time and chance.
    pub fn world(&self) -> &World {
        self.inner.engine.world()
    }
    pub(crate) fn config(&self) -> &ServerConfig {
        &self.inner.config
    }
    pub(crate) fn key(&self) -> &NodeKey {
        &self.inner.key
    }
    /// What a token says, if it is good now.
    pub(crate) fn verify(&self, token: &str) -> Result<Good, TokenError> {
        self.inner.seen.verify(token, &self.inner.key, self.world())
    }
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }
    pub(crate) fn breakers(&self) -> &Registry {
        &self.inner.breakers
    }
    pub(crate) fn stop(&self) {
        self.inner.stopping.send_replace(true);
    }
    pub(crate) fn stopping(&self) -> bool {
        *self.inner.stopping.borrow()
    }
    /// Ends when the node stops.
    pub(crate) async fn stopped(&self) {
        // An error means that the edge is gone, and it is not: `self` is part of it.
        let _ = self.inner.stopping.subscribe().wait_for(|stopping| *stopping).await;
    }
    /// `work`, if it ends within `limit`. Dropping it half-way must be fine.
    pub(crate) async fn within<T>(&self, limit: Duration, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.world().clock().sleep(limit) => None,
        }
    }
}

impl std::fmt::Debug for Edge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Edge").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
