//! A run as its events tell it: the fold that everything else starts from.

mod rewind;
mod snapshot;
mod standing;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use steadfast_core::{CorrelationId, EventId, Failure, Fault, Mutant, NodeId, RunId, Time, planted};
use steadfast_log::{DecodeError, Recorded, StreamId};
use uuid::Uuid;

use crate::{
    Data, StepId, StepOutcome,
    context::RunInfo,
    machine::Delivered,
    record::{
        Ask, Claimed, Delivery, Ended, Message, Outcome, Parked, Priority, SCHEMA, Sent, Started, Status,
        Turn, Undone, decode, kind,
    },
};

/// An intent and when it was written.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) ask: Ask,
    pub(crate) at: Time,
}

/// Where a signal or a cancel stands.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Heard {
    pub(crate) version: u64,
    pub(crate) at: Time,
}

/// A child that goes on although its parent waits for it no more.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Orphan {
    pub(crate) generation: u32,
    pub(crate) step: StepId,
    pub(crate) workflow: String,
    /// The version of the event that left it behind.
    pub(crate) since: u64,
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
    /// The event at the head.
    last: EventId,
    /// A snapshot stands for the events up to this one, if any.
    restored: u64,
    pub(crate) epoch: u32,
    pub(crate) owner: NodeId,
    pub(crate) claimed_at: Time,
    pub(crate) generation: u32,
    /// Of this generation.
    pub(crate) input: Data,
    /// Of this generation, those that still count.
    pub(crate) turns: Vec<(Time, Turn)>,
    /// Of this generation, and those that the ones before it left.
    pub(crate) messages: BTreeMap<u64, Message>,
    pub(crate) consumed: HashSet<u64>,
    /// Results of this generation, by message: repeats count once.
    pub(crate) seen: HashSet<Uuid>,
    /// Signals and cancels, of all generations: whoever sends one looks here first, and
    /// writes it exactly behind what was read, so that none stands in a stream twice.
    pub(crate) heard: HashMap<Uuid, Heard>,
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
    /// The first event that this binary does not understand.
    pub(crate) unknown: Option<Parked>,
    /// Children left behind that have not all been told.
    pub(crate) orphans: BTreeMap<RunId, Orphan>,
}

/// Why an event does not read.
enum Unread {
    /// A newer binary may understand it.
    Unknown(DecodeError),
    /// Nobody can.
    Broken(DecodeError),
}

const UNKNOWN_TYPE: &str = "this binary does not know the type; run a newer one";

fn read<T: DeserializeOwned>(recorded: &Recorded) -> Result<T, Unread> {
    decode(recorded).map_err(|error| {
        let event = &recorded.event;
        let whole = event.schema > SCHEMA || serde_json::from_slice::<IgnoredAny>(&event.body).is_ok();
        if whole { Unread::Unknown(error) } else { Unread::Broken(error) }
    })
}

fn unread(recorded: &Recorded, reason: &str) -> DecodeError {
    DecodeError {
        stream: recorded.stream.to_string(),
        version: recorded.version,
        kind: recorded.event.kind.to_string(),
        schema: recorded.event.schema,
        reason: reason.into(),
    }
}

impl History {
    /// From the first event of a run's stream.
    pub(crate) fn begin(recorded: &Recorded) -> Result<Self, DecodeError> {
        let run = recorded.stream.name().parse();
        let run = run.map_err(|_| unread(recorded, "the stream is not named by a run id"))?;
        let started = match recorded.event.kind.as_ref() {
            kind::STARTED => read(recorded),
            kind::MESSAGE | kind::TURN | kind::CLAIMED | kind::ENDED => {
                Err(Unread::Broken(unread(recorded, "a run begins with run.started")))
            }
            _ => Err(Unread::Unknown(unread(recorded, UNKNOWN_TYPE))),
        };
        match started {
            Ok(started) => Ok(Self::of(run, recorded, started)),
            Err(Unread::Broken(error)) => Err(error),
            Err(Unread::Unknown(error)) => {
                let started = serde_json::from_slice(&recorded.event.body);
                let mut history = Self::of(run, recorded, started.unwrap_or_else(|_| unreadable()));
                history.meet_unknown(&error);
                Ok(history)
            }
        }
    }

    fn of(run: RunId, recorded: &Recorded, started: Started) -> Self {
        Self {
            updated_at: recorded.event.time,
            head: recorded.version,
            last: recorded.event.id,
            restored: 0,
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
            heard: HashMap::new(),
            intents: Vec::new(),
            known: HashMap::new(),
            rewound: false,
            finished: HashSet::new(),
            undone: HashMap::new(),
            outcome: None,
            ended: None,
            parked: None,
            unknown: None,
            orphans: BTreeMap::new(),
        }
    }

    /// Applies the next event. One that this binary does not understand is remembered and
    /// parks the run; only bytes that nobody can read are an error.
    pub(crate) fn apply(&mut self, recorded: &Recorded) -> Result<(), DecodeError> {
        self.head = recorded.version;
        self.last = recorded.event.id;
        self.updated_at = recorded.event.time;
        match self.fold(recorded) {
            Ok(()) => Ok(()),
            Err(Unread::Unknown(error)) => {
                self.meet_unknown(&error);
                Ok(())
            }
            Err(Unread::Broken(error)) => Err(error),
        }
    }

    /// Whatever it says may undo an end that was recorded before it.
    fn meet_unknown(&mut self, error: &DecodeError) {
        self.ended = None;
        self.outcome = None;
        self.unknown.get_or_insert_with(|| Parked {
            code: "run.unknown_event".into(),
            message: error.to_string(),
            turn: u32::try_from(self.turns.len()).unwrap_or(u32::MAX),
        });
    }

    fn fold(&mut self, recorded: &Recorded) -> Result<(), Unread> {
        if recorded.event.schema > SCHEMA {
            let reason = format!("this binary knows schema {SCHEMA} at most; run a newer one");
            return Err(Unread::Unknown(unread(recorded, &reason)));
        }
        match recorded.event.kind.as_ref() {
            kind::TURN => self.apply_turn(recorded.event.time, read(recorded)?),
            kind::MESSAGE => {
                let at = Heard { version: recorded.version, at: recorded.event.time };
                self.apply_message(at, read(recorded)?);
            }
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
            kind::ENDED => {
                let ended: Ended = read(recorded)?;
                if ended.status == Status::Killed {
                    self.leave_children();
                }
                self.ended = Some(ended);
            }
            kind::PARKED => self.parked = Some(read(recorded)?),
            kind::REPLAYED => self.apply_replayed(&read(recorded)?),
            kind::NOTED => self.parked = None,
            kind::TOLD => self.orphans.clear(),
            _ => return Err(Unread::Unknown(unread(recorded, UNKNOWN_TYPE))),
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
        let (outcome, left) = (turn.outcome.clone(), turn.left.clone());
        self.turns.push((at, turn));
        if outcome.is_some() {
            self.leave_children();
        }
        match outcome {
            Some(Outcome::Continued(input)) => self.next_generation(input, &left),
            outcome => self.outcome = outcome,
        }
    }

    /// Nobody waits any more for the children whose result no turn has delivered.
    fn leave_children(&mut self) {
        for (step, workflow, run) in self.open_children() {
            let orphan = Orphan { generation: self.generation, step, workflow, since: self.head };
            self.orphans.insert(run, orphan);
        }
    }

    fn apply_message(&mut self, at: Heard, message: Message) {
        match &message.what {
            Sent::Signal { .. } | Sent::Cancel { .. } => drop(self.heard.insert(message.id, at)),
            Sent::Result { .. } if !self.seen.insert(message.id) && !planted(Mutant::MessageTwice) => return,
            Sent::Result { generation, step, .. } if *generation == self.generation => {
                self.finished.insert(step.clone());
            }
            Sent::Result { .. } => {}
        }
        self.messages.insert(at.version, message);
    }
}

/// Stands in for a first event that this binary cannot read.
pub(crate) fn unreadable() -> Started {
    Started {
        workflow: "unreadable".into(),
        version: 0,
        input: Data::null(),
        principal: "system".into(),
        labels: BTreeMap::new(),
        owner: NodeId::from_bytes([0; 16]),
        deadline: None,
        priority: Priority::Normal,
        parent: None,
        claim: None,
    }
}

/// What a message brings to a generation of a run.
pub(crate) fn message_delivers(version: u64, message: &Message, of: u32) -> Delivered {
    match &message.what {
        Sent::Signal { name, value } => Delivered::Signal(version, name.clone(), value.clone()),
        Sent::Cancel { reason } => Delivered::Cancel(Some(version), cancelled(reason)),
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

#[cfg(test)]
mod tests;
