//! Plants faults, one at a time, and looks for the seed that finds each. A fault counts as
//! found where the check that is there for it speaks up, not where anything at all goes wrong.

use std::{
    fmt::Write as _,
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use steadfast_core::{Mutant, mutant};
use steadfast_sim::{Plan, simulate};

use crate::{Banking, scenario::lasts};

/// Less than a seed is given without a fault: what has not ended by then mostly never will.
const CALM: Duration = Duration::from_mins(90);

/// The same for worlds in which somebody waits for longer.
const CALM_LASTING: Duration = Duration::from_hours(5);

/// Where a fault showed.
#[derive(Debug, Clone)]
pub struct Found {
    /// The first seed in which it did.
    pub seed: u64,
    /// What the check said.
    pub problem: String,
}

/// Within how many seeds, counted from 0, a fault must be found.
pub const fn within(mutant: Mutant) -> u64 {
    known(mutant).0
}

/// Within how many seeds it must be found, and the seed that once found it.
#[expect(clippy::match_same_arms, reason = "a table, in the order of the faults")]
const fn known(mutant: Mutant) -> (u64, u64) {
    match mutant {
        Mutant::VersionUnchecked => (100, 1),
        Mutant::NewUnchecked => (100, 6),
        Mutant::ClaimUnchecked => (100, 0),
        Mutant::HalfCommitWritten => (100, 0),
        Mutant::SyncSkipped => (100, 3),
        Mutant::RefusedTooEarly => (300, 7),
        Mutant::HalfCommitRead => (100, 0),
        Mutant::PositionSkipped => (100, 0),
        Mutant::LeaseNeverEnds => (100, 4),
        Mutant::UnknownIsNothing => (300, 29),
        Mutant::AcceptedTooEarly => (100, 0),
        Mutant::ClaimOutsideCommit => (100, 1),
        Mutant::ClaimEndsEarly => (300, 15),
        Mutant::OtherRequestAnswered => (300, 27),
        Mutant::EffectBeforeIntent => (100, 4),
        Mutant::KeyOfAttempt => (100, 1),
        Mutant::RecordedStepAgain => (100, 0),
        Mutant::EpochUnchecked => (100, 19),
        Mutant::TurnForced => (100, 1),
        Mutant::UnfinishedNotUndone => (1000, 89),
        Mutant::OldestUndoneFirst => (100, 1),
        Mutant::UndoForgotten => (100, 1),
        Mutant::UndoRecordedFirst => (100, 3),
        Mutant::CheckpointFirst => (100, 7),
        Mutant::TimerForgotten => (100, 0),
        Mutant::WakeUpCleared => (100, 1),
        Mutant::CancelForgotten => (100, 11),
        Mutant::SignalDropped => (100, 1),
        Mutant::MessageTwice => (100, 1),
        Mutant::PatchUnchecked => (300, 29),
        Mutant::ParentNotTold => (100, 2),
        Mutant::DeadLetterMissing => (100, 0),
        Mutant::OneSideOnly => (100, 0),
        Mutant::HeldIsAvailable => (300, 11),
        Mutant::HoldReleasedTwice => (300, 21),
        Mutant::StockUnchecked => (300, 0),
        Mutant::ConflictResent => (600, 53),
    }
}

/// Plays seeds with a fault in them until its check speaks up.
pub fn hunt(mutant: Mutant) -> Option<Found> {
    first(mutant, 0..within(mutant))
}

/// The same, beginning with the seed that once found it. Others may do so today.
pub fn find_again(mutant: Mutant) -> Option<Found> {
    let (within, seed) = known(mutant);
    first(mutant, std::iter::once(seed).chain(0..within))
}

fn first(mutant: Mutant, mut seeds: impl Iterator<Item = u64>) -> Option<Found> {
    seeds.find_map(|seed| {
        // Only one fault needs the long ones.
        if lasts(seed) != (mutant == Mutant::ClaimEndsEarly) {
            return None;
        }
        let problem = problems(seed, Some(mutant)).into_iter().find(|problem| names(problem, mutant))?;
        Some(Found { seed, problem })
    })
}

/// What is wrong after a seed, with a fault in it or none.
pub fn problems(seed: u64, mutant: Option<Mutant>) -> Vec<String> {
    let calm = if lasts(seed) { CALM_LASTING } else { CALM };
    let plan = Plan { calm, ..Plan::of(seed) };
    let play = || simulate::<Banking>(&plan);
    let played = match mutant {
        Some(mutant) => mutant::with(mutant, play),
        None => play(),
    };
    match played {
        Ok(outcome) => outcome.problems,
        Err(error) => vec![format!("the simulation broke off: {error:#}")],
    }
}

/// Is the problem one that the fault's check found?
fn names(problem: &str, mutant: Mutant) -> bool {
    problem.strip_prefix(mutant.check()).is_some_and(|rest| rest.starts_with(':'))
}

/// Does the same for each of `items`, on all cores, and gives the results in their order.
pub fn each<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let worker = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return done };
            done.push((place, work(item)));
        }
    };
    let mut results: Vec<(usize, R)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(worker)).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, _>| {
            worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        workers.into_iter().flat_map(join).collect()
    });
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}

/// `docs/planted-faults.md`.
pub fn page() -> String {
    let mut page = include_str!("mutants.md").to_owned();
    page += "\n| fault | what is wrong with it | planted in | breaks | found by | within seeds |\n";
    page += "| --- | --- | --- | --- | --- | --- |\n";
    for mutant in Mutant::ALL {
        let (what, part, breaks) = (mutant.what().trim(), mutant.part(), mutant.breaks());
        let (check, within) = (mutant.check(), within(*mutant));
        // A string never fails to be written to.
        let _ = writeln!(page, "| `{mutant:?}` | {what} | {part} | {breaks} | {check} | {within} |");
    }
    page
}
