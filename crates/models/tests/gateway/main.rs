//! The gateway as its clients meet it: over HTTP, before upstreams that fail as told.
//!
//! Routes here wait a random part of a thousand hours before they ask anybody again, unless a
//! test is about that: so a call has seen no such wait, but for one in thirty thousand.
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
mod thoughts;
mod transcriptions;
mod translated;
mod trial;
