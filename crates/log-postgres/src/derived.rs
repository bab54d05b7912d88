use deadpool_postgres::ClientWrapper;
use futures::FutureExt;
use steadfast_log::{ClaimKey, Derived, PayloadId, ReadError};
use tokio_postgres::Row;

use crate::{
    PostgresLog,
    error::Unread,
    read::{self, hash, stream},
    schema::number,
    server::rows,
};

impl PostgresLog {
    /// Every derived table as it stands, to be held against a fold of the log while nobody
    /// writes. All of it is brought into memory.
    pub async fn derived(&self) -> Result<Derived, ReadError> {
        self.read(|_, client| dump(client).boxed()).await
    }
}

async fn dump(client: &ClientWrapper) -> Result<Derived, Unread> {
    Ok(Derived {
        claims: all(client, "SELECT request, answer, expires, key FROM claims", |row| {
            Ok((ClaimKey(hash(row, 3)?), read::claim(row)?))
        })
        .await?,
        wake_ups: all(client, "SELECT stream, name, due, owner FROM wake_ups", |row| {
            let wake_up = read::wake_up(row)?;
            Ok(((wake_up.stream.clone(), wake_up.name.clone()), wake_up))
        })
        .await?,
        listings: all(
            client,
            "SELECT stream, kind, status, principal, labels, created, updated FROM listings",
            |row| {
                let listing = read::listing(row)?;
                Ok((listing.stream.clone(), listing))
            },
        )
        .await?,
        payload_refs: all(client, "SELECT stream, payload FROM payload_refs", |row| {
            Ok((PayloadId(hash(row, 1)?), stream(row, 0)?))
        })
        .await?,
        heads: all(client, "SELECT stream, max(version) FROM events GROUP BY stream", |row| {
            Ok((stream(row, 0)?, number(row, 1)?))
        })
        .await?,
    })
}

async fn all<T, C: FromIterator<T>>(
    client: &ClientWrapper,
    sql: &str,
    read: impl Fn(&Row) -> Result<T, Unread>,
) -> Result<C, Unread> {
    rows(client, sql, &[]).await?.iter().map(read).collect()
}
