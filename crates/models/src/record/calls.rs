//! Single calls, as they are remembered.

use std::path::Path;

use rusqlite::params_from_iter;
use serde::{Deserialize, Serialize};
use steadfast_core::Time;

use super::{
    RecordError,
    file::{self, int, uint},
};
use crate::usd::Usd;

/// The most that are read at once.
pub const CALLS_MAX: usize = 1_000;

/// Which calls are asked for: those that fit all that is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The id of the request, which is the support id of its errors.
    pub id: Option<String>,
    /// The run.
    pub run: Option<String>,
    /// The virtual key.
    pub key: Option<String>,
    /// The user.
    pub user: Option<String>,
    /// The tenant.
    pub tenant: Option<String>,
    /// Those before the call of this number.
    pub before: Option<u64>,
    /// So many at most, and no more than [`CALLS_MAX`].
    pub limit: usize,
}

/// One call. What is not known is empty; nothing that was said is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallRecord {
    /// Its number here.
    pub n: u64,
    /// `open`, `done`, or `lost`: the node died before its end was written.
    pub state: String,
    /// When it came in.
    pub begun: Time,
    /// The id of the request.
    pub id: String,
    /// Whose call it was.
    pub tenant: String,
    /// Which user's.
    pub user: String,
    /// Under which virtual key.
    pub key: String,
    /// In which run.
    pub run: String,
    /// The budget that it named.
    pub budget: String,
    /// `name=value`, with commas between.
    pub labels: String,
    /// What was asked.
    pub operation: String,
    /// The answer was a stream.
    pub stream: bool,
    /// The model that was asked for.
    pub asked: String,
    /// The route.
    pub route: String,
    /// Who answered, or was asked last.
    pub provider: String,
    /// The model there.
    pub model: String,
    /// How often a provider was asked.
    pub attempts: u32,
    /// Attempts that failed: `provider:code`, with blanks between.
    pub tried: String,
    /// `hit`, `similar`, `miss` or `bypass`.
    pub cache: String,
    /// `cached`, `template` or `simplified`, where it is a lesser answer.
    pub degraded: String,
    /// The HTTP status of its end.
    pub status: u16,
    /// The code of its failure.
    pub code: String,
    /// Tokens in.
    pub input: u64,
    /// Of these, from a provider's cache.
    pub cached: u64,
    /// Tokens written to a provider's cache.
    pub cache_written: u64,
    /// Tokens out.
    pub output: u64,
    /// What it cost, if all of it has a price.
    pub cost_usd: Option<Usd>,
    /// Some of it was not told by a provider, but counted here.
    pub estimated: bool,
    /// Waiting for a place, in microseconds.
    pub queued_us: u64,
    /// Until the first content, in microseconds, where it was a stream.
    pub first_us: Option<u64>,
    /// Until its end, in microseconds.
    pub total_us: u64,
}

/// The calls of the file at `path` that are wanted, the newest first.
pub fn calls(path: &Path, wanted: &Wanted) -> Result<Vec<CallRecord>, RecordError> {
    let connection = file::read(path)?;
    let texts = [("id", &wanted.id), ("run", &wanted.run), ("key", &wanted.key), ("user", &wanted.user)];
    let texts = texts.into_iter().chain([("tenant", &wanted.tenant)]);
    let mut values = Vec::new();
    let mut sql = String::from("SELECT * FROM calls WHERE n < ?1");
    values.push(rusqlite::types::Value::Integer(wanted.before.map_or(i64::MAX, int)));
    for (column, text) in texts {
        if let Some(text) = text {
            values.push(text.clone().into());
            // The second half is what the index of runs knows.
            sql.extend([format!(" AND {column} = ?{} AND {column} <> ''", values.len())]);
        }
    }
    values.push(rusqlite::types::Value::Integer(int(wanted.limit.min(CALLS_MAX) as u64)));
    sql.extend([format!(" ORDER BY n DESC LIMIT ?{}", values.len())]);
    let sqlite = RecordError::sqlite(path);
    let mut statement = connection.prepare(&sql).map_err(&sqlite)?;
    let rows = statement.query_map(params_from_iter(values), read).map_err(&sqlite)?;
    rows.collect::<rusqlite::Result<_>>().map_err(&sqlite)
}

fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<CallRecord> {
    let number = |name| row.get::<_, i64>(name).map(uint);
    let cost = Usd::from_nanos(number("cost")?);
    Ok(CallRecord {
        n: number("n")?,
        state: row.get("state")?,
        begun: Time::from_micros(row.get("begun")?),
        id: row.get("id")?,
        tenant: row.get("tenant")?,
        user: row.get("user")?,
        key: row.get("key")?,
        run: row.get("run")?,
        budget: row.get("budget")?,
        labels: row.get("labels")?,
        operation: row.get("operation")?,
        stream: row.get("stream")?,
        asked: row.get("asked")?,
        route: row.get("route")?,
        provider: row.get("provider")?,
        model: row.get("model")?,
        attempts: row.get("attempts")?,
        tried: row.get("tried")?,
        cache: row.get("cache")?,
        degraded: row.get("degraded")?,
        status: row.get("status")?,
        code: row.get("code")?,
        input: number("input")?,
        cached: number("cached")?,
        cache_written: number("cache_written")?,
        output: number("output")?,
        cost_usd: row.get::<_, bool>("priced")?.then_some(cost),
        estimated: row.get("estimated")?,
        queued_us: number("queued_us")?,
        first_us: row.get::<_, Option<i64>>("first_us")?.map(uint),
        total_us: number("total_us")?,
    })
}
