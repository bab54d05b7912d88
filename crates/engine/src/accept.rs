//! Accepting a run: its first events and its first turn, in one commit.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use steadfast_core::{
    Coded, CorrelationId, Failure, Mutant, RunId, TenantId, Time, canonical::Hash, observe::Signal, planted,
};
use steadfast_log::{
    Append, Claim, ClaimChange, ClaimKey, Commit, CommitError, Expect, ListQuery, Listing, ListingChange,
    StreamId, WakeUp, WakeUpChange,
};
use tokio::sync::oneshot;

use crate::{
    Data, Priority, Settled, Status,
    engine::{Inner, run_stream},
    history::{Facts, final_status},
    live::{Drove, Live},
    machine::Machine,
    record::{Outcome, RUN, Started, Turn, kind},
    store::WAKE,
    workflow::Workflow,
};

/// What is asked of the engine: a new run.
#[derive(Debug, Clone)]
pub struct Start {
    /// Whose.
    pub tenant: TenantId,
    /// On whose behalf.
    pub principal: String,
    /// Which workflow, in its newest version.
    pub workflow: String,
    /// With what.
    pub input: Data,
    /// To find it by: at most 16.
    pub labels: BTreeMap<String, String>,
    /// Else the workflow's.
    pub priority: Option<Priority>,
    /// Else the workflow's, counted from now.
    pub deadline: Option<Duration>,
    /// The outside request.
    pub correlation: Option<CorrelationId>,
    /// Idempotency key and the hash of the parsed request.
    pub key: Option<(ClaimKey, Hash)>,
    /// The run's id, where something beside it names it; else a new one.
    pub run: Option<RunId>,
    /// Events of other streams that become durable together with the run. Where one of
    /// those streams is not where it is expected, nothing happens and the answer is
    /// `commit.conflict`.
    pub beside: Vec<Append>,
}

impl Start {
    /// A run of `workflow` with no key and the workflow's own settings.
    pub fn new(
        tenant: TenantId,
        principal: impl Into<String>,
        workflow: impl Into<String>,
        input: Data,
    ) -> Self {
        Self {
            tenant,
            principal: principal.into(),
            workflow: workflow.into(),
            input,
            labels: BTreeMap::new(),
            priority: None,
            deadline: None,
            correlation: None,
            key: None,
            run: None,
            beside: Vec::new(),
        }
    }
}

/// A run is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// The run.
    pub run: RunId,
    /// It was accepted before, under the same key and for the same request.
    pub replayed: bool,
}

const LABELS_MAX: usize = 16;
const LABEL_BYTES_MAX: usize = 128;

impl Inner {
    pub(crate) async fn accept(
        self: Arc<Self>,
        start: Start,
        waiter: Option<oneshot::Sender<Settled>>,
    ) -> Result<Accepted, Failure> {
        if self.log.identity().held {
            return Err(held());
        }
        if self.stopping.is_said() {
            return Err(Failure {
                nothing_happened: true,
                ..Failure::internal("node.stopping", "this node is stopping; ask again")
            }
            .retryable());
        }
        let workflow =
            self.registry.newest(&start.workflow).cloned().ok_or_else(|| self.unknown(&start.workflow))?;
        (workflow.reads)(&start.input).map_err(|failure| {
            Failure::refused("run.invalid_input", format!("input of {}: {}", workflow.name, failure.message))
        })?;
        check_labels(&start.labels)?;
        self.check_open_runs(&start.tenant).await?;
        if planted(Mutant::ClaimOutsideCommit)
            && let Some((key, request)) = start.key
            && let Ok(Some(claim)) = self.log.claim(key).await
        {
            return accepted_before(&CommitError::Claimed(key, claim), Some(request));
        }
        let now = self.world.now();
        let run = start.run.unwrap_or_else(|| RunId::next(&self.world));
        let started = Started {
            workflow: workflow.name.into(),
            version: workflow.version,
            input: start.input,
            principal: start.principal,
            labels: start.labels,
            owner: self.node,
            deadline: start.deadline.or(workflow.options.deadline).map(|limit| now.after(limit)),
            priority: start.priority.unwrap_or(workflow.options.priority),
            parent: None,
            claim: start.key.map(|(key, _)| key),
        };
        let facts = Facts {
            run,
            stream: run_stream(&start.tenant, run),
            correlation: start.correlation,
            started,
            started_at: now,
        };
        let until = planted(Mutant::ClaimEndsEarly).then(|| now.after(self.config.idempotency_window.get()));
        let claims = start.key.map(|(key, request)| take(key, request, run, until)).into_iter().collect();
        let beside = Commit { claims, appends: start.beside, ..Commit::default() };
        if let Some(waiter) = waiter {
            self.add_waiter(run, waiter);
        }
        let begun = self.begin_run(&workflow, Arc::new(facts), beside).await;
        match begun {
            Ok(()) => Ok(Accepted { run, replayed: false }),
            Err(error) => {
                self.forget_waiters(run);
                accepted_before(&error, start.key.map(|(_, request)| request))
            }
        }
    }

    /// Writes the first events of a run, with what belongs beside them, and starts to drive
    /// it. The first turn is taken before they are written, so that accepting costs one
    /// commit in all.
    pub(crate) async fn begin_run(
        self: &Arc<Self>,
        workflow: &Workflow,
        facts: Arc<Facts>,
        beside: Commit,
    ) -> Result<(), CommitError> {
        let now = facts.started_at;
        let machine =
            Machine::new(workflow, self.registry.clone(), facts.info(1), facts.started.input.clone());
        let mut live = Live::new(self.clone(), facts.clone(), machine, now);
        let (mut commit, turn) = self.first_commit(&facts, &mut live);
        let events = commit.appends.first().map_or(1, |append| append.events.len() as u64);
        commit.claims.splice(0..0, beside.claims);
        commit.appends.extend(beside.appends);
        let Some(receiver) = self.enter(facts.run) else {
            // A child that is asked for again while it goes on.
            return Err(CommitError::Conflict { stream: facts.stream.clone(), actual: 1 });
        };
        let (answer, begun) = oneshot::channel();
        // In a task of its own: a caller that leaves does not leave the run half begun.
        let engine = self.clone();
        tokio::spawn(async move {
            if let Err(error) = engine.log.commit(commit).await {
                engine.leave(facts.run);
                // Whoever has left does not need to know.
                let _ = answer.send(Err(error));
                return;
            }
            engine.observer.observe(Signal::Run { workflow: &facts.started.workflow, status: "accepted" });
            engine.count_open(&facts.stream.tenant(), 1);
            let _ = answer.send(Ok(()));
            let Some(turn) = turn else { return engine.leave(facts.run) };
            let ended = live.accepted(events, turn);
            let drove = match ended {
                Some(Outcome::Failed(_) | Outcome::Cancelled(_)) if live.undoes() => Drove::Undo,
                Some(_) => Drove::Over,
                None => live.drive(receiver).await,
            };
            engine.drove(&facts.stream, facts.run, drove).await;
        });
        if planted(Mutant::AcceptedTooEarly) {
            return Ok(());
        }
        let lost = || CommitError::Unknown("the runtime stopped".into());
        begun.await.unwrap_or_else(|_| Err(lost()))
    }

    /// `run.started` and the first turn, or the news that the code cannot take one.
    fn first_commit(&self, facts: &Facts, live: &mut Live) -> (Commit, Option<Turn>) {
        let now = facts.started_at;
        let mut writer = self.writer_at(facts, now);
        writer.record(kind::STARTED, &facts.started);
        let mut commit = writer.finish();
        let (turn, status) = match live.decide(now, Vec::new()) {
            Ok(turn) => {
                merge(&mut commit, live.turn_commit(&turn, now));
                let status = match &turn.outcome {
                    Some(Outcome::Continued(_)) | None => live.listed(),
                    Some(_) if live.undoes() => Status::Compensating,
                    Some(outcome) => final_status(outcome),
                };
                (Some(turn), status)
            }
            Err(parked) => {
                merge(&mut commit, self.park_commit(facts, 0, &parked));
                (None, Status::Parked)
            }
        };
        if let Some(append) = commit.appends.first_mut() {
            append.expect = Expect::New;
        }
        // The row comes first and with the final word; what the turn said of it is in it.
        let own = |change: &ListingChange| matches!(change, ListingChange::Status(stream, ..) if *stream == facts.stream);
        commit.listings.retain(|change| !own(change));
        commit.listings.insert(0, ListingChange::Put(listing(facts, status)));
        if !status.ended() && !commit.wake_ups.iter().any(|change| sets(change, &facts.stream)) {
            let stream = facts.stream.clone();
            let wake_up = WakeUp { stream, name: WAKE.into(), due: now, owner: Some(self.node) };
            commit.wake_ups.push(WakeUpChange::Set(wake_up));
        }
        (commit, turn)
    }

    /// Counts a tenant's open runs, once in the store and from then on as they come and go
    /// on this node.
    async fn check_open_runs(&self, tenant: &TenantId) -> Result<(), Failure> {
        let known = self.lock_open().get(tenant).copied();
        let open = if let Some(open) = known {
            open
        } else {
            let query = ListQuery {
                tenant: tenant.clone(),
                category: RUN.into(),
                statuses: Status::OPEN.iter().map(|status| status.as_str().into()).collect(),
                ..ListQuery::default()
            };
            let open = self.log.count(query).await.map_err(|error| error.failure())?;
            *self.lock_open().entry(tenant.clone()).or_insert(open)
        };
        let limit = self.config.open_runs_per_tenant;
        if open < limit {
            return Ok(());
        }
        let message = format!("{open} runs are open, at most {limit} may be; wait until some have ended");
        Err(Failure { nothing_happened: true, ..Failure::internal("tenant.too_many_runs", message) }
            .retryable())
    }

    fn unknown(&self, name: &str) -> Failure {
        let names: Vec<_> = self.registry.workflows().map(|workflow| workflow.name).collect();
        let near = steadfast_core::config::nearest(name, names.iter().copied());
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        let shown: String = name.chars().take(64).collect();
        Failure::refused("workflow.unknown", format!("workflow {shown:?} is not registered{hint}"))
    }
}

fn sets(change: &WakeUpChange, of: &StreamId) -> bool {
    match change {
        WakeUpChange::Set(wake_up) => wake_up.stream == *of,
        WakeUpChange::Clear(stream, _) => stream == of,
    }
}

/// Adds `more` to `commit`; both are of the same run.
fn merge(commit: &mut Commit, mut more: Commit) {
    let mut appends = more.appends.drain(..);
    if let (Some(own), Some(first)) = (commit.appends.first_mut(), appends.next()) {
        own.events.extend(first.events);
    }
    commit.appends.extend(appends);
    commit.claims.append(&mut more.claims);
    commit.wake_ups.append(&mut more.wake_ups);
    commit.listings.append(&mut more.listings);
    commit.payloads.append(&mut more.payloads);
}

pub(crate) fn listing(facts: &Facts, status: Status) -> Listing {
    Listing {
        stream: facts.stream.clone(),
        kind: facts.started.workflow.clone(),
        status: status.as_str().into(),
        principal: Some(facts.started.principal.clone()),
        labels: facts.started.labels.clone(),
        created: facts.started_at,
        updated: facts.started_at,
    }
}

fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), Failure> {
    if labels.len() > LABELS_MAX {
        return Err(Failure::refused(
            "run.too_many_labels",
            format!("labels: {} given, at most {LABELS_MAX}", labels.len()),
        ));
    }
    for (name, value) in labels {
        steadfast_core::principal::check_name("label", name)
            .map_err(|error| Failure::refused("run.invalid_label", error.to_string()))?;
        if value.len() > LABEL_BYTES_MAX {
            let message = format!("label {name:?} has {} bytes, at most {LABEL_BYTES_MAX}", value.len());
            return Err(Failure::refused("run.invalid_label", message));
        }
        if value.contains('\0') {
            let message = format!("label {name:?} holds a NUL character, which no text may");
            return Err(Failure::refused("run.invalid_label", message));
        }
    }
    Ok(())
}

/// The record under which the same request finds its run again.
pub(crate) fn take(key: ClaimKey, request: Hash, run: RunId, expires: Option<Time>) -> ClaimChange {
    let answer = format!("{{\"run\":\"{run}\"}}").into();
    ClaimChange::Take(key, Claim { request, answer, expires })
}

#[derive(serde::Deserialize)]
struct Answer {
    run: RunId,
}

/// A taken key is answered with what it stands for, if the request is the same (G5).
pub(crate) fn accepted_before(error: &CommitError, request: Option<Hash>) -> Result<Accepted, Failure> {
    let CommitError::Claimed(_, claim) = error else {
        return Err(error.failure());
    };
    if Some(claim.request) != request && !planted(Mutant::OtherRequestAnswered) {
        return Err(key_reused());
    }
    let answer: Answer = serde_json::from_str(&claim.answer).map_err(|_| {
        Failure::internal("claim.unreadable", "the record under this idempotency key is not a run's")
    })?;
    Ok(Accepted { run: answer.run, replayed: true })
}

/// The same key with another request.
pub fn key_reused() -> Failure {
    Failure::refused(
        "idempotency_key_reused",
        "this idempotency key was used for another request; send the same request, or use a new key",
    )
}

pub(crate) fn held() -> Failure {
    let message = "the store was restored and is held; check it, then run `steadfast resume`";
    Failure { nothing_happened: true, ..Failure::internal("store.held", message) }.retryable()
}
