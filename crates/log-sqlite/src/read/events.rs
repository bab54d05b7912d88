//! Events, by stream and in the log's order.

use std::borrow::Cow;

use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use steadfast_core::{CorrelationId, EventId, SessionId, Time};
use steadfast_log::{NewEvent, Page, Position, ReadError, Recorded, StreamId};

use super::{stream, unreadable};
use crate::file::{self, About};

/// The longest page; a larger `limit` gets this.
const PAGE_MAX: usize = 4_096;
/// Bodies on a page, after which it ends with its commit.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

const COLUMNS: &str = "e.n, e.version, e.id, e.kind, e.schema, e.time, e.causation, \
     e.correlation, e.session, e.key_id, e.ends, e.side, e.body";

/// Reads [`COLUMNS`].
fn recorded(row: &Row<'_>, incarnation: u32, stream: StreamId) -> rusqlite::Result<Recorded> {
    let id = |column| row.get::<_, Option<[u8; 16]>>(column);
    Ok(Recorded {
        position: Position {
            incarnation,
            shard: 0,
            n: row.get(0)?,
        },
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
    incarnation: u32,
    id: &StreamId,
    from: u64,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    part(
        conn,
        incarnation,
        id,
        "e.version >= ?2 ORDER BY e.version",
        from,
        limit,
    )
}

/// See [`steadfast_log::Log::read_stream_back`].
pub(crate) fn read_stream_back(
    conn: &Connection,
    incarnation: u32,
    id: &StreamId,
    before: u64,
    limit: usize,
) -> Result<Vec<Recorded>, ReadError> {
    part(
        conn,
        incarnation,
        id,
        "e.version < ?2 ORDER BY e.version DESC",
        before,
        limit,
    )
}

fn part(
    conn: &Connection,
    incarnation: u32,
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
        .query_map((id.as_str(), int(version), whole(limit)), |row| {
            recorded(row, incarnation, id.clone())
        })?
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
    about: &About,
    after: Position,
    limit: usize,
) -> Result<Page, ReadError> {
    let tx = conn.unchecked_transaction().map_err(unreadable)?;
    let last = file::last_n(&tx).map_err(unreadable)?;
    let incarnation = about.incarnation();
    let after = place(about, after, last)?;
    let limit = limit.clamp(1, PAGE_MAX);
    let mut events: Vec<Recorded> = Vec::new();
    let mut bytes = 0;
    let mut statement = tx
        .prepare_cached(&format!(
            "SELECT {COLUMNS}, s.id FROM events e JOIN streams s ON s.key = e.stream
             WHERE e.n > ?1 ORDER BY e.n"
        ))
        .map_err(unreadable)?;
    let rows = statement
        .query_map([after], |row| recorded(row, incarnation, stream(row, 13)?))
        .map_err(unreadable)?;
    for event in rows {
        let event = event.map_err(unreadable)?;
        bytes += event.event.body.len();
        events.push(event);
        let ends = events.last().is_some_and(|last| last.ends);
        if ends && (events.len() >= limit || bytes >= PAGE_BYTES) {
            break;
        }
    }
    let next = events.last().map_or(last, |event| event.position.n);
    Ok(Page {
        events,
        next: Position {
            incarnation,
            shard: 0,
            n: next,
        },
    })
}

/// Where a cursor stands in today's log. One from before a restore may point into a
/// future that was lost: it goes on where the next incarnation began.
fn place(about: &About, after: Position, last: u64) -> Result<u64, ReadError> {
    let bad = |why: &str| {
        Err(ReadError::BadCursor(format!(
            "{after} is not a place in this log: {why}; start anew, or with a cursor that it returned"
        )))
    };
    if after.shard != 0 {
        return bad("there is one shard, 0");
    }
    if after.incarnation > about.incarnation() {
        return bad("it belongs to a later incarnation");
    }
    let next = about
        .incarnations
        .iter()
        .find(|(incarnation, _)| *incarnation > after.incarnation);
    match next {
        Some((_, began)) => Ok(after.n.min(*began)),
        None if after.n > last => bad("it is beyond the last event"),
        None => Ok(after.n),
    }
}
