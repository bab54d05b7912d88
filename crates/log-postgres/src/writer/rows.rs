//! Writes the rows of a group: one statement for each table, all sent at once.

use deadpool_postgres::ClientWrapper;
use futures::try_join;
use steadfast_log::{Listing, Position};
use tokio_postgres::{Error, types::Json};

use super::draft::{ListingRow, Rows};
use crate::server::execute;

/// As PostgreSQL holds it: what is counted here stays far below.
fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// One column of all rows.
fn column<'r, T, V>(rows: &'r [T], value: impl Fn(&'r T) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

impl Rows<'_> {
    /// Writes everything, moves the log's end to `end`, and has it announced.
    pub(super) async fn write(
        &self,
        client: &ClientWrapper,
        end: Position,
        channel: &str,
    ) -> Result<(), Error> {
        try_join!(
            self.events(client),
            self.claims(client),
            self.wake_ups(client),
            self.cleared(client),
            self.listings(client),
            self.statuses(client),
            self.payloads(client),
            self.payload_refs(client),
            self.checkpoints(client),
            self.end(client, end, channel),
        )?;
        Ok(())
    }

    async fn events(&self, client: &ClientWrapper) -> Result<(), Error> {
        let rows = &self.events;
        if rows.is_empty() {
            return Ok(());
        }
        execute(
            client,
            "INSERT INTO events
             SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::uuid[], $5::text[],
                 $6::integer[], $7::bigint[], $8::uuid[], $9::uuid[], $10::uuid[], $11::text[],
                 $12::boolean[], $13::bytea[], $14::bytea[])",
            &[
                &column(rows, |row| int(row.n)),
                &column(rows, |row| row.stream.as_str()),
                &column(rows, |row| int(row.version)),
                &column(rows, |row| row.event.id.0),
                &column(rows, |row| &*row.event.kind),
                &column(rows, |row| i32::from(row.event.schema)),
                &column(rows, |row| row.event.time.micros()),
                &column(rows, |row| row.event.causation.map(|id| id.0)),
                &column(rows, |row| row.event.correlation.map(|id| id.0)),
                &column(rows, |row| row.event.session.map(|id| id.0)),
                &column(rows, |row| row.event.key_id.as_deref()),
                &column(rows, |row| row.ends),
                &column(rows, |row| row.side),
                &column(rows, |row| &row.event.body[..]),
            ],
        )
        .await?;
        Ok(())
    }

    async fn claims(&self, client: &ClientWrapper) -> Result<(), Error> {
        if self.claims.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.claims.iter().collect();
        execute(
            client,
            "INSERT INTO claims
             SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::bigint[])
             ON CONFLICT (key) DO UPDATE SET request = excluded.request, answer = excluded.answer,
                 expires = excluded.expires",
            &[
                &column(&rows, |(key, _)| &key.0.0[..]),
                &column(&rows, |(_, claim)| &claim.request.0[..]),
                &column(&rows, |(_, claim)| &*claim.answer),
                &column(&rows, |(_, claim)| claim.expires.map(steadfast_core::Time::micros)),
            ],
        )
        .await?;
        Ok(())
    }

    async fn wake_ups(&self, client: &ClientWrapper) -> Result<(), Error> {
        let rows: Vec<_> = self.wake_ups.values().copied().flatten().collect();
        if rows.is_empty() {
            return Ok(());
        }
        execute(
            client,
            "INSERT INTO wake_ups (stream, name, due, owner)
             SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[])
             ON CONFLICT (stream, name) DO UPDATE SET due = excluded.due, owner = excluded.owner",
            &[
                &column(&rows, |row| row.stream.as_str()),
                &column(&rows, |row| &*row.name),
                &column(&rows, |row| row.due.micros()),
                &column(&rows, |row| row.owner.map(|id| id.0)),
            ],
        )
        .await?;
        Ok(())
    }

    async fn cleared(&self, client: &ClientWrapper) -> Result<(), Error> {
        let cleared = self.wake_ups.iter().filter(|(_, wake_up)| wake_up.is_none());
        let rows: Vec<_> = cleared.map(|(key, _)| *key).collect();
        if rows.is_empty() {
            return Ok(());
        }
        execute(
            client,
            "DELETE FROM wake_ups USING unnest($1::text[], $2::text[]) gone (stream, name)
             WHERE wake_ups.stream = gone.stream AND wake_ups.name = gone.name",
            &[&column(&rows, |(stream, _)| stream.as_str()), &column(&rows, |(_, name)| *name)],
        )
        .await?;
        Ok(())
    }

    async fn listings(&self, client: &ClientWrapper) -> Result<(), Error> {
        let rows: Vec<(&Listing, &ListingRow<'_>)> =
            self.listings.values().filter_map(|row| Some((row.put?, row))).collect();
        if rows.is_empty() {
            return Ok(());
        }
        execute(
            client,
            "INSERT INTO listings (stream, kind, status, principal, labels, created, updated)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::jsonb[],
                 $6::bigint[], $7::bigint[])
             ON CONFLICT (stream) DO UPDATE SET kind = excluded.kind, status = excluded.status,
                 principal = excluded.principal, labels = excluded.labels,
                 created = excluded.created, updated = excluded.updated",
            &[
                &column(&rows, |(put, _)| put.stream.as_str()),
                &column(&rows, |(put, _)| &*put.kind),
                &column(&rows, |(_, row)| row.status),
                &column(&rows, |(put, _)| put.principal.as_deref()),
                &column(&rows, |(put, _)| Json(&put.labels)),
                &column(&rows, |(put, _)| put.created.micros()),
                &column(&rows, |(_, row)| row.updated.micros()),
            ],
        )
        .await?;
        Ok(())
    }

    /// Of rows that were there before, if they were.
    async fn statuses(&self, client: &ClientWrapper) -> Result<(), Error> {
        let rows: Vec<_> = self.listings.iter().filter(|(_, row)| row.put.is_none()).collect();
        if rows.is_empty() {
            return Ok(());
        }
        execute(
            client,
            "UPDATE listings SET status = given.status, updated = given.updated
             FROM unnest($1::text[], $2::text[], $3::bigint[]) given (stream, status, updated)
             WHERE listings.stream = given.stream",
            &[
                &column(&rows, |(stream, _)| stream.as_str()),
                &column(&rows, |(_, row)| row.status),
                &column(&rows, |(_, row)| row.updated.micros()),
            ],
        )
        .await?;
        Ok(())
    }

    async fn payloads(&self, client: &ClientWrapper) -> Result<(), Error> {
        let rows = &self.payloads;
        if rows.is_empty() {
            return Ok(());
        }
        execute(
            client,
            "INSERT INTO payloads SELECT * FROM unnest($1::bytea[], $2::bytea[])",
            &[&column(rows, |(id, _)| &id.0.0[..]), &column(rows, |(_, bytes)| *bytes)],
        )
        .await?;
        Ok(())
    }

    async fn payload_refs(&self, client: &ClientWrapper) -> Result<(), Error> {
        if self.payload_refs.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.payload_refs.iter().collect();
        execute(
            client,
            "INSERT INTO payload_refs SELECT * FROM unnest($1::bytea[], $2::text[])
             ON CONFLICT DO NOTHING",
            &[&column(&rows, |(id, _)| &id.0.0[..]), &column(&rows, |(_, stream)| stream.as_str())],
        )
        .await?;
        Ok(())
    }

    async fn checkpoints(&self, client: &ClientWrapper) -> Result<(), Error> {
        if self.checkpoints.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = self.checkpoints.iter().collect();
        execute(
            client,
            "INSERT INTO checkpoints SELECT * FROM unnest($1::text[], $2::text[])
             ON CONFLICT (subscriber) DO UPDATE SET position = excluded.position",
            &[
                &column(&rows, |(subscriber, _)| **subscriber),
                &column(&rows, |(_, position)| position.to_string()),
            ],
        )
        .await?;
        Ok(())
    }

    async fn end(&self, client: &ClientWrapper, end: Position, channel: &str) -> Result<(), Error> {
        if self.events.is_empty() {
            return Ok(());
        }
        execute(
            client,
            "WITH moved AS (UPDATE shards SET n = $1 WHERE shard = 0) SELECT pg_notify($2, $3)",
            &[&int(end.n), &channel, &end.n.to_string()],
        )
        .await?;
        Ok(())
    }
}
