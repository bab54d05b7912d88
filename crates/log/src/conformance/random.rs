//! Random operations against two stores that must agree on every answer.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use steadfast_core::{
    NodeId, TenantId, World,
    chance::{Chance, Seeded},
    time::ManualClock,
};

use crate::{
    Append, Checkpoint, Claim, ClaimChange, ClaimKey, Commit, CommitError, Committed, DueQuery, Expect,
    ListQuery, Listing, ListingChange, Log, NewEvent, Payload, PayloadId, Position, Snapshot, StreamId,
    WakeUp, WakeUpChange,
};

/// How much to try.
#[derive(Debug, Clone, Copy)]
pub struct Differential {
    /// The same seed tries the same.
    pub seed: u64,
    /// Sequences, each among things of its own.
    pub sequences: usize,
    /// Operations in each.
    pub length: usize,
}

/// What was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Seen {
    /// Commits that both accepted.
    pub accepted: usize,
    /// Commits that both refused, in the same words.
    pub refused: usize,
}

/// One thing to do to both.
#[derive(Debug, Clone)]
enum Operation {
    /// Sent one after another, without waiting for an answer in between.
    Commits(Vec<Commit>),
    Stream(StreamId, u64, usize),
    StreamBack(StreamId, u64, usize),
    /// From a place a fraction of the way to the end, in thousandths.
    All(u64, usize),
    Claim(ClaimKey),
    Payload(PayloadId),
    Due(DueQuery),
    List(ListQuery),
    PutSnapshot(StreamId, Snapshot),
    Snapshot(StreamId),
    Checkpoint(String),
    Advance(Duration),
}

/// Runs the same random operations on both and compares every answer, refusals
/// included. Few names, so that operations meet. Both must be fresh and live in `world`;
/// panics with the seed and the sequence that told them apart.
pub async fn differential(
    model: &dyn Log,
    store: &dyn Log,
    world: &World,
    clock: &ManualClock,
    run: Differential,
) -> Seen {
    let chance = Seeded::new(run.seed);
    let mut seen = Seen::default();
    for number in 0..run.sequences {
        let tenant = format!("t{number}").parse().unwrap_or_default();
        let pick = Pick { chance: &chance, world, tenant };
        let mut history = Vec::new();
        for _ in 0..run.length {
            let operation = pick.operation();
            history.push(operation.clone());
            let (wanted, found) = (
                perform(model, operation.clone(), None).await,
                perform(store, operation, Some((clock, &mut seen))).await,
            );
            assert_eq!(
                found, wanted,
                "seed {}, sequence {number}; the last operation told them apart: {history:#?}",
                run.seed
            );
        }
    }
    seen
}

/// The answer as text, which keeps the comparison to one place.
async fn perform(log: &dyn Log, operation: Operation, second: Option<(&ManualClock, &mut Seen)>) -> String {
    fn show(answer: impl Debug) -> String {
        format!("{answer:?}")
    }
    match operation {
        Operation::Commits(commits) => {
            let sent: Vec<_> = commits.into_iter().map(|commit| log.commit(commit)).collect();
            let answers: Vec<Result<Committed, CommitError>> = join_all(sent).await;
            if let Some((_, seen)) = second {
                let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
                seen.accepted += accepted;
                seen.refused += answers.len() - accepted;
            }
            show(answers)
        }
        Operation::Stream(stream, from, limit) => {
            let head = log.head(&stream).await;
            show((head, log.read_stream(&stream, from, limit).await))
        }
        Operation::StreamBack(stream, before, limit) => {
            show(log.read_stream_back(&stream, before, limit).await)
        }
        Operation::All(thousandths, limit) => {
            let mut after = *log.tail().borrow();
            after.n = after.n * thousandths / 1_000;
            show(log.read_all(after, limit).await)
        }
        Operation::Claim(key) => show(log.claim(key).await),
        Operation::Payload(id) => show(log.payload(id).await),
        Operation::Due(query) => show(log.due(query).await),
        Operation::List(query) => {
            let count = log.count(query.clone()).await;
            show((count, log.list(query).await))
        }
        Operation::PutSnapshot(stream, snapshot) => show(log.put_snapshot(stream, snapshot).await),
        Operation::Snapshot(stream) => show(log.snapshot(&stream).await),
        Operation::Checkpoint(subscriber) => show(log.checkpoint(&subscriber).await),
        Operation::Advance(by) => {
            // Both live in one world: it moves once.
            if let Some((clock, _)) = second {
                clock.advance(by);
            }
            String::new()
        }
    }
}

/// Picks what to do.
struct Pick<'a> {
    chance: &'a Seeded,
    world: &'a World,
    tenant: TenantId,
}

impl Pick<'_> {
    fn below(&self, bound: u64) -> u64 {
        self.chance.below(bound)
    }
    fn length(&self, bound: u64) -> usize {
        usize::try_from(self.below(bound)).unwrap_or(0)
    }
    fn often(&self) -> bool {
        self.below(4) > 0
    }
    fn seldom(&self) -> bool {
        self.below(4) == 0
    }
    fn one_of<T: Copy>(&self, choices: &[T]) -> T {
        choices[self.length(choices.len() as u64)]
    }
    fn some<T>(&self, bound: u64, make: impl Fn() -> T) -> Vec<T> {
        if self.seldom() { (0..=self.below(bound)).map(|_| make()).collect() } else { Vec::new() }
    }
    fn stream(&self) -> StreamId {
        let name = self.one_of(&["a", "b", "b/c", "b-c", "d"]);
        StreamId::new(&self.tenant, self.one_of(&["run", "run", "account"]), name)
    }
    fn time(&self) -> steadfast_core::Time {
        let ahead = Duration::from_secs(self.below(8));
        self.world.now().after(ahead)
    }

    fn operation(&self) -> Operation {
        match self.below(24) {
            0..10 => Operation::Commits((0..=self.below(6)).map(|_| self.commit()).collect()),
            10..12 => Operation::Stream(self.stream(), self.below(6), self.length(5)),
            12 => Operation::StreamBack(self.stream(), self.below(6), self.length(5)),
            13 => Operation::All(self.below(1_001), self.length(8)),
            14 => Operation::Claim(self.claim_key()),
            15 => Operation::Payload(self.payload().id),
            16..18 => Operation::Due(DueQuery {
                category: self.one_of(&["run", "account"]),
                until: self.time(),
                after: self.seldom().then(|| self.wake_up()),
                limit: self.length(6),
            }),
            18..20 => Operation::List(self.list_query()),
            20 => Operation::PutSnapshot(
                self.stream(),
                Snapshot {
                    version: self.below(5),
                    schema: 1,
                    body: Bytes::from(self.below(1_000).to_string()),
                },
            ),
            21 => Operation::Snapshot(self.stream()),
            22 => Operation::Checkpoint(self.checkpoint().subscriber),
            _ => Operation::Advance(Duration::from_secs(self.below(6))),
        }
    }

    fn commit(&self) -> Commit {
        let mut commit = Commit {
            appends: (0..=self.below(2)).map(|_| self.append()).collect(),
            claims: self.some(2, || self.claim_change()),
            wake_ups: self.some(3, || self.wake_up_change()),
            listings: self.some(3, || self.listing_change()),
            payloads: self.some(2, || self.payload()),
            checkpoints: self.some(1, || self.checkpoint()),
        };
        if self.below(30) == 0 {
            commit.appends.clear();
        }
        if self.below(50) == 0 {
            let many = self.one_of(&[62, 63, 64, 90]);
            commit.appends.truncate(1);
            for append in &mut commit.appends {
                append.events = (0..many).map(|_| self.event()).collect();
            }
        }
        commit
    }

    fn append(&self) -> Append {
        let expect = match self.below(6) {
            0 => Expect::New,
            1..4 => Expect::Exact(self.below(4)),
            _ => Expect::Any,
        };
        Append { stream: self.stream(), expect, events: (0..=self.below(3)).map(|_| self.event()).collect() }
    }

    fn event(&self) -> NewEvent {
        let body = Bytes::from(format!("{{\"x\":{}}}", self.below(100)));
        let kind = self.one_of(&["run.turned", "account.posted"]);
        NewEvent::new(self.world, kind, 1, body)
    }

    fn claim_key(&self) -> ClaimKey {
        ClaimKey::new(&self.tenant, "ana", "op", self.one_of(&["1", "2", "3"]))
    }

    fn claim_change(&self) -> ClaimChange {
        let key = self.claim_key();
        if self.seldom() {
            return ClaimChange::Settle(key, self.time());
        }
        let answer = self.below(1_000).to_string();
        let claim = Claim {
            request: steadfast_core::canonical::Hash::of_bytes(answer.as_bytes()),
            answer: answer.into(),
            expires: self.often().then(|| self.time()),
        };
        ClaimChange::Take(key, claim)
    }

    fn wake_up(&self) -> WakeUp {
        WakeUp {
            stream: self.stream(),
            name: self.one_of(&["timer", "deadline"]).into(),
            due: self.time(),
            owner: self.seldom().then(|| NodeId::from_bytes([1; 16])),
        }
    }

    fn wake_up_change(&self) -> WakeUpChange {
        let wake_up = self.wake_up();
        if self.often() {
            WakeUpChange::Set(wake_up)
        } else {
            WakeUpChange::Clear(wake_up.stream, wake_up.name)
        }
    }

    fn labels(&self) -> BTreeMap<String, String> {
        let label = || {
            let name = self.one_of(&["team", "order"]);
            (name.to_owned(), self.below(2).to_string())
        };
        self.some(2, label).into_iter().collect()
    }

    fn status(&self) -> String {
        self.one_of(&["running", "waiting", "failed"]).into()
    }

    fn listing_change(&self) -> ListingChange {
        if self.seldom() {
            return ListingChange::Status(self.stream(), self.status(), self.time());
        }
        ListingChange::Put(Listing {
            stream: self.stream(),
            kind: self.one_of(&["purchase", "refund"]).into(),
            status: self.status(),
            principal: self.often().then(|| self.one_of(&["ana", "luis"]).into()),
            labels: self.labels(),
            created: self.time(),
            updated: self.time(),
        })
    }

    fn list_query(&self) -> ListQuery {
        ListQuery {
            tenant: self.tenant.clone(),
            category: self.one_of(&["run", "account"]).into(),
            kind: self.seldom().then(|| "purchase".into()),
            statuses: self.some(2, || self.status()),
            principal: self.seldom().then(|| "ana".into()),
            labels: self.labels(),
            after: self.seldom().then(|| (self.time(), self.stream())),
            limit: self.length(6),
        }
    }

    fn payload(&self) -> Payload {
        let bytes = Bytes::from(self.below(4).to_string());
        Payload {
            id: PayloadId::of(b"key", self.tenant.as_str(), &bytes),
            stream: self.stream(),
            bytes: self.often().then_some(bytes),
        }
    }

    fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            subscriber: format!("{}/{}", self.tenant, self.below(2)),
            position: Position { incarnation: 1, shard: 0, n: self.below(100) },
        }
    }
}
