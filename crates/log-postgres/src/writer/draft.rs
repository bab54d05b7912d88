//! What a group comes to, decided in memory against what the database held when its
//! shard was locked. A commit sees the earlier ones of its group; a refusal leaves no trace.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use steadfast_core::Time;
use steadfast_log::{
    Claim, ClaimChange, ClaimKey, Commit, CommitError, Committed, Listing, ListingChange, NewEvent,
    PayloadId, Position, StreamId, WakeUp, WakeUpChange,
};

use super::job::{Answer, Prepared};

/// What a group needs to know.
#[derive(Debug)]
pub(super) struct Known<'a> {
    /// The log's end.
    pub(super) position: Position,
    pub(super) claims: HashMap<ClaimKey, Claim>,
    /// Of the streams that it appends to and that have events.
    pub(super) heads: HashMap<&'a StreamId, u64>,
    pub(super) payloads: HashSet<PayloadId>,
}

/// A group in the making.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    known: Known<'a>,
    pub(super) rows: Rows<'a>,
}

/// What is to be written, each row once.
#[derive(Debug, Default)]
pub(super) struct Rows<'a> {
    pub(super) events: Vec<EventRow<'a>>,
    pub(super) claims: BTreeMap<ClaimKey, Claim>,
    pub(super) wake_ups: BTreeMap<(&'a StreamId, &'a str), Option<&'a WakeUp>>,
    pub(super) listings: BTreeMap<&'a StreamId, ListingRow<'a>>,
    pub(super) payloads: Vec<(PayloadId, &'a [u8])>,
    pub(super) payload_refs: BTreeSet<(PayloadId, &'a StreamId)>,
    pub(super) checkpoints: BTreeMap<&'a str, Position>,
}

#[derive(Debug)]
pub(super) struct EventRow<'a> {
    pub(super) n: u64,
    pub(super) stream: &'a StreamId,
    pub(super) version: u64,
    pub(super) event: &'a NewEvent,
    pub(super) ends: bool,
    pub(super) side: Option<&'a [u8]>,
}

/// A row of a list, with the last status that was given to it; the row itself when it was
/// put by this group.
#[derive(Debug)]
pub(super) struct ListingRow<'a> {
    pub(super) put: Option<&'a Listing>,
    pub(super) status: &'a str,
    pub(super) updated: Time,
}

impl Rows<'_> {
    pub(super) fn is_empty(&self) -> bool {
        // Everything else needs an event.
        self.events.is_empty() && self.checkpoints.is_empty()
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(known: Known<'a>) -> Self {
        Self { known, rows: Rows::default() }
    }

    /// The log's end, with what this group adds.
    pub(super) fn position(&self) -> Position {
        self.known.position
    }

    /// Adds one commit, or refuses it.
    pub(super) fn add(&mut self, prepared: &'a Prepared, now: Time) -> Answer {
        self.check(&prepared.commit, now)?;
        let versions = self.append(prepared);
        self.change(prepared);
        Ok(Committed { position: self.known.position, versions })
    }

    fn check(&self, commit: &Commit, now: Time) -> Result<(), CommitError> {
        let mut taken: Vec<(&ClaimKey, &Claim)> = Vec::new();
        for change in &commit.claims {
            let ClaimChange::Take(key, claim) = change else { continue };
            let earlier = taken.iter().rev().find(|(other, _)| *other == key).map(|(_, claim)| *claim);
            let held = earlier.or_else(|| self.known.claims.get(key));
            if let Some(held) = held.filter(|held| held.refuses(now)) {
                return Err(CommitError::Claimed(*key, held.clone()));
            }
            taken.push((key, claim));
        }
        for append in &commit.appends {
            let actual = self.head(&append.stream);
            if !append.expect.fits(actual) {
                return Err(CommitError::Conflict { stream: append.stream.clone(), actual });
            }
        }
        for (i, payload) in commit.payloads.iter().enumerate() {
            let in_commit =
                || commit.payloads[..i].iter().any(|other| other.id == payload.id && other.bytes.is_some());
            if payload.bytes.is_none() && !self.known.payloads.contains(&payload.id) && !in_commit() {
                return Err(CommitError::NoPayload(payload.id));
            }
        }
        Ok(())
    }

    fn head(&self, stream: &StreamId) -> u64 {
        self.known.heads.get(stream).copied().unwrap_or(0)
    }

    fn append(&mut self, prepared: &'a Prepared) -> Vec<u64> {
        let appends = &prepared.commit.appends;
        let mut left: usize = appends.iter().map(|append| append.events.len()).sum();
        let mut side = prepared.side.as_deref();
        let mut versions = Vec::with_capacity(appends.len());
        for append in appends {
            let mut version = self.head(&append.stream);
            for event in &append.events {
                left -= 1;
                version += 1;
                self.known.position.n += 1;
                self.rows.events.push(EventRow {
                    n: self.known.position.n,
                    stream: &append.stream,
                    version,
                    event,
                    ends: left == 0,
                    side: side.take(),
                });
            }
            self.known.heads.insert(&append.stream, version);
            versions.push(version);
        }
        versions
    }

    /// What stands beside the events.
    fn change(&mut self, prepared: &'a Prepared) {
        let (commit, rows) = (&prepared.commit, &mut self.rows);
        for change in &commit.claims {
            let (key, claim) = match change {
                ClaimChange::Take(key, claim) => (key, claim.clone()),
                ClaimChange::Settle(key, expires) => match self.known.claims.get(key) {
                    Some(claim) => (key, Claim { expires: Some(*expires), ..claim.clone() }),
                    None => continue,
                },
            };
            self.known.claims.insert(*key, claim.clone());
            rows.claims.insert(*key, claim);
        }
        for change in &commit.wake_ups {
            let (key, wake_up) = match change {
                WakeUpChange::Set(wake_up) => ((&wake_up.stream, &*wake_up.name), Some(wake_up)),
                WakeUpChange::Clear(stream, name) => ((stream, &**name), None),
            };
            rows.wake_ups.insert(key, wake_up);
        }
        for change in &commit.listings {
            match change {
                ListingChange::Put(row) => {
                    let put = ListingRow { put: Some(row), status: &row.status, updated: row.updated };
                    rows.listings.insert(&row.stream, put);
                }
                ListingChange::Status(stream, status, at) => {
                    let row =
                        rows.listings.entry(stream).or_insert(ListingRow { put: None, status, updated: *at });
                    (row.status, row.updated) = (status, *at);
                }
            }
        }
        for (id, bytes) in &prepared.payloads {
            if self.known.payloads.insert(*id) {
                rows.payloads.push((*id, bytes));
            }
        }
        rows.payload_refs.extend(commit.payloads.iter().map(|payload| (payload.id, &payload.stream)));
        rows.checkpoints.extend(commit.checkpoints.iter().map(|at| (&*at.subscriber, at.position)));
    }
}
