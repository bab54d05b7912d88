//! Reads and writes of runs: loading a history, and the commits that change it.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde::Serialize;
use steadfast_core::{Coded, CorrelationId, Failure, Time, World, defaults};
use steadfast_log::{
    Append, Commit, CommitError, Committed, Expect, ListingChange, Log, NewEvent, PayloadId, ReadError,
    StreamId, WakeUp, WakeUpChange,
};

use crate::{
    Data,
    action::body,
    grown::make_whole,
    history::History,
    record::{Delivery, Message, Outcome, SCHEMA, Sent, Started, Turn, What, kind},
    spill::Spill,
};

/// The name of a run's wake-up: there is one while it is open, and one of another name
/// while it is parked.
pub(crate) const WAKE: &str = "run";
const PARKED: &str = "parked";
/// Behind everything that waits, so that parked runs are found without reading the rest.
pub(crate) const PARKED_DUE: Time = Time::from_micros(Time::NEVER.micros() + 1);
const PAGE: usize = 500;

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

/// Reads a whole run. `resolve` also loads the values that are stored beside the log.
pub(crate) async fn load(log: &dyn Log, stream: &StreamId, resolve: bool) -> Result<History, LoadError> {
    let broken = |error: steadfast_log::DecodeError| LoadError::Broken(error.to_string());
    let mut history: Option<History> = None;
    let mut from = 1;
    loop {
        let page = log.read_stream(stream, from, PAGE).await?;
        for recorded in &page {
            match &mut history {
                None => history = Some(History::begin(recorded).map_err(broken)?),
                Some(history) => history.apply(recorded).map_err(broken)?,
            }
        }
        if page.len() < PAGE {
            break;
        }
        from += page.len() as u64;
    }
    let mut history = history.ok_or(LoadError::Missing)?;
    if resolve {
        resolve_all(log, &mut history).await?;
        make_whole(&mut history).map_err(LoadError::Broken)?;
    }
    Ok(history)
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
