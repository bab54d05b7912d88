//! One turn: what is delivered, the commit that makes it durable, and what follows.

use std::task::{Context, Poll, Waker};

use steadfast_core::{Coded, Failure, Mutant, Time, planted};
use steadfast_log::{Commit, CommitError, Expect, WakeUpChange};
use tokio::task::JoinSet;

use super::{Done, Live, Stop};
use crate::{
    Data, StepOutcome, Update,
    child::Child,
    context::Halt,
    effects::Ending,
    execute::{perform, task},
    history::final_status,
    machine::{Delivered, Machine},
    record::{Ask, Delivery, Message, Outcome, Parked, Sent, Status, Turn, What, kind},
    store::commit_patiently,
};

impl Live {
    pub(super) async fn turn(
        &mut self,
        now: Time,
        delivered: Vec<Delivery>,
    ) -> Result<Option<Outcome>, Stop> {
        let turn = match self.decide(now, delivered) {
            Ok(turn) => turn,
            Err(parked) => return Err(self.park(parked).await),
        };
        let (undoes, on_log) = (self.undoes, self.on_log.len());
        let commit = self.turn_commit(&turn, now);
        if planted(Mutant::EffectBeforeIntent) {
            self.begin(&turn.asked);
        }
        match self.write(commit).await {
            Ok(()) => {
                let left = turn.left.clone();
                let outcome = self.after(turn);
                self.take_again(&left).await?;
                self.keep_in_short().await;
                Ok(outcome)
            }
            Err(Stop::TooLarge(why)) => {
                self.undoes = undoes;
                self.on_log.truncate(on_log);
                self.fail_turn(turn, now, why).await
            }
            Err(stop) => Err(stop),
        }
    }

    /// Once enough events came, a generation that begins leaves those before it behind.
    async fn keep_in_short(&mut self) {
        if self.first && self.head >= self.snapshot_due {
            self.snapshot_due = self.engine.keep_snapshot(&self.facts.stream, self.head).await;
        }
    }

    /// A turn that no commit can hold ends the run; what it asked for never happens.
    async fn fail_turn(&mut self, turn: Turn, now: Time, why: String) -> Result<Option<Outcome>, Stop> {
        let message = format!(
            "what follows a single delivery does not fit into one commit: {why}; ask for less at once, or return less"
        );
        let outcome = Some(Outcome::Failed(Failure::internal("run.turn_too_large", message)));
        let failed = Turn { asked: Vec::new(), left: Vec::new(), outcome, ..turn };
        // Nothing of the first try was written.
        self.listed = Status::Parked;
        self.due = None;
        let commit = self.turn_commit(&failed, now);
        self.write(commit).await?;
        Ok(self.after(failed))
    }

    /// Before the run leaves memory its wake-up must be the true one: messages set it to
    /// the time they came, and it would be taken up again and again. `None`: look again.
    pub(super) async fn rest(&mut self) -> Result<Option<Time>, Stop> {
        let due = self.next_due(&Turn::default());
        if self.due == Some(due) {
            return Ok(Some(due));
        }
        let engine = self.engine.clone();
        let mut writer = engine.writer(&self.facts);
        writer.event(kind::NOTED, &serde_json::json!({}));
        writer.expect(Expect::Exact(self.head));
        writer.wake(due, engine.node);
        let commit = writer.finish();
        match commit_patiently(&engine.log, &engine.world, commit).await {
            Ok(_) => {
                self.head += 1;
                self.due = Some(due);
                Ok(Some(due))
            }
            Err(CommitError::Conflict { .. }) => self.refresh(None).await.map(|_| None),
            Err(_) => Err(Stop::StoreAway),
        }
    }

    /// Lets the machine take the turn. Also used for the first turn, before acceptance.
    pub(crate) fn decide(&mut self, now: Time, mut delivered: Vec<Delivery>) -> Result<Turn, Parked> {
        self.first = false;
        let items: Vec<Delivered> = delivered.iter().map(|delivery| self.bring(delivery)).collect();
        let number = self.machine.next_turn();
        let spill = &self.engine.spill;
        let advanced = self.machine.advance(now, items, &|asked| spill.full(asked));
        if let Ok(advance) = &advanced {
            self.put_back(delivered.split_off(advance.taken));
        }
        self.consume(&delivered);
        let mut turn = Turn { turn: number, epoch: self.epoch, delivered, ..Turn::default() };
        match advanced {
            Ok(advance) => {
                turn.asked = advance.asked;
                turn.patches = advance.patches;
                turn.outcome = advance.outcome;
                turn.left = if planted(Mutant::SignalDropped) { Vec::new() } else { advance.left };
                turn.progress = advance.progress;
            }
            Err(Halt::Fail(failure)) => turn.outcome = Some(Outcome::Failed(failure)),
            Err(Halt::Park(parked)) => return Err(parked),
        }
        Ok(turn)
    }

    /// The commit that makes a turn durable, with all that must change with it.
    pub(crate) fn turn_commit(&mut self, turn: &Turn, now: Time) -> Commit {
        let engine = self.engine.clone();
        self.undoes |= turn.asked.iter().any(|ask| ask.undo.is_some());
        self.on_log.extend(turn.asked.iter().filter(|ask| ask.on_log()).map(|ask| ask.step.clone()));
        let status = self.status_after(turn);
        let due = self.due_after(turn, status);
        let mut writer = engine.writer_at(&self.facts, now);
        let shorter = self.inputs.shorten(turn);
        writer.record(kind::TURN, shorter.as_ref().unwrap_or(turn));
        writer.expect(Expect::Exact(self.head));
        if status.ended() {
            let outcome = match &turn.outcome {
                Some(Outcome::Failed(failure) | Outcome::Cancelled(failure)) => Err(failure.clone()),
                Some(Outcome::Completed(value)) => Ok(value.clone()),
                _ => Ok(Data::null()),
            };
            engine.end(&mut writer, &self.facts, self.generation, status, &outcome);
            let steps = &self.on_log;
            let ending = Ending { generation: self.generation, status, steps, stands: true };
            engine.settle_effects(&mut writer, &self.facts, &ending);
        } else {
            if matches!(turn.outcome, Some(Outcome::Continued(_))) {
                engine.settle_stands(&mut writer, &self.facts, self.generation, &self.on_log);
            }
            if status != self.listed {
                writer.status(status);
            }
            if Some(due) != self.due {
                writer.wake(due, engine.node);
            }
            if status == Status::Compensating && planted(Mutant::WakeUpCleared) {
                writer.sleep();
            }
        }
        if turn.outcome.is_some() && !self.children.is_empty() {
            engine.leave_orphans(&mut writer);
        }
        self.listed = status;
        self.due = Some(due);
        writer.commit
    }

    pub(super) fn status_after(&self, turn: &Turn) -> Status {
        match &turn.outcome {
            Some(Outcome::Continued(_)) => Status::Running,
            Some(outcome @ (Outcome::Failed(_) | Outcome::Cancelled(_))) if !self.undoes => {
                final_status(outcome)
            }
            Some(Outcome::Failed(_) | Outcome::Cancelled(_)) => Status::Compensating,
            Some(outcome) => final_status(outcome),
            None => {
                let acts = turn.asked.iter().any(|ask| matches!(ask.what, What::Action { .. }));
                if acts || !self.working.is_empty() || !self.at_once.is_empty() {
                    Status::Running
                } else {
                    Status::Waiting
                }
            }
        }
    }

    /// A run that does something has a wake-up that is due, so that a crash is noticed;
    /// one that waits has the time it waits for.
    pub(super) fn due_after(&self, turn: &Turn, status: Status) -> Time {
        if status != Status::Waiting {
            let now = self.engine.world.now();
            return self.due.filter(|due| *due <= now).unwrap_or(now);
        }
        self.next_due(turn)
    }

    /// What a waiting run is to be looked at for.
    fn next_due(&self, turn: &Turn) -> Time {
        // A child that is not started yet, and what is here already, must not wait.
        let starts = turn.asked.iter().any(|ask| matches!(ask.what, What::Child { .. }));
        if starts || !self.pending.is_empty() || !self.ready.is_empty() {
            return self.engine.world.now();
        }
        let asked = turn.asked.iter().filter_map(|ask| match ask.what {
            What::Timer(due) => Some(due),
            _ => None,
        });
        let timers = self.timers.iter().map(|(due, _)| *due).chain(asked).chain(self.deadline);
        timers.min().filter(|_| !planted(Mutant::TimerForgotten)).unwrap_or(Time::NEVER)
    }

    /// The turn is durable: now its effects may leave.
    pub(super) fn after(&mut self, turn: Turn) -> Option<Outcome> {
        for value in turn.progress {
            self.engine.tell(self.facts.run, || Update::Progress(value));
        }
        for delivery in &turn.delivered {
            if let Delivery::Result { step, outcome, .. } = delivery {
                let ok = outcome.is_ok();
                self.engine.tell(self.facts.run, || Update::StepEnded { step: step.clone(), ok });
            }
        }
        match turn.outcome {
            None => {
                self.inputs.remember(&turn.asked);
                self.begin(&turn.asked);
                None
            }
            Some(Outcome::Continued(input)) => {
                self.tell_children();
                if turn.delivered.contains(&Delivery::Deadline) {
                    // It counts for the whole run: the next generation meets it too.
                    self.deadline = self.facts.started.deadline;
                }
                self.continue_as_new(input);
                None
            }
            Some(outcome) => {
                self.tell_children();
                if !self.undoes || matches!(outcome, Outcome::Completed(_)) {
                    self.engine.ended(&self.facts, final_status(&outcome), outcome_result(&outcome));
                }
                Some(outcome)
            }
        }
    }

    fn tell_children(&self) {
        if !self.children.is_empty() {
            self.engine.tell_orphans(&self.facts.stream);
        }
    }

    /// A message came in while this turn was on its way: its wake-up must stand.
    fn keep_awake(&mut self, commit: &mut Commit) {
        if self.pending.is_empty() {
            return;
        }
        let now = self.engine.world.now();
        for change in &mut commit.wake_ups {
            if let WakeUpChange::Set(wake_up) = change
                && wake_up.stream == self.facts.stream
            {
                wake_up.due = wake_up.due.min(now);
            }
        }
        self.due = None;
    }

    pub(super) fn continue_as_new(&mut self, input: Data) {
        self.generation += 1;
        self.first = true;
        self.undoes = false;
        self.on_log.clear();
        self.timers.clear();
        self.ready.clear();
        self.known.clear();
        self.seen.clear();
        self.inputs.forget();
        self.children.clear();
        self.working = JoinSet::new();
        self.at_once.clear();
        self.pending.retain(|(_, message)| !matches!(message.what, Sent::Result { .. }));
        let info = self.facts.info(self.generation);
        if let Some(workflow) = self.engine.workflow(&self.facts.started) {
            self.machine = Machine::new(workflow, self.engine.registry.clone(), info, input);
        }
    }

    /// Starts what was asked for.
    pub(crate) fn begin(&mut self, asked: &[Ask]) {
        let alone = asked.len() == 1;
        for Ask { step, what, .. } in asked {
            if let Some(outcome) = self.known.remove(step) {
                self.ready.push_back(Delivery::Result {
                    step: step.clone(),
                    outcome,
                    failed_attempts: Vec::new(),
                });
                continue;
            }
            match what {
                What::Timer(due) => {
                    self.timers.insert((*due, step.clone()));
                }
                What::Signal(_) => {}
                What::Action { action, input, .. } => {
                    let recorded = |message: &Message| matches!(&message.what, Sent::Result { step: of, generation, .. } if of == step && *generation == self.generation);
                    if self.pending.iter().any(|(_, message)| recorded(message)) {
                        continue;
                    }
                    let task = task(&self.facts, self.generation, step, false, action, input);
                    let (engine, step) = (self.engine.clone(), step.clone());
                    self.work(alone, async move { Done::Step(step, perform(engine, task).await) });
                }
                What::Child { run, workflow, input } => {
                    self.children.insert(step.clone(), *run);
                    let begins = || Update::ChildStarted { step: step.clone(), run: *run };
                    self.engine.tell(self.facts.run, begins);
                    let child = Child {
                        parent: self.facts.clone(),
                        generation: self.generation,
                        step: step.clone(),
                        run: *run,
                        workflow: workflow.clone(),
                        input: input.clone(),
                    };
                    let (begun, step) = (self.engine.clone().start_child(child), step.clone());
                    self.working.spawn(async move { Done::Child(step, begun.await) });
                }
            }
        }
    }

    /// A task for each piece of work. One that is alone is tried here first: most are done
    /// at once, and waking another thread for them costs more than they do.
    fn work(&mut self, alone: bool, work: impl Future<Output = Done> + Send + 'static) {
        let mut work = Box::pin(work);
        if alone && let Poll::Ready(done) = work.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            self.at_once.push_back(done);
        } else {
            self.working.spawn(work);
        }
    }

    /// Writes a turn. Where only messages came in between, the turn stands as decided and
    /// goes after them: it says which messages it delivered, and those are not among them.
    pub(super) async fn write(&mut self, mut commit: Commit) -> Result<(), Stop> {
        let own = commit.appends.first().and_then(|append| append.events.first()).map(|event| event.id);
        let events = commit.appends.first().map_or(0, |append| append.events.len() as u64);
        loop {
            match commit_patiently(&self.engine.log, &self.engine.world, commit.clone()).await {
                Ok(committed) => {
                    self.head = committed.versions.first().copied().unwrap_or(self.head + events);
                    return Ok(());
                }
                Err(CommitError::Conflict { actual, .. }) => {
                    if planted(Mutant::TurnForced) {
                        self.head = actual;
                    } else if self.refresh(own).await? {
                        return Ok(());
                    }
                    self.keep_awake(&mut commit);
                    if let Some(append) = commit.appends.first_mut() {
                        append.expect = Expect::Exact(self.head);
                    }
                }
                Err(error @ (CommitError::TooLarge { .. } | CommitError::Invalid(_))) => {
                    return Err(Stop::TooLarge(error.to_string()));
                }
                Err(error) => {
                    tracing::error!(run_id = %self.facts.run, code = error.code(), "a turn could not be written");
                    return Err(Stop::StoreAway);
                }
            }
        }
    }

    pub(super) async fn park(&mut self, parked: Parked) -> Stop {
        let commit = self.engine.park_commit(&self.facts, self.head, &parked);
        match self.write(commit).await {
            Ok(()) => Stop::Ended,
            Err(stop) => stop,
        }
    }

    /// The run is accepted: its first events are durable, up to this version.
    pub(crate) fn accepted(&mut self, head: u64, turn: Turn) -> Option<Outcome> {
        self.head = head;
        self.after(turn)
    }
}

fn outcome_result(outcome: &Outcome) -> StepOutcome {
    match outcome {
        Outcome::Completed(value) | Outcome::Continued(value) => Ok(value.clone()),
        Outcome::Failed(failure) | Outcome::Cancelled(failure) => Err(failure.clone()),
    }
}
