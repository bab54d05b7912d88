//! The log on SQLite: one file, one writing process, nothing to install beside it.
//!
//! One thread writes, in groups that are synced together while the next one fills; readers wait
//! for nothing but the sync of what they saw.

mod backup;
pub mod bench;
mod config;
mod derived;
mod durable;
mod error;
mod file;
mod log;
mod migrations;
mod options;
mod read;
mod retention;
mod task;
mod writer;

pub use backup::{Progress, SCHEMA, backup, migrate, restore};
pub use config::StoreConfig;
pub use error::StoreError;
#[cfg(feature = "simulation")]
pub use log::Polled;
pub use log::SqliteLog;
pub use options::{Options, Stats};
pub use retention::{SealRule, Sealed};
