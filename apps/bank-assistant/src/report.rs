//! Replies leave in the commit that records them, on the session's stream.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steadfast_core::{Coded as _, Failure, RequestId, RunId, SessionId, Time, canonical::Hash};
use steadfast_engine::{Record, Recording, StepTask};
use steadfast_log::{Append, Claim, ClaimChange, Commit, CommitError, Expect};

use crate::{
    Assistant, phrases,
    session::{Closed, Confirmation, Event, Reply, Session, stream},
    told::Told,
    understand::Language,
};

/// Something to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Say {
    pub(crate) session: SessionId,
    pub(crate) answers: Vec<RequestId>,
    /// Nothing: the run only stops listening.
    pub(crate) told: Option<Told>,
    pub(crate) language: Language,
    /// The run wants to listen on.
    pub(crate) open: bool,
    pub(crate) confirmation: Option<Confirmation>,
    /// Not if something was heard that is not answered.
    pub(crate) only_if_silent: bool,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reported {
    /// The run listens on: it wants to, or something else was heard meanwhile.
    pub(crate) open: bool,
    /// For how long.
    pub(crate) until: Time,
}

/// How often the session may move on under a reply before the step is tried anew.
const ATTEMPTS: u32 = 16;

impl Say {
    /// What the session gets to hear, if anything.
    fn decide(&self, session: &Session, run: RunId, answer_until: Time) -> (Option<Event>, Reported) {
        let listens = session.run == Some(run);
        let others = session.waiting.iter().any(|request| !self.answers.contains(request));
        if self.only_if_silent && listens && !session.waiting.is_empty() {
            return (None, Reported { open: true, until: answer_until });
        }
        let open = listens && (self.open || others);
        let event = match &self.told {
            Some(told) => Event::Replied(Reply {
                answers: self.answers.clone(),
                run,
                status: told.status(),
                text: phrases::say(told, self.language),
                data: serde_json::to_value(told).unwrap_or_default(),
                language: self.language,
                open,
                confirmation: self.confirmation.clone().filter(|_| open),
            }),
            None => Event::Closed(Closed { closed: run }),
        };
        let until = self.confirmation.as_ref().map_or(answer_until, |shown| shown.expires);
        (Some(event), Reported { open, until })
    }
}

impl Assistant {
    pub(crate) async fn report(
        &self,
        task: StepTask,
        say: Say,
        record: Record<Reported>,
    ) -> Result<Recording, Failure> {
        let (log, world, tenant) = (self.log(), self.world(), &task.tenant);
        let key = task.key.claim(tenant);
        let request = Hash::of(&say).map_err(|e| Failure::internal("assistant.report", e.to_string()))?;
        let until = world.now().after(self.config().answer_within.get());
        let mut session = self.sessions().seen(tenant, say.session).await?;
        for _ in 0..ATTEMPTS {
            let (event, reported) = say.decide(&session, task.run, until);
            let outcome = Ok(reported);
            let mut appends = vec![record.append(&outcome)?];
            if let Some(event) = &event {
                appends.push(Append {
                    stream: stream(tenant, say.session),
                    expect: Expect::Exact(session.head),
                    events: vec![event.encode(world, say.session, task.correlation)?],
                });
            }
            let claim = Claim { request, answer: Arc::from("{}"), expires: None };
            let claims = vec![ClaimChange::Take(key, claim)];
            match log.commit(Commit { appends, claims, ..Commit::default() }).await {
                Ok(committed) => {
                    self.sessions().advanced(tenant, say.session, session, event.as_slice());
                    return record.committed(&outcome, &committed, 0);
                }
                Err(CommitError::Claimed(..)) => return Ok(Recording::earlier()),
                Err(CommitError::Conflict { .. }) => {
                    session = self.sessions().fresh(tenant, say.session).await?;
                }
                Err(error) => return Err(error.failure()),
            }
        }
        Err(Failure::internal("session.busy", "the conversation moves on too fast").retryable())
    }
}
