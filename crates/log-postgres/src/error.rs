use std::error::Error as _;

use steadfast_core::{Coded, Fault};
use steadfast_log::ReadError;
use tokio_postgres::error::SqlState;

/// Why a store on PostgreSQL could not be opened or worked on. No text of it holds the
/// password.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The address makes no sense.
    #[error("not an address of a PostgreSQL database: {0}; write postgres://USER:PASSWORD@HOST/DATABASE")]
    Address(String),
    /// The server would lose, or could not hold, what it is given.
    #[error("the PostgreSQL server has {setting} = {found}: {remedy}")]
    Setting {
        /// Its name.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Written by a newer version of Steadfast.
    #[error("the database has schema {found}, this binary knows {known} at most: run the newer version")]
    NewerSchema {
        /// What it has.
        found: i32,
        /// What is known here.
        known: i32,
    },
    /// Tables with our names that are not ours.
    #[error(
        "the database has a table {0} that is not of a Steadfast store: give the address of an empty \
         database, or put options=-c search_path=SCHEMA into the address for a schema of its own"
    )]
    Foreign(String),
    /// The server could not be reached, or could not do it.
    #[error("PostgreSQL: {0}")]
    Unavailable(String),
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Unavailable(told(&error))
    }
}

impl Coded for StoreError {
    fn code(&self) -> &'static str {
        match self {
            Self::Address(_) => "store.bad_address",
            Self::Setting { .. } => "store.unsafe_setting",
            Self::NewerSchema { .. } => "store.newer_schema",
            Self::Foreign(_) => "store.foreign_database",
            Self::Unavailable(_) => "store.unavailable",
        }
    }
    fn fault(&self) -> Fault {
        match self {
            Self::Unavailable(_) => Fault::Us,
            _ => Fault::Caller,
        }
    }
    fn retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// An error with its cause, and without the values that the server adds as details.
pub(crate) fn told(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(server), _) => format!("{} ({})", server.message(), server.code().code()),
        (None, Some(cause)) if !error.to_string().contains(&cause.to_string()) => format!("{error}: {cause}"),
        _ => error.to_string(),
    }
}

/// Why a read came to nothing.
#[derive(Debug)]
pub(crate) enum Unread {
    Server(tokio_postgres::Error),
    Found(ReadError),
}

impl From<tokio_postgres::Error> for Unread {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Server(error)
    }
}

impl From<ReadError> for Unread {
    fn from(error: ReadError) -> Self {
        Self::Found(error)
    }
}

impl Unread {
    /// The server cannot hold a text that was asked for, so there is nothing under it.
    pub(crate) fn cannot_be(&self) -> bool {
        use SqlState as S;
        let Self::Server(error) = self else { return false };
        matches!(error.code(), Some(&S::CHARACTER_NOT_IN_REPERTOIRE | &S::UNTRANSLATABLE_CHARACTER))
    }
}

impl From<Unread> for ReadError {
    fn from(error: Unread) -> Self {
        match error {
            Unread::Found(error) => error,
            Unread::Server(error) => match error.code() {
                Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED) => Self::Corrupt(told(&error)),
                _ => Self::Unavailable(told(&error)),
            },
        }
    }
}
