use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use steadfast_bank::events::kind;
use steadfast_core::RunId;
use steadfast_engine::{Status, record::Started};
use steadfast_log::Recorded;

use super::{Course, Story, courses};
use crate::{
    outside::{BOOKS, Effect},
    sceptic::ONCE,
    subscribers::{BECAUSE_OF, FOLLOW_UP, WANTED},
    wishes::What,
    workflows::known,
};

/// Patience with the world outside has an end.
const PATIENCE: [&str; 3] = ["sim.failed", "sim.answer_lost", "step.timeout"];

impl Story {
    pub(super) fn g1_everything_accepted_has_ended(&self) -> Vec<String> {
        let accepted = self.told.asked.iter().filter_map(|asked| Some((asked.run()?, &asked.wish.key)));
        let lost = accepted.filter(|(run, _)| !self.endings.contains_key(run));
        lost.map(|(run, key)| format!("G1: {key} was accepted as {run}, which has not ended")).collect()
    }

    /// Whoever owns a run does no step of it whose result is on its log. An owner of before
    /// may: nobody can take its hands off.
    pub(super) fn g2_nothing_is_done_again_once_it_is_recorded(&self) -> Vec<String> {
        let forward = self.told.effects.iter().filter(|effect| !effect.undoes);
        let again = forward.filter(|effect| {
            let course = self.courses.get(&effect.run);
            course.is_some_and(|course| {
                let recorded = course.recorded.get(&(effect.generation, effect.step.clone()));
                let owns = effect.by.is_some() && course.owner_at(effect.tail) == effect.by;
                owns && recorded.is_some_and(|place| *place <= effect.tail)
            })
        });
        again
            .map(|effect| format!("G2: {} of {} was done after it was recorded", effect.step, effect.run))
            .collect()
    }

    pub(super) fn g3_effects_happen_under_one_key(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut by_key: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for effect in &self.told.effects {
            by_key.entry(&effect.key).or_default().insert(&effect.what);
        }
        for (key, what) in by_key.iter().filter(|(_, what)| what.len() > 1) {
            problems.push(format!("G3: {key} did different things: {what:?}"));
        }
        let mut entries: BTreeMap<&[u8], u32> = BTreeMap::new();
        for recorded in self.events.iter().filter(|recorded| recorded.stream.category() == BOOKS) {
            *entries.entry(&recorded.event.body).or_default() += 1;
        }
        for (key, times) in entries.iter().filter(|(_, times)| **times > 1) {
            problems.push(format!("G3: {} was booked {times} times", String::from_utf8_lossy(key)));
        }
        for (run, course) in &self.courses {
            let noted = ["sim.do", "sim.do.rarely", "sim.count", "sim.new", "sim.guarded"];
            let good = |step| course.recorded.contains_key(step);
            for intent in &course.intents {
                let (generation, step) = &intent.step;
                let is_noted = intent.action.as_deref().is_some_and(|action| noted.contains(&action));
                if is_noted
                    && good(&intent.step)
                    && !by_key.contains_key(&*format!("{run}/{generation}/{step}"))
                {
                    problems.push(format!("G3: {step} of {run} was recorded and never done"));
                }
            }
        }
        problems
    }

    pub(super) fn g4_what_failed_is_undone(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut effects: BTreeMap<RunId, Vec<&Effect>> = BTreeMap::new();
        for effect in &self.told.effects {
            effects.entry(effect.run).or_default().push(effect);
        }
        for (run, settled) in &self.endings {
            let (Some(course), Some(effects)) = (self.courses.get(run), effects.get(run)) else { continue };
            let place = |step: &(u32, String), undoes: bool| {
                effects
                    .iter()
                    .position(|it| it.undoes == undoes && (it.generation, &it.step) == (step.0, &step.1))
            };
            let mut intents =
                course.intents.iter().filter(|it| it.step.0 == course.generation).rev().collect::<Vec<_>>();
            if settled.status == Status::Completed {
                intents.retain(|intent| place(&intent.step, true).is_some());
                problems.extend(
                    intents.iter().map(|it| format!("G4: {run} completed, and {:?} was undone", it.step)),
                );
            }
            if !matches!(settled.status, Status::Failed | Status::Cancelled | Status::Dead) || course.killed {
                continue;
            }
            intents.retain(|intent| intent.can_be_undone);
            let gave_up = |step| course.undone.iter().any(|(of, gave_up)| of == step && *gave_up);
            for intent in intents.iter().filter(|intent| place(&intent.step, false).is_some()) {
                if place(&intent.step, true).is_none() && !gave_up(&intent.step) {
                    let status = settled.status.as_str();
                    problems
                        .push(format!("G4: {run} ended as {status}, and {:?} was not undone", intent.step));
                }
            }
            let order: Vec<_> = intents.iter().filter_map(|intent| place(&intent.step, true)).collect();
            if !order.is_sorted() && !course.undone.iter().any(|(_, gave_up)| *gave_up) {
                problems.push(format!("G4: {run} was not undone newest first"));
            }
        }
        problems
    }

    pub(super) fn g5_a_key_has_one_answer(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for asked in self.told.asked.iter().filter(|asked| asked.wish.what.remembers()) {
            // What was decided has an id; what was refused before claims nothing.
            let decided = |answer: &&crate::calls::Answer| answer.id().is_some() && answer.is_final();
            let Some(first) = asked.answers.iter().position(|answer| decided(&answer)) else { continue };
            let known = &asked.answers[first];
            for later in &asked.answers[first + 1..] {
                let same = (later.id(), later.code(), later.ok()) == (known.id(), known.code(), known.ok());
                let told = later.replayed || !later.ok();
                if later.is_final() && !(same && told) {
                    problems
                        .push(format!("G5: {} was answered {known:?} and then {later:?}", asked.wish.key));
                }
            }
        }
        problems.extend(self.told.asked.iter().filter_map(|asked| {
            let key = &asked.wish.key;
            let nothing = asked.answers.iter().any(|answer| answer.body["nothing_happened"] == true);
            let runs = || self.courses.values().any(|it| it.started.labels.get(ONCE) == Some(key));
            match &asked.wish.what {
                What::Mistake(codes) if codes.contains(&"idempotency_key_reused") => {
                    let reused = asked.accepted().map(|_| ());
                    reused.map(|()| format!("G5: {key} was accepted for another request"))
                }
                What::Once if nothing && runs() => {
                    Some(format!("G5: {key} was answered that nothing happened, and it runs"))
                }
                _ => None,
            }
        }));
        problems
    }

    pub(super) fn g6_events_arrive_in_order(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut reached: BTreeMap<&str, u64> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for (stream, version) in &self.told.delivered {
            // What was delivered before may come again.
            if seen.insert((stream.as_str(), *version)) {
                let last = reached.entry(stream).or_default();
                if *version < *last {
                    problems.push(format!("G6: {stream} version {version} came after {last}"));
                }
                *last = *version;
            }
        }
        for missing in undelivered(&self.events, &self.told.delivered) {
            problems.push(format!("G6: {} version {} was never delivered", missing.stream, missing.version));
        }
        let there = self.events.iter().map(|recorded| recorded.event.id.to_string());
        if let Some((read, there)) = self.told.read.iter().zip(there).find(|(read, there)| *read != there) {
            problems.push(format!("G6: a reader was given {read} where {there} stands"));
        }
        problems.extend(unfollowed(&self.events, &self.courses).map(|it| format!("G6: nobody saw to {it}")));
        let mut followed: BTreeMap<&str, u32> = BTreeMap::new();
        for course in self.courses.values() {
            if let Some(event) = course.started.labels.get(BECAUSE_OF) {
                *followed.entry(event).or_default() += 1;
            }
        }
        let twice = followed.into_iter().filter(|(_, times)| *times > 1);
        problems.extend(twice.map(|(event, times)| format!("G6: {event} started {times} runs")));
        problems
    }

    /// A sleeper does what comes after its nap no earlier. When it does is up to what else
    /// there is to do, but see how everything must have an end.
    pub(super) fn g7_nothing_is_done_before_its_time(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.told.clocks_jumped {
            return problems;
        }
        for (run, course) in self.courses.iter().filter(|(_, course)| course.started.workflow == "sleeper") {
            let first = |i: u32| {
                let what = format!("awake {i}");
                self.told.effects.iter().find(|it| it.run == *run && it.what == what).map(|it| it.at)
            };
            for i in 1..4 {
                let (Some(before), Some(after)) = (first(i - 1), first(i)) else { break };
                let nap = Duration::from_secs(1 << (2 * i));
                // The time of a turn has microseconds.
                if after + Duration::from_micros(1) < before + nap {
                    let version = course.started.version;
                    problems.push(format!("G7: {run} (version {version}) slept less than {nap:?}"));
                }
            }
        }
        problems
    }

    /// What is parked has a reason that is one, and what goes on goes on as it began.
    pub(super) fn g8_code_that_does_not_fit_is_not_guessed(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (run, course) in &self.courses {
            let Started { workflow, .. } = &course.started;
            for parked in &course.parked {
                let reasons: &[&str] = match &**workflow {
                    "stuck" => &["workflow.foreign_await"],
                    "versioned" => &["workflow.unknown_version"],
                    "patched" => &["workflow.diverged"],
                    "shaped" => &["workflow.result_shape"],
                    _ => &[],
                };
                if !reasons.contains(&&*parked.code) {
                    problems.push(format!("G8: {run} ({workflow}) was parked: {parked:?}"));
                }
            }
            let Some(settled) = self.endings.get(run) else { continue };
            if let (true, Ok(output)) =
                (["versioned", "patched", "shaped"].contains(&&**workflow), &settled.outcome)
            {
                let mine = self.told.effects.iter().filter(|effect| effect.run == *run && !effect.undoes);
                let steps = mine.map(|effect| &effect.step).collect::<BTreeSet<_>>().len() as u64;
                if output.read::<u64>().ok() != Some(steps) {
                    problems.push(format!("G8: {run} ({workflow}) did {steps} steps and answers {output:?}"));
                }
                let path = 2 + course.patches.len() as u64;
                if workflow == "patched" && !course.replayed && steps != path {
                    problems
                        .push(format!("G8: {run} (patched) did {steps} steps, and began the path of {path}"));
                }
            }
        }
        problems
    }

    /// Runs that were left alone end as their orders say.
    pub(super) fn runs_end_as_they_were_asked_to(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let ended_by = |of: RunId| {
            self.told
                .asked
                .iter()
                .any(|asked| matches!(asked.wish.what, What::Cancel(run) | What::Kill(run) if run == of))
        };
        for asked in &self.told.asked {
            let (What::Run { play, order }, Some(run)) = (&asked.wish.what, asked.run()) else { continue };
            let Some(settled) = self.endings.get(&run) else { continue };
            let must_fail = order.fails_at.is_some_and(|at| at < order.size)
                && matches!(play.name, "saga" | "crowd" | "booking" | "heavy");
            if (must_fail || play.stuck) && settled.status == Status::Completed {
                problems.push(format!("{run} ({}) completed, though a step was refused", play.name));
            }
            let Err(failure) = &settled.outcome else { continue };
            let code = &*failure.code;
            let by_hand = matches!(code, "run.cancelled" | "run.killed") && ended_by(run);
            if !by_hand && !play.fails_with.contains(&code) && !PATIENCE.contains(&code) {
                problems.push(format!("{run} ({}) failed for no reason: {failure:?}", play.name));
            }
        }
        let unknown = self.courses.values().filter(|course| {
            let workflow = &*course.started.workflow;
            course.ran && known(workflow).is_none() && !workflow.starts_with("bank.")
        });
        problems.extend(unknown.map(|course| format!("{} was run", course.started.workflow)));
        problems
    }

    pub(super) fn whoever_asks_gets_to_know(&self) -> Vec<String> {
        let unknown = |asked: &&crate::clients::Asked| {
            let known = |answer: &crate::calls::Answer| {
                let code = answer.code().unwrap_or_default();
                answer.is_final() || matches!(&asked.wish.what, What::Mistake(codes) if codes.contains(&code))
            };
            !asked.answers.iter().any(known)
        };
        let again = self.told.asked.iter().filter(|asked| !matches!(asked.wish.what, What::Once));
        let unknown = again.filter(unknown);
        unknown
            .map(|it| format!("nobody knows what came of {:?}: {:?}", it.wish, it.answers.last()))
            .collect()
    }

    pub(super) fn wrong_requests_are_told_so(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for asked in &self.told.asked {
            for answer in asked.answers.iter().filter(|answer| answer.is_final()) {
                let wrong = match &asked.wish.what {
                    What::Mistake(codes) => !codes.contains(&answer.code().unwrap_or_default()),
                    What::Look => !answer.ok(),
                    _ => false,
                };
                if wrong {
                    problems.push(format!("{:?} was answered {answer:?}", asked.wish));
                }
            }
        }
        problems
    }
}

/// What the subscriber wants and was not given.
pub(crate) fn undelivered<'a>(events: &'a [Recorded], delivered: &[(String, u64)]) -> Vec<&'a Recorded> {
    let told: BTreeSet<_> = delivered.iter().map(|(stream, version)| (stream.as_str(), *version)).collect();
    let wanted = events.iter().filter(|recorded| WANTED.contains(&recorded.event.kind.as_ref()));
    wanted.filter(|recorded| !told.contains(&(&*recorded.stream.to_string(), recorded.version))).collect()
}

/// Events that a run should have been started for, and was not, and no letter tells why.
pub(crate) fn unfollowed<'a>(
    events: &'a [Recorded],
    courses: &BTreeMap<RunId, Course>,
) -> impl Iterator<Item = String> + 'a {
    let followed = courses.values().filter(|course| course.started.workflow == FOLLOW_UP);
    let followed: BTreeSet<String> =
        followed.filter_map(|course| course.started.labels.get(BECAUSE_OF).cloned()).collect();
    let letters = events.iter().filter(|recorded| recorded.event.kind == "dead_letter.recorded");
    let letters: Vec<serde_json::Value> =
        letters.filter_map(|it| serde_json::from_slice(&it.event.body).ok()).collect();
    let wanted = events.iter().filter(|recorded| recorded.event.kind == kind::CUSTOMER_DEACTIVATED);
    wanted
        .filter(move |recorded| {
            let of = serde_json::json!([recorded.stream, recorded.version]);
            let aside = letters.iter().any(|it| it["subscriber"] == "follow-up" && it["event"] == of);
            !aside && !followed.contains(&recorded.event.id.to_string())
        })
        .map(|recorded| format!("{} version {}", recorded.stream, recorded.version))
}

/// The same from the events alone.
pub(crate) fn nothing_unfollowed(events: &[Recorded]) -> bool {
    unfollowed(events, &courses(events)).next().is_none()
}
