//! The log on SQLite: one file, one writing process, nothing to install beside it.
//!
//! One thread writes, in groups that are synced together; readers never wait for it.

mod config;
mod error;
mod file;
mod log;
mod migrations;
mod read;
mod writer;

pub use config::StoreConfig;
pub use error::StoreError;
pub use log::{Options, SqliteLog, Stats};
