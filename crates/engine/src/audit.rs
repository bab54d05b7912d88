//! Holds the log against the engine's promises, from the events alone.

use std::collections::{HashMap, HashSet};

use serde::de::DeserializeOwned;
use steadfast_core::Fault;
use steadfast_log::{Derived, Recorded, StreamId};

use crate::{
    Status, StepId,
    dead_letter::{DEAD_LETTER, DeadLetter},
    record::{Claimed, Delivery, Ended, Message, Outcome, RUN, Replayed, Turn, kind},
};

/// A fold over the whole log: feed it every event in order, then ask for problems.
#[derive(Debug, Default)]
pub struct Audit {
    runs: HashMap<StreamId, Run>,
    letters: HashSet<String>,
    problems: Vec<String>,
}

#[derive(Debug)]
struct Run {
    epoch: u32,
    generation: u32,
    next_turn: u32,
    undoable: bool,
    results: HashSet<StepId>,
    /// Since a replay, results that were known may be delivered again.
    replayed: bool,
    ended: Option<Status>,
}

impl Audit {
    /// Takes the next event of the log.
    pub fn apply(&mut self, recorded: &Recorded) {
        match recorded.stream.category() {
            DEAD_LETTER if recorded.event.kind == kind::LETTER_RECORDED => {
                if let Some(letter) = self.read::<DeadLetter>(recorded)
                    && let Some(run) = letter.run
                {
                    self.letters.insert(run.to_string());
                }
            }
            RUN => self.apply_run(recorded),
            _ => {}
        }
    }

    fn read<T: DeserializeOwned>(&mut self, recorded: &Recorded) -> Option<T> {
        let read = serde_json::from_slice(&recorded.event.body);
        if let Err(error) = &read {
            let (stream, version) = (&recorded.stream, recorded.version);
            self.problems.push(format!("{stream} version {version} cannot be read: {error}"));
        }
        read.ok()
    }

    fn apply_run(&mut self, recorded: &Recorded) {
        let stream = recorded.stream.clone();
        if recorded.event.kind == kind::STARTED {
            let run = Run {
                epoch: 1,
                generation: 1,
                next_turn: 0,
                undoable: false,
                results: HashSet::new(),
                replayed: false,
                ended: None,
            };
            if self.runs.insert(stream, run).is_some() {
                self.problems.push(format!("{} was started twice", recorded.stream));
            }
            return;
        }
        match recorded.event.kind.as_ref() {
            kind::TURN => {
                if let Some(turn) = self.read::<Turn>(recorded) {
                    self.apply_turn(recorded, &turn);
                }
            }
            kind::CLAIMED => {
                if let Some(claimed) = self.read::<Claimed>(recorded) {
                    let expected = self.run(recorded).map_or(0, |run| run.epoch + 1);
                    if claimed.epoch != expected {
                        self.problems.push(format!(
                            "{stream} was claimed with epoch {}, not {expected}",
                            claimed.epoch
                        ));
                    }
                    if let Some(run) = self.run(recorded) {
                        run.epoch = claimed.epoch;
                    }
                }
            }
            kind::ENDED => {
                if let Some(ended) = self.read::<Ended>(recorded)
                    && let Some(run) = self.run(recorded)
                {
                    run.ended = Some(ended.status);
                }
            }
            kind::REPLAYED => {
                if let Some(replayed) = self.read::<Replayed>(recorded)
                    && let Some(run) = self.run(recorded)
                {
                    run.ended = None;
                    // The turns from the failed step on are repeated; which, the fold of
                    // the run knows. What was recorded successfully is not.
                    run.next_turn = u32::MAX;
                    run.replayed = true;
                    if replayed.generation > run.generation {
                        *run = Run {
                            generation: replayed.generation,
                            next_turn: 0,
                            undoable: false,
                            results: HashSet::new(),
                            replayed: false,
                            ended: None,
                            ..*run
                        };
                    }
                }
            }
            // Only its form matters here: repeats of a result are allowed, they count once.
            kind::MESSAGE => drop(self.read::<Message>(recorded)),
            _ => {}
        }
    }

    fn run(&mut self, recorded: &Recorded) -> Option<&mut Run> {
        let run = self.runs.get_mut(&recorded.stream);
        if run.is_none() {
            self.problems.push(format!("{} has events before run.started", recorded.stream));
        }
        run
    }

    fn apply_turn(&mut self, recorded: &Recorded, turn: &Turn) {
        let stream = &recorded.stream;
        let mut problems = Vec::new();
        let Some(run) = self.run(recorded) else {
            return;
        };
        if run.ended.is_some() {
            problems.push(format!("{stream} has a turn after its end"));
        }
        if turn.epoch != run.epoch {
            problems.push(format!("{stream} has a turn of epoch {} in epoch {}", turn.epoch, run.epoch));
        }
        if run.next_turn != u32::MAX && turn.turn != run.next_turn {
            problems.push(format!("{stream} has turn {} where {} was due", turn.turn, run.next_turn));
        }
        run.next_turn = turn.turn + 1;
        for delivery in &turn.delivered {
            if let Delivery::Result { step, outcome: Ok(_), .. } = delivery
                && !run.results.insert(step.clone())
                && !run.replayed
            {
                problems.push(format!("{stream} recorded step {step} twice"));
            }
        }
        run.undoable |= turn.asked.iter().any(|ask| ask.undo.is_some());
        match &turn.outcome {
            None => {}
            Some(Outcome::Continued(_)) => {
                *run = Run {
                    generation: run.generation + 1,
                    next_turn: 0,
                    undoable: false,
                    results: HashSet::new(),
                    replayed: false,
                    ..*run
                };
            }
            Some(Outcome::Completed(_)) => run.ended = Some(Status::Completed),
            Some(Outcome::Failed(_) | Outcome::Cancelled(_)) if run.undoable => {}
            Some(Outcome::Cancelled(_)) => run.ended = Some(Status::Cancelled),
            Some(Outcome::Failed(failure)) if failure.fault == Fault::Caller => {
                run.ended = Some(Status::Failed);
            }
            Some(Outcome::Failed(_)) => run.ended = Some(Status::Dead),
        }
        self.problems.extend(problems);
    }

    /// How many runs there are, and how many of them are open.
    pub fn runs(&self) -> (usize, usize) {
        (self.runs.len(), self.runs.values().filter(|run| run.ended.is_none()).count())
    }

    /// What is wrong: every accepted run must have ended, wait for something that will
    /// come, or be a dead letter. `derived` is the fold of the same log.
    pub fn finish(mut self, derived: &Derived) -> Vec<String> {
        let waking: HashSet<&StreamId> = derived.wake_ups.keys().map(|(stream, _)| stream).collect();
        for (stream, run) in &self.runs {
            match run.ended {
                None if !waking.contains(stream) => {
                    self.problems.push(format!("{stream} is open and nothing will wake it"));
                }
                Some(Status::Dead) if !self.letters.contains(stream.name()) => {
                    self.problems.push(format!("{stream} gave up without a dead letter"));
                }
                Some(status)
                    if derived.listings.get(stream).is_some_and(|row| row.status != status.as_str()) =>
                {
                    self.problems
                        .push(format!("{stream} ended as {} and is listed otherwise", status.as_str()));
                }
                _ => {}
            }
        }
        self.problems.sort();
        self.problems
    }
}
