//! Copies of a store, and stores made from them.

use std::{
    fs::{self, File},
    path::Path,
};

use rusqlite::{
    Connection, OpenFlags,
    backup::{Backup, StepResult},
};
use steadfast_core::World;

use crate::{
    SqliteLog, StoreError,
    file::{self, About, Lock},
    migrations,
    read::Archive,
};

/// Pages copied between two reports of progress.
const STEP: i32 = 2_048;

/// How far a copy is, in pages of the store file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Copied.
    pub done: u64,
    /// All of them.
    pub total: u64,
}

impl SqliteLog {
    /// Ends the hold that a restore began: timers and steps may run.
    pub async fn resume(&self) -> Result<(), StoreError> {
        self.change(|tx| tx.execute("DELETE FROM meta WHERE name = 'held'", [])).await?;
        self.set_held(false);
        Ok(())
    }
}

/// Copies the store at `from` to `to`, which must not exist, as it is at one moment,
/// beside a running server or without one. Commits go on; the write-ahead log grows until
/// the copy is done. Blocks.
pub fn backup(from: &Path, to: &Path, mut progress: impl FnMut(Progress)) -> Result<(), StoreError> {
    free(to)?;
    let source = file::open_reading(from)?;
    copy(&source, from, to, &mut progress)?;
    publish(to)
}

/// Makes a store at `to`, which must not exist, from a backup. It is another incarnation
/// of the same log and starts held: nothing runs until it is resumed. Blocks.
pub fn restore(
    from: &Path,
    to: &Path,
    world: &World,
    mut progress: impl FnMut(Progress),
) -> Result<(), StoreError> {
    let _lock = Lock::take(to)?;
    free(to)?;
    let source = file::open_reading(from)?;
    copy(&source, from, to, &mut progress)?;
    let partial = file::beside(to, ".partial");
    let sqlite = StoreError::sqlite(&partial);
    let conn = file::open_writing(&partial)?;
    file::prepare(&conn, &partial, world)?;
    let raise = || {
        let about = About::read(&conn)?;
        let began = file::last_n(&conn)?;
        // By the clock, so that two restores of one backup differ: each has a future of
        // its own, and a cursor of one must not be taken for a place in the other.
        let now = u32::try_from(world.now().seconds()).unwrap_or(0);
        let next = now.max(about.incarnation() + 1);
        let tx = conn.unchecked_transaction()?;
        tx.execute("INSERT INTO incarnations VALUES (?1, ?2)", (next, began))?;
        tx.execute("INSERT OR REPLACE INTO meta VALUES ('held', x'01')", [])?;
        tx.commit()
    };
    raise().map_err(&sqlite)?;
    file::settle(&conn, &partial)?;
    conn.close().map_err(|(_, error)| sqlite(error))?;
    publish(to)
}

/// Brings the store at `path` to another schema, up or down. Blocks.
pub fn migrate(path: &Path, to: u32) -> Result<(), StoreError> {
    let _lock = Lock::take(path)?;
    drop(file::open_reading(path)?);
    let conn = file::open_writing(path)?;
    migrations::migrate(&conn, path, to)
}

/// The newest schema that this binary knows.
pub const SCHEMA: u32 = migrations::CURRENT;

fn free(to: &Path) -> Result<(), StoreError> {
    for end in ["", "-wal", ".segments"] {
        let path = file::beside(to, end);
        if path.exists() {
            return Err(StoreError::Exists(path));
        }
    }
    Ok(())
}

/// Copies file and segments; the file gets its name in [`publish`].
fn copy(
    source: &Connection,
    from: &Path,
    to: &Path,
    progress: &mut dyn FnMut(Progress),
) -> Result<(), StoreError> {
    let partial = file::beside(to, ".partial");
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(StoreError::io(&partial)(error));
        }
        _ => {}
    }
    // One transaction for all of it: without, every commit would start the copy anew.
    let tx = source.unchecked_transaction().map_err(StoreError::sqlite(from))?;
    let segments = || {
        tx.prepare("SELECT file FROM segments")?
            .query_map([], |row| row.get(0))?
            .collect::<rusqlite::Result<Vec<String>>>()
    };
    let segments = if migrations::version(&tx).map_err(StoreError::sqlite(from))? >= 2 {
        segments().map_err(StoreError::sqlite(from))?
    } else {
        Vec::new()
    };
    let mut pages = || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut target = Connection::open_with_flags(&partial, flags)?;
        // The whole file is synced once, at the end.
        target.execute_batch("PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF")?;
        let run = Backup::new(&tx, &mut target)?;
        loop {
            let more = run.step(STEP)?;
            let at = run.progress();
            let page = |count: i32| u64::try_from(count).unwrap_or(0);
            progress(Progress { done: page(at.pagecount - at.remaining), total: page(at.pagecount) });
            if more == StepResult::Done {
                return Ok(());
            }
        }
    };
    pages().map_err(StoreError::sqlite(&partial))?;
    sync(&partial)?;
    let (read, write) = (Archive::beside(from), Archive::beside(to));
    if !segments.is_empty() {
        fs::create_dir_all(write.dir()).map_err(StoreError::io(write.dir()))?;
    }
    for name in segments {
        let (from, to) = (read.dir().join(&name), write.dir().join(&name));
        fs::copy(&from, &to).map_err(StoreError::io(&from))?;
        sync(&to)?;
    }
    if write.dir().exists() {
        file::sync_dir(write.dir())?;
    }
    Ok(())
}

fn sync(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|file| file.sync_all()).map_err(StoreError::io(path))
}

/// From here on it is a store.
fn publish(to: &Path) -> Result<(), StoreError> {
    let partial = file::beside(to, ".partial");
    fs::rename(&partial, to).map_err(StoreError::io(to))?;
    to.parent().map_or(Ok(()), file::sync_dir)
}
