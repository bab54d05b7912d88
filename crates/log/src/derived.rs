use std::{borrow::Cow, collections::BTreeMap, collections::BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use steadfast_core::Time;

use crate::{
    Claim, ClaimChange, ClaimKey, Commit, Listing, ListingChange, Log, PayloadId, Position, ReadError,
    Recorded, StreamId, WakeUp, WakeUpChange,
};

/// What a commit changed beside its events, as it stands on its first event.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Side {
    /// Claims.
    #[serde(rename = "c", default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimChange>,
    /// Wake-ups.
    #[serde(rename = "w", default, skip_serializing_if = "Vec::is_empty")]
    pub wake_ups: Vec<WakeUpChange>,
    /// Listings.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub listings: Vec<ListingChange>,
    /// References to payloads.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub payloads: Vec<(PayloadId, StreamId)>,
}

impl Side {
    /// Takes what belongs here out of a commit.
    pub fn of(commit: &Commit) -> Self {
        Self {
            claims: commit.claims.clone(),
            wake_ups: commit.wake_ups.clone(),
            listings: commit.listings.clone(),
            payloads: commit.payloads.iter().map(|payload| (payload.id, payload.stream.clone())).collect(),
        }
    }
    /// Nothing but events was written.
    pub fn is_empty(&self) -> bool {
        self.claims.is_empty()
            && self.wake_ups.is_empty()
            && self.listings.is_empty()
            && self.payloads.is_empty()
    }
    /// The stored form; `None` when there is nothing to store.
    #[expect(clippy::expect_used, reason = "these types have string keys and no fallible fields")]
    pub fn encode(&self) -> Option<Bytes> {
        (!self.is_empty()).then(|| serde_json::to_vec(self).expect("plain data is JSON").into())
    }
    /// Reads the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, ReadError> {
        serde_json::from_slice(bytes)
            .map_err(|error| ReadError::Corrupt(format!("side of a commit: {error}")))
    }
}

/// Every table that is derived from the log, as a fold over it (law 1).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Derived {
    /// Idempotency records.
    pub claims: BTreeMap<ClaimKey, Claim>,
    /// Promises to look again, by (stream, name).
    pub wake_ups: BTreeMap<(StreamId, Cow<'static, str>), WakeUp>,
    /// Rows of lists.
    pub listings: BTreeMap<StreamId, Listing>,
    /// Who refers to which payload.
    pub payload_refs: BTreeSet<(PayloadId, StreamId)>,
    /// The last version of each stream.
    pub heads: BTreeMap<StreamId, u64>,
}

impl Derived {
    /// Applies one event. Events must come in the log's order.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), ReadError> {
        if let Some(side) = &recorded.side {
            self.apply_side(Side::decode(side)?);
        }
        let head = self.heads.entry(recorded.stream.clone()).or_default();
        if recorded.version != *head + 1 {
            return Err(ReadError::Corrupt(format!(
                "{} has version {} after {head}",
                recorded.stream, recorded.version
            )));
        }
        *head = recorded.version;
        Ok(())
    }

    /// Applies what stood beside the events of one commit.
    pub fn apply_side(&mut self, side: Side) {
        for change in side.claims {
            match change {
                ClaimChange::Take(key, claim) => {
                    self.claims.insert(key, claim);
                }
                ClaimChange::Settle(key, expires) => {
                    if let Some(claim) = self.claims.get_mut(&key) {
                        claim.expires = Some(expires);
                    }
                }
            }
        }
        for change in side.wake_ups {
            match change {
                WakeUpChange::Set(wake_up) => {
                    self.wake_ups.insert((wake_up.stream.clone(), wake_up.name.clone()), wake_up);
                }
                WakeUpChange::Clear(stream, name) => {
                    self.wake_ups.remove(&(stream, name));
                }
            }
        }
        for change in side.listings {
            match change {
                ListingChange::Put(listing) => {
                    self.listings.insert(listing.stream.clone(), listing);
                }
                ListingChange::Status(stream, status, at) => {
                    if let Some(listing) = self.listings.get_mut(&stream) {
                        listing.status = status;
                        listing.updated = at;
                    }
                }
            }
        }
        self.payload_refs.extend(side.payloads);
    }

    /// Forgets claims whose window has passed: stores sweep them away at their own pace.
    pub fn forget_expired(&mut self, now: Time) {
        self.claims.retain(|_, claim| claim.live(now));
    }
}

/// Folds the whole log anew, to be held against what a store keeps.
pub async fn rebuild(log: &dyn Log) -> Result<Derived, ReadError> {
    let (mut derived, mut at) = (Derived::default(), Position::START);
    loop {
        let page = log.read_all(at, 1_000).await?;
        if page.events.is_empty() {
            return Ok(derived);
        }
        for event in &page.events {
            derived.apply(event)?;
        }
        at = page.next;
    }
}
