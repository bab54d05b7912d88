//! Connections that break, above all in the middle of a COMMIT.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use steadfast_core::{
    TenantId, World,
    canonical::Hash,
    observe::{Observer, Signal},
};
use steadfast_log::{Checkpoint, Claim, ClaimChange, ClaimKey, Commit, CommitError, Expect, Log, Position};
use steadfast_log_postgres::{Options, PostgresLog};
use tokio_postgres::Client;

use crate::{
    one, open,
    proxy::{Fault, Proxy},
    server::shared,
    stream,
};

/// A node whose way to the server is bad, and a way to the same database that is not.
struct Bad {
    log: PostgresLog,
    world: World,
    proxy: Proxy,
    direct: Client,
    groups: Arc<Groups>,
}

/// The sizes of the groups that were served.
#[derive(Default)]
struct Groups(Mutex<Vec<usize>>);

impl Observer for Groups {
    fn observe(&self, signal: Signal<'_>) {
        if let Signal::Group { commits, .. } = signal {
            self.0.lock().expect("a lock").push(commits);
        }
    }
}

impl Bad {
    async fn open() -> Self {
        let database = shared().database().await;
        let proxy = Proxy::before(shared()).await;
        let world = World::manual(1).0;
        let groups = Arc::new(Groups::default());
        let options = Options { observer: groups.clone(), ..Options::new(world.clone()) };
        let log = PostgresLog::open(&proxy.address(&database), options).await.expect("opens");
        Self { log, world, proxy, direct: shared().client(&database).await, groups }
    }
    fn one(&self, name: &str, expect: Expect) -> Commit {
        one(&self.world, name, expect)
    }
    fn claiming(&self, name: &str) -> Commit {
        let claim = Claim { request: Hash::of_bytes(b""), answer: name.into(), expires: None };
        Commit { claims: vec![ClaimChange::Take(key(), claim)], ..self.one(name, Expect::New) }
    }
    /// Waits until somebody waits for a lock.
    async fn somebody_waits(&self) {
        let sql = "SELECT count(*) FROM pg_stat_activity
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
        for _ in 0..6_000 {
            // Within a transaction it would show the same again and again.
            self.direct.batch_execute("SELECT pg_stat_clear_snapshot()").await.expect("forgets");
            let waiting: i64 = self.direct.query_one(sql, &[]).await.expect("a count").get(0);
            if waiting > 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        panic!("nobody waits for a lock");
    }
    /// Keeps the writer in a first group until [`Bad::go_on`]: what is sent meanwhile is one
    /// group, the second.
    async fn stop(&self) -> impl Future<Output = Result<steadfast_log::Committed, CommitError>> + '_ {
        self.direct.batch_execute("BEGIN; SELECT FROM shards FOR UPDATE").await.expect("a lock");
        let first = self.log.commit(self.one("first", Expect::New));
        self.somebody_waits().await;
        first
    }
    async fn go_on(&self) {
        self.direct.batch_execute("COMMIT").await.expect("lets go");
    }
}

fn key() -> ClaimKey {
    ClaimKey::new(&TenantId::default(), "ana", "test", "key")
}

fn unavailable<T: std::fmt::Debug>(result: &Result<T, CommitError>) -> bool {
    matches!(result, Err(CommitError::Unavailable(_)))
}

#[tokio::test]
async fn what_waits_for_the_lock_shares_the_next_commit() {
    let bad = Bad::open().await;
    let first = bad.stop().await;
    let sent: Vec<_> = (0..40).map(|version| bad.log.commit(bad.one("a", Expect::Exact(version)))).collect();
    bad.go_on().await;
    first.await.expect("free");
    assert!(join_all(sent).await.iter().all(Result::is_ok));
    assert_eq!(*bad.groups.0.lock().expect("a lock"), [1, 40]);
}

#[tokio::test]
async fn g1_a_refusal_that_rests_on_what_was_not_committed_is_not_told() {
    let bad = Bad::open().await;
    let first = bad.stop().await;
    let won = bad.log.commit(bad.claiming("a"));
    let same_key = bad.log.commit(bad.claiming("b"));
    let same_stream = bad.log.commit(bad.one("a", Expect::New));
    bad.proxy.after(1, Fault::Lost);
    bad.go_on().await;
    let (first, won, same_key, same_stream) = futures::join!(first, won, same_key, same_stream);
    let end = first.expect("free").position;
    for lost in [&won, &same_key, &same_stream] {
        assert!(unavailable(lost), "{lost:?}");
    }
    assert_eq!(*bad.log.tail().borrow(), end);
    // And so the losers of a group that never was may win.
    let again = bad.log.commit(bad.claiming("b")).await;
    assert_eq!(again.expect("free").position.n, end.n + 1);
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_told_so() {
    let bad = Bad::open().await;
    let first = bad.stop().await;
    let won = bad.log.commit(bad.claiming("a"));
    let same_key = bad.log.commit(bad.claiming("b"));
    bad.proxy.after(1, Fault::AnswerLost);
    bad.go_on().await;
    let (first, won, same_key) = futures::join!(first, won, same_key);
    first.expect("free");
    assert_eq!(won.expect("found in the table").versions, [1]);
    assert!(matches!(same_key, Err(CommitError::Claimed(..))), "{same_key:?}");
    assert_eq!(bad.log.tail().borrow().n, 2);
}

#[tokio::test]
async fn a_commit_that_is_still_carried_out_is_waited_for() {
    let bad = Bad::open().await;
    bad.proxy.after(0, Fault::Late);
    let late = bad.log.commit(bad.one("a", Expect::New));
    // The node asks what became of it, while the server does not know that it is lost.
    bad.somebody_waits().await;
    assert_eq!(bad.log.head(&stream("a")).await, Ok(0));
    bad.proxy.release();
    assert_eq!(late.await.expect("it came through").versions, [1]);
}

#[tokio::test]
async fn a_lost_checkpoint_is_never_said_to_be_written_or_not_without_knowing() {
    let bad = Bad::open().await;
    let checkpoint = |n| Commit {
        checkpoints: vec![Checkpoint { subscriber: "s".into(), position: Position { n, ..Position::START } }],
        ..Commit::default()
    };
    bad.proxy.after(0, Fault::AnswerLost);
    bad.log.commit(checkpoint(1)).await.expect("found");
    bad.proxy.after(0, Fault::Lost);
    let lost = bad.log.commit(checkpoint(2)).await;
    assert!(matches!(lost, Err(CommitError::Unknown(_))), "{lost:?}");
    let kept = bad.log.checkpoint("s").await.expect("read");
    assert_eq!(kept.map(|position| position.n), Some(1));
}

#[tokio::test]
async fn an_outcome_that_cannot_be_found_out_is_unknown_and_nothing_is_tried_until_it_can() {
    let bad = Bad::open().await;
    bad.proxy.close(true);
    bad.proxy.after(0, Fault::AnswerLost);
    let first = bad.log.commit(bad.claiming("a")).await;
    assert!(unavailable(&first), "there was no connection yet: {first:?}");
    bad.proxy.close(false);
    let first = bad.log.commit(bad.one("first", Expect::New)).await;
    assert!(first.is_ok(), "found out on a new connection: {first:?}");

    bad.proxy.after(0, Fault::AnswerLost);
    bad.proxy.close(true);
    let unknown = bad.log.commit(bad.claiming("a")).await;
    assert!(matches!(unknown, Err(CommitError::Unknown(_))), "{unknown:?}");
    let refused = bad.log.commit(bad.one("b", Expect::New)).await;
    assert!(unavailable(&refused), "{refused:?}");

    bad.proxy.close(false);
    bad.log.commit(bad.one("b", Expect::New)).await.expect("it connects again");
    // Asked again, by claim or by event, the answer is there.
    let again = bad.log.commit(bad.claiming("a")).await;
    assert!(matches!(again, Err(CommitError::Claimed(..))), "{again:?}");
    assert_eq!(bad.log.head(&stream("a")).await, Ok(1));
}

/// Every connection of the node is ended again and again while it commits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_ends_its_connections_every_answer_is_true() {
    const COMMITTERS: usize = 12;
    const EACH: usize = 40;
    let database = shared().database().await;
    let world = World::manual(1).0;
    let log = Arc::new(open(&shared().address(&database), &world).await);
    let killer = shared().client(&database).await;
    let kills = tokio::spawn(async move {
        let sql = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                   WHERE datname = current_database() AND application_name = 'steadfast'";
        let mut killed = 0;
        loop {
            killed += killer.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0);
            if killed > 60 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(7)).await;
        }
    });
    let committers = (0..COMMITTERS).map(|number| {
        let (log, world) = (log.clone(), world.clone());
        tokio::spawn(async move {
            let (mut told, mut written) = (Vec::new(), 0);
            while written < EACH {
                let commit = one(&world, &number.to_string(), Expect::Any);
                let id = commit.appends[0].events[0].id;
                let result = log.commit(commit).await;
                written += usize::from(result.is_ok());
                told.push((id, result));
            }
            told
        })
    });
    let told = join_all(committers.collect::<Vec<_>>()).await;
    kills.await.expect("killed");
    let log = open(&shared().address(&database), &world).await;
    let mut ok = 0;
    for (number, told) in told.into_iter().enumerate() {
        let events = log.read_stream(&stream(&number.to_string()), 1, usize::MAX).await.expect("read");
        for (id, result) in told.expect("no panic") {
            let found: Vec<_> = events.iter().filter(|event| event.event.id == id).collect();
            match result {
                Ok(committed) => {
                    assert_eq!(found.len(), 1, "{id} was told to be written");
                    assert_eq!(
                        (found[0].position, found[0].version),
                        (committed.position, committed.versions[0])
                    );
                    ok += 1;
                }
                Err(CommitError::Unavailable(_)) => {
                    assert_eq!(found.len(), 0, "{id} was told not to be written");
                }
                Err(CommitError::Unknown(_)) => assert!(found.len() <= 1, "{id} is there twice"),
                Err(other) => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(ok, COMMITTERS * EACH);
}
