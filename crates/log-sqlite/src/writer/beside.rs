//! What a commit changes beside its events: folds of the log.

use rusqlite::{OptionalExtension, Result, params};
use steadfast_log::{ClaimChange, Listing, ListingChange, StreamId, WakeUp, WakeUpChange};

use super::{job::Prepared, session::Session};

impl Session<'_> {
    pub(super) fn write_beside(&mut self, prepared: &Prepared) -> Result<()> {
        let commit = &prepared.commit;
        for change in &commit.claims {
            self.change_claim(change)?;
        }
        for change in &commit.wake_ups {
            match change {
                WakeUpChange::Set(wake_up) => self.set_wake_up(wake_up)?,
                WakeUpChange::Clear(stream, name) => self.clear_wake_up(stream, name)?,
            }
        }
        for change in &commit.listings {
            match change {
                ListingChange::Put(listing) => self.put_listing(listing)?,
                ListingChange::Status(stream, status, at) => {
                    let key = self.head(stream)?.key;
                    self.conn
                        .prepare_cached("UPDATE listings SET status = ?2, updated = ?3 WHERE stream = ?1")?
                        .execute(params![key, status, at.micros()])?;
                }
            }
        }
        for (id, bytes) in &prepared.payloads {
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO payloads VALUES (?1, ?2, NULL)")?
                .execute(params![&id.0.0, bytes])?;
        }
        for payload in &commit.payloads {
            let key = self.key(&payload.stream)?;
            self.conn
                .prepare_cached("INSERT OR IGNORE INTO payload_refs VALUES (?1, ?2)")?
                .execute(params![&payload.id.0.0, key])?;
            self.conn
                .prepare_cached("UPDATE payloads SET lost = NULL WHERE id = ?1 AND lost IS NOT NULL")?
                .execute([&payload.id.0.0])?;
        }
        for checkpoint in &commit.checkpoints {
            self.conn
                .prepare_cached("INSERT OR REPLACE INTO checkpoints VALUES (?1, ?2)")?
                .execute(params![checkpoint.subscriber, checkpoint.position.to_string()])?;
        }
        Ok(())
    }

    fn change_claim(&self, change: &ClaimChange) -> Result<()> {
        match change {
            ClaimChange::Take(key, claim) => self
                .conn
                .prepare_cached("INSERT OR REPLACE INTO claims VALUES (?1, ?2, ?3, ?4)")?
                .execute(params![
                    &key.0.0,
                    &claim.request.0,
                    &*claim.answer,
                    claim.expires.map(steadfast_core::Time::micros)
                ])?,
            ClaimChange::Settle(key, expires) => self
                .conn
                .prepare_cached("UPDATE claims SET expires = ?2 WHERE key = ?1")?
                .execute(params![&key.0.0, expires.micros()])?,
        };
        Ok(())
    }

    fn set_wake_up(&mut self, wake_up: &WakeUp) -> Result<()> {
        let key = self.key(&wake_up.stream)?;
        self.conn.prepare_cached("INSERT OR REPLACE INTO wake_ups VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(
            params![
                key,
                &*wake_up.name,
                wake_up.stream.category(),
                wake_up.due.micros(),
                wake_up.owner.as_ref().map(steadfast_core::NodeId::as_bytes)
            ],
        )?;
        Ok(())
    }

    fn clear_wake_up(&mut self, stream: &StreamId, name: &str) -> Result<()> {
        let key = self.head(stream)?.key;
        self.conn
            .prepare_cached("DELETE FROM wake_ups WHERE stream = ?1 AND name = ?2")?
            .execute(params![key, name])?;
        Ok(())
    }

    fn put_listing(&mut self, listing: &Listing) -> Result<()> {
        let key = self.key(&listing.stream)?;
        let list = self.list(&listing.stream)?;
        let had_labels = self
            .conn
            .prepare_cached("SELECT created, labels FROM listings WHERE stream = ?1")?
            .query_row([key], |row| Ok((row.get::<_, i64>(0)?, crate::read::labels(row, 1)?)))
            .optional()?;
        if let Some((created, labels)) = had_labels {
            for (name, value) in labels {
                self.conn
                    .prepare_cached(
                        "DELETE FROM labels WHERE list = ?1 AND name = ?2 AND value = ?3
                         AND created = ?4 AND stream = ?5",
                    )?
                    .execute(params![list, name, value, created, key])?;
            }
        }
        for (name, value) in &listing.labels {
            self.conn.prepare_cached("INSERT INTO labels VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
                list,
                name,
                value,
                listing.created.micros(),
                key
            ])?;
        }
        let labels = serde_json::to_string(&listing.labels)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        self.conn
            .prepare_cached("INSERT OR REPLACE INTO listings VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?
            .execute(params![
                key,
                list,
                listing.kind,
                listing.status,
                listing.principal,
                labels,
                listing.created.micros(),
                listing.updated.micros()
            ])?;
        Ok(())
    }

    /// The short number of the list of a tenant's category.
    fn list(&self, stream: &StreamId) -> Result<i64> {
        let tenant = stream.tenant();
        let parts = (tenant.as_str(), stream.category());
        let known = self
            .conn
            .prepare_cached("SELECT key FROM lists WHERE tenant = ?1 AND category = ?2")?
            .query_row(parts, |row| row.get(0))
            .optional()?;
        match known {
            Some(key) => Ok(key),
            None => self
                .conn
                .prepare_cached("INSERT INTO lists (tenant, category) VALUES (?1, ?2)")?
                .insert(parts),
        }
    }
}
