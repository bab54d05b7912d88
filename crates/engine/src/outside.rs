//! Steps of a run that are done outside: by a client that says for which run and step it works.
//!
//! They stand in a stream of their own beside the run's. Whoever drives the run never
//! meets them: no turn conflicts with them, no replay sees them, and no epoch is needed, because
//! the first answer to a step wins by the version that its stream had.

use serde::{Deserialize, Serialize};
use steadfast_core::{Coded as _, Failure, RunId, TenantId, canonical::Hash, defaults};
use steadfast_log::{Append, Commit, CommitError, Expect, NewEvent, Recorded, StreamId};

use crate::{
    Data, Engine, StepId,
    accept::held,
    action::body,
    control::refuse_ended,
    engine::run_stream,
    record::{SCHEMA, decode, kind},
    spill::Spill,
    store::{Visit, commit_patiently, load, load_data},
};

/// The category of their streams.
const OUTSIDE: &str = "outside";
/// The most steps from outside that a run can have.
const STEPS_MAX: u64 = 1_000;
const PAGE: usize = 500;
/// All of them are read to find one: answers that are longer are stored apart.
const INLINE_BYTES: usize = 512;

/// A step of a run that was done outside.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutsideStep {
    /// Which.
    pub step: StepId,
    /// What was asked for.
    pub request: Hash,
    /// Who did it.
    pub by: String,
    /// What came of it.
    pub answer: Data,
}

impl Visit for OutsideStep {
    fn visit(&mut self, each: &mut dyn FnMut(&mut Data)) {
        each(&mut self.answer);
    }
}

impl Engine {
    /// What is recorded as a step from outside. `None`: it may be done, since the run is open.
    pub async fn outside_step(
        &self,
        tenant: &TenantId,
        run: RunId,
        step: &StepId,
    ) -> Result<Option<OutsideStep>, Failure> {
        let (found, count) = self.find_outside(&stream(tenant, run), step).await?;
        if found.is_some() {
            return Ok(found);
        }
        let log = &self.inner.log;
        if log.identity().held {
            return Err(held());
        }
        let history = load(&**log, &run_stream(tenant, run), false).await.map_err(|error| error.failure())?;
        refuse_ended(&history)?;
        if count >= STEPS_MAX {
            let message =
                format!("the run has {count} steps from outside, at most {STEPS_MAX} can be recorded");
            return Err(Failure::refused("run.too_many_steps", message));
        }
        Ok(None)
    }

    /// Records a step from outside that was done while its run was open, and says what is
    /// recorded then: the first answer wins.
    pub async fn record_outside(
        &self,
        tenant: &TenantId,
        run: RunId,
        done: OutsideStep,
    ) -> Result<OutsideStep, Failure> {
        let engine = &self.inner;
        let stream = stream(tenant, run);
        let spill = Spill::new(INLINE_BYTES, engine.log.payload_key());
        for _ in 0..defaults::CONFLICT_ATTEMPTS * 4 {
            let (found, count) = self.find_outside(&stream, &done.step).await?;
            if let Some(found) = found {
                return Ok(found);
            }
            let mut commit = Commit::default();
            let mut record = done.clone();
            spill.take_out(&mut record, &stream, &mut commit.payloads);
            let event = NewEvent::new(&engine.world, kind::OUTSIDE, SCHEMA, body(&record));
            let expect = if count == 0 { Expect::New } else { Expect::Exact(count) };
            commit.appends.push(Append { stream: stream.clone(), expect, events: vec![event] });
            match commit_patiently(&engine.log, &engine.world, commit).await {
                Ok(_) => return Ok(done),
                // Another step, or this one, came first.
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.failure().retryable()),
            }
        }
        let busy = Failure::internal("run.busy", "too many steps of the run are being recorded now");
        Err(busy.retryable())
    }

    /// All of them, in the order in which they were recorded. Large answers are references.
    pub(crate) async fn outside_steps(
        &self,
        tenant: &TenantId,
        run: RunId,
    ) -> Result<Vec<(Recorded, OutsideStep)>, Failure> {
        self.read_outside(&stream(tenant, run)).await
    }

    async fn find_outside(
        &self,
        stream: &StreamId,
        step: &StepId,
    ) -> Result<(Option<OutsideStep>, u64), Failure> {
        let steps = self.read_outside(stream).await?;
        let count = steps.len() as u64;
        let Some((_, mut found)) = steps.into_iter().find(|(_, it)| it.step == *step) else {
            return Ok((None, count));
        };
        load_data(&*self.inner.log, &mut found.answer).await.map_err(|error| error.failure())?;
        Ok((Some(found), count))
    }

    async fn read_outside(&self, stream: &StreamId) -> Result<Vec<(Recorded, OutsideStep)>, Failure> {
        let mut steps = Vec::new();
        loop {
            let page = self.inner.log.read_stream(stream, steps.len() as u64 + 1, PAGE).await;
            let page = page.map_err(|error| error.failure())?;
            let last = page.len() < PAGE;
            for recorded in page {
                let step = decode(&recorded);
                let step = step.map_err(|error| Failure::internal("run.unreadable", error.to_string()))?;
                steps.push((recorded, step));
            }
            if last {
                return Ok(steps);
            }
        }
    }
}

fn stream(tenant: &TenantId, run: RunId) -> StreamId {
    StreamId::new(tenant, OUTSIDE, run)
}
