//! What goes: idempotency records, payloads, and the events of things that ended.

use std::{
    fs::{self, File},
    io::Write,
    path::Path,
    sync::Arc,
    time::Duration,
};

use rusqlite::{Connection, params};
use steadfast_core::Time;
use steadfast_log::{Log, ReadError, Recorded, Segment, SegmentHeader, StreamId};

use crate::{
    SqliteLog, StoreError,
    read::{self, Source},
};

/// Rows that one transaction of the writer takes away.
const SWEEP: usize = 1_000;
/// Listings looked at in one read.
const SCAN: usize = 5_000;
/// Events of one segment: so many leave the store in one transaction.
const SEGMENT_EVENTS: usize = 8_192;
/// Bytes of bodies in one segment.
const SEGMENT_BYTES: usize = 32 * 1024 * 1024;

/// What is to be sealed: things of a category that are over for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRule {
    /// Of every tenant.
    pub category: String,
    /// The statuses that mean it is over.
    pub statuses: Vec<String>,
    /// Those whose status is older than this.
    pub ended_before: Time,
}

/// What was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sealed {
    /// New files.
    pub segments: u64,
    /// Streams that are in them.
    pub streams: u64,
    /// Events that left the store.
    pub events: u64,
}

/// A stream to be sealed.
struct Candidate {
    key: i64,
    stream: StreamId,
}

impl SqliteLog {
    /// Takes away idempotency records that ran out by `now`. Returns how many.
    pub async fn sweep(&self, now: Time) -> Result<u64, StoreError> {
        let mut swept = 0;
        loop {
            let gone = self
                .change(move |tx| {
                    tx.execute(
                        "DELETE FROM claims WHERE key IN
                             (SELECT key FROM claims WHERE expires <= ?1 LIMIT ?2)",
                        params![now.micros(), SWEEP],
                    )
                })
                .await?;
            swept += gone as u64;
            if gone < SWEEP {
                return Ok(swept);
            }
        }
    }

    /// Takes away payloads that nothing has referred to for `grace`, which must be longer
    /// than the longest backup. What is found without a reference starts its grace now.
    /// Returns how many went.
    pub async fn collect(&self, grace: Duration) -> Result<u64, StoreError> {
        let now = self.world.now();
        let before = now.before(grace);
        let gone = self
            .change(move |tx| {
                let alone = "NOT EXISTS (SELECT 1 FROM payload_refs r WHERE r.payload = p.id)";
                tx.execute(
                    &format!("UPDATE payloads AS p SET lost = ?1 WHERE lost IS NULL AND {alone}"),
                    [now.micros()],
                )?;
                tx.execute(
                    &format!("DELETE FROM payloads AS p WHERE lost <= ?1 AND {alone}"),
                    [before.micros()],
                )
            })
            .await?;
        Ok(gone as u64)
    }

    /// Moves the events of streams that are over into segment files beside the store. A
    /// file is durable before its events leave; reading finds them where they are. Safe to
    /// drop half-way and to run again.
    pub async fn seal(&self, rule: SealRule) -> Result<Sealed, StoreError> {
        let rule = Arc::new(rule);
        let (mut sealed, mut from) = (Sealed::default(), 0);
        loop {
            let wanted = rule.clone();
            let (found, scanned) = self
                .readers
                .read(move |conn| candidates(conn, &wanted, from).map_err(read::unreadable))
                .await
                .map_err(broken)?;
            self.seal_all(found, &mut sealed).await?;
            match scanned {
                Some(last) => from = last,
                None => return Ok(sealed),
            }
        }
    }

    async fn seal_all(&self, candidates: Vec<Candidate>, sealed: &mut Sealed) -> Result<(), StoreError> {
        let mut left = candidates.into_iter().peekable();
        while left.peek().is_some() {
            let (mut parts, mut events, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some(candidate) =
                left.next_if(|_| events.len() < SEGMENT_EVENTS && bytes < SEGMENT_BYTES)
            {
                let stored = self.stored(candidate.stream.clone()).await?;
                if let (Some(first), Some(last)) = (stored.first(), stored.last()) {
                    parts.push((candidate.key, first.version, last.version));
                    bytes += stored.iter().map(|event| event.event.body.len()).sum::<usize>();
                    events.extend(stored);
                }
            }
            if events.is_empty() {
                continue;
            }
            sealed.segments += 1;
            sealed.streams += parts.len() as u64;
            sealed.events += events.len() as u64;
            self.seal_one(parts, events).await?;
        }
        Ok(())
    }

    /// The events of a stream that are still in the store itself.
    async fn stored(&self, stream: StreamId) -> Result<Vec<Recorded>, StoreError> {
        let mut events = self.read_stream(&stream, 1, usize::MAX).await.map_err(broken)?;
        let id = stream.clone();
        let archived: u64 = self
            .readers
            .read(move |conn| {
                conn.prepare_cached(
                    "SELECT ifnull(max(last), 0) FROM sealed
                     WHERE stream = (SELECT key FROM streams WHERE id = ?1)",
                )
                .and_then(|mut find| find.query_row([id.as_str()], |row| row.get(0)))
                .map_err(read::unreadable)
            })
            .await
            .map_err(broken)?;
        events.retain(|event| event.version > archived);
        Ok(events)
    }

    async fn seal_one(
        &self,
        parts: Vec<(i64, u64, u64)>,
        mut events: Vec<Recorded>,
    ) -> Result<(), StoreError> {
        events.sort_unstable_by_key(|event| event.position.n);
        let source = self.source.clone();
        let write = move || write_segment(&source, &events);
        let (file, header) = tokio::task::spawn_blocking(write)
            .await
            .map_err(|_| StoreError::NotWriting("the work was given up"))??;
        self.change(move |tx| {
            tx.execute(
                "INSERT INTO segments VALUES (?1, ?2, ?3, ?4, ?5)",
                params![file, header.first, header.last, header.count, &header.hash.0],
            )?;
            let mut gone = 0;
            for (key, first, last) in parts {
                tx.execute("INSERT INTO sealed VALUES (?1, ?2, ?3, ?4)", params![key, first, last, file])?;
                gone += tx.execute(
                    "DELETE FROM events WHERE stream = ?1 AND version BETWEEN ?2 AND ?3",
                    params![key, first, last],
                )?;
                tx.execute("DELETE FROM snapshots WHERE stream = ?1", [key])?;
            }
            if gone as u64 != header.count {
                // Cannot be, since one process writes; nothing may go that is not sealed.
                return Err(rusqlite::Error::StatementChangedRows(gone));
            }
            Ok(())
        })
        .await
    }
}

fn broken(error: ReadError) -> StoreError {
    StoreError::Corrupt(error.to_string())
}

/// The streams among the next listings that the rule fits and that have events in the
/// store, and where to go on, if there are more.
fn candidates(
    conn: &Connection,
    rule: &SealRule,
    from: i64,
) -> rusqlite::Result<(Vec<Candidate>, Option<i64>)> {
    let mut statement = conn.prepare_cached(
        "SELECT r.stream, s.id, l.category, r.status, r.updated,
                EXISTS (SELECT 1 FROM events WHERE stream = r.stream)
         FROM listings r CROSS JOIN lists l ON l.key = r.list
         CROSS JOIN streams s ON s.key = r.stream
         WHERE r.stream > ?1 ORDER BY r.stream LIMIT ?2",
    )?;
    let mut rows = statement.query(params![from, SCAN])?;
    let (mut found, mut scanned, mut last) = (Vec::new(), 0, from);
    while let Some(row) = rows.next()? {
        scanned += 1;
        last = row.get(0)?;
        let status: String = row.get(3)?;
        let fits = row.get::<_, String>(2)? == rule.category
            && rule.statuses.contains(&status)
            && row.get::<_, i64>(4)? < rule.ended_before.micros()
            && row.get(5)?;
        if fits {
            found.push(Candidate { key: last, stream: read::stream(row, 1)? });
        }
    }
    Ok((found, (scanned == SCAN).then_some(last)))
}

/// Writes the file, all of it or nothing, and makes it durable under its name.
fn write_segment(source: &Source, events: &[Recorded]) -> Result<(String, SegmentHeader), StoreError> {
    let dir = source.archive.dir();
    let (header, bytes) = Segment::pack(events).map_err(StoreError::io(dir))?;
    let name = format!("{:016x}-{:016x}.jsonl.zst", header.first, header.last);
    fs::create_dir_all(dir).map_err(StoreError::io(dir))?;
    let (partial, path) = (dir.join(format!("{name}.partial")), dir.join(&name));
    let write = |path: &Path| {
        let mut file = File::create(path)?;
        file.write_all(&bytes)?;
        file.sync_all()
    };
    write(&partial).map_err(StoreError::io(&partial))?;
    fs::rename(&partial, &path).map_err(StoreError::io(&path))?;
    // The names: of the file in its folder, and of the folder.
    for dir in [Some(dir), dir.parent()].into_iter().flatten() {
        crate::file::sync_dir(dir)?;
    }
    Ok((name, header))
}
