//! Every error answers: whose fault is it, may it be retried, and is it known that
//! nothing happened.

use serde::{Deserialize, Serialize};

/// Whose fault an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// Who asked: the request can never succeed as it stands.
    Caller,
    /// Something we call.
    Upstream,
    /// Steadfast itself, or the machine it runs on.
    Us,
}

/// What every error type of ours can say about itself.
pub trait Coded: std::error::Error {
    /// Stable, dotted or snake case, for programs: `idempotency_key_reused`.
    fn code(&self) -> &'static str;
    /// Whose fault it is.
    fn fault(&self) -> Fault;
    /// May the very same request succeed later?
    fn retryable(&self) -> bool {
        false
    }
    /// Is it known that nothing happened?
    fn nothing_happened(&self) -> bool {
        true
    }
    /// The serialisable form.
    fn failure(&self) -> Failure {
        Failure {
            code: self.code().into(),
            message: self.to_string(),
            fault: self.fault(),
            retryable: self.retryable(),
            nothing_happened: self.nothing_happened(),
            data: None,
        }
    }
}

/// An error as a value: what is recorded in events and answered over HTTP.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
#[serde(deny_unknown_fields)]
pub struct Failure {
    /// Stable, for programs.
    pub code: String,
    /// For people: what is wrong and what to do.
    pub message: String,
    /// Whose fault it is.
    pub fault: Fault,
    /// May the very same request succeed later?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
    /// Is it known that nothing happened?
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    pub nothing_happened: bool,
    /// Figures that belong to the message, such as what was available.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<serde_json::Value>,
}

/// What somebody sent, as it is told back: at most so many characters, and none that would
/// make a terminal or a log do something.
pub fn shown(text: &str, chars_max: usize) -> String {
    let mut shown = String::new();
    for (i, letter) in text.chars().enumerate() {
        if i == chars_max {
            shown.push('…');
            break;
        }
        if letter.is_control() {
            shown.extend(letter.escape_unicode());
        } else {
            shown.push(letter);
        }
    }
    shown
}

fn yes() -> bool {
    true
}

impl Failure {
    /// A refusal that is final: the caller must change the request.
    pub fn refused(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(code, message, Fault::Caller)
    }
    /// A failure of something we call; retryable, and it may have happened.
    pub fn upstream(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { retryable: true, nothing_happened: false, ..Self::new(code, message, Fault::Upstream) }
    }
    /// A failure of ours; not retryable unless said otherwise.
    pub fn internal(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { nothing_happened: false, ..Self::new(code, message, Fault::Us) }
    }
    fn new(code: impl Into<String>, message: impl Into<String>, fault: Fault) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            fault,
            retryable: false,
            nothing_happened: true,
            data: None,
        }
    }
    /// With figures for the message.
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(data);
        self
    }
    /// Marked as worth retrying.
    pub fn retryable(mut self) -> Self {
        self.retryable = true;
        self
    }
}
