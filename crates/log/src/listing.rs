use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use steadfast_core::{TenantId, Time};

use crate::StreamId;

/// The row of a stream in the list of its category: what lists filter by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// The thing.
    pub stream: StreamId,
    /// Its kind within the category: the workflow of a run, the currency of an account.
    pub kind: String,
    /// Where it stands.
    pub status: String,
    /// Whose it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// What the caller attached to find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// When it began.
    pub created: Time,
    /// When its status last changed.
    pub updated: Time,
}

/// What a commit does to listings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListingChange {
    /// Puts the row, in place of an earlier one of that stream.
    #[serde(rename = "l")]
    Put(Listing),
    /// Changes status and time alone. Nothing if there is no row.
    #[serde(rename = "s")]
    Status(StreamId, String, Time),
}

impl ListingChange {
    /// Every text in it.
    pub(crate) fn texts(&self) -> Vec<&str> {
        match self {
            Self::Status(stream, status, _) => vec![stream.as_str(), status],
            Self::Put(row) => {
                let labels = row.labels.iter().flat_map(|(name, value)| [&**name, &**value]);
                let texts = [row.stream.as_str(), &*row.kind, &*row.status];
                texts.into_iter().chain(row.principal.as_deref()).chain(labels).collect()
            }
        }
    }
}

/// Which rows to list: newest first by (created, stream).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Whose.
    pub tenant: TenantId,
    /// Which category.
    pub category: String,
    /// Only this kind.
    pub kind: Option<String>,
    /// Only these statuses; all when empty.
    pub statuses: Vec<String>,
    /// Only this principal's.
    pub principal: Option<String>,
    /// Only with all of these labels.
    pub labels: BTreeMap<String, String>,
    /// Only rows after this one in the list's order.
    pub after: Option<(Time, StreamId)>,
    /// At most so many.
    pub limit: usize,
}

impl ListQuery {
    /// Does the row belong, apart from order and limit?
    pub fn matches(&self, row: &Listing) -> bool {
        row.stream.tenant() == self.tenant
            && row.stream.category() == self.category
            && self.kind.as_ref().is_none_or(|kind| *kind == row.kind)
            && (self.statuses.is_empty() || self.statuses.contains(&row.status))
            && (self.principal.is_none() || self.principal == row.principal)
            && self.labels.iter().all(|(name, value)| row.labels.get(name) == Some(value))
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listings {
    /// The rows.
    pub rows: Vec<Listing>,
    /// Are there more after the last one?
    pub more: bool,
}
