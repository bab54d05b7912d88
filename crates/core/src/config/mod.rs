//! Configuration is data, checked at the start: TOML, overlaid by environment variables,
//! read into one struct per component.
//!
//! Every component declares a struct that derives `Serialize`, `Deserialize` and
//! `JsonSchema`, with `#[serde(default, deny_unknown_fields)]` and a written-out
//! `Default`. Its doc comments are the reference: [`reference_markdown`] and
//! [`example_toml`] print them. `#[serde(flatten)]` is not for configuration: it hides
//! which keys are known.
//!
//! The tree remembers where each value came from, and the deserializer in `de` ties every
//! complaint of serde's to that place. It knows each struct's fields, so unknown keys are
//! found, all of them at once, even where `deny_unknown_fields` was forgotten.

mod de;
mod problem;
mod reference;
mod tree;
mod values;

use std::{cell::RefCell, collections::BTreeMap};

use serde::de::DeserializeOwned;

pub use problem::{ConfigError, Origin, Problem, nearest};
pub use reference::{example_toml, reference_markdown};
pub use values::{Period, SecretError, SecretSource, Share, Size, positive};

/// Environment variables by name, handed in so that tests need no real ones.
pub type Environment = BTreeMap<String, String>;

/// The variables of this process. Those that are not Unicode are left out.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// Reads `(file name, TOML text)`, if there is one, overlaid by the variables named
/// `STEADFAST_SECTION__KEY` (a double underscore goes one table down).
///
/// A variable's text is read as what its key wants: `12` is a number for a count and text
/// for a name; `[…]` and `{…}` are read as TOML.
///
/// ```
/// # use steadfast_core::config::{Environment, Period, load};
/// #[derive(serde::Deserialize)]
/// struct Config { wait: Period }
/// let config: Config = load(Some(("steadfast.toml", "wait = '30s'")), &Environment::new())?;
/// assert_eq!(config.wait.get().as_secs(), 30);
/// # Ok::<_, steadfast_core::config::ConfigError>(())
/// ```
pub fn load<T: DeserializeOwned>(source: Option<(&str, &str)>, env: &Environment) -> Result<T, ConfigError> {
    load_checked(source, env, |_| Vec::new())
}

/// [`load`], then `check` for what no single value can know, such as names that must exist
/// elsewhere. What `check` returns ([`Problem::about`] a dotted key) is given its place.
pub fn load_checked<T: DeserializeOwned>(
    source: Option<(&str, &str)>,
    env: &Environment,
    check: impl FnOnce(&T) -> Vec<Problem>,
) -> Result<T, ConfigError> {
    let tree = tree::read(source, env)?;
    let problems = RefCell::new(Vec::new());
    let value = T::deserialize(de::De::new(&tree, &problems));
    let mut problems = problems.into_inner();
    match value {
        Ok(value) => {
            problems.extend(check(&value).into_iter().map(|problem| tree.locate(problem)));
            if problems.is_empty() { Ok(value) } else { Err(ConfigError { problems }) }
        }
        Err(failed) => {
            problems.push(*failed.0);
            Err(ConfigError { problems })
        }
    }
}

#[cfg(test)]
mod tests;
