//! Takes runs up again: after a restart, when a timer is due, when a message came, when
//! another node died. Run by run and paced, so that one poisoned run delays no other (G7).

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use steadfast_core::{Mutant, RunId, observe::Signal, planted};
use steadfast_log::{CommitError, DueQuery, Expect, Lease, StreamId, WakeUp};
use tokio::task::JoinSet;

use crate::{
    Engine, Status,
    context::Halt,
    dead_letter::DEAD_LETTER,
    engine::Inner,
    history::{Facts, History},
    live::{Drove, Live},
    machine::Machine,
    record::{Claimed, Parked, RUN, kind},
    store::{PARKED_DUE, commit_patiently, load},
    undo::compensate,
};

const SCAN_PAGE: usize = 500;

impl Engine {
    /// Runs the engine until it is stopped: takes up what is due, keeps the node's lease.
    pub async fn run(&self) {
        let engine = &self.inner;
        if engine.log.identity().held {
            tracing::warn!("the store is held after a restore; nothing runs until it is resumed");
            return;
        }
        let subscribers = engine.registry.subscribers().map(|subscriber| self.follow(subscriber.clone()));
        let subscribers = futures::future::join_all(subscribers);
        tokio::select! {
            biased;
            () = engine.stopping.said() => {}
            _ = subscribers, if engine.registry.subscribers().next().is_some() => {}
            () = engine.keep_lease() => {}
            _ = futures::future::join(self.take_up_parked(), engine.take_up_due()) => {}
        }
    }

    /// Tries parked runs on this binary's code: those that fit it now go on.
    pub async fn take_up_parked(&self) {
        let engine = &self.inner;
        // Parked runs are due after everything else: only they lie behind this place.
        let mut tried = JoinSet::new();
        let mut after = WakeUp { stream: first_stream(), name: "".into(), due: PARKED_DUE, owner: None };
        loop {
            let query = DueQuery { category: RUN, until: PARKED_DUE, after: Some(after), limit: SCAN_PAGE };
            let Ok(page) = engine.log.due(query).await else {
                return;
            };
            for wake_up in &page {
                // Tasks, at the pace of all: none of them may keep what is due waiting.
                let Ok(permit) = engine.pace.clone().acquire_owned().await else {
                    return;
                };
                let (engine, stream) = (engine.clone(), wake_up.stream.clone());
                tried.spawn(async move {
                    if load(&*engine.log, &stream, true).await.is_ok_and(|history| engine.fits(&history)) {
                        engine.timers.add(engine.world.now(), stream);
                    }
                    drop(permit);
                });
                while tried.try_join_next().is_some() {}
            }
            let full = page.len() == SCAN_PAGE;
            match page.into_iter().last() {
                Some(last) if full => after = last,
                _ => break,
            }
        }
        while tried.join_next().await.is_some() {}
    }
}

impl Inner {
    async fn keep_lease(&self) {
        let ttl = self.config.node_lease.get();
        loop {
            // A lease that cannot be renewed costs liveness only; the next try comes soon.
            let _ = self.log.lease(&lease_name(self.node), self.node, ttl).await;
            self.world.clock().sleep(ttl / 3).await;
        }
    }

    async fn take_up_due(self: &Arc<Self>) {
        let poll = self.config.poll.get();
        let mut last_scan: Option<Duration> = None;
        loop {
            let elapsed = self.world.clock().elapsed();
            if last_scan.is_none_or(|last| elapsed.saturating_sub(last) >= poll) {
                last_scan = Some(elapsed);
                self.scan(poll).await;
                self.expire_letters().await;
            }
            while let Some(stream) = self.timers.pop(self.world.now()) {
                let Ok(permit) = self.pace.clone().acquire_owned().await else {
                    return;
                };
                let engine = self.clone();
                tokio::spawn(async move { engine.take_up(stream, permit).await });
            }
            let now = self.world.now();
            let until_timer = self.timers.next().map_or(poll, |due| due.since(now));
            tokio::select! {
                biased;
                () = self.timers.changed.notified() => {}
                () = self.world.clock().sleep(until_timer.min(poll)) => {}
            }
        }
    }

    /// Finds what is due soon and nobody drives.
    async fn scan(&self, ahead: Duration) {
        let until = self.world.now().after(ahead);
        let mut after: Option<WakeUp> = None;
        let mut alive = HashMap::new();
        loop {
            let query = DueQuery { category: RUN, until, after, limit: SCAN_PAGE };
            let Ok(page) = self.log.due(query).await else {
                return;
            };
            let full = page.len() == SCAN_PAGE;
            for wake_up in &page {
                if run_id(&wake_up.stream).is_some_and(|run| self.woken(run, wake_up.due)) {
                    continue;
                }
                // Somebody else is alive to see to it; one look for each node is enough.
                let elsewhere = match wake_up.owner.filter(|owner| *owner != self.node) {
                    Some(owner) => match alive.entry(owner) {
                        Entry::Occupied(known) => *known.get(),
                        Entry::Vacant(place) => *place.insert(self.alive(owner).await),
                    },
                    None => false,
                };
                if !elsewhere {
                    self.timers.add(wake_up.due, wake_up.stream.clone());
                }
            }
            after = page.into_iter().last();
            if !full {
                return;
            }
        }
    }

    async fn alive(&self, owner: steadfast_core::NodeId) -> bool {
        let name = lease_name(owner);
        match self.log.lease(&name, self.node, Duration::from_millis(1)).await {
            Ok(Lease::Taken { .. }) | Err(_) => true,
            Ok(Lease::Held { .. }) => {
                // Ours now, so it was free: the owner is gone. Nobody needs this lease.
                let _ = self.log.release(&name, self.node).await;
                false
            }
        }
    }

    async fn take_up(self: Arc<Self>, stream: StreamId, pace: tokio::sync::OwnedSemaphorePermit) {
        let Some(run) = run_id(&stream) else { return };
        if self.stopping.is_said() {
            return;
        }
        let Some(receiver) = self.enter(run) else {
            self.refresh(&stream.tenant(), run);
            return;
        };
        let drove = match load(&*self.log, &stream, true).await {
            Ok(history) => match self.prepare(history).await {
                Prepared::Live(live) => {
                    drop(pace);
                    live.drive(receiver).await
                }
                Prepared::Undo(history) => {
                    drop(pace);
                    let permit = self.slots.take(history.facts.started.priority).await;
                    let drove = compensate(&self, *history).await;
                    drop(permit);
                    drove
                }
                Prepared::Late(history) => {
                    drop(pace);
                    self.look_after(&history, receiver).await
                }
                Prepared::Done(drove) => drove,
            },
            Err(error) if error.poisoned() => {
                self.bury(&stream, error.failure()).await;
                Drove::Over
            }
            Err(crate::store::LoadError::Missing) => Drove::Over,
            Err(_) => Drove::StoreAway,
        };
        self.drove(&stream, run, drove).await;
    }

    async fn prepare(self: &Arc<Self>, mut history: History) -> Prepared {
        // A crash, or a replay from the start.
        if history.begins_anew() && history.head >= history.snapshot_due(self.config.snapshot_after) {
            self.keep_snapshot(&history.facts.stream, history.head).await;
        }
        let status = history.progress();
        if status.ended() {
            return Prepared::Late(Box::new(history));
        }
        // A parked run is driven by nobody, whoever owned it.
        if history.parked.is_none() && history.owner != self.node && self.alive(history.owner).await {
            return Prepared::Done(Drove::Over);
        }
        if !history.orphans.is_empty() {
            self.tell_orphans(&history.facts.stream);
        }
        if status == Status::Compensating {
            if planted(Mutant::UndoForgotten) {
                history.intents.clear();
            }
            return match self.claim(&mut history).await {
                Ok(()) => Prepared::Undo(Box::new(history)),
                Err(drove) => Prepared::Done(drove),
            };
        }
        let machine = match self.replay(&history) {
            Ok(machine) => machine,
            Err(parked) => return Prepared::Done(self.park(&history, &parked).await),
        };
        match self.claim(&mut history).await {
            Ok(()) => Prepared::Live(Box::new(Live::resume(self.clone(), &history, machine))),
            Err(drove) => Prepared::Done(drove),
        }
    }

    /// Can this binary go on with a run that is parked?
    fn fits(&self, history: &History) -> bool {
        match history.progress() {
            Status::Running | Status::Waiting => self.replay(history).is_ok(),
            progress => progress != Status::Parked,
        }
    }

    /// Repeats the recorded turns on today's code.
    pub(crate) fn replay(&self, history: &History) -> Result<Machine, Parked> {
        if let Some(unknown) = &history.unknown {
            return Err(unknown.clone());
        }
        let started = &history.facts.started;
        let turn = u32::try_from(history.turns.len()).unwrap_or(u32::MAX);
        let workflow = self.workflow(started).ok_or_else(|| Parked {
            code: "workflow.unknown_version".into(),
            message: format!(
                "workflow {} version {} is not registered in this binary",
                started.workflow, started.version
            ),
            turn,
        })?;
        let info = history.facts.info(history.generation);
        let mut machine = Machine::new(workflow, self.registry.clone(), info, history.input.clone());
        for (at, turn) in &history.turns {
            let delivered = turn.delivered.iter().map(|delivery| history.delivered(delivery)).collect();
            machine.replay(*at, turn, delivered).map_err(|halt| match halt {
                Halt::Park(parked) => parked,
                Halt::Fail(failure) => {
                    Parked { code: failure.code, message: failure.message, turn: turn.turn }
                }
            })?;
        }
        Ok(machine)
    }

    /// Ownership is an event: from here on the earlier owner's turns conflict (G2).
    async fn claim(&self, history: &mut History) -> Result<(), Drove> {
        if history.owner == self.node && history.parked.is_none() {
            return Ok(());
        }
        let claimed = Claimed { epoch: history.epoch + 1, owner: self.node };
        let mut writer = self.writer(&history.facts);
        let id = writer.event(kind::CLAIMED, &claimed);
        writer.expect(Expect::Exact(history.head));
        writer.wake(self.world.now(), self.node);
        if history.parked.take().is_some() {
            writer.unpark();
            writer.status(history.status());
        }
        match commit_patiently(&self.log, &self.world, writer.finish()).await {
            Ok(_) => {}
            // The answer to the first try may have been lost: then the event is ours.
            Err(CommitError::Conflict { .. }) if self.is_at(&history.facts, history.head + 1, id).await => {}
            Err(CommitError::Conflict { .. }) => return Err(Drove::Again),
            Err(_) => return Err(Drove::StoreAway),
        }
        history.epoch = claimed.epoch;
        history.owner = self.node;
        history.head += 1;
        history.claimed_at = self.world.now();
        Ok(())
    }

    async fn is_at(&self, facts: &Facts, version: u64, id: steadfast_core::EventId) -> bool {
        let page = self.log.read_stream(&facts.stream, version, 1).await;
        page.is_ok_and(|page| page.first().is_some_and(|recorded| recorded.event.id == id))
    }

    async fn park(&self, history: &History, parked: &Parked) -> Drove {
        let commit = self.park_commit(&history.facts, history.head, parked);
        match commit_patiently(&self.log, &self.world, commit).await {
            Ok(_) => Drove::Over,
            Err(CommitError::Conflict { .. }) => Drove::Again,
            Err(_) => Drove::StoreAway,
        }
    }

    /// What to do once a run is no longer driven.
    pub(crate) async fn drove(self: &Arc<Self>, stream: &StreamId, run: RunId, mut drove: Drove) {
        while matches!(drove, Drove::Undo) {
            drove = match load(&*self.log, stream, true).await {
                Ok(history) if history.owner != self.node || history.status().ended() => Drove::Over,
                Ok(history) if history.progress() == Status::Compensating => compensate(self, history).await,
                Ok(_) => Drove::Again,
                Err(error) if error.poisoned() => {
                    self.bury(stream, error.failure()).await;
                    Drove::Over
                }
                Err(_) => Drove::StoreAway,
            };
        }
        let poll = self.config.poll.get();
        match drove {
            Drove::Over | Drove::Undo => self.leave(run),
            Drove::Evicted(due) => {
                if due.since(self.world.now()) <= poll * 2 {
                    self.timers.add(due, stream.clone());
                }
            }
            Drove::Again => {
                self.leave(run);
                self.timers.add(self.world.now(), stream.clone());
            }
            Drove::StoreAway => {
                self.observer.observe(Signal::StoreError { code: "store.away" });
                self.leave(run);
                self.timers.add(self.world.now().after(poll), stream.clone());
            }
        }
    }

    async fn expire_letters(&self) {
        let query =
            DueQuery { category: DEAD_LETTER, until: self.world.now(), after: None, limit: SCAN_PAGE };
        let Ok(due) = self.log.due(query).await else {
            return;
        };
        for wake_up in due {
            let mut commit = steadfast_log::Commit::default();
            self.close_letter(&mut commit, &wake_up.stream, kind::LETTER_EXPIRED, "system");
            // Another node may have done it, or it was replayed just now.
            let _ = self.log.commit(commit).await;
        }
    }
}

/// Sorts before every stream there is.
fn first_stream() -> StreamId {
    StreamId::new(&steadfast_core::TenantId::default(), "", "")
}

enum Prepared {
    Late(Box<History>),
    Live(Box<Live>),
    Undo(Box<History>),
    Done(Drove),
}

pub(crate) fn lease_name(node: steadfast_core::NodeId) -> String {
    format!("node/{node}")
}

pub(crate) fn run_id(stream: &StreamId) -> Option<RunId> {
    stream.name().parse().ok()
}
