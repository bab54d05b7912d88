use steadfast_core::RunId;

use crate::{Data, Status, StepId, StepOutcome};

/// What a running run tells those who watch. Not durable: a watcher that comes late reads
/// the run's events.
#[derive(Debug, Clone)]
pub enum Update {
    /// An attempt at a step begins.
    StepStarted {
        /// Which.
        step: StepId,
        /// From 1.
        attempt: u32,
    },
    /// A step's result is on the log.
    StepEnded {
        /// Which.
        step: StepId,
        /// Its result is a success.
        ok: bool,
    },
    /// Another run begins that this one waits for.
    ChildStarted {
        /// The step that waits.
        step: StepId,
        /// The other run.
        run: RunId,
    },
    /// The workflow said so.
    Progress(Data),
    /// The run ended.
    Ended(Settled),
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The run.
    pub run: RunId,
    /// How.
    pub status: Status,
    /// Its result, or why there is none.
    pub outcome: StepOutcome,
}
