//! What a workflow may do: ask for steps, and compose what it asked for.

mod compose;
mod request;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt::Display,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use steadfast_core::{Failure, RunId, TenantId, Time, chance::split_mix};

pub use compose::Either;
pub use request::{Request, StepRequest};

use crate::{
    Data, StepId, StepOutcome,
    action::Action,
    record::{Ask, Parked, What},
    workflow::Registry,
};

/// A workflow's only door to the world. Cheap to clone.
#[derive(Clone)]
pub struct Ctx {
    pub(crate) shared: Arc<Mutex<Shared>>,
}

/// Who and what a run is, as its code may see it.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// The run.
    pub run: RunId,
    /// Whose it is.
    pub tenant: TenantId,
    /// On whose behalf it acts; never taken from its input.
    pub principal: String,
    /// Counts from 1; more after `continue_as_new` or a replay from the start.
    pub generation: u32,
    /// What the caller attached.
    pub labels: BTreeMap<String, String>,
}

/// Why a run cannot go on in this binary, or at all.
#[derive(Debug, Clone)]
pub(crate) enum Halt {
    /// The author's mistake or a spent limit: the run fails.
    Fail(Failure),
    /// Code and history differ: the run waits for code that fits.
    Park(Parked),
}

pub(crate) struct Shared {
    pub(crate) info: RunInfo,
    pub(crate) registry: Arc<Registry>,
    pub(crate) now: Time,
    pub(crate) turn: u32,
    pub(crate) requests: HashMap<StepId, Pending>,
    pub(crate) asked: Vec<Ask>,
    pub(crate) children: u32,
    /// Requests that something waits for.
    pub(crate) open: usize,
    /// Signals that nobody waited for yet, and those who wait, by name.
    pub(crate) signals: HashMap<String, VecDeque<(u64, Data)>>,
    pub(crate) listeners: HashMap<String, VecDeque<StepId>>,
    pub(crate) patches: HashMap<String, bool>,
    pub(crate) patched_now: Vec<String>,
    /// `Some` while a recorded turn is repeated: the patches that it recorded.
    pub(crate) replaying: Option<Vec<String>>,
    pub(crate) progress: Vec<Data>,
    pub(crate) cancelled: Option<Failure>,
    pub(crate) continued: Option<Data>,
    pub(crate) halt: Option<Halt>,
    random: u64,
}

/// A step that was asked for.
pub(crate) struct Pending {
    pub(crate) outcome: Option<StepOutcome>,
    /// Its future was dropped or has returned: nothing waits for it any more.
    pub(crate) released: bool,
}

impl Shared {
    pub(crate) fn new(info: RunInfo, registry: Arc<Registry>) -> Self {
        Self {
            info,
            registry,
            now: Time::default(),
            turn: 0,
            requests: HashMap::new(),
            asked: Vec::new(),
            children: 0,
            open: 0,
            signals: HashMap::new(),
            listeners: HashMap::new(),
            patches: HashMap::new(),
            patched_now: Vec::new(),
            replaying: None,
            progress: Vec::new(),
            cancelled: None,
            continued: None,
            halt: None,
            random: 0,
        }
    }

    /// Registers an intent. The same id twice is the author's mistake.
    fn ask(&mut self, ask: Ask) {
        if self.requests.contains_key(&ask.step) {
            self.fail(Failure::internal(
                "workflow.duplicate_step",
                format!(
                    "step {:?} is asked for twice in one run; give it a key, as in (\"name\", key)",
                    ask.step
                ),
            ));
            return;
        }
        let mut outcome = None;
        if let What::Signal(name) = &ask.what {
            match self.signals.get_mut(name).and_then(VecDeque::pop_front) {
                Some((_, value)) => outcome = Some(Ok(value)),
                None => self.listeners.entry(name.clone()).or_default().push_back(ask.step.clone()),
            }
        }
        self.requests.insert(ask.step.clone(), Pending { outcome, released: false });
        self.open += 1;
        self.asked.push(ask);
    }

    fn fail(&mut self, failure: Failure) {
        self.halt.get_or_insert(Halt::Fail(failure));
    }

    /// Nothing waits for this request any more.
    pub(crate) fn release(&mut self, step: &StepId) {
        if let Some(pending) = self.requests.get_mut(step)
            && !std::mem::replace(&mut pending.released, true)
        {
            self.open -= 1;
        }
    }
}

impl Ctx {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }

    /// Who and what this run is.
    pub fn info(&self) -> RunInfo {
        self.lock().info.clone()
    }

    /// The turn's time: the same on every replay.
    pub fn now(&self) -> Time {
        self.lock().now
    }

    /// A random number that is the same on every replay.
    pub fn random(&self) -> u64 {
        let mut shared = self.lock();
        let (_, low) = shared.info.run.0.as_u64_pair();
        let seed = low ^ (u64::from(shared.info.generation) << 32);
        shared.random += 1;
        split_mix(seed, shared.random)
    }

    /// Asks for an action. Await it, or compose it with others first.
    pub fn step<I: Serialize, O: DeserializeOwned>(
        &self,
        id: impl Into<StepId>,
        action: &Action<I, O>,
        input: &I,
    ) -> StepRequest<O> {
        let (budget, on_log) = self.lock().registry.budget(action.name);
        StepRequest::new(self, id.into(), action.name, Data::of(input), budget, on_log)
    }

    /// Waits, across restarts.
    pub fn sleep(&self, id: impl Into<StepId>, duration: Duration) -> Request<()> {
        let due = self.now().after(duration);
        Request::new(self, Ok(Ask { step: id.into(), what: What::Timer(due), undo: None }))
    }

    /// Waits for a signal of the given name; each wait takes one.
    pub fn signal<T: DeserializeOwned>(&self, id: impl Into<StepId>, name: &str) -> Request<T> {
        Request::new(self, Ok(Ask { step: id.into(), what: What::Signal(name.into()), undo: None }))
    }

    /// Starts another run and waits for its result. Cancelled with this one.
    pub fn child<I: Serialize, O: DeserializeOwned>(
        &self,
        id: impl Into<StepId>,
        workflow: &str,
        input: &I,
    ) -> Request<O> {
        let step = id.into();
        let ask = Data::of(input).map(|input| {
            let info = self.info();
            let run = RunId::derived(&[
                info.run.as_bytes(),
                &info.generation.to_be_bytes(),
                step.as_str().as_bytes(),
            ]);
            let what = What::Child { run, workflow: workflow.into(), input };
            Ask { step, what, undo: None }
        });
        Request::new(self, ask)
    }

    /// Guards a small change to a workflow: runs that passed this point before the
    /// change keep the old path, all others take the new one. The call stays in the code for
    /// as long as a run that took it is open.
    pub fn patched(&self, name: &str) -> bool {
        let mut shared = self.lock();
        if let Some(known) = shared.patches.get(name) {
            return *known;
        }
        let taken =
            shared.replaying.as_ref().is_none_or(|recorded| recorded.iter().any(|patch| patch == name));
        shared.patches.insert(name.to_owned(), taken);
        if taken {
            shared.patched_now.push(name.to_owned());
        }
        taken
    }

    /// Tells whoever watches how far the run is. Not recorded; leaves after the commit.
    pub fn progress<T: Serialize>(&self, value: &T) {
        let mut shared = self.lock();
        if shared.replaying.is_none()
            && let Ok(value) = Data::of(value)
        {
            shared.progress.push(value);
        }
    }

    /// Ends this generation and begins the next with `input` and an empty history. What
    /// was done so far is settled: its compensations will not run. Return the failure.
    pub fn continue_as_new<I: Serialize>(&self, input: &I) -> Failure {
        let failure = Failure::internal("workflow.continued", "the run continues as its next generation");
        match Data::of(input) {
            Ok(input) => self.lock().continued = Some(input),
            Err(wrong) => return wrong,
        }
        failure
    }

    /// An error that means: fail this run, whatever the code does with it.
    pub(crate) fn halt(&self, failure: Failure) {
        self.lock().fail(failure);
    }
}

pub(crate) fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn diverged(turn: u32, message: impl Display) -> Halt {
    Halt::Park(Parked { code: "workflow.diverged".into(), message: message.to_string(), turn })
}
