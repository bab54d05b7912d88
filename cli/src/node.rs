//! A node's parts, put together.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::Context as _;
use steadfast_bank::{Bank, BankConfig};
use steadfast_bank_assistant::{Assistant, AssistantConfig, understand::Rules};
use steadfast_core::{
    NodeId, World,
    config::environment,
    observe::{Observer, silent},
    secret::{Keyring, Secret},
};
use steadfast_engine::{Engine, EngineConfig, Registry, Subscriber};
use steadfast_log::{Identity, Log};
use steadfast_log_sqlite::SqliteLog;
use steadfast_server::{Webhook, WebhookConfig};
use tokio::task::JoinHandle;

use crate::{
    config::{StoreSection, StoreUrl},
    effects,
    store::{StoreArgs, blocking, options},
};

/// Opens the store for reading and writing; folders on the way are made.
pub(crate) async fn open_store(
    url: &StoreUrl,
    section: &StoreSection,
    world: &World,
    observer: Arc<dyn Observer>,
) -> anyhow::Result<Arc<SqliteLog>> {
    let path = url.path().to_owned();
    let mut options = options(section, world)?;
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

/// The bank's assistant. What people write is sealed with the store's key, or else with one
/// of the node's own.
pub(crate) fn assistant(
    bank: &Bank,
    log: &Arc<dyn Log>,
    world: &World,
    keyring: Keyring,
    config: AssistantConfig,
) -> Assistant {
    let rules = Arc::new(Rules::default());
    Assistant::new(bank.clone(), log.clone(), world.clone(), keyring, rules, config)
}

/// Everything that this binary can run.
pub(crate) fn registry(assistant: &Assistant) -> Registry {
    let mut registry = Registry::default();
    let bank = assistant.bank();
    steadfast_bank::purchase::register(&mut registry, bank);
    steadfast_bank::steps::register(&mut registry, bank);
    steadfast_bank_assistant::register(&mut registry, assistant);
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
            .with_context(|| format!("sink {name}"))?;
        let events = config.events.clone();
        registry.subscriber(Subscriber::sink(format!("sink.{name}"), events, Arc::new(webhook)));
    }
    Ok(())
}

/// An engine and a bank that only read, beside a running server or without one.
pub(crate) async fn reading(store: &StoreArgs) -> anyhow::Result<(Engine, Bank)> {
    let log = Arc::new(store.read_only().await?);
    let world = World::system();
    // Its decider is never run: nothing here is decided.
    let shared: Arc<dyn Log> = log.clone();
    let node = NodeId::next(&world);
    let (bank, _) = Bank::open(shared.clone(), world.clone(), node, BankConfig::default());
    // Nothing that was said is opened here, so any key does.
    let keyring = Keyring::new("none", &Secret::new([0; 32]), world.clone());
    let assistant = assistant(&bank, &shared, &world, keyring, AssistantConfig::default());
    let mut registry = registry(&assistant);
    steadfast_models_api::register(&mut registry);
    effects::register(&mut registry, &world, None::<&Path>)?;
    let config = EngineConfig::default();
    Ok((Engine::new(log, world, registry, config, silent()), bank))
}
