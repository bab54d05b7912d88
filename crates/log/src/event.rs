use std::borrow::Cow;

use bytes::Bytes;
use steadfast_core::{CorrelationId, EventId, SessionId, Time, World};

use crate::{Position, StreamId};

/// A fact about to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Unique for ever; subscribers drop repeats by it.
    pub id: EventId,
    /// What happened: `run.started`, `account.posted`.
    pub kind: Cow<'static, str>,
    /// Version of the body's shape.
    pub schema: u16,
    /// When, by the writer's clock.
    pub time: Time,
    /// The event this one follows from.
    pub causation: Option<EventId>,
    /// The outside request all of it belongs to.
    pub correlation: Option<CorrelationId>,
    /// The conversation it belongs to.
    pub session: Option<SessionId>,
    /// The key that seals personal data in the body, if any.
    pub key_id: Option<String>,
    /// Self-describing: JSON, or CBOR where a type says so.
    pub body: Bytes,
}

impl NewEvent {
    /// An event of now, with nothing around it. `kind` and `schema` come from code.
    pub fn new(world: &World, kind: &'static str, schema: u16, body: impl Into<Bytes>) -> Self {
        Self {
            id: EventId::next(world),
            kind: Cow::Borrowed(kind),
            schema,
            time: world.now(),
            causation: None,
            correlation: None,
            session: None,
            key_id: None,
            body: body.into(),
        }
    }
    /// Belongs to an outside request.
    pub fn correlated(mut self, correlation: Option<CorrelationId>) -> Self {
        self.correlation = correlation;
        self
    }
    /// Follows from another event.
    pub fn caused_by(mut self, causation: Option<EventId>) -> Self {
        self.causation = causation;
        self
    }
}

/// A fact that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Its place in the log.
    pub position: Position,
    /// The thing it is about.
    pub stream: StreamId,
    /// Its place in its stream: 1, 2, …
    pub version: u64,
    /// The fact itself.
    pub event: NewEvent,
    /// What else its commit changed; on the first event of a commit only.
    pub side: Option<Bytes>,
    /// Is it the last event of its commit?
    pub ends: bool,
}
