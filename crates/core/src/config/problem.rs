use std::{fmt, sync::Arc};

use crate::{Coded, Fault, shown};

/// The longest that one problem is told with: keys and names of files are others' choice.
const SAID_MAX: usize = 1_000;

/// Of a configuration that cannot be used, whatever is wrong with it.
const INVALID: &str = "config.invalid";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line, counted from 1, of a file.
    File {
        /// The file's name as it was given.
        name: Arc<str>,
        /// The line, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Variable(Arc<str>),
    /// Neither a file nor a variable says anything about it.
    Nowhere,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Nowhere => f.write_str("configuration"),
        }
    }
}

/// One thing that is wrong with the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Which rule it breaks. Stable, for programs.
    pub code: &'static str,
    /// Where.
    pub origin: Origin,
    /// The dotted key; empty for the file as a whole.
    pub key: String,
    /// What was found, if it is a scalar and cannot be a misplaced secret.
    pub value: Option<String>,
    /// What is wrong, or what was expected.
    pub message: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Problem {
    /// A problem with the value at a dotted key; [`super::load_checked`] adds the place.
    pub fn about(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: INVALID,
            origin: Origin::Nowhere,
            key: key.into(),
            value: None,
            message: message.into(),
            suggestion: None,
        }
    }
    /// A problem with the text at a known place.
    pub(super) fn at(origin: Origin, message: impl Into<String>) -> Box<Self> {
        Box::new(Self { origin, ..Self::about("", message) })
    }
    /// A name that nothing else declares: `kind` is what it should name.
    pub fn dangling<'a>(
        key: impl Into<String>,
        kind: &str,
        name: &str,
        known: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let suggestion = nearest(name, known).map(str::to_owned);
        let about = Self::about(key, format!("there is no such {kind}"));
        Self { code: "config.unknown_name", value: Some(quoted(name)), suggestion, ..about }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = format!("{}: ", self.origin);
        match (&*self.key, &self.value) {
            ("", _) => {}
            (key, None) => said.extend([key, ": "]),
            (key, Some(value)) => said.extend([key, " = ", value, ": "]),
        }
        said.push_str(&self.message);
        if let Some(name) = &self.suggestion {
            said.extend(["; did you mean `", name, "`?"]);
        }
        f.write_str(&shown(&said, SAID_MAX))
    }
}

/// A configuration that cannot be used, with everything found wrong in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// At least one.
    pub problems: Vec<Problem>,
}

impl From<Box<Problem>> for ConfigError {
    fn from(problem: Box<Problem>) -> Self {
        Self { problems: vec![*problem] }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if i == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Coded for ConfigError {
    fn code(&self) -> &'static str {
        INVALID
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// The known name that `name` is most likely a misspelling of.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    known
        .into_iter()
        .map(|other| (strsim::damerau_levenshtein(&lower, &other.to_lowercase()), other))
        .filter(|(distance, other)| *distance <= 1 + other.chars().count() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, other)| other)
}

/// A text value as it may be shown: in quotes, not too long, a URL's password left out.
pub(super) fn quoted(text: &str) -> String {
    let shown = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            format!("{}***{}", &text[..scheme + 3], &text[at..])
        }
        _ => text.to_owned(),
    };
    let cut: String = shown.chars().take(80).collect();
    if cut.len() < shown.len() { format!("{:?}", cut + "…") } else { format!("{cut:?}") }
}

/// The dotted key of `key` in the table `path`; either may be empty.
pub(super) fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", key) => key.into(),
        (path, "") => path.into(),
        (path, key) => format!("{path}.{key}"),
    }
}
