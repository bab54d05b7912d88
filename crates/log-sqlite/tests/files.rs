//! Files that are not as they should be, copies, and what is left when one is opened again.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use steadfast_core::{Coded, TenantId, Time, World, secret::Keyring, secret::Secret};
use steadfast_log::{
    Checkpoint, Commit, CommitError, Expect, Log, MemoryLog, NewEvent, Payload, PayloadId, Position,
    ReadError, Snapshot, StreamId,
    conformance::{Differential, differential},
    rebuild,
};
use steadfast_log_sqlite::{Options, Progress, SCHEMA, SqliteLog, backup, migrate, restore};
use tempfile::TempDir;

struct Place {
    dir: TempDir,
    world: World,
}

impl Place {
    fn new() -> Self {
        Self { dir: TempDir::new().expect("a directory"), world: World::manual(1).0 }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn options(&self) -> Options {
        Options::new(self.world.clone())
    }
    fn open(&self, name: &str) -> SqliteLog {
        SqliteLog::open(self.path(name), self.options()).expect("opens")
    }
    fn one(&self, name: &str, expect: Expect) -> Commit {
        let event = NewEvent::new(&self.world, "test.happened", 1, Bytes::from_static(b"{}"));
        Commit::append(stream(name), expect, vec![event])
    }
}

fn stream(name: &str) -> StreamId {
    StreamId::new(&TenantId::default(), "test", name)
}

#[tokio::test]
async fn g1_a_store_opened_again_is_what_it_was() {
    let place = Place::new();
    let (world, clock) = World::manual(3);
    let model = MemoryLog::new(world.clone());
    let options = Options::new(world.clone());
    let (before, identity) = {
        let store = SqliteLog::open(place.path("log"), options.clone()).expect("opens");
        let run = Differential { seed: 3, sequences: 30, length: 20 };
        differential(&model, &store, &world, &clock, run).await;
        let page = store.read_all(Position::START, 4_096).await.expect("a page");
        (page, store.identity())
    };
    let store = SqliteLog::open(place.path("log"), options).expect("opens again");
    let page = store.read_all(Position::START, 4_096).await.expect("a page");
    assert_eq!(page, before);
    assert_eq!(store.identity(), identity);
    assert_eq!(*store.tail().borrow(), before.next);
    assert_eq!(store.derived().await.expect("tables"), model.derived());
    assert_eq!(rebuild(&store).await.expect("a fold"), model.derived());
}

#[tokio::test]
async fn a_second_process_is_refused_and_may_read() {
    let place = Place::new();
    let log = place.open("log");
    log.commit(place.one("a", Expect::New)).await.expect("free");
    let error = SqliteLog::open(place.path("log"), place.options()).expect_err("taken");
    assert_eq!(error.code(), "store.locked");
    let reader = SqliteLog::open_read_only(place.path("log"), place.options()).expect("reads");
    assert_eq!(reader.head(&stream("a")).await, Ok(1));
    log.commit(place.one("a", Expect::Exact(1))).await.expect("commits go on");
    assert_eq!(reader.head(&stream("a")).await, Ok(2));
    let refused = reader.commit(place.one("b", Expect::New)).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))));
    drop(log);
    place.open("log");
}

#[tokio::test]
async fn files_of_others_and_of_newer_versions_are_refused_and_left_alone() {
    let place = Place::new();
    std::fs::write(place.path("text"), "this is not a database at all, not at all").expect("text");
    let other = rusqlite::Connection::open(place.path("other")).expect("opens");
    other.execute_batch("CREATE TABLE theirs (x)").expect("a table");
    drop(other);
    for name in ["text", "other"] {
        let before = std::fs::read(place.path(name)).expect("bytes");
        for open in [SqliteLog::open, SqliteLog::open_read_only] {
            let error = open(place.path(name), place.options()).expect_err(name);
            assert_eq!(error.code(), "store.foreign_file", "{name}");
        }
        assert_eq!(std::fs::read(place.path(name)).expect("bytes"), before);
    }
    drop(place.open("log"));
    let newer = rusqlite::Connection::open(place.path("log")).expect("opens");
    newer.pragma_update(None, "user_version", SCHEMA + 1).expect("a newer schema");
    drop(newer);
    let error = SqliteLog::open(place.path("log"), place.options()).expect_err("newer");
    assert_eq!(error.code(), "store.newer_schema");
    assert!(error.to_string().contains(&(SCHEMA + 1).to_string()));
    let error = SqliteLog::open_read_only(place.path("none"), place.options());
    assert_eq!(error.expect_err("missing").code(), "store.missing");
}

#[tokio::test]
async fn a_store_goes_down_a_schema_and_up_again_with_its_events() {
    let place = Place::new();
    let log = place.open("log");
    log.commit(place.one("a", Expect::New)).await.expect("free");
    let error = migrate(&place.path("log"), 1).expect_err("a server runs");
    assert_eq!(error.code(), "store.locked");
    drop(log);
    migrate(&place.path("log"), SCHEMA - 1).expect("goes down");
    let error = SqliteLog::open_read_only(place.path("log"), place.options());
    assert_eq!(error.expect_err("older").code(), "store.older_schema");
    let error = migrate(&place.path("log"), 0).expect_err("would lose the events");
    assert_eq!(error.code(), "store.migration_refused");
    let log = place.open("log");
    assert_eq!(log.head(&stream("a")).await, Ok(1));
}

#[tokio::test]
async fn a_backup_is_one_moment_and_a_restore_is_held_until_resumed() {
    let place = Place::new();
    let log = place.open("log");
    let first = log.commit(place.one("a", Expect::New)).await.expect("free");
    let mut seen = Vec::new();
    backup(&place.path("log"), &place.path("copy"), |at: Progress| {
        seen.push(at);
    })
    .expect("copies");
    assert!(seen.last().is_some_and(|at| at.done == at.total && at.total > 0));
    let error = backup(&place.path("log"), &place.path("copy"), |_| {}).expect_err("in the way");
    assert_eq!(error.code(), "store.exists");
    let lost = log.commit(place.one("a", Expect::Any)).await.expect("free");
    log.commit(place.one("a", Expect::Any)).await.expect("free");

    let error = restore(&place.path("copy"), &place.path("log"), &place.world, |_| {});
    assert_eq!(error.expect_err("in use").code(), "store.locked");
    restore(&place.path("copy"), &place.path("new"), &place.world, |_| {}).expect("restores");
    let restored = place.open("new");
    let (was, is) = (log.identity(), restored.identity());
    assert_eq!((is.log_id, is.held), (was.log_id, true));
    assert!(is.incarnation > was.incarnation);
    assert_eq!(restored.head(&stream("a")).await, Ok(1));

    restored.resume().await.expect("resumes");
    assert!(!restored.identity().held);
    drop(restored);
    let restored = place.open("new");
    assert!(!restored.identity().held);

    // The future that the old server had is another one than this.
    let new = restored.commit(place.one("b", Expect::New)).await.expect("free");
    assert_eq!(new.position.n, lost.position.n);
    for cursor in [first.position, lost.position] {
        let page = restored.read_all(cursor, 10).await.expect("a page");
        assert_eq!(page.events.len(), 1, "{cursor}");
        assert_eq!(page.events[0].position, new.position);
    }
}

#[tokio::test]
async fn g6_a_cursor_that_is_no_place_in_this_log_is_refused() {
    let place = Place::new();
    let log = place.open("log");
    let end = log.commit(place.one("a", Expect::New)).await.expect("free");
    let end = end.position;
    let beyond = Position { n: end.n + 1, ..end };
    let later = Position { incarnation: end.incarnation + 1, ..end };
    let elsewhere = Position { shard: 1, ..end };
    for cursor in [beyond, later, elsewhere] {
        let result = log.read_all(cursor, 10).await;
        assert!(matches!(result, Err(ReadError::BadCursor(_))), "{cursor}");
    }
    let never = Position { n: 1_000, ..Position::START };
    let page = log.read_all(never, 10).await.expect("from before the log");
    assert_eq!(page.events.len(), 1);
}

#[tokio::test]
async fn payloads_are_sealed_on_disk_and_broken_snapshots_are_as_good_as_lost() {
    let place = Place::new();
    let mut options = place.options();
    let key = Secret::new([9; 32]);
    options.cipher = std::sync::Arc::new(Keyring::new("k", &key, place.world.clone()));
    let log = SqliteLog::open(place.path("log"), options).expect("opens");
    let secret = Bytes::from("a planted canary ".repeat(300));
    let id = PayloadId::of(log.payload_key().reveal(), "default/ana", &secret);
    let mut commit = place.one("a", Expect::New);
    commit.payloads = vec![Payload { id, stream: stream("a"), bytes: Some(secret.clone()) }];
    log.commit(commit).await.expect("free");
    let snapshot = Snapshot { version: 1, schema: 1, body: Bytes::from_static(b"state") };
    log.put_snapshot(stream("a"), snapshot.clone()).await.expect("kept");
    assert_eq!(log.payload(id).await, Ok(Some(secret)));
    assert_eq!(log.snapshot(&stream("a")).await, Ok(Some(snapshot)));
    drop(log);
    let bytes = std::fs::read(place.path("log")).expect("bytes");
    let canary = b"planted canary";
    assert!(!bytes.windows(canary.len()).any(|part| part == canary));

    let conn = rusqlite::Connection::open(place.path("log")).expect("opens");
    conn.execute_batch("UPDATE snapshots SET body = x'00'").expect("breaks it");
    drop(conn);
    let log = place.open("log");
    assert_eq!(log.snapshot(&stream("a")).await, Ok(None));
    let result = log.payload(id).await;
    assert!(matches!(result, Err(ReadError::Unavailable(_))), "{result:?}");
}

#[tokio::test]
async fn a_small_write_ahead_log_is_moved_again_and_again_and_loses_nothing() {
    let place = Place::new();
    let mut options = place.options();
    options.config.checkpoint_pages = 4.try_into().expect("not zero");
    let log = SqliteLog::open(place.path("log"), options).expect("opens");
    let (mut version, mut before) = (0, 0);
    // Until two hundred commits went into room that had been made by moving earlier ones.
    for round in 0.. {
        assert!(round < 100, "it only grows: {before} bytes");
        for _ in 0..200 {
            let mut commit = place.one("a", Expect::Exact(version));
            commit.checkpoints = vec![Checkpoint { subscriber: "s".into(), position: Position::START }];
            log.commit(commit).await.expect("free");
            version += 1;
        }
        let wal = std::fs::metadata(place.path("log-wal")).expect("a file").len();
        if wal == before {
            break;
        }
        before = wal;
    }
    assert_eq!(log.head(&stream("a")).await, Ok(version));
    drop(log);
    assert_eq!(place.open("log").head(&stream("a")).await, Ok(version));
}

#[tokio::test]
async fn a_sweep_takes_only_what_ran_out() {
    let place = Place::new();
    let log = place.open("log");
    let model = MemoryLog::new(place.world.clone());
    let (world, clock) = World::manual(5);
    drop(log);
    let log = SqliteLog::open(place.path("log"), Options::new(world.clone())).expect("opens");
    let model_run = Differential { seed: 5, sequences: 20, length: 30 };
    let other = MemoryLog::new(world.clone());
    drop(model);
    differential(&other, &log, &world, &clock, model_run).await;
    let now = world.now().after(Duration::from_secs(3));
    let swept = log.sweep(now).await.expect("sweeps");
    let mut wanted = other.derived();
    let all = wanted.claims.len() as u64;
    wanted.forget_expired(now);
    assert_eq!(swept, all - wanted.claims.len() as u64);
    assert!(swept > 0 && !wanted.claims.is_empty());
    assert_eq!(log.derived().await.expect("tables"), wanted);
    assert_eq!(log.sweep(Time::from_micros(0)).await.expect("sweeps"), 0);
}

#[tokio::test]
async fn a_payload_goes_a_grace_after_its_last_reference() {
    let place = Place::new();
    let (world, clock) = World::manual(7);
    let open = || SqliteLog::open(place.path("log"), Options::new(world.clone())).expect("opens");
    let log = open();
    let mut commit = place.one("a", Expect::New);
    let ids = [b"one", b"two"].map(|bytes| {
        let id = PayloadId::of(b"k", "s", bytes);
        commit.payloads.push(Payload { id, stream: stream("a"), bytes: Some(Bytes::from_static(bytes)) });
        id
    });
    log.commit(commit).await.expect("free");
    let grace = Duration::from_secs(100);
    assert_eq!(log.collect(grace).await.expect("runs"), 0);
    drop(log);
    let conn = rusqlite::Connection::open(place.path("log")).expect("opens");
    conn.execute("DELETE FROM payload_refs WHERE payload = ?1", [&ids[0].0.0]).expect("forgets");
    drop(conn);
    let log = open();
    assert_eq!(log.collect(grace).await.expect("runs"), 0, "its grace starts");
    clock.advance(Duration::from_secs(99));
    assert_eq!(log.collect(grace).await.expect("runs"), 0);
    clock.advance(Duration::from_secs(1));
    assert_eq!(log.collect(grace).await.expect("runs"), 1);
    assert_eq!(log.payload(ids[0]).await, Ok(None));
    assert_eq!(log.payload(ids[1]).await, Ok(Some(Bytes::from_static(b"two"))));
}
