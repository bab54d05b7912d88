//! Replaying the letter of a compensation that gave up.
//!
//! The letter names the action, its input and its key, so the one compensation is performed
//! straight from it, whatever became of the run: another generation, another end. The letter
//! stays open until its success is written. After a crash in between, or a failure, it is
//! there to be replayed again, under the same key.

use std::sync::Arc;

use steadfast_core::{Coded, Failure, defaults};
use steadfast_log::{CommitError, Expect, StreamId};
use tokio::sync::oneshot;

use crate::{
    Data, Status, StepId,
    accept::held,
    control::{changed, expired},
    dead_letter::DeadLetter,
    engine::{Inner, run_stream},
    execute::{Performed, perform, task},
    history::History,
    record::{Undone, kind},
    store::{commit_patiently, load, load_data},
};

/// What a letter asks for.
struct Undoing {
    stream: StreamId,
    generation: u32,
    step: StepId,
    action: String,
    input: Data,
    history: History,
    by: String,
}

impl Inner {
    /// Performs the compensation of a letter once more, and answers what came of it.
    pub(crate) async fn replay_undo(
        self: &Arc<Self>,
        letter: DeadLetter,
        stream: StreamId,
        by: &str,
    ) -> Result<(), Failure> {
        if self.log.identity().held {
            return Err(held());
        }
        let (Some(run), Some(step), Some(action), Some(mut input)) =
            (letter.run, letter.step, letter.action, letter.input)
        else {
            let message = "the dead letter does not name run, step, action and input of its compensation";
            return Err(Failure::internal("dead_letter.unreadable", message));
        };
        let of = run_stream(&stream.tenant(), run);
        let history = load(&*self.log, &of, false).await.map_err(|error| error.failure())?;
        self.refuse_undo(&history, letter.generation).await?;
        load_data(&*self.log, &mut input).await.map_err(|error| error.failure())?;
        let by = by.to_owned();
        let undoing = Undoing { stream, generation: letter.generation, step, action, input, history, by };
        let (answer, undone) = oneshot::channel();
        let engine = self.clone();
        // In a task of its own: a caller that leaves does not leave it half done.
        tokio::spawn(async move {
            // Whoever has left does not need to know.
            let _ = answer.send(engine.undo_by_letter(undoing).await);
        });
        let lost = |_| Failure::internal("node.stopping", "the runtime stopped; the letter is still open");
        undone.await.map_err(lost)?
    }

    /// The step of a run that goes on, or has completed, with it must stand.
    async fn refuse_undo(&self, history: &History, generation: u32) -> Result<(), Failure> {
        if self.effects(&history.facts.stream).await.map_err(|error| error.failure())?.settled {
            return Err(expired());
        }
        if generation < history.generation {
            return Ok(());
        }
        match history.status() {
            Status::Completed => {
                let message = "the run has completed with this step; undo it by hand if it must be undone";
                Err(Failure::refused("dead_letter.cannot_replay", message))
            }
            status if status.ended() => Ok(()),
            _ => Err(Failure::refused(
                "run.not_ended",
                "the run of this compensation is going on; wait for its end",
            )
            .retryable()),
        }
    }

    async fn undo_by_letter(self: &Arc<Self>, undoing: Undoing) -> Result<(), Failure> {
        let Undoing { generation, step, action, input, history, .. } = &undoing;
        let task = task(&history.facts, *generation, step, true, action, input);
        let failed_attempts = match perform(self.clone(), task).await {
            Performed::Result { outcome: Err(failure), .. } => {
                let run = &history.facts.run;
                tracing::warn!(run_id = %run, code = %failure.code, "a compensation failed again; its dead letter stays open");
                return Err(failure);
            }
            Performed::Result { failed_attempts, .. } => failed_attempts,
            Performed::Recorded(_) => Vec::new(),
        };
        let undone = Undone { step: step.clone(), failure: None, failed_attempts };
        for _ in 0..defaults::CONFLICT_ATTEMPTS {
            match self.write_undone(&undoing, &undone).await {
                // Closed meanwhile, by us if the first answer was lost: it is undone all the same.
                Err(CommitError::Conflict { stream, .. }) if stream == undoing.stream => return Ok(()),
                Err(CommitError::Conflict { .. }) => {}
                written => return written.map_err(|error| error.failure()),
            }
        }
        Err(changed())
    }

    /// Closes the letter, and tells the run if it still stands where the letter was written.
    async fn write_undone(&self, undoing: &Undoing, undone: &Undone) -> Result<(), CommitError> {
        let of = &undoing.history.facts;
        let history = load(&*self.log, &of.stream, false).await;
        let history = history.map_err(|error| CommitError::Unavailable(error.to_string()))?;
        let mut writer = self.writer(of);
        if history.generation == undoing.generation {
            writer.event(kind::UNDONE, undone);
            writer.expect(Expect::Exact(history.head));
        }
        self.close_letter(&mut writer.commit, &undoing.stream, kind::LETTER_REPLAYED, &undoing.by);
        commit_patiently(&self.log, &self.world, writer.finish()).await.map(drop)
    }
}
