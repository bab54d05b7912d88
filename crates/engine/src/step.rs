use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use steadfast_core::{CorrelationId, Failure, RunId, TenantId, Time};
use steadfast_log::ClaimKey;

use crate::Data;

/// What names a step within its run: a name, and a key chosen by the author where the
/// name alone is not unique. Text is `name` or `name#key`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StepId(Arc<str>);

impl StepId {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for StepId {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}
impl<K: fmt::Display> From<(&str, K)> for StepId {
    fn from((name, key): (&str, K)) -> Self {
        Self(format!("{name}#{key}").into())
    }
}
impl From<&Self> for StepId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}
impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// The idempotency key of an effect (promise G3): run, generation and step, never
/// attempt or epoch. The compensation of a step has a key of its own.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EffectKey(Arc<str>);

impl EffectKey {
    /// Of a step.
    pub fn of(run: RunId, generation: u32, step: &StepId) -> Self {
        Self(format!("{run}/{generation}/{step}").into())
    }
    /// Of the compensation of a step.
    pub fn undo(run: RunId, generation: u32, step: &StepId) -> Self {
        Self(undo_key(Self::of(run, generation, step).as_str()).into())
    }
    /// The claim under which an effect on our own log is taken, together with its record.
    /// The engine starts its window once the run has ended for good.
    pub fn claim(&self, tenant: &TenantId) -> ClaimKey {
        effect_claim(tenant, &self.0)
    }
    /// The text, as sent to the outside.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl fmt::Display for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for EffectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The key of the compensation of a step, from the key of the step.
pub fn undo_key(forward: &str) -> String {
    format!("{forward}!undo")
}

/// [`EffectKey::claim`] of a key that is only text any more. No user is called `@run`.
pub fn effect_claim(tenant: &TenantId, key: &str) -> ClaimKey {
    ClaimKey::new(tenant, "@run", "effect", key)
}

/// One attempt at a step, with all that a worker in this or another process needs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StepTask {
    /// The run.
    pub run: RunId,
    /// Its generation.
    pub generation: u32,
    /// The step.
    pub step: StepId,
    /// The key under which the effect happens at most once.
    pub key: EffectKey,
    /// For a compensation: the key of the step it undoes.
    pub undoes: Option<EffectKey>,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What to do.
    pub action: String,
    /// With what.
    pub input: Data,
    /// Whose run it is.
    pub tenant: TenantId,
    /// On whose behalf.
    pub principal: String,
    /// When this attempt is given up.
    pub deadline: Time,
    /// The outside request it belongs to.
    pub correlation: Option<CorrelationId>,
}

/// What a step came to: its result, or why it gave up.
pub type StepOutcome = Result<Data, Failure>;
