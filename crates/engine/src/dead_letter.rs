use serde::{Deserialize, Serialize};
use steadfast_core::{EventId, Failure, RunId, TenantId, Time, id_type};
use steadfast_log::{
    Append, Commit, Expect, Listing, ListingChange, NewEvent, StreamId, WakeUp, WakeUpChange,
};

use crate::{
    Data, EffectKey, StepId,
    action::body,
    engine::Inner,
    record::{LetterClosed, SCHEMA, kind},
    store::Visit,
};

id_type!(
    /// One dead letter.
    DeadLetterId
);

/// The category of dead letters' streams.
pub const DEAD_LETTER: &str = "dead_letter";

/// What gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LetterKind {
    /// A run.
    Run,
    /// The compensation of a step.
    Undo,
    /// An event that a trigger or a sink could not handle.
    Message,
}

impl LetterKind {
    /// As in lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Undo => "undo",
            Self::Message => "message",
        }
    }
}

/// A run or message that gave up, with all that is needed to replay it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// What gave up.
    pub kind: LetterKind,
    /// The run, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Its generation.
    #[serde(default)]
    pub generation: u32,
    /// The step whose compensation gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepId>,
    /// The workflow of the run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub workflow: String,
    /// The trigger or sink.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriber: Option<String>,
    /// The event it could not handle: stream and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<(StreamId, u64)>,
    /// The compensation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Why.
    pub cause: Failure,
    /// With what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<Data>,
    /// The key of the effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<EffectKey>,
}

/// A dead letter as listed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetterView {
    /// Its id.
    pub id: DeadLetterId,
    /// `open`, `replayed` or `expired`.
    pub status: String,
    /// When it was written.
    pub created: Time,
    /// When it is forgotten.
    pub expires: Time,
    /// What it is.
    #[serde(flatten)]
    pub letter: DeadLetter,
}

pub(crate) fn stream(tenant: &TenantId, id: DeadLetterId) -> StreamId {
    StreamId::new(tenant, DEAD_LETTER, id)
}

impl DeadLetter {
    /// The same death has the same id, so that a repeated commit cannot write it twice.
    fn id(&self, event: EventId) -> DeadLetterId {
        let run = self.run.map_or([0; 16], |run| *run.as_bytes());
        let step = self.step.as_ref().map_or("", |step| step.as_str());
        let subscriber = self.subscriber.as_deref().unwrap_or_default();
        DeadLetterId::derived(&[&run, step.as_bytes(), subscriber.as_bytes(), event.as_bytes()])
    }
}

impl Visit for DeadLetter {
    fn visit(&mut self, each: &mut dyn FnMut(&mut Data)) {
        if let Some(input) = &mut self.input {
            each(input);
        }
    }
}

impl Inner {
    /// Adds a dead letter to the commit in which its subject gives up.
    pub(crate) fn add_letter(
        &self,
        commit: &mut Commit,
        tenant: &TenantId,
        principal: &str,
        letter: &DeadLetter,
    ) -> DeadLetterId {
        let mut event = NewEvent::new(&self.world, kind::LETTER_RECORDED, SCHEMA, Vec::new());
        let id = letter.id(event.id);
        let stream = stream(tenant, id);
        let mut body_of = letter.clone();
        self.spill.take_out(&mut body_of, &stream, &mut commit.payloads);
        event.body = body(&body_of).into();
        let now = self.world.now();
        let mut labels = std::collections::BTreeMap::new();
        if let Some(run) = letter.run {
            labels.insert("run".to_owned(), run.to_string());
        }
        if !letter.workflow.is_empty() {
            labels.insert("workflow".to_owned(), letter.workflow.clone());
        }
        commit.listings.push(ListingChange::Put(Listing {
            stream: stream.clone(),
            kind: letter.kind.as_str().into(),
            status: "open".into(),
            principal: Some(principal.to_owned()),
            labels,
            created: now,
            updated: now,
        }));
        commit.wake_ups.push(WakeUpChange::Set(WakeUp {
            stream: stream.clone(),
            name: "expire".into(),
            due: now.after(self.config.dead_letters_kept.get()),
            owner: None,
        }));
        commit.appends.push(Append { stream, expect: Expect::New, events: vec![event] });
        id
    }

    /// Closes a dead letter: it was replayed, or its time is over.
    pub(crate) fn close_letter(
        &self,
        commit: &mut Commit,
        stream: &StreamId,
        closed: &'static str,
        by: &str,
    ) {
        let status = if closed == kind::LETTER_REPLAYED { "replayed" } else { "expired" };
        let event = NewEvent::new(&self.world, closed, SCHEMA, body(&LetterClosed { by: by.into() }));
        commit.appends.push(Append { stream: stream.clone(), expect: Expect::Exact(1), events: vec![event] });
        commit.listings.push(ListingChange::Status(stream.clone(), status.into(), self.world.now()));
        commit.wake_ups.push(WakeUpChange::Clear(stream.clone(), "expire".into()));
    }
}
