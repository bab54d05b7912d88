//! The turn machine: what was delivered goes in, what is asked for comes out. It knows
//! no store, no clock and no network, and gives the same turns for the same deliveries.

use std::{
    collections::BTreeMap,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use futures::FutureExt;
use steadfast_core::{Failure, Mutant, Time, defaults, planted};

use crate::{
    Ctx, Data, StepId, StepOutcome,
    context::{Halt, RunInfo, Shared, diverged, lock},
    record::{Ask, Outcome, Parked, Turn, What},
    spill::brief,
    workflow::{Registry, Workflow},
};

/// Something that reaches the workflow, with its value at hand.
#[derive(Debug, Clone)]
pub(crate) enum Delivered {
    Result(StepId, StepOutcome),
    Timer(StepId),
    /// The message at this version.
    Signal(u64, String, Data),
    /// A person's cancel, which is a message, or the run's own deadline, as the error that
    /// waits will see.
    Cancel(Option<u64>, Failure),
    /// Counts for the record only: a result of an earlier generation.
    Nothing,
}

/// What one advance asked for.
#[derive(Debug, Default)]
pub(crate) struct Advance {
    /// How much of what was delivered went into it.
    pub(crate) taken: usize,
    pub(crate) asked: Vec<Ask>,
    pub(crate) patches: Vec<String>,
    pub(crate) progress: Vec<Data>,
    pub(crate) outcome: Option<Outcome>,
    /// Messages that this generation never took: they are for the next one.
    pub(crate) left: Vec<u64>,
}

type Code = Pin<Box<dyn Future<Output = Result<Data, Failure>> + Send>>;

/// A workflow in the middle of its run.
pub(crate) struct Machine {
    code: Option<Code>,
    shared: Arc<Mutex<Shared>>,
    next_turn: u32,
}

impl Machine {
    /// Stands before the first turn.
    pub(crate) fn new(workflow: &Workflow, registry: Arc<Registry>, info: RunInfo, input: Data) -> Self {
        let shared = Arc::new(Mutex::new(Shared::new(info, registry)));
        let start = workflow.code.clone();
        let ctx = Ctx { shared: shared.clone() };
        // Lazy, so that a panic in the first line of code is caught like any other.
        let code = Box::pin(async move { start(ctx, input).await });
        Self { code: Some(code), shared, next_turn: 0 }
    }

    /// The number of the turn that comes next.
    pub(crate) fn next_turn(&self) -> u32 {
        self.next_turn
    }

    /// One new turn. Once it is `full` of what it asks for, it takes no further delivery.
    pub(crate) fn advance(
        &mut self,
        now: Time,
        delivered: Vec<Delivered>,
        full: &dyn Fn(&[Ask]) -> bool,
    ) -> Result<Advance, Halt> {
        if self.next_turn >= defaults::TURNS_MAX {
            let message = format!("a run has at most {} turns; use continue_as_new", defaults::TURNS_MAX);
            return Err(Halt::Fail(Failure::internal("run.too_many_turns", message)));
        }
        self.run(now, delivered, None, full)
    }

    /// Repeats a recorded turn and holds what it asks for against the record (G8).
    pub(crate) fn replay(&mut self, now: Time, turn: &Turn, delivered: Vec<Delivered>) -> Result<(), Halt> {
        let advance = self.run(now, delivered, Some(turn.patches.clone()), &|_| false)?;
        compare(turn, &advance)
    }

    fn run(
        &mut self,
        now: Time,
        delivered: Vec<Delivered>,
        replaying: Option<Vec<String>>,
        full: &dyn Fn(&[Ask]) -> bool,
    ) -> Result<Advance, Halt> {
        {
            let mut shared = lock(&self.shared);
            shared.now = now;
            shared.turn = self.next_turn;
            shared.replaying = replaying;
        }
        let (mut outcome, mut taken, mut left) = (None, 0, Vec::new());
        if delivered.is_empty() {
            outcome = self.poll();
        }
        // One at a time: the order of delivery alone decides who wins a race.
        for item in delivered {
            taken += 1;
            if matches!(outcome, Some(Outcome::Continued(_)))
                && let Delivered::Signal(version, ..) | Delivered::Cancel(Some(version), _) = item
            {
                left.push(version);
                continue;
            }
            self.deliver(item);
            if outcome.is_none() {
                outcome = self.poll();
            }
            if outcome.is_none() && full(&lock(&self.shared).asked) {
                break;
            }
        }
        self.next_turn += 1;
        let mut shared = lock(&self.shared);
        shared.replaying = None;
        if let Some(halt) = shared.halt.take() {
            return Err(halt);
        }
        if outcome.is_none() && shared.open == 0 {
            return Err(Halt::Park(Parked {
                code: "workflow.foreign_await".into(),
                message: "the workflow waits for something that is not a step; only ctx.join, race, timeout and map compose".into(),
                turn: shared.turn,
            }));
        }
        limit_children(&mut shared)?;
        if matches!(outcome, Some(Outcome::Continued(_))) {
            let untaken = shared.signals.drain().flat_map(|(_, waiting)| waiting);
            left.extend(untaken.map(|(version, _)| version));
            left.sort_unstable();
        }
        Ok(Advance {
            left,
            taken,
            asked: std::mem::take(&mut shared.asked),
            patches: std::mem::take(&mut shared.patched_now),
            progress: std::mem::take(&mut shared.progress),
            outcome,
        })
    }

    fn deliver(&mut self, item: Delivered) {
        let mut shared = lock(&self.shared);
        match item {
            Delivered::Result(step, outcome) => resolve(&mut shared, &step, outcome),
            Delivered::Timer(step) => resolve(&mut shared, &step, Ok(Data::null())),
            Delivered::Signal(version, name, value) => {
                let listener =
                    shared.listeners.get_mut(&name).and_then(std::collections::VecDeque::pop_front);
                match listener {
                    Some(step) => resolve(&mut shared, &step, Ok(value)),
                    None => shared.signals.entry(name).or_default().push_back((version, value)),
                }
            }
            Delivered::Cancel(_, failure) => {
                for pending in shared.requests.values_mut().filter(|pending| !pending.released) {
                    pending.outcome.get_or_insert_with(|| Err(failure.clone()));
                }
                shared.listeners.clear();
                shared.cancelled.get_or_insert(failure);
            }
            Delivered::Nothing => {}
        }
    }

    fn poll(&mut self) -> Option<Outcome> {
        let code = self.code.as_mut()?;
        let mut cx = Context::from_waker(Waker::noop());
        let polled = std::panic::catch_unwind(AssertUnwindSafe(|| code.poll_unpin(&mut cx)));
        let result = match polled {
            Ok(Poll::Pending) => return None,
            Ok(Poll::Ready(result)) => result.map_err(brief),
            Err(_) => Err(Failure::internal("workflow.panicked", "the workflow's code panicked")),
        };
        self.code = None;
        let mut shared = lock(&self.shared);
        let continued = shared.continued.take();
        Some(match result {
            Ok(value) => Outcome::Completed(value),
            Err(failure) => match (continued, &shared.cancelled) {
                (Some(input), _) if failure.code == "workflow.continued" => Outcome::Continued(input),
                (_, Some(cancel)) if cancel.code == "run.cancelled" => Outcome::Cancelled(cancel.clone()),
                _ => Outcome::Failed(failure),
            },
        })
    }
}

impl Drop for Machine {
    /// Requests that the code still holds lock the shared state when they are dropped.
    fn drop(&mut self) {
        let code = self.code.take();
        // A destructor in a workflow's code may panic; the run is what its record says.
        let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(code)));
    }
}

fn resolve(shared: &mut Shared, step: &StepId, outcome: StepOutcome) {
    if let Some(pending) = shared.requests.get_mut(step)
        && pending.outcome.is_none()
        && !pending.released
    {
        pending.outcome = Some(outcome);
    }
}

fn limit_children(shared: &mut Shared) -> Result<(), Halt> {
    let started = shared.asked.iter().filter(|ask| matches!(ask.what, What::Child { .. })).count();
    shared.children += u32::try_from(started).unwrap_or(u32::MAX);
    if started > defaults::CHILDREN_PER_TURN || shared.children > defaults::CHILDREN_MAX {
        let message = format!(
            "a run starts at most {} children a turn and {} in all",
            defaults::CHILDREN_PER_TURN,
            defaults::CHILDREN_MAX
        );
        return Err(Halt::Fail(Failure::internal("run.too_many_children", message)));
    }
    Ok(())
}

/// The set asked for must equal the recorded set; order inside a turn is free.
fn compare(recorded: &Turn, replayed: &Advance) -> Result<(), Halt> {
    let by_id = |asks: &[Ask]| -> BTreeMap<StepId, Ask> {
        asks.iter().map(|ask| (ask.step.clone(), ask.clone())).collect()
    };
    let (was, is) = (by_id(&recorded.asked), by_id(&replayed.asked));
    let turn = recorded.turn;
    for (step, ask) in &was {
        match is.get(step) {
            None => {
                return Err(diverged(
                    turn,
                    format!("turn {turn} recorded step {step:?}; the code does not ask for it"),
                ));
            }
            Some(other) if !asks_the_same(&other.what, &ask.what) => {
                return Err(diverged(
                    turn,
                    format!(
                        "turn {turn} recorded step {step:?} as {}; the code asks for {}",
                        describe(&ask.what),
                        describe(&other.what)
                    ),
                ));
            }
            Some(_) => {}
        }
    }
    if let Some(step) = is.keys().find(|step| !was.contains_key(*step)) {
        return Err(diverged(
            turn,
            format!("the code asks for step {step:?} in turn {turn}; it is not recorded there"),
        ));
    }
    // Code that does not know a patch would go on by the old path, which the rest of the run
    // no longer fits: it is for code that does.
    let lost = recorded.patches.iter().find(|patch| !replayed.patches.contains(patch));
    if let Some(patch) = lost.filter(|_| !planted(Mutant::PatchUnchecked)) {
        return Err(diverged(
            turn,
            format!("turn {turn} took the path of patch {patch:?}; the code has none"),
        ));
    }
    match (&recorded.outcome, &replayed.outcome) {
        (None, Some(_)) => Err(diverged(turn, format!("the code ends in turn {turn}; the record goes on"))),
        _ => Ok(()),
    }
}

/// What a step is to the outside: its action and input, not how long it may take.
fn asks_the_same(a: &What, b: &What) -> bool {
    match (a, b) {
        (What::Action { action: a, input: x, .. }, What::Action { action: b, input: y, .. }) => {
            a == b && x == y
        }
        (a, b) => a == b,
    }
}

fn describe(what: &What) -> String {
    match what {
        What::Action { action, .. } => format!("action {action} (or another input)"),
        What::Timer(due) => format!("a timer due {due}"),
        What::Signal(name) => format!("a wait for signal {name:?}"),
        What::Child { workflow, .. } => format!("a child {workflow} (or another input)"),
    }
}

#[cfg(test)]
mod tests;
