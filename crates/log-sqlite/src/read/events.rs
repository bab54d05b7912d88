//! Events, by stream and in the log's order.

use std::borrow::Cow;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use steadfast_core::{CorrelationId, EventId, Mutant, SessionId, Time, planted};
use steadfast_log::{NewEvent, Page, Position, ReadError, Recorded, StreamId};

use super::{
    archive::{self, Archive, Walk},
    stream, unreadable,
};
use crate::file::{self, About};

/// The longest page; a larger `limit` gets this.
const PAGE_MAX: usize = 4_096;
/// Bodies on a page, after which it ends with its commit.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

const COLUMNS: &str = "e.n, e.version, e.id, e.kind, e.schema, e.time, e.causation, \
     e.correlation, e.session, e.key_id, e.ends, e.side, e.body";

/// Reads [`COLUMNS`].
fn recorded(row: &Row<'_>, source: &Source, stream: StreamId) -> rusqlite::Result<Recorded> {
    let id = |column| row.get::<_, Option<[u8; 16]>>(column);
    Ok(Recorded {
        position: source.at(row.get(0)?),
        stream,
        version: row.get(1)?,
        event: NewEvent {
            id: EventId::from_bytes(row.get(2)?),
            kind: Cow::Owned(row.get(3)?),
            schema: row.get(4)?,
            time: Time::from_micros(row.get(5)?),
            causation: id(6)?.map(EventId::from_bytes),
            correlation: id(7)?.map(CorrelationId::from_bytes),
            session: id(8)?.map(SessionId::from_bytes),
            key_id: row.get(9)?,
            body: Bytes::from(row.get::<_, Vec<u8>>(12)?),
        },
        side: row.get::<_, Option<Vec<u8>>>(11)?.map(Bytes::from),
        ends: row.get(10)?,
    })
}

/// See [`steadfast_log::Log::head`].
pub(crate) fn head(conn: &Connection, stream: &StreamId) -> Result<u64, ReadError> {
    let read = || {
        conn.prepare_cached(
            "SELECT ifnull(
                 (SELECT max(version) FROM events WHERE stream = key),
                 (SELECT ifnull(max(last), 0) FROM sealed WHERE stream = key))
             FROM streams WHERE id = ?1",
        )?
        .query_row([stream.as_str()], |row| row.get(0))
        .optional()
    };
    Ok(read().map_err(unreadable)?.unwrap_or(0))
}

/// See [`steadfast_log::Log::read_stream`].
pub(crate) fn read_stream(
    conn: &Connection,
    source: &Source,
    id: &StreamId,
    from: u64,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    let tx = conn.unchecked_transaction().map_err(unreadable)?;
    let mut events = source.archived(&tx, id, |version| version >= from)?;
    events.truncate(limit);
    let left = limit - events.len();
    let sql = "e.version >= ?2 ORDER BY e.version";
    events.extend(stored(&tx, source, id, sql, from, left)?);
    Ok(events)
}

/// See [`steadfast_log::Log::read_stream_back`].
pub(crate) fn read_stream_back(
    conn: &Connection,
    source: &Source,
    id: &StreamId,
    before: u64,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    let tx = conn.unchecked_transaction().map_err(unreadable)?;
    let sql = "e.version < ?2 ORDER BY e.version DESC";
    let mut events = stored(&tx, source, id, sql, before, limit)?;
    if events.len() < limit {
        let archived = source.archived(&tx, id, |version| version < before)?;
        let left = limit - events.len();
        events.extend(archived.into_iter().rev().take(left));
    }
    Ok(events)
}

/// What reading needs beside a connection.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) about: About,
    pub(crate) archive: Archive,
}

impl Source {
    fn at(&self, n: u64) -> Position {
        Position { incarnation: self.about.incarnation(), shard: 0, n }
    }

    /// The events of a stream that are in segments, oldest first.
    fn archived(
        &self,
        conn: &Connection,
        id: &StreamId,
        wanted: impl Fn(u64) -> bool,
    ) -> Result<Vec<Recorded>, ReadError> {
        let key: Option<u64> = conn
            .prepare_cached("SELECT key FROM streams WHERE id = ?1")
            .and_then(|mut find| find.query_row([id.as_str()], |row| row.get(0)).optional())
            .map_err(unreadable)?;
        let mut events = Vec::new();
        let Some(key) = key else { return Ok(events) };
        for known in archive::of_stream(conn, key)? {
            let segment = self.archive.load(&known)?;
            let found = segment.events.iter().filter(|event| event.stream == *id && wanted(event.version));
            events
                .extend(found.map(|event| Recorded { position: self.at(event.position.n), ..event.clone() }));
        }
        Ok(events)
    }
}

/// The events of a stream that are in the store's own table.
fn stored(
    conn: &Connection,
    source: &Source,
    id: &StreamId,
    which: &str,
    version: u64,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    let read = || {
        conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM events e
             WHERE e.stream = (SELECT key FROM streams WHERE id = ?1) AND {which} LIMIT ?3"
        ))?
        .query_map((id.as_str(), int(version), whole(limit)), |row| recorded(row, source, id.clone()))?
        .collect::<rusqlite::Result<Vec<_>>>()
    };
    read().map_err(unreadable)
}

/// A number as SQLite holds it: the largest of ours are beyond everything stored.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The same for a length.
pub(super) fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// See [`steadfast_log::Log::read_all`].
pub(crate) fn read_all(
    conn: &Connection,
    source: &Source,
    after: Position,
    limit: usize,
) -> Result<Page, ReadError> {
    let tx = conn.unchecked_transaction().map_err(unreadable)?;
    let last = file::last_n(&tx).map_err(unreadable)?;
    let after = source.about.incarnations.place(after, last)?;
    let limit = limit.clamp(1, PAGE_MAX);
    let mut archived = Walk::new(&tx, &source.archive, after)?;
    let mut statement = tx
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, s.id FROM events e JOIN streams s ON s.key = e.stream
             WHERE e.n > ?1 ORDER BY e.n"
        ))
        .map_err(unreadable)?;
    let mut stored =
        statement.query_map([after], |row| recorded(row, source, stream(row, 13)?)).map_err(unreadable)?;
    let mut waiting = None;
    let mut events: Vec<Recorded> = Vec::new();
    let mut bytes = 0;
    loop {
        if waiting.is_none() {
            waiting = stored.next().transpose().map_err(unreadable)?;
        }
        let before = waiting.as_ref().map_or(u64::MAX, |event: &Recorded| event.position.n);
        let event = match archived.next_before(before)? {
            Some(event) => Recorded { position: source.at(event.position.n), ..event },
            None => match waiting.take() {
                Some(event) => event,
                None => break,
            },
        };
        bytes += event.event.body.len();
        let ends = event.ends || planted(Mutant::HalfCommitRead);
        events.push(event);
        if ends && (events.len() >= limit || bytes >= PAGE_BYTES) {
            break;
        }
    }
    let next = events.last().map_or(last, |event| event.position.n);
    Ok(Page { events, next: source.at(next) })
}
