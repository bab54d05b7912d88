//! The model gateway of a node, and its configuration read again.

use std::sync::Arc;

use steadfast_core::{
    Failure, World,
    config::{ConfigError, Origin, Problem, environment},
    observe::Observer,
    secret::Keyring,
};
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
        read().map_err(|error| {
            tell(&error);
            Failed::of(&error).refusal()
        })?;
        tracing::info!("the configuration of models was read again");
        Ok(())
    };
    Ok(ModelsApp::new(current, Arc::new(reload), words))
}

/// Logs why the configuration was not taken: each rule that it breaks and where, and no value.
fn tell(error: &anyhow::Error) {
    let problems = error.downcast_ref::<ConfigError>().map(|it| it.problems.as_slice()).unwrap_or_default();
    for Problem { code, key, origin, .. } in problems {
        let (file, line, name) = match origin {
            Origin::File { name, line } => (Some(&**name), Some(*line), None),
            Origin::Variable(name) => (None, None, Some(&**name)),
            Origin::Nowhere => (None, None, None),
        };
        let field = key.as_str();
        tracing::error!(code, field, file, line, name, "this field of the configuration is wrong");
    }
    let code = Failed::of(error).refusal().code;
    tracing::error!(
        code,
        "the configuration of models was not read again, and the earlier one stays: `steadfast config check` \
        with the server's file and variables says what is expected, `steadfast config reload` takes it again"
    );
}

/// With the providers that need no configuration.
fn completed(config: ModelsConfig, demo: bool) -> ModelsConfig {
    let config = config.or_from_environment(&environment());
    if demo { config.or_local() } else { config }
}

/// Which providers there are, and where their keys come from: a line each.
pub(crate) fn providers(config: &ModelsConfig, demo: bool) -> Vec<String> {
    if !config.enabled {
        return Vec::new();
    }
    completed(config.clone(), demo).providers_told(&environment())
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
