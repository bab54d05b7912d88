//! The edge: HTTP under `/api/v1`, conversations under `/ws`, authentication, problem
//! documents and metrics.
//!
//! A request comes in through `listen`, gets its ids, deadline and access line in
//! `front`, its caller in `auth`, and is answered by one file per thing: `runs`,
//! `signals`, `dead_letters`, `events`, `breakers`. Applications are mounted beside them
//! through [`App`]. Every error leaves as a [`Problem`].

mod app;
mod auth;
mod body;
mod breakers;
mod cloud_event;
mod complaint;
mod config;
mod context;
mod cursor;
mod dead_letters;
mod edge;
mod events;
mod front;
mod health;
mod idempotency;
mod key_file;
mod listen;
mod metrics;
mod page;
mod prefer;
mod problem;
mod query;
mod runs;
mod seen;
mod server;
mod signals;
mod token;
mod webhook;
mod write_timeout;
mod ws;

pub use app::App;
pub use auth::{Caller, Operator};
pub use body::{Json, OrDefault, RawJson};
pub use cloud_event::CloudEvent;
pub use config::ServerConfig;
pub use context::RequestContext;
pub use edge::Edge;
pub use idempotency::{Key, OptionalKey, REPLAYED, RequiredKey};
pub use key_file::KeyFileError;
pub use listen::Connections;
pub use metrics::Metrics;
pub use page::{LIMIT_DEFAULT, LIMIT_MAX, Last, Page};
pub use prefer::{Prefer, applied};
pub use problem::Problem;
pub use query::{Place, Query};
pub use runs::{RunRef, StartRequest, answer_start};
pub use server::{Server, ServerParts};
pub use token::{NodeKey, TokenError};
pub use webhook::{Webhook, WebhookConfig, WebhookError};
#[doc(hidden)]
pub use ws::messages as ws_messages;
pub use ws::{
    ClientFrame, Connection, Conversation, Origin, Outbox, Outgoing, ReplyStatus, ServerFrame, WsConfig,
};
