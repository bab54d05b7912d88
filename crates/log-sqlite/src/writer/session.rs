//! One connection's worth of writing: checks and inserts.

use rusqlite::{Connection, OptionalExtension, Result, Statement, params};
use steadfast_core::{CorrelationId, EventId, Mutant, SessionId, Time, canonical::Hash, planted};
use steadfast_log::{
    Claim, ClaimChange, ClaimKey, Commit, CommitError, Committed, Expect, NewEvent, Position, Snapshot,
    StreamId,
};

use super::{
    heads::{Head, Heads},
    job::Prepared,
};

/// The statements that every event needs are prepared once and kept at hand; the others
/// live in the connection's cache.
pub(super) struct Session<'c> {
    pub(super) conn: &'c Connection,
    pub(super) heads: Heads,
    /// The last n given, in this transaction or before.
    pub(super) last: u64,
    incarnation: u32,
    insert_event: Statement<'c>,
    find_stream: Statement<'c>,
    insert_stream: Statement<'c>,
    find_claim: Statement<'c>,
}

impl<'c> Session<'c> {
    pub(super) fn new(conn: &'c Connection, heads: Heads, incarnation: u32) -> Result<Self> {
        conn.set_prepared_statement_cache_capacity(64);
        Ok(Self {
            conn,
            heads,
            last: crate::file::last_n(conn)?,
            incarnation,
            insert_event: conn.prepare(INSERT_EVENT)?,
            find_stream: conn.prepare(
                "SELECT key, ifnull(
                     (SELECT max(version) FROM events WHERE stream = key),
                     (SELECT ifnull(max(last), 0) FROM sealed WHERE stream = key))
                 FROM streams WHERE id = ?1",
            )?,
            insert_stream: conn.prepare("INSERT INTO streams (id) VALUES (?1)")?,
            find_claim: conn.prepare("SELECT request, answer, expires FROM claims WHERE key = ?1")?,
        })
    }

    pub(super) fn position(&self) -> Position {
        Position { incarnation: self.incarnation, shard: 0, n: self.last }
    }

    /// Writes one commit into the open transaction. All checks come before the first
    /// insert, so that a refusal has written nothing and no savepoint is needed. An
    /// outer error is SQLite's and spoils the whole transaction.
    pub(super) fn write(
        &mut self,
        prepared: &Prepared,
        now: Time,
    ) -> Result<std::result::Result<Committed, CommitError>> {
        let commit = &prepared.commit;
        if let Some(refusal) = self.check_claims(commit, now)? {
            return Ok(Err(refusal));
        }
        let mut heads = Vec::with_capacity(commit.appends.len());
        for append in &commit.appends {
            let head = self.head(&append.stream)?;
            if !append.expect.fits(head.version) {
                return Ok(Err(CommitError::Conflict {
                    stream: append.stream.clone(),
                    actual: head.version,
                }));
            }
            heads.push(head);
        }
        if let Some(refusal) = self.check_payloads(commit)? {
            return Ok(Err(refusal));
        }
        let versions = self.append(prepared, heads)?;
        self.write_beside(prepared)?;
        Ok(Ok(Committed { position: self.position(), versions }))
    }

    fn check_claims(&mut self, commit: &Commit, now: Time) -> Result<Option<CommitError>> {
        let mut taken: Vec<(&ClaimKey, &Claim)> = Vec::new();
        for change in &commit.claims {
            let ClaimChange::Take(key, claim) = change else {
                continue;
            };
            let held = match taken.iter().rev().find(|(other, _)| *other == key) {
                Some((_, earlier)) => Some((*earlier).clone()),
                None => self.claim(key)?,
            };
            if let Some(held) = held.filter(|held| held.refuses(now)) {
                return Ok(Some(CommitError::Claimed(*key, held)));
            }
            taken.push((key, claim));
        }
        Ok(None)
    }

    fn claim(&mut self, key: &ClaimKey) -> Result<Option<Claim>> {
        self.find_claim.query_row([&key.0.0], crate::read::claim).optional()
    }

    fn check_payloads(&self, commit: &Commit) -> Result<Option<CommitError>> {
        for (i, payload) in commit.payloads.iter().enumerate() {
            let in_commit =
                || commit.payloads[..i].iter().any(|other| other.id == payload.id && other.bytes.is_some());
            if payload.bytes.is_none() && !in_commit() {
                let stored = self
                    .conn
                    .prepare_cached("SELECT 1 FROM payloads WHERE id = ?1")?
                    .exists([&payload.id.0.0])?;
                if !stored {
                    return Ok(Some(CommitError::NoPayload(payload.id)));
                }
            }
        }
        Ok(None)
    }

    fn append(&mut self, prepared: &Prepared, heads: Vec<Head>) -> Result<Vec<u64>> {
        let commit = &prepared.commit;
        let mut left: usize = commit.appends.iter().map(|a| a.events.len()).sum();
        let mut side = prepared.side.as_deref();
        let mut versions = Vec::with_capacity(heads.len());
        for (append, mut head) in commit.appends.iter().zip(heads) {
            if planted(Mutant::HalfCommitWritten) && append.expect == Expect::Any {
                continue;
            }
            if head.key == 0 {
                head.key = self.insert_stream.insert([append.stream.as_str()])?;
            }
            for event in &append.events {
                left -= 1;
                self.last += 1;
                head.version += 1;
                let ends = left == 0;
                insert_event(&mut self.insert_event, self.last, head, event, ends, side.take())?;
            }
            self.heads.put(&append.stream, head);
            versions.push(head.version);
        }
        Ok(versions)
    }

    pub(super) fn head(&mut self, stream: &StreamId) -> Result<Head> {
        if let Some(head) = self.heads.get(stream) {
            return Ok(head);
        }
        let found = self
            .find_stream
            .query_row([stream.as_str()], |row| Ok(Head { key: row.get(0)?, version: row.get(1)? }))
            .optional()?
            .unwrap_or_default();
        self.heads.put(stream, found);
        Ok(found)
    }

    /// The short number of a stream, which gets one if it has none.
    pub(super) fn key(&mut self, stream: &StreamId) -> Result<i64> {
        let mut head = self.head(stream)?;
        if head.key == 0 {
            head.key = self.insert_stream.insert([stream.as_str()])?;
            self.heads.put(stream, head);
        }
        Ok(head.key)
    }

    pub(super) fn put_snapshot(&mut self, stream: &StreamId, snapshot: &Snapshot) -> Result<()> {
        let key = self.key(stream)?;
        let hash = Hash::of_bytes(&snapshot.body);
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO snapshots VALUES (?1, ?2, ?3, ?4, ?5)")?
            .execute(params![key, snapshot.version, snapshot.schema, &hash.0, &snapshot.body[..]])?;
        Ok(())
    }
}

/// Shared with the floor of the benchmark, so that both write the same rows.
pub(crate) const INSERT_EVENT: &str = "INSERT INTO events
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";

fn insert_event(
    statement: &mut Statement<'_>,
    n: u64,
    head: Head,
    event: &NewEvent,
    ends: bool,
    side: Option<&[u8]>,
) -> Result<()> {
    statement.execute(params![
        n,
        head.key,
        head.version,
        event.id.as_bytes(),
        &*event.kind,
        event.schema,
        event.time.micros(),
        event.causation.as_ref().map(EventId::as_bytes),
        event.correlation.as_ref().map(CorrelationId::as_bytes),
        event.session.as_ref().map(SessionId::as_bytes),
        event.key_id,
        ends,
        side,
        &event.body[..],
    ])?;
    Ok(())
}
