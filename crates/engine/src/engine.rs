use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use steadfast_core::{
    Coded, CorrelationId, Failure, NodeId, RunId, TenantId, World,
    canonical::Hash,
    observe::{Observer, Signal},
    secret::Secret,
};
use steadfast_log::{
    Append, Claim, ClaimChange, ClaimKey, Commit, CommitError, Expect, ListQuery, Listing, ListingChange,
    Log, StreamId, WakeUp, WakeUpChange,
};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::{
    Data, EffectKey, Priority, Settled, Status, StepId, StepOutcome, Update,
    action::result_message,
    config::EngineConfig,
    dead_letter::{DeadLetter, LetterKind},
    history::{Facts, final_status},
    live::{Drove, Input, Live},
    machine::Machine,
    record::{Message, Outcome, Parent, Parked, RUN, Sent, Started, kind},
    slots::Slots,
    store::{WAKE, Writer, message_append},
    timers::Timers,
    workflow::{Registry, Workflow},
};

/// The durable engine of one node. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) world: World,
    pub(crate) registry: Arc<Registry>,
    pub(crate) node: NodeId,
    pub(crate) config: EngineConfig,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) policies: Arc<steadfast_resilience::Registry>,
    pub(crate) timers: Timers,
    pub(crate) stopping: watch::Sender<bool>,
    pub(crate) idle: tokio::sync::Notify,
    pub(crate) slots: Slots,
    active: Mutex<HashMap<RunId, Active>>,
    /// Open runs by tenant, for those that were asked for.
    open: Mutex<HashMap<TenantId, u64>>,
    waiters: Mutex<HashMap<RunId, Vec<oneshot::Sender<Settled>>>>,
    updates: broadcast::Sender<(RunId, Update)>,
    payload_key: Secret<Vec<u8>>,
}

struct Active {
    inbox: mpsc::UnboundedSender<Input>,
}

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

const EFFECTS_SETTLED: usize = 32;
const LABELS_MAX: usize = 16;
const LABEL_BYTES_MAX: usize = 128;

impl Engine {
    /// An engine over `log`. Nothing runs before [`Engine::run`].
    pub fn new(
        log: Arc<dyn Log>,
        world: World,
        registry: Registry,
        config: EngineConfig,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let node = NodeId::next(&world);
        let payload_key = log.payload_key();
        let policies = registry.policies().unwrap_or_else(|| {
            let none = steadfast_resilience::Policies::new();
            Arc::new(steadfast_resilience::Registry::new(&none, &world, &observer))
        });
        let inner = Inner {
            policies,
            slots: Slots::new(world.clone(), config.max_active_runs),
            timers: Timers::default(),
            stopping: watch::channel(false).0,
            idle: tokio::sync::Notify::new(),
            active: Mutex::default(),
            open: Mutex::default(),
            waiters: Mutex::default(),
            updates: broadcast::channel(4_096).0,
            payload_key,
            log,
            world,
            registry: Arc::new(registry),
            node,
            config,
            observer,
        };
        Self { inner: Arc::new(inner) }
    }

    /// This process.
    pub fn node(&self) -> NodeId {
        self.inner.node
    }
    /// The log it runs on.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.inner.log
    }
    /// Its time and chance.
    pub fn world(&self) -> &World {
        &self.inner.world
    }
    /// What it can run.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }
    /// Its configuration.
    pub fn config(&self) -> &EngineConfig {
        &self.inner.config
    }
    /// How many runs are in memory.
    pub fn active(&self) -> usize {
        self.inner.lock_active().len()
    }
    /// What runs tell while they go on. A slow watcher loses the oldest.
    pub fn updates(&self) -> broadcast::Receiver<(RunId, Update)> {
        self.inner.updates.subscribe()
    }

    /// Accepts a run: when this returns, it survives (G1).
    pub async fn start(&self, start: Start) -> Result<Accepted, Failure> {
        self.inner.clone().accept(start, None).await
    }

    /// Accepts a run and waits up to `limit` for its end.
    pub async fn start_and_wait(
        &self,
        start: Start,
        limit: Duration,
    ) -> Result<(Accepted, Option<Settled>), Failure> {
        let tenant = start.tenant.clone();
        let (sender, settled) = oneshot::channel();
        let accepted = self.inner.clone().accept(start, Some(sender)).await?;
        if accepted.replayed {
            let settled = self.wait(&tenant, accepted.run, limit).await?;
            return Ok((accepted, settled));
        }
        let settled = tokio::select! {
            biased;
            settled = settled => settled.ok(),
            () = self.inner.world.clock().sleep(limit) => None,
        };
        Ok((accepted, settled))
    }

    /// Waits up to `limit` for a run's end; `None` when it has not come.
    pub async fn wait(
        &self,
        tenant: &TenantId,
        run: RunId,
        limit: Duration,
    ) -> Result<Option<Settled>, Failure> {
        let (sender, settled) = oneshot::channel();
        self.inner.add_waiter(run, sender);
        // Registered before the look, so that an end in between is not missed.
        if let Some(settled) = self.settled(tenant, run).await? {
            return Ok(Some(settled));
        }
        Ok(tokio::select! {
            biased;
            settled = settled => settled.ok(),
            () = self.inner.world.clock().sleep(limit) => None,
        })
    }

    /// Stops taking up runs, lets steps that are going on end for up to `grace`, and
    /// leaves everything else to the next start.
    pub async fn stop(&self, grace: Duration) {
        self.inner.stopping.send_replace(true);
        let idle = async {
            loop {
                let notified = self.inner.idle.notified();
                if self.inner.lock_active().is_empty() {
                    return;
                }
                notified.await;
            }
        };
        tokio::select! {
            () = idle => {}
            () = self.inner.world.clock().sleep(grace) => {}
        }
        // Its runs need not wait for the lease to run out; if this fails, they do.
        let _ = self.inner.log.release(&crate::recovery::lease_name(self.inner.node), self.inner.node).await;
    }
}

impl Inner {
    fn lock_active(&self) -> MutexGuard<'_, HashMap<RunId, Active>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_waiters(&self) -> MutexGuard<'_, HashMap<RunId, Vec<oneshot::Sender<Settled>>>> {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add_waiter(&self, run: RunId, waiter: oneshot::Sender<Settled>) {
        let mut waiters = self.lock_waiters();
        let waiting = waiters.entry(run).or_default();
        waiting.retain(|waiter| !waiter.is_closed());
        waiting.push(waiter);
    }

    pub(crate) fn workflow(&self, started: &Started) -> Option<&Workflow> {
        self.registry.version(&started.workflow, started.version)
    }

    pub(crate) fn tell(&self, run: RunId, update: impl FnOnce() -> Update) {
        if self.updates.receiver_count() > 0 {
            // Nobody listening any more is no error.
            let _ = self.updates.send((run, update()));
        }
    }

    pub(crate) fn writer<'a>(&'a self, facts: &'a Facts) -> Writer<'a> {
        Writer {
            world: &self.world,
            stream: &facts.stream,
            correlation: facts.correlation,
            inline_bytes: self.config.inline_bytes,
            payload_key: self.payload_key.reveal(),
            commit: Commit::default(),
        }
    }

    async fn accept(
        self: Arc<Self>,
        start: Start,
        waiter: Option<oneshot::Sender<Settled>>,
    ) -> Result<Accepted, Failure> {
        if self.log.identity().held {
            return Err(held());
        }
        if *self.stopping.borrow() {
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
        let now = self.world.now();
        let run = RunId::next(&self.world);
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
        let claim = start.key.map(|(key, request)| {
            let answer = format!("{{\"run\":\"{run}\"}}").into();
            ClaimChange::Take(key, Claim { request, answer, expires: None })
        });
        if let Some(waiter) = waiter {
            self.add_waiter(run, waiter);
        }
        let begun = self.begin_run(&workflow, Arc::new(facts), claim).await;
        match begun {
            Ok(()) => Ok(Accepted { run, replayed: false }),
            Err(error) => {
                self.lock_waiters().remove(&run);
                accepted_before(&error, start.key.map(|(_, request)| request))
            }
        }
    }

    /// Writes the first events of a run and starts to drive it. The first turn is taken
    /// before they are written, so that accepting costs one commit in all.
    pub(crate) async fn begin_run(
        self: &Arc<Self>,
        workflow: &Workflow,
        facts: Arc<Facts>,
        claim: Option<ClaimChange>,
    ) -> Result<(), CommitError> {
        let now = facts.started_at;
        let machine =
            Machine::new(workflow, self.registry.clone(), facts.info(1), facts.started.input.clone());
        let mut live = Live::new(self.clone(), facts.clone(), machine, now);
        let first = live.decide(now, Vec::new());
        let mut writer = self.writer(&facts);
        writer.record(kind::STARTED, &facts.started);
        let (turn, parked) = match first {
            Ok(turn) => (Some(turn), None),
            Err(parked) => (None, Some(parked)),
        };
        let mut status = Status::Running;
        let mut commit = writer.finish();
        if let Some(turn) = &turn {
            let mut turn_commit = live.turn_commit(turn);
            status = match &turn.outcome {
                Some(Outcome::Continued(_)) | None => live.listed(),
                Some(_) if live.undoes() => Status::Compensating,
                Some(outcome) => final_status(outcome),
            };
            merge(&mut commit, &mut turn_commit);
        }
        if let Some(parked) = &parked {
            let mut parking = self.park_commit(&facts, 0, parked);
            status = Status::Parked;
            merge(&mut commit, &mut parking);
        }
        if let Some(append) = commit.appends.first_mut() {
            append.expect = Expect::New;
        }
        // The row comes first and with the final word; what the turn said of it is in it.
        commit
            .listings
            .retain(|change| !matches!(change, ListingChange::Status(stream, ..) if *stream == facts.stream));
        commit.listings.insert(0, ListingChange::Put(listing(&facts, status)));
        if !status.ended() && commit.wake_ups.iter().all(|change| !sets(change, &facts.stream)) {
            commit.wake_ups.push(WakeUpChange::Set(WakeUp {
                stream: facts.stream.clone(),
                name: WAKE.into(),
                due: now,
                owner: Some(self.node),
            }));
        }
        commit.claims.splice(0..0, claim);
        let events = commit.appends.first().map_or(1, |append| append.events.len() as u64);
        let (inbox, receiver) = mpsc::unbounded_channel();
        self.lock_active().insert(facts.run, Active { inbox });
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
            if parked.is_some() {
                return engine.leave(facts.run);
            }
            let ended = live.accepted(events, turn);
            let permit = engine.slots.take(facts.started.priority).await;
            let drove = match ended {
                Some(Outcome::Failed(_) | Outcome::Cancelled(_)) if live.undoes() => Drove::Undo,
                Some(_) => Drove::Over,
                None => live.drive(receiver).await,
            };
            drop(permit);
            engine.drove(&facts.stream, facts.run, drove).await;
        });
        let lost = || CommitError::Unknown("the runtime stopped".into());
        begun.await.unwrap_or_else(|_| Err(lost()))
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

    fn lock_open(&self) -> MutexGuard<'_, HashMap<TenantId, u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_open(&self, tenant: &TenantId, by: i64) {
        if let Some(open) = self.lock_open().get_mut(tenant) {
            *open = open.saturating_add_signed(by);
        }
    }

    fn unknown(&self, name: &str) -> Failure {
        let names: Vec<_> = self.registry.workflows().map(|workflow| workflow.name).collect();
        let near = steadfast_core::config::nearest(name, names.iter().copied());
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
        let shown: String = name.chars().take(64).collect();
        Failure::refused("workflow.unknown", format!("workflow {shown:?} is not registered{hint}"))
    }

    /// What every end of a run writes: claim, list, wake-up, parent, dead letter.
    pub(crate) fn end(
        &self,
        writer: &mut Writer<'_>,
        facts: &Facts,
        generation: u32,
        status: Status,
        outcome: &StepOutcome,
    ) {
        let now = self.world.now();
        if let Some(claim) = facts.started.claim {
            writer
                .commit
                .claims
                .push(ClaimChange::Settle(claim, now.after(self.config.idempotency_window.get())));
        }
        writer.status(status);
        writer.commit.wake_ups.push(WakeUpChange::Clear(facts.stream.clone(), WAKE.into()));
        if let Some(parent) = &facts.started.parent {
            let (append, wake_up) = self.to_parent(facts, parent, outcome.clone());
            writer.commit.appends.push(append);
            writer.commit.wake_ups.push(wake_up);
        }
        if let (Status::Dead, Err(cause)) = (status, outcome) {
            let letter = DeadLetter {
                kind: LetterKind::Run,
                run: Some(facts.run),
                generation,
                step: None,
                workflow: facts.started.workflow.clone(),
                subscriber: None,
                event: None,
                cause: cause.clone(),
                input: Some(facts.started.input.clone())
                    .filter(|input| input.spills(self.config.inline_bytes).is_none()),
                key: None,
            };
            self.add_letter(&mut writer.commit, &facts.stream.tenant(), &facts.started.principal, &letter);
        }
    }

    /// The run has ended for good: the keys of its effects need not be remembered for ever.
    /// Those of a dead run are, since it may be replayed and undone.
    pub(crate) fn settle_effects(
        &self,
        writer: &mut Writer<'_>,
        facts: &Facts,
        generation: u32,
        status: Status,
        steps: &[StepId],
    ) {
        if status == Status::Dead {
            return;
        }
        let (tenant, until) =
            (facts.stream.tenant(), self.world.now().after(self.config.idempotency_window.get()));
        let settle =
            |step| ClaimChange::Settle(EffectKey::of(facts.run, generation, step).claim(&tenant), until);
        // A commit has room for so many; a run with more effects leaves the rest behind.
        writer.commit.claims.extend(steps.iter().rev().take(EFFECTS_SETTLED).map(settle));
    }

    fn to_parent(&self, facts: &Facts, parent: &Parent, outcome: StepOutcome) -> (Append, WakeUpChange) {
        let stream = run_stream(&facts.stream.tenant(), parent.run);
        let message = result_message(parent.run, parent.generation, &parent.step, outcome);
        self.to_run(&stream, &message)
    }

    /// A message to a run, and the wake-up that makes sure it is looked at.
    pub(crate) fn to_run(&self, stream: &StreamId, message: &Message) -> (Append, WakeUpChange) {
        let wake_up = WakeUp {
            stream: stream.clone(),
            name: WAKE.into(),
            due: self.world.now(),
            owner: Some(self.node),
        };
        (message_append(&self.world, stream, message), WakeUpChange::Set(wake_up))
    }

    pub(crate) fn cancel_child(&self, parent: &Facts, child: RunId) -> (Append, WakeUpChange) {
        let id = steadfast_core::id::derive("cancel", &[parent.run.as_bytes(), child.as_bytes()]);
        let what = Sent::Cancel { reason: "its parent ended".into() };
        let message = Message { id, from: Some("parent".into()), what };
        self.to_run(&run_stream(&parent.stream.tenant(), child), &message)
    }

    pub(crate) fn cancel_later(self: &Arc<Self>, parent: &Arc<Facts>, child: RunId) {
        let (engine, parent) = (self.clone(), parent.clone());
        tokio::spawn(async move {
            let (append, wake_up) = engine.cancel_child(&parent, child);
            let commit = Commit { appends: vec![append], wake_ups: vec![wake_up], ..Commit::default() };
            if engine.log.commit(commit).await.is_ok() {
                engine.refresh(&parent.stream.tenant(), child);
            }
        });
    }

    pub(crate) fn park_commit(&self, facts: &Facts, head: u64, parked: &Parked) -> Commit {
        let mut writer = self.writer(facts);
        writer.event(kind::PARKED, parked);
        writer.expect(Expect::Exact(head));
        writer.status(Status::Parked);
        writer.park(self.node);
        self.observer.observe(Signal::Run { workflow: &facts.started.workflow, status: "parked" });
        tracing::warn!(run_id = %facts.run, code = %parked.code, "a run is parked: its code does not fit its history");
        writer.finish()
    }

    /// The end is durable: tell everyone who waits.
    pub(crate) fn ended(self: &Arc<Self>, facts: &Facts, status: Status, outcome: StepOutcome) {
        self.observer.observe(Signal::Run { workflow: &facts.started.workflow, status: status.as_str() });
        self.count_open(&facts.stream.tenant(), -1);
        let settled = Settled { run: facts.run, status, outcome };
        let waiters = self.lock_waiters().remove(&facts.run);
        for waiter in waiters.into_iter().flatten() {
            // Whoever left needs no answer.
            let _ = waiter.send(settled.clone());
        }
        self.tell(facts.run, || Update::Ended(settled));
        if let Some(parent) = &facts.started.parent {
            self.refresh(&facts.stream.tenant(), parent.run);
        }
    }

    /// A message of this run is on the log: whoever drives it shall take it, or it is
    /// taken up.
    pub(crate) fn refresh(self: &Arc<Self>, tenant: &TenantId, run: RunId) {
        self.hand(tenant, run, Input::Refresh);
    }

    pub(crate) fn hand(self: &Arc<Self>, tenant: &TenantId, run: RunId, input: Input) {
        if let Some(active) = self.lock_active().get(&run) {
            // The receiver lives as long as the entry.
            let _ = active.inbox.send(input);
            return;
        }
        self.timers.add(self.world.now(), run_stream(tenant, run));
    }

    /// Takes a run out of memory, unless something just came for it.
    pub(crate) fn evict(&self, run: RunId, inbox: &mut mpsc::UnboundedReceiver<Input>) -> bool {
        let mut active = self.lock_active();
        if !inbox.is_empty() {
            return false;
        }
        active.remove(&run);
        drop(active);
        self.idle.notify_waiters();
        true
    }

    /// Makes this the driver of a run; `None` when there is one.
    pub(crate) fn enter(&self, run: RunId) -> Option<mpsc::UnboundedReceiver<Input>> {
        let mut active = self.lock_active();
        if active.contains_key(&run) {
            return None;
        }
        let (inbox, receiver) = mpsc::unbounded_channel();
        active.insert(run, Active { inbox });
        Some(receiver)
    }

    pub(crate) fn is_active(&self, run: RunId) -> bool {
        self.lock_active().contains_key(&run)
    }

    pub(crate) fn leave(&self, run: RunId) {
        self.lock_active().remove(&run);
        self.idle.notify_waiters();
    }
}

pub(crate) fn run_stream(tenant: &TenantId, run: RunId) -> StreamId {
    StreamId::new(tenant, RUN, run)
}

fn sets(change: &WakeUpChange, of: &StreamId) -> bool {
    match change {
        WakeUpChange::Set(wake_up) => wake_up.stream == *of,
        WakeUpChange::Clear(stream, _) => stream == of,
    }
}

/// Adds `more` to `commit`; both are of the same run.
fn merge(commit: &mut Commit, more: &mut Commit) {
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

fn listing(facts: &Facts, status: Status) -> Listing {
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
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Answer {
    run: RunId,
}

/// A taken key is answered with what it stands for, if the request is the same (G5).
fn accepted_before(error: &CommitError, request: Option<Hash>) -> Result<Accepted, Failure> {
    let CommitError::Claimed(_, claim) = error else {
        return Err(error.failure());
    };
    if Some(claim.request) != request {
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
