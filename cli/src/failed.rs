//! How a command fails: a line for people or, under `--json`, one JSON object for
//! programs; on stderr in both cases.

use std::{error::Error, fmt, io};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use steadfast_core::{
    Coded, Failure,
    config::{ConfigError, SecretError},
    logging::LogError,
    money::MoneyError,
    principal::InvalidName,
};
use steadfast_log::{CommitError, ReadError};
use steadfast_log_sqlite::StoreError;
use steadfast_models::{SetupError, record::RecordError};
use steadfast_server::{KeyFileError, WebhookError};

/// The command line itself is wrong; the exit code is then 2.
pub(crate) const USAGE: &str = "command.usage";

/// What a program learns of a failed command.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Failed {
    code: String,
    message: String,
    retryable: bool,
    nothing_happened: bool,
    /// Which member of the request is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    /// What was decided about.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Value>,
    /// To ask again with, so that nothing is done twice.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotency_key: Option<String>,
}

/// An error of a request that was sent under an idempotency key.
#[derive(Debug, thiserror::Error)]
#[error("under the idempotency key {key}")]
pub(crate) struct Keyed {
    pub(crate) key: String,
    pub(crate) source: anyhow::Error,
}

/// A refusal by the server.
#[derive(Debug, thiserror::Error)]
#[error("{}", .problem.detail)]
pub(crate) struct Refusal {
    pub(crate) problem: Problem,
}

/// A problem document.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Problem {
    pub(crate) code: String,
    pub(crate) detail: String,
    pub(crate) retryable: bool,
    pub(crate) nothing_happened: bool,
    #[serde(default)]
    pub(crate) field: Option<String>,
    #[serde(default)]
    pub(crate) id: Option<String>,
    #[serde(default)]
    pub(crate) data: Option<Value>,
}

impl Failed {
    /// From an error, its causes included.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        let mut said: Vec<String> = Vec::new();
        let mut failed = None;
        let mut idempotency_key = None;
        for cause in error.chain() {
            if let Some(keyed) = cause.downcast_ref::<Keyed>() {
                idempotency_key = Some(keyed.key.clone());
                continue;
            }
            let known = known(cause);
            let message = known.as_ref().map_or_else(|| cause.to_string(), |known| known.message.clone());
            // Some errors repeat what caused them.
            if !said.last().is_some_and(|last| last.ends_with(&message)) {
                said.push(message);
            }
            failed = failed.or(known);
        }
        let failed = failed.unwrap_or_else(|| Self::from(Failure::internal("command.failed", "")));
        Self { message: said.join(": "), idempotency_key, ..failed }
    }

    /// As a refusal of whoever asked.
    pub(crate) fn refusal(self) -> Failure {
        Failure::refused(self.code, self.message)
    }

    /// From what is wrong with the command line.
    pub(crate) fn usage(error: &clap::Error) -> Self {
        let text = error.to_string();
        let ends = ["\n\nUsage:", "\n\nFor more information"];
        let text = ends.iter().fold(text.as_str(), |text, end| text.split(end).next().unwrap_or(text));
        let text = text.trim_start_matches("error: ").split_whitespace().collect::<Vec<_>>().join(" ");
        Failure::refused(USAGE, text).into()
    }

    pub(crate) fn to_json(&self) -> String {
        // Texts, flags and a JSON value: nothing here can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.message, self.code)
    }
}

impl From<Failure> for Failed {
    fn from(failure: Failure) -> Self {
        let Failure { code, message, retryable, nothing_happened, data, .. } = failure;
        Self {
            code,
            message,
            retryable,
            nothing_happened,
            field: None,
            id: None,
            data,
            idempotency_key: None,
        }
    }
}

/// What an error says of itself, if it is one of ours.
fn known(error: &(dyn Error + 'static)) -> Option<Failed> {
    macro_rules! coded {
        ($($kind:ty)*) => {
            $(if let Some(error) = error.downcast_ref::<$kind>() {
                return Some(error.failure().into());
            })*
        };
    }
    coded!(StoreError ReadError CommitError ConfigError SecretError LogError MoneyError KeyFileError WebhookError SetupError RecordError);
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return Some(failure.clone().into());
    }
    if let Some(Refusal { problem }) = error.downcast_ref() {
        let problem = problem.clone();
        return Some(Failed {
            code: problem.code,
            message: problem.detail,
            retryable: problem.retryable,
            nothing_happened: problem.nothing_happened,
            field: problem.field,
            id: problem.id,
            data: problem.data,
            idempotency_key: None,
        });
    }
    if error.is::<InvalidName>() {
        return Some(Failure::refused("name.invalid", error.to_string()).into());
    }
    error.is::<io::Error>().then(|| Failure::internal("command.io", error.to_string()).into())
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes_and_the_code_of_the_one_that_has_one() {
        let mut failure = Failure::upstream("server.no_answer", "the server did not answer");
        failure.nothing_happened = false;
        let keyed = Keyed { key: "k-1".into(), source: failure.into() };
        let failed = Failed::of(&anyhow::Error::from(keyed).context("run 7 was not ended"));
        assert_eq!(failed.message, "run 7 was not ended: the server did not answer");
        assert_eq!(
            (failed.code.as_str(), failed.retryable, failed.nothing_happened),
            ("server.no_answer", true, false)
        );
        assert_eq!(failed.idempotency_key.as_deref(), Some("k-1"));
    }

    #[test]
    fn an_error_of_others_has_a_code_too_and_claims_nothing() {
        let failed = Failed::of(&anyhow::anyhow!("odd"));
        assert_eq!(failed.to_string(), "odd (command.failed)");
        assert!(!failed.nothing_happened);
        let missing: Result<(), _> = Err(io::Error::from(io::ErrorKind::NotFound));
        let failed = Failed::of(&missing.context("a.toml cannot be read").expect_err("an error"));
        assert_eq!(failed.code, "command.io");
        assert!(failed.message.starts_with("a.toml cannot be read: "), "{failed}");
    }
}
