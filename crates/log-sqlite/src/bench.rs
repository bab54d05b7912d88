//! Figures: what the store does, and the floor that SQLite alone sets under it.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::join_all;
use rusqlite::{Connection, params};
use steadfast_core::{EventId, TenantId, World};
use steadfast_log::{Commit, CommitError, Expect, Log, NewEvent, StreamId};

use crate::{StoreConfig, StoreError, file, writer::INSERT_EVENT};

/// Bytes of each body.
pub const BODY: usize = 200;
/// Streams that the rows of the floor go to, in turn.
const STREAMS: u64 = 64;
const KIND: &str = "bench.event";

/// What one round took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Rows or events written.
    pub rows: u64,
    /// From the first to the last.
    pub took: Duration,
    /// Of each transaction or commit.
    pub each: Vec<Duration>,
}

impl Round {
    /// Rows a second.
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    pub fn rate(&self) -> f64 {
        self.rows as f64 / self.took.as_secs_f64().max(f64::EPSILON)
    }
    /// The wait that half of the transactions stayed within.
    pub fn p50(&self) -> Duration {
        let mut each = self.each.clone();
        each.sort_unstable();
        each.get(each.len() / 2).copied().unwrap_or_default()
    }
}

/// SQLite with the store's own table, index and pragmas and a prepared insert, and
/// nothing else. Makes a file at `path`, which must not exist. The write-ahead log is
/// grown to its usual size first: a file that grows makes each sync slower.
pub fn floor(
    path: &Path,
    world: &World,
    transactions: u64,
    rows_per_transaction: u64,
) -> Result<Round, StoreError> {
    if path.exists() {
        return Err(StoreError::Exists(path.to_owned()));
    }
    let conn = file::open_writing(path)?;
    file::prepare(&conn, path, world)?;
    let write = || {
        let pages = StoreConfig::default().checkpoint_pages.get();
        grow_wal(&conn, pages)?;
        conn.pragma_update(None, "wal_autocheckpoint", pages)?;
        let mut insert = conn.prepare(INSERT_EVENT)?;
        let (mut begin, mut commit) = (conn.prepare("BEGIN IMMEDIATE")?, conn.prepare("COMMIT")?);
        let none: Option<&[u8]> = None;
        let body = [b'x'; BODY];
        let clock = world.clock();
        let mut each = Vec::new();
        let began = clock.elapsed();
        for transaction in 0..transactions {
            let start = clock.elapsed();
            begin.execute([])?;
            for row in 0..rows_per_transaction {
                let n = transaction * rows_per_transaction + row;
                let id = EventId::next(world);
                insert.execute(params![
                    n + 1,
                    n % STREAMS + 1,
                    n / STREAMS + 1,
                    id.as_bytes(),
                    KIND,
                    1,
                    world.now().micros(),
                    none,
                    none,
                    none,
                    none,
                    true,
                    none,
                    &body[..]
                ])?;
            }
            commit.execute([])?;
            each.push(clock.elapsed().saturating_sub(start));
        }
        Ok(Round {
            rows: transactions * rows_per_transaction,
            took: clock.elapsed().saturating_sub(began),
            each,
        })
    };
    write().map_err(StoreError::sqlite(path))
}

/// Fills the log with one page over and over, and goes back to its beginning.
fn grow_wal(conn: &Connection, pages: u32) -> rusqlite::Result<()> {
    conn.execute_batch("PRAGMA synchronous = OFF; INSERT INTO meta VALUES ('filler', x'00')")?;
    let mut write = conn.prepare("UPDATE meta SET value = randomblob(8) WHERE name = 'filler'")?;
    for _ in 0..pages {
        write.execute([])?;
    }
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(RESTART)")
}

/// Several committers at once, each with one event a commit, on a stream of its own, and
/// the next one as soon as the last is durable. Needs a runtime of several threads to
/// mean anything.
pub async fn committers(
    log: Arc<dyn Log>,
    world: World,
    committers: u64,
    commits_each: u64,
) -> Result<Round, CommitError> {
    let tasks = (0..committers).map(|_| {
        let (log, world) = (log.clone(), world.clone());
        tokio::spawn(async move {
            let stream = StreamId::new(&TenantId::default(), "bench", world.uuid());
            let body = Bytes::from(vec![b'x'; BODY]);
            let mut each = Vec::new();
            for version in 0..commits_each {
                let event = NewEvent::new(&world, KIND, 1, body.clone());
                let start = world.clock().elapsed();
                let expect = Expect::Exact(version);
                log.commit(Commit::append(stream.clone(), expect, vec![event])).await?;
                each.push(world.clock().elapsed().saturating_sub(start));
            }
            Ok::<_, CommitError>(each)
        })
    });
    let began = world.clock().elapsed();
    let done = join_all(tasks.collect::<Vec<_>>()).await;
    let took = world.clock().elapsed().saturating_sub(began);
    let mut each = Vec::new();
    for task in done {
        each.extend(task.map_err(|error| CommitError::Unknown(error.to_string()))??);
    }
    Ok(Round { rows: committers * commits_each, took, each })
}

#[cfg(test)]
mod tests {
    use steadfast_log::rebuild;

    use super::*;
    use crate::{Options, SqliteLog};

    #[tokio::test]
    async fn both_sides_of_a_round_write_what_they_count() {
        let dir = tempfile::tempdir().expect("a directory");
        let world = World::manual(1).0;
        let path = dir.path().join("floor");
        let round = floor(&path, &world, 3, 64).expect("writes");
        assert_eq!((round.rows, round.each.len()), (192, 3));
        let rows: u64 = rusqlite::Connection::open(&path)
            .and_then(|conn| conn.query_row("SELECT count(*) FROM events", [], |row| row.get(0)))
            .expect("a count");
        assert_eq!(rows, 192);
        let error = floor(&path, &world, 1, 1).expect_err("never over a file");
        assert!(matches!(error, StoreError::Exists(_)));

        let log = SqliteLog::open(dir.path().join("log"), Options::new(world.clone()));
        let log = Arc::new(log.expect("opens"));
        let round = committers(log.clone(), world, 4, 5).await.expect("writes");
        assert_eq!((round.rows, round.each.len()), (20, 20));
        let heads = rebuild(&*log).await.expect("a fold").heads;
        assert_eq!(heads.values().sum::<u64>(), 20);
        let stats = log.stats();
        assert_eq!((stats.commits, stats.events), (20, 20));
        assert!(stats.syncs <= 20);
    }
}
