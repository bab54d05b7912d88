use std::{collections::BTreeMap, future::Future, pin::Pin, sync::Arc, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use steadfast_core::{Failure, defaults};
use steadfast_resilience::Registry as Policies;

use crate::{
    Ctx, Data, Priority, Record, Recording, StepTask, Subscriber,
    action::{Action, ActionOptions, Handler, Performer},
};

type Reads = dyn Fn(&Data) -> Result<(), Failure> + Send + Sync;
type WorkflowFuture = Pin<Box<dyn Future<Output = Result<Data, Failure>> + Send>>;

/// One version of a workflow: code that asks for steps, and nothing else. It must be a
/// pure function of what its context tells it.
#[derive(Clone)]
pub struct Workflow {
    /// Its name: `bank.purchase`.
    pub name: &'static str,
    /// Its version; runs stay with the one they started with.
    pub version: u32,
    pub(crate) options: WorkflowOptions,
    pub(crate) code: Arc<dyn Fn(Ctx, Data) -> WorkflowFuture + Send + Sync>,
    pub(crate) reads: Arc<Reads>,
}

impl Workflow {
    /// What it says about its runs.
    pub const fn options(&self) -> &WorkflowOptions {
        &self.options
    }
}

/// What a workflow says about its runs.
#[derive(Debug, Clone)]
pub struct WorkflowOptions {
    /// A run is given up after this long.
    pub deadline: Option<Duration>,
    /// Unless the caller says otherwise.
    pub priority: Priority,
    /// May a user start it, or operators only?
    pub open_to_users: bool,
    /// Starting it without an idempotency key is refused: it moves money.
    pub needs_key: bool,
}

impl Default for WorkflowOptions {
    fn default() -> Self {
        Self { deadline: None, priority: Priority::Normal, open_to_users: true, needs_key: false }
    }
}

/// Every workflow and action that this binary knows.
#[derive(Clone, Default)]
pub struct Registry {
    workflows: BTreeMap<(&'static str, u32), Workflow>,
    actions: BTreeMap<&'static str, Handler>,
    subscribers: Vec<Subscriber>,
    policies: Option<Arc<Policies>>,
}

impl Registry {
    /// Adds a version of a workflow. New runs use the highest version of a name.
    ///
    /// # Panics
    /// If the version is there already: that is a mistake in the code.
    pub fn workflow<I, O, F>(
        &mut self,
        name: &'static str,
        version: u32,
        options: WorkflowOptions,
        code: impl Fn(Ctx, I) -> F + Send + Sync + 'static,
    ) -> &mut Self
    where
        I: DeserializeOwned + 'static,
        O: Serialize,
        F: Future<Output = Result<O, Failure>> + Send + 'static,
    {
        let code = move |ctx: Ctx, input: Data| -> WorkflowFuture {
            match input.read::<I>() {
                Ok(input) => {
                    let future = code(ctx, input);
                    Box::pin(async move { Data::of(&future.await?) })
                }
                Err(failure) => Box::pin(async move { Err(failure) }),
            }
        };
        let reads = |input: &Data| input.read::<I>().map(drop);
        let workflow = Workflow { name, version, options, code: Arc::new(code), reads: Arc::new(reads) };
        let earlier = self.workflows.insert((name, version), workflow);
        assert!(earlier.is_none(), "workflow {name} version {version} is registered twice");
        self
    }

    /// Adds an action whose effect is outside: it happens at least once, under one key.
    pub fn action<I, O, F>(
        &mut self,
        action: &Action<I, O>,
        options: ActionOptions,
        perform: impl Fn(StepTask, I) -> F + Send + Sync + 'static,
    ) -> &mut Self
    where
        I: DeserializeOwned + 'static,
        O: Serialize,
        F: Future<Output = Result<O, Failure>> + Send + 'static,
    {
        let perform = move |task: StepTask| match task.input.read::<I>() {
            Ok(input) => {
                let future = perform(task, input);
                Box::pin(async move { Data::of(&future.await?) }) as WorkflowFuture
            }
            Err(failure) => Box::pin(async move { Err(failure) }),
        };
        self.add(action.name, options, Performer::Outside(Arc::new(perform)))
    }

    /// Adds an action whose effect is a commit on our own log: it writes the run's
    /// [`Record`] in that very commit, and so happens exactly once.
    pub fn commit_action<I, O, F>(
        &mut self,
        action: &Action<I, O>,
        options: ActionOptions,
        perform: impl Fn(StepTask, I, Record<O>) -> F + Send + Sync + 'static,
    ) -> &mut Self
    where
        I: DeserializeOwned + 'static,
        O: Serialize + 'static,
        F: Future<Output = Result<Recording, Failure>> + Send + 'static,
    {
        let perform = move |task: StepTask, record: Record<Data>| {
            let record = Record::typed(record);
            match task.input.read::<I>() {
                Ok(input) => Box::pin(perform(task, input, record)) as crate::action::RecordingFuture,
                Err(failure) => Box::pin(async move { Err(failure) }),
            }
        };
        self.add(action.name, options, Performer::OnLog(Arc::new(perform)))
    }

    fn add(&mut self, name: &'static str, options: ActionOptions, performer: Performer) -> &mut Self {
        let earlier = self.actions.insert(name, Handler { options, performer });
        assert!(earlier.is_none(), "action {name} is registered twice");
        self
    }

    /// Adds someone who reacts to events.
    ///
    /// # Panics
    /// If the name is taken: it is also that of the checkpoint.
    pub fn subscriber(&mut self, subscriber: Subscriber) -> &mut Self {
        let taken = self.subscribers.iter().any(|other| other.name() == subscriber.name());
        assert!(!taken, "subscriber {} is registered twice", subscriber.name());
        self.subscribers.push(subscriber);
        self
    }
    /// Where actions find the policies that guard them; without, each named policy is the
    /// preset for action groups.
    pub fn guarded_by(&mut self, policies: Arc<Policies>) -> &mut Self {
        self.policies = Some(policies);
        self
    }
    pub(crate) fn policies(&self) -> Option<Arc<Policies>> {
        self.policies.clone()
    }
    /// Who reacts to events.
    pub fn subscribers(&self) -> impl Iterator<Item = &Subscriber> {
        self.subscribers.iter()
    }

    /// The newest version of a workflow.
    pub fn newest(&self, name: &str) -> Option<&Workflow> {
        self.workflows
            .values()
            .filter(|workflow| workflow.name == name)
            .max_by_key(|workflow| workflow.version)
    }
    /// One version of a workflow.
    pub fn version(&self, name: &str, version: u32) -> Option<&Workflow> {
        self.workflows.values().find(|workflow| workflow.name == name && workflow.version == version)
    }
    /// All workflows, by name and version.
    pub fn workflows(&self) -> impl Iterator<Item = &Workflow> {
        self.workflows.values()
    }
    pub(crate) fn handler(&self, action: &str) -> Option<&Handler> {
        self.actions.get(action)
    }
    /// Names of all actions.
    pub fn actions(&self) -> impl Iterator<Item = &'static str> {
        self.actions.keys().copied()
    }
    /// How long all attempts of an action may take together, and whether it is on our log.
    pub(crate) fn budget(&self, action: &str) -> (Duration, bool) {
        self.actions.get(action).map_or((defaults::ACTION_TIMEOUT, false), |handler| {
            (handler.options.budget(), matches!(handler.performer, Performer::OnLog(_)))
        })
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registry")
            .field("workflows", &self.workflows.keys().collect::<Vec<_>>())
            .field("actions", &self.actions.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
