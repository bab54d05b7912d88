//! Reads and writes of runs: loading a history, and the commits that change it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde::Serialize;
use steadfast_core::{Coded, CorrelationId, Failure, Time, World, defaults};
use steadfast_log::{
    Append, Commit, CommitError, Committed, DecodeError, Expect, ListingChange, Log, NewEvent, PayloadId,
    ReadError, Recorded, StreamId, WakeUp, WakeUpChange, events_through,
};

use crate::{
    Data,
    action::body,
    engine::Inner,
    grown::make_whole,
    history::History,
    record::{Delivery, Message, Outcome, SCHEMA, Sent, Started, Turn, What, decode, kind},
    spill::Spill,
};

/// The name of a run's wake-up: there is one while it is open, and one of another name
/// while it is parked.
pub(crate) const WAKE: &str = "run";
const PARKED: &str = "parked";
/// Behind everything that waits, so that parked runs are found without reading the rest.
pub(crate) const PARKED_DUE: Time = Time::from_micros(Time::NEVER.micros() + 1);
const PAGE: usize = 500;
/// A run of a few steps is read at once.
const BEGINNING: usize = 8;

/// Why a run could not be loaded.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum LoadError {
    /// The store did not answer; try again later.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// What is written does not read as a run: no retry will help.
    #[error("{0}")]
    Broken(String),
    /// There is no such run.
    #[error("there is no such run")]
    Missing,
}

impl LoadError {
    pub(crate) fn poisoned(&self) -> bool {
        matches!(self, Self::Broken(_) | Self::Read(ReadError::Corrupt(_)))
    }
    pub(crate) fn failure(&self) -> Failure {
        match self {
            Self::Read(error) => error.failure(),
            Self::Broken(reason) => Failure::internal("run.unreadable", reason.clone()),
            Self::Missing => missing(),
        }
    }
}

/// A run that is not there, or not the caller's.
pub(crate) fn missing() -> Failure {
    Failure::refused("run.not_found", "there is no such run")
}

/// Reads a run. `resolve` also loads the values that are stored beside the log.
pub(crate) async fn load(log: &dyn Log, stream: &StreamId, resolve: bool) -> Result<History, LoadError> {
    let mut history = fold(log, stream).await?;
    if resolve {
        resolve_all(log, &mut history).await?;
        make_whole(&mut history).map_err(LoadError::Broken)?;
    }
    Ok(history)
}

/// From its first event, or its last snapshot: most runs are so short that they have none.
async fn fold(log: &dyn Log, stream: &StreamId) -> Result<History, LoadError> {
    let mut page = log.read_stream(stream, 1, BEGINNING).await?;
    let mut more = page.len() == BEGINNING;
    if page.is_empty() {
        return Err(LoadError::Missing);
    }
    let first = page.remove(0);
    let restored = if more { restore(log, &first).await? } else { None };
    let mut history = match restored {
        Some((history, since)) => {
            // The last event of the snapshot was read, too.
            more = since.len() + 1 == PAGE;
            page = since;
            history
        }
        None => History::begin(&first).map_err(broken)?,
    };
    loop {
        for recorded in &page {
            history.apply(recorded).map_err(broken)?;
        }
        if !more {
            return Ok(history);
        }
        page = log.read_stream(stream, history.head + 1, PAGE).await?;
        more = page.len() == PAGE;
    }
}

/// The last snapshot, and the first events since.
async fn restore(log: &dyn Log, first: &Recorded) -> Result<Option<(History, Vec<Recorded>)>, LoadError> {
    let snapshot = match log.snapshot(&first.stream).await {
        Ok(Some(snapshot)) => snapshot,
        Ok(None) | Err(ReadError::Corrupt(_)) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let mut page = log.read_stream(&first.stream, snapshot.version, PAGE).await?;
    if page.is_empty() {
        return Ok(None);
    }
    let last = page.remove(0);
    let history = History::restore(first, &snapshot, &last).map_err(broken)?;
    Ok(history.map(|history| (history, page)))
}

/// Is the snapshot of a run's stream, if there is one, what the events amount to?
pub async fn verify_snapshot(log: &dyn Log, stream: &StreamId) -> Result<bool, Failure> {
    check_snapshot(log, stream).await.map_err(|error| error.failure())
}

async fn check_snapshot(log: &dyn Log, stream: &StreamId) -> Result<bool, LoadError> {
    let mut begin = log.read_stream(stream, 1, 1).await?;
    let Some(first) = begin.pop() else { return Ok(true) };
    let Some((kept, _)) = restore(log, &first).await? else { return Ok(true) };
    let mut fold = History::begin(&first).map_err(broken)?;
    let corrupt = |error: DecodeError| ReadError::Corrupt(error.to_string());
    let there = events_through(log, stream, kept.head, |recorded| {
        if recorded.version == 1 { Ok(()) } else { fold.apply(recorded).map_err(corrupt) }
    });
    Ok(there.await? && kept.stands_for(fold))
}

fn broken(error: DecodeError) -> LoadError {
    LoadError::Broken(error.to_string())
}

impl Inner {
    /// Keeps a run that begins anew in short. It costs time only if that fails. Answers from
    /// which version on the next try is worth its cost.
    pub(crate) async fn keep_snapshot(&self, stream: &StreamId, head: u64) -> u64 {
        let after = self.config.snapshot_after;
        let Ok(mut history) = fold(&*self.log, stream).await else {
            return head.saturating_add(after);
        };
        history.forget_heard(history.updated_at.before(self.config.idempotency_window.get()));
        let due = history.snapshot_due(after);
        if history.head < due || !history.begins_anew() {
            return due.max(head + 1);
        }
        match self.log.put_snapshot(stream.clone(), history.snapshot()).await {
            Ok(()) => history.head.saturating_add(after.max(history.heard.len() as u64)),
            Err(_) => head.saturating_add(after),
        }
    }
}

async fn resolve_all(log: &dyn Log, history: &mut History) -> Result<(), LoadError> {
    let mut wanted = Vec::new();
    history.visit(&mut |data| {
        if let Data::Stored(id, _) = data.own() {
            wanted.push(*id);
        }
    });
    wanted.sort_unstable();
    wanted.dedup();
    let mut found = std::collections::HashMap::new();
    for id in wanted {
        found.insert(id, payload(log, id).await?);
    }
    if found.is_empty() {
        return Ok(());
    }
    history.visit(&mut |data| {
        let data = data.own();
        if let Data::Stored(id, _) = data
            && let Some(value) = found.get(id)
        {
            *data = value.clone();
        }
    });
    Ok(())
}

/// Loads the values of one message that are stored beside the log.
pub(crate) async fn load_values(log: &dyn Log, message: &mut Message) -> Result<(), LoadError> {
    // A message carries one value at most.
    let mut carried = None;
    message.visit(&mut |data| carried = Some(data.clone()));
    let Some(mut value) = carried else { return Ok(()) };
    load_data(log, &mut value).await?;
    message.visit(&mut |data| *data = value.clone());
    Ok(())
}

/// Loads one value, if it is stored beside the log.
pub(crate) async fn load_data(log: &dyn Log, data: &mut Data) -> Result<(), LoadError> {
    if let Data::Stored(id, _) = data {
        *data = payload(log, *id).await?;
    }
    Ok(())
}

/// One message, with its value.
pub(crate) async fn load_message(
    log: &dyn Log,
    stream: &StreamId,
    version: u64,
) -> Result<Message, LoadError> {
    let page = log.read_stream(stream, version, 1).await?;
    let recorded = page.first().filter(|recorded| recorded.version == version).ok_or(LoadError::Missing)?;
    let mut message: Message = decode(recorded).map_err(broken)?;
    load_values(log, &mut message).await?;
    Ok(message)
}

async fn payload(log: &dyn Log, id: PayloadId) -> Result<Data, LoadError> {
    let bytes = log.payload(id).await?.ok_or_else(|| LoadError::Broken(format!("payload {id} is gone")))?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| LoadError::Broken(format!("payload {id} is not text")))?;
    Data::parse(text).map_err(|failure| LoadError::Broken(failure.message))
}

/// Every value inside a record, so that large ones can be stored apart and loaded again.
pub(crate) trait Visit {
    fn visit(&mut self, each: &mut dyn FnMut(&mut Data));
}

impl Visit for Started {
    fn visit(&mut self, each: &mut dyn FnMut(&mut Data)) {
        each(&mut self.input);
    }
}

impl Visit for Message {
    fn visit(&mut self, each: &mut dyn FnMut(&mut Data)) {
        match &mut self.what {
            Sent::Signal { value, .. } | Sent::Result { outcome: Ok(value), .. } => each(value),
            Sent::Result { outcome: Err(_), .. } | Sent::Cancel { .. } => {}
        }
    }
}

impl Visit for Turn {
    fn visit(&mut self, each: &mut dyn FnMut(&mut Data)) {
        for delivery in &mut self.delivered {
            if let Delivery::Result { outcome: Ok(value), .. } = delivery {
                each(value);
            }
        }
        for ask in &mut self.asked {
            match &mut ask.what {
                What::Action { input, .. } | What::Child { input, .. } => each(input),
                What::Timer(_) | What::Signal(_) => {}
            }
            if let Some(undo) = &mut ask.undo {
                each(&mut undo.input);
            }
        }
        match &mut self.outcome {
            Some(Outcome::Completed(value) | Outcome::Continued(value)) => each(value),
            Some(Outcome::Failed(_) | Outcome::Cancelled(_)) | None => {}
        }
    }
}

impl Visit for History {
    fn visit(&mut self, each: &mut dyn FnMut(&mut Data)) {
        each(&mut Arc::make_mut(&mut self.facts).started.input);
        each(&mut self.input);
        for (_, turn) in &mut self.turns {
            turn.visit(each);
        }
        for message in self.messages.values_mut() {
            message.visit(each);
        }
        for intent in &mut self.intents {
            let mut turn = Turn { asked: vec![intent.ask.clone()], ..Turn::default() };
            turn.visit(each);
            if let Some(ask) = turn.asked.pop() {
                intent.ask = ask;
            }
        }
        for value in self.known.values_mut().flatten() {
            each(value);
        }
        if let Some(Outcome::Completed(value) | Outcome::Continued(value)) = &mut self.outcome {
            each(value);
        }
    }
}

/// Builds the commits of one run.
pub(crate) struct Writer<'a> {
    pub(crate) world: &'a World,
    /// The time of its events.
    pub(crate) now: Time,
    pub(crate) stream: &'a StreamId,
    pub(crate) correlation: Option<CorrelationId>,
    pub(crate) spill: &'a Spill,
    pub(crate) commit: Commit,
}

impl Writer<'_> {
    /// Adds an event to the run's own append, whose condition the caller sets with
    /// [`Writer::expect`].
    pub(crate) fn event<T: Serialize>(&mut self, kind: &'static str, record: &T) -> steadfast_core::EventId {
        let mut event = NewEvent::new(self.world, kind, SCHEMA, body(record)).correlated(self.correlation);
        event.time = self.now;
        let id = event.id;
        let own = self.commit.appends.iter_mut().find(|append| append.stream == *self.stream);
        match own {
            Some(append) => append.events.push(event),
            None => self
                .commit
                .appends
                .insert(0, Append { stream: self.stream.clone(), expect: Expect::Any, events: vec![event] }),
        }
        id
    }

    /// The same, with large values stored apart.
    pub(crate) fn record<T: Serialize + Visit + Clone>(
        &mut self,
        kind: &'static str,
        record: &T,
    ) -> steadfast_core::EventId {
        let mut record = record.clone();
        self.spill.take_out(&mut record, self.stream, &mut self.commit.payloads);
        self.event(kind, &record)
    }

    pub(crate) fn expect(&mut self, expect: Expect) {
        if let Some(own) = self.commit.appends.first_mut() {
            own.expect = expect;
        }
    }

    pub(crate) fn wake(&mut self, due: Time, owner: steadfast_core::NodeId) {
        let wake_up = WakeUp { stream: self.stream.clone(), name: WAKE.into(), due, owner: Some(owner) };
        self.commit.wake_ups.push(WakeUpChange::Set(wake_up));
    }

    /// Nothing wakes the run any more.
    pub(crate) fn sleep(&mut self) {
        self.commit.wake_ups.push(WakeUpChange::Clear(self.stream.clone(), WAKE.into()));
    }

    pub(crate) fn park(&mut self, owner: steadfast_core::NodeId) {
        let wake_up =
            WakeUp { stream: self.stream.clone(), name: PARKED.into(), due: PARKED_DUE, owner: Some(owner) };
        self.sleep();
        self.commit.wake_ups.push(WakeUpChange::Set(wake_up));
    }

    pub(crate) fn unpark(&mut self) {
        self.commit.wake_ups.push(WakeUpChange::Clear(self.stream.clone(), PARKED.into()));
    }

    pub(crate) fn status(&mut self, status: crate::Status) {
        let change = ListingChange::Status(self.stream.clone(), status.as_str().into(), self.now);
        self.commit.listings.push(change);
    }
}

/// Adds a message to a run to a commit that anyone may make. Answers which append it is.
pub(crate) fn add_message(
    commit: &mut Commit,
    (world, spill): (&World, &Spill),
    stream: &StreamId,
    mut message: Message,
) -> usize {
    spill.take_out(&mut message, stream, &mut commit.payloads);
    let event = NewEvent::new(world, kind::MESSAGE, SCHEMA, body(&message));
    commit.appends.push(Append { stream: stream.clone(), expect: Expect::Any, events: vec![event] });
    commit.appends.len() - 1
}

/// Commits, trying again while the store is away. Conflicts and claims come back at once.
/// A commit that carries neither claim nor exact version must not come here: it could
/// happen twice.
pub(crate) fn commit_patiently<'a>(
    log: &'a Arc<dyn Log>,
    world: &'a World,
    commit: Commit,
) -> BoxFuture<'a, Result<Committed, CommitError>> {
    Box::pin(async move {
        let mut waits = defaults::STORE_RETRY_WAITS.iter();
        loop {
            match log.commit(commit.clone()).await {
                Err(error @ (CommitError::Unavailable(_) | CommitError::Unknown(_))) => {
                    let Some(wait) = waits.next() else {
                        return Err(error);
                    };
                    let wait: Duration = wait.mul_f64(world.chance().fraction());
                    world.clock().sleep(wait).await;
                }
                other => return other,
            }
        }
    })
}
