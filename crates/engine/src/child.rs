//! Child runs: started under an id that is a pure function of the step's key, so that a
//! start that is repeated after a crash finds the first one.

use std::sync::Arc;

use futures::future::BoxFuture;
use steadfast_core::{Coded, Failure, RunId, defaults};
use steadfast_log::{Commit, CommitError, StreamId};

use crate::{
    Data, Status, StepId,
    action::result_message,
    engine::{Inner, run_stream},
    history::Facts,
    record::{Parent, Started},
    store::{LoadError, load},
};

/// A child that a step asks for.
pub(crate) struct Child {
    pub(crate) parent: Arc<Facts>,
    pub(crate) generation: u32,
    pub(crate) step: StepId,
    pub(crate) run: RunId,
    pub(crate) workflow: String,
    pub(crate) input: Data,
}

/// What came of starting a child.
pub(crate) enum Begun {
    /// It goes on, or its result has been sent.
    Yes,
    /// It never will: the step's result.
    No(Failure),
    /// The store did not answer, however often it was asked.
    StoreAway,
}

impl Inner {
    /// Starts a child, or joins the one that is there; tries again while the store is away.
    pub(crate) fn start_child(self: Arc<Self>, child: Child) -> BoxFuture<'static, Begun> {
        Box::pin(async move {
            let mut waits = defaults::STORE_RETRY_WAITS.iter();
            loop {
                match self.try_start(&child).await {
                    Ok(()) => return Begun::Yes,
                    Err(failure) if !failure.retryable => return Begun::No(failure),
                    Err(_) => {}
                }
                let Some(wait) = waits.next() else {
                    return Begun::StoreAway;
                };
                self.world.clock().sleep(wait.mul_f64(self.world.chance().fraction())).await;
            }
        })
    }

    async fn try_start(self: &Arc<Self>, child: &Child) -> Result<(), Failure> {
        let Child { parent, generation, step, run, workflow, input } = child;
        let Some(code) = self.registry.newest(workflow).cloned() else {
            let message = format!("workflow {workflow:?} is not registered in this binary");
            return Err(Failure::internal("workflow.unknown", message));
        };
        if let Err(failure) = (code.reads)(input) {
            return Err(Failure::internal("run.invalid_input", failure.message));
        }
        let now = self.world.now();
        let started = Started {
            workflow: workflow.clone(),
            version: code.version,
            input: input.clone(),
            principal: parent.started.principal.clone(),
            labels: parent.started.labels.clone(),
            owner: self.node,
            deadline: code.options.deadline.map(|limit| now.after(limit)),
            priority: parent.started.priority,
            parent: Some(Parent { run: parent.run, generation: *generation, step: step.clone() }),
            claim: None,
        };
        let stream = run_stream(&parent.stream.tenant(), *run);
        let facts = Facts {
            run: *run,
            stream: stream.clone(),
            correlation: parent.correlation,
            started,
            started_at: now,
        };
        match self.begin_run(&code, Arc::new(facts), Commit::default()).await {
            Err(CommitError::Conflict { .. }) => self.join_child(parent, *generation, step, &stream).await,
            begun => begun.map_err(|error| error.failure()),
        }
    }

    /// The child was started before. If it has ended meanwhile, its result is sent again;
    /// if it is dead, the parent's replay replays it too.
    async fn join_child(
        self: &Arc<Self>,
        parent: &Facts,
        generation: u32,
        step: &StepId,
        stream: &StreamId,
    ) -> Result<(), Failure> {
        let history = load(&*self.log, stream, false).await.map_err(|error| match error {
            // An earlier start of it is still on its way to the store.
            LoadError::Missing => error.failure().retryable(),
            _ => error.failure(),
        })?;
        let Some(outcome) = history.result() else {
            self.refresh(&stream.tenant(), history.facts.run);
            return Ok(());
        };
        if history.status() == Status::Dead {
            // Its result was sent with its end. Only a parent that was replayed since then
            // waits for another; one that merely asks a second time does not.
            let now = load(&*self.log, &parent.stream, false).await.map_err(|error| error.failure())?;
            if now.waits_for(generation, step) {
                return self.replay_run(&history, "parent", None).await;
            }
            self.refresh(&parent.stream.tenant(), parent.run);
            return Ok(());
        }
        let message = result_message(parent.run, generation, step, outcome);
        let mut commit = Commit::default();
        self.tell_run(&mut commit, &parent.stream, message);
        self.log.commit(commit).await.map_err(|error| error.failure())?;
        self.refresh(&parent.stream.tenant(), parent.run);
        Ok(())
    }
}
