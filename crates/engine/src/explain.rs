//! Why a run did what it did: every event of its stream as sentences, with the effects
//! that were committed with them.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use steadfast_core::{Coded, Failure, RunId, TenantId, Time};
use steadfast_log::{ListQuery, Recorded, commit_of};

use crate::{
    Data, DeadLetterView, EffectKey, Engine, RunView, StepOutcome,
    record::{
        Claimed, Delivery, Ended, Message, Outcome, Parked, Replayed, Sent, Started, Turn, Undone, kind,
    },
    view::waits_for,
};

const PAGE: usize = 500;

/// The whole story of a run.
#[derive(Debug, Clone, Serialize)]
pub struct Explanation {
    /// Where it stands.
    pub run: RunView,
    /// What happened, in order.
    pub story: Vec<Line>,
    /// What gave up.
    pub dead_letters: Vec<DeadLetterView>,
}

/// One thing that happened.
#[derive(Debug, Clone, Serialize)]
pub struct Line {
    /// When.
    pub at: Time,
    /// The event that says so: its version in the run's stream, or in that of its steps from
    /// outside.
    pub version: u64,
    /// `accepted`, `delivered`, `asked`, `message`, `effect`, `outside`, `undone`, `ended`, ….
    pub what: &'static str,
    /// In words.
    pub text: String,
}

impl Engine {
    /// Tells a run's story from its events.
    pub async fn explain(&self, tenant: &TenantId, run: RunId) -> Result<Explanation, Failure> {
        let view = self.describe(tenant, run).await?;
        let mut teller = Teller { run, generation: 1, story: Vec::new() };
        let mut from = 1;
        loop {
            let page = self.events(tenant, run, from, PAGE).await?;
            for recorded in &page {
                teller.tell(recorded);
                if recorded.event.kind == kind::MESSAGE {
                    self.effects(&mut teller, recorded).await?;
                }
            }
            if page.len() < PAGE {
                break;
            }
            from += page.len() as u64;
        }
        for (recorded, done) in self.outside_steps(tenant, run).await? {
            let (step, by) = (&done.step, &done.by);
            let (at, version) = (recorded.event.time, recorded.version);
            let text = format!("step {step} was done outside by {by}");
            let after = teller.story.iter().rposition(|line| line.at <= at).map_or(0, |last| last + 1);
            teller.story.insert(after, Line { at, version, what: "outside", text });
        }
        let mut query = ListQuery { tenant: tenant.clone(), limit: 50, ..ListQuery::default() };
        query.labels.insert("run".into(), run.to_string());
        let (dead_letters, _) = self.dead_letters(query).await?;
        Ok(Explanation { run: view, story: teller.story, dead_letters })
    }

    /// What else was in the commit that recorded a result: the step's effect on our log.
    async fn effects(&self, teller: &mut Teller, recorded: &Recorded) -> Result<(), Failure> {
        let commit = commit_of(&**self.log(), recorded).await.map_err(|error| error.failure())?;
        for other in commit.iter().filter(|other| other.stream != recorded.stream) {
            let text = format!("{} in {} (version {})", other.event.kind, other.stream, other.version);
            teller.line(recorded, "effect", text);
        }
        Ok(())
    }
}

struct Teller {
    run: RunId,
    generation: u32,
    story: Vec<Line>,
}

impl Teller {
    fn line(&mut self, recorded: &Recorded, what: &'static str, text: String) {
        self.story.push(Line { at: recorded.event.time, version: recorded.version, what, text });
    }

    fn read<T: DeserializeOwned>(&mut self, recorded: &Recorded) -> Option<T> {
        let read = serde_json::from_slice(&recorded.event.body);
        if let Err(error) = &read {
            self.line(recorded, "unreadable", format!("{}: {error}", recorded.event.kind));
        }
        read.ok()
    }

    fn tell(&mut self, recorded: &Recorded) {
        match recorded.event.kind.as_ref() {
            kind::STARTED => {
                if let Some(started) = self.read::<Started>(recorded) {
                    self.line(recorded, "accepted", accepted(&started));
                }
            }
            kind::TURN => {
                if let Some(turn) = self.read::<Turn>(recorded) {
                    self.turn(recorded, &turn);
                }
            }
            kind::MESSAGE => {
                if let Some(message) = self.read::<Message>(recorded) {
                    self.line(recorded, "message", sent(&message));
                }
            }
            kind::CLAIMED => {
                if let Some(claimed) = self.read::<Claimed>(recorded) {
                    let text = format!("taken over by node {} as epoch {}", claimed.owner, claimed.epoch);
                    self.line(recorded, "claimed", text);
                }
            }
            kind::UNDONE => {
                if let Some(undone) = self.read::<Undone>(recorded) {
                    let tried = tried(&undone.failed_attempts);
                    let text = match &undone.failure {
                        None => format!("step {} undone{tried}", undone.step),
                        Some(failure) => {
                            format!("step {} could not be undone{tried}: {failure}", undone.step)
                        }
                    };
                    self.line(recorded, "undone", text);
                }
            }
            kind::ENDED => {
                if let Some(ended) = self.read::<Ended>(recorded) {
                    let by = ended.by.map(|by| format!(" by {by}")).unwrap_or_default();
                    let why = ended.failure.map(|failure| format!(": {failure}")).unwrap_or_default();
                    self.line(recorded, "ended", format!("{}{by}{why}", ended.status.as_str()));
                }
            }
            kind::PARKED => {
                if let Some(parked) = self.read::<Parked>(recorded) {
                    self.line(recorded, "parked", format!("{} ({})", parked.message, parked.code));
                }
            }
            kind::REPLAYED => {
                if let Some(replayed) = self.read::<Replayed>(recorded) {
                    self.generation = replayed.generation;
                    let text = format!("replayed by {} as generation {}", replayed.by, replayed.generation);
                    self.line(recorded, "replayed", text);
                }
            }
            kind::NOTED => {
                self.line(recorded, "noted", "something came after the end and was laid aside".into());
            }
            kind::TOLD => self.line(recorded, "told", "the children it left behind know".into()),
            other => self.line(recorded, "unknown", format!("an event of type {other}")),
        }
    }

    fn turn(&mut self, recorded: &Recorded, turn: &Turn) {
        for delivery in &turn.delivered {
            let text = match delivery {
                Delivery::Result { step, outcome, failed_attempts } => {
                    format!("turn {}: {}{}", turn.turn, result(step, outcome), tried(failed_attempts))
                }
                Delivery::Message(version) => {
                    format!("turn {}: the message of version {version}", turn.turn)
                }
                Delivery::Timer(step) => format!("turn {}: timer {step} was due", turn.turn),
                Delivery::Deadline => format!("turn {}: the run's deadline passed", turn.turn),
            };
            self.line(recorded, "delivered", text);
        }
        for ask in &turn.asked {
            let key = EffectKey::of(self.run, self.generation, &ask.step);
            let undo =
                ask.undo.as_ref().map(|undo| format!(", undone by {}", undo.action)).unwrap_or_default();
            let text = format!("turn {}: {}, key {key}{undo}", turn.turn, waits_for(&ask.step, &ask.what));
            self.line(recorded, "asked", text);
        }
        match &turn.outcome {
            None => {}
            Some(Outcome::Completed(value)) => {
                self.line(recorded, "ended", format!("turn {}: completed with {}", turn.turn, shown(value)));
            }
            Some(Outcome::Failed(failure)) => {
                self.line(recorded, "failed", format!("turn {}: {failure}", turn.turn));
            }
            Some(Outcome::Cancelled(failure)) => {
                self.line(recorded, "cancelled", format!("turn {}: {failure}", turn.turn));
            }
            Some(Outcome::Continued(_)) => {
                self.generation += 1;
                self.line(
                    recorded,
                    "continued",
                    format!("turn {}: goes on as generation {}", turn.turn, self.generation),
                );
            }
        }
    }
}

/// A value as text. What is sealed is of no use to who reads it.
fn shown(data: &Data) -> String {
    let text = data.text();
    match serde_json::from_str(&text) {
        Ok(value) if text.contains("\"key_id\"") => without_sealed(value).to_string(),
        _ => text,
    }
}

fn without_sealed(value: Value) -> Value {
    match value {
        Value::Object(all) => match (all.len(), all.get("key_id"), all.get("bytes")) {
            (2, Some(Value::String(_)), Some(Value::String(hex))) => {
                format!("(sealed, {} bytes)", hex.len() / 2).into()
            }
            _ => all.into_iter().map(|(name, value)| (name, without_sealed(value))).collect(),
        },
        Value::Array(all) => all.into_iter().map(without_sealed).collect(),
        other => other,
    }
}

fn accepted(started: &Started) -> String {
    let Started { workflow, version, principal, owner, .. } = started;
    let input = shown(&started.input);
    let mut parts = vec![format!(
        "{workflow} version {version} for {principal}, on node {owner} as epoch 1, with {input}"
    )];
    if let Some(parent) = &started.parent {
        parts.push(format!("as step {} of run {}", parent.step, parent.run));
    }
    if let Some(deadline) = started.deadline {
        parts.push(format!("to end before {deadline}"));
    }
    if started.claim.is_some() {
        parts.push("under an idempotency key".into());
    }
    parts.join(", ")
}

fn sent(message: &Message) -> String {
    let from = message.from.as_deref().map(|from| format!(" from {from}")).unwrap_or_default();
    match &message.what {
        Sent::Signal { name, value } => format!("signal {name}{from}: {}", shown(value)),
        Sent::Cancel { reason } => format!("cancel{from}: {reason}"),
        Sent::Result { step, outcome, .. } => result(step, outcome),
    }
}

fn result(step: &crate::StepId, outcome: &StepOutcome) -> String {
    match outcome {
        Ok(value) => format!("step {step} gave {}", shown(value)),
        Err(failure) => format!("step {step} failed: {failure}"),
    }
}

fn tried(failed: &[String]) -> String {
    if failed.is_empty() {
        String::new()
    } else {
        format!(" after {} failed attempts ({})", failed.len(), failed.join(", "))
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let run = &self.run;
        writeln!(f, "run {}: {} version {}, {}", run.id, run.workflow, run.version, run.status.as_str())?;
        writeln!(f, "for {} since {}", run.principal, run.created)?;
        for line in &self.story {
            writeln!(f, "{}  v{:<4} {:<10} {}", line.at, line.version, line.what, line.text)?;
        }
        for wait in &run.waiting_for {
            writeln!(f, "waits for {wait}")?;
        }
        for letter in &self.dead_letters {
            writeln!(f, "dead letter {} ({}): {}", letter.id, letter.status, letter.letter.cause)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::{
        World,
        secret::{Keyring, Secret},
    };

    use super::*;

    #[test]
    fn what_is_sealed_is_named_and_not_printed() {
        let ring = Keyring::new("k", &Secret::new([7; 32]), World::manual(1).0);
        let sealed = ring.seal(&"x".repeat(1_000)).expect("seals");
        let of = |value: Value| shown(&Data::of(&value).expect("data"));
        let sealed = serde_json::to_value(&sealed).expect("JSON");
        let bytes = sealed["bytes"].as_str().expect("hex").len() / 2;
        let whole = of(serde_json::json!({ "id": "a", "request": [sealed] }));
        assert_eq!(whole, format!(r#"{{"id":"a","request":["(sealed, {bytes} bytes)"]}}"#));
        assert_eq!(of(serde_json::json!({ "key_id": 1 })), r#"{"key_id":1}"#);
    }
}
