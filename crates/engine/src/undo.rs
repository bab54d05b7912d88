//! Compensation (promise G4): every step with an intent is undone, newest intent first,
//! from the record alone. No workflow code runs here.

use std::sync::Arc;

use steadfast_core::{Failure, Mutant, Time, planted};
use steadfast_log::{CommitError, Expect};

use crate::{
    EffectKey,
    dead_letter::{DeadLetter, LetterKind},
    effects::Ending,
    engine::Inner,
    execute::{Performed, perform, task},
    history::{History, Intent, final_status},
    live::Drove,
    record::{Ended, Outcome, Status, Undone, What, kind},
    store::{commit_patiently, load},
};

/// Undoes what is left to undo, then ends the run. Stops when another owner shows up.
pub(crate) async fn compensate(engine: &Arc<Inner>, mut history: History) -> Drove {
    let mut performed: Option<Undone> = None;
    loop {
        let left = history.to_undo();
        let Some(intent) = left.first() else {
            return end(engine, &history).await;
        };
        // Where only the write met a conflict, the undo is not performed a second time.
        let known = performed.take().filter(|undone| undone.step == intent.ask.step);
        let undone = if let Some(undone) = known {
            undone
        } else if planted(Mutant::UndoRecordedFirst) {
            Undone { step: intent.ask.step.clone(), failure: None, failed_attempts: Vec::new() }
        } else {
            wait_out(engine, &history, intent).await;
            undo(engine, &history, intent).await
        };
        let last = left.len() == 1;
        let written = write(engine, &history, &undone, intent, last).await;
        if planted(Mutant::UndoRecordedFirst) && written.is_ok() {
            undo(engine, &history, intent).await;
        }
        match written {
            Ok(()) if last => {
                tell_end(engine, &history);
                return Drove::Over;
            }
            Ok(()) => {}
            Err(CommitError::Conflict { .. }) => performed = Some(undone),
            Err(_) => return Drove::StoreAway,
        }
        history = match load(&*engine.log, &history.facts.stream, true).await {
            Ok(newer) if newer.epoch != history.epoch => return Drove::Over,
            Ok(newer) if newer.status().ended() => {
                // Killed meanwhile, or our own last write whose answer was lost.
                tell_end(engine, &newer);
                return Drove::Over;
            }
            Ok(newer) if newer.progress() != Status::Compensating => return Drove::Again,
            Ok(newer) => newer,
            Err(_) => return Drove::StoreAway,
        };
    }
}

/// A forward step outside that may still be under way, started before a crash, is given
/// its deadline. One on our own log needs no wait: its participant leaves a tombstone.
async fn wait_out(engine: &Arc<Inner>, history: &History, intent: &Intent) {
    if let What::Action { within_ms, on_log: false, .. } = intent.ask.what
        && !history.finished.contains(&intent.ask.step)
    {
        let since: Time = intent.at.max(history.claimed_at);
        let over = since.after(std::time::Duration::from_millis(within_ms));
        engine.world.clock().sleep(over.since(engine.world.now())).await;
    }
}

async fn undo(engine: &Arc<Inner>, history: &History, intent: &Intent) -> Undone {
    let step = intent.ask.step.clone();
    let Some(undo) = &intent.ask.undo else {
        return Undone { step, failure: None, failed_attempts: Vec::new() };
    };
    let task = task(&history.facts, history.generation, &step, true, &undo.action, &undo.input);
    match perform(engine.clone(), task).await {
        Performed::Result { outcome, failed_attempts } => {
            Undone { step, failure: outcome.err(), failed_attempts }
        }
        Performed::Recorded(_) => Undone { step, failure: None, failed_attempts: Vec::new() },
    }
}

async fn write(
    engine: &Arc<Inner>,
    history: &History,
    undone: &Undone,
    intent: &Intent,
    last: bool,
) -> Result<(), CommitError> {
    let mut writer = engine.writer(&history.facts);
    writer.event(kind::UNDONE, undone);
    if let (Some(failure), Some(undo)) = (&undone.failure, &intent.ask.undo) {
        let letter = DeadLetter {
            kind: LetterKind::Undo,
            run: Some(history.facts.run),
            generation: history.generation,
            step: Some(undone.step.clone()),
            workflow: history.facts.started.workflow.clone(),
            subscriber: None,
            event: None,
            action: Some(undo.action.clone()),
            cause: failure.clone(),
            input: Some(undo.input.clone()),
            key: Some(EffectKey::undo(history.facts.run, history.generation, &undone.step)),
        };
        engine.add_letter(
            &mut writer.commit,
            &history.facts.stream.tenant(),
            &history.facts.started.principal,
            &letter,
        );
    }
    if last {
        let status = history.outcome.as_ref().map_or(Status::Failed, final_status);
        writer.event(kind::ENDED, &Ended { status, failure: None, by: None });
        engine.end(&mut writer, &history.facts, history.generation, status, &outcome(history));
        engine.settle_effects(
            &mut writer,
            &history.facts,
            &Ending::undone(history, status, &history.on_log()),
        );
    }
    writer.expect(Expect::Exact(history.head));
    commit_patiently(&engine.log, &engine.world, writer.finish()).await.map(drop)
}

/// Nothing is left to undo, but the end is not written: a crash came in between.
async fn end(engine: &Arc<Inner>, history: &History) -> Drove {
    let status = history.outcome.as_ref().map_or(Status::Failed, final_status);
    let mut writer = engine.writer(&history.facts);
    writer.event(kind::ENDED, &Ended { status, failure: None, by: None });
    writer.expect(Expect::Exact(history.head));
    engine.end(&mut writer, &history.facts, history.generation, status, &outcome(history));
    engine.settle_effects(&mut writer, &history.facts, &Ending::undone(history, status, &history.on_log()));
    match commit_patiently(&engine.log, &engine.world, writer.finish()).await {
        Ok(_) => {
            tell_end(engine, history);
            Drove::Over
        }
        Err(CommitError::Conflict { .. }) => Drove::Undo,
        Err(_) => Drove::StoreAway,
    }
}

fn tell_end(engine: &Arc<Inner>, history: &History) {
    let status = match history.status() {
        ended if ended.ended() => ended,
        _ => history.outcome.as_ref().map_or(Status::Failed, final_status),
    };
    engine.ended(&history.facts, status, history.result().unwrap_or_else(|| outcome(history)));
}

fn outcome(history: &History) -> crate::StepOutcome {
    match &history.outcome {
        Some(Outcome::Failed(failure) | Outcome::Cancelled(failure)) => Err(failure.clone()),
        Some(Outcome::Completed(value) | Outcome::Continued(value)) => Ok(value.clone()),
        None => Err(Failure::internal("run.ended", "the run ended without an outcome")),
    }
}
