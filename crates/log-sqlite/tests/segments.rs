//! Events that were sealed are read as if they had never left.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use steadfast_core::{Time, World};
use steadfast_log::{
    Commit, Expect, Log, MemoryLog, NewEvent, Position, ReadError, Recorded, StreamId,
    conformance::{Differential, differential},
    rebuild,
};
use steadfast_log_sqlite::{Options, SealRule, SqliteLog, backup};
use tempfile::TempDir;

fn rule() -> SealRule {
    SealRule {
        category: "run".into(),
        statuses: vec!["failed".into(), "waiting".into()],
        ended_before: Time::NEVER,
    }
}

async fn whole(log: &dyn Log, limit: usize) -> Vec<Recorded> {
    let (mut events, mut at) = (Vec::new(), Position::START);
    loop {
        let page = log.read_all(at, limit).await.expect("a page");
        if page.events.is_empty() {
            return events;
        }
        assert!(page.events.last().is_some_and(|last| last.ends));
        events.extend(page.events);
        at = page.next;
    }
}

fn files(store: &Path) -> Vec<PathBuf> {
    let dir = format!("{}.segments", store.display());
    let entries = std::fs::read_dir(dir).expect("a folder");
    entries.map(|entry| entry.expect("a file").path()).collect()
}

struct Story {
    dir: TempDir,
    path: PathBuf,
    world: World,
    model: MemoryLog,
    log: SqliteLog,
}

/// A store and a model with the same random past.
async fn story() -> Story {
    let dir = TempDir::new().expect("a directory");
    let path = dir.path().join("log");
    let (world, clock) = World::manual(11);
    let model = MemoryLog::new(world.clone());
    let log = SqliteLog::open(&path, Options::new(world.clone())).expect("opens");
    let run = Differential { seed: 11, sequences: 30, length: 30 };
    differential(&model, &log, &world, &clock, run).await;
    Story { dir, path, world, model, log }
}

#[tokio::test]
async fn g6_sealing_changes_nothing_that_can_be_read() {
    let Story { dir, path, world, model, log } = story().await;
    let before = whole(&log, 4_096).await;
    let sealed = log.seal(rule()).await.expect("seals");
    assert!(sealed.streams > 10 && sealed.events > 20, "{sealed:?}");
    assert_eq!(files(&path).len() as u64, sealed.segments);
    let again = log.seal(rule()).await.expect("seals");
    assert_eq!(again.events, 0, "what is sealed is sealed once");

    // Ended things may wake up again, and a second segment holds what came after.
    let streams: BTreeSet<StreamId> = before.iter().map(|event| event.stream.clone()).collect();
    for round in 0..2 {
        for stream in &streams {
            let head = model.head(stream).await.expect("a head");
            let event = NewEvent::new(&world, "run.turned", 1, round.to_string());
            let commit = Commit::append(stream.clone(), Expect::Exact(head), vec![event]);
            let wanted = model.commit(commit.clone()).await;
            assert_eq!(log.commit(commit).await, wanted);
        }
        log.seal(rule()).await.expect("seals");
    }
    drop(log);
    let log = SqliteLog::open(&path, Options::new(world.clone())).expect("opens");
    let wanted = whole(&model, 4_096).await;
    for limit in [1, 7, 4_096] {
        assert_eq!(whole(&log, limit).await, wanted, "pages of {limit}");
    }
    for stream in &streams {
        assert_eq!(log.head(stream).await, model.head(stream).await);
        for from in 0..6 {
            for limit in [0, 1, 3, usize::MAX] {
                assert_eq!(
                    log.read_stream(stream, from, limit).await,
                    model.read_stream(stream, from, limit).await,
                );
                assert_eq!(
                    log.read_stream_back(stream, from, limit).await,
                    model.read_stream_back(stream, from, limit).await,
                );
            }
        }
    }
    assert_eq!(log.derived().await.expect("tables"), model.derived());
    assert_eq!(rebuild(&log).await.expect("a fold"), model.derived());

    let copy = dir.path().join("copy");
    backup(&path, &copy, |_| {}).expect("copies");
    let copy = SqliteLog::open_read_only(copy, Options::new(world)).expect("opens");
    assert_eq!(whole(&copy, 100).await, wanted);
}

#[tokio::test]
async fn an_end_of_the_log_that_was_sealed_is_not_given_out_again() {
    let Story { dir: _dir, path, world, log, .. } = story().await;
    let end = *log.tail().borrow();
    let mut all = rule();
    all.statuses.push("running".into());
    for category in ["run", "account"] {
        all.category = category.into();
        log.seal(all.clone()).await.expect("seals");
    }
    drop(log);
    let log = SqliteLog::open(&path, Options::new(world.clone())).expect("opens");
    assert_eq!(*log.tail().borrow(), end);
    let stream = "default/run/later".parse().expect("a stream");
    let event = NewEvent::new(&world, "run.turned", 1, "{}");
    let committed = log.commit(Commit::append(stream, Expect::New, vec![event])).await.expect("free");
    assert_eq!(committed.position.n, end.n + 1);
}

#[tokio::test]
async fn a_damaged_segment_is_reported_by_name() {
    for damage in [
        |path: &Path| std::fs::remove_file(path).expect("gone"),
        |path: &Path| {
            let mut bytes = std::fs::read(path).expect("bytes");
            let at = bytes.len() / 2;
            bytes[at] ^= 0xFF;
            std::fs::write(path, bytes).expect("changed");
        },
    ] {
        let Story { dir: _dir, path, log, .. } = story().await;
        log.seal(rule()).await.expect("seals");
        let file = files(&path).remove(0);
        damage(&file);
        let name = file.file_name().expect("a name").to_string_lossy();
        match log.read_all(Position::START, 10).await {
            Err(ReadError::Corrupt(what)) => assert!(what.contains(&*name), "{what}"),
            other => panic!("{other:?}"),
        }
    }
}
