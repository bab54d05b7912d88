use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use steadfast_core::{NodeId, RunId};
use steadfast_engine::{
    Status, StepOutcome,
    record::{
        Claimed, Delivery, Ended, Message, Outcome, Parked, Replayed, Sent, Started, Turn, Undone, What,
    },
};
use steadfast_log::Recorded;

/// A step of one generation.
pub(crate) type Step = (u32, String);

/// A step that was asked for.
#[derive(Debug, Clone)]
pub(crate) struct Intent {
    pub(crate) step: Step,
    /// The action, if it is one.
    pub(crate) action: Option<String>,
    pub(crate) can_be_undone: bool,
}

/// What the log says of one run.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) started: Started,
    pub(crate) correlation: Option<String>,
    /// From which place on it was whose.
    owners: Vec<(u64, NodeId)>,
    pub(crate) generation: u32,
    pub(crate) intents: Vec<Intent>,
    /// Where the good result of a step was recorded first. A bad one may be tried anew, when
    /// its letter is replayed.
    pub(crate) recorded: BTreeMap<Step, u64>,
    /// Compensations that were recorded, and whether they gave up.
    pub(crate) undone: Vec<(Step, bool)>,
    pub(crate) parked: Vec<Parked>,
    /// It took a turn. A run that only took the place of a child never does.
    pub(crate) ran: bool,
    /// The changes of the code that it began with.
    pub(crate) patches: Vec<String>,
    pub(crate) killed: bool,
    pub(crate) replayed: bool,
}

impl Course {
    /// Whose it was, as far as was known at a place in the log.
    pub(crate) fn owner_at(&self, place: u64) -> Option<NodeId> {
        self.owners.iter().rev().find(|(from, _)| *from <= place).map(|(_, owner)| *owner)
    }

    fn apply(&mut self, recorded: &Recorded) {
        let (place, body) = (recorded.position.n, recorded);
        match &*recorded.event.kind {
            "run.claimed" => {
                self.owners.extend(read::<Claimed>(body).map(|claimed| (place, claimed.owner)));
            }
            "run.turn" => {
                if let Some(turn) = read::<Turn>(body) {
                    self.turn(place, turn);
                }
            }
            "run.message" => {
                if let Some(Sent::Result { generation, step, outcome }) =
                    read::<Message>(body).map(|message| message.what)
                {
                    self.result(place, (generation, step.as_str().to_owned()), &outcome);
                }
            }
            "run.undone" => {
                let of = |undone: Undone| {
                    ((self.generation, undone.step.as_str().to_owned()), undone.failure.is_some())
                };
                self.undone.extend(read(body).map(of));
            }
            "run.parked" => self.parked.extend(read::<Parked>(body)),
            "run.replayed" => {
                self.generation = read::<Replayed>(body).map_or(self.generation, |it| it.generation);
                self.replayed = true;
            }
            "run.ended" => {
                self.killed |= read::<Ended>(body).is_some_and(|ended| ended.status == Status::Killed);
            }
            _ => {}
        }
    }

    fn result(&mut self, place: u64, step: Step, outcome: &StepOutcome) {
        if outcome.is_ok() {
            self.recorded.entry(step).or_insert(place);
        }
    }

    fn turn(&mut self, place: u64, turn: Turn) {
        self.ran = true;
        self.patches.extend(turn.patches);
        for delivery in turn.delivered {
            if let Delivery::Result { step, outcome, .. } = delivery {
                self.result(place, (self.generation, step.as_str().to_owned()), &outcome);
            }
        }
        for ask in turn.asked {
            let action = match ask.what {
                What::Action { action, .. } => Some(action),
                _ => None,
            };
            let step = (self.generation, ask.step.as_str().to_owned());
            self.intents.push(Intent { step, action, can_be_undone: ask.undo.is_some() });
        }
        if matches!(turn.outcome, Some(Outcome::Continued(_))) {
            self.generation += 1;
        }
    }
}

fn read<T: DeserializeOwned>(recorded: &Recorded) -> Option<T> {
    serde_json::from_slice(&recorded.event.body).ok()
}

/// All runs, as the log tells them.
pub(crate) fn courses(events: &[Recorded]) -> BTreeMap<RunId, Course> {
    let mut courses: BTreeMap<RunId, Course> = BTreeMap::new();
    for recorded in events.iter().filter(|recorded| recorded.stream.category() == "run") {
        let Ok(run) = recorded.stream.name().parse::<RunId>() else { continue };
        if let Some(course) = courses.get_mut(&run) {
            course.apply(recorded);
        } else if let Some(started) = read::<Started>(recorded) {
            let course = Course {
                correlation: recorded.event.correlation.map(|id| id.to_string()),
                owners: vec![(recorded.position.n, started.owner)],
                generation: 1,
                intents: Vec::new(),
                recorded: BTreeMap::new(),
                undone: Vec::new(),
                parked: Vec::new(),
                ran: false,
                patches: Vec::new(),
                killed: false,
                replayed: false,
                started,
            };
            courses.insert(run, course);
        }
    }
    courses
}
