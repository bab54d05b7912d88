//! What happens to a run when it ends, and what runs send each other.

use std::sync::Arc;

use steadfast_core::{Failure, Mutant, RunId, observe::Signal, planted};
use steadfast_log::{
    ClaimChange, Commit, CommitError, Expect, ListQuery, ReadError, StreamId, WakeUp, WakeUpChange,
};
use tokio::sync::mpsc;

use crate::{
    Data, Settled, Status, StepOutcome, Update,
    action::result_message,
    dead_letter::{DEAD_LETTER, DeadLetter, LetterKind},
    engine::{Inner, run_stream},
    history::{Facts, History, unreadable},
    live::{Drove, Input},
    record::{Ended, Message, Noted, Parked, kind},
    recovery::run_id,
    spill::brief,
    store::{WAKE, Writer, add_message, commit_patiently},
};

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
        writer.sleep();
        if let Some(parent) = facts.started.parent.as_ref().filter(|_| !planted(Mutant::ParentNotTold)) {
            let stream = run_stream(&facts.stream.tenant(), parent.run);
            let message = result_message(parent.run, parent.generation, &parent.step, outcome.clone());
            self.tell_run(&mut writer.commit, &stream, message);
        }
        if let (Status::Dead, Err(cause), false) = (status, outcome, planted(Mutant::DeadLetterMissing)) {
            let letter = DeadLetter {
                kind: LetterKind::Run,
                run: Some(facts.run),
                generation,
                step: None,
                workflow: facts.started.workflow.clone(),
                subscriber: None,
                event: None,
                action: None,
                cause: cause.clone(),
                input: Some(facts.started.input.clone())
                    // A large one stands in the run's own record.
                    .filter(|input| {
                        matches!(input, Data::Inline(_)) && input.spills(self.config.inline_bytes).is_none()
                    }),
                key: None,
            };
            self.add_letter(&mut writer.commit, &facts.stream.tenant(), &facts.started.principal, &letter);
        }
    }

    /// Adds a message to a run, and the wake-up that makes sure it is looked at.
    pub(crate) fn tell_run(&self, commit: &mut Commit, stream: &StreamId, message: Message) {
        add_message(commit, (&self.world, &self.spill), stream, message);
        let wake_up =
            WakeUp { stream: stream.clone(), name: WAKE.into(), due: self.world.now(), owner: None };
        commit.wake_ups.push(WakeUpChange::Set(wake_up));
    }

    pub(crate) fn park_commit(&self, facts: &Facts, head: u64, parked: &Parked) -> Commit {
        let mut writer = self.writer(facts);
        writer.event(kind::PARKED, &parked.clone().brief());
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

    /// A run that has ended is woken for the children it left behind, and by what comes
    /// too late. That may be thousands of results: one look now and then is for all of them.
    pub(crate) async fn look_after(
        self: &Arc<Self>,
        history: &History,
        mut inbox: mpsc::UnboundedReceiver<Input>,
    ) -> Drove {
        let drove = if !history.orphans.is_empty() {
            self.tell_orphans(&history.facts.stream);
            Drove::Over
        } else if let Some(drove) = self.settle_late(history).await {
            drove
        } else {
            self.note_late(history).await
        };
        tokio::select! {
            biased;
            () = self.world.clock().sleep(self.config.poll.get()) => {}
            () = self.stopping.said() => {}
        }
        match drove {
            Drove::Over if inbox.try_recv().is_ok() => Drove::Again,
            drove => drove,
        }
    }

    /// Something came after the end: the wake-up that it set is taken away.
    async fn note_late(&self, history: &History) -> Drove {
        let mut writer = self.late_writer(history, Noted::default());
        writer.expect(Expect::Exact(history.head));
        writer.keep_effects();
        match commit_patiently(&self.log, &self.world, writer.finish()).await {
            Ok(_) => Drove::Over,
            Err(CommitError::Conflict { .. }) => Drove::Again,
            Err(_) => Drove::StoreAway,
        }
    }

    /// Says that a run that has ended was looked at: nothing wakes it for its own sake.
    pub(crate) fn late_writer<'a>(&'a self, history: &'a History, noted: Noted) -> Writer<'a> {
        let mut writer = self.writer(&history.facts);
        writer.event(kind::NOTED, &noted);
        writer.sleep();
        writer.forget_orphans();
        if history.parked.is_some() {
            writer.unpark();
            writer.status(history.progress());
        }
        writer
    }

    /// A run whose record cannot be read ends as a dead letter, so that it is seen and
    /// stands in nobody's way: nothing wakes it any more, whatever it was to be woken for.
    pub(crate) async fn bury(self: &Arc<Self>, stream: &StreamId, cause: Failure) {
        let Some(run) = run_id(stream) else { return };
        let (Ok(head), Ok(buried)) = (self.log.head(stream).await, self.has_letter(stream, run).await) else {
            return;
        };
        let started = match self.log.read_stream(stream, 1, 1).await {
            Ok(first) => first.first().and_then(|recorded| serde_json::from_slice(&recorded.event.body).ok()),
            Err(ReadError::Corrupt(_)) => None,
            Err(_) => return,
        };
        let started = started.unwrap_or_else(unreadable);
        let facts =
            Facts { run, stream: stream.clone(), correlation: None, started, started_at: self.world.now() };
        let mut writer = self.writer(&facts);
        let cause = brief(cause);
        if buried {
            // Something came after that.
            writer.event(kind::NOTED, &Noted::default());
        } else {
            tracing::error!(run_id = %run, code = %cause.code, "a run cannot be read and becomes a dead letter");
            let ended = Ended { status: Status::Dead, failure: Some(cause.clone()), by: None };
            writer.event(kind::ENDED, &ended);
            self.end(&mut writer, &facts, 0, Status::Dead, &Err(cause.clone()));
        }
        writer.commit.wake_ups.push(WakeUpChange::Clear(stream.clone(), WAKE.into()));
        writer.unpark();
        writer.forget_orphans();
        writer.keep_effects();
        writer.expect(Expect::Exact(head));
        let written = commit_patiently(&self.log, &self.world, writer.finish()).await;
        if written.is_ok() && !buried {
            self.ended(&facts, Status::Dead, Err(cause));
        }
    }

    /// Is there an open dead letter of it?
    async fn has_letter(&self, stream: &StreamId, run: RunId) -> Result<bool, ReadError> {
        let query = ListQuery {
            tenant: stream.tenant(),
            category: DEAD_LETTER.into(),
            kind: Some(LetterKind::Run.as_str().into()),
            statuses: vec!["open".into()],
            labels: [("run".to_owned(), run.to_string())].into(),
            limit: 1,
            ..ListQuery::default()
        };
        Ok(!self.log.list(query).await?.rows.is_empty())
    }
}
