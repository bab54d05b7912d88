//! The beginning of a transaction that writes: the lock, and what is known under it.

use std::collections::{BTreeSet, HashMap, HashSet};

use deadpool_postgres::ClientWrapper;
use futures::try_join;
use steadfast_log::{Claim, ClaimChange, ClaimKey, PayloadId, StreamId};
use tokio_postgres::Error;

use super::{draft::Known, job::Prepared};
use crate::{
    StoreError, read,
    schema::{self, STANDING, Standing},
    server::{row, rows},
};

/// Begins a transaction and locks the shard: everybody who wrote before is done, and what
/// is read from now on has all of it. That needs READ COMMITTED, where each statement sees
/// what is committed when it begins.
pub(super) async fn lock(client: &ClientWrapper) -> Result<Standing, StoreError> {
    client.batch_execute("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE").await?;
    let found = row(client, &format!("{STANDING} FOR UPDATE"), &[]).await?;
    let found =
        found.ok_or_else(|| StoreError::Unavailable("the log's shard is not in the database".into()))?;
    Ok(schema::standing(&found)?)
}

/// Reads what the commits' checks and changes rest on.
pub(super) async fn known<'a>(
    client: &ClientWrapper,
    standing: Standing,
    commits: &'a [Prepared],
) -> Result<Known<'a>, Error> {
    let commits = || commits.iter().map(|prepared| &prepared.commit);
    let keys = commits().flat_map(|commit| &commit.claims).map(|change| match change {
        ClaimChange::Take(key, _) | ClaimChange::Settle(key, _) => *key,
    });
    let streams = commits().flat_map(|commit| &commit.appends).map(|append| &append.stream);
    let payloads = commits().flat_map(|commit| &commit.payloads).map(|payload| payload.id);
    let (claims, heads, payloads) = try_join!(
        claims(client, keys.collect()),
        heads(client, streams.collect()),
        stored(client, payloads.collect()),
    )?;
    Ok(Known { position: standing.position, claims, heads, payloads })
}

async fn claims(client: &ClientWrapper, keys: BTreeSet<ClaimKey>) -> Result<HashMap<ClaimKey, Claim>, Error> {
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    let keys: Vec<&[u8]> = keys.iter().map(|key| &key.0.0[..]).collect();
    let sql = "SELECT request, answer, expires, key FROM claims WHERE key = ANY($1)";
    let found = rows(client, sql, &[&keys]).await?;
    found.iter().map(|row| Ok((ClaimKey(read::hash(row, 3)?), read::claim(row)?))).collect()
}

async fn heads<'a>(
    client: &ClientWrapper,
    streams: BTreeSet<&'a StreamId>,
) -> Result<HashMap<&'a StreamId, u64>, Error> {
    if streams.is_empty() {
        return Ok(HashMap::new());
    }
    let streams: Vec<&StreamId> = streams.into_iter().collect();
    let texts: Vec<&str> = streams.iter().map(|stream| stream.as_str()).collect();
    let found = rows(
        client,
        "SELECT asked.place - 1, head.version
         FROM unnest($1::text[]) WITH ORDINALITY asked (stream, place), LATERAL (
             SELECT version FROM events WHERE events.stream = asked.stream
             ORDER BY version DESC LIMIT 1) head",
        &[&texts],
    )
    .await?;
    let head = |row: &tokio_postgres::Row| {
        let place: usize = schema::number(row, 0)?;
        Ok((streams[place], schema::number(row, 1)?))
    };
    found.iter().map(head).collect()
}

async fn stored(client: &ClientWrapper, payloads: BTreeSet<PayloadId>) -> Result<HashSet<PayloadId>, Error> {
    if payloads.is_empty() {
        return Ok(HashSet::new());
    }
    let ids: Vec<&[u8]> = payloads.iter().map(|id| &id.0.0[..]).collect();
    let found = rows(client, "SELECT id FROM payloads WHERE id = ANY($1)", &[&ids]).await?;
    found.iter().map(|row| Ok(PayloadId(read::hash(row, 0)?))).collect()
}
