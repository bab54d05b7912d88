//! What stands on the log about a run. Bodies are JSON, schema 1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use steadfast_core::{Failure, NodeId, RunId, Time};
use steadfast_log::{ClaimKey, DecodeError, Recorded, Upcasters};
use uuid::Uuid;

use crate::{Data, DeadLetter, OutsideStep, StepId, StepOutcome};

/// The category of runs' streams.
pub const RUN: &str = "run";
/// The shape of all bodies below.
pub const SCHEMA: u16 = 1;

steadfast_log::event_types! {
    schema SCHEMA;
    /// [`super::Started`]
    STARTED = "run.started": Started;
    /// [`super::Turn`]
    TURN = "run.turn": Turn;
    /// [`super::Message`]
    MESSAGE = "run.message": Message;
    /// [`super::Claimed`]
    CLAIMED = "run.claimed": Claimed;
    /// [`super::Undone`]
    UNDONE = "run.undone": Undone;
    /// [`super::Ended`]
    ENDED = "run.ended": Ended;
    /// [`super::Parked`]
    PARKED = "run.parked": Parked;
    /// [`super::Replayed`]
    REPLAYED = "run.replayed": Replayed;
    /// [`super::Noted`]
    NOTED = "run.noted": Noted;
    /// All children that the run left behind have been told.
    TOLD = "run.told": Told;
    /// [`crate::OutsideStep`], in a stream of its own beside the run's.
    OUTSIDE = "run.outside_step": OutsideStep;
    /// [`crate::DeadLetter`]
    LETTER_RECORDED = "dead_letter.recorded": DeadLetter;
    /// [`super::LetterClosed`]: it was replayed.
    LETTER_REPLAYED = "dead_letter.replayed": LetterClosed;
    /// [`super::LetterClosed`]: its time is over.
    LETTER_EXPIRED = "dead_letter.expired": LetterClosed;
}

/// There is one shape so far: nothing to upcast.
pub(crate) fn decode<T: DeserializeOwned>(recorded: &Recorded) -> Result<T, DecodeError> {
    Upcasters::default().decode(recorded, SCHEMA)
}

/// How urgently a run is advanced when there is more to do than can be done at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    Critical,
    /// Before normal ones.
    High,
    /// The rest.
    #[default]
    Normal,
    /// When nothing else waits.
    Low,
}

impl Priority {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// The step of the run that waits for a child.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// The waiting run.
    pub run: RunId,
    /// Its generation.
    pub generation: u32,
    /// Its step.
    pub step: StepId,
}

/// A run was accepted. Its first claim: epoch 1 belongs to `owner`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// Which workflow.
    pub workflow: String,
    /// The version it is pinned to.
    pub version: u32,
    /// With what.
    pub input: Data,
    /// On whose behalf.
    pub principal: String,
    /// What the caller attached to find it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The node that accepted it.
    pub owner: NodeId,
    /// When it is given up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// How urgent it is.
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    pub priority: Priority,
    /// Who waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// The claim whose window starts when the run ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claim: Option<ClaimKey>,
}

/// One advance of a run: what was delivered, what is asked for now, and how it ended.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Turn {
    /// Its place among the turns of its generation, from 0.
    #[serde(rename = "t")]
    pub turn: u32,
    /// The owner's epoch.
    #[serde(rename = "e")]
    pub epoch: u32,
    /// In the order of delivery.
    #[serde(rename = "d", default, skip_serializing_if = "Vec::is_empty")]
    pub delivered: Vec<Delivery>,
    /// The intents: nothing of them happens before this event is durable.
    #[serde(rename = "a", default, skip_serializing_if = "Vec::is_empty")]
    pub asked: Vec<Ask>,
    /// Names for which `patched` answered yes for the first time.
    #[serde(rename = "p", default, skip_serializing_if = "Vec::is_empty")]
    pub patches: Vec<String>,
    /// How the workflow ended, if it did.
    #[serde(rename = "o", default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Where it goes on as its next generation: messages that were delivered and never
    /// taken. They are delivered to that one.
    #[serde(rename = "l", default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<u64>,
    /// Told once the turn is durable; not kept.
    #[serde(skip)]
    pub(crate) progress: Vec<Data>,
}

/// Something that reached the workflow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Delivery {
    /// The result of a step done by its owner, recorded here and nowhere else.
    #[serde(rename = "r")]
    Result {
        /// Which step.
        #[serde(rename = "s")]
        step: StepId,
        /// Its result, or why it gave up.
        #[serde(rename = "o")]
        outcome: StepOutcome,
        /// Failed attempts before it, by code.
        #[serde(rename = "f", default, skip_serializing_if = "Vec::is_empty")]
        failed_attempts: Vec<String>,
    },
    /// The message at this version of the run's stream.
    #[serde(rename = "m")]
    Message(u64),
    /// A timer of this step became due.
    #[serde(rename = "w")]
    Timer(StepId),
    /// The run's own deadline passed.
    #[serde(rename = "x")]
    Deadline,
}

/// A step asked for: an intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ask {
    /// Its name.
    #[serde(rename = "s")]
    pub step: StepId,
    /// What it is.
    #[serde(rename = "w")]
    pub what: What,
    /// What undoes it, should the run fail.
    #[serde(rename = "u", default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
}

impl Ask {
    /// Is its effect a commit on our own log?
    pub(crate) fn on_log(&self) -> bool {
        matches!(self.what, What::Action { on_log: true, .. })
    }
}

/// The kinds of steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum What {
    /// An operation with effects.
    #[serde(rename = "a")]
    Action {
        /// Which.
        #[serde(rename = "n")]
        action: String,
        /// With what.
        #[serde(rename = "i")]
        input: Data,
        /// How long all its attempts may take, in milliseconds from this turn or the last claim.
        #[serde(rename = "ms")]
        within_ms: u64,
        /// Its effect is a commit on our own log.
        #[serde(rename = "l", default, skip_serializing_if = "std::ops::Not::not")]
        on_log: bool,
    },
    /// A pause.
    #[serde(rename = "t")]
    Timer(Time),
    /// A wait for a signal of this name.
    #[serde(rename = "g")]
    Signal(String),
    /// Another run.
    #[serde(rename = "c")]
    Child {
        /// Its id, a pure function of this step's key.
        #[serde(rename = "r")]
        run: RunId,
        /// Its workflow.
        #[serde(rename = "n")]
        workflow: String,
        /// With what.
        #[serde(rename = "i")]
        input: Data,
    },
}

/// A compensation: a registered action and its input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undo {
    /// Which action.
    #[serde(rename = "n")]
    pub action: String,
    /// With what.
    #[serde(rename = "i")]
    pub input: Data,
}

/// How a workflow ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// With this result.
    #[serde(rename = "completed")]
    Completed(Data),
    /// With this failure.
    #[serde(rename = "failed")]
    Failed(Failure),
    /// Because it was cancelled.
    #[serde(rename = "cancelled")]
    Cancelled(Failure),
    /// It goes on as its next generation, with this input and nothing recorded.
    #[serde(rename = "continued")]
    Continued(Data),
}

/// What reached a run from outside. Appended by anyone; repeats of an id count once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// Given by the sender.
    pub id: Uuid,
    /// Who sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What it is.
    pub what: Sent,
}

impl Message {
    /// Is it the result of this step?
    pub(crate) fn is_result_of(&self, of: u32, wanted: &StepId) -> bool {
        matches!(&self.what, Sent::Result { generation, step, .. } if *generation == of && step == wanted)
    }
}

/// The kinds of messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sent {
    /// A named value.
    Signal {
        /// Its name.
        name: String,
        /// Its value.
        value: Data,
    },
    /// End as soon as you can, and undo what was done.
    Cancel {
        /// Why.
        reason: String,
    },
    /// The result of a step that was recorded by whoever did it: an effect on our log, a
    /// child, a worker elsewhere, or a step that outlived its workflow.
    Result {
        /// Of which generation.
        generation: u32,
        /// Of which step.
        step: StepId,
        /// Its result, or why it gave up.
        outcome: StepOutcome,
    },
}

/// Another node took the run over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claimed {
    /// One more than before.
    pub epoch: u32,
    /// Who.
    pub owner: NodeId,
}

/// The compensation of a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Undone {
    /// Of which step.
    pub step: StepId,
    /// Why it gave up, if it did; it is a dead letter then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Failed attempts before it, by code.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_attempts: Vec<String>,
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// A step is going on.
    Running,
    /// It waits for time, a signal or a child.
    Waiting,
    /// It failed and is being undone.
    Compensating,
    /// Its code no longer fits its history; it waits for a binary that does.
    Parked,
    /// Ended with a result.
    Completed,
    /// Ended with a refusal that no retry would change.
    Failed,
    /// Ended because somebody said so, and undone.
    Cancelled,
    /// Ended because an operator said so, and not undone.
    Killed,
    /// Gave up; a dead letter tells why and can be replayed.
    Dead,
}

impl Status {
    /// Nothing more will happen by itself.
    pub const fn ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::Killed | Self::Dead)
    }
    /// As in lists and answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Compensating => "compensating",
            Self::Parked => "parked",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Killed => "killed",
            Self::Dead => "dead",
        }
    }
    /// The statuses of runs that have not ended.
    pub const OPEN: [Self; 4] = [Self::Running, Self::Waiting, Self::Compensating, Self::Parked];
}

/// The run ended after its last turn: undone, killed, or given up outside a turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// How.
    pub status: Status,
    /// Why, if the turns do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Who said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// Something reached the run while nothing was to be done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Noted {
    /// The claims of its effects have got their window: it can no longer be replayed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settled: bool,
}

/// The code does not fit the history (promise G8).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    /// `workflow.diverged`, `workflow.foreign_await`, `workflow.unknown_version`, ….
    pub code: String,
    /// The first divergence.
    pub message: String,
    /// In which turn.
    pub turn: u32,
}

/// A dead letter was replayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// Who asked.
    pub by: String,
    /// The same generation goes on at the failed step; the next one begins anew.
    pub generation: u32,
}

/// The children that the run left behind have been told.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {}

/// A dead letter is no longer open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LetterClosed {
    /// Who closed it.
    pub by: String,
}
