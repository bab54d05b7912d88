//! What a turn delivers, and what it leaves to the next one.

use steadfast_core::{Time, defaults};

use super::{Live, Stop};
use crate::{
    history::{deadline_exceeded, message_delivers},
    machine::Delivered,
    record::{Delivery, Sent},
    store::load_message,
};

impl Live {
    /// What this turn delivers, in the order that will be recorded.
    pub(super) fn gather(&mut self, now: Time) -> Vec<Delivery> {
        if self.first {
            return Vec::new();
        }
        while let Some((due, step)) = self.timers.first().cloned() {
            if due > now {
                break;
            }
            self.timers.pop_first();
            self.ready.push_back(Delivery::Timer(step));
        }
        let fit = self.engine.spill.fit(self.ready.iter());
        let mut delivered: Vec<Delivery> = self.ready.drain(..fit.min(self.ready.len())).collect();
        if !self.ready.is_empty() {
            // What is left came before any message.
            return delivered;
        }
        let messages = self.pending.iter().take(defaults::MESSAGES_PER_TURN);
        delivered.extend(messages.map(|(version, _)| Delivery::Message(*version)));
        if self.deadline.is_some_and(|deadline| deadline <= now) {
            delivered.push(Delivery::Deadline);
        }
        delivered
    }

    pub(super) fn bring(&self, delivery: &Delivery) -> Delivered {
        match delivery {
            Delivery::Result { step, outcome, .. } => Delivered::Result(step.clone(), outcome.clone()),
            Delivery::Timer(step) => Delivered::Timer(step.clone()),
            Delivery::Deadline => Delivered::Cancel(None, deadline_exceeded()),
            Delivery::Message(version) => {
                let message = self.pending.iter().find(|(at, _)| at == version);
                message.map_or(Delivered::Nothing, |(version, message)| {
                    message_delivers(*version, message, self.generation)
                })
            }
        }
    }

    /// The turn is full: the next one delivers these.
    pub(super) fn put_back(&mut self, left: Vec<Delivery>) {
        for delivery in left.into_iter().rev() {
            match delivery {
                Delivery::Result { .. } | Delivery::Timer(_) => self.ready.push_front(delivery),
                // Still pending, and still due.
                Delivery::Message(_) | Delivery::Deadline => {}
            }
        }
    }

    /// Messages that the generation before was given and never took. They are read again,
    /// as after a crash.
    pub(super) async fn take_again(&mut self, left: &[u64]) -> Result<(), Stop> {
        for version in left {
            let message = load_message(&*self.engine.log, &self.facts.stream, *version).await;
            let message =
                message.map_err(|error| if error.poisoned() { Stop::Lost } else { Stop::StoreAway })?;
            self.pending.push_back((*version, message));
        }
        self.pending.make_contiguous().sort_by_key(|(version, _)| *version);
        Ok(())
    }

    pub(super) fn consume(&mut self, delivered: &[Delivery]) {
        for delivery in delivered {
            match delivery {
                Delivery::Result { .. } | Delivery::Timer(_) => {}
                Delivery::Deadline => self.deadline = None,
                Delivery::Message(version) => {
                    let place = self.pending.iter().position(|(at, _)| at == version);
                    if let Some((_, message)) = place.and_then(|place| self.pending.remove(place))
                        && let Sent::Result { step, generation, .. } = message.what
                        && generation == self.generation
                    {
                        self.children.remove(&step);
                    }
                }
            }
        }
    }
}
