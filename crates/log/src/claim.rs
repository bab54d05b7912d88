use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steadfast_core::{Mutant, TenantId, Time, canonical::Hash, planted};

/// What an idempotency record is found by: the hash of (tenant, principal, operation, key).
/// A hash, so that user names and keys do not stand in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClaimKey(pub Hash);

impl ClaimKey {
    /// The key of one operation of one principal.
    pub fn new(tenant: &TenantId, principal: &str, operation: &str, key: &str) -> Self {
        let parts = [tenant.as_str(), principal, operation, key];
        Self(Hash::of_parts(&parts.map(str::as_bytes)))
    }
}

/// An idempotency record: who asked what, and what was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Hash of the parsed, canonical request; another one under the same key is refused.
    #[serde(rename = "r")]
    pub request: Hash,
    /// The answer, or the reference under which it will be found. JSON text.
    #[serde(rename = "a")]
    pub answer: Arc<str>,
    /// When the key may be used anew; `None` while the work is going on.
    #[serde(rename = "x", default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Time>,
}

impl Claim {
    /// Does it still hold at `now`?
    pub fn live(&self, now: Time) -> bool {
        self.expires.is_none_or(|expires| expires > now)
    }
    /// Does a store that holds it refuse another one under its key at `now`?
    pub fn refuses(&self, now: Time) -> bool {
        let open = self.expires.is_none();
        self.live(now) && !planted(Mutant::ClaimUnchecked) && !(open && planted(Mutant::ClaimOutsideCommit))
    }
}

/// What a commit does to claims.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ClaimChange {
    /// Takes a key. Refused with the record that holds it, if one does.
    #[serde(rename = "t")]
    Take(ClaimKey, Claim),
    /// Starts the window of a live claim: the work has ended. Nothing if there is none.
    #[serde(rename = "s")]
    Settle(ClaimKey, Time),
}
