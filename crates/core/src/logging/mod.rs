//! JSON lines on stderr that cannot carry what they must not.
//!
//! Whoever writes a log line under pressure cannot be relied on to mask amounts, accounts,
//! e-mail addresses, phone numbers or tokens. So the shape of a line decides, not its
//! author:
//!
//! 1. A field's value is shown only if its *name* is on the list in `fields`; every other
//!    value is `[masked]`, whatever its type, its `Debug` included.
//! 2. Shown text is one short word of ASCII and passes [`scrub`]; a metric is a number.
//! 3. A message of ours is a constant sentence. One put together at run time is withheld,
//!    and `tests/log_messages.rs` finds it in the source.
//! 4. Other crates' messages and fields are withheld, as nobody here reviews them. With
//!    `log.third_party = true` they pass 1, 2 and the scrubber.
//! 5. A panic logs its place, never its message, which often holds the value that broke it.

mod fields;
mod layer;
mod scrub;

use std::io::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

pub use layer::JsonLines;
pub use scrub::scrub;

use crate::{Coded, Fault, World};

/// What is logged. Lines are JSON, one each, on stderr.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// The least level shown (`error`, `warn`, `info`, `debug`, `trace`), or one per part:
    /// `info,steadfast_engine=debug`. `debug` writes a line per request.
    pub level: String,
    /// Show what libraries say, scrubbed. They are not ours to vouch for: only for a while,
    /// while something is being looked for.
    pub third_party: bool,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { level: "info".into(), third_party: false }
    }
}

/// Logging that could not be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The level does not read.
    #[error("{0:?} is no level: expected one, or levels by part such as info,steadfast_engine=debug")]
    Level(String),
    /// Something else receives the lines of this process.
    #[error("logging is already set up in this process: call init once, at the start of main")]
    Installed,
}

impl Coded for LogError {
    fn code(&self) -> &'static str {
        match self {
            Self::Level(_) => "config.log_level",
            Self::Installed => "log.installed",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Level(_) => Fault::Caller,
            Self::Installed => Fault::Us,
        }
    }
}

impl LogConfig {
    /// Which lines are written.
    fn filter(&self) -> Result<EnvFilter, LogError> {
        EnvFilter::try_new(&self.level).map_err(|_| LogError::Level(self.level.clone()))
    }
    /// Why logging could not be set up like this.
    pub fn check(&self) -> Option<LogError> {
        self.filter().err()
    }
}

/// Logs to stderr from now on, for the whole process.
pub fn init(config: &LogConfig, world: &World) -> Result<(), LogError> {
    let filter = config.filter()?;
    let lines = JsonLines::new(std::io::stderr(), config, world.clone());
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().map_err(|_| LogError::Installed)
}

/// From now on a panic logs where it happened and nothing else.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let (file, line) = panic.location().map_or(("", 0), |at| (at.file(), at.line()));
        if tracing::dispatcher::has_been_set() {
            tracing::error!(file, line, "A thread panicked.");
        } else {
            // Nothing to be done if stderr is closed.
            let _ = writeln!(std::io::stderr(), "A thread panicked at {file}:{line}.");
        }
    }));
}

#[cfg(test)]
mod tests;
