//! Beginning anew: the next generation, and what the replay of a dead letter takes back.

use steadfast_core::Fault;

use super::History;
use crate::{
    Data, Status, StepId, StepOutcome,
    record::{Delivery, Replayed, Sent},
};

impl History {
    /// `left`: messages that the generation before was given and never took.
    pub(super) fn next_generation(&mut self, input: Data, left: &[u64]) {
        self.generation += 1;
        self.input = input;
        self.turns.clear();
        self.intents.clear();
        self.known.clear();
        self.finished.clear();
        self.undone.clear();
        self.outcome = None;
        self.ended = None;
        // Results belong to the generation that asked for them; signals go on.
        let consumed = std::mem::take(&mut self.consumed);
        self.messages.retain(|version, message| {
            let result = matches!(message.what, Sent::Result { .. });
            !result && (!consumed.contains(version) || left.contains(version))
        });
        self.seen.clear();
    }

    /// The generation that a replay goes on in. One that gave up may have undone a part, and
    /// begins anew.
    pub(crate) fn replays_as(&self) -> u32 {
        self.generation + u32::from(!self.undone.is_empty())
    }

    /// Does it wait for this step, or would it if it were replayed?
    pub(crate) fn may_wait_for(mut self, generation: u32, step: &StepId) -> bool {
        if self.status() == Status::Dead {
            self.apply_replayed(&Replayed { by: String::new(), generation: self.replays_as() });
        }
        self.waits_for(generation, step)
    }

    pub(super) fn apply_replayed(&mut self, replayed: &Replayed) {
        self.ended = None;
        self.parked = None;
        if replayed.generation > self.generation {
            let input = self.input.clone();
            self.next_generation(input, &[]);
            return;
        }
        self.outcome = None;
        // It waits for its children again.
        self.orphans.clear();
        self.rewind();
    }

    /// Takes back the turns from the one that delivered the failure on. What they
    /// recorded stays known: a recorded step never runs again (G2).
    fn rewind(&mut self) {
        self.rewound = true;
        let fails = |outcome: &StepOutcome| matches!(outcome, Err(failure) if failure.fault != Fault::Caller);
        let failing = |delivery: &Delivery| match delivery {
            Delivery::Result { outcome, .. } => fails(outcome),
            Delivery::Message(version) => {
                matches!(self.messages.get(version).map(|m| &m.what), Some(Sent::Result { outcome, .. }) if fails(outcome))
            }
            Delivery::Timer(_) => false,
            Delivery::Deadline => true,
        };
        let from = self.turns.iter().rposition(|(_, turn)| turn.delivered.iter().any(failing));
        let from = from.unwrap_or(self.turns.len().saturating_sub(1));
        for (_, turn) in self.turns.split_off(from) {
            for delivery in turn.delivered {
                match delivery {
                    Delivery::Result { step, outcome, .. } if fails(&outcome) => {
                        self.finished.remove(&step);
                    }
                    Delivery::Result { step, outcome, .. } => {
                        self.known.insert(step, outcome);
                    }
                    Delivery::Message(version) => self.take_back(version),
                    Delivery::Timer(step) => {
                        self.finished.remove(&step);
                    }
                    Delivery::Deadline => {}
                }
            }
        }
    }

    fn take_back(&mut self, version: u64) {
        self.consumed.remove(&version);
        let failed = match self.messages.get(&version).map(|m| &m.what) {
            Some(Sent::Result { step, outcome: Err(failure), .. }) if failure.fault != Fault::Caller => {
                step.clone()
            }
            // A cancel that ended the run is not delivered a second time.
            Some(Sent::Cancel { .. }) => {
                self.consumed.insert(version);
                return;
            }
            _ => return,
        };
        self.finished.remove(&failed);
        if let Some(message) = self.messages.remove(&version) {
            self.seen.remove(&message.id);
        }
    }
}
