use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use steadfast_core::{Failure, Money};
use steadfast_log::Committed;

/// How an accepted operation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It happened.
    Settled,
    /// The rules of the bank said no; nothing moved. Final: the same key gives the same.
    Refused,
    /// It was undone before it came, and will not happen.
    Compensated,
}

/// Why an operation was refused.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// Stable, for programs: `insufficient_funds`.
    pub code: String,
    /// For people; without amounts, which stand in `data`.
    pub message: String,
    /// The figures.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Reason {
    pub(crate) fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), data: None }
    }
    pub(crate) fn with(mut self, data: Value) -> Self {
        self.data = Some(data);
        self
    }
}

/// The outcome of an accepted operation, durable and found again under its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Of the transfer, hold, reservation, account or product.
    pub id: String,
    /// How it ended.
    pub status: Status,
    /// What moved, or was set aside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
    /// Why it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
}

impl Answer {
    /// A refusal as an error, for steps of runs, which fail with it.
    pub fn into_result(self) -> Result<Self, Failure> {
        match (self.status, self.reason) {
            (Status::Settled, reason) => Ok(Self { reason, ..self }),
            (Status::Compensated, _) => Err(Failure::refused(
                "compensated",
                "this step was undone before it came, and will not happen",
            )),
            (Status::Refused, reason) => {
                let reason = reason.unwrap_or_else(|| Reason::new("refused", "refused"));
                let mut failure = Failure::refused(reason.code, reason.message);
                failure.data = reason.data;
                Err(failure)
            }
        }
    }
}

/// An answer and how it came about.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The answer.
    pub answer: Answer,
    /// It had been given before, under the same key.
    pub replayed: bool,
    /// How often the store reported a conflict before it was settled.
    pub conflicts: u32,
    /// The commit that has it, and which of its appends is the attached one. Nothing for
    /// a repeat, and where nothing was attached.
    pub attached: Option<(Arc<Committed>, usize)>,
}
