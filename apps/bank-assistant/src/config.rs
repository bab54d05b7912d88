use std::{num::NonZeroUsize, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::config::{Period, positive};

/// `[assistant]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AssistantConfig {
    /// How long a confirmation that was asked for can be given.
    #[serde(deserialize_with = "positive")]
    pub confirm_within: Period,
    /// How long the assistant waits for the answer to a question of its own.
    #[serde(deserialize_with = "positive")]
    pub answer_within: Period,
    /// How many conversations are kept in memory; others are read again when they go on.
    pub cached_sessions: NonZeroUsize,
}

impl Default for AssistantConfig {
    fn default() -> Self {
        Self {
            confirm_within: Duration::from_secs(300).into(),
            answer_within: Duration::from_secs(600).into(),
            cached_sessions: NonZeroUsize::MIN.saturating_add(9_999),
        }
    }
}
