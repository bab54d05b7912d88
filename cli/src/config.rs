//! The whole configuration of a node: one section for each part of the house.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_bank::BankConfig;
use steadfast_bank_assistant::AssistantConfig;
use steadfast_core::{
    Coded as _, Failure, World,
    config::{Problem, SecretSource, environment, load_checked},
    logging::LogConfig,
};
use steadfast_engine::EngineConfig;
use steadfast_log_sqlite::StoreConfig;
use steadfast_models::{Models, ModelsConfig, record};
use steadfast_resilience::Policies;
use steadfast_server::{ServerConfig, WebhookConfig};

use crate::keys;

/// Where the configuration is.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct ConfigArgs {
    /// A TOML file; variables named STEADFAST_SECTION__KEY go over it.
    #[arg(long, value_name = "FILE", env = "STEADFAST_CONFIG")]
    pub(crate) config: Option<PathBuf>,
}

impl ConfigArgs {
    /// As the surroundings say, for commands that take no --config.
    pub(crate) fn from_env() -> Self {
        let config = std::env::var_os("STEADFAST_CONFIG").map(PathBuf::from);
        Self { config }
    }
}

/// Everything that can be configured.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// What the node is for.
    pub(crate) node: NodeSection,
    /// What listens.
    pub(crate) server: ServerConfig,
    /// Where everything is kept.
    pub(crate) store: StoreSection,
    /// How runs are advanced.
    pub(crate) engine: EngineConfig,
    /// What is logged.
    pub(crate) log: LogConfig,
    /// The bank.
    pub(crate) bank: BankConfig,
    /// The bank's assistant.
    pub(crate) assistant: AssistantConfig,
    /// Models, served under `/v1`. The only section that is read again while the node runs:
    /// on SIGHUP, and by `steadfast config reload`.
    pub(crate) models: ModelsConfig,
    /// How calls to the outside are protected, by name.
    pub(crate) resilience: Policies,
    /// Where events are sent, by name.
    pub(crate) sinks: BTreeMap<String, WebhookConfig>,
}

/// The node itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct NodeSection {
    /// Real money and real people: the node refuses to start without `store.key`, and with
    /// `--demo` or `--bench`.
    pub(crate) production: bool,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreSection {
    /// Where it is: `sqlite:PATH`. The node's key, `node.key`, lies beside it.
    pub(crate) url: String,
    /// Encrypts large values at rest (AES-256-GCM): 64 hex digits, as `openssl rand -hex 32`
    /// makes. What was stored without a key stays readable; without one nothing is encrypted.
    pub(crate) key: Option<SecretSource>,
    /// Keys of earlier times: they open what they sealed, and seal nothing any more.
    pub(crate) old_keys: Vec<SecretSource>,
    /// How the store on SQLite works.
    pub(crate) sqlite: StoreConfig,
}

impl Default for StoreSection {
    fn default() -> Self {
        Self {
            url: "sqlite:data/steadfast.db".into(),
            key: None,
            old_keys: Vec::new(),
            sqlite: StoreConfig::default(),
        }
    }
}

/// `sqlite:PATH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreUrl(PathBuf);

impl StoreUrl {
    /// Of the store in that file.
    pub(crate) fn of(path: PathBuf) -> Self {
        Self(path)
    }
    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
    /// The records of model calls, beside the file.
    pub(crate) fn records_path(&self) -> PathBuf {
        self.0.with_file_name(record::FILE)
    }
    /// Those of a backup at this place.
    pub(crate) fn records_copy(&self) -> PathBuf {
        let mut name = self.0.clone().into_os_string();
        name.push(".gateway");
        name.into()
    }
    /// The node's key, beside the file.
    pub(crate) fn key_path(&self) -> PathBuf {
        self.0.with_file_name("node.key")
    }
}

impl std::str::FromStr for StoreUrl {
    type Err = Failure;
    fn from_str(text: &str) -> Result<Self, Failure> {
        match text.strip_prefix("sqlite:") {
            Some(path) if !path.is_empty() => Ok(Self(path.into())),
            _ => {
                let message =
                    format!("{text:?} is not a store: write sqlite:PATH, such as sqlite:data/steadfast.db");
                Err(Failure::refused("store.invalid_url", message))
            }
        }
    }
}

/// Reads file and variables, and checks what no single value can know. Whatever they point to
/// need not be there: commands beside a node have neither its secrets nor its providers.
pub(crate) fn load(args: &ConfigArgs) -> anyhow::Result<Config> {
    load_checked_by(args, |config| problems(config, ModelsConfig::check))
}

/// The same for a node: everything for which it would refuse to start is told, as far as the
/// configuration and what it points to say it.
pub(crate) fn load_to_serve(args: &ConfigArgs, world: &World) -> anyhow::Result<Config> {
    load_checked_by(args, |config| to_serve(config, world))
}

/// The same for a node that takes `[models]` from it alone.
pub(crate) fn load_models(args: &ConfigArgs, world: &World) -> anyhow::Result<ModelsConfig> {
    let loaded = load_checked_by(args, |config| problems(config, set_up(world)));
    Ok(loaded?.models)
}

fn load_checked_by(args: &ConfigArgs, check: impl FnOnce(&Config) -> Vec<Problem>) -> anyhow::Result<Config> {
    let file = args.config.as_ref().map(|path| {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| {
            let message = format!("configuration {name} cannot be read; check --config: {error}");
            Failure::refused("config.unreadable", message)
        })?;
        anyhow::Ok((name, text))
    });
    let file = file.transpose()?;
    let source = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
    Ok(load_checked(source, &environment(), check)?)
}

/// Checks `[models]`, providers and all.
fn set_up(world: &World) -> impl FnOnce(&ModelsConfig, &str) -> Vec<Problem> {
    |models, section| Models::check(models, section, &environment(), world)
}

fn to_serve(config: &Config, world: &World) -> Vec<Problem> {
    let mut problems = problems(config, set_up(world));
    if let Some(error) = config.log.check() {
        problems.push(Problem { code: error.code(), ..Problem::about("log.level", error.to_string()) });
    }
    if let Err(error) = keys::ring(&config.store, world) {
        problems.extend(error.problems);
    }
    for (name, sink) in &config.sinks {
        if let Err(error) = sink.check(&environment()) {
            let key = format!("sinks.{name}.{}", error.field().unwrap_or_default());
            problems.push(Problem { code: error.code(), ..Problem::about(key, error.to_string()) });
        }
    }
    problems
}

fn problems(config: &Config, models: impl FnOnce(&ModelsConfig, &str) -> Vec<Problem>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if let Err(error) = config.store.url.parse::<StoreUrl>() {
        problems.push(Problem::about("store.url", error.message));
    }
    if config.node.production && config.store.key.is_none() {
        let message = "node.production is set, and nothing that is kept may lie open: make a key with \
            `openssl rand -hex 32`, put it into a file or a variable, and name that here";
        problems.push(Problem::about("store.key", message));
    }
    problems.extend(models(&config.models.clone().or_from_environment(&environment()), "models"));
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_production_there_is_a_key() {
        let read = |text: &str| {
            load_checked::<Config>(Some(("it", text)), &[].into(), |it| problems(it, ModelsConfig::check))
        };
        let refused = read("[node]\nproduction = true\n").expect_err("refused").to_string();
        assert!(refused.contains("store.key") && refused.contains("openssl rand"), "{refused}");
        read("[node]\nproduction = true\n[store]\nkey = { env = 'KEY' }\n").expect("fine");
        read("").expect("fine");
    }

    #[test]
    fn a_store_is_a_url_and_its_key_lies_beside_it() {
        let url: StoreUrl = "sqlite:a/b.db".parse().expect("a store");
        assert_eq!(url.key_path(), Path::new("a/node.key"));
        for wrong in ["", "sqlite:", "a/b.db", "postgres://x"] {
            assert!(wrong.parse::<StoreUrl>().is_err(), "{wrong:?}");
        }
    }
}
