//! The model gateway on a node.
//!
//! Clients of models find it under `/v1`, where it keeps to the conventions of their APIs;
//! operators under `/api/v1/models`, like everything else of the node.

mod app;
mod durable;
mod gate;
mod money;
mod operate;
mod responses;

pub use app::{ModelsApp, Reload, register};
