use rusqlite::{Connection, Row};
use steadfast_core::canonical::Hash;
use steadfast_log::{ClaimKey, Derived, PayloadId, ReadError, StreamId};

use crate::{
    SqliteLog,
    read::{self, unreadable},
};

impl SqliteLog {
    /// Every derived table as it stands, to be held against a fold of the log. All of it
    /// is brought into memory.
    pub async fn derived(&self) -> Result<Derived, ReadError> {
        self.readers.read(|conn| dump(conn).map_err(unreadable)).await
    }
    /// The streams of which a snapshot is kept.
    pub async fn snapshots(&self) -> Result<Vec<StreamId>, ReadError> {
        let list = |conn: &Connection| {
            conn.prepare("SELECT s.id FROM snapshots n JOIN streams s ON s.key = n.stream ORDER BY s.id")?
                .query_map([], |row| read::stream(row, 0))?
                .collect::<rusqlite::Result<Vec<_>>>()
        };
        self.readers.read(move |conn| list(conn).map_err(unreadable)).await
    }
}

fn dump(conn: &Connection) -> rusqlite::Result<Derived> {
    let tx = conn.unchecked_transaction()?;
    Ok(Derived {
        claims: rows(&tx, "SELECT request, answer, expires, key FROM claims", |row| {
            Ok((ClaimKey(Hash(row.get(3)?)), read::claim(row)?))
        })?,
        wake_ups: rows(
            &tx,
            "SELECT s.id, w.name, w.due, w.owner
             FROM wake_ups w JOIN streams s ON s.key = w.stream",
            |row| {
                let wake_up = read::wake_up(row)?;
                Ok(((wake_up.stream.clone(), wake_up.name.clone()), wake_up))
            },
        )?,
        listings: rows(
            &tx,
            "SELECT s.id, r.kind, r.status, r.principal, r.labels, r.created, r.updated
             FROM listings r JOIN streams s ON s.key = r.stream",
            |row| {
                let listing = read::listing(row)?;
                Ok((listing.stream.clone(), listing))
            },
        )?,
        payload_refs: rows(
            &tx,
            "SELECT s.id, r.payload FROM payload_refs r JOIN streams s ON s.key = r.stream",
            |row| Ok((PayloadId(Hash(row.get(1)?)), read::stream(row, 0)?)),
        )?,
        heads: rows(
            &tx,
            "SELECT s.id, max(h.version) FROM (
                 SELECT stream, max(version) AS version FROM events GROUP BY stream
                 UNION ALL SELECT stream, last FROM sealed
             ) h JOIN streams s ON s.key = h.stream GROUP BY h.stream",
            |row| Ok((read::stream(row, 0)?, row.get(1)?)),
        )?,
    })
}

fn rows<T, C: FromIterator<T>>(
    conn: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<C> {
    conn.prepare(sql)?.query_map([], read)?.collect()
}
