//! Replies leave in the commit that records them, on the session's stream.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steadfast_bank::steps::undo_transfer;
use steadfast_core::{Coded as _, Failure, RequestId, RunId, SessionId, Time, canonical::Hash};
use steadfast_engine::{Record, Recording, StepTask};
use steadfast_log::{Append, Claim, ClaimChange, Commit, CommitError, Expect};

use crate::{
    Assistant,
    exchange::Moved,
    phrases,
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
    /// Requests that waited for a yes to what is no longer proposed.
    pub(crate) void: Vec<RequestId>,
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
    fn decide(&self, session: &Session, run: RunId, answer_until: Time) -> (Vec<Event>, Reported) {
        let listens = session.run == Some(run);
        if self.only_if_silent && listens && !session.waiting.is_empty() {
            return (Vec::new(), Reported { open: true, until: answer_until });
        }
        let others = session.waiting.iter().any(|request| !self.answers.contains(request));
        let open = listens && (self.open || others);
        let mut events = Vec::new();
        // Whoever waits for something else by now gets an answer to that.
        let unasked = |request: &RequestId| session.shown_to(*request) && !session.waiting.contains(request);
        let void: Vec<_> = self.void.iter().copied().filter(unasked).collect();
        if !void.is_empty() {
            events.push(self.reply(run, &Told::Changed, void, listens, None));
        }
        let waits = |request: &RequestId| session.waiting.contains(request) || session.shown_to(*request);
        let answers: Vec<_> = match &self.told {
            // Not to whoever has had the last word.
            Some(Told::Changed | Told::Expired) => self.answers.iter().copied().filter(waits).collect(),
            // Nobody could say yes.
            Some(Told::Confirm { .. }) if !listens => Vec::new(),
            _ => self.answers.clone(),
        };
        match &self.told {
            Some(told) if !answers.is_empty() => {
                let confirmation = self.confirmation.clone().filter(|_| open);
                events.push(self.reply(run, told, answers, open, confirmation));
            }
            _ if listens && !open => events.push(Event::Closed(Closed { closed: run })),
            _ => {}
        }
        let until = self.confirmation.as_ref().map_or(answer_until, |shown| shown.expires);
        (events, Reported { open, until })
    }

    fn reply(
        &self,
        run: RunId,
        told: &Told,
        answers: Vec<RequestId>,
        open: bool,
        confirmation: Option<Confirmation>,
    ) -> Event {
        Event::Replied(Reply {
            answers,
            run,
            status: told.status(),
            text: phrases::say(told, self.language),
            data: serde_json::to_value(told).unwrap_or_default(),
            language: self.language,
            open,
            confirmation,
        })
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
            let (mut events, mut reported) = say.decide(&session, task.run, until);
            if events.is_empty() {
                // No version is expected where nothing is written, so this must be the newest.
                session = self.sessions().fresh(tenant, say.session).await?;
                (events, reported) = say.decide(&session, task.run, until);
            }
            let outcome = Ok(reported);
            let mut appends = vec![record.append(&outcome)?];
            if !events.is_empty() {
                let encode = |event: &Event| event.encode(world, say.session, task.correlation);
                appends.push(Append {
                    stream: stream(tenant, say.session),
                    expect: Expect::Exact(session.head),
                    events: events.iter().map(encode).collect::<Result<_, _>>()?,
                });
            }
            let claim = Claim { request, answer: Arc::from("{}"), expires: None };
            let claims = vec![ClaimChange::Take(key, claim)];
            match log.commit(Commit { appends, claims, ..Commit::default() }).await {
                Ok(committed) => {
                    self.sessions().advanced(tenant, say.session, session, &events);
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

impl Assistant {
    /// Takes a transfer back whose run has failed; not one that the user was told of: that
    /// is done, whatever becomes of the run.
    pub(crate) async fn take_back(&self, task: &StepTask, moved: Moved) -> Result<(), Failure> {
        let Moved { session, request, order } = moved;
        let told = |_, event: &Event| match event {
            Event::Replied(reply) if reply.data["kind"] == "transferred" => {
                (reply.run == task.run && reply.answers.contains(&request)).then_some(true)
            }
            Event::Heard(heard) if heard.request == request => Some(false),
            _ => None,
        };
        match self.sessions().look_back(&task.tenant, session, told).await? {
            Some(true) => Ok(()),
            Some(false) | None => undo_transfer(self.bank(), task, &order).await,
        }
    }
}
