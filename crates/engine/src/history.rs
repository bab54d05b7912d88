//! A run as its events tell it: the fold that everything else starts from.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde::de::DeserializeOwned;
use steadfast_core::{CorrelationId, Failure, Fault, NodeId, RunId, Time};
use steadfast_log::{DecodeError, Recorded, StreamId, Upcasters};
use uuid::Uuid;

use crate::{
    Data, StepId, StepOutcome,
    context::RunInfo,
    machine::Delivered,
    record::{
        Ask, Claimed, Delivery, Ended, Message, Outcome, Parked, Replayed, SCHEMA, Sent, Started, Status,
        Turn, Undone, What, kind,
    },
};

/// An intent and when it was written.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) ask: Ask,
    pub(crate) at: Time,
}

/// What never changes about a run.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    pub(crate) run: RunId,
    pub(crate) stream: StreamId,
    pub(crate) correlation: Option<CorrelationId>,
    pub(crate) started: Started,
    pub(crate) started_at: Time,
}

impl Facts {
    /// What the code may know of the run.
    pub(crate) fn info(&self, generation: u32) -> RunInfo {
        RunInfo {
            run: self.run,
            tenant: self.stream.tenant(),
            principal: self.started.principal.clone(),
            generation,
            labels: self.started.labels.clone(),
        }
    }
}

/// The state of a run.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(crate) facts: Arc<Facts>,
    pub(crate) updated_at: Time,
    pub(crate) head: u64,
    pub(crate) epoch: u32,
    pub(crate) owner: NodeId,
    pub(crate) claimed_at: Time,
    pub(crate) generation: u32,
    /// Of this generation.
    pub(crate) input: Data,
    /// Of this generation, those that still count.
    pub(crate) turns: Vec<(Time, Turn)>,
    pub(crate) messages: BTreeMap<u64, Message>,
    pub(crate) consumed: HashSet<u64>,
    pub(crate) seen: HashSet<Uuid>,
    /// Everything ever asked for in this generation, oldest first.
    pub(crate) intents: Vec<Intent>,
    /// Results that are recorded but not delivered by a turn that counts.
    pub(crate) known: HashMap<StepId, StepOutcome>,
    /// Turns were taken back: a step may have been asked for twice.
    pub(crate) rewound: bool,
    /// Steps with a recorded result of any kind.
    pub(crate) finished: HashSet<StepId>,
    pub(crate) undone: HashMap<StepId, Option<Failure>>,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) ended: Option<Ended>,
    pub(crate) parked: Option<Parked>,
}

fn read<T: DeserializeOwned>(recorded: &Recorded) -> Result<T, DecodeError> {
    Upcasters::default().decode(recorded, SCHEMA)
}

impl History {
    /// From the first event of a run's stream.
    pub(crate) fn begin(recorded: &Recorded) -> Result<Self, DecodeError> {
        let broken = |reason: &str| DecodeError {
            stream: recorded.stream.to_string(),
            version: recorded.version,
            kind: recorded.event.kind.to_string(),
            schema: recorded.event.schema,
            reason: reason.into(),
        };
        if recorded.event.kind != kind::STARTED {
            return Err(broken("a run begins with run.started"));
        }
        let run =
            recorded.stream.name().parse().map_err(|_| broken("the stream is not named by a run id"))?;
        let started: Started = read(recorded)?;
        Ok(Self {
            updated_at: recorded.event.time,
            head: recorded.version,
            epoch: 1,
            owner: started.owner,
            claimed_at: recorded.event.time,
            generation: 1,
            input: started.input.clone(),
            facts: Arc::new(Facts {
                run,
                stream: recorded.stream.clone(),
                correlation: recorded.event.correlation,
                started,
                started_at: recorded.event.time,
            }),
            turns: Vec::new(),
            messages: BTreeMap::new(),
            consumed: HashSet::new(),
            seen: HashSet::new(),
            intents: Vec::new(),
            known: HashMap::new(),
            rewound: false,
            finished: HashSet::new(),
            undone: HashMap::new(),
            outcome: None,
            ended: None,
            parked: None,
        })
    }

    /// Applies the next event. Types that this binary does not know are an error.
    pub(crate) fn apply(&mut self, recorded: &Recorded) -> Result<(), DecodeError> {
        self.head = recorded.version;
        self.updated_at = recorded.event.time;
        match recorded.event.kind.as_ref() {
            kind::TURN => self.apply_turn(recorded.event.time, read(recorded)?),
            kind::MESSAGE => self.apply_message(recorded.version, read(recorded)?),
            kind::CLAIMED => {
                let claimed: Claimed = read(recorded)?;
                self.epoch = claimed.epoch;
                self.owner = claimed.owner;
                self.claimed_at = recorded.event.time;
                self.parked = None;
            }
            kind::UNDONE => {
                let undone: Undone = read(recorded)?;
                self.undone.insert(undone.step, undone.failure);
            }
            kind::ENDED => self.ended = Some(read(recorded)?),
            kind::PARKED => self.parked = Some(read(recorded)?),
            kind::REPLAYED => {
                let replayed: Replayed = read(recorded)?;
                self.apply_replayed(&replayed);
            }
            kind::NOTED => {}
            other => {
                return Err(DecodeError {
                    stream: recorded.stream.to_string(),
                    version: recorded.version,
                    kind: other.into(),
                    schema: recorded.event.schema,
                    reason: "this binary does not know the type; run a newer one".into(),
                });
            }
        }
        Ok(())
    }

    fn apply_turn(&mut self, at: Time, turn: Turn) {
        self.parked = None;
        for delivery in &turn.delivered {
            match delivery {
                Delivery::Result { step, .. } => {
                    self.finished.insert(step.clone());
                    self.known.remove(step);
                }
                Delivery::Message(version) => {
                    self.consumed.insert(*version);
                    if let Some(Sent::Result { step, .. }) = self.messages.get(version).map(|m| &m.what) {
                        self.known.remove(step);
                    }
                }
                Delivery::Timer(step) => {
                    self.finished.insert(step.clone());
                }
                Delivery::Deadline => {}
            }
        }
        for ask in &turn.asked {
            if self.rewound {
                self.intents.retain(|intent| intent.ask.step != ask.step);
            }
            self.intents.push(Intent { ask: ask.clone(), at });
        }
        match turn.outcome.clone() {
            Some(Outcome::Continued(input)) => self.next_generation(input),
            outcome => {
                self.outcome = outcome;
                self.turns.push((at, turn));
            }
        }
    }

    fn apply_message(&mut self, version: u64, message: Message) {
        if !self.seen.insert(message.id) {
            return;
        }
        if let Sent::Result { generation, step, .. } = &message.what
            && *generation == self.generation
        {
            self.finished.insert(step.clone());
        }
        self.messages.insert(version, message);
    }

    fn next_generation(&mut self, input: Data) {
        self.generation += 1;
        self.input = input;
        self.turns.clear();
        self.intents.clear();
        self.known.clear();
        self.finished.clear();
        self.undone.clear();
        self.outcome = None;
        self.ended = None;
        // Results belong to the generation that asked for them; signals go on.
        let results = self.messages.iter().filter(|(_, m)| matches!(m.what, Sent::Result { .. }));
        self.consumed.extend(results.map(|(version, _)| *version));
    }

    fn apply_replayed(&mut self, replayed: &Replayed) {
        self.ended = None;
        self.parked = None;
        if let Some(step) = &replayed.undo {
            self.undone.remove(step);
            return;
        }
        if replayed.generation > self.generation {
            let input = self.input.clone();
            self.next_generation(input);
            return;
        }
        self.outcome = None;
        self.rewind();
    }

    /// Takes back the turns from the one that delivered the failure on. What they
    /// recorded stays known: a recorded step never runs again (G2).
    fn rewind(&mut self) {
        self.rewound = true;
        let fails = |outcome: &StepOutcome| matches!(outcome, Err(failure) if failure.fault != Fault::Caller);
        let failing = |delivery: &Delivery| match delivery {
            Delivery::Result { outcome, .. } => fails(outcome),
            Delivery::Message(version) => {
                matches!(self.messages.get(version).map(|m| &m.what), Some(Sent::Result { outcome, .. }) if fails(outcome))
            }
            Delivery::Timer(_) => false,
            Delivery::Deadline => true,
        };
        let from = self.turns.iter().rposition(|(_, turn)| turn.delivered.iter().any(failing));
        let from = from.unwrap_or(self.turns.len().saturating_sub(1));
        for (_, turn) in self.turns.split_off(from) {
            for delivery in turn.delivered {
                match delivery {
                    Delivery::Result { step, outcome, .. } if fails(&outcome) => {
                        self.finished.remove(&step);
                    }
                    Delivery::Result { step, outcome, .. } => {
                        self.known.insert(step, outcome);
                    }
                    Delivery::Message(version) => self.take_back(version),
                    Delivery::Timer(step) => {
                        self.finished.remove(&step);
                    }
                    Delivery::Deadline => {}
                }
            }
        }
    }

    fn take_back(&mut self, version: u64) {
        self.consumed.remove(&version);
        let failed = match self.messages.get(&version).map(|m| &m.what) {
            Some(Sent::Result { step, outcome: Err(failure), .. }) if failure.fault != Fault::Caller => {
                step.clone()
            }
            // A cancel that ended the run is not delivered a second time.
            Some(Sent::Cancel { .. }) => {
                self.consumed.insert(version);
                return;
            }
            _ => return,
        };
        self.finished.remove(&failed);
        if let Some(message) = self.messages.remove(&version) {
            self.seen.remove(&message.id);
        }
    }

    /// Steps of the turns that count whose result no turn has delivered, oldest first.
    pub(crate) fn outstanding(&self) -> Vec<Intent> {
        let mut open: Vec<Intent> = Vec::new();
        for (at, turn) in &self.turns {
            for delivery in &turn.delivered {
                let step = match delivery {
                    Delivery::Result { step, .. } | Delivery::Timer(step) => Some(step),
                    Delivery::Message(version) => match self.messages.get(version).map(|m| &m.what) {
                        Some(Sent::Result { step, generation, .. }) if *generation == self.generation => {
                            Some(step)
                        }
                        _ => None,
                    },
                    Delivery::Deadline => None,
                };
                open.retain(|intent| Some(&intent.ask.step) != step);
            }
            open.extend(turn.asked.iter().map(|ask| Intent { ask: ask.clone(), at: *at }));
        }
        open
    }

    /// Messages that no turn has delivered, in recorded order.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (u64, &Message)> {
        self.messages.iter().filter(|(version, _)| !self.consumed.contains(version)).map(|(v, m)| (*v, m))
    }

    /// What a recorded delivery brought.
    pub(crate) fn delivered(&self, delivery: &Delivery) -> Delivered {
        match delivery {
            Delivery::Result { step, outcome, .. } => Delivered::Result(step.clone(), outcome.clone()),
            Delivery::Timer(step) => Delivered::Timer(step.clone()),
            Delivery::Deadline => Delivered::Cancel(deadline_exceeded()),
            Delivery::Message(version) => self
                .messages
                .get(version)
                .map_or(Delivered::Nothing, |m| message_delivers(m, self.generation)),
        }
    }

    /// Steps of this generation whose effect is on our own log.
    pub(crate) fn on_log(&self) -> Vec<StepId> {
        let on_log = self.intents.iter().filter(|intent| intent.ask.on_log());
        on_log.map(|intent| intent.ask.step.clone()).collect()
    }

    /// What is still to be undone, newest intent first.
    pub(crate) fn to_undo(&self) -> Vec<Intent> {
        let open =
            |intent: &&Intent| intent.ask.undo.is_some() && !self.undone.contains_key(&intent.ask.step);
        self.intents.iter().rev().filter(open).cloned().collect()
    }

    /// Where it stands.
    pub(crate) fn status(&self) -> Status {
        if let Some(ended) = &self.ended {
            return ended.status;
        }
        if self.parked.is_some() {
            return Status::Parked;
        }
        match &self.outcome {
            Some(outcome)
                if matches!(outcome, Outcome::Completed(_))
                    || self.intents.iter().all(|i| i.ask.undo.is_none()) =>
            {
                final_status(outcome)
            }
            Some(_) => Status::Compensating,
            None => {
                let acts = |intent: &Intent| matches!(intent.ask.what, What::Action { .. });
                let open = self.outstanding();
                if open.iter().any(acts) || open.is_empty() { Status::Running } else { Status::Waiting }
            }
        }
    }

    /// The result of a run that has ended.
    pub(crate) fn result(&self) -> Option<StepOutcome> {
        let status = self.status();
        if !status.ended() {
            return None;
        }
        let told = self.ended.as_ref().and_then(|ended| ended.failure.clone());
        Some(match (told, &self.outcome) {
            (Some(failure), _) => Err(failure),
            (None, Some(Outcome::Completed(value))) => Ok(value.clone()),
            (None, Some(Outcome::Failed(failure) | Outcome::Cancelled(failure))) => Err(failure.clone()),
            (None, _) => Err(Failure::refused("run.ended", format!("the run ended as {}", status.as_str()))),
        })
    }
}

/// What a message brings to a generation of a run.
pub(crate) fn message_delivers(message: &Message, of: u32) -> Delivered {
    match &message.what {
        Sent::Signal { name, value } => Delivered::Signal(name.clone(), value.clone()),
        Sent::Cancel { reason } => Delivered::Cancel(cancelled(reason)),
        Sent::Result { generation, step, outcome } if *generation == of => {
            Delivered::Result(step.clone(), outcome.clone())
        }
        Sent::Result { .. } => Delivered::Nothing,
    }
}

/// The error that a cancelled run sees.
pub(crate) fn cancelled(reason: &str) -> Failure {
    Failure::refused("run.cancelled", format!("the run was cancelled: {reason}"))
}

/// The error that a run sees when its own deadline passes.
pub(crate) fn deadline_exceeded() -> Failure {
    Failure::internal("run.deadline_exceeded", "the run did not end before its deadline")
}

/// How a run ends whose workflow ended so: a refusal is an answer, everything else gave up.
pub(crate) fn final_status(outcome: &Outcome) -> Status {
    match outcome {
        Outcome::Completed(_) => Status::Completed,
        Outcome::Cancelled(_) => Status::Cancelled,
        Outcome::Failed(failure) if failure.fault == Fault::Caller => Status::Failed,
        Outcome::Failed(_) => Status::Dead,
        Outcome::Continued(_) => Status::Running,
    }
}
