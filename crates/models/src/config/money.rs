//! `[models.prices]`, `[models.budget]`, `[models.records]`, `[models.admission]`: what calls
//! cost, who may spend how much, what is remembered, and how many run at once.

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    config::{Period, Problem, Share, positive},
    defaults,
};

use crate::usd::Usd;

/// What a model costs. Amounts are dollars in quotes, for a million tokens each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PriceConfig {
    /// What goes in.
    pub input: Usd,
    /// What goes in and was read from the provider's cache. Without it, as other input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Usd>,
    /// What goes in and is written to the provider's cache. Without it, as other input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Usd>,
    /// The same, to be kept for an hour. Without it, as what is written otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_hour: Option<Usd>,
    /// What comes out.
    #[serde(default)]
    pub output: Usd,
    /// Other prices for calls with a long input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long: Option<LongPriceConfig>,
    /// A minute of sound, where sound is what goes in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_minute: Option<Usd>,
    /// Whether sound and film in a conversation cost no more than its text. Without this, a call that
    /// has them is refused where a limit holds.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub audio_as_input: bool,
    /// When the model thinks before it answers, unseen but paid for as what comes out: `never`;
    /// when `asked`, by `thinking` or a reasoning effort; `unless_none`, unless a chat says
    /// `reasoning_effort: "none"`, which its provider must heed; or `always`, whatever is said. Where
    /// it may have thought and its provider did not say how much came out, as when a stream broke
    /// off, the call is booked with the most that it may have had, otherwise with what was seen.
    #[serde(default)]
    pub thinks: Thinks,
}

/// When a model thinks before it answers, unseen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Thinks {
    /// Whatever the request says.
    #[default]
    Always,
    /// Unless a chat asks for no reasoning.
    UnlessNone,
    /// When the request asks for it.
    Asked,
    /// It cannot.
    Never,
}

/// What the whole of a call costs whose input is long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LongPriceConfig {
    /// From how many tokens on an input is long: more than this.
    pub over: u64,
    /// What goes in.
    pub input: Usd,
    /// What goes in and was read from the provider's cache. Without it, as other input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached_input: Option<Usd>,
    /// What goes in and is written to the provider's cache. Without it, as other input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<Usd>,
    /// The same, to be kept for an hour. Without it, as what is written otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_hour: Option<Usd>,
    /// What comes out.
    pub output: Usd,
}

/// Who may spend how much.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetConfig {
    /// Whether limits are kept. Costs are recorded all the same.
    pub enabled: bool,
    /// The most tokens of an answer where the client does not say and a limit applies: the
    /// provider is then told so, because what has no bound cannot be kept within one.
    pub output_max: NonZeroU32,
    /// The most tokens a picture counts as.
    pub image_tokens: u32,
    /// The most tokens a document, sound or film counts as.
    pub file_tokens: u32,
    /// What providers add to a call that has tools, in tokens.
    pub tools_tokens: u32,
    /// The fewest bytes that a second of sound takes, which bounds how long a recording is.
    pub sound_bytes: NonZeroU32,
    /// The part of a limit that is booked in the records ahead of its being spent. After a crash
    /// it counts as spent, with the most that the calls of the last second may have cost; a
    /// smaller part means more frequent writes.
    pub booked: Share,
    /// The limits, by name.
    pub limits: BTreeMap<String, LimitConfig>,
}

impl Default for BudgetConfig {
    fn default() -> Self {
        const HUNDREDTH: Share = match Share::new(0.01) {
            Ok(share) => share,
            Err(_) => panic!("a hundredth is a share"),
        };
        Self {
            enabled: true,
            output_max: NonZeroU32::MIN.saturating_add(4_095),
            image_tokens: 50_000,
            file_tokens: 1_000_000,
            tools_tokens: 2_500,
            sound_bytes: NonZeroU32::MIN.saturating_add(249),
            booked: HUNDREDTH,
            limits: BTreeMap::new(),
        }
    }
}

/// When a limit begins anew, UTC. A call counts when it begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// Every day.
    Day,
    /// Every month.
    #[default]
    Month,
    /// Never.
    Total,
}

/// Who has a limit of their own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// All calls share it.
    #[default]
    All,
    /// Each tenant.
    Tenant,
    /// Each user of each tenant. A tenant's calls without one share theirs.
    User,
    /// Each virtual key. A tenant's calls without one share theirs.
    Key,
    /// Each route.
    Route,
    /// Each run. Calls outside of runs are not held to it.
    Run,
}

/// One limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitConfig {
    /// So many dollars.
    pub limit: Usd,
    /// When it begins anew.
    #[serde(default)]
    pub window: Window,
    /// Who has one of their own.
    #[serde(default)]
    pub per: Per,
    /// Whether it holds only for calls that name it in `x-steadfast-budget`.
    #[serde(default)]
    pub named: bool,
    /// Only for calls of these tenants. Empty for all.
    #[serde(default)]
    pub tenants: Vec<String>,
    /// Only for calls of these users. Empty for all.
    #[serde(default)]
    pub users: Vec<String>,
    /// Only for calls under these virtual keys. Empty for all.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Only for calls on these routes. Empty for all.
    #[serde(default)]
    pub routes: Vec<String>,
}

/// When a call's record is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordMode {
    /// Within a second of its end, and once a second while it goes on. A crash may lose the
    /// records of the last second; limits are kept all the same.
    #[default]
    Batched,
    /// Before the provider is asked as well. Calls wait for the disk together.
    Durable,
}

/// What is remembered of calls: figures and names, never what was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RecordsConfig {
    /// Whether calls are recorded. What they cost is summed up all the same.
    pub enabled: bool,
    /// When a record is written.
    pub mode: RecordMode,
    /// How long records are kept. Sums of days are kept for ever.
    #[serde(deserialize_with = "positive")]
    pub kept: Period,
    /// Calls whose records may wait for a disk that does not take them. Calls that a limit
    /// holds for are refused while half as many wait; the records of others are lost.
    pub backlog: NonZeroU32,
}

impl Default for RecordsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: RecordMode::default(),
            kept: Duration::from_secs(90 * 24 * 3_600).into(),
            backlog: NonZeroU32::MIN.saturating_add(49_999),
        }
    }
}

/// How many calls run at once, and who waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdmissionConfig {
    /// Whether there is a bound at all.
    pub enabled: bool,
    /// Calls under way at once, of the whole gateway.
    pub running: NonZeroU32,
    /// Calls that may wait. The next takes the place of a less urgent one, or is refused.
    pub waiting: u32,
    /// Who has waited so long counts as more urgent by one step, and again after as long.
    #[serde(deserialize_with = "positive")]
    pub ageing: Period,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            running: NonZeroU32::new(defaults::BULKHEAD_RUNNING).unwrap_or(NonZeroU32::MIN),
            waiting: defaults::BULKHEAD_WAITING,
            ageing: Duration::from_secs(5).into(),
        }
    }
}

impl BudgetConfig {
    /// Routes that limits name must exist.
    pub(super) fn check<'a>(
        &self,
        section: &str,
        routes: impl Iterator<Item = &'a str> + Clone,
    ) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, limit) in &self.limits {
            for (i, route) in limit.routes.iter().enumerate() {
                if !routes.clone().any(|known| known == route) {
                    let key = format!("{section}.budget.limits.{name}.routes.{i}");
                    problems.push(Problem::dangling(key, "route", route, routes.clone()));
                }
            }
        }
        problems
    }
}
