use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::{Context as _, bail};
use steadfast_core::{RunId, Time, World};
use steadfast_engine::record::{Delivery, Outcome, RUN, Turn, kind};
use steadfast_log::{Log as _, Position};
use steadfast_log_sqlite::{Options, SqliteLog};

use super::Step;
use crate::bench::child::Place;
use crate::{effects::StepsInput, store::blocking, verify};

const PAGE: usize = 1_000;

/// What the store tells of runs.
#[derive(Default)]
pub(super) struct Written {
    recorded: HashMap<RunId, HashSet<String>>,
    completed: HashMap<RunId, Time>,
}

impl Written {
    pub(super) async fn read(place: &Place, world: &World) -> anyhow::Result<Self> {
        let log = open(place, world).await?;
        let mut written = Self::default();
        let mut after = Position::START;
        loop {
            let page = log.read_all(after, PAGE).await?;
            if page.events.is_empty() {
                return Ok(written);
            }
            for recorded in &page.events {
                if recorded.stream.category() == RUN && recorded.event.kind == kind::TURN {
                    let turn: Turn = serde_json::from_slice(&recorded.event.body)?;
                    written.turn(recorded.stream.name().parse()?, recorded.event.time, &turn);
                }
            }
            after = page.next;
        }
    }

    fn turn(&mut self, run: RunId, at: Time, turn: &Turn) {
        let steps = self.recorded.entry(run).or_default();
        for delivery in &turn.delivered {
            if let Delivery::Result { step, outcome: Ok(_), .. } = delivery {
                steps.insert(step.as_str().to_owned());
            }
        }
        if matches!(turn.outcome, Some(Outcome::Completed(_))) {
            self.completed.insert(run, at);
        }
    }

    pub(super) fn recorded(&self) -> impl Iterator<Item = Step> {
        self.recorded.iter().flat_map(|(run, steps)| steps.iter().map(|step| (*run, step.clone())))
    }

    pub(super) fn completed(&self, run: &RunId) -> bool {
        self.completed.contains_key(run)
    }

    pub(super) fn last_end(&self) -> Option<Time> {
        self.completed.values().max().copied()
    }

    /// What a run must still do at least: its steps follow one another.
    pub(super) fn left(&self, run: &RunId, of: &StepsInput) -> Duration {
        let recorded = self.recorded.get(run).map_or(0, HashSet::len);
        let steps = u64::from(of.steps).saturating_sub(recorded as u64);
        Duration::from_millis(steps * of.millis)
    }
}

/// What the file of effects tells of steps.
#[derive(Default)]
pub(super) struct Traces {
    lines: usize,
    began: HashSet<Step>,
    ended: HashSet<Step>,
}

impl Traces {
    /// All but the first lines of it.
    pub(super) fn read(place: &Place, skip: usize) -> anyhow::Result<Self> {
        let text = std::fs::read_to_string(place.effects()).context("the file of effects")?;
        let mut traces = Self { lines: text.lines().count(), ..Self::default() };
        for line in text.lines().skip(skip) {
            let mut words = line.split(' ');
            let (Some(run), Some(step), Some(mark)) = (words.next(), words.next(), words.next()) else {
                bail!("the file of effects has a line {line:?}");
            };
            let marked = if mark == "E" { &mut traces.ended } else { &mut traces.began };
            marked.insert((run.parse()?, step.to_owned()));
        }
        Ok(traces)
    }

    pub(super) fn lines(&self) -> usize {
        self.lines
    }

    pub(super) fn ended(&self) -> impl Iterator<Item = &Step> {
        self.ended.iter()
    }

    pub(super) fn has_ended(&self, step: &Step) -> bool {
        self.ended.contains(step)
    }

    pub(super) fn began(&self, step: &Step) -> bool {
        self.began.contains(step)
    }
}

/// What does not hold together in the store.
pub(super) async fn verify(place: &Place, world: &World) -> anyhow::Result<Vec<String>> {
    let log = open(place, world).await?;
    let verdict = verify::verify(&log, world, true).await?;
    Ok(verdict.problems)
}

async fn open(place: &Place, world: &World) -> anyhow::Result<SqliteLog> {
    let (store, options) = (place.store()?, Options::new(world.clone()));
    blocking(move || Ok(SqliteLog::open_read_only(store.path(), options)?)).await
}
