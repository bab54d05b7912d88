//! The bank on the in-memory log: rules, promises, contention.

mod bounds;
mod contention;
mod customers;
mod files;
mod holds;
mod keys;
mod ledger;
mod market;
mod purchase;
mod queries;
mod runs;
mod support;
