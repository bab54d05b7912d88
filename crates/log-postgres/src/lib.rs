//! The log on PostgreSQL: one database, any number of nodes that write to it.
//!
//! Each node has one task that writes, in groups that are synced together (`writer`); it
//! reads on a few connections, and hears of other nodes' commits on one more (`tail`).

mod config;
mod derived;
mod error;
mod leases;
mod log;
mod read;
mod restored;
mod schema;
mod server;
mod tail;
mod writer;

pub use config::{Options, StoreConfig};
pub use error::StoreError;
pub use log::PostgresLog;
