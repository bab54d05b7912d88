//! What a run's present generation needs of the ones before it. With that kept beside the
//! log, taking a run up costs what it did since, and not its whole life
//! ([why](../../../../docs/decisions/0007-generations-in-one-stream.md)).

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use steadfast_core::{EventId, NodeId, RunId, Time};
use steadfast_log::{DecodeError, Recorded, Snapshot};
use uuid::Uuid;

use super::{Heard, History, Orphan};
use crate::{Data, action::body, record::Message};

/// The shape of what is kept. An event whose meaning outlives its generation needs a newer
/// one: then a binary that does not know the event reads the stream, and meets it.
const SCHEMA: u16 = 1;

#[derive(Serialize, Deserialize)]
struct Kept {
    /// The last event in it: a stream in which another one stands there is another stream.
    event: EventId,
    epoch: u32,
    owner: NodeId,
    claimed_at: Time,
    generation: u32,
    input: Data,
    rewound: bool,
    /// Not delivered yet.
    messages: BTreeMap<u64, Message>,
    heard: Vec<(Uuid, Heard)>,
    orphans: BTreeMap<RunId, Orphan>,
}

impl History {
    /// The version from which on the next snapshot is worth its cost: as many events came
    /// as it carries, and at least so many.
    pub(crate) fn snapshot_due(&self, after: u64) -> u64 {
        self.restored.saturating_add(after.max(self.heard.len() as u64))
    }

    /// Does it stand before the first turn of a later generation?
    pub(crate) fn begins_anew(&self) -> bool {
        let stands = self.unknown.is_none() && self.parked.is_none();
        self.generation > 1
            && self.turns.is_empty()
            && self.outcome.is_none()
            && self.ended.is_none()
            && stands
    }

    /// Forgets what was heard before `since`.
    pub(crate) fn forget_heard(&mut self, since: Time) {
        self.heard.retain(|_, heard| heard.at >= since);
    }

    /// Of a run that begins anew and whose values are as recorded.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let mut heard: Vec<_> = self.heard.iter().map(|(id, heard)| (*id, *heard)).collect();
        heard.sort_unstable_by_key(|(_, heard)| heard.version);
        let kept = Kept {
            event: self.last,
            epoch: self.epoch,
            owner: self.owner,
            claimed_at: self.claimed_at,
            generation: self.generation,
            input: self.input.clone(),
            rewound: self.rewound,
            messages: self.pending().map(|(version, message)| (version, message.clone())).collect(),
            heard,
            orphans: self.orphans.clone(),
        };
        Snapshot { version: self.head, schema: SCHEMA, body: Bytes::from(body(&kept)) }
    }

    /// Is it the same, but for what the snapshot that it was restored from has forgotten?
    pub(crate) fn stands_for(&self, mut fold: Self) -> bool {
        fold.heard.retain(|id, _| self.heard.contains_key(id));
        self.snapshot() == fold.snapshot()
    }

    /// From the first event of a run's stream, a snapshot, and the event that the snapshot
    /// ends with. `None`: it does not read, or is not of this stream.
    pub(crate) fn restore(
        first: &Recorded,
        snapshot: &Snapshot,
        last: &Recorded,
    ) -> Result<Option<Self>, DecodeError> {
        let kept = Some(snapshot).filter(|snapshot| snapshot.schema == SCHEMA);
        let kept: Option<Kept> = kept.and_then(|snapshot| serde_json::from_slice(&snapshot.body).ok());
        let ends = |kept: &Kept| last.version == snapshot.version && last.event.id == kept.event;
        let Some(kept) = kept.filter(ends) else { return Ok(None) };
        Ok(Some(Self {
            updated_at: last.event.time,
            head: last.version,
            last: kept.event,
            restored: last.version,
            epoch: kept.epoch,
            owner: kept.owner,
            claimed_at: kept.claimed_at,
            generation: kept.generation,
            input: kept.input,
            rewound: kept.rewound,
            messages: kept.messages,
            heard: kept.heard.into_iter().collect(),
            orphans: kept.orphans,
            ..Self::begin(first)?
        }))
    }
}
