//! Several tasks that want the same things.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use steadfast_core::{
    TenantId, World,
    canonical::Hash,
    chance::{Chance, Seeded},
};
use steadfast_log::{
    Append, Checkpoint, Claim, ClaimChange, ClaimKey, Commit, CommitError, Expect, Listing, ListingChange,
    Log, NewEvent, Payload, PayloadId, Position, Snapshot, StreamId, WakeUp, WakeUpChange,
};
use steadfast_log_sqlite::SqliteLog;
use steadfast_power_loss::Disk;

use crate::history::History;

const TASKS: u64 = 4;
const OPERATIONS: u64 = 12;

pub(crate) struct Load<'a> {
    pub(crate) store: &'a SqliteLog,
    pub(crate) history: &'a History,
    pub(crate) chance: &'a Seeded,
    pub(crate) world: &'a World,
    pub(crate) disk: &'a Disk,
}

impl Load<'_> {
    /// Until all is done or the power is off.
    pub(crate) async fn run(&self) {
        join_all((0..TASKS).map(|_| self.task())).await;
    }

    async fn task(&self) {
        for _ in 0..OPERATIONS {
            if self.disk.is_cut() {
                return;
            }
            match self.below(10) {
                0 => self.put_snapshot().await,
                1 => drop(join_all((0..5).map(|_| self.commit())).await),
                _ => self.commit().await,
            }
        }
    }

    /// Sent as soon as it is noted down, so that both orders are the same.
    fn commit(&self) -> impl Future<Output = ()> + '_ {
        let commit = self.new_commit();
        let ticket = self.history.ask(commit.clone());
        let answer = self.store.commit(commit);
        async move {
            let answer = answer.await;
            // If it is not so after all, this is the moment to find out.
            if matches!(answer, Err(CommitError::Unavailable(_))) && self.below(4) == 0 {
                self.disk.cut_at(1 + self.below(4));
            }
            self.history.answer(ticket, answer);
        }
    }

    async fn put_snapshot(&self) {
        let stream = self.stream();
        let snapshot = Snapshot { version: self.below(5), schema: 1, body: self.bytes() };
        self.history.ask_snapshot(stream.clone(), snapshot.clone());
        // May fail, and may be lost.
        let _ = self.store.put_snapshot(stream, snapshot).await;
    }

    fn new_commit(&self) -> Commit {
        let mut commit = Commit::default();
        if self.below(8) == 0 {
            commit.checkpoints.push(self.checkpoint());
        }
        if !commit.checkpoints.is_empty() && self.below(2) == 0 {
            return commit;
        }
        for _ in 0..=self.below(2) {
            let append = self.append();
            if commit.appends.iter().all(|earlier| earlier.stream != append.stream) {
                commit.appends.push(append);
            }
        }
        match self.below(8) {
            0 | 1 => commit.claims.push(self.claim()),
            2 => commit.wake_ups.push(self.wake_up()),
            3 => commit.listings.push(self.listing()),
            4 => commit.payloads.push(self.payload()),
            _ => {}
        }
        commit
    }

    fn append(&self) -> Append {
        let stream = self.stream();
        let expect = match self.below(6) {
            0 => Expect::New,
            1 => Expect::Any,
            _ => Expect::Exact(self.history.head(&stream)),
        };
        let events = (0..=self.below(3)).map(|_| NewEvent::new(self.world, "test.happened", 1, self.bytes()));
        Append { stream, expect, events: events.collect() }
    }

    fn stream(&self) -> StreamId {
        StreamId::new(&TenantId::default(), "test", self.below(12))
    }

    /// Small, mostly; some fill pages of their own.
    fn bytes(&self) -> Bytes {
        let bound = match self.below(16) {
            0 => 40_000,
            1..4 => 5_000,
            _ => 100,
        };
        let fill = u8::try_from(self.below(256)).unwrap_or(0);
        vec![fill; usize::try_from(self.below(bound)).unwrap_or(0)].into()
    }

    fn claim(&self) -> ClaimChange {
        let key = ClaimKey::new(&TenantId::default(), "ana", "test", &self.below(30).to_string());
        if self.below(5) == 0 {
            return ClaimChange::Settle(key, self.world.now().after(Duration::from_secs(60)));
        }
        let answer = self.below(1_000).to_string();
        let request = Hash::of_bytes(answer.as_bytes());
        ClaimChange::Take(key, Claim { request, answer: answer.into(), expires: None })
    }

    fn wake_up(&self) -> WakeUpChange {
        let stream = self.stream();
        if self.below(3) == 0 {
            return WakeUpChange::Clear(stream, "timer".into());
        }
        let due = self.world.now().after(Duration::from_secs(self.below(9)));
        WakeUpChange::Set(WakeUp { stream, name: "timer".into(), due, owner: None })
    }

    fn listing(&self) -> ListingChange {
        let status = self.below(3).to_string();
        if self.below(3) == 0 {
            return ListingChange::Status(self.stream(), status, self.world.now());
        }
        ListingChange::Put(Listing {
            stream: self.stream(),
            kind: "purchase".into(),
            status,
            principal: Some("ana".into()),
            labels: [("order".to_owned(), self.below(3).to_string())].into(),
            created: self.world.now(),
            updated: self.world.now(),
        })
    }

    fn payload(&self) -> Payload {
        let bytes = self.bytes();
        let id = PayloadId::of(b"key", "ana", &bytes);
        Payload { id, stream: self.stream(), bytes: Some(bytes) }
    }

    /// No two of them are the same.
    fn checkpoint(&self) -> Checkpoint {
        let position = Position { incarnation: 1, shard: 0, n: self.chance.bits() >> 1 };
        Checkpoint { subscriber: format!("s{}", self.below(2)), position }
    }

    fn below(&self, bound: u64) -> u64 {
        self.chance.below(bound)
    }
}
