//! The world outside of the nodes: what actions do to it is noted, under the key they did it
//! with, and stays when nodes die.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use steadfast_core::{Failure, RunId, TenantId, World, canonical::Hash};
use steadfast_engine::{Action, ActionOptions, Record, Recording, Registry, StepTask};
use steadfast_log::{Append, Claim, ClaimChange, Commit, CommitError, Expect, Log, NewEvent, StreamId};

use steadfast_sim::{Fate, Fault};

/// Something is done.
pub(crate) const DO: Action<Deed, u64> = Action::new("sim.do");
/// It is undone.
pub(crate) const UNDO: Action<Deed, ()> = Action::new("sim.undo");
/// An entry is written to a book on our own log.
pub(crate) const BOOK: Action<Deed, u64> = Action::new("sim.book");
/// The category of books.
pub(crate) const BOOKS: &str = "book";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deed {
    pub(crate) what: String,
    /// It is refused, for good.
    #[serde(default)]
    pub(crate) refused: bool,
}

impl Deed {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), refused: false }
    }
}

/// Something that happened outside.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) run: RunId,
    pub(crate) key: String,
    /// The key of what it undoes.
    pub(crate) undoes: Option<String>,
    pub(crate) what: String,
    /// Of which generation and step it is, or undoes.
    pub(crate) step: (u32, String),
    /// How much of the log there was when its machine began this life.
    pub(crate) born: u64,
    /// How much of the log there was.
    pub(crate) tail: u64,
    /// Which machine did it, and in which life of it.
    pub(crate) by: (usize, u32),
}

#[derive(Clone, Default)]
pub(crate) struct Outside(Arc<Mutex<Vec<Effect>>>);

impl Outside {
    fn lock(&self) -> MutexGuard<'_, Vec<Effect>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.lock().clone()
    }
}

/// One node's hands.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) outside: Outside,
    pub(crate) fate: Fate,
    pub(crate) world: World,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) by: (usize, u32),
    /// How much of the log there was when this life began.
    pub(crate) born: u64,
}

impl Hands {
    async fn act(&self, task: StepTask, deed: Deed) -> Result<u64, Failure> {
        let clock = self.world.clock();
        clock.sleep(Duration::from_millis(self.fate.below(200))).await;
        if self.fate.strikes(Fault::ActionSlow) {
            clock.sleep(Duration::from_secs(45)).await;
        }
        if deed.refused && task.undoes.is_none() {
            return Err(Failure::refused("sim.refused", "this cannot be done"));
        }
        if self.fate.strikes(Fault::ActionFails) {
            return Err(Failure::upstream("sim.failed", "this did not work; try again"));
        }
        let effect = Effect {
            run: task.run,
            key: task.key.to_string(),
            undoes: task.undoes.map(|key| key.to_string()),
            what: deed.what,
            step: (task.generation, task.step.to_string()),
            born: self.born,
            tail: self.log.tail().borrow().n,
            by: self.by,
        };
        let count = {
            let mut effects = self.outside.lock();
            effects.push(effect);
            effects.len() as u64
        };
        if self.fate.strikes(Fault::ActionAnswerLost) {
            let lost = Failure::upstream("sim.answer_lost", "the answer was lost");
            return Err(Failure { nothing_happened: false, ..lost });
        }
        Ok(count)
    }

    async fn book(&self, task: StepTask, deed: Deed, record: Record<u64>) -> Result<Recording, Failure> {
        if deed.refused {
            return Err(Failure::refused("sim.refused", "this cannot be booked"));
        }
        let outcome = Ok(deed.what.len() as u64);
        let claim =
            Claim { request: Hash::of_bytes(deed.what.as_bytes()), answer: "{}".into(), expires: None };
        let event = NewEvent::new(&self.world, "book.entry", 1, task.key.to_string().into_bytes());
        let stream = book(&task.tenant);
        let commit = Commit {
            appends: vec![
                Append { stream, expect: Expect::Any, events: vec![event] },
                record.append(&outcome)?,
            ],
            claims: vec![ClaimChange::Take(task.key.claim(&task.tenant), claim)],
            ..Commit::default()
        };
        match self.log.commit(commit).await {
            Ok(committed) => record.committed(&outcome, &committed, 1),
            Err(CommitError::Claimed(..)) => Ok(Recording::earlier()),
            Err(error) => Err(steadfast_core::Coded::failure(&error).retryable()),
        }
    }

    /// Adds what can be done.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let options = || ActionOptions { timeout: Duration::from_secs(30), ..ActionOptions::default() };
        let (doing, undoing, booking) = (self.clone(), self.clone(), self.clone());
        // A compensation is tried for longer than any fault lasts.
        let patient = ActionOptions { waits: vec![Duration::from_secs(20); 40], ..options() };
        registry
            .action(&DO, options(), move |task, deed| {
                let hands = doing.clone();
                async move { hands.act(task, deed).await }
            })
            .action(&UNDO, patient, move |task, deed: Deed| {
                let hands = undoing.clone();
                async move { hands.act(task, deed).await.map(drop) }
            })
            .commit_action(&BOOK, options(), move |task, deed, record| {
                let hands = booking.clone();
                async move { hands.book(task, deed, record).await }
            });
    }
}

pub(crate) fn book(tenant: &TenantId) -> StreamId {
    StreamId::new(tenant, BOOKS, "one")
}
