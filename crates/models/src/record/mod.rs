//! What is remembered of calls: who asked whom for what, how long it took, how it ended, and
//! what it cost. Figures and names, never what was said.

mod backup;
mod bill;
mod calls;
mod costs;
mod file;
mod row;
mod writer;

use std::path::{Path, PathBuf};

use steadfast_core::{Coded, Fault};

pub use backup::{backup, restore, verify};
pub(crate) use bill::{Attempt, Bill, End, Opening};
pub use calls::{CALLS_MAX, CallRecord, Wanted, calls};
pub use costs::{By, Cost, costs};
pub(crate) use writer::Recorder;

/// What the file is called in the data folder.
pub const FILE: &str = "gateway.db";

/// Records that cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// SQLite says no.
    #[error("records in {path}: {source}")]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The folder says no.
    #[error("records in {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Somebody else writes it.
    #[error("{0} is written by another process: stop it first")]
    Locked(PathBuf),
    /// It is a file of something else.
    #[error("{0} holds no records of model calls")]
    Foreign(PathBuf),
    /// It was written by a newer Steadfast.
    #[error("{0} has schema {1}, which this Steadfast does not know: run the newer one")]
    Newer(PathBuf, i32),
    /// A copy would be written over it.
    #[error("{0} exists already: choose another place")]
    Exists(PathBuf),
    /// It knows less than the backup that it would be instead of.
    #[error("{0} is there already and older than the backup's: move it away, and restore again")]
    Older(PathBuf),
    /// There is none.
    #[error("there are no records at {0}: no gateway has run there")]
    Missing(PathBuf),
    /// No thread to write them.
    #[error("the thread that writes records cannot be started: {0}")]
    Thread(std::io::Error),
}

impl Coded for RecordError {
    fn code(&self) -> &'static str {
        match self {
            Self::Sqlite { .. } | Self::Io { .. } => "records.unreadable",
            Self::Locked(_) => "records.in_use",
            Self::Foreign(_) => "records.foreign_file",
            Self::Newer(..) => "records.newer_schema",
            Self::Exists(_) => "records.exists",
            Self::Older(_) => "records.older",
            Self::Missing(_) => "records.missing",
            Self::Thread(_) => "records.no_thread",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Sqlite { .. } | Self::Io { .. } | Self::Thread(_) => Fault::Us,
            _ => Fault::Caller,
        }
    }
}

impl RecordError {
    fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Sqlite { path: path.clone(), source }
    }
}
