use std::path::{Path, PathBuf};

use steadfast_core::{Coded, Fault};

/// Why a store file could not be opened or worked on.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process writes to it.
    #[error("{0} is in use by another process: stop it, or send the work to it through its API")]
    Locked(PathBuf),
    /// Written by a newer version of Steadfast.
    #[error(
        "{path} has schema {found}, this binary knows {known} at most: run the newer version, \
         or migrate the file back with it"
    )]
    NewerSchema {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: u32,
        /// What is known here.
        known: u32,
    },
    /// Needs a migration, which reading alone cannot do.
    #[error("{path} has schema {found}, this binary reads {known}: run `steadfast migrate` first")]
    OlderSchema {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: u32,
        /// What is read here.
        known: u32,
    },
    /// Not a store of ours.
    #[error("{0} is not a Steadfast store: give the path of one, or of a file that does not exist")]
    Foreign(PathBuf),
    /// There is no such file.
    #[error("{0} does not exist: check the path, or start a server there first")]
    Missing(PathBuf),
    /// Would overwrite something.
    #[error("{0} exists already: choose another path, or move it away")]
    Exists(PathBuf),
    /// The asked-for migration would lose data.
    #[error("cannot migrate to schema {to}: {reason}")]
    Migration {
        /// Where it should have gone.
        to: u32,
        /// What is in the way.
        reason: String,
    },
    /// What is stored is broken.
    #[error("{0}")]
    Corrupt(String),
    /// A file could not be used.
    #[error("{path}: {source}")]
    Io {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// SQLite could not do it.
    #[error("{path}: {source}")]
    Sqlite {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The store is closed, or was opened for reading alone.
    #[error("the store does not accept writes: {0}")]
    NotWriting(&'static str),
}

impl StoreError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
    pub(crate) fn sqlite(path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |source| match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::NotADatabase) => Self::Foreign(path.to_owned()),
            _ => Self::Sqlite { path: path.to_owned(), source },
        }
    }
}

impl Coded for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Locked(_) => "store.locked",
            Self::NewerSchema { .. } => "store.newer_schema",
            Self::OlderSchema { .. } => "store.older_schema",
            Self::Foreign(_) => "store.foreign_file",
            Self::Missing(_) => "store.missing",
            Self::Exists(_) => "store.exists",
            Self::Migration { .. } => "store.migration_refused",
            Self::Corrupt(_) => "store.corrupt",
            Self::Io { .. } | Self::Sqlite { .. } => "store.unavailable",
            Self::NotWriting(_) => "store.closed",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Corrupt(_) | Self::Io { .. } | Self::Sqlite { .. } => Fault::Us,
            _ => Fault::Caller,
        }
    }
    fn retryable(&self) -> bool {
        matches!(self, Self::Locked(_) | Self::Io { .. } | Self::Sqlite { .. })
    }
}
