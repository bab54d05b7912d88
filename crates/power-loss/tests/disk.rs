//! The shim under a plain SQLite, and under files of the process's own.

#![cfg(target_os = "linux")]

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::Path,
};

use rusqlite::{Connection, ErrorCode};
use steadfast_power_loss::Disk;
use tempfile::TempDir;

fn open(folder: &Path, synchronous: &str) -> Connection {
    let conn = Connection::open(folder.join("db")).expect("opens");
    conn.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = {synchronous};
         CREATE TABLE IF NOT EXISTS t (x)"
    ))
    .expect("a table");
    conn
}

fn insert(conn: &Connection, x: u32) -> rusqlite::Result<usize> {
    conn.execute("INSERT INTO t VALUES (?1)", [x])
}

/// The rows of what was left; none without a table.
fn left(disk: &Disk) -> Vec<u32> {
    let into = TempDir::new().expect("a directory");
    disk.cut(into.path()).expect("written");
    let conn = Connection::open(into.path().join("db")).expect("opens");
    let read = || -> rusqlite::Result<Vec<u32>> {
        conn.prepare("SELECT x FROM t")?.query_map([], |row| row.get(0))?.collect()
    };
    read().unwrap_or_default()
}

fn code<T>(result: rusqlite::Result<T>) -> Option<ErrorCode> {
    result.err()?.sqlite_error_code()
}

#[test]
fn what_was_synced_is_left_and_what_was_not_may_be() {
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        for synchronous in ["FULL", "OFF"] {
            let folder = TempDir::new().expect("a directory");
            let disk = Disk::at(folder.path(), seed).expect("a disk");
            let conn = open(folder.path(), synchronous);
            insert(&conn, 1).expect("room");
            let rows = left(&disk);
            assert!(synchronous == "OFF" || rows == [1], "seed {seed}: {rows:?}");
            seen.insert((synchronous, rows.len()));
            assert_eq!(code(insert(&conn, 2)), Some(ErrorCode::SystemIoFailure), "there is no power");
        }
    }
    assert_eq!(seen, [("FULL", 1), ("OFF", 0), ("OFF", 1)].into());
}

#[test]
fn a_sync_past_sqlite_counts_and_a_name_stays_once_its_folder_is_synced() {
    let synced = |file: bool, dir: bool| {
        let lengths = (0..60).map(|seed| {
            let folder = TempDir::new().expect("a directory");
            let disk = Disk::at(folder.path(), seed).expect("a disk");
            let path = folder.path().join("db");
            let conn = Connection::open(&path).expect("opens");
            conn.execute_batch("PRAGMA synchronous = OFF; CREATE TABLE t (x)").expect("a table");
            if file {
                File::open(&path).and_then(|file| file.sync_all()).expect("synced");
            }
            if dir {
                File::open(folder.path()).and_then(|dir| dir.sync_all()).expect("synced");
            }
            let into = TempDir::new().expect("a directory");
            disk.cut(into.path()).expect("written");
            fs::metadata(into.path().join("db")).map(|db| db.len()).ok()
        });
        lengths.collect::<BTreeSet<_>>()
    };
    assert_eq!(synced(true, true), [Some(8_192)].into());
    assert_eq!(synced(true, false), [None, Some(8_192)].into());
    let unsynced = synced(false, true);
    assert!(!unsynced.contains(&None) && unsynced.contains(&Some(0)) && unsynced.len() > 2);
}

#[test]
fn a_disk_refuses_when_told_to() {
    let folder = TempDir::new().expect("a directory");
    let disk = Disk::at(folder.path(), 1).expect("a disk");
    let conn = open(folder.path(), "FULL");
    disk.room(Some(0));
    assert_eq!(code(insert(&conn, 1)), Some(ErrorCode::DiskFull));
    disk.room(None);
    disk.fail_write(1);
    assert_eq!(code(insert(&conn, 2)), Some(ErrorCode::SystemIoFailure));
    disk.fail_sync(1);
    assert_eq!(code(insert(&conn, 3)), Some(ErrorCode::SystemIoFailure));
    insert(&conn, 4).expect("all is well again");
    let operations = disk.operations();
    disk.cut_at(2);
    assert_eq!(code(insert(&conn, 5)), Some(ErrorCode::SystemIoFailure));
    assert!(disk.is_cut());
    assert_eq!(disk.operations(), operations + 2);
    drop(conn);
    assert_eq!(left(&disk), [4]);
}
