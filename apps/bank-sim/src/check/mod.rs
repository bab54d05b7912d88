//! The promises, held against what happened: from the log, the world outside and what
//! clients were told; never from the code that is tested.

mod books;
mod courses;
mod promises;
mod record;
mod talks;

use std::collections::BTreeMap;

use steadfast_core::{Failure, RunId, TenantId};
use steadfast_engine::{Audit, Engine, Settled};
use steadfast_log::{Derived, Log, Recorded};

pub(crate) use courses::{Course, courses};
pub(crate) use promises::{nothing_unfollowed, undelivered};

use crate::{clients::Asked, outside::Effect, talks::Said};

/// What people and the world outside know.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) asked: Vec<Asked>,
    pub(crate) said: Vec<Said>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) delivered: Vec<(String, u64)>,
    /// The events that somebody read, by their ids.
    pub(crate) read: Vec<String>,
    /// Clocks may have been wrong.
    pub(crate) clocks_jumped: bool,
}

/// Everything that happened.
pub(crate) struct Story {
    pub(crate) events: Vec<Recorded>,
    pub(crate) told: Told,
    pub(crate) courses: BTreeMap<RunId, Course>,
    pub(crate) endings: BTreeMap<RunId, Settled>,
    pub(crate) pages: Vec<String>,
    pub(crate) books: steadfast_bank::verify::Report,
}

impl Story {
    /// Reads back what is not told.
    pub(crate) async fn read(
        log: &dyn Log,
        engine: &Engine,
        events: &[Recorded],
        told: Told,
    ) -> Result<Self, Failure> {
        let courses = courses(events);
        let mut endings = BTreeMap::new();
        for run in courses.keys() {
            if let Some(settled) = engine.settled(&TenantId::default(), *run).await? {
                endings.insert(*run, settled);
            }
        }
        let pages = record::pages_are_whole(log, events).await?;
        let books = steadfast_bank::verify::verify(log).await?;
        Ok(Self { events: events.to_vec(), told, courses, endings, pages, books })
    }

    /// What is wrong with it.
    pub(crate) fn problems(&self) -> Vec<String> {
        let mut problems = self.log_is_sound();
        problems.extend(self.books.problems.iter().map(|problem| format!("books: {problem}")));
        problems.extend(self.what_was_told_of_money_is_true());
        problems.extend(self.g1_everything_accepted_has_ended());
        problems.extend(self.g2_nothing_is_done_again_once_it_is_recorded());
        problems.extend(self.g3_effects_happen_under_one_key());
        problems.extend(self.g4_what_failed_is_undone());
        problems.extend(self.g5_a_key_has_one_answer());
        problems.extend(self.g6_events_arrive_in_order());
        problems.extend(self.g7_nothing_is_done_before_its_time());
        problems.extend(self.g8_code_that_does_not_fit_is_not_guessed());
        problems.extend(self.pages.iter().cloned());
        problems.extend(self.runs_did_what_they_wrote());
        problems.extend(self.runs_end_as_they_were_asked_to());
        problems.extend(self.wrong_requests_are_told_so());
        problems.extend(self.whoever_asks_gets_to_know());
        problems.extend(self.conversations_have_one_end_and_tell_the_truth());
        problems
    }

    fn log_is_sound(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut audit = Audit::default();
        let mut derived = Derived::default();
        for recorded in &self.events {
            audit.apply(recorded);
            if let Err(error) = derived.apply(recorded) {
                problems.push(format!("log: {error}"));
            }
        }
        problems.extend(audit.finish(&derived).into_iter().map(|problem| format!("log: {problem}")));
        problems
    }
}
