//! The promises, held against what happened: from the log, the world outside and what
//! clients were told; never from the code that is tested.

use std::collections::{BTreeMap, BTreeSet};

use steadfast_core::{Failure, RunId, TenantId};
use steadfast_engine::{Audit, Engine, Settled, Status, record::Started};
use steadfast_log::{Derived, Log, Recorded};

use crate::{
    clients::{Asked, Wish},
    node::WANTED,
    outside::{BOOKS, Effect},
    record,
};

/// Everything that happened.
pub(crate) struct Story {
    pub(crate) events: Vec<Recorded>,
    pub(crate) asked: Vec<Asked>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) delivered: Vec<(String, u64)>,
    pub(crate) endings: BTreeMap<RunId, Settled>,
    pub(crate) pages: Vec<String>,
    pub(crate) books: steadfast_bank::verify::Report,
    /// Who stood still for longer than a lease, and may have acted afterwards.
    pub(crate) froze: BTreeSet<(usize, u32)>,
}

impl Story {
    /// Reads back what is not told.
    pub(crate) async fn read(
        log: &dyn Log,
        engine: &Engine,
        events: &[Recorded],
        (asked, effects, delivered): (Vec<Asked>, Vec<Effect>, Vec<(String, u64)>),
        froze: &BTreeSet<(usize, u32)>,
    ) -> Result<Self, Failure> {
        let mut endings = BTreeMap::new();
        for recorded in events.iter().filter(|recorded| recorded.event.kind == "run.started") {
            let Ok(run) = recorded.stream.name().parse::<RunId>() else { continue };
            if let Some(settled) = engine.settled(&TenantId::default(), run).await? {
                endings.insert(run, settled);
            }
        }
        let (events, froze) = (events.to_vec(), froze.clone());
        let pages = record::pages_are_whole(log, &events).await?;
        let books = steadfast_bank::verify::verify(log).await?;
        Ok(Self { events, asked, effects, delivered, endings, pages, books, froze })
    }

    /// Everything that failed: what was asked, and runs.
    pub(crate) fn failures(&self) -> impl Iterator<Item = &Failure> {
        let answers = self.asked.iter().flat_map(|asked| &asked.answers);
        let refused = answers.filter_map(|answer| answer.as_ref().err());
        refused.chain(self.endings.values().filter_map(|settled| settled.outcome.as_ref().err()))
    }

    /// What is wrong with it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        self.log_is_sound(&mut problems);
        problems.extend(self.books.problems.iter().map(|problem| format!("books: {problem}")));
        self.g1_everything_accepted_has_ended(&mut problems);
        self.g2_nothing_is_done_again_once_it_is_recorded(&mut problems);
        self.g3_effects_happen_under_one_key(&mut problems);
        self.g4_what_failed_is_undone(&mut problems);
        self.g5_a_key_has_one_answer(&mut problems);
        problems.extend(self.pages.iter().cloned());
        self.g6_events_arrive_in_order(&mut problems);
        self.runs_did_what_they_wrote(&mut problems);
        self.keys_stand_for_one_request(&mut problems);
        self.purchases_that_fail_keep_nothing(&mut problems);
        self.outcomes_are_those_that_were_asked_for(&mut problems);
        problems
    }

    fn log_is_sound(&self, problems: &mut Vec<String>) {
        let mut audit = Audit::default();
        let mut derived = Derived::default();
        for recorded in &self.events {
            audit.apply(recorded);
            if let Err(error) = derived.apply(recorded) {
                problems.push(format!("log: {error}"));
            }
        }
        problems.extend(audit.finish(&derived).into_iter().map(|problem| format!("log: {problem}")));
    }

    fn g1_everything_accepted_has_ended(&self, problems: &mut Vec<String>) {
        for asked in &self.asked {
            let runs = matches!(asked.wish, Wish::Run { .. } | Wish::Purchase { .. });
            let Some(Ok(run)) = asked.accepted().filter(|_| runs).map(|run| run.parse::<RunId>()) else {
                continue;
            };
            if !self.endings.contains_key(&run) {
                problems.push(format!("G1: {} was accepted as {run}, which has not ended", asked.key));
            }
        }
    }

    /// Where each effect's step was recorded, by the first event that has its result.
    fn g2_nothing_is_done_again_once_it_is_recorded(&self, problems: &mut Vec<String>) {
        // A node that stood still may act late: nobody can take its hands off.
        let may_be_late = |effect: &&Effect| self.froze.contains(&effect.by);
        let forward = self.effects.iter().filter(|effect| effect.undoes.is_none());
        for effect in forward.filter(|effect| !may_be_late(effect)) {
            let ended = self.events.iter().find(|recorded| {
                recorded.event.kind == "run.ended" && recorded.stream.name() == effect.run.to_string()
            });
            if ended.is_some_and(|ended| ended.position.n <= effect.tail) {
                problems.push(format!("G2: {} acted for {} after its end", effect.what, effect.run));
            }
        }
    }

    fn g3_effects_happen_under_one_key(&self, problems: &mut Vec<String>) {
        let mut by_key: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for effect in &self.effects {
            by_key.entry(&effect.key).or_default().insert(&effect.what);
        }
        for (key, what) in by_key {
            if what.len() > 1 {
                problems.push(format!("G3: {key} did different things: {what:?}"));
            }
        }
        let mut entries: BTreeMap<&[u8], u32> = BTreeMap::new();
        for recorded in self.events.iter().filter(|recorded| recorded.stream.category() == BOOKS) {
            *entries.entry(&recorded.event.body).or_default() += 1;
        }
        for (key, times) in entries.into_iter().filter(|(_, times)| *times > 1) {
            problems.push(format!("G3: {} was booked {times} times", String::from_utf8_lossy(key)));
        }
    }

    fn g4_what_failed_is_undone(&self, problems: &mut Vec<String>) {
        for (run, settled) in &self.endings {
            let mine = || self.effects.iter().filter(|effect| effect.run == *run);
            if settled.status == Status::Completed {
                if let Some(undone) = mine().find(|effect| effect.undoes.is_some()) {
                    problems.push(format!("G4: {run} completed, and {} was undone", undone.what));
                }
                continue;
            }
            let undone: BTreeSet<&String> = mine().filter_map(|effect| effect.undoes.as_ref()).collect();
            let can_be = |what: &str| what.starts_with("deed") || what == "before";
            for effect in mine().filter(|effect| effect.undoes.is_none() && can_be(&effect.what)) {
                if self.undoable(*run) && !undone.contains(&effect.key) {
                    problems.push(format!(
                        "G4: {run} ended as {}, and {} was not undone",
                        settled.status.as_str(),
                        effect.what
                    ));
                }
            }
        }
    }

    /// Sleepers and loopers say of nothing how it is undone.
    fn undoable(&self, run: RunId) -> bool {
        let started = self.events.iter().find(|recorded| {
            recorded.event.kind == "run.started" && recorded.stream.name() == run.to_string()
        });
        let started = started.and_then(|it| serde_json::from_slice::<Started>(&it.event.body).ok());
        started.is_some_and(|it| ["saga", "crowd", "waiting"].contains(&it.workflow.as_str()))
    }

    fn g5_a_key_has_one_answer(&self, problems: &mut Vec<String>) {
        for asked in &self.asked {
            if matches!(asked.wish, Wish::Signal { .. } | Wish::Cancel { .. }) {
                continue;
            }
            let Some(first) = asked.answers.iter().position(Result::is_ok) else { continue };
            for later in &asked.answers[first..] {
                match later {
                    Ok(answer) if Some(answer) == asked.accepted() => {}
                    Err(failure) if failure.retryable => {}
                    other => problems.push(format!(
                        "G5: {} was answered {:?} and then {other:?}",
                        asked.key,
                        asked.accepted()
                    )),
                }
            }
        }
    }

    fn g6_events_arrive_in_order(&self, problems: &mut Vec<String>) {
        let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (stream, version) in &self.delivered {
            // What was delivered before may come again.
            if seen.insert((stream.as_str(), *version)) {
                let last = reached.entry(stream).or_default();
                if *version < *last {
                    problems.push(format!("G6: {stream} version {version} came after {last}"));
                }
                *last = *version;
            }
        }
        for missing in undelivered(&self.events, &self.delivered) {
            problems.push(format!("G6: {} version {} was never delivered", missing.stream, missing.version));
        }
    }

    /// Runs that were left alone end as their orders say.
    fn outcomes_are_those_that_were_asked_for(&self, problems: &mut Vec<String>) {
        let cancelled: BTreeSet<RunId> = self
            .asked
            .iter()
            .filter_map(|asked| match asked.wish {
                Wish::Cancel { run, .. } => Some(run),
                _ => None,
            })
            .collect();
        for asked in &self.asked {
            let Wish::Run { workflow, order } = &asked.wish else { continue };
            let Some(Ok(run)) = asked.accepted().map(|run| run.parse::<RunId>()) else { continue };
            let Some(settled) = self.endings.get(&run) else { continue };
            let refused = order.fails_at.is_some_and(|at| at < order.size)
                && matches!(*workflow, "saga" | "crowd" | "booking");
            if refused && settled.status == Status::Completed {
                problems.push(format!("{run} ({workflow}) completed, though a step was refused"));
            }
            let failed = settled.status == Status::Failed || settled.status == Status::Cancelled;
            let may_fail = refused
                || cancelled.contains(&run)
                || *workflow == "waiting"
                || *workflow == "parent" && order.fails_at.is_some();
            if failed && !may_fail {
                let why = settled.outcome.as_ref().err().map(|failure| failure.code.as_str());
                // Patience with the world outside has an end too.
                if !matches!(why, Some("sim.failed" | "sim.answer_lost" | "step.timeout")) {
                    problems.push(format!("{run} ({workflow}) failed for no reason: {why:?}"));
                }
            }
        }
    }
}

/// What the subscriber wants and was not given.
pub(crate) fn undelivered<'a>(events: &'a [Recorded], delivered: &[(String, u64)]) -> Vec<&'a Recorded> {
    let told: BTreeSet<_> = delivered.iter().map(|(stream, version)| (stream.as_str(), *version)).collect();
    let wanted = events.iter().filter(|recorded| WANTED.contains(&recorded.event.kind.as_ref()));
    wanted.filter(|recorded| !told.contains(&(&*recorded.stream.to_string(), recorded.version))).collect()
}
