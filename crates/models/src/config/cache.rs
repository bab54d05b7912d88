use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    config::{Period, Share, Size, positive},
    defaults,
};

use crate::Operation;

/// `[models.cache]`
///
/// Answers that are kept and given again to the same question of the same user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CacheConfig {
    /// Whether answers are kept.
    pub enabled: bool,
    /// How long an answer is given again. A call may ask for less.
    #[serde(deserialize_with = "positive")]
    pub ttl: Period,
    /// How much longer it is kept for when nobody can be asked; see `models.degrade`.
    pub stale: Period,
    /// The most answers.
    pub entries_max: u32,
    /// The most memory that they take, and about half of what their file takes.
    pub memory_max: Size,
    /// The largest answer that is kept.
    pub answer_max: Size,
    /// The largest request whose answer is kept.
    pub request_max: Size,
    /// Answers from this size on are compressed.
    pub compress_from: Size,
    /// The highest temperature at which the same answer again is what is wanted. Calls that
    /// do not say are below it.
    pub temperature_max: f64,
    /// Whether answers survive a restart, in a file of their own beside the store.
    pub file: bool,
    /// For chat completions.
    pub chat: KeepConfig,
    /// For messages.
    pub messages: KeepConfig,
    /// For embeddings.
    pub embeddings: KeepConfig,
    /// What counts as the same question in other words, where that is allowed.
    pub similar: SimilarConfig,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            ttl: defaults::CACHE_TTL.into(),
            stale: defaults::CACHE_TTL.into(),
            entries_max: defaults::CACHE_ENTRIES,
            memory_max: Size::bytes(256 << 20),
            answer_max: Size::bytes(4 << 20),
            request_max: Size::bytes(1 << 20),
            compress_from: Size::bytes(4 << 10),
            temperature_max: 0.3,
            file: true,
            chat: KeepConfig::default(),
            messages: KeepConfig::default(),
            embeddings: KeepConfig::default(),
            similar: SimilarConfig::default(),
        }
    }
}

impl CacheConfig {
    /// What holds for an operation.
    pub(crate) fn of(&self, operation: Operation) -> &KeepConfig {
        match operation {
            Operation::Chat => &self.chat,
            Operation::Messages => &self.messages,
            // Of the last two nothing is kept.
            Operation::Embeddings | Operation::Responses | Operation::Transcription => &self.embeddings,
        }
    }
}

/// What is kept of one operation, and for whom.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KeepConfig {
    /// Who gets an answer again: `user`, who asked for it; or `tenant`, all of the same
    /// tenant, for prompts in which nothing is personal.
    pub share: ShareWith,
    /// Whether an answer is given to the same question in other words as well.
    pub similar: bool,
}

/// Who gets an answer again. Never another tenant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShareWith {
    /// Who asked for it.
    #[default]
    User,
    /// Everybody of the tenant.
    Tenant,
}

/// When two questions are the same in other words.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SimilarConfig {
    /// How near their embeddings must be, from 0 to 1. What could change the answer must be
    /// equal in any case: this only keeps apart what has little else in common.
    pub threshold: Share,
    /// The model, of a route, that embeds. Empty for counting words and parts of words here.
    pub model: String,
}

impl Default for SimilarConfig {
    fn default() -> Self {
        const FIFTH: Share = match Share::new(0.2) {
            Ok(share) => share,
            Err(_) => panic!("a fifth is a share"),
        };
        Self { threshold: FIFTH, model: String::new() }
    }
}

/// `[models.degrade]`
///
/// What is answered when nobody can be asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DegradeConfig {
    /// Whether something is answered at all.
    pub enabled: bool,
    /// How far back is looked for how many calls found nobody.
    #[serde(deserialize_with = "positive")]
    pub window: Period,
    /// Texts that are said instead of an answer.
    pub templates: Vec<TemplateConfig>,
    /// Whether the `local` provider answers where there is no text: it repeats what the user
    /// said.
    pub simplified: bool,
}

impl Default for DegradeConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            window: Duration::from_secs(60).into(),
            templates: Vec::new(),
            simplified: false,
        }
    }
}

/// What is said instead of an answer. Of several that fit, the one that says most about
/// when it is for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TemplateConfig {
    /// Only for this operation: `chat` or `messages`. Empty for both.
    pub operation: String,
    /// Only in this voice: the persona that the call names. Empty for all.
    pub persona: String,
    /// What is said.
    pub text: String,
}
