//! The gateway's own file: one row for each call, sums of days, and what accounts have booked.
//!
//! It is SQLite, synced with every commit, and shares no sync with the log. A call's row is
//! written when it ends; one that lasts, or whose intent must be durable, has a row before
//! that, which the last one replaces. Days are summed up in the commit of a call's last row,
//! so they never count a call twice, and are kept when rows are not.

use std::{
    collections::HashMap,
    fs::TryLockError,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Transaction, TransactionBehavior, params};
use steadfast_core::Time;

use super::{
    RecordError,
    row::{Row, Sums, Whose},
};
use crate::{
    budget::{
        ledger::{Booked, Booking},
        rules::{Rule, in_force, sum},
    },
    usd::Usd,
};

/// "SFGW", in the header of the file.
const APPLICATION: i32 = 0x5346_4757;
const SCHEMA: i32 = 1;

const TABLES: &str = "
CREATE TABLE calls (
    n INTEGER PRIMARY KEY, state TEXT NOT NULL, begun INTEGER NOT NULL, id TEXT NOT NULL,
    tenant TEXT NOT NULL, user TEXT NOT NULL, key TEXT NOT NULL, run TEXT NOT NULL,
    budget TEXT NOT NULL, labels TEXT NOT NULL, operation TEXT NOT NULL, stream INTEGER NOT NULL,
    asked TEXT NOT NULL, route TEXT NOT NULL, provider TEXT NOT NULL, model TEXT NOT NULL,
    attempts INTEGER NOT NULL, tried TEXT NOT NULL, cache TEXT NOT NULL, degraded TEXT NOT NULL,
    status INTEGER NOT NULL, code TEXT NOT NULL,
    input INTEGER NOT NULL, cached INTEGER NOT NULL, cache_written INTEGER NOT NULL,
    output INTEGER NOT NULL, cost INTEGER NOT NULL, priced INTEGER NOT NULL, estimated INTEGER NOT NULL,
    queued_us INTEGER NOT NULL, first_us INTEGER, total_us INTEGER NOT NULL
) STRICT;
CREATE INDEX calls_of_runs ON calls (run) WHERE run <> '';
CREATE INDEX calls_open ON calls (n) WHERE state = 'open';
CREATE TABLE days (
    day INTEGER NOT NULL, tenant TEXT NOT NULL, user TEXT NOT NULL, key TEXT NOT NULL,
    budget TEXT NOT NULL, labels TEXT NOT NULL, route TEXT NOT NULL, provider TEXT NOT NULL,
    model TEXT NOT NULL, calls INTEGER NOT NULL, unpriced INTEGER NOT NULL, input INTEGER NOT NULL,
    cached INTEGER NOT NULL, output INTEGER NOT NULL, cost INTEGER NOT NULL,
    PRIMARY KEY (day, tenant, user, key, budget, labels, route, provider, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE accounts (
    rule TEXT NOT NULL, value TEXT NOT NULL, window INTEGER NOT NULL,
    spent INTEGER NOT NULL, booked INTEGER NOT NULL, PRIMARY KEY (rule, value, window)
) STRICT, WITHOUT ROWID;
";

const PUT_CALL: &str = "INSERT OR REPLACE INTO calls VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11,
    ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32)";
const ADD_DAY: &str =
    "INSERT INTO days VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)";

/// What a day has already, and more. A sum that is too great becomes a float, which is no less
/// than the greatest whole number, and only that one can be stored.
fn onto_day() -> String {
    let columns = ["calls", "unpriced", "input", "cached", "output", "cost"];
    let sets = columns.map(|it| format!("{it} = min({}, {it} + excluded.{it})", i64::MAX));
    format!(" ON CONFLICT DO UPDATE SET {}", sets.join(", "))
}

/// Whole numbers as SQLite has them; what does not fit is as much as it can say.
pub(super) fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

pub(super) fn uint(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// The file, open for writing.
pub(super) struct File {
    connection: Connection,
    /// The limits of which it knows that they hold.
    rules: Option<Arc<[Rule]>>,
    /// Held as long as this may write: what is open in the file is ours, or of nobody alive.
    _lock: std::fs::File,
}

pub(super) fn lock(path: &Path) -> Result<std::fs::File, RecordError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let io = |source| RecordError::Io { path: path.to_owned(), source };
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(io)?;
    }
    let file = std::fs::File::create(PathBuf::from(name)).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(RecordError::Locked(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

impl File {
    /// Opens or makes it. Calls that were open when the last process died are closed as lost,
    /// with what was written of them. Returns the greatest number of a call as well.
    pub(super) fn open(path: &Path) -> Result<(Self, u64), RecordError> {
        let lock = lock(path)?;
        let sqlite = RecordError::sqlite(path);
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(&sqlite)?;
        let application: i32 =
            connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(&sqlite)?;
        let empty: bool = connection
            .query_row("SELECT count(*) = 0 FROM sqlite_master", [], |row| row.get(0))
            .map_err(&sqlite)?;
        if application != APPLICATION && !empty {
            return Err(RecordError::Foreign(path.to_owned()));
        }
        let batch = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY;
            PRAGMA cache_size = -1024; PRAGMA busy_timeout = 5000;";
        connection.execute_batch(batch).map_err(&sqlite)?;
        if empty {
            let made = format!(
                "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION};
                 PRAGMA user_version = {SCHEMA}; COMMIT;"
            );
            connection.execute_batch(&made).map_err(&sqlite)?;
        }
        let schema: i32 =
            connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(&sqlite)?;
        if schema != SCHEMA {
            return Err(RecordError::Newer(path.to_owned(), schema));
        }
        connection.set_prepared_statement_cache_capacity(16);
        let mut file = Self { connection, rules: None, _lock: lock };
        file.close_lost().map_err(&sqlite)?;
        let last =
            file.connection.query_row("SELECT max(n) FROM calls", [], |row| row.get::<_, Option<i64>>(0));
        Ok((file, last.map(|n| uint(n.unwrap_or(0))).map_err(&sqlite)?))
    }
    fn close_lost(&mut self) -> rusqlite::Result<()> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let sums = ["1 - priced", "input", "cached", "output", "cost"].map(|it| sum(&format!("({it})")));
        let lost = format!(
            "INSERT INTO days SELECT begun / 86400000000, tenant, user, key, budget, labels, route, provider,
                model, count(*), {} FROM calls WHERE state = 'open' GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9",
            sums.join(", ")
        );
        tx.execute(&(lost + &onto_day()), [])?;
        tx.execute("UPDATE calls SET state = 'lost', code = 'node.died' WHERE state = 'open'", [])?;
        tx.commit()
    }
    /// Writes all of it or nothing; without `keep_rows`, of calls the sums of days alone. Of `rules`, the limits as they came, the last ones hold.
    pub(super) fn write(
        &mut self,
        rows: &[Row],
        keep_rows: bool,
        bookings: &[Booking],
        rules: &[Arc<[Rule]>],
    ) -> rusqlite::Result<Vec<Booked>> {
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut days: HashMap<(i64, &Whose), Sums> = HashMap::new();
        {
            let mut put = tx.prepare_cached(PUT_CALL)?;
            for row in rows {
                if keep_rows {
                    put_call(&mut put, row)?;
                }
                if row.closed {
                    days.entry((row.begun.day(), &row.whose)).or_default().add(row);
                }
            }
            let mut add = tx.prepare_cached(&[ADD_DAY, &onto_day()].concat())?;
            for ((day, of), sums) in days {
                add.execute(params![
                    day,
                    of.tenant.as_str(),
                    &*of.user,
                    &*of.key,
                    &*of.budget,
                    &*of.labels,
                    &*of.route,
                    &*of.provider,
                    &*of.model,
                    int(sums.calls),
                    int(sums.unpriced),
                    int(sums.input),
                    int(sums.cached),
                    int(sums.output),
                    int(sums.cost.nanos()),
                ])?;
            }
        }
        for rules in rules {
            if self.rules.as_ref().is_none_or(|known| !Arc::ptr_eq(known, rules)) {
                lose_count(&tx, rules, self.rules.is_none())?;
            }
        }
        let now = rules.last();
        let mut booked = Vec::with_capacity(bookings.len());
        for booking in bookings {
            booked.push(book(&tx, now.map_or(&[], |rules| &**rules), booking)?);
        }
        tx.commit()?;
        self.rules = now.cloned();
        Ok(booked)
    }
    /// Forgets rows from before `time`, some at once. True if there may be more.
    pub(super) fn forget(&mut self, before: Time) -> rusqlite::Result<bool> {
        const AT_ONCE: usize = 5_000;
        let gone = self.connection.execute(
            "DELETE FROM calls WHERE n IN (SELECT n FROM calls WHERE state <> 'open' ORDER BY n LIMIT ?1)
                AND begun < ?2",
            params![int(AT_ONCE as u64), before.micros()],
        )?;
        Ok(gone == AT_ONCE)
    }
}

fn put_call(put: &mut rusqlite::CachedStatement<'_>, row: &Row) -> rusqlite::Result<()> {
    let (of, usage) = (&row.whose, row.usage);
    put.execute(params![
        int(row.n),
        if row.closed { "done" } else { "open" },
        row.begun.micros(),
        &*row.id,
        of.tenant.as_str(),
        &*of.user,
        &*of.key,
        &*row.run,
        &*of.budget,
        &*of.labels,
        row.operation,
        row.stream,
        &*row.asked,
        &*of.route,
        &*of.provider,
        &*of.model,
        row.attempts,
        row.tried,
        row.cache,
        row.degraded,
        row.status,
        row.code,
        int(usage.input),
        int(usage.cached),
        int(usage.cache_written),
        int(usage.output),
        int(row.cost.nanos()),
        row.priced,
        row.estimated,
        micros(row.queued),
        row.first.map(micros),
        micros(row.total),
    ])?;
    Ok(())
}

fn micros(of: std::time::Duration) -> i64 {
    i64::try_from(of.as_micros()).unwrap_or(i64::MAX)
}

/// What accounts have spent that are not counted: their limit did not hold for a while. It is at
/// least what they have booked.
const UNCOUNTED: i64 = -1;

/// Accounts whose limit does not hold are not counted from now on. What another process had
/// booked may be spent; what this one had is, as far as it was spent, in its records.
fn lose_count(tx: &Transaction<'_>, rules: &[Rule], begins: bool) -> rusqlite::Result<()> {
    let mut all = tx.prepare_cached("SELECT DISTINCT rule FROM accounts WHERE spent >= 0")?;
    let all: Vec<String> = all.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    for rule in all.iter().filter(|rule| !in_force(rules, rule)) {
        tx.prepare_cached(
            "UPDATE accounts SET booked = iif(?3, max(spent, booked), spent), spent = ?2 WHERE rule = ?1 AND spent >= 0",
        )?
        .execute(params![rule, UNCOUNTED, begins])?;
    }
    Ok(())
}

/// Books for one account. What it had booked when a process died counts as spent.
fn book(tx: &Transaction<'_>, rules: &[Rule], booking: &Booking) -> rusqlite::Result<Booked> {
    let id = &booking.id;
    let (spent, booked) = if let Some(spent) = booking.spent {
        (spent, booking.booked)
    } else {
        let mut known = tx.prepare_cached(
            "SELECT max(spent, booked), spent >= 0 FROM accounts WHERE rule = ?1 AND value = ?2 AND window = ?3",
        )?;
        let values = params![&*id.rule, &*id.value, id.window];
        let known = known.query_row(values, |row| Ok((uint(row.get(0)?), row.get(1)?))).optional()?;
        let spent = match known {
            Some((spent, true)) => spent,
            Some((spent, false)) => recount(tx, rules, booking)?.max(spent),
            None => recount(tx, rules, booking)?,
        };
        let spent = Usd::from_nanos(spent);
        (spent, spent.plus(booking.booked).min(booking.limit.max(spent)))
    };
    // A call may still be under way under a limit that does not hold any more.
    let (written, ahead) =
        if in_force(rules, &id.rule) { (int(spent.nanos()), booked) } else { (UNCOUNTED, spent) };
    tx.prepare_cached("INSERT OR REPLACE INTO accounts VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        &*id.rule,
        &*id.value,
        id.window,
        written,
        int(ahead.nanos()),
    ])?;
    Ok(Booked { id: id.clone(), spent, booked })
}

/// What a limit that nobody kept until now has seen, from the sums of days.
fn recount(tx: &Transaction<'_>, rules: &[Rule], booking: &Booking) -> rusqlite::Result<u64> {
    let id = &booking.id;
    let Some(rule) = rules.iter().find(|rule| rule.id == id.rule) else { return Ok(0) };
    let (sql, mut values) = rule.recount(id);
    values.insert(0, id.value.to_string());
    tx.query_row(&sql, rusqlite::params_from_iter(values), |row| row.get::<_, i64>(0)).map(uint)
}

/// The file for reading, also beside a process that writes it.
pub(super) fn read(path: &Path) -> Result<Connection, RecordError> {
    let sqlite = RecordError::sqlite(path);
    if !path.exists() {
        return Err(RecordError::Missing(path.to_owned()));
    }
    let connection =
        Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(&sqlite)?;
    connection.busy_timeout(std::time::Duration::from_secs(5)).map_err(&sqlite)?;
    let application: i32 =
        connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(&sqlite)?;
    if application != APPLICATION {
        return Err(RecordError::Foreign(path.to_owned()));
    }
    Ok(connection)
}
