//! Child runs: started under an id that is a pure function of the step's key, so that a
//! start that is repeated after a crash finds the first one.

use std::{future::Future, sync::Arc};

use steadfast_core::{Coded, Failure, RunId};
use steadfast_log::{Commit, CommitError};

use crate::{
    Data, Status, StepId,
    action::result_message,
    engine::{Inner, run_stream},
    history::Facts,
    record::{Parent, Started},
    store::load,
};

impl Inner {
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn that calls itself by way of `begin` needs its bounds said"
    )]
    /// Starts a child, or joins the one that is there. A failure is the step's result.
    pub(crate) fn start_child(
        self: Arc<Self>,
        parent: Arc<Facts>,
        generation: u32,
        step: StepId,
        run: RunId,
        workflow: String,
        input: Data,
    ) -> impl Future<Output = Option<Failure>> + Send + 'static {
        async move {
            let Some(code) = self.registry.newest(&workflow).cloned() else {
                let message = format!("workflow {workflow:?} is not registered in this binary");
                return Some(Failure::internal("workflow.unknown", message));
            };
            if let Err(failure) = (code.reads)(&input) {
                return Some(Failure::internal("run.invalid_input", failure.message));
            }
            let now = self.world.now();
            let started = Started {
                workflow,
                version: code.version,
                input,
                principal: parent.started.principal.clone(),
                labels: parent.started.labels.clone(),
                owner: self.node,
                deadline: code.options.deadline.map(|limit| now.after(limit)),
                priority: parent.started.priority,
                parent: Some(Parent { run: parent.run, generation, step: step.clone() }),
                claim: None,
            };
            let stream = run_stream(&parent.stream.tenant(), run);
            let facts = Facts {
                run,
                stream: stream.clone(),
                correlation: parent.correlation,
                started,
                started_at: now,
            };
            match Box::pin(self.begin_run(&code, Arc::new(facts), None)).await {
                Ok(()) => None,
                Err(CommitError::Conflict { .. }) => {
                    self.join_child(&parent, generation, &step, &stream).await
                }
                Err(error) => Some(error.failure()),
            }
        }
    }

    /// The child was started before. If it has ended meanwhile, its result is sent again;
    /// if it is dead, the parent's replay replays it too.
    async fn join_child(
        self: &Arc<Self>,
        parent: &Facts,
        generation: u32,
        step: &StepId,
        stream: &steadfast_log::StreamId,
    ) -> Option<Failure> {
        let history = match load(&*self.log, stream, false).await {
            Ok(history) => history,
            Err(error) => return Some(error.failure()),
        };
        let Some(outcome) = history.result() else {
            self.refresh(&stream.tenant(), history.facts.run);
            return None;
        };
        if history.status() == Status::Dead {
            return self.replay_run(&history, "parent", None, None).await.err();
        }
        let message = result_message(parent.run, generation, step, outcome);
        let (append, wake_up) = self.to_run(&parent.stream, &message);
        let commit = Commit { appends: vec![append], wake_ups: vec![wake_up], ..Commit::default() };
        match self.log.commit(commit).await {
            Ok(_) => {
                self.refresh(&parent.stream.tenant(), parent.run);
                None
            }
            Err(error) => Some(error.failure()),
        }
    }
}
