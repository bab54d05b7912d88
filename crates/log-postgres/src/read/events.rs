//! Events, by stream and in the log's order.

use std::borrow::Cow;

use bytes::Bytes;
use deadpool_postgres::ClientWrapper;
use steadfast_core::{CorrelationId, EventId, SessionId, Time};
use steadfast_log::{NewEvent, Page, Position, ReadError, Recorded, StreamId, limits};
use tokio_postgres::{Error, Row};

use super::stream;
use crate::{
    error::Unread,
    schema::{About, STANDING, number, standing},
    server::{row, rows},
};

/// The longest page; a larger `limit` gets this.
const PAGE_MAX: usize = 4_096;
/// Bodies on a page, after which it ends with its commit.
const PAGE_BYTES: usize = 8 * 1024 * 1024;

const COLUMNS: &str = "n, version, id, kind, schema, time, causation, correlation, session, \
     key_id, ends, side, body";

/// Reads [`COLUMNS`].
fn recorded(row: &Row, incarnation: u32, stream: StreamId) -> Result<Recorded, Error> {
    Ok(Recorded {
        position: Position { incarnation, shard: 0, n: number(row, 0)? },
        stream,
        version: number(row, 1)?,
        event: NewEvent {
            id: EventId(row.try_get(2)?),
            kind: Cow::Owned(row.try_get(3)?),
            schema: u16::try_from(row.try_get::<_, i32>(4)?).unwrap_or_default(),
            time: Time::from_micros(row.try_get(5)?),
            causation: row.try_get::<_, Option<_>>(6)?.map(EventId),
            correlation: row.try_get::<_, Option<_>>(7)?.map(CorrelationId),
            session: row.try_get::<_, Option<_>>(8)?.map(SessionId),
            key_id: row.try_get(9)?,
            body: Bytes::from(row.try_get::<_, Vec<u8>>(12)?),
        },
        side: row.try_get::<_, Option<Vec<u8>>>(11)?.map(Bytes::from),
        ends: row.try_get(10)?,
    })
}

/// A number as PostgreSQL holds it: the largest of ours are beyond everything stored.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// The same for a length.
pub(super) fn whole(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// See [`steadfast_log::Log::head`].
pub(crate) async fn head(client: &ClientWrapper, stream: &StreamId) -> Result<u64, Error> {
    let sql = "SELECT coalesce(max(version), 0) FROM events WHERE stream = $1";
    row(client, sql, &[&stream.as_str()]).await?.map_or(Ok(0), |row| number(&row, 0))
}

/// See [`steadfast_log::Log::read_stream`].
pub(crate) async fn read_stream(
    client: &ClientWrapper,
    about: &About,
    id: &StreamId,
    from: u64,
    limit: usize,
) -> Result<Vec<Recorded>, Error> {
    of_stream(client, about, id, "version >= $2 ORDER BY version", from, limit).await
}

/// See [`steadfast_log::Log::read_stream_back`].
pub(crate) async fn read_stream_back(
    client: &ClientWrapper,
    about: &About,
    id: &StreamId,
    before: u64,
    limit: usize,
) -> Result<Vec<Recorded>, Error> {
    of_stream(client, about, id, "version < $2 ORDER BY version DESC", before, limit).await
}

async fn of_stream(
    client: &ClientWrapper,
    about: &About,
    id: &StreamId,
    which: &str,
    version: u64,
    limit: usize,
) -> Result<Vec<Recorded>, Error> {
    let sql = format!("SELECT {COLUMNS} FROM events WHERE stream = $1 AND {which} LIMIT $3");
    let found = rows(client, &sql, &[&id.as_str(), &int(version), &whole(limit)]).await?;
    found.iter().map(|row| recorded(row, about.incarnation(), id.clone())).collect()
}

/// See [`steadfast_log::Log::read_all`].
///
/// The log's end is read first. Places up to it are taken for good and seen by every later
/// statement, so nothing that the second one finds can have a gap before it.
pub(crate) async fn read_all(
    client: &ClientWrapper,
    about: &About,
    after: Position,
    limit: usize,
) -> Result<Page, Unread> {
    let end = row(client, STANDING, &[]).await?;
    let end = end.ok_or_else(|| ReadError::Corrupt("the log's shard is not in the database".into()))?;
    let end = standing(&end)?;
    about.expect(end).map_err(|error| ReadError::Unavailable(error.to_string()))?;
    let end = end.position;
    let after = about.incarnations.place(after, end.n)?;
    let limit = limit.clamp(1, PAGE_MAX);
    // Enough to find the end of the commit that the page would be cut in.
    let found = rows(
        client,
        &format!(
            "SELECT {COLUMNS}, stream FROM (
                 SELECT *, sum(octet_length(body)) OVER (ORDER BY n) - octet_length(body) AS before FROM (
                     SELECT * FROM events WHERE n > $1 AND n <= $2 ORDER BY n LIMIT $3
                 ) wanted
             ) page WHERE before < $4 ORDER BY n"
        ),
        &[
            &int(after),
            &int(end.n),
            &whole(limit + limits::STREAMS_AND_EVENTS),
            &whole(PAGE_BYTES + limits::INLINE_BYTES),
        ],
    )
    .await?;
    let (mut events, mut bytes) = (Vec::new(), 0);
    for row in found {
        let event = recorded(&row, about.incarnation(), stream(&row, 13)?)?;
        bytes += event.event.body.len();
        let ends = event.ends;
        events.push(event);
        if ends && (events.len() >= limit || bytes >= PAGE_BYTES) {
            break;
        }
    }
    Ok(Page { next: events.last().map_or(end, |event| event.position), events })
}
