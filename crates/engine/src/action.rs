use std::{future::Future, marker::PhantomData, pin::Pin, sync::Arc, time::Duration};

use serde::Serialize;
use steadfast_core::{Failure, RunId, TenantId, World, defaults};
use steadfast_log::{Append, Commit, Committed, StreamId};

use crate::{
    Data, StepId, StepOutcome, StepTask,
    record::{Message, RUN, Sent},
    spill::{Spill, recordable},
    store::add_message,
};

/// The name and types of an action: what a workflow needs to ask for it.
#[derive(Debug)]
pub struct Action<I, O> {
    /// `bank.hold`
    pub name: &'static str,
    types: PhantomData<fn(I) -> O>,
}

impl<I, O> Action<I, O> {
    /// Declares an action; [`crate::Registry`] says how it is performed.
    pub const fn new(name: &'static str) -> Self {
        Self { name, types: PhantomData }
    }
}

/// How an action is tried.
#[derive(Debug, Clone)]
pub struct ActionOptions {
    /// Of one attempt.
    pub timeout: Duration,
    /// Waits before the retries, as upper bounds (full jitter). Their number is the
    /// number of retries.
    pub waits: Vec<Duration>,
    /// The `[resilience.NAME]` policy that guards it, shared by all actions of one owner;
    /// its retries and timeouts then count instead of those above. Actions on our own log
    /// need none.
    pub policy: Option<&'static str>,
}

impl Default for ActionOptions {
    fn default() -> Self {
        Self { timeout: defaults::ACTION_TIMEOUT, waits: defaults::RETRY_WAITS.to_vec(), policy: None }
    }
}

impl ActionOptions {
    /// One attempt only.
    pub fn once(timeout: Duration) -> Self {
        Self { timeout, waits: Vec::new(), policy: None }
    }
    /// The longest that all attempts can take together.
    pub fn budget(&self) -> Duration {
        let attempts = u32::try_from(self.waits.len()).unwrap_or(u32::MAX).saturating_add(1);
        self.timeout.saturating_mul(attempts) + self.waits.iter().sum::<Duration>()
    }
}

pub(crate) type OutcomeFuture = Pin<Box<dyn Future<Output = StepOutcome> + Send>>;
pub(crate) type RecordingFuture = Pin<Box<dyn Future<Output = Result<Recording, Failure>> + Send>>;

#[derive(Clone)]
pub(crate) struct Handler {
    pub(crate) options: ActionOptions,
    pub(crate) performer: Performer,
}

pub(crate) type Act = Arc<dyn Fn(StepTask) -> OutcomeFuture + Send + Sync>;

#[derive(Clone)]
pub(crate) enum Performer {
    Outside(Act),
    OnLog(Arc<dyn Fn(StepTask, Record<Data>) -> RecordingFuture + Send + Sync>),
}

/// Proof that a step's result is on the log, given by whoever committed its [`Record`].
#[derive(Debug, Clone)]
pub struct Recording {
    /// The version that the result has in the run's stream; `None` when an earlier
    /// attempt had recorded it and this one only found that out.
    pub version: Option<u64>,
    pub(crate) message: Option<Message>,
}

impl Recording {
    /// An earlier attempt did it: its result stands in the run's stream.
    pub const fn earlier() -> Self {
        Self { version: None, message: None }
    }
}

/// The record of a step whose effect is a commit on our own log. Let it [`Record::join`] the
/// commit that has the effect, then report with [`Record::committed`].
#[derive(Debug, Clone)]
pub struct Record<O> {
    world: World,
    spill: Spill,
    tenant: TenantId,
    run: RunId,
    generation: u32,
    step: StepId,
    types: PhantomData<fn(O)>,
}

impl Record<Data> {
    pub(crate) fn new(world: World, spill: Spill, task: &StepTask) -> Self {
        Self {
            world,
            spill,
            tenant: task.tenant.clone(),
            run: task.run,
            generation: task.generation,
            step: task.step.clone(),
            types: PhantomData,
        }
    }
}

impl<O> Record<O> {
    pub(crate) fn typed(record: Record<Data>) -> Self {
        let Record { world, spill, tenant, run, generation, step, .. } = record;
        Self { world, spill, tenant, run, generation, step, types: PhantomData }
    }
    /// The run's stream.
    pub fn stream(&self) -> StreamId {
        StreamId::new(&self.tenant, RUN, self.run)
    }
}

impl<O: Serialize> Record<O> {
    fn message(&self, outcome: &Result<O, Failure>) -> Result<Message, Failure> {
        let outcome = match outcome {
            Ok(value) => Ok(Data::of(value)?),
            Err(failure) => Err(failure.clone()),
        };
        Ok(result_message(self.run, self.generation, &self.step, recordable(outcome)))
    }
    /// Adds the run's side to the commit that has the effect, and says which append it is.
    /// A refusal is a result too: the step fails with it. Large results are stored beside.
    pub fn join(&self, commit: &mut Commit, outcome: &Result<O, Failure>) -> Result<usize, Failure> {
        let message = self.message(outcome)?;
        Ok(add_message(commit, (&self.world, &self.spill), &self.stream(), message))
    }
    /// The same as an append alone, for results that are small by nature: one that would be
    /// stored beside the log is refused with `step.result_too_large`.
    pub fn append(&self, outcome: &Result<O, Failure>) -> Result<Append, Failure> {
        let mut commit = Commit::default();
        self.join(&mut commit, outcome)?;
        let append = commit.appends.pop().filter(|_| commit.payloads.is_empty());
        append.ok_or_else(|| {
            let message = "the result is too large to stand in an event; add it with Record::join";
            Failure::internal("step.result_too_large", message)
        })
    }
    /// The run's side is durable, as append number `place` of the commit.
    pub fn committed(
        &self,
        outcome: &Result<O, Failure>,
        committed: &Committed,
        place: usize,
    ) -> Result<Recording, Failure> {
        let version = committed.versions.get(place).copied();
        Ok(Recording { version, message: Some(self.message(outcome)?) })
    }
}

/// A result's id is (run, generation, step): repeats count once, whoever sends them.
pub(crate) fn result_message(run: RunId, generation: u32, step: &StepId, outcome: StepOutcome) -> Message {
    let id = steadfast_core::id::derive(
        "result",
        &[run.as_bytes(), &generation.to_be_bytes(), step.as_str().as_bytes()],
    );
    Message { id, from: None, what: Sent::Result { generation, step: step.clone(), outcome } }
}

#[expect(clippy::expect_used, reason = "records have string keys and infallible fields")]
pub(crate) fn body<T: Serialize>(record: &T) -> Vec<u8> {
    serde_json::to_vec(record).expect("records are JSON")
}
