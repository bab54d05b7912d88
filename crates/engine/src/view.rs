//! Runs and dead letters as people and programs see them.

use std::collections::BTreeMap;

use serde::Serialize;
use steadfast_core::{Coded, Failure, RunId, TenantId, Time};
use steadfast_log::{ListQuery, Listings, Recorded};

use crate::{
    Data, Engine, Settled, Status,
    dead_letter::{DEAD_LETTER, DeadLetter, DeadLetterId, DeadLetterView, stream as letter_stream},
    engine::run_stream,
    record::{Parked, RUN, What, kind},
    store::{load, missing},
};

/// One run, as read from its events.
#[derive(Debug, Clone, Serialize)]
pub struct RunView {
    /// The run.
    pub id: RunId,
    /// Its workflow.
    pub workflow: String,
    /// The version it is pinned to.
    pub version: u32,
    /// Where it stands.
    pub status: Status,
    /// On whose behalf.
    pub principal: String,
    /// What the caller attached.
    pub labels: BTreeMap<String, String>,
    /// When it was accepted.
    pub created: Time,
    /// When something last happened.
    pub updated: Time,
    /// When it is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Time>,
    /// With what.
    pub input: Data,
    /// Its result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Data>,
    /// Why it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Why it is parked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parked: Option<Parked>,
    /// What it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// Counts from 1.
    pub generation: u32,
    /// Turns of this generation.
    pub turns: usize,
    /// Events in its stream.
    pub events: u64,
    /// The run that waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<RunId>,
}

impl Engine {
    /// One run; somebody else's is as if it were not there.
    pub async fn describe(&self, tenant: &TenantId, run: RunId) -> Result<RunView, Failure> {
        let history = load(&*self.inner.log, &run_stream(tenant, run), true).await;
        let history = history.map_err(|error| error.failure())?;
        let (output, failure) = match history.result() {
            Some(Ok(value)) => (Some(value), None),
            Some(Err(failure)) => (None, Some(failure)),
            None => (None, None),
        };
        let status = history.status();
        let waiting_for = if status.ended() { Vec::new() } else { history.outstanding() };
        Ok(RunView {
            id: run,
            workflow: history.facts.started.workflow.clone(),
            version: history.facts.started.version,
            status,
            principal: history.facts.started.principal.clone(),
            labels: history.facts.started.labels.clone(),
            created: history.facts.started_at,
            updated: history.updated_at,
            deadline: history.facts.started.deadline,
            input: history.facts.started.input.clone(),
            output,
            failure,
            parked: history.unknown.clone().or_else(|| history.parked.clone()),
            waiting_for: waiting_for
                .iter()
                .map(|intent| waits_for(&intent.ask.step, &intent.ask.what))
                .collect(),
            generation: history.generation,
            turns: history.turns.len(),
            events: history.head,
            parent: history.facts.started.parent.as_ref().map(|parent| parent.run),
        })
    }

    /// How a run ended, if it has.
    pub async fn settled(&self, tenant: &TenantId, run: RunId) -> Result<Option<Settled>, Failure> {
        let history = load(&*self.inner.log, &run_stream(tenant, run), true).await;
        let history = history.map_err(|error| error.failure())?;
        let status = history.status();
        Ok(history.result().map(|outcome| Settled { run, status, outcome }))
    }

    /// Rows of the list of runs; `query.category` is set here.
    pub async fn list_runs(&self, mut query: ListQuery) -> Result<Listings, Failure> {
        query.category = RUN.into();
        self.inner.log.list(query).await.map_err(|error| error.failure())
    }

    /// A run's events as recorded, from a version on.
    pub async fn events(
        &self,
        tenant: &TenantId,
        run: RunId,
        from: u64,
        limit: usize,
    ) -> Result<Vec<Recorded>, Failure> {
        let stream = run_stream(tenant, run);
        self.inner.log.read_stream(&stream, from, limit).await.map_err(|error| error.failure())
    }

    /// Who a run belongs to, without reading all of it.
    pub async fn principal_of(&self, tenant: &TenantId, run: RunId) -> Result<String, Failure> {
        let first = self.events(tenant, run, 1, 1).await?;
        let first = first.first().ok_or_else(missing)?;
        let started: crate::record::Started = serde_json::from_slice(&first.event.body)
            .map_err(|error| Failure::internal("run.unreadable", error.to_string()))?;
        Ok(started.principal)
    }

    /// One dead letter.
    pub async fn dead_letter(&self, tenant: &TenantId, id: DeadLetterId) -> Result<DeadLetterView, Failure> {
        let stream = letter_stream(tenant, id);
        let events = self.inner.log.read_stream(&stream, 1, 10).await.map_err(|error| error.failure())?;
        let first = events
            .first()
            .ok_or_else(|| Failure::refused("dead_letter.not_found", "there is no such dead letter"))?;
        let letter: DeadLetter = serde_json::from_slice(&first.event.body)
            .map_err(|error| Failure::internal("dead_letter.unreadable", error.to_string()))?;
        let status = match events.last().map(|event| event.event.kind.as_ref()) {
            Some(kind::LETTER_REPLAYED) => "replayed",
            Some(kind::LETTER_EXPIRED) => "expired",
            _ => "open",
        };
        let created = first.event.time;
        let expires = created.after(self.inner.config.dead_letters_kept.get());
        Ok(DeadLetterView { id, status: status.into(), created, expires, letter })
    }

    /// Dead letters, newest first; `query.category` is set here.
    pub async fn dead_letters(&self, mut query: ListQuery) -> Result<(Vec<DeadLetterView>, bool), Failure> {
        query.category = DEAD_LETTER.into();
        let tenant = query.tenant.clone();
        let page = self.inner.log.list(query).await.map_err(|error| error.failure())?;
        let mut views = Vec::with_capacity(page.rows.len());
        for row in &page.rows {
            if let Ok(id) = row.stream.name().parse() {
                views.push(self.dead_letter(&tenant, id).await?);
            }
        }
        Ok((views, page.more))
    }
}

pub(crate) fn waits_for(step: &crate::StepId, what: &What) -> String {
    match what {
        What::Action { action, .. } => format!("step {step} ({action})"),
        What::Timer(due) => format!("timer {step} due {due}"),
        What::Signal(name) => format!("signal {name}"),
        What::Child { run, workflow, .. } => format!("child {workflow} {run}"),
    }
}
