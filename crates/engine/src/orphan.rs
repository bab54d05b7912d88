//! Orphans: children whose parent has ended, is being undone, or goes on as its next
//! generation. They are cancelled; those of a killed run are killed.
//!
//! 1. The commit that leaves them behind sets a wake-up of its own. It is due when a node
//!    that lives has told them, so that it is seen only after a crash.
//! 2. Each is told under an id of its own: telling twice counts once.
//! 3. The place of one that was never started is taken by a run that has ended: a start
//!    that is still on its way, here or on another node, finds it.
//! 4. When all know, `run.told` clears the wake-up, exactly on what was read: children left
//!    behind meanwhile keep theirs.

use std::{collections::HashSet, sync::Arc};

use futures::{StreamExt, future::BoxFuture};
use steadfast_core::{Failure, RunId};
use steadfast_log::{Expect, ListingChange, StreamId, WakeUp, WakeUpChange};

use crate::{
    Data, Engine, Status,
    accept::listing,
    engine::{Inner, run_stream},
    history::{Facts, History, Orphan},
    record::{self, Ended, Parent, Sent, Started, kind},
    store::{Writer, load},
};

const ORPHANS: &str = "orphans";
/// Told at the same time.
const AT_ONCE: usize = 16;
const PARENT: &str = "parent";

impl Writer<'_> {
    /// Part of a commit after which nobody is to be told.
    pub(crate) fn forget_orphans(&mut self) {
        self.commit.wake_ups.push(WakeUpChange::Clear(self.stream.clone(), ORPHANS.into()));
    }
}

impl Inner {
    /// Part of the commit that leaves children behind.
    pub(crate) fn leave_orphans(&self, writer: &mut Writer<'_>) {
        let wake_up = WakeUp {
            stream: writer.stream.clone(),
            name: ORPHANS.into(),
            due: self.world.now().after(self.config.node_lease.get()),
            owner: Some(self.node),
        };
        writer.commit.wake_ups.push(WakeUpChange::Set(wake_up));
    }

    /// Tells the children that a run has left behind, in the background. The record says
    /// which; the wake-up outlives this node.
    pub(crate) fn tell_orphans(self: &Arc<Self>, stream: &StreamId) {
        tokio::spawn(self.clone().tell_all(stream.clone()));
    }

    fn tell_all(self: Arc<Self>, stream: StreamId) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let mut told = HashSet::new();
            while !self.stopping.is_said() {
                if !self.lock_telling().insert(stream.clone()) {
                    return;
                }
                let told_all = self.tell_each(&stream, &mut told).await;
                // Free before the write: whoever is left behind after it finds this place empty.
                self.lock_telling().remove(&stream);
                match told_all {
                    Told::Nobody => return,
                    Told::All(history) if self.note_told(&history).await => return,
                    Told::All(_) | Told::Some => {}
                }
                self.world.clock().sleep(self.config.poll.get()).await;
            }
        })
    }

    async fn tell_each(self: &Arc<Self>, stream: &StreamId, told: &mut HashSet<(RunId, u64)>) -> Told {
        let history = match load(&*self.log, stream, false).await {
            Ok(history) if history.orphans.is_empty() => return Told::Nobody,
            Ok(history) => Arc::new(history),
            Err(error) if error.failure().retryable => return Told::Some,
            Err(_) => return Told::Nobody,
        };
        let left = history.orphans.iter().filter(|(run, orphan)| !told.contains(&(**run, orphan.since)));
        let left: Vec<(RunId, Orphan)> = left.map(|(run, orphan)| (*run, orphan.clone())).collect();
        let telling = left.into_iter().map(|(run, orphan)| {
            let (engine, history) = (self.clone(), history.clone());
            async move { (run, orphan.since, engine.tell_one(&history, run, &orphan).await) }
        });
        let asked: Vec<_> = futures::stream::iter(telling).buffer_unordered(AT_ONCE).collect().await;
        let all = asked.iter().all(|(.., knows)| *knows);
        told.extend(asked.into_iter().filter(|(.., knows)| *knows).map(|(run, since, _)| (run, since)));
        if all { Told::All(history) } else { Told::Some }
    }

    /// `false`: to be tried again.
    async fn tell_one(self: &Arc<Self>, parent: &History, child: RunId, orphan: &Orphan) -> bool {
        let engine = Engine { inner: self.clone() };
        let tenant = parent.facts.stream.tenant();
        let answer = if parent.status() == Status::Killed {
            engine.kill(&tenant, child, PARENT, "its parent was killed").await
        } else {
            let parts: [&[u8]; 3] =
                [parent.facts.run.as_bytes(), child.as_bytes(), &orphan.since.to_be_bytes()];
            let id = steadfast_core::id::derive("cancel", &parts);
            let cancel = Sent::Cancel { reason: "its parent goes on without it".into() };
            engine.send(&tenant, child, Some(id), PARENT, cancel).await.map(drop)
        };
        match answer {
            Ok(()) => true,
            Err(failure) if failure.code == "run.not_found" => self.stand_in(parent, child, orphan).await,
            // It has ended, or its record is broken and is seen to elsewhere.
            Err(failure) => !failure.retryable,
        }
    }

    /// Takes the place of a child that was never started.
    async fn stand_in(&self, parent: &History, child: RunId, orphan: &Orphan) -> bool {
        let of = &parent.facts;
        let (status, failure) = match parent.status() {
            Status::Killed => (
                Status::Killed,
                Failure::refused("run.killed", "its parent was killed before it was started"),
            ),
            _ => (
                Status::Cancelled,
                Failure::refused("run.cancelled", "its parent went on without it before it was started"),
            ),
        };
        let started = Started {
            workflow: orphan.workflow.clone(),
            version: self.registry.newest(&orphan.workflow).map_or(0, |workflow| workflow.version),
            input: Data::null(),
            principal: of.started.principal.clone(),
            labels: of.started.labels.clone(),
            owner: self.node,
            deadline: None,
            priority: of.started.priority,
            parent: Some(Parent { run: of.run, generation: orphan.generation, step: orphan.step.clone() }),
            claim: None,
        };
        let facts = Facts {
            run: child,
            stream: run_stream(&of.stream.tenant(), child),
            correlation: of.correlation,
            started,
            started_at: self.world.now(),
        };
        let mut writer = self.writer_at(&facts, facts.started_at);
        writer.event(kind::STARTED, &facts.started);
        writer.event(kind::ENDED, &Ended { status, failure: Some(failure), by: Some(PARENT.into()) });
        writer.expect(Expect::New);
        writer.commit.listings.push(ListingChange::Put(listing(&facts, status)));
        // On a conflict it has just been started; it is told in the next round.
        self.log.commit(writer.finish()).await.is_ok()
    }

    async fn note_told(&self, history: &History) -> bool {
        let mut writer = self.writer(&history.facts);
        writer.event(kind::TOLD, &record::Told {});
        writer.expect(Expect::Exact(history.head));
        writer.forget_orphans();
        self.log.commit(writer.finish()).await.is_ok()
    }
}

enum Told {
    /// There is nobody to tell.
    Nobody,
    /// Some could not be told; try again.
    Some,
    /// Those of this record.
    All(Arc<History>),
}
