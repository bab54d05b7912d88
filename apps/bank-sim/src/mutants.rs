//! Plants faults and looks for the seed that finds each. A fault counts as found where a
//! check of the very promise that it breaks speaks up, not where anything at all goes wrong.

use std::{
    num::NonZero,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use steadfast_core::{Mutant, mutant};
use steadfast_sim::{Plan, simulate};

use crate::Banking;

/// Less than a seed is given without a fault, and enough for all that is asked for.
const CALM: Duration = Duration::from_hours(5);

/// Where a fault showed.
#[derive(Debug, Clone)]
pub struct Found {
    /// The first seed in which it did.
    pub seed: u64,
    /// What the check said.
    pub problem: String,
}

/// Plays seeds with a fault in them, from 0 on, until a check of what it breaks speaks up.
pub fn hunt(mutant: Mutant, seeds: u64) -> Option<Found> {
    (0..seeds).find_map(|seed| {
        let problem = problems(seed, Some(mutant)).into_iter().find(|problem| names(problem, mutant))?;
        Some(Found { seed, problem })
    })
}

/// What is wrong after a seed, with a fault in it or none.
pub fn problems(seed: u64, mutant: Option<Mutant>) -> Vec<String> {
    let plan = Plan { calm: CALM, ..Plan::of(seed) };
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

/// Is the problem one of what the fault breaks?
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
        workers.into_iter().flat_map(|worker| worker.join().unwrap_or_default()).collect()
    });
    results.sort_by_key(|(place, _)| *place);
    results.into_iter().map(|(_, result)| result).collect()
}
