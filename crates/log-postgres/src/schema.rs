//! The tables, and whose they are.

use deadpool_postgres::{ClientWrapper, Transaction};
use steadfast_core::World;
use steadfast_log::{Incarnations, Position};
use tokio_postgres::{IsolationLevel, error::SqlState};
use uuid::Uuid;

use crate::StoreError;

/// Schema n is the first n of these.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/1_log.sql")];

/// The schema that this binary writes.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a handful")]
pub(crate) const CURRENT: i32 = MIGRATIONS.len() as i32;

/// "STFD": whoever migrates holds this advisory lock.
const LOCK: i64 = 0x5354_4644;

/// Names that our tables have in the schema that the address leads to.
const TABLES: [&str; 12] = [
    "shards",
    "incarnations",
    "events",
    "claims",
    "wake_ups",
    "listings",
    "payloads",
    "payload_refs",
    "snapshots",
    "checkpoints",
    "leases",
    "steadfast",
];

/// What a database says about itself.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) log_id: Uuid,
    pub(crate) payload_key: Vec<u8>,
    pub(crate) incarnations: Incarnations,
    pub(crate) standing: Standing,
}

/// Where the log stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) position: Position,
    pub(crate) held: bool,
}

impl About {
    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnations.current()
    }

    /// Refuses to go on in another incarnation than the one that was opened: what is known
    /// of the log no longer holds.
    pub(crate) fn expect(&self, standing: Standing) -> Result<(), StoreError> {
        if standing.position.incarnation == self.incarnation() {
            return Ok(());
        }
        Err(StoreError::Unavailable("the database was restored under a running node: start it again".into()))
    }
}

/// Reads a [`Standing`].
pub(crate) const STANDING: &str = "SELECT n, incarnation, held FROM shards WHERE shard = 0";

pub(crate) fn standing(row: &tokio_postgres::Row) -> Result<Standing, tokio_postgres::Error> {
    Ok(Standing {
        position: Position { incarnation: number(row, 1)?, shard: 0, n: number(row, 0)? },
        held: row.try_get(2)?,
    })
}

/// A whole number, which we never write below zero or beyond its type.
pub(crate) fn number<T: TryFrom<i64> + Default>(
    row: &tokio_postgres::Row,
    column: usize,
) -> Result<T, tokio_postgres::Error> {
    Ok(T::try_from(row.try_get::<_, i64>(column)?).unwrap_or_default())
}

/// Makes the tables of an empty database, or brings those of an older version up: all of
/// it, or nothing. Others who open it at the same time wait.
pub(crate) async fn prepare(client: &mut ClientWrapper, world: &World) -> Result<About, StoreError> {
    // What was made while it waited for the lock must be seen.
    let tx = client.build_transaction().isolation_level(IsolationLevel::ReadCommitted).start().await?;
    tx.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let found = version(&tx).await?;
    if found > CURRENT {
        return Err(StoreError::NewerSchema { found, known: CURRENT });
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(found).unwrap_or(0)) {
        tx.batch_execute(step).await?;
    }
    if found == 0 {
        begin(&tx, world).await?;
    } else if found < CURRENT {
        tx.execute("UPDATE steadfast SET schema = $1", &[&CURRENT]).await?;
    }
    let about = about(&tx).await?;
    tx.commit().await?;
    Ok(about)
}

/// The schema that is there; 0 when there is none.
async fn version(tx: &Transaction<'_>) -> Result<i32, StoreError> {
    let ours: bool = tx.query_one("SELECT to_regclass('steadfast') IS NOT NULL", &[]).await?.try_get(0)?;
    if ours {
        let foreign = || StoreError::Foreign("steadfast".into());
        return match tx.query_opt("SELECT schema, log_id FROM steadfast", &[]).await {
            Ok(row) => Ok(row.ok_or_else(foreign)?.try_get(0).map_err(|_| foreign())?),
            Err(error) if error.code() == Some(&SqlState::UNDEFINED_COLUMN) => Err(foreign()),
            Err(error) => Err(error.into()),
        };
    }
    let sql = "SELECT name FROM unnest($1::text[]) name WHERE to_regclass(name) IS NOT NULL LIMIT 1";
    match tx.query_opt(sql, &[&&TABLES[..]]).await? {
        Some(row) => Err(StoreError::Foreign(row.try_get(0)?)),
        None => Ok(0),
    }
}

async fn begin(tx: &Transaction<'_>, world: &World) -> Result<(), StoreError> {
    let mut key = Vec::with_capacity(32);
    for _ in 0..4 {
        key.extend_from_slice(&world.chance().bits().to_be_bytes());
    }
    tx.execute("INSERT INTO steadfast VALUES ($1, $2, $3)", &[&CURRENT, &world.uuid(), &key]).await?;
    tx.batch_execute("INSERT INTO incarnations VALUES (1, 0); INSERT INTO shards VALUES (0, 0, 1, false)")
        .await?;
    Ok(())
}

async fn about(tx: &Transaction<'_>) -> Result<About, StoreError> {
    let row = tx.query_one("SELECT log_id, payload_key FROM steadfast", &[]).await?;
    let incarnations =
        tx.query("SELECT incarnation, began FROM incarnations ORDER BY incarnation", &[]).await?;
    let incarnations = incarnations.iter().map(|row| Ok::<_, StoreError>((number(row, 0)?, number(row, 1)?)));
    Ok(About {
        log_id: row.try_get(0)?,
        payload_key: row.try_get(1)?,
        incarnations: Incarnations::new(incarnations.collect::<Result<_, _>>()?),
        standing: standing(&tx.query_one(STANDING, &[]).await?)?,
    })
}
