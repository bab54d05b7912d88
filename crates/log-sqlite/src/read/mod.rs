//! Reading: a few threads that may block, and what they read.

mod archive;
mod events;
mod lists;
mod pool;

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use steadfast_core::{Time, canonical::Hash};
use steadfast_log::{Claim, ReadError, Snapshot, StreamId};

pub(crate) use self::{
    archive::Archive,
    events::{Source, head, read_all, read_stream, read_stream_back},
    lists::{count, due, list, listing, wake_up},
    pool::Readers,
};

/// An error of SQLite, for a reader.
pub(crate) fn unreadable(error: rusqlite::Error) -> ReadError {
    use rusqlite::{Error, ErrorCode};
    match &error {
        Error::FromSqlConversionFailure(..)
        | Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..) => ReadError::Corrupt(error.to_string()),
        _ => match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                ReadError::Corrupt(error.to_string())
            }
            _ => ReadError::Unavailable(error.to_string()),
        },
    }
}

fn wrong(
    column: usize,
    kind: Type,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, error.into())
}

/// Request, answer and expiry, as the first three columns.
pub(crate) fn claim(row: &Row<'_>) -> rusqlite::Result<Claim> {
    Ok(Claim {
        request: Hash(row.get(0)?),
        answer: row.get(1)?,
        expires: row.get::<_, Option<i64>>(2)?.map(Time::from_micros),
    })
}

/// The labels of a listing.
pub(crate) fn labels(row: &Row<'_>, column: usize) -> rusqlite::Result<BTreeMap<String, String>> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| wrong(column, Type::Text, error))
}

/// A stream's id.
pub(crate) fn stream(row: &Row<'_>, column: usize) -> rusqlite::Result<StreamId> {
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error: String| wrong(column, Type::Text, error))
}

/// See [`steadfast_log::Log::snapshot`].
pub(crate) fn snapshot(conn: &Connection, stream: &StreamId) -> Result<Option<Snapshot>, ReadError> {
    let read = || {
        conn.prepare_cached(
            "SELECT version, schema, body, hash FROM snapshots
             WHERE stream = (SELECT key FROM streams WHERE id = ?1)",
        )?
        .query_row([stream.as_str()], |row| {
            let snapshot = Snapshot {
                version: row.get(0)?,
                schema: row.get(1)?,
                body: row.get::<_, Vec<u8>>(2)?.into(),
            };
            let hash: Vec<u8> = row.get(3)?;
            // One that is broken is as good as lost: it costs time only.
            Ok((hash == Hash::of_bytes(&snapshot.body).0).then_some(snapshot))
        })
        .optional()
    };
    Ok(read().map_err(unreadable)?.flatten())
}
