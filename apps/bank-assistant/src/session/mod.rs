//! A conversation: a stream of what was heard and what was replied. The stream alone says
//! which run listens and which requests still wait, so that of two things that happen at
//! once one comes first.

mod store;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use steadfast_core::{
    CorrelationId, Failure, RequestId, RunId, SessionId, TenantId, Time, World, canonical::Hash,
    secret::Sealed,
};
use steadfast_log::{DecodeError, NewEvent, Recorded, StreamId, Upcasters};

pub(crate) use store::Sessions;

use crate::understand::Language;

/// The category of conversations.
pub const SESSION: &str = "session";
const SCHEMA: u16 = 1;

steadfast_log::event_types! {
    schema SCHEMA;
    /// [`super::Opened`]
    OPENED = "session.opened": Opened;
    /// [`super::Heard`]
    HEARD = "session.heard": Heard;
    /// [`super::Reply`]
    REPLIED = "session.replied": Reply;
    /// [`super::Closed`]
    CLOSED = "session.closed": Closed;
}

/// There is one shape so far: nothing to upcast.
fn decode<T: DeserializeOwned>(recorded: &Recorded) -> Result<T, DecodeError> {
    Upcasters::default().decode(recorded, SCHEMA)
}

/// The code of the refusal to hear more.
pub(crate) const FULL: &str = "session.full";

/// The stream of a conversation.
pub fn stream(tenant: &TenantId, session: SessionId) -> StreamId {
    StreamId::new(tenant, SESSION, session)
}

/// What a session's stream consists of.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// The first event.
    Opened(Opened),
    /// The user said something; it waits for a reply.
    Heard(Heard),
    /// The assistant replied.
    Replied(Reply),
    /// The run that listened does so no more, without a word: nobody waits.
    Closed(Closed),
}

/// See [`Event::Opened`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Opened {
    /// Whose conversation it is.
    pub owner: String,
}

/// Something said, and the run that hears it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// The request, under the client's id.
    pub request: RequestId,
    /// Who works on it.
    pub run: RunId,
    /// What was said.
    pub said: Said,
}

/// Words, or a decision about what was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Words, and the confirmation that was open when they were heard: a "yes" means that
    /// one and no other.
    Words {
        /// Sealed: people write all sorts of things.
        text: Sealed<String>,
        /// What was to be confirmed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<Hash>,
    },
    /// Yes or no to exactly these arguments.
    Decision {
        /// Their hash.
        hash: Hash,
        /// Yes.
        accept: bool,
    },
}

impl Said {
    /// Was it said to this confirmation, while it was open?
    pub(crate) fn is_about(&self, confirmation: Hash) -> bool {
        match self {
            Self::Words { about, .. } => *about == Some(confirmation),
            Self::Decision { hash, .. } => *hash == confirmation,
        }
    }
}

/// How a request stands after a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplyStatus {
    /// Answered, or done.
    Completed,
    /// Not done; the text says why and what to do.
    Failed,
    /// Waits for a yes to exactly what the reply shows.
    NeedsConfirmation,
}

/// What the assistant said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    /// The requests that it answers.
    pub answers: Vec<RequestId>,
    /// Who worked on them.
    pub run: RunId,
    /// How they stand now.
    pub status: ReplyStatus,
    /// In the user's language.
    pub text: String,
    /// The same for programs.
    pub data: Value,
    /// In which language.
    pub language: Language,
    /// The run listens on: what is said next goes to it.
    pub open: bool,
    /// What a yes would mean from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmation: Option<Confirmation>,
}

/// What was shown to the user and waits for a yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Confirmation {
    /// Of the exact arguments, and of the request that they were first shown for.
    pub hash: Hash,
    /// After this it is void.
    pub expires: Time,
    /// The requests that it was shown for.
    pub requests: Vec<RequestId>,
}

/// See [`Event::Closed`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Closed {
    /// Which run.
    pub closed: RunId,
}

impl Event {
    /// Its type on the log.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Opened(_) => kind::OPENED,
            Self::Heard(_) => kind::HEARD,
            Self::Replied(_) => kind::REPLIED,
            Self::Closed(_) => kind::CLOSED,
        }
    }

    pub(crate) fn encode(
        &self,
        world: &World,
        session: SessionId,
        correlation: Option<CorrelationId>,
    ) -> Result<NewEvent, Failure> {
        let body = serde_json::to_vec(self)
            .map_err(|error| Failure::internal("session.unwritable", error.to_string()))?;
        let mut event = NewEvent::new(world, self.kind(), SCHEMA, body).correlated(correlation);
        event.session = Some(session);
        Ok(event)
    }

    /// Reads an event of a session's stream.
    pub fn decode(recorded: &Recorded) -> Result<Self, Failure> {
        let read = match &*recorded.event.kind {
            kind::OPENED => decode(recorded).map(Self::Opened),
            kind::HEARD => decode(recorded).map(Self::Heard),
            kind::REPLIED => decode(recorded).map(Self::Replied),
            kind::CLOSED => decode(recorded).map(Self::Closed),
            kind => {
                let message = format!("this binary does not know {kind}; use a newer one");
                return Err(Failure::internal("session.unknown_event", message));
            }
        };
        read.map_err(|error| Failure::internal("session.unreadable", error.to_string()))
    }
}

/// Where a conversation stands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Session {
    pub(crate) owner: Option<String>,
    /// Its last version; 0 before the first word.
    pub(crate) head: u64,
    pub(crate) language: Option<Language>,
    /// The run that listens.
    pub(crate) run: Option<RunId>,
    pub(crate) confirmation: Option<Open>,
    /// How much that run has heard.
    pub(crate) heard: u32,
    /// Heard by that run and not replied to, in order.
    pub(crate) waiting: Vec<RequestId>,
}

/// A conversation has at most so many events before it must end: reading it anew stays
/// cheap.
const EVENTS_MAX: u64 = 10_000;
/// One run hears at most so much: it is read as a whole whenever something is said to it.
const HEARD_MAX: u32 = 200;

/// A confirmation that was shown.
#[derive(Debug, Clone)]
pub(crate) struct Open {
    pub(crate) shown: Confirmation,
    /// The decision that was heard first.
    pub(crate) decided: Option<bool>,
}

impl Session {
    /// Takes the next event in.
    pub(crate) fn apply(&mut self, event: &Event) {
        self.head += 1;
        match event {
            Event::Opened(opened) => self.owner = Some(opened.owner.clone()),
            Event::Heard(heard) => {
                self.run = Some(heard.run);
                self.heard += 1;
                if !self.waiting.contains(&heard.request) {
                    self.waiting.push(heard.request);
                }
                if let (Said::Decision { accept, .. }, Some(open)) = (&heard.said, &mut self.confirmation) {
                    open.decided.get_or_insert(*accept);
                }
            }
            Event::Replied(reply) => {
                self.language = Some(reply.language);
                self.waiting.retain(|request| !reply.answers.contains(request));
                if self.run == Some(reply.run) {
                    self.show(reply.confirmation.as_ref());
                }
                if !reply.open {
                    self.close(reply.run);
                }
            }
            Event::Closed(closed) => self.close(closed.closed),
        }
    }

    /// The same confirmation again keeps what was decided about it.
    fn show(&mut self, confirmation: Option<&Confirmation>) {
        let earlier = self.confirmation.take();
        self.confirmation = confirmation.map(|shown| Open {
            decided: earlier.filter(|open| open.shown.hash == shown.hash).and_then(|open| open.decided),
            shown: shown.clone(),
        });
    }

    fn close(&mut self, run: RunId) {
        if self.run == Some(run) {
            self.run = None;
            self.confirmation = None;
            self.heard = 0;
        }
    }

    /// Was the open confirmation shown for this request?
    pub(crate) fn shown_to(&self, request: RequestId) -> bool {
        self.confirmation.as_ref().is_some_and(|open| open.shown.requests.contains(&request))
    }

    /// The confirmation that words mean which are heard now.
    pub(crate) fn asks(&self, now: Time) -> Option<Hash> {
        let open = self.confirmation.as_ref().filter(|open| open.decided.is_none());
        open.filter(|open| open.shown.expires > now).map(|open| open.shown.hash)
    }

    /// May more be said?
    pub(crate) fn has_room(&self) -> Result<(), Failure> {
        if self.run.is_none() && self.head >= EVENTS_MAX {
            let message = "this conversation is as long as one can be; leave session_id out to begin another";
            return Err(Failure::refused(FULL, message));
        }
        if self.heard >= HEARD_MAX {
            let message = "so much was said to one request that it must end first; wait for its last reply, or leave session_id out to begin another conversation";
            return Err(Failure::refused(FULL, message).retryable());
        }
        Ok(())
    }

    /// Nobody else's business.
    pub(crate) fn belongs_to(&self, user: &str) -> bool {
        self.owner.as_deref() == Some(user)
    }
}
