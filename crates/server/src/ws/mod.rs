//! Conversations over WebSocket (RFC 6455), under `/ws`.
//!
//! The handshake is an ordinary request of ours, the frames are tungstenite's, and the
//! socket is kept in our hands: so a refusal is a problem document, the bytes between two
//! messages are bounded, and a close frame is not lost to a reset.

mod close;
mod config;
mod frame;
mod handshake;
mod origin;
mod outbox;
mod places;
mod read;
mod socket;
mod wire;

pub use config::WsConfig;
pub use frame::{ClientFrame, ReplyStatus, ServerFrame};
use futures::future::BoxFuture;
pub(crate) use handshake::routes;
pub use origin::Origin;
pub use outbox::{Outbox, Outgoing};
#[doc(hidden)]
pub use socket::messages;
use steadfast_core::Failure;

use crate::Caller;

/// Who answers on `/ws`: the part of an application that converses.
pub trait Conversation: Send + Sync + 'static {
    /// May this caller converse? The user must exist and be active. A refusal is the answer
    /// to the handshake.
    fn admit<'a>(&'a self, caller: &'a Caller) -> BoxFuture<'a, Result<(), Failure>>;
    /// A connection is open: what it is to be told goes into `outbox`. What is returned is
    /// dropped when the connection has ended and what arrived on it was heard.
    fn connect(&self, caller: Caller, outbox: Outbox) -> Box<dyn Connection>;
}

/// One open connection, as the application sees it.
pub trait Connection: Send {
    /// One frame of the client, already read. Frames of one connection are heard one after
    /// another, and each to its end, even if the client is gone by then: a commit may be
    /// under way. While one is heard a few more wait, then nothing more is read from the
    /// client; so it must not wait for a run to end, nor for ever.
    fn hear(&mut self, frame: ClientFrame) -> BoxFuture<'_, ()>;
}
