//! Wake-ups and listings.

use std::collections::BTreeMap;

use deadpool_postgres::ClientWrapper;
use steadfast_core::{NodeId, Time};
use steadfast_log::{DueQuery, ListQuery, Listing, Listings, WakeUp};
use tokio_postgres::{Error, Row, types::Json};

use super::{events::whole, stream};
use crate::{
    error::Unread,
    schema::number,
    server::{row, rows},
};

/// See [`steadfast_log::Log::due`].
pub(crate) async fn due(client: &ClientWrapper, query: &DueQuery) -> Result<Vec<WakeUp>, Unread> {
    let after = query.after.as_ref();
    let found = rows(
        client,
        "SELECT stream, name, due, owner FROM wake_ups
         WHERE category = $1 AND due <= $2 AND (due, stream, name) > ($3, $4, $5)
         ORDER BY due, stream, name LIMIT $6",
        &[
            &query.category,
            &query.until.micros(),
            &after.map_or(i64::MIN, |after| after.due.micros()),
            &after.map_or("", |after| after.stream.as_str()),
            &after.map_or("", |after| &*after.name),
            &whole(query.limit),
        ],
    )
    .await?;
    found.iter().map(wake_up).collect()
}

/// Stream, name, due time and owner, as the first four columns.
pub(crate) fn wake_up(row: &Row) -> Result<WakeUp, Unread> {
    Ok(WakeUp {
        stream: stream(row, 0)?,
        name: row.try_get::<_, String>(1)?.into(),
        due: Time::from_micros(row.try_get(2)?),
        owner: row.try_get::<_, Option<_>>(3)?.map(NodeId),
    })
}

/// The rows that match `$1` to `$6`.
const MATCHING: &str = "FROM listings
     WHERE tenant = $1 AND category = $2 AND ($3::text IS NULL OR kind = $3)
       AND (cardinality($4::text[]) = 0 OR status = ANY($4))
       AND ($5::text IS NULL OR principal = $5) AND labels @> $6";

/// See [`steadfast_log::Log::list`].
pub(crate) async fn list(client: &ClientWrapper, query: &ListQuery) -> Result<Listings, Unread> {
    let (created, last) = match &query.after {
        Some((created, stream)) => (Some(created.micros()), stream.as_str()),
        None => (None, ""),
    };
    let found = rows(
        client,
        &format!(
            "SELECT stream, kind, status, principal, labels, created, updated {MATCHING}
               AND ($7::bigint IS NULL OR (created, stream) < ($7, $8))
             ORDER BY created DESC, stream DESC LIMIT $9"
        ),
        &[
            &query.tenant.as_str(),
            &query.category,
            &query.kind,
            &query.statuses,
            &query.principal,
            &Json(&query.labels),
            &created,
            &last,
            &whole(query.limit).saturating_add(1),
        ],
    )
    .await?;
    let rows = found.iter().take(query.limit).map(listing).collect::<Result<_, _>>()?;
    Ok(Listings { rows, more: found.len() > query.limit })
}

/// See [`steadfast_log::Log::count`].
pub(crate) async fn count(client: &ClientWrapper, query: &ListQuery) -> Result<u64, Error> {
    let found = row(
        client,
        &format!("SELECT count(*) {MATCHING}"),
        &[
            &query.tenant.as_str(),
            &query.category,
            &query.kind,
            &query.statuses,
            &query.principal,
            &Json(&query.labels),
        ],
    )
    .await?;
    found.map_or(Ok(0), |row| number(&row, 0))
}

/// Stream, kind, status, principal, labels and times, as the first seven columns.
pub(crate) fn listing(row: &Row) -> Result<Listing, Unread> {
    let Json(labels): Json<BTreeMap<String, String>> = row.try_get(4)?;
    Ok(Listing {
        stream: stream(row, 0)?,
        kind: row.try_get(1)?,
        status: row.try_get(2)?,
        principal: row.try_get(3)?,
        labels,
        created: Time::from_micros(row.try_get(5)?),
        updated: Time::from_micros(row.try_get(6)?),
    })
}
