//! Drives one run: gathers what arrived, lets the machine take a turn, writes it, and
//! only then does what the turn asked for.

mod deliver;
mod hear;
mod turn;

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    panic::resume_unwind,
    sync::Arc,
};

use steadfast_core::{Mutant, RunId, Time, planted};
use steadfast_log::{Commit, CommitError};
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};
use uuid::Uuid;

use crate::{
    StepId, StepOutcome, Update,
    action::result_message,
    child::Begun,
    engine::Inner,
    execute::Performed,
    grown::Inputs,
    history::{Facts, History},
    machine::Machine,
    record::{Ask, Delivery, Message, Outcome, Sent, Status},
    store::{Writer, add_message, commit_patiently},
};

/// What is told to the driver of a run.
pub(crate) enum Input {
    /// A message of the run is on the log, at this version.
    Message(u64, Message),
    /// Something is on the log: read it.
    Refresh,
}

/// What came of driving a run.
pub(crate) enum Drove {
    /// Its last event is written, or another node owns it now.
    Over,
    /// Nothing is going on; it was put out of memory and is due again at this time.
    Evicted(Time),
    /// Somebody else wrote to it: read it again.
    Again,
    /// It failed: undo from the record.
    Undo,
    /// The store is away; the wake-up will bring it back.
    StoreAway,
}

/// The work of a task. Actions that panic are failures of their steps, so a panic here is
/// ours; else the process is about to end.
fn joined(done: Result<Done, JoinError>) -> Result<Done, Stop> {
    done.map_err(|error| match error.try_into_panic() {
        Ok(panic) => resume_unwind(panic),
        Err(_) => Stop::StoreAway,
    })
}

/// Stops the driver.
enum Stop {
    Lost,
    Ended,
    StoreAway,
    /// The turn does not fit into a commit.
    TooLarge(String),
}

/// What a finished piece of work was.
enum Done {
    Step(StepId, Performed),
    Child(StepId, Begun),
}

pub(crate) struct Live {
    engine: Arc<Inner>,
    facts: Arc<Facts>,
    machine: Machine,
    generation: u32,
    epoch: u32,
    head: u64,
    /// As in [`History`].
    seen: HashSet<Uuid>,
    /// The version from which on a generation that begins is kept in short.
    snapshot_due: u64,
    /// Messages that no turn has delivered.
    pending: VecDeque<(u64, Message)>,
    /// Results and timers that no turn has delivered.
    ready: VecDeque<Delivery>,
    known: HashMap<StepId, StepOutcome>,
    /// What steps of this generation were asked with.
    inputs: Inputs,
    timers: BTreeSet<(Time, StepId)>,
    children: HashMap<StepId, RunId>,
    /// Tasks, so that they go on while this run waits for the log: what one of them holds
    /// may be what the log waits for. Dropping them ends them.
    working: JoinSet<Done>,
    /// What was done the moment it was begun.
    at_once: VecDeque<Done>,
    undoes: bool,
    /// Steps of this generation whose effect is on our own log.
    on_log: Vec<StepId>,
    deadline: Option<Time>,
    /// The status in the list and the due time of the wake-up, as last written.
    listed: Status,
    /// `None`: somebody else may have set it.
    due: Option<Time>,
    first: bool,
}

impl Live {
    /// A run about to be accepted: nothing of it is written yet.
    pub(crate) fn new(engine: Arc<Inner>, facts: Arc<Facts>, machine: Machine, now: Time) -> Self {
        let deadline = facts.started.deadline;
        let after = engine.config.snapshot_after;
        Self {
            engine,
            facts,
            machine,
            generation: 1,
            epoch: 1,
            head: 0,
            seen: HashSet::new(),
            snapshot_due: after,
            pending: VecDeque::new(),
            ready: VecDeque::new(),
            known: HashMap::new(),
            inputs: Inputs::default(),
            timers: BTreeSet::new(),
            children: HashMap::new(),
            working: JoinSet::new(),
            at_once: VecDeque::new(),
            undoes: false,
            on_log: Vec::new(),
            deadline,
            listed: Status::Running,
            due: Some(now),
            first: true,
        }
    }

    /// A run taken up from its record: its machine has repeated all its turns.
    pub(crate) fn resume(engine: Arc<Inner>, history: &History, machine: Machine) -> Self {
        let mut live = Self::new(engine, history.facts.clone(), machine, Time::NEVER);
        live.due = None;
        live.generation = history.generation;
        live.epoch = history.epoch;
        live.head = history.head;
        live.seen.clone_from(&history.seen);
        live.snapshot_due = history.snapshot_due(live.snapshot_due);
        live.pending = history.pending().map(|(version, message)| (version, message.clone())).collect();
        if planted(Mutant::CancelForgotten) {
            live.pending.retain(|(_, message)| !matches!(message.what, Sent::Cancel { .. }));
        }
        live.known.clone_from(&history.known);
        live.inputs = Inputs::of(history);
        live.undoes = history.intents.iter().any(|intent| intent.ask.undo.is_some());
        live.on_log = history.on_log();
        live.first = history.turns.is_empty();
        live.listed = Status::Parked; // Unknown: the next turn writes it.
        // A run that was replayed has had its time; it is not given up a second time.
        if history.rewound
            || history.turns.iter().any(|(_, turn)| turn.delivered.contains(&Delivery::Deadline))
        {
            live.deadline = None;
        }
        let open =
            if planted(Mutant::RecordedStepAgain) { history.intents.clone() } else { history.outstanding() };
        let asks: Vec<Ask> = open.into_iter().map(|intent| intent.ask).collect();
        live.begin(&asks);
        live
    }

    /// Until nothing is left to do here and now. A run that waits takes no place from those
    /// that advance.
    pub(crate) async fn drive(mut self, mut inbox: mpsc::UnboundedReceiver<Input>) -> Drove {
        let slots = self.engine.slots.clone();
        let priority = self.facts.started.priority;
        let mut place = None;
        loop {
            if place.is_none() && !self.waits() {
                place = Some(slots.take(priority).await);
            }
            match self.turns().await {
                Ok(None) => {}
                Ok(Some(Outcome::Failed(_) | Outcome::Cancelled(_))) if self.undoes => {
                    return self.settle_steps().await;
                }
                // Abandoned steps may still be going on; their results are recorded too.
                Ok(Some(_)) => {
                    self.settle_steps().await;
                    return Drove::Over;
                }
                Err(Stop::Ended | Stop::Lost) => return Drove::Over,
                Err(Stop::StoreAway | Stop::TooLarge(_)) => return Drove::StoreAway,
            }
            if self.waits() {
                place = None;
            }
            match self.wait(&mut inbox).await {
                Ok(true) => {}
                Ok(false) => match self.rest().await {
                    Ok(Some(due)) if self.engine.evict(self.facts.run, &mut inbox) => {
                        return Drove::Evicted(due);
                    }
                    Ok(_) => {}
                    Err(Stop::Ended | Stop::Lost) => return Drove::Over,
                    Err(_) => return Drove::StoreAway,
                },
                Err(Stop::StoreAway) => return Drove::StoreAway,
                Err(_) => return Drove::Over,
            }
        }
    }

    /// Nothing is going on, and nothing is there to be delivered.
    fn waits(&self) -> bool {
        let nothing = self.ready.is_empty() && self.pending.is_empty() && !self.first;
        let idle = self.at_once.is_empty() && self.working.is_empty();
        nothing && idle && self.next_timer().is_none_or(|due| due > self.engine.world.now())
    }

    fn next_timer(&self) -> Option<Time> {
        self.timers.first().map(|(due, _)| *due).into_iter().chain(self.deadline).min()
    }

    /// Takes turns while there is something to deliver. `Some` is the run's end.
    async fn turns(&mut self) -> Result<Option<Outcome>, Stop> {
        loop {
            let now = self.engine.world.now();
            let delivered = self.gather(now);
            if delivered.is_empty() && !self.first {
                return Ok(None);
            }
            if let Some(outcome) = self.turn(now, delivered).await? {
                return Ok(Some(outcome));
            }
        }
    }

    /// Waits for the next thing to deliver. `false`: nothing came for a while, and nothing
    /// is going on.
    async fn wait(&mut self, inbox: &mut mpsc::UnboundedReceiver<Input>) -> Result<bool, Stop> {
        match self.at_once.pop_front() {
            Some(done) => self.finish(done).await?,
            None if self.first_of(inbox).await? => {}
            None => return Ok(false),
        }
        // Whatever else is there already shares the turn.
        while let Some(done) = self.working.try_join_next() {
            self.finish(joined(done)?).await?;
        }
        while let Ok(input) = inbox.try_recv() {
            self.take(input).await?;
        }
        Ok(true)
    }

    async fn first_of(&mut self, inbox: &mut mpsc::UnboundedReceiver<Input>) -> Result<bool, Stop> {
        let now = self.engine.world.now();
        let warm = self.engine.warm();
        let timer = self.next_timer().map(|due| due.since(now));
        let idle = self.working.is_empty();
        let pause = match timer {
            Some(timer) if !idle || timer <= warm => timer,
            _ if idle => warm,
            _ => std::time::Duration::from_hours(1),
        };
        let sleep = self.engine.world.clock().sleep(pause);
        let engine = self.engine.clone();
        let stopped = engine.stopping.said();
        tokio::select! {
            biased;
            Some(done) = self.working.join_next(), if !idle => self.finish(joined(done)?).await?,
            Some(input) = inbox.recv() => self.take(input).await?,
            () = stopped, if idle => return Ok(false),
            () = sleep => return Ok(!idle || timer.is_some_and(|timer| timer <= warm)),
        }
        Ok(true)
    }

    async fn finish(&mut self, done: Done) -> Result<(), Stop> {
        match done {
            Done::Step(step, Performed::Result { outcome, failed_attempts }) => {
                if outcome.is_err() {
                    // An attempt that was given up may have recorded its result all the same.
                    self.refresh(None).await?;
                    if self.pending.iter().any(|(_, message)| message.is_result_of(self.generation, &step)) {
                        return Ok(());
                    }
                }
                self.ready.push_back(Delivery::Result { step, outcome, failed_attempts });
                Ok(())
            }
            Done::Step(_, Performed::Recorded(recording)) => match (recording.version, recording.message) {
                (Some(version), Some(message)) => {
                    self.tell_recorded(&message);
                    self.take(Input::Message(version, message)).await
                }
                _ => self.refresh(None).await.map(drop),
            },
            Done::Child(_, Begun::Yes) => Ok(()),
            Done::Child(_, Begun::StoreAway) => Err(Stop::StoreAway),
            Done::Child(step, Begun::No(failure)) => {
                self.children.remove(&step);
                self.ready.push_back(Delivery::Result {
                    step,
                    outcome: Err(failure),
                    failed_attempts: Vec::new(),
                });
                Ok(())
            }
        }
    }

    /// A result that its own commit made durable needs no turn to be told.
    fn tell_recorded(&self, message: &Message) {
        if let Sent::Result { step, outcome, .. } = &message.what {
            let ok = outcome.is_ok();
            self.engine.tell(self.facts.run, || Update::StepEnded { step: step.clone(), ok });
        }
    }

    /// The workflow has failed while steps were going on: their results are recorded
    /// before anything is undone.
    async fn settle_steps(mut self) -> Drove {
        while let Some(delivery) = self.ready.pop_front() {
            if let Delivery::Result { step, outcome, .. } = delivery
                && self.record_late(&step, outcome).await.is_err()
            {
                return Drove::StoreAway;
            }
        }
        loop {
            let done = match self.at_once.pop_front() {
                Some(done) => done,
                None => match self.working.join_next().await.map(joined) {
                    Some(Ok(done)) => done,
                    Some(Err(_)) => return Drove::StoreAway,
                    None => return Drove::Undo,
                },
            };
            if let Done::Step(step, Performed::Result { outcome, .. }) = done
                && self.record_late(&step, outcome).await.is_err()
            {
                return Drove::StoreAway;
            }
        }
    }

    /// Records a result that no turn will deliver.
    async fn record_late(&mut self, step: &StepId, outcome: StepOutcome) -> Result<(), CommitError> {
        let message = result_message(self.facts.run, self.generation, step, outcome);
        let mut commit = Commit::default();
        add_message(&mut commit, (&self.engine.world, &self.engine.spill), &self.facts.stream, message);
        // A repeat of this message counts once: it has the step's own id.
        commit_patiently(&self.engine.log, &self.engine.world, commit).await.map(drop)
    }

    pub(crate) fn undoes(&self) -> bool {
        self.undoes
    }

    pub(crate) fn listed(&self) -> Status {
        self.listed
    }
}

impl Writer<'_> {
    /// Nothing but what was put in.
    pub(crate) fn finish(self) -> Commit {
        self.commit
    }
}
