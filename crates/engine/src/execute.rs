//! Performs a step: attempts with a timeout each, waits between them, and a clear end.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures::FutureExt;
use steadfast_core::{Failure, Mutant, Time, observe::Signal, planted};
use steadfast_resilience::{Deadline, PolicyConfig};

use crate::{
    Data, EffectKey, Record, Recording, StepId, StepOutcome, StepTask,
    action::{Act, ActionOptions, Performer},
    engine::Inner,
    history::Facts,
    spill::recordable,
    update::Update,
};

/// What performing a step came to.
pub(crate) enum Performed {
    /// A result that its owner records.
    Result {
        outcome: StepOutcome,
        /// Failed attempts before it, by code.
        failed_attempts: Vec<String>,
    },
    /// A result that stands on the log already.
    Recorded(Recording),
}

enum Attempted {
    Done(StepOutcome),
    Recorded(Recording),
}

/// Performs `task` until it succeeds, is refused, or has used its attempts.
pub(crate) async fn perform(engine: Arc<Inner>, mut task: StepTask) -> Performed {
    let Some(handler) = engine.registry.handler(&task.action).cloned() else {
        let message = format!("action {:?} is not registered in this binary", task.action);
        return done(Err(Failure::internal("action.unknown", message)), Vec::new());
    };
    if let (Some(policy), Performer::Outside(act)) = (handler.options.policy, &handler.performer) {
        return guarded(&engine, policy, act, &handler.options, task).await;
    }
    let mut failed_attempts = Vec::new();
    let mut waits = handler.options.waits.iter();
    loop {
        task.deadline = engine.world.now().after(handler.options.timeout);
        engine.tell(task.run, || Update::StepStarted { step: task.step.clone(), attempt: task.attempt });
        let began = engine.world.clock().elapsed();
        let attempted = attempt(&engine, &handler.performer, &task, handler.options.timeout).await;
        let took = engine.world.clock().elapsed().saturating_sub(began);
        let outcome = match attempted {
            Attempted::Recorded(recording) => {
                engine.observer.observe(Signal::Step { action: &task.action, outcome: "recorded", took });
                return Performed::Recorded(recording);
            }
            Attempted::Done(outcome) => outcome,
        };
        let label = match &outcome {
            Ok(_) => "ok",
            Err(failure) if failure.retryable => "retryable",
            Err(_) => "failed",
        };
        engine.observer.observe(Signal::Step { action: &task.action, outcome: label, took });
        let failure = match outcome {
            Err(failure) if failure.retryable => failure,
            outcome => return done(outcome, failed_attempts),
        };
        failed_attempts.push(failure.code.clone());
        let Some(wait) = waits.next() else {
            // Spent: what could be retried has given up.
            let failure = Failure { retryable: false, ..failure };
            failed_attempts.pop();
            return done(Err(failure), failed_attempts);
        };
        engine.observer.observe(Signal::Retry { name: &task.action, attempt: task.attempt });
        let wait = wait.mul_f64(engine.world.chance().fraction());
        engine.world.clock().sleep(wait).await;
        task.attempt += 1;
        if planted(Mutant::KeyOfAttempt) {
            let step = StepId::from((task.step.as_str(), task.attempt));
            task.key = EffectKey::of(task.run, task.generation, &step);
        }
    }
}

/// Performs `task` under its policy, which retries, times out and stops calling what is down.
async fn guarded(
    engine: &Arc<Inner>,
    policy: &str,
    act: &Act,
    options: &ActionOptions,
    task: StepTask,
) -> Performed {
    let policy = engine.policies.get_or(policy, &PolicyConfig::action_group());
    let deadline = Deadline::after(&engine.world, options.budget());
    let failed = Arc::new(Mutex::new(Vec::new()));
    let outcome = policy.call(&deadline, |attempt, limit| {
        let deadline = engine.world.now().after(limit.remaining());
        let task = StepTask { attempt, deadline, ..task.clone() };
        engine.tell(task.run, || Update::StepStarted { step: task.step.clone(), attempt });
        let (failed, act, action) = (failed.clone(), act.clone(), task.action.clone());
        async move {
            let caught = AssertUnwindSafe(act(task)).catch_unwind().await;
            let outcome = caught.unwrap_or_else(|_| Err(panicked(&action)));
            if let Err(failure) = &outcome {
                failed.lock().unwrap_or_else(PoisonError::into_inner).push(failure.code.clone());
            }
            outcome
        }
    });
    let outcome = outcome.await.map_err(|failure| Failure { retryable: false, ..failure });
    let mut failed_attempts = std::mem::take(&mut *failed.lock().unwrap_or_else(PoisonError::into_inner));
    if outcome.is_err() {
        failed_attempts.pop();
    }
    let label = if outcome.is_ok() { "ok" } else { "failed" };
    let took = options.budget().saturating_sub(deadline.remaining());
    engine.observer.observe(Signal::Step { action: &task.action, outcome: label, took });
    done(outcome, failed_attempts)
}

fn panicked(action: &str) -> Failure {
    Failure::internal("step.panicked", format!("action {action} panicked"))
}

fn done(outcome: StepOutcome, failed_attempts: Vec<String>) -> Performed {
    Performed::Result { outcome: recordable(outcome), failed_attempts }
}

async fn attempt(
    engine: &Arc<Inner>,
    performer: &Performer,
    task: &StepTask,
    timeout: std::time::Duration,
) -> Attempted {
    let work = async {
        match performer {
            Performer::Outside(perform) => Attempted::Done(perform(task.clone()).await),
            Performer::OnLog(perform) => {
                let record = Record::<Data>::new(engine.world.clone(), engine.spill.clone(), task);
                match perform(task.clone(), record).await {
                    Ok(recording) => Attempted::Recorded(recording),
                    Err(failure) => Attempted::Done(Err(failure)),
                }
            }
        }
    };
    let caught = AssertUnwindSafe(work).catch_unwind();
    tokio::select! {
        biased;
        result = caught => result.unwrap_or_else(|_| {
            Attempted::Done(Err(panicked(&task.action)))
        }),
        () = engine.world.clock().sleep(timeout) => Attempted::Done(Err(Failure::upstream(
            "step.timeout",
            format!("action {} did not answer within {timeout:?}", task.action),
        ))),
    }
}

/// The first task of a step, or of its compensation.
pub(crate) fn task(
    facts: &Facts,
    generation: u32,
    step: &StepId,
    undo: bool,
    action: &str,
    input: &Data,
) -> StepTask {
    let forward = EffectKey::of(facts.run, generation, step);
    let (key, undoes) =
        if undo { (EffectKey::undo(facts.run, generation, step), Some(forward)) } else { (forward, None) };
    StepTask {
        run: facts.run,
        generation,
        step: step.clone(),
        key,
        undoes,
        attempt: 1,
        action: action.to_owned(),
        input: input.clone(),
        tenant: facts.stream.tenant(),
        principal: facts.started.principal.clone(),
        deadline: Time::NEVER,
        correlation: facts.correlation,
    }
}
