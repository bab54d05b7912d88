use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use steadfast_core::{Failure, NodeId, RunId, TenantId, Time, World, observe::Observer};
use steadfast_log::{Commit, Log, StreamId};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot};

use crate::{
    Accepted, Settled, Start, Update,
    config::EngineConfig,
    history::Facts,
    live::Input,
    record::{RUN, Started},
    slots::Slots,
    spill::Spill,
    stopping::Stopping,
    store::Writer,
    timers::Timers,
    workflow::{Registry, Workflow},
};

/// The durable engine of one node. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) inner: Arc<Inner>,
}

/// An engine that may be gone: for actions, which the engine itself holds.
#[derive(Clone)]
pub struct WeakEngine(Weak<Inner>);

impl WeakEngine {
    /// The engine, if it is still there.
    pub fn upgrade(&self) -> Option<Engine> {
        self.0.upgrade().map(|inner| Engine { inner })
    }
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
    pub(crate) stopping: Stopping,
    pub(crate) idle: tokio::sync::Notify,
    pub(crate) slots: Slots,
    /// Runs that are being taken up.
    pub(crate) pace: Arc<Semaphore>,
    active: Mutex<HashMap<RunId, Active>>,
    /// Open runs by tenant, for those that were asked for.
    open: Mutex<HashMap<TenantId, u64>>,
    /// Runs whose orphans are being told.
    telling: Mutex<HashSet<StreamId>>,
    waiters: Mutex<HashMap<RunId, Vec<oneshot::Sender<Settled>>>>,
    updates: broadcast::Sender<(RunId, Update)>,
    pub(crate) spill: Spill,
}

struct Active {
    inbox: mpsc::UnboundedSender<Input>,
    /// The due time of its wake-up when this node last looked for what is due.
    due: Option<Time>,
}

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
        let spill = Spill::new(config.inline_bytes, log.payload_key());
        let policies = registry.policies().unwrap_or_else(|| {
            let none = steadfast_resilience::Policies::new();
            Arc::new(steadfast_resilience::Registry::new(&none, &world, &observer))
        });
        let inner = Inner {
            policies,
            slots: Slots::new(world.clone(), config.max_active_runs),
            pace: Arc::new(Semaphore::new(config.recovery_pace.max(1))),
            timers: Timers::default(),
            stopping: Stopping::default(),
            idle: tokio::sync::Notify::new(),
            active: Mutex::default(),
            open: Mutex::default(),
            telling: Mutex::default(),
            waiters: Mutex::default(),
            updates: broadcast::channel(4_096).0,
            spill,
            log,
            world,
            registry: Arc::new(registry),
            node,
            config,
            observer,
        };
        Self { inner: Arc::new(inner) }
    }

    /// A handle that does not keep it.
    pub fn downgrade(&self) -> WeakEngine {
        WeakEngine(Arc::downgrade(&self.inner))
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
        let settled = self.told(&tenant, accepted.run, settled, limit).await;
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
        Ok(self.told(tenant, run, settled, limit).await)
    }

    /// Until the run ends, the time is over or the engine stops: what waits is told then
    /// that the run was accepted, and not left without an answer.
    async fn told(
        &self,
        tenant: &TenantId,
        run: RunId,
        settled: oneshot::Receiver<Settled>,
        limit: Duration,
    ) -> Option<Settled> {
        tokio::select! {
            biased;
            settled = settled => settled.ok(),
            settled = self.ended_elsewhere(tenant, run) => Some(settled),
            () = self.inner.stopping.said() => None,
            () = self.inner.world.clock().sleep(limit) => None,
        }
    }

    /// Looks now and then: where another node drives the run, nobody tells this one.
    async fn ended_elsewhere(&self, tenant: &TenantId, run: RunId) -> Settled {
        let stream = run_stream(tenant, run);
        let mut seen = 0;
        loop {
            self.inner.world.clock().sleep(self.inner.config.poll.get()).await;
            // What cannot be read now is looked at again.
            let Ok(head) = self.inner.log.head(&stream).await else {
                continue;
            };
            if head != seen
                && let Ok(settled) = self.settled(tenant, run).await
            {
                seen = head;
                if let Some(settled) = settled {
                    return settled;
                }
            }
        }
    }

    /// Stops taking up runs, lets steps that are going on end for up to `grace`, and
    /// leaves everything else to the next start.
    pub async fn stop(&self, grace: Duration) {
        self.inner.stopping.say();
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
            biased;
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

    /// How long a run that waits stays in memory. When there are more than may advance at
    /// the same time, those that come to wait make room at once.
    pub(crate) fn warm(&self) -> Duration {
        if self.lock_active().len() > self.config.max_active_runs {
            Duration::ZERO
        } else {
            self.config.keep_warm.get()
        }
    }

    pub(crate) fn add_waiter(&self, run: RunId, waiter: oneshot::Sender<Settled>) {
        let mut waiters = self.lock_waiters();
        let waiting = waiters.entry(run).or_default();
        waiting.retain(|waiter| !waiter.is_closed());
        waiting.push(waiter);
    }

    pub(crate) fn forget_waiters(&self, run: RunId) -> Vec<oneshot::Sender<Settled>> {
        self.lock_waiters().remove(&run).unwrap_or_default()
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
        self.writer_at(facts, self.world.now())
    }

    /// Events of a given time. That of a turn is the time its code saw: on a replay it is
    /// all that is left of it.
    pub(crate) fn writer_at<'a>(&'a self, facts: &'a Facts, now: Time) -> Writer<'a> {
        Writer {
            world: &self.world,
            now,
            stream: &facts.stream,
            correlation: facts.correlation,
            spill: &self.spill,
            commit: Commit::default(),
        }
    }

    pub(crate) fn lock_telling(&self) -> MutexGuard<'_, HashSet<StreamId>> {
        self.telling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn lock_open(&self) -> MutexGuard<'_, HashMap<TenantId, u64>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn count_open(&self, tenant: &TenantId, by: i64) {
        if let Some(open) = self.lock_open().get_mut(tenant) {
            *open = open.saturating_add_signed(by);
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
        active.insert(run, Active { inbox, due: None });
        Some(receiver)
    }

    /// The wake-up of a run is due. Is it driven here? Then its driver looks, once for
    /// each time that it is due: a message may have come by way of another node.
    pub(crate) fn woken(&self, run: RunId, due: Time) -> bool {
        let mut active = self.lock_active();
        let Some(active) = active.get_mut(&run) else {
            return false;
        };
        if active.due.replace(due) != Some(due) {
            // The receiver lives as long as the entry.
            let _ = active.inbox.send(Input::Refresh);
        }
        true
    }

    pub(crate) fn leave(&self, run: RunId) {
        self.lock_active().remove(&run);
        self.idle.notify_waiters();
    }
}

pub(crate) fn run_stream(tenant: &TenantId, run: RunId) -> StreamId {
    StreamId::new(tenant, RUN, run)
}
