//! What runs wrote, held against what they did and against itself.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::{Coded, Failure, Fault, RunId};
use steadfast_engine::{
    Settled,
    record::{Delivery, Message, Outcome, Replayed, Sent, Turn, kind},
};
use steadfast_log::{Log, Position, Recorded};

use super::Story;
use crate::workflows::LISTENING;

/// A step of a generation.
type Step = (u32, String);

/// What a run wrote.
#[derive(Default)]
struct Record {
    generation: u32,
    /// Where each step was asked for, oldest first.
    asked: Vec<(Step, u64)>,
    /// The messages that count, by their ids, and how many turns were taken since.
    messages: BTreeMap<uuid::Uuid, (u64, u32)>,
    /// Those that are results, and whether they bring a failure which a replay tries again.
    results: BTreeMap<uuid::Uuid, bool>,
    delivered: BTreeSet<u64>,
    /// Delivered by the last turn.
    last: BTreeSet<u64>,
    signals: BTreeSet<u64>,
    /// Ids of messages by their versions.
    ids: BTreeMap<u64, uuid::Uuid>,
    problems: Vec<String>,
}

impl Record {
    fn apply(&mut self, recorded: &Recorded) -> serde_json::Result<()> {
        let (body, place) = (&recorded.event.body, recorded.position.n);
        match recorded.event.kind.as_ref() {
            kind::STARTED => self.generation = 1,
            kind::TURN => self.turn(&serde_json::from_slice(body)?, place),
            kind::MESSAGE => self.message(&serde_json::from_slice(body)?, recorded.version),
            kind::REPLAYED => {
                let replayed: Replayed = serde_json::from_slice(body)?;
                if replayed.generation > self.generation {
                    self.next_generation();
                } else {
                    // What failed is asked for again, and its result comes a second time.
                    self.messages.retain(|id, _| self.results.get(id) != Some(&true));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, message: &Message, version: u64) {
        self.ids.insert(version, message.id);
        if self.messages.contains_key(&message.id) {
            return;
        }
        self.messages.insert(message.id, (version, 0));
        match &message.what {
            Sent::Signal { .. } => {
                self.signals.insert(version);
            }
            Sent::Result { outcome, .. } => {
                let again = outcome.as_ref().is_err_and(|failure| failure.fault != Fault::Caller);
                self.results.insert(message.id, again);
            }
            Sent::Cancel { .. } => {}
        }
    }

    fn turn(&mut self, turn: &Turn, place: u64) {
        self.last.clear();
        for delivery in &turn.delivered {
            if let Delivery::Message(version) = delivery {
                self.deliver(*version);
            }
        }
        // A turn that was decided before a message came may go behind it, and the first of a
        // generation delivers nothing; the next one has it.
        for (version, turns) in self.messages.values_mut() {
            *turns += u32::from(turn.turn > 0);
            if *turns == 2 && !self.delivered.contains(version) {
                self.problems.push(format!("G7: its message at version {version} is passed over"));
            }
        }
        for ask in &turn.asked {
            self.asked.push(((self.generation, ask.step.to_string()), place));
        }
        if let Some(Outcome::Continued(_)) = &turn.outcome {
            self.next_generation();
        }
    }

    /// Nobody waits any more for results that were asked for before.
    fn next_generation(&mut self) {
        self.generation += 1;
        self.messages.retain(|id, _| !self.results.contains_key(id));
    }

    /// What the last turn brought came too late for the code, and all else was taken.
    fn heard_every_word(&mut self, ending: Option<&Settled>) {
        let Some(Ok(heard)) = ending.map(|it| &it.outcome) else { return };
        let said = self.signals.intersection(&self.delivered).filter(|it| !self.last.contains(it)).count();
        if heard.read::<usize>().ok() != Some(said) {
            self.problems.push(format!("G7: of {said} words it heard {heard:?}"));
        }
    }

    fn deliver(&mut self, version: u64) {
        let first = self.ids.get(&version).and_then(|id| self.messages.get(id));
        if first.is_none_or(|(first, _)| *first != version) {
            self.problems.push(format!("G7: its message at version {version} is a repeat and was delivered"));
        }
        self.delivered.insert(version);
        self.last.insert(version);
    }
}

impl Story {
    pub(super) fn runs_did_what_they_wrote(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut records: BTreeMap<RunId, Record> = BTreeMap::new();
        for recorded in self.events.iter().filter(|recorded| recorded.stream.category() == "run") {
            let Ok(run) = recorded.stream.name().parse::<RunId>() else { continue };
            if let Err(error) = records.entry(run).or_default().apply(recorded) {
                problems.push(format!("log: {} version {}: {error}", recorded.stream, recorded.version));
            }
        }
        self.effects_were_written(&records, &mut problems);
        for (run, mut record) in records {
            let listens = self.courses.get(&run).is_some_and(|it| it.started.workflow == LISTENING.name);
            record.heard_every_word(self.endings.get(&run).filter(|_| listens));
            problems.extend(record.problems.into_iter().map(|problem| format!("{problem}, of {run}")));
        }
        problems
    }

    fn effects_were_written(&self, records: &BTreeMap<RunId, Record>, problems: &mut Vec<String>) {
        let mut keys: BTreeMap<(RunId, Step, bool), BTreeSet<&str>> = BTreeMap::new();
        for effect in &self.told.effects {
            let (run, what) = (effect.run, &effect.what);
            let step = (effect.generation, effect.step.clone());
            keys.entry((run, step.clone(), effect.undoes)).or_default().insert(&effect.key);
            let Some(record) = records.get(&run) else {
                problems.push(format!("G3: {what} was done for {run}, which is not on the log"));
                continue;
            };
            let written = record.asked.iter().any(|(asked, place)| *asked == step && *place <= effect.tail);
            if !written {
                problems.push(format!("G3: {what} of {run} was done before it was written"));
            }
        }
        for ((run, step, _), keys) in keys.into_iter().filter(|(_, keys)| keys.len() > 1) {
            problems.push(format!("G3: step {} of {run} acted under {keys:?}", step.1));
        }
    }
}

/// Read in small pages, the log is the same, and no page ends in the middle of a commit.
pub(super) async fn pages_are_whole(log: &dyn Log, events: &[Recorded]) -> Result<Vec<String>, Failure> {
    let (mut problems, mut at, mut read) = (Vec::new(), Position::START, 0);
    loop {
        let page = log.read_all(at, 7).await.map_err(|error| error.failure())?;
        let Some(last) = page.events.last() else { break };
        if !last.ends {
            problems.push(format!("G6: a page ends at {}, in the middle of a commit", last.position));
        }
        if events.get(read..read + page.events.len()) != Some(&page.events[..]) {
            problems.push(format!("G6: the page after {at} is not what stands there"));
        }
        (at, read) = (page.next, read + page.events.len());
    }
    if read != events.len() {
        problems.push(format!("G6: pages have {read} events, the log {}", events.len()));
    }
    Ok(problems)
}
