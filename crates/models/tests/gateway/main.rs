//! The gateway as its clients meet it: over HTTP, before upstreams that fail as told.
//!
//! Routes here wait an hour before they ask anybody again, unless a test is about that: a
//! test that ends has seen no such wait.
#![allow(missing_docs)]

mod accounts;
mod api;
#[cfg(feature = "bedrock")]
mod bedrock;
mod cache;
mod cache_kept;
mod degrade;
mod fallback;
mod harness;
mod keys;
mod limits;
mod money;
mod reload;
mod responses;
mod screened;
mod streams;
mod transcriptions;
mod translated;
