//! Reading. Each read is one statement, or rests on what an earlier one saw: what is
//! committed stays.

mod events;
mod lists;

use deadpool_postgres::ClientWrapper;
use steadfast_core::{Time, canonical::Hash};
use steadfast_log::{Claim, ClaimKey, PayloadId, Position, ReadError, Snapshot, StreamId};
use tokio_postgres::{Error, Row};

pub(crate) use self::{
    events::{head, read_all, read_stream, read_stream_back},
    lists::{count, due, list, listing, wake_up},
};
use crate::{
    error::Unread,
    schema::number,
    server::{execute, row},
};

/// Thirty-two bytes.
pub(crate) fn hash(row: &Row, column: usize) -> Result<Hash, Error> {
    let bytes: &[u8] = row.try_get(column)?;
    // Written with this length; anything else is a hash of nothing.
    Ok(Hash(bytes.try_into().unwrap_or_default()))
}

/// A stream's id.
pub(crate) fn stream(row: &Row, column: usize) -> Result<StreamId, Unread> {
    let text: &str = row.try_get(column)?;
    Ok(text.parse().map_err(ReadError::Corrupt)?)
}

/// Request, answer and expiry, as the first three columns.
pub(crate) fn claim(row: &Row) -> Result<Claim, Error> {
    Ok(Claim {
        request: hash(row, 0)?,
        answer: row.try_get::<_, &str>(1)?.into(),
        expires: row.try_get::<_, Option<i64>>(2)?.map(Time::from_micros),
    })
}

/// See [`steadfast_log::Log::claim`].
pub(crate) async fn find_claim(client: &ClientWrapper, key: ClaimKey) -> Result<Option<Claim>, Error> {
    let sql = "SELECT request, answer, expires FROM claims WHERE key = $1";
    row(client, sql, &[&&key.0.0[..]]).await?.map(|row| claim(&row)).transpose()
}

/// The stored form of a payload.
pub(crate) async fn payload(client: &ClientWrapper, id: PayloadId) -> Result<Option<Vec<u8>>, Error> {
    let sql = "SELECT bytes FROM payloads WHERE id = $1";
    row(client, sql, &[&&id.0.0[..]]).await?.map(|row| row.try_get(0)).transpose()
}

/// See [`steadfast_log::Log::snapshot`].
pub(crate) async fn snapshot(client: &ClientWrapper, stream: &StreamId) -> Result<Option<Snapshot>, Error> {
    let sql = "SELECT version, schema, body, hash FROM snapshots WHERE stream = $1";
    let Some(row) = row(client, sql, &[&stream.as_str()]).await? else { return Ok(None) };
    let snapshot = Snapshot {
        version: number(&row, 0)?,
        schema: u16::try_from(row.try_get::<_, i32>(1)?).unwrap_or_default(),
        body: row.try_get::<_, Vec<u8>>(2)?.into(),
    };
    // One that is broken is as good as lost: it costs time only.
    Ok((hash(&row, 3)? == Hash::of_bytes(&snapshot.body)).then_some(snapshot))
}

/// See [`steadfast_log::Log::put_snapshot`].
pub(crate) async fn put_snapshot(
    client: &ClientWrapper,
    stream: &StreamId,
    snapshot: &Snapshot,
) -> Result<(), Error> {
    execute(
        client,
        "INSERT INTO snapshots VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (stream) DO UPDATE SET version = excluded.version, schema = excluded.schema,
             hash = excluded.hash, body = excluded.body",
        &[
            &stream.as_str(),
            &i64::try_from(snapshot.version).unwrap_or(i64::MAX),
            &i32::from(snapshot.schema),
            &&Hash::of_bytes(&snapshot.body).0[..],
            &&snapshot.body[..],
        ],
    )
    .await?;
    Ok(())
}

/// See [`steadfast_log::Log::checkpoint`].
pub(crate) async fn checkpoint(client: &ClientWrapper, subscriber: &str) -> Result<Option<Position>, Unread> {
    let sql = "SELECT position FROM checkpoints WHERE subscriber = $1";
    let Some(row) = row(client, sql, &[&subscriber]).await? else { return Ok(None) };
    let text: &str = row.try_get(0)?;
    Ok(Some(text.parse().map_err(ReadError::Corrupt)?))
}
