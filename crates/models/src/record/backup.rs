//! Copies of the file, files made from them, and whether one holds together.
//!
//! What limits have left stands nowhere else: a node that is restored without it would let
//! everybody spend their limits once more.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rusqlite::Connection;

use super::{RecordError, file};
use crate::budget::rules::sum;

/// Copies the file at `from` to `to`, which must not exist, as it is at one moment, beside a node
/// that writes it or without one. Blocks.
pub fn backup(from: &Path, to: &Path) -> Result<(), RecordError> {
    if to.exists() {
        return Err(RecordError::Exists(to.to_owned()));
    }
    copy(&file::read(from)?, from, to)
}

/// Makes the file at `to` from a backup. Where one is already it stays, and the answer is false: it
/// has gone on since. One that knows less than the backup is refused. Blocks.
pub fn restore(from: &Path, to: &Path) -> Result<bool, RecordError> {
    let source = file::read(from)?;
    if to.exists() {
        let there = file::read(to)?;
        let newest = |connection: &Connection, path| newest(connection).map_err(RecordError::sqlite(path));
        if newest(&there, to)? < newest(&source, from)? {
            return Err(RecordError::Older(to.to_owned()));
        }
        return Ok(false);
    }
    let _lock = file::lock(to)?;
    copy(&source, from, to)?;
    Ok(true)
}

/// The last day and the last call that it knows.
fn newest(connection: &Connection) -> rusqlite::Result<(Option<i64>, Option<i64>)> {
    let sql = "SELECT (SELECT max(day) FROM days), (SELECT max(n) FROM calls)";
    connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

fn copy(source: &Connection, from: &Path, to: &Path) -> Result<(), RecordError> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(".partial");
    let partial = PathBuf::from(partial);
    let failed = |source| RecordError::Io { path: to.to_owned(), source };
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    // One transaction, whatever is written meanwhile.
    let name = partial.to_string_lossy();
    source.execute("VACUUM INTO ?1", [&*name]).map_err(RecordError::sqlite(from))?;
    let synced = || {
        fs::File::open(&partial)?.sync_all()?;
        fs::rename(&partial, to)?;
        let folder = to.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()
    };
    synced().map_err(failed)
}

/// What is wrong with the file: pages that are broken, days that are less than the calls in them.
/// Blocks.
pub fn verify(path: &Path) -> Result<Vec<String>, RecordError> {
    let connection = file::read(path)?;
    let mut problems = Vec::new();
    let look = |problems: &mut Vec<String>| {
        let mut pages = connection.prepare("PRAGMA integrity_check(10)")?;
        let said: Vec<String> = pages.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
        problems.extend(said.into_iter().filter(|it| it != "ok"));
        let less = format!(
            "SELECT count(*) FROM (SELECT begun / 86400000000 AS day, tenant, user, key, budget, labels,
                route, provider, model, count(*) AS calls, {} AS cost FROM calls WHERE state <> 'open'
                GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9) AS of LEFT JOIN days
                USING (day, tenant, user, key, budget, labels, route, provider, model)
             WHERE coalesce(days.calls, 0) < of.calls OR days.cost < of.cost",
            sum("cost")
        );
        let less: u64 = connection.query_row(&less, [], |row| row.get(0))?;
        if less > 0 {
            problems.push(format!("{less} sums of a day are less than the calls that they are of"));
        }
        Ok(())
    };
    look(&mut problems).map_err(RecordError::sqlite(path))?;
    Ok(problems.into_iter().map(|it| format!("{}: {it}", path.display())).collect())
}
