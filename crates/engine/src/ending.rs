//! What happens to a run when it ends, and what runs send each other.

use std::sync::Arc;

use steadfast_core::{RunId, observe::Signal};
use steadfast_log::{Append, ClaimChange, Commit, Expect, StreamId, WakeUp, WakeUpChange};

use crate::{
    EffectKey, Settled, Status, StepId, StepOutcome, Update,
    action::result_message,
    dead_letter::{DeadLetter, LetterKind},
    engine::{Inner, run_stream},
    history::Facts,
    record::{Message, Parent, Parked, Sent, kind},
    store::{WAKE, Writer, message_append},
};

const EFFECTS_SETTLED: usize = 32;

impl Inner {
    /// What every end of a run writes: claim, list, wake-up, parent, dead letter.
    pub(crate) fn end(
        &self,
        writer: &mut Writer<'_>,
        facts: &Facts,
        generation: u32,
        status: Status,
        outcome: &StepOutcome,
    ) {
        let now = self.world.now();
        if let Some(claim) = facts.started.claim {
            writer
                .commit
                .claims
                .push(ClaimChange::Settle(claim, now.after(self.config.idempotency_window.get())));
        }
        writer.status(status);
        writer.commit.wake_ups.push(WakeUpChange::Clear(facts.stream.clone(), WAKE.into()));
        if let Some(parent) = &facts.started.parent {
            let (append, wake_up) = self.to_parent(facts, parent, outcome.clone());
            writer.commit.appends.push(append);
            writer.commit.wake_ups.push(wake_up);
        }
        if let (Status::Dead, Err(cause)) = (status, outcome) {
            let letter = DeadLetter {
                kind: LetterKind::Run,
                run: Some(facts.run),
                generation,
                step: None,
                workflow: facts.started.workflow.clone(),
                subscriber: None,
                event: None,
                cause: cause.clone(),
                input: Some(facts.started.input.clone())
                    .filter(|input| input.spills(self.config.inline_bytes).is_none()),
                key: None,
            };
            self.add_letter(&mut writer.commit, &facts.stream.tenant(), &facts.started.principal, &letter);
        }
    }

    /// The run has ended for good: the keys of its effects need not be remembered for ever.
    /// Those of a dead run are, since it may be replayed and undone.
    pub(crate) fn settle_effects(
        &self,
        writer: &mut Writer<'_>,
        facts: &Facts,
        generation: u32,
        status: Status,
        steps: &[StepId],
    ) {
        if status == Status::Dead {
            return;
        }
        let (tenant, until) =
            (facts.stream.tenant(), self.world.now().after(self.config.idempotency_window.get()));
        let settle =
            |step| ClaimChange::Settle(EffectKey::of(facts.run, generation, step).claim(&tenant), until);
        // A commit has room for so many; a run with more effects leaves the rest behind.
        writer.commit.claims.extend(steps.iter().rev().take(EFFECTS_SETTLED).map(settle));
    }

    fn to_parent(&self, facts: &Facts, parent: &Parent, outcome: StepOutcome) -> (Append, WakeUpChange) {
        let stream = run_stream(&facts.stream.tenant(), parent.run);
        let message = result_message(parent.run, parent.generation, &parent.step, outcome);
        self.to_run(&stream, &message)
    }

    /// A message to a run, and the wake-up that makes sure it is looked at.
    pub(crate) fn to_run(&self, stream: &StreamId, message: &Message) -> (Append, WakeUpChange) {
        let wake_up =
            WakeUp { stream: stream.clone(), name: WAKE.into(), due: self.world.now(), owner: None };
        (message_append(&self.world, stream, message), WakeUpChange::Set(wake_up))
    }

    pub(crate) fn cancel_child(&self, parent: &Facts, child: RunId) -> (Append, WakeUpChange) {
        let id = steadfast_core::id::derive("cancel", &[parent.run.as_bytes(), child.as_bytes()]);
        let what = Sent::Cancel { reason: "its parent ended".into() };
        let message = Message { id, from: Some("parent".into()), what };
        self.to_run(&run_stream(&parent.stream.tenant(), child), &message)
    }

    pub(crate) fn cancel_later(self: &Arc<Self>, parent: &Arc<Facts>, child: RunId) {
        let (engine, parent) = (self.clone(), parent.clone());
        tokio::spawn(async move {
            let (append, wake_up) = engine.cancel_child(&parent, child);
            let commit = Commit { appends: vec![append], wake_ups: vec![wake_up], ..Commit::default() };
            if engine.log.commit(commit).await.is_ok() {
                engine.refresh(&parent.stream.tenant(), child);
            }
        });
    }

    pub(crate) fn park_commit(&self, facts: &Facts, head: u64, parked: &Parked) -> Commit {
        let mut writer = self.writer(facts);
        writer.event(kind::PARKED, parked);
        writer.expect(Expect::Exact(head));
        writer.status(Status::Parked);
        writer.park(self.node);
        self.observer.observe(Signal::Run { workflow: &facts.started.workflow, status: "parked" });
        tracing::warn!(run_id = %facts.run, code = %parked.code, "a run is parked: its code does not fit its history");
        writer.finish()
    }

    /// The end is durable: tell everyone who waits.
    pub(crate) fn ended(self: &Arc<Self>, facts: &Facts, status: Status, outcome: StepOutcome) {
        self.observer.observe(Signal::Run { workflow: &facts.started.workflow, status: status.as_str() });
        self.count_open(&facts.stream.tenant(), -1);
        let settled = Settled { run: facts.run, status, outcome };
        for waiter in self.forget_waiters(facts.run) {
            // Whoever left needs no answer.
            let _ = waiter.send(settled.clone());
        }
        self.tell(facts.run, || Update::Ended(settled));
        if let Some(parent) = &facts.started.parent {
            self.refresh(&facts.stream.tenant(), parent.run);
        }
    }
}
