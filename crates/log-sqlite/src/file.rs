//! The file: its lock, its pragmas, whose it is.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};
use steadfast_core::World;
use steadfast_log::Incarnations;
use uuid::Uuid;

use crate::{
    StoreError,
    migrations::{self, CURRENT},
};

/// "STFD", in the header of every store file.
const APPLICATION: i32 = 0x5354_4644;
const BUSY: Duration = Duration::from_secs(5);

/// `path` with something at its end.
pub(crate) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    // The folder of a bare file name is the one we are in.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(StoreError::io(dir))
}

/// Held as long as this process may write. Beside the file and not on it: closing any
/// handle of a file drops the locks that SQLite holds on it.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(path: &Path) -> Result<Self, StoreError> {
        let lock = beside(path, ".lock");
        let file = File::create(&lock).map_err(StoreError::io(&lock))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked(path.to_owned())),
            Err(TryLockError::Error(error)) => Err(StoreError::io(&lock)(error)),
        }
    }
}

/// A connection that writes. Everything found in the file is durable afterwards, and
/// nothing else can come back: what a dying process left in the write-ahead log, or half
/// in it, is moved into the file or cut off.
pub(crate) fn open_writing(path: &Path) -> Result<Connection, StoreError> {
    write_again(&beside(path, "-wal")).map_err(StoreError::io(path))?;
    let sqlite = StoreError::sqlite(path);
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(&sqlite)?;
    conn.busy_timeout(BUSY).map_err(&sqlite)?;
    check_application(&conn, path)?;
    conn.execute_batch(
        "PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = 0;
         PRAGMA foreign_keys = OFF;
         PRAGMA temp_store = MEMORY;
         PRAGMA cache_size = -16384;",
    )
    .map_err(&sqlite)?;
    settle(&conn, path)?;
    Ok(conn)
}

/// Writes a write-ahead log once more, as it reads, and syncs it. After a sync that failed
/// the kernel takes pages for written that may not be on the disk, and no later sync makes
/// up for it; moved into the file, they would be torn there by a power loss with nothing to
/// restore them from. Whether one failed before the process that left this log ended,
/// nobody knows.
fn write_again(wal: &Path) -> io::Result<()> {
    let mut file = match OpenOptions::new().read(true).write(true).open(wal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let len = file.read(&mut chunk)?;
        if len == 0 {
            return if at == 0 { Ok(()) } else { file.sync_all() };
        }
        file.seek(SeekFrom::Start(at))?;
        file.write_all(&chunk[..len])?;
        at += len as u64;
    }
}

/// A connection that only moves pages from the write-ahead log into the file.
pub(crate) fn open_moving(path: &Path) -> Result<Connection, StoreError> {
    let sqlite = StoreError::sqlite(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(&sqlite)?;
    conn.execute_batch("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;").map_err(sqlite)?;
    Ok(conn)
}

/// See [`open_writing`].
pub(crate) fn settle(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let busy: i64 = conn
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))
        .map_err(StoreError::sqlite(path))?;
    if busy != 0 {
        return Err(StoreError::Sqlite {
            path: path.to_owned(),
            source: rusqlite::Error::SqliteFailure(
                rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                Some(
                    "another process has been reading it for long: wait for its verify or backup to end"
                        .into(),
                ),
            ),
        });
    }
    let wal = beside(path, "-wal");
    match File::open(&wal).and_then(|file| file.sync_all()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StoreError::io(&wal)(error)),
        _ => Ok(()),
    }
}

/// A connection that reads.
pub(crate) fn open_reading(path: &Path) -> Result<Connection, StoreError> {
    let sqlite = StoreError::sqlite(path);
    if !path.exists() {
        return Err(StoreError::Missing(path.to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).map_err(&sqlite)?;
    conn.busy_timeout(BUSY).map_err(&sqlite)?;
    check_application(&conn, path)?;
    conn.execute_batch("PRAGMA temp_store = MEMORY; PRAGMA cache_size = -2048;").map_err(&sqlite)?;
    Ok(conn)
}

/// Ours, or empty.
fn check_application(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let sqlite = StoreError::sqlite(path);
    let application: i32 =
        conn.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(&sqlite)?;
    let tables: i64 =
        conn.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0)).map_err(&sqlite)?;
    if application != APPLICATION && (application != 0 || tables != 0) {
        return Err(StoreError::Foreign(path.to_owned()));
    }
    let found = migrations::version(conn).map_err(&sqlite)?;
    if found > CURRENT {
        return Err(StoreError::NewerSchema { path: path.to_owned(), found, known: CURRENT });
    }
    Ok(())
}

/// Readable as it is: readers do not migrate.
pub(crate) fn check_current(conn: &Connection, path: &Path) -> Result<(), StoreError> {
    let found = migrations::version(conn).map_err(StoreError::sqlite(path))?;
    if found < CURRENT {
        return Err(StoreError::OlderSchema { path: path.to_owned(), found, known: CURRENT });
    }
    Ok(())
}

/// Makes the tables of an empty file, or brings those of an older one up.
pub(crate) fn prepare(conn: &Connection, path: &Path, world: &World) -> Result<(), StoreError> {
    let sqlite = StoreError::sqlite(path);
    conn.pragma_update(None, "application_id", APPLICATION).map_err(&sqlite)?;
    migrations::migrate(conn, path, CURRENT)?;
    let mut key = Vec::with_capacity(32);
    for _ in 0..4 {
        key.extend_from_slice(&world.chance().bits().to_be_bytes());
    }
    let found = conn.query_row("SELECT count(*) FROM incarnations", [], |row| row.get::<_, i64>(0));
    if found.map_err(&sqlite)? > 0 {
        return Ok(());
    }
    let begin = || {
        let tx = conn.unchecked_transaction()?;
        tx.execute(
            "INSERT INTO meta VALUES ('log_id', ?1), ('payload_key', ?2)",
            (world.uuid().as_bytes(), key),
        )?;
        tx.execute("INSERT INTO incarnations VALUES (1, 0)", [])?;
        tx.commit()
    };
    begin().map_err(sqlite)
}

/// What a file says about itself.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) log_id: Uuid,
    pub(crate) payload_key: Vec<u8>,
    pub(crate) held: bool,
    pub(crate) incarnations: Incarnations,
}

impl About {
    pub(crate) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let meta = |name: &str| {
            conn.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get::<_, Vec<u8>>(0))
        };
        let log_id = meta("log_id")?;
        let mut statement =
            conn.prepare("SELECT incarnation, began FROM incarnations ORDER BY incarnation")?;
        let incarnations =
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        Ok(Self {
            log_id: Uuid::from_slice(&log_id).unwrap_or_default(),
            payload_key: meta("payload_key")?,
            held: matches!(meta("held"), Ok(value) if value == [1]),
            incarnations: Incarnations::new(incarnations),
        })
    }

    pub(crate) fn incarnation(&self) -> u32 {
        self.incarnations.current()
    }
}

/// The last n that was ever given, wherever its event is now.
pub(crate) fn last_n(conn: &Connection) -> rusqlite::Result<u64> {
    conn.prepare_cached(
        "SELECT max(
             ifnull((SELECT max(n) FROM events), 0),
             ifnull((SELECT max(last) FROM segments), 0),
             ifnull((SELECT max(began) FROM incarnations), 0))",
    )?
    .query_row([], |row| row.get(0))
}
