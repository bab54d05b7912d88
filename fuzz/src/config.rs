//! Configuration: a file, and variables over it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use steadfast_bank::BankConfig;
use steadfast_bank_assistant::AssistantConfig;
use steadfast_core::{
    config::{Environment, SecretSource, load},
    logging::LogConfig,
};
use steadfast_engine::EngineConfig;
use steadfast_resilience::Policies;
use steadfast_server::{ServerConfig, WebhookConfig};

use crate::told;

/// The sections of every component, and all kinds of values.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    server: ServerConfig,
    engine: EngineConfig,
    log: LogConfig,
    bank: BankConfig,
    assistant: AssistantConfig,
    resilience: Policies,
    sinks: BTreeMap<String, WebhookConfig>,
    key: Option<SecretSource>,
    old_keys: Vec<SecretSource>,
}

/// A file up to the first NUL, then variables, one a line.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let (file, variables) = text.split_once('\0').unwrap_or((text, ""));
    let variables: Environment = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match load::<Config>(Some(("fuzz.toml", file)), &variables) {
        Ok(config) => {
            let written = toml::to_string(&config).expect("what was read can be written");
            let again = load::<Config>(Some(("again.toml", &written)), &Environment::new());
            assert_eq!(again.as_ref(), Ok(&config), "{written}");
        }
        Err(error) => {
            assert!(!error.problems.is_empty(), "refused without a reason");
            for problem in &error.problems {
                told::text(&problem.to_string());
            }
        }
    }
}
