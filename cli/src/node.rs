//! A node's parts, put together.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::Context as _;
use futures::future::BoxFuture;
use steadfast_bank::{Bank, BankConfig};
use steadfast_core::{
    Failure, NodeId, World,
    config::environment,
    observe::{Observer, silent},
};
use steadfast_engine::{Deliver, Engine, EngineConfig, Registry, Subscriber};
use steadfast_log::{Identity, Log, Recorded};
use steadfast_log_sqlite::{Options, SqliteLog, StoreConfig};
use steadfast_server::{Webhook, WebhookConfig};
use tokio::task::JoinHandle;

use crate::{
    effects,
    store::{StoreArgs, StoreUrl, blocking},
};

/// Opens the store for reading and writing; folders on the way are made.
pub(crate) async fn open_store(
    url: &StoreUrl,
    config: StoreConfig,
    world: &World,
    observer: Arc<dyn Observer>,
) -> anyhow::Result<Arc<SqliteLog>> {
    let path = url.path().to_owned();
    let mut options = Options::new(world.clone());
    options.config = config;
    options.observer = observer;
    blocking(move || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("{} cannot be made; check --store", folder.display()))?;
        }
        Ok(Arc::new(SqliteLog::open(path, options)?))
    })
    .await
}

/// The bank and the task that decides for it, which ends after the bank's last clone.
pub(crate) fn open_bank(log: &Arc<SqliteLog>, world: &World, config: BankConfig) -> (Bank, JoinHandle<()>) {
    let log: Arc<dyn Log> = log.clone();
    let (bank, decider) = Bank::open(log, world.clone(), NodeId::next(world), config);
    (bank, tokio::spawn(decider))
}

/// Everything that this binary can run.
pub(crate) fn registry(bank: &Bank) -> Registry {
    let mut registry = Registry::default();
    steadfast_bank::purchase::register(&mut registry, bank);
    registry
}

/// Adds those who are told of events outside.
pub(crate) fn add_sinks(
    registry: &mut Registry,
    sinks: &BTreeMap<String, WebhookConfig>,
    identity: Identity,
    world: &World,
) -> anyhow::Result<()> {
    for (name, config) in sinks {
        let webhook = Webhook::new(config, &environment(), identity, world.clone())
            .with_context(|| format!("sinks.{name}"))?;
        let sink = Arc::new(Sink(webhook));
        registry.subscriber(Subscriber::sink(format!("sink.{name}"), config.events.clone(), sink));
    }
    Ok(())
}

struct Sink(Webhook);

impl Deliver for Sink {
    fn deliver<'a>(&'a self, event: &'a Recorded) -> BoxFuture<'a, Result<(), Failure>> {
        Box::pin(self.0.deliver(event))
    }
}

/// An engine that only reads, beside a running server or without one.
pub(crate) async fn reading(store: &StoreArgs) -> anyhow::Result<Engine> {
    let log = Arc::new(store.read_only().await?);
    let world = World::system();
    // Its decider is never run: nothing here is decided.
    let bank: Arc<dyn Log> = log.clone();
    let node = NodeId::next(&world);
    let (bank, _) = Bank::open(bank, world.clone(), node, BankConfig::default());
    let mut registry = registry(&bank);
    effects::register(&mut registry, &world, None::<&Path>)?;
    let config = EngineConfig::default();
    Ok(Engine::new(log, world, registry, config, silent()))
}
