//! What runs wrote, held against what they did and against itself.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::{Coded, Failure, RunId};
use steadfast_engine::{
    Settled,
    record::{Delivery, Message, Outcome, Replayed, Sent, Started, Turn, Undone, kind},
};
use steadfast_log::{Log, Position, Recorded};

use crate::{check::Story, workflows::LISTENING};

/// A step of a generation.
type Step = (u32, String);

/// What a run wrote.
#[derive(Default)]
struct Record {
    generation: u32,
    /// Where each step was asked for, oldest first.
    asked: Vec<(Step, u64)>,
    /// Where its result was recorded first.
    results: BTreeMap<Step, u64>,
    /// In the order in which they were undone, up to the end.
    undone: Vec<Step>,
    ended: bool,
    workflow: String,
    signals: BTreeSet<u64>,
    /// Delivered by the last turn.
    last: BTreeSet<u64>,
    /// The messages that count, by their ids, and how many turns were taken since.
    messages: BTreeMap<uuid::Uuid, (u64, u32)>,
    delivered: BTreeSet<u64>,
    /// Ids of messages by their versions.
    ids: BTreeMap<u64, uuid::Uuid>,
    problems: Vec<String>,
}

impl Record {
    fn apply(&mut self, recorded: &Recorded) -> serde_json::Result<()> {
        let (body, place) = (&recorded.event.body, recorded.position.n);
        match recorded.event.kind.as_ref() {
            kind::STARTED => {
                self.workflow = serde_json::from_slice::<Started>(body)?.workflow;
                self.generation = 1;
            }
            kind::TURN => self.turn(&serde_json::from_slice(body)?, place),
            kind::MESSAGE => self.message(serde_json::from_slice(body)?, recorded.version, place),
            kind::UNDONE if !self.ended => {
                let undone: Undone = serde_json::from_slice(body)?;
                self.undone.push((self.generation, undone.step.to_string()));
            }
            kind::ENDED => self.ended = true,
            kind::REPLAYED => {
                let replayed: Replayed = serde_json::from_slice(body)?;
                self.generation = replayed.generation;
                self.ended = false;
            }
            _ => {}
        }
        Ok(())
    }

    fn message(&mut self, message: Message, version: u64, place: u64) {
        if let Sent::Result { generation, step, outcome: Ok(_) } = &message.what {
            self.results.entry((*generation, step.to_string())).or_insert(place);
        }
        if let Sent::Signal { .. } = &message.what {
            self.signals.insert(version);
        }
        self.ids.insert(version, message.id);
        self.messages.entry(message.id).or_insert((version, 0));
    }

    fn turn(&mut self, turn: &Turn, place: u64) {
        self.last.clear();
        for delivery in &turn.delivered {
            match delivery {
                Delivery::Result { step, outcome: Ok(_), .. } => {
                    self.results.entry((self.generation, step.to_string())).or_insert(place);
                }
                Delivery::Message(version) => self.deliver(*version),
                Delivery::Result { .. } | Delivery::Timer(_) | Delivery::Deadline => {}
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
            self.generation += 1;
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

    /// What the last turn brought came too late for the code, and all else was taken.
    fn heard_every_word(&mut self, ending: Option<&Settled>) {
        let Some(Ok(heard)) = ending.filter(|_| self.workflow == LISTENING).map(|it| &it.outcome) else {
            return;
        };
        let said = self.signals.intersection(&self.delivered).filter(|it| !self.last.contains(it)).count();
        if heard.read::<usize>().ok() != Some(said) {
            self.problems.push(format!("G7: of {said} words it heard {heard:?}"));
        }
    }

    /// Newest intent first.
    fn undone_in_order(&mut self) {
        let place = |step: &Step| self.asked.iter().rposition(|(asked, _)| asked == step);
        for pair in self.undone.windows(2) {
            if pair[0].0 == pair[1].0 && place(&pair[0]) < place(&pair[1]) {
                self.problems.push(format!("G4: it undid {} before {}", pair[0].1, pair[1].1));
            }
        }
    }
}

impl Story {
    pub(crate) fn runs_did_what_they_wrote(&self, problems: &mut Vec<String>) {
        let mut records: BTreeMap<RunId, Record> = BTreeMap::new();
        for recorded in self.events.iter().filter(|recorded| recorded.stream.category() == "run") {
            let Ok(run) = recorded.stream.name().parse::<RunId>() else { continue };
            if let Err(error) = records.entry(run).or_default().apply(recorded) {
                problems.push(format!("log: {} version {}: {error}", recorded.stream, recorded.version));
            }
        }
        self.effects_were_written(&records, problems);
        for (run, mut record) in records {
            record.undone_in_order();
            record.heard_every_word(self.endings.get(&run));
            problems.extend(record.problems.into_iter().map(|problem| format!("{problem}, of {run}")));
        }
    }

    fn effects_were_written(&self, records: &BTreeMap<RunId, Record>, problems: &mut Vec<String>) {
        let mut keys: BTreeMap<(RunId, &Step, bool), BTreeSet<&str>> = BTreeMap::new();
        for effect in &self.effects {
            let (run, what, step) = (effect.run, &effect.what, &effect.step);
            keys.entry((run, step, effect.undoes.is_some())).or_default().insert(&effect.key);
            let Some(record) = records.get(&run) else {
                problems.push(format!("G3: {what} was done for {run}, which is not on the log"));
                continue;
            };
            let written = record.asked.iter().any(|(asked, place)| asked == step && *place <= effect.tail);
            if !written {
                problems.push(format!("G3: {what} of {run} was done before it was written"));
            }
            let known = record.results.get(step).is_some_and(|place| *place <= effect.born);
            if known && effect.undoes.is_none() {
                problems.push(format!("G2: {what} of {run} was recorded, and done again after a restart"));
            }
        }
        for ((run, step, _), keys) in keys.into_iter().filter(|(_, keys)| keys.len() > 1) {
            problems.push(format!("G3: step {} of {run} acted under {keys:?}", step.1));
        }
    }
}

/// Read in small pages, the log is the same, and no page ends in the middle of a commit.
pub(crate) async fn pages_are_whole(log: &dyn Log, events: &[Recorded]) -> Result<Vec<String>, Failure> {
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
