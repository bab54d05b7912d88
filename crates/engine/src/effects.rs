//! The claims of a run's effects, and when they may be forgotten.
//!
//! An undo that finds no claim takes it that nothing happened. So claims outlive a run for
//! as long as something of it may still be undone: a dead run, and one with a compensation
//! that gave up, until their letters have expired. Then their window starts.
//!
//! 1. The end of a plain run settles its few claims in the commit that ends it.
//! 2. Any other end sets a wake-up, due when no letter is left.
//! 3. Whoever takes the ended run up reads its record once more and settles all claims, in
//!    as many commits as it needs; each goes exactly behind what was read, so that a replay
//!    in between wins. Doing it again after a crash changes nothing.
//! 4. The last of them says `settled`, and nothing of the run is replayed any more.

use std::collections::BTreeSet;

use serde::de::DeserializeOwned;
use steadfast_core::{Fault, Time};
use steadfast_log::{ClaimChange, ClaimKey, CommitError, Expect, Recorded, StreamId, WakeUp, WakeUpChange};

use crate::{
    EffectKey, Status, StepId,
    engine::Inner,
    history::{Facts, History},
    live::Drove,
    record::{Ended, Noted, Outcome, Replayed, Turn, Undone, kind},
    recovery::run_id,
    store::{LoadError, Writer, commit_patiently},
};

const CLAIMS: &str = "claims";
/// Settled by the commit that ends the run.
const WITH_THE_END: usize = 32;
/// Settled by one commit after the end.
const AT_ONCE: usize = 64;
const PAGE: usize = 500;

/// How a run ends, as far as its effects are concerned.
pub(crate) struct Ending<'a> {
    pub(crate) generation: u32,
    pub(crate) status: Status,
    /// Steps of this generation whose effect is on our own log.
    pub(crate) steps: &'a [StepId],
    /// All of them stand: nothing was undone or tried to be.
    pub(crate) stands: bool,
}

impl<'a> Ending<'a> {
    /// Of a run that was undone, or killed in the middle.
    pub(crate) fn undone(history: &History, status: Status, steps: &'a [StepId]) -> Self {
        Self { generation: history.generation, status, steps, stands: false }
    }
}

/// What the record of a run says about its effects.
#[derive(Default)]
pub(crate) struct Effects {
    generation: u32,
    claims: BTreeSet<ClaimKey>,
    ended: Time,
    /// When the last letter was written.
    letter: Option<Time>,
    /// Their window has started: nothing of the run may be done or undone any more.
    pub(crate) settled: bool,
}

impl Inner {
    /// Part of the commit that ends a run.
    pub(crate) fn settle_effects(&self, writer: &mut Writer<'_>, facts: &Facts, ending: &Ending<'_>) {
        let Ending { generation, status, steps, stands } = *ending;
        let now = self.world.now();
        if stands && generation == 1 && status != Status::Dead && steps.len() <= WITH_THE_END {
            self.settle_stands(writer, facts, generation, steps);
        } else if generation > 1 || !steps.is_empty() {
            let letter = status == Status::Dead;
            let due = if letter { now.after(self.config.dead_letters_kept.get()) } else { now };
            writer.commit.wake_ups.push(self.wake_for_claims(writer.stream, due));
        }
    }

    /// Starts the window of effects that will not be undone. A commit has room for so many;
    /// the end of the run sees to the rest.
    pub(crate) fn settle_stands(
        &self,
        writer: &mut Writer<'_>,
        facts: &Facts,
        generation: u32,
        steps: &[StepId],
    ) {
        let tenant = facts.stream.tenant();
        let until = self.world.now().after(self.config.idempotency_window.get());
        let settle =
            |step| ClaimChange::Settle(EffectKey::of(facts.run, generation, step).claim(&tenant), until);
        writer.commit.claims.extend(steps.iter().rev().take(WITH_THE_END).map(settle));
    }

    fn wake_for_claims(&self, stream: &StreamId, due: Time) -> WakeUpChange {
        let (stream, name) = (stream.clone(), CLAIMS.into());
        WakeUpChange::Set(WakeUp { stream, name, due, owner: Some(self.node) })
    }

    /// Settles the claims of a run that has ended. `None`: there was nothing to do.
    pub(crate) async fn settle_late(&self, history: &History) -> Option<Drove> {
        let Ok(effects) = self.effects(&history.facts.stream).await else {
            return Some(Drove::StoreAway);
        };
        if effects.settled || effects.claims.is_empty() {
            return None;
        }
        let expired = effects.letter.map(|written| written.after(self.config.dead_letters_kept.get()));
        let written = if let Some(expired) = expired.filter(|expired| *expired > self.world.now()) {
            let mut writer = self.late_writer(history, Noted::default());
            writer.commit.wake_ups.push(self.wake_for_claims(&history.facts.stream, expired));
            self.write_late(writer, history.head).await
        } else {
            let end = expired.map_or(effects.ended, |expired| expired.max(effects.ended));
            let until = end.after(self.config.idempotency_window.get());
            self.settle_all(history, &effects, until).await
        };
        Some(match written {
            Ok(()) => Drove::Over,
            Err(CommitError::Conflict { .. }) => Drove::Again,
            Err(_) => Drove::StoreAway,
        })
    }

    async fn settle_all(&self, history: &History, effects: &Effects, until: Time) -> Result<(), CommitError> {
        let claims: Vec<ClaimKey> = effects.claims.iter().copied().collect();
        let batches = claims.chunks(AT_ONCE);
        let last = batches.len().saturating_sub(1);
        for ((place, batch), head) in batches.enumerate().zip(history.head..) {
            let mut writer = self.late_writer(history, Noted { settled: place == last });
            writer.commit.claims.extend(batch.iter().map(|key| ClaimChange::Settle(*key, until)));
            if place == last {
                writer.keep_effects();
            }
            self.write_late(writer, head).await?;
        }
        Ok(())
    }

    async fn write_late(&self, mut writer: Writer<'_>, head: u64) -> Result<(), CommitError> {
        writer.expect(Expect::Exact(head));
        commit_patiently(&self.log, &self.world, writer.finish()).await.map(drop)
    }

    /// Reads what a run's record says about its effects, of all generations.
    pub(crate) async fn effects(&self, stream: &StreamId) -> Result<Effects, LoadError> {
        let mut effects = Effects { generation: 1, ..Effects::default() };
        let mut from = 1;
        loop {
            let page = self.log.read_stream(stream, from, PAGE).await?;
            for recorded in &page {
                effects.apply(recorded);
            }
            if page.len() < PAGE {
                return Ok(effects);
            }
            from += page.len() as u64;
        }
    }
}

impl Writer<'_> {
    /// Part of a commit after which claims stay as they are.
    pub(crate) fn keep_effects(&mut self) {
        self.commit.wake_ups.push(WakeUpChange::Clear(self.stream.clone(), CLAIMS.into()));
    }
}

impl Effects {
    /// What does not read is passed over: its claims are kept, and that is safe.
    fn apply(&mut self, recorded: &Recorded) {
        let at = recorded.event.time;
        match recorded.event.kind.as_ref() {
            kind::TURN => {
                if let Some(turn) = read::<Turn>(recorded) {
                    self.apply_turn(recorded, &turn);
                }
            }
            kind::UNDONE => {
                if let Some(undone) = read::<Undone>(recorded) {
                    self.add(recorded, |run, generation| EffectKey::undo(run, generation, &undone.step));
                    if undone.failure.is_some() {
                        self.letter = Some(at);
                    }
                }
            }
            kind::ENDED => {
                self.ended = at;
                if read::<Ended>(recorded).is_none_or(|ended| ended.status == Status::Dead) {
                    self.letter = Some(at);
                }
            }
            kind::REPLAYED => {
                if let Some(replayed) = read::<Replayed>(recorded) {
                    self.generation = replayed.generation;
                }
            }
            kind::NOTED => self.settled |= read::<Noted>(recorded).is_some_and(|noted| noted.settled),
            _ => {}
        }
    }

    fn apply_turn(&mut self, recorded: &Recorded, turn: &Turn) {
        self.ended = recorded.event.time;
        for ask in turn.asked.iter().filter(|ask| ask.on_log()) {
            self.add(recorded, |run, generation| EffectKey::of(run, generation, &ask.step));
        }
        match &turn.outcome {
            Some(Outcome::Continued(_)) => self.generation += 1,
            // It may have died of it.
            Some(Outcome::Failed(failure)) if failure.fault != Fault::Caller => {
                self.letter = Some(recorded.event.time);
            }
            _ => {}
        }
    }

    fn add(&mut self, recorded: &Recorded, key: impl FnOnce(steadfast_core::RunId, u32) -> EffectKey) {
        if let Some(run) = run_id(&recorded.stream) {
            self.claims.insert(key(run, self.generation).claim(&recorded.stream.tenant()));
        }
    }
}

fn read<T: DeserializeOwned>(recorded: &Recorded) -> Option<T> {
    serde_json::from_slice(&recorded.event.body).ok()
}
