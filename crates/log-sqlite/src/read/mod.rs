//! Reading: a small pool of connections, on threads that may block.

mod archive;
mod events;
mod lists;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, Row, types::Type};
use steadfast_core::{Time, canonical::Hash};
use steadfast_log::{Claim, ReadError, Snapshot, StreamId};
use tokio::sync::Semaphore;

use crate::{StoreError, file};

pub(crate) use self::{
    archive::Archive,
    events::{Source, head, read_all, read_stream, read_stream_back},
    lists::{count, due, list, listing, wake_up},
};

/// Connections that read. Safe to drop half-way: what runs, ends by itself.
#[derive(Debug, Clone)]
pub(crate) struct Readers {
    path: Arc<PathBuf>,
    idle: Arc<Mutex<Vec<Connection>>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    /// Opens the first connection at once, so that what is wrong is known early.
    pub(crate) fn open(path: PathBuf, limit: usize) -> Result<Self, StoreError> {
        let first = file::open_reading(&path)?;
        Ok(Self {
            path: Arc::new(path),
            idle: Arc::new(Mutex::new(vec![first])),
            permits: Arc::new(Semaphore::new(limit)),
        })
    }

    /// Runs `read` with a connection. It sees one state of the store only within a
    /// transaction of its own.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        let permit = self
            .permits
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| ReadError::Unavailable("the store is closed".into()))?;
        let (path, idle) = (self.path.clone(), self.idle.clone());
        let lock = |idle: &Mutex<Vec<Connection>>| idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let run = move || {
            let conn = match lock(&idle) {
                Some(conn) => conn,
                None => {
                    file::open_reading(&path).map_err(|error| ReadError::Unavailable(error.to_string()))?
                }
            };
            let result = read(&conn);
            // One that failed is not trusted with the next read.
            if !matches!(result, Err(ReadError::Unavailable(_))) {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(conn);
            }
            drop(permit);
            result
        };
        tokio::task::spawn_blocking(run).await.map_err(|error| ReadError::Unavailable(error.to_string()))?
    }
}

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
