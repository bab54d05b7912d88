use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use steadfast_core::{NodeId, Time};

use crate::StreamId;

/// A promise to look at a stream at a time. One for each stream and name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WakeUp {
    /// What to look at.
    pub stream: StreamId,
    /// Which of its wake-ups.
    pub name: Cow<'static, str>,
    /// When it is due.
    pub due: Time,
    /// The node that will see to it, while its lease lives.
    pub owner: Option<NodeId>,
}

/// What a commit does to wake-ups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum WakeUpChange {
    /// Sets it, in place of an earlier one of that stream and name.
    #[serde(rename = "w")]
    Set(WakeUp),
    /// Takes it away. Nothing if there is none.
    #[serde(rename = "c")]
    Clear(StreamId, Cow<'static, str>),
}

/// Which wake-ups to read, in order of (due, stream, name).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueQuery {
    /// Only streams of this category.
    pub category: &'static str,
    /// Due at this time or before.
    pub until: Time,
    /// Only those after this one.
    pub after: Option<WakeUp>,
    /// At most so many.
    pub limit: usize,
}
