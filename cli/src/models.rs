//! The model gateway of a node, and its configuration read again.

use std::sync::Arc;

use steadfast_core::{Failure, World, config::environment, observe::Observer, secret::Keyring};
use steadfast_log::Log;
use steadfast_models::{Current, Home, Models, ModelsConfig};
use steadfast_models_api::ModelsApp;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    config::{self, Config, ConfigArgs},
    failed::Failed,
};

/// Where the configuration is read from again.
pub(crate) struct Source {
    pub(crate) config: ConfigArgs,
    /// Whether a provider that needs no network is there in any case.
    pub(crate) demo: bool,
}

/// The gateway as it is configured.
pub(crate) async fn app(
    source: Source,
    config: &Config,
    log: Arc<dyn Log>,
    world: &World,
    observer: &Arc<dyn Observer>,
    home: &Home,
    words: Keyring,
) -> anyhow::Result<ModelsApp> {
    let Source { config: source, demo } = source;
    let models = Models::at(home, completed(config.models.clone(), demo), &environment(), world, observer)?;
    let models = models.with_keys_on(log).await?;
    let current = Arc::new(Current::new(models));
    let (again, clock) = (current.clone(), world.clone());
    let reload = move || {
        let read = || -> anyhow::Result<()> {
            let next = config::load_models(&source, &clock)?;
            Ok(again.reload(completed(next, demo), &environment())?)
        };
        let failed = |error: anyhow::Error| Failed::of(&error).refusal();
        let reloaded = read().map_err(failed);
        match &reloaded {
            Ok(()) => tracing::info!("the configuration of models was read again"),
            Err(failure) => {
                let code = failure.code.as_str();
                tracing::error!(
                    code,
                    "the configuration of models was not read again: the earlier one stays"
                );
            }
        }
        reloaded
    };
    Ok(ModelsApp::new(current, Arc::new(reload), words))
}

/// With the providers that need no configuration.
fn completed(config: ModelsConfig, demo: bool) -> ModelsConfig {
    let config = config.or_from_environment(&environment());
    if demo { config.or_local() } else { config }
}

/// Reads the configuration again whenever the process is told to.
pub(crate) fn reload_on_hangup(app: ModelsApp) -> anyhow::Result<impl Future<Output = ()>> {
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        while hangup.recv().await.is_some() {
            // Whoever asked by a signal reads the log, or finds the old one in use.
            let _: Result<(), Failure> = app.reload().await;
        }
    })
}
