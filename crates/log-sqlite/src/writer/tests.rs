use std::sync::{Arc, Mutex, mpsc};

use bytes::Bytes;
use futures::future::join_all;
use steadfast_core::{
    TenantId, World,
    canonical::Hash,
    observe::{Observer, Signal},
};
use steadfast_log::{
    Checkpoint, Claim, ClaimChange, ClaimKey, Commit, CommitError, Expect, Log, NewEvent, Position,
    ReadError, Snapshot, StreamId,
};
use tempfile::TempDir;

use super::{TaskEnd, Work, faults::NextCommit};
use crate::{Options, SqliteLog, StoreConfig};

struct Store {
    log: SqliteLog,
    world: World,
    dir: TempDir,
}

impl Store {
    fn new() -> Self {
        Self::with(StoreConfig::default())
    }
    fn with(config: StoreConfig) -> Self {
        Self::told_to(config, steadfast_core::observe::silent())
    }
    fn told_to(config: StoreConfig, observer: Arc<dyn Observer>) -> Self {
        let dir = TempDir::new().expect("a directory");
        let world = World::manual(1).0;
        let options = Options { config, observer, ..Options::new(world.clone()) };
        let log = SqliteLog::open(dir.path().join("log"), options).expect("opens");
        Self { log, world, dir }
    }
    fn one(&self, name: &str, expect: Expect) -> Commit {
        let event = NewEvent::new(&self.world, "test.happened", 1, Bytes::from_static(b"{}"));
        Commit::append(stream(name), expect, vec![event])
    }
    fn claiming(&self, name: &str) -> Commit {
        let claim = Claim { request: Hash::of_bytes(b""), answer: name.into(), expires: None };
        Commit { claims: vec![ClaimChange::Take(key(), claim)], ..self.one(name, Expect::New) }
    }
    /// Stops the writer between two groups until the returned end is dropped: what is
    /// sent meanwhile is one group.
    async fn stop(&self) -> mpsc::Sender<()> {
        let (end, wait) = mpsc::channel::<()>();
        let (stopped, seen) = tokio::sync::oneshot::channel();
        let task = move |_: &rusqlite::Connection| {
            let _ = stopped.send(());
            let _ = wait.recv();
            TaskEnd::Fine
        };
        let sent = self.log.submit(Work::Task(Box::new(task))).await;
        sent.expect("an open store");
        seen.await.expect("the writer takes it");
        end
    }
}

fn stream(name: &str) -> StreamId {
    StreamId::new(&TenantId::default(), "test", name)
}

fn key() -> ClaimKey {
    ClaimKey::new(&TenantId::default(), "ana", "test", "key")
}

fn unavailable<T: std::fmt::Debug>(result: &Result<T, CommitError>) -> bool {
    matches!(result, Err(CommitError::Unavailable(_)))
}

#[tokio::test]
async fn what_waits_for_a_sync_shares_the_next_one() {
    let store = Store::new();
    let stopped = store.stop().await;
    let sent: Vec<_> =
        (0..40).map(|version| store.log.commit(store.one("a", Expect::Exact(version)))).collect();
    let before = store.log.stats().syncs;
    drop(stopped);
    assert!(join_all(sent).await.iter().all(Result::is_ok));
    let stats = store.log.stats();
    assert_eq!((stats.syncs - before, stats.commits), (1, 40));
}

#[tokio::test]
async fn a_group_is_bounded_and_snapshots_count() {
    let max_group = 10.try_into().expect("not zero");
    let store = Store::with(StoreConfig { max_group, ..StoreConfig::default() });
    for (snapshots, groups) in [(0, 1), (1, 2), (10, 2)] {
        let stopped = store.stop().await;
        let commits: Vec<_> = (0..10).map(|_| store.log.commit(store.one("a", Expect::Any))).collect();
        let snapshot = || Snapshot { version: 1, schema: 1, body: Bytes::new() };
        let kept: Vec<_> = (0..snapshots).map(|_| store.log.put_snapshot(stream("a"), snapshot())).collect();
        let before = store.log.stats().syncs;
        drop(stopped);
        let (commits, kept) = futures::join!(join_all(commits), join_all(kept));
        assert!(commits.iter().all(Result::is_ok) && kept.iter().all(Result::is_ok));
        assert_eq!(store.log.stats().syncs - before, groups, "{snapshots} snapshots");
    }
}

#[tokio::test]
async fn g1_a_refusal_that_rests_on_what_was_not_synced_is_not_told() {
    let store = Store::new();
    let stopped = store.stop().await;
    let first = store.log.commit(store.claiming("a"));
    let same_key = store.log.commit(store.claiming("b"));
    let same_stream = store.log.commit(store.one("a", Expect::New));
    store.log.faults.next_commit(NextCommit::Fails);
    drop(stopped);
    let (first, same_key, same_stream) = futures::join!(first, same_key, same_stream);
    assert!(unavailable(&first), "{first:?}");
    assert!(unavailable(&same_key), "{same_key:?}");
    assert!(unavailable(&same_stream), "{same_stream:?}");
    // And so the losers of a group that never was may win.
    let again = store.log.commit(store.claiming("b")).await;
    assert_eq!(again.expect("free").position.n, 1);
}

#[tokio::test]
async fn g1_the_tail_and_the_counts_do_not_move_with_a_group_that_failed() {
    let store = Store::new();
    let first = store.log.commit(store.one("a", Expect::New)).await;
    let end = first.expect("free").position;
    for fault in [NextCommit::Fails, NextCommit::Full] {
        store.log.faults.next_commit(fault);
        let failed = store.log.commit(store.one("a", Expect::Exact(1))).await;
        assert!(unavailable(&failed), "{fault:?}: {failed:?}");
        assert_eq!(*store.log.tail().borrow(), end);
        assert_eq!(store.log.stats().commits, 1);
        assert_eq!(store.log.head(&stream("a")).await, Ok(1));
    }
    let next = store.log.commit(store.one("a", Expect::Exact(1))).await;
    assert_eq!(next.expect("free").position.n, end.n + 1);
}

#[tokio::test]
async fn a_commit_that_reported_failure_and_is_there_is_told_so() {
    let store = Store::new();
    let stopped = store.stop().await;
    let first = store.log.commit(store.claiming("a"));
    let refused = store.log.commit(store.claiming("b"));
    store.log.faults.next_commit(NextCommit::SucceedsAndFails);
    drop(stopped);
    let (first, refused) = futures::join!(first, refused);
    assert_eq!(first.expect("found on disk").versions, [1]);
    assert!(matches!(refused, Err(CommitError::Claimed(..))));
    assert_eq!(store.log.tail().borrow().n, 1);
    let checkpoint = |n| Commit {
        checkpoints: vec![Checkpoint { subscriber: "s".into(), position: Position { n, ..Position::START } }],
        ..Commit::default()
    };
    store.log.faults.next_commit(NextCommit::SucceedsAndFails);
    store.log.commit(checkpoint(1)).await.expect("found");
    store.log.faults.next_commit(NextCommit::Fails);
    let lost = store.log.commit(checkpoint(2)).await;
    assert!(unavailable(&lost), "{lost:?}");
}

#[tokio::test]
async fn an_outcome_that_cannot_be_found_out_is_unknown_and_nothing_is_tried_until_it_can() {
    let store = Store::new();
    store.log.faults.unopenable(true);
    store.log.faults.next_commit(NextCommit::SucceedsAndFails);
    let unknown = store.log.commit(store.claiming("a")).await;
    assert!(matches!(unknown, Err(CommitError::Unknown(_))));
    let refused = store.log.commit(store.one("b", Expect::New)).await;
    assert!(unavailable(&refused), "{refused:?}");
    let snapshot = Snapshot { version: 1, schema: 1, body: Bytes::new() };
    let refused = store.log.put_snapshot(stream("a"), snapshot).await;
    assert!(matches!(refused, Err(ReadError::Unavailable(_))));

    store.log.faults.unopenable(false);
    store.log.commit(store.one("b", Expect::New)).await.expect("it opens again");
    // Asked again, by claim or by event, the answer is there.
    let again = store.log.commit(store.claiming("a")).await;
    assert!(matches!(again, Err(CommitError::Claimed(..))));
    assert_eq!(store.log.tail().borrow().n, 2);
}

#[tokio::test]
async fn a_read_alone_brings_back_a_store_that_could_not_be_opened() {
    let store = Store::new();
    store.log.faults.unopenable(true);
    store.log.faults.next_commit(NextCommit::SucceedsAndFails);
    let unknown = store.log.commit(store.claiming("a")).await;
    assert!(matches!(unknown, Err(CommitError::Unknown(_))));
    let head = store.log.head(&stream("a")).await;
    assert!(matches!(head, Err(ReadError::Unavailable(_))), "{head:?}: nobody knows what is on disk");
    store.log.faults.unopenable(false);
    while store.log.head(&stream("a")).await != Ok(1) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_full_disk_refuses_the_whole_group_and_loses_nothing() {
    let store = Store::new();
    let first = store.log.commit(store.one("a", Expect::New)).await;
    first.expect("free");
    let limit = |pages: u32| {
        store.log.change(move |tx| tx.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(())))
    };
    limit(1).await.expect("no page more");
    let stopped = store.stop().await;
    let mut large = store.one("b", Expect::New);
    large.appends[0].events[0].body = Bytes::from(vec![b'1'; 100_000]);
    let sent = [
        store.log.commit(store.one("a", Expect::Exact(1))),
        store.log.commit(store.one("a", Expect::Exact(7))),
        store.log.commit(store.one("c", Expect::New)),
        store.log.commit(large.clone()),
    ];
    drop(stopped);
    for result in join_all(sent).await {
        assert!(unavailable(&result), "{result:?}");
    }
    assert_eq!(store.log.head(&stream("a")).await, Ok(1));
    assert_eq!(store.log.head(&stream("c")).await, Ok(0));

    limit(1_000_000).await.expect("there is room again");
    store.log.commit(large).await.expect("free");
    let next = store.log.commit(store.one("a", Expect::Exact(1))).await;
    assert_eq!(next.expect("free").versions, [2]);
}

#[tokio::test]
async fn a_full_queue_holds_callers_back_and_loses_none() {
    let store = Store::with(StoreConfig {
        queue: 2.try_into().expect("not zero"),
        max_group: 3.try_into().expect("not zero"),
        heads: 1.try_into().expect("not zero"),
        ..StoreConfig::default()
    });
    let stopped = store.stop().await;
    let sent = (0..20).map(|i| store.log.commit(store.one(&i.to_string(), Expect::New)));
    let mut sent = join_all(sent);
    assert!(futures::poll!(&mut sent).is_pending());
    drop(stopped);
    assert!(sent.await.iter().all(Result::is_ok));
    assert_eq!(store.log.stats().commits, 20);
}

#[derive(Default)]
struct Errors(Mutex<Vec<&'static str>>);

impl Observer for Errors {
    fn observe(&self, signal: Signal<'_>) {
        if let Signal::StoreError { code } = signal {
            self.0.lock().expect("a lock").push(code);
        }
    }
}

#[tokio::test]
async fn a_group_that_was_not_written_is_counted_by_its_cause() {
    let errors = Arc::new(Errors::default());
    let store = Store::told_to(StoreConfig::default(), errors.clone());
    store.log.commit(store.one("a", Expect::New)).await.expect("free");
    for fault in [NextCommit::Fails, NextCommit::Full] {
        store.log.faults.next_commit(fault);
        store.log.commit(store.one("a", Expect::Exact(1))).await.expect_err("a fault");
    }
    assert_eq!(*errors.0.lock().expect("a lock"), ["store.unavailable", "store.full"]);
}

#[tokio::test]
async fn what_was_queued_is_written_before_the_store_closes() {
    let store = Store::new();
    let stopped = store.stop().await;
    for i in 0..10 {
        // Nobody waits for the answers.
        drop(store.log.commit(store.one(&i.to_string(), Expect::New)));
    }
    drop(stopped);
    let Store { log, world, dir } = store;
    drop(log);
    let log = SqliteLog::open(dir.path().join("log"), Options::new(world)).expect("opens");
    assert_eq!(log.tail().borrow().n, 10);
}
