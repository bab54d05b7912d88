//! Drives one run: gathers what arrived, lets the machine take a turn, writes it, and
//! only then does what the turn asked for.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use steadfast_core::{Coded, Failure, RunId, Time, defaults};
use steadfast_log::{Commit, CommitError, Expect, Recorded};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    Data, StepId, StepOutcome, Update,
    action::result_message,
    context::Halt,
    engine::Inner,
    execute::{Performed, perform, task},
    history::{Facts, History, deadline_exceeded, final_status, message_delivers},
    machine::{Delivered, Machine},
    record::{Ask, Claimed, Delivery, Message, Outcome, Parked, Sent, Status, Turn, What, kind},
    store::{Writer, commit_patiently, message_append},
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

/// Stops the driver.
enum Stop {
    Lost,
    Ended,
    StoreAway,
}

/// What a finished piece of work was.
enum Done {
    Step(StepId, Performed),
    Child(StepId, Option<Failure>),
}

pub(crate) struct Live {
    engine: Arc<Inner>,
    facts: Arc<Facts>,
    machine: Machine,
    generation: u32,
    epoch: u32,
    head: u64,
    seen: HashSet<Uuid>,
    /// Messages that no turn has delivered.
    pending: VecDeque<(u64, Message)>,
    /// Results and timers that no turn has delivered.
    ready: VecDeque<Delivery>,
    known: HashMap<StepId, StepOutcome>,
    timers: BTreeSet<(Time, StepId)>,
    children: HashMap<StepId, RunId>,
    working: FuturesUnordered<BoxFuture<'static, Done>>,
    undoes: bool,
    /// Steps of this generation whose effect is on our own log.
    on_log: Vec<StepId>,
    deadline: Option<Time>,
    /// The status in the list and the due time of the wake-up, as last written.
    listed: Status,
    due: Time,
    first: bool,
}

impl Live {
    /// A run about to be accepted: nothing of it is written yet.
    pub(crate) fn new(engine: Arc<Inner>, facts: Arc<Facts>, machine: Machine, now: Time) -> Self {
        let deadline = facts.started.deadline;
        Self {
            engine,
            facts,
            machine,
            generation: 1,
            epoch: 1,
            head: 0,
            seen: HashSet::new(),
            pending: VecDeque::new(),
            ready: VecDeque::new(),
            known: HashMap::new(),
            timers: BTreeSet::new(),
            children: HashMap::new(),
            working: FuturesUnordered::new(),
            undoes: false,
            on_log: Vec::new(),
            deadline,
            listed: Status::Running,
            due: now,
            first: true,
        }
    }

    /// A run taken up from its record: its machine has repeated all its turns.
    pub(crate) fn resume(engine: Arc<Inner>, history: &History, machine: Machine) -> Self {
        let mut live = Self::new(engine, history.facts.clone(), machine, Time::NEVER);
        live.generation = history.generation;
        live.epoch = history.epoch;
        live.head = history.head;
        live.seen.clone_from(&history.seen);
        live.pending = history.pending().map(|(version, message)| (version, message.clone())).collect();
        live.known.clone_from(&history.known);
        live.undoes = history.intents.iter().any(|intent| intent.ask.undo.is_some());
        live.on_log = history.on_log();
        live.first = history.turns.is_empty();
        live.listed = Status::Parked; // Unknown: the next turn writes it.
        if history.turns.iter().any(|(_, turn)| turn.delivered.contains(&Delivery::Deadline)) {
            live.deadline = None;
        }
        let asks: Vec<Ask> = history.outstanding().into_iter().map(|intent| intent.ask).collect();
        live.begin(&asks);
        live
    }

    pub(crate) fn facts(&self) -> &Arc<Facts> {
        &self.facts
    }

    /// Until nothing is left to do here and now.
    pub(crate) async fn drive(mut self, mut inbox: mpsc::UnboundedReceiver<Input>) -> Drove {
        loop {
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
                Err(Stop::StoreAway) => return Drove::StoreAway,
            }
            match self.wait(&mut inbox).await {
                Ok(true) => {}
                Ok(false) => {
                    if self.engine.evict(self.facts.run, &mut inbox) {
                        return Drove::Evicted(self.due);
                    }
                }
                Err(Stop::StoreAway) => return Drove::StoreAway,
                Err(_) => return Drove::Over,
            }
        }
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

    /// What this turn delivers, in the order that will be recorded.
    fn gather(&mut self, now: Time) -> Vec<Delivery> {
        if self.first {
            return Vec::new();
        }
        while let Some((due, step)) = self.timers.first().cloned() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            self.ready.push_back(Delivery::Timer(step));
        }
        let mut delivered: Vec<Delivery> = self.ready.drain(..).collect();
        let messages = self.pending.iter().take(defaults::MESSAGES_PER_TURN);
        delivered.extend(messages.map(|(version, _)| Delivery::Message(*version)));
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            self.deadline = None;
            delivered.push(Delivery::Deadline);
        }
        delivered
    }

    async fn turn(&mut self, now: Time, delivered: Vec<Delivery>) -> Result<Option<Outcome>, Stop> {
        let turn = match self.decide(now, delivered) {
            Ok(turn) => turn,
            Err(parked) => return Err(self.park(parked).await),
        };
        let commit = self.turn_commit(&turn);
        self.write(commit).await?;
        Ok(self.after(turn))
    }

    /// Lets the machine take the turn. Also used for the first turn, before acceptance.
    pub(crate) fn decide(&mut self, now: Time, delivered: Vec<Delivery>) -> Result<Turn, Parked> {
        self.first = false;
        let items: Vec<Delivered> = delivered.iter().map(|delivery| self.bring(delivery)).collect();
        let number = self.machine.next_turn();
        let mut turn = Turn { turn: number, epoch: self.epoch, delivered, ..Turn::default() };
        match self.machine.advance(now, items) {
            Ok(advance) => {
                turn.asked = advance.asked;
                turn.patches = advance.patches;
                turn.outcome = advance.outcome;
                for value in advance.progress {
                    self.engine.tell(self.facts.run, || Update::Progress(value));
                }
            }
            Err(Halt::Fail(failure)) => turn.outcome = Some(Outcome::Failed(failure)),
            Err(Halt::Park(parked)) => return Err(parked),
        }
        Ok(turn)
    }

    fn bring(&mut self, delivery: &Delivery) -> Delivered {
        match delivery {
            Delivery::Result { step, outcome, .. } => Delivered::Result(step.clone(), outcome.clone()),
            Delivery::Timer(step) => Delivered::Timer(step.clone()),
            Delivery::Deadline => Delivered::Cancel(deadline_exceeded()),
            Delivery::Message(version) => {
                let Some(place) = self.pending.iter().position(|(at, _)| at == version) else {
                    return Delivered::Nothing;
                };
                let message = self.pending.remove(place).map(|(_, message)| message);
                if let Some(Message { what: Sent::Result { step, .. }, .. }) = &message {
                    self.children.remove(step);
                }
                message.map_or(Delivered::Nothing, |message| message_delivers(&message, self.generation))
            }
        }
    }

    /// The commit that makes a turn durable, with all that must change with it.
    pub(crate) fn turn_commit(&mut self, turn: &Turn) -> Commit {
        let engine = self.engine.clone();
        self.undoes |= turn.asked.iter().any(|ask| ask.undo.is_some());
        self.on_log.extend(turn.asked.iter().filter(|ask| ask.on_log()).map(|ask| ask.step.clone()));
        let status = self.status_after(turn);
        let due = self.due_after(turn, status);
        let mut writer = engine.writer(&self.facts);
        writer.record(kind::TURN, turn);
        writer.expect(Expect::Exact(self.head));
        if status.ended() {
            let outcome = match &turn.outcome {
                Some(Outcome::Failed(failure) | Outcome::Cancelled(failure)) => Err(failure.clone()),
                Some(Outcome::Completed(value)) => Ok(value.clone()),
                _ => Ok(Data::null()),
            };
            engine.end(&mut writer, &self.facts, self.generation, status, &outcome);
            engine.settle_effects(&mut writer, &self.facts, self.generation, status, &self.on_log);
            for child in self.children.values().take(20) {
                let (append, wake_up) = engine.cancel_child(&self.facts, *child);
                writer.commit.appends.push(append);
                writer.commit.wake_ups.push(wake_up);
            }
        } else {
            if status != self.listed {
                writer.status(status);
            }
            if due != self.due {
                writer.wake(due, engine.node);
            }
        }
        self.listed = status;
        self.due = due;
        writer.commit
    }

    fn status_after(&self, turn: &Turn) -> Status {
        match &turn.outcome {
            Some(Outcome::Continued(_)) => Status::Running,
            Some(outcome @ (Outcome::Failed(_) | Outcome::Cancelled(_))) if !self.undoes => {
                final_status(outcome)
            }
            Some(Outcome::Failed(_) | Outcome::Cancelled(_)) => Status::Compensating,
            Some(outcome) => final_status(outcome),
            None => {
                let acts = turn.asked.iter().any(|ask| matches!(ask.what, What::Action { .. }));
                if acts || !self.working.is_empty() { Status::Running } else { Status::Waiting }
            }
        }
    }

    /// A run that does something has a wake-up that is due, so that a crash is noticed;
    /// one that waits has the time it waits for.
    fn due_after(&self, turn: &Turn, status: Status) -> Time {
        if status != Status::Waiting {
            let now = self.engine.world.now();
            return if self.due <= now { self.due } else { now };
        }
        let asked = turn.asked.iter().filter_map(|ask| match ask.what {
            What::Timer(due) => Some(due),
            _ => None,
        });
        let timers = self.timers.iter().map(|(due, _)| *due).chain(asked).chain(self.deadline);
        timers.min().unwrap_or(Time::NEVER)
    }

    /// The turn is durable: now its effects may leave.
    fn after(&mut self, turn: Turn) -> Option<Outcome> {
        for delivery in &turn.delivered {
            if let Delivery::Result { step, outcome, .. } = delivery {
                let ok = outcome.is_ok();
                self.engine.tell(self.facts.run, || Update::StepEnded { step: step.clone(), ok });
            }
        }
        match turn.outcome {
            None => {
                self.begin(&turn.asked);
                None
            }
            Some(Outcome::Continued(input)) => {
                self.continue_as_new(input);
                None
            }
            Some(outcome) => {
                for child in self.children.values().skip(20) {
                    self.engine.cancel_later(&self.facts, *child);
                }
                for child in self.children.values().take(20) {
                    self.engine.refresh(&self.facts.stream.tenant(), *child);
                }
                if !self.undoes || matches!(outcome, Outcome::Completed(_)) {
                    self.engine.ended(&self.facts, final_status(&outcome), outcome_result(&outcome));
                }
                Some(outcome)
            }
        }
    }

    fn continue_as_new(&mut self, input: Data) {
        self.generation += 1;
        self.first = true;
        self.undoes = false;
        self.on_log.clear();
        self.timers.clear();
        self.ready.clear();
        self.known.clear();
        self.children.clear();
        self.working = FuturesUnordered::new();
        self.pending.retain(|(_, message)| !matches!(message.what, Sent::Result { .. }));
        let info = self.facts.info(self.generation);
        if let Some(workflow) = self.engine.workflow(&self.facts.started) {
            self.machine = Machine::new(workflow, self.engine.registry.clone(), info, input);
        }
    }

    /// Starts what was asked for.
    pub(crate) fn begin(&mut self, asked: &[Ask]) {
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
                    self.working.push(async move { Done::Step(step, perform(engine, task).await) }.boxed());
                }
                What::Child { run, workflow, input } => {
                    self.children.insert(step.clone(), *run);
                    let child = self.engine.clone().start_child(
                        self.facts.clone(),
                        self.generation,
                        step.clone(),
                        *run,
                        workflow.clone(),
                        input.clone(),
                    );
                    let step = step.clone();
                    self.working.push(async move { Done::Child(step, child.await) }.boxed());
                }
            }
        }
    }

    /// Waits for the next thing to deliver. `false`: nothing came for a while, and nothing
    /// is going on.
    async fn wait(&mut self, inbox: &mut mpsc::UnboundedReceiver<Input>) -> Result<bool, Stop> {
        let now = self.engine.world.now();
        let next = self.timers.first().map(|(due, _)| *due).into_iter().chain(self.deadline).min();
        let warm = self.engine.config.keep_warm.get();
        let timer = next.map(|due| due.since(now));
        let idle = self.working.is_empty();
        let pause = match timer {
            Some(timer) if !idle || timer <= warm => timer,
            _ if idle => warm,
            _ => std::time::Duration::from_hours(1),
        };
        let sleep = self.engine.world.clock().sleep(pause);
        let mut stopping = self.engine.stopping.subscribe();
        let stopped = async { drop(stopping.wait_for(|stopping| *stopping).await) };
        tokio::select! {
            biased;
            Some(done) = self.working.next(), if !idle => self.finish(done).await?,
            Some(input) = inbox.recv() => self.take(input).await?,
            () = stopped, if idle => return Ok(false),
            () = sleep => return Ok(!idle || timer.is_some_and(|timer| timer <= warm)),
        }
        // Whatever else is there already shares the turn.
        while let Some(Some(done)) = self.working.next().now_or_never() {
            self.finish(done).await?;
        }
        while let Ok(input) = inbox.try_recv() {
            self.take(input).await?;
        }
        Ok(true)
    }

    async fn finish(&mut self, done: Done) -> Result<(), Stop> {
        match done {
            Done::Step(step, Performed::Result { outcome, failed_attempts }) => {
                self.ready.push_back(Delivery::Result { step, outcome, failed_attempts });
                Ok(())
            }
            Done::Step(_, Performed::Recorded(recording)) => match (recording.version, recording.message) {
                (Some(version), Some(message)) => self.take(Input::Message(version, message)).await,
                _ => self.refresh(None).await.map(drop),
            },
            Done::Child(_, None) => Ok(()),
            Done::Child(step, Some(failure)) => {
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

    async fn take(&mut self, input: Input) -> Result<(), Stop> {
        match input {
            Input::Message(version, message) if version == self.head + 1 => {
                self.head = version;
                if self.seen.insert(message.id) {
                    self.pending.push_back((version, message));
                }
                Ok(())
            }
            Input::Message(version, _) if version <= self.head => Ok(()),
            Input::Message(..) | Input::Refresh => self.refresh(None).await.map(drop),
        }
    }

    /// Reads what others appended. `true`: the event `own` is among it.
    async fn refresh(&mut self, own: Option<steadfast_core::EventId>) -> Result<bool, Stop> {
        let mut found = false;
        loop {
            let page = self.engine.log.read_stream(&self.facts.stream, self.head + 1, 200).await;
            let page = page.map_err(|_| Stop::StoreAway)?;
            let Some(last) = page.last() else {
                return Ok(found);
            };
            let head = last.version;
            for recorded in &page {
                if Some(recorded.event.id) == own {
                    found = true;
                    continue;
                }
                self.read_one(recorded)?;
            }
            self.head = head;
        }
    }

    fn read_one(&mut self, recorded: &Recorded) -> Result<(), Stop> {
        let body = &recorded.event.body;
        match recorded.event.kind.as_ref() {
            kind::MESSAGE => {
                if let Ok(message) = serde_json::from_slice::<Message>(body)
                    && self.seen.insert(message.id)
                {
                    self.pending.push_back((recorded.version, message));
                }
                Ok(())
            }
            kind::CLAIMED => {
                let newer =
                    serde_json::from_slice::<Claimed>(body).is_ok_and(|claimed| claimed.epoch > self.epoch);
                if newer { Err(Stop::Lost) } else { Ok(()) }
            }
            kind::ENDED => Err(Stop::Ended),
            // Anything else is a turn or an end that is not ours: the run has another owner.
            _ => Err(Stop::Lost),
        }
    }

    /// Writes a turn. Where only messages came in between, the turn stands as decided and
    /// goes after them: it says which messages it delivered, and those are not among them.
    async fn write(&mut self, mut commit: Commit) -> Result<(), Stop> {
        let own = commit.appends.first().and_then(|append| append.events.first()).map(|event| event.id);
        let events = commit.appends.first().map_or(0, |append| append.events.len() as u64);
        loop {
            match commit_patiently(&self.engine.log, &self.engine.world, commit.clone()).await {
                Ok(committed) => {
                    self.head = committed.versions.first().copied().unwrap_or(self.head + events);
                    return Ok(());
                }
                Err(CommitError::Conflict { .. }) => {
                    if self.refresh(own).await? {
                        return Ok(());
                    }
                    if let Some(append) = commit.appends.first_mut() {
                        append.expect = Expect::Exact(self.head);
                    }
                }
                Err(error) => {
                    tracing::error!(run_id = %self.facts.run, code = error.code(), "a turn could not be written");
                    return Err(Stop::StoreAway);
                }
            }
        }
    }

    async fn park(&mut self, parked: Parked) -> Stop {
        let commit = self.engine.park_commit(&self.facts, self.head, &parked);
        match self.write(commit).await {
            Ok(()) => Stop::Ended,
            Err(stop) => stop,
        }
    }

    /// The workflow has failed while steps were going on: their results are recorded
    /// before anything is undone.
    async fn settle_steps(mut self) -> Drove {
        while let Some(done) = self.working.next().await {
            let Done::Step(step, Performed::Result { outcome, .. }) = done else {
                continue;
            };
            let message = result_message(self.facts.run, self.generation, &step, outcome);
            let append = message_append(&self.engine.world, &self.facts.stream, &message);
            let commit = Commit { appends: vec![append], ..Commit::default() };
            // A repeat of this message counts once: it has the step's own id.
            if commit_patiently(&self.engine.log, &self.engine.world, commit).await.is_err() {
                return Drove::StoreAway;
            }
        }
        Drove::Undo
    }

    /// The run is accepted: its first events are durable, up to this version.
    pub(crate) fn accepted(&mut self, head: u64, turn: Option<Turn>) -> Option<Outcome> {
        self.head = head;
        self.after(turn?)
    }

    pub(crate) fn undoes(&self) -> bool {
        self.undoes
    }

    pub(crate) fn listed(&self) -> Status {
        self.listed
    }
}

fn outcome_result(outcome: &Outcome) -> StepOutcome {
    match outcome {
        Outcome::Completed(value) | Outcome::Continued(value) => Ok(value.clone()),
        Outcome::Failed(failure) | Outcome::Cancelled(failure) => Err(failure.clone()),
    }
}

impl Writer<'_> {
    /// Nothing but what was put in.
    pub(crate) fn finish(self) -> Commit {
        self.commit
    }
}
