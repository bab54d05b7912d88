//! Errors of a disk, for tests.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering::SeqCst};

use rusqlite::{Connection, Error, ffi};

#[derive(Debug, Default)]
pub(crate) struct Faults {
    next_commit: AtomicU8,
    unopenable: AtomicBool,
}

/// What the next COMMIT does.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum NextCommit {
    /// Fails, and nothing is on disk.
    Fails = 1,
    /// Reports a failure, though all is on disk.
    SucceedsAndFails = 2,
    /// Finds the disk full.
    Full = 3,
}

impl Faults {
    pub(crate) fn next_commit(&self, next: NextCommit) {
        self.next_commit.store(next as u8, SeqCst);
    }
    pub(crate) fn unopenable(&self, unopenable: bool) {
        self.unopenable.store(unopenable, SeqCst);
    }
    pub(super) fn commit(&self, conn: &Connection) -> rusqlite::Result<()> {
        let fail = |code| Err(Error::SqliteFailure(ffi::Error::new(code), None));
        match self.next_commit.swap(0, SeqCst) {
            1 => {
                conn.execute_batch("ROLLBACK")?;
                fail(ffi::SQLITE_IOERR_FSYNC)
            }
            2 => {
                conn.execute_batch("COMMIT")?;
                fail(ffi::SQLITE_IOERR_FSYNC)
            }
            3 => fail(ffi::SQLITE_FULL),
            _ => conn.execute_batch("COMMIT"),
        }
    }
    pub(super) fn reopen(&self) -> Result<(), String> {
        if self.unopenable.load(SeqCst) {
            return Err("the disk is gone".into());
        }
        Ok(())
    }
}
