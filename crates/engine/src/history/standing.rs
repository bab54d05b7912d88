//! What the record of a run says about it now.

use steadfast_core::{Failure, Mutant, RunId, planted};

use super::{History, Intent, deadline_exceeded, final_status, message_delivers};
use crate::{
    StepId, StepOutcome,
    machine::Delivered,
    record::{Delivery, Message, Outcome, Sent, Status, What},
};

impl History {
    /// Children that were asked for and gave no result; not those of a last turn, which
    /// never start.
    pub(crate) fn open_children(&self) -> Vec<(StepId, String, RunId)> {
        let last = self.turns.last().filter(|(_, turn)| turn.outcome.is_some());
        let never = |step: &StepId| last.is_some_and(|(_, turn)| turn.asked.iter().any(|a| a.step == *step));
        let child = |intent: Intent| match intent.ask.what {
            What::Child { run, workflow, .. } if !never(&intent.ask.step) => {
                Some((intent.ask.step, workflow, run))
            }
            _ => None,
        };
        self.outstanding().into_iter().filter_map(child).collect()
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

    /// Has nobody told it yet what became of this step?
    pub(crate) fn waits_for(&self, generation: u32, step: &StepId) -> bool {
        self.generation == generation
            && self.outstanding().iter().any(|intent| intent.ask.step == *step)
            && !self.pending().any(|(_, message)| message.is_result_of(generation, step))
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
            Delivery::Deadline => Delivered::Cancel(None, deadline_exceeded()),
            Delivery::Message(version) => self
                .messages
                .get(version)
                .map_or(Delivered::Nothing, |m| message_delivers(*version, m, self.generation)),
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
        let mut left: Vec<Intent> = self.intents.iter().rev().filter(open).cloned().collect();
        if planted(Mutant::OldestUndoneFirst) {
            left.reverse();
        }
        if planted(Mutant::UnfinishedNotUndone) {
            left.retain(|intent| self.finished.contains(&intent.ask.step));
        }
        left
    }

    /// Where it stands.
    pub(crate) fn status(&self) -> Status {
        if self.ended.is_none() && self.parked.is_some() { Status::Parked } else { self.progress() }
    }

    /// Where it stands, whether or not it was parked there.
    pub(crate) fn progress(&self) -> Status {
        if let Some(ended) = &self.ended {
            return ended.status;
        }
        match &self.outcome {
            Some(Outcome::Completed(_)) => Status::Completed,
            _ if self.unknown.is_some() => Status::Parked,
            Some(outcome) if self.intents.iter().all(|i| i.ask.undo.is_none()) => final_status(outcome),
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
