use std::path::Path;

use rusqlite::Connection;

use crate::StoreError;

/// One step of the schema, both ways.
struct Migration {
    up: &'static str,
    down: &'static str,
    /// Selects one number; when it is not 0, going down would lose data.
    kept: &'static str,
    /// What is in the way then.
    reason: &'static str,
}

/// Schema n is the first n of these.
const MIGRATIONS: [Migration; 2] = [
    Migration {
        up: include_str!("migrations/1_log.up.sql"),
        down: include_str!("migrations/1_log.down.sql"),
        kept: "SELECT count(*) FROM (SELECT 1 FROM events LIMIT 1)",
        reason: "the log has events; delete the file instead",
    },
    Migration {
        up: include_str!("migrations/2_segments.up.sql"),
        down: include_str!("migrations/2_segments.down.sql"),
        kept: "SELECT count(*) FROM segments",
        reason: "it has sealed segments, which older versions cannot read",
    },
];

/// The schema that this binary writes.
#[expect(clippy::cast_possible_truncation, reason = "a handful")]
pub(crate) const CURRENT: u32 = MIGRATIONS.len() as u32;

/// The schema of an open file; 0 when it is empty.
pub(crate) fn version(conn: &Connection) -> rusqlite::Result<u32> {
    conn.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Brings the file to schema `to`, one transaction for each step.
pub(crate) fn migrate(conn: &Connection, path: &Path, to: u32) -> Result<(), StoreError> {
    let sqlite = StoreError::sqlite(path);
    let refused = |reason: &str| StoreError::Migration { to, reason: reason.into() };
    if to > CURRENT {
        return Err(refused(&format!("this binary knows schema {CURRENT} at most")));
    }
    loop {
        let at = version(conn).map_err(&sqlite)?;
        let (step, next) = match at.cmp(&to) {
            std::cmp::Ordering::Equal => return Ok(()),
            std::cmp::Ordering::Less => (MIGRATIONS[at as usize].up, at + 1),
            std::cmp::Ordering::Greater => {
                let migration = &MIGRATIONS[at as usize - 1];
                let kept: i64 = conn.query_row(migration.kept, [], |row| row.get(0)).map_err(&sqlite)?;
                if kept > 0 {
                    return Err(refused(migration.reason));
                }
                (migration.down, at - 1)
            }
        };
        conn.execute_batch(&format!("BEGIN IMMEDIATE; {step}; PRAGMA user_version = {next}; COMMIT;"))
            .map_err(|error| {
                // The first error is the one to tell.
                let _ = conn.execute_batch("ROLLBACK");
                sqlite(error)
            })?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(conn: &Connection) -> Vec<String> {
        let mut statement = conn
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type, name")
            .expect("a query");
        let rows = statement.query_map([], |row| row.get(0)).expect("rows");
        rows.collect::<Result<_, _>>().expect("text")
    }

    #[test]
    fn every_migration_goes_up_down_and_up_again_to_the_same_schema() {
        let conn = Connection::open_in_memory().expect("opens");
        let path = Path::new("memory");
        let mut schemas = vec![schema(&conn)];
        for to in 1..=CURRENT {
            migrate(&conn, path, to).expect("up");
            schemas.push(schema(&conn));
            assert_ne!(schemas[to as usize], schemas[to as usize - 1]);
        }
        for to in (0..CURRENT).rev() {
            migrate(&conn, path, to).expect("down");
            assert_eq!(schema(&conn), schemas[to as usize]);
        }
        migrate(&conn, path, CURRENT).expect("up again");
        assert_eq!(schema(&conn), schemas[CURRENT as usize]);
        assert_eq!(version(&conn), Ok(CURRENT));
    }

    #[test]
    fn a_way_down_that_would_lose_data_is_refused() {
        let conn = Connection::open_in_memory().expect("opens");
        let path = Path::new("memory");
        migrate(&conn, path, CURRENT).expect("up");
        conn.execute("INSERT INTO segments VALUES ('a.zst', 1, 2, 2, zeroblob(32))", []).expect("inserts");
        let error = migrate(&conn, path, 1).expect_err("data is in the way");
        assert!(error.to_string().contains("sealed segments"), "{error}");
        assert_eq!(version(&conn), Ok(2));
        let error = migrate(&conn, path, 99).expect_err("unknown");
        assert!(error.to_string().contains("at most"), "{error}");
    }
}
