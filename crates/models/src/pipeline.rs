//! The order of stages that every call passes, each a file of its own.
//!
//! ```text
//! redact, screen → estimate, reserve budget → cache → admission → route → degrade
//! ```
//!
//! A stage that is not listed in [`Models::process`] is not there. Whatever a stage takes
//! (a reservation, a place, a permit) is given back when what it returned is dropped.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use http::HeaderMap;
use steadfast_core::{World, config::Environment, observe::Observer};
use steadfast_log::Log;
use steadfast_resilience::{BreakerState, Deadline};

use bytes::Bytes;

use crate::{
    admission::{Admission, QueueState, Seat, Visitor},
    answer::Answer,
    books::{Books, Entry, Spending},
    budget::{prices::Prices, rules::About},
    call::{Call, Caller, Operation},
    config::ModelsConfig,
    failure::Rejected,
    keys::{Key, KeyError, Keys},
    providers::SetupError,
    record::{self, By, Cost, RecordError},
    route::{Route, Routes},
    vitals::Reason,
};

/// The gateway.
pub struct Models {
    routes: Routes,
    books: Arc<Books>,
    keys: Keys,
    admission: Option<Admission>,
    file: Option<PathBuf>,
    config: ModelsConfig,
    world: World,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models").field("models", &self.routes.models()).finish_non_exhaustive()
    }
}

/// How well models can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Health {
    /// All providers are called, and nothing rings.
    Healthy,
    /// Some are left alone, or [`Models::reasons`] says what is wrong.
    Degraded,
    /// All are left alone.
    Unhealthy,
}

impl Health {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

impl Models {
    /// Sets up all providers; none is called yet. Keys are found in `env` or in files.
    pub fn new(
        config: ModelsConfig,
        env: &Environment,
        world: &World,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, SetupError> {
        let prices = Arc::new(Prices::new(&config));
        let routes = Routes::new(&config, &prices, env, world, observer)?;
        let books = Arc::new(Books::new(&config, prices, world, observer));
        let admission = config.admission.enabled.then(|| Admission::new(&config.admission, world));
        let keys = Keys::none(world, observer);
        Ok(Self { routes, books, keys, admission, file: None, config, world: world.clone() })
    }
    /// The same, with virtual keys that are kept on `log`.
    pub async fn with_keys_on(mut self, log: Arc<dyn Log>) -> Result<Self, KeyError> {
        self.keys = self.keys.on(log).await?;
        Ok(self)
    }
    /// The same, with what calls cost kept in a file of its own in `folder`. Without it nothing
    /// is recorded, and limits begin anew with every start.
    pub fn recorded_in(mut self, folder: &Path, observer: &Arc<dyn Observer>) -> Result<Self, RecordError> {
        let prices = Arc::new(Prices::new(&self.config));
        let books = Books::new(&self.config, prices, &self.world, observer);
        let file = folder.join(record::FILE);
        self.books = Arc::new(books.kept(&file)?);
        self.file = Some(file);
        Ok(self)
    }
    /// Reads a call and answers it: all there is, in one.
    pub async fn process(
        &self,
        id: Arc<str>,
        operation: Operation,
        payload: Bytes,
        caller: Caller,
        options: &HeaderMap,
    ) -> Result<Answer, Rejected> {
        let call = Call::read(id, operation, options, payload, caller)?;
        self.answer(call).await
    }
    /// Answers a call. Dropped half-way, or its stream dropped, the call upstream is cancelled.
    pub async fn answer(&self, mut call: Call) -> Result<Answer, Rejected> {
        let deadline = self.routes.deadline(&call);
        let route = self.routes.way(&call);
        let key = call.caller.key.as_ref().and_then(|id| self.keys.find(id));
        if let Some(key) = &key {
            call.options.labels = Some(key.labels(call.options.labels.as_ref()));
        }
        let mut entry = self.books.open(&mut call, route.as_ref().ok().map(|route| route.name()));
        let result = match route {
            Ok(route) => self.stages(call, &route, key, deadline, &mut entry).await,
            Err(rejected) => Err(rejected),
        };
        entry.finish(result)
    }
    /// One after another.
    async fn stages(
        &self,
        mut call: Call,
        route: &Arc<Route>,
        key: Option<Arc<Key>>,
        deadline: Deadline,
        entry: &mut Entry,
    ) -> Result<Answer, Rejected> {
        let mut more = Vec::new();
        if let Some(key) = key {
            entry.took(key.admit(&call, route.name())?);
            let about = About { call: &call, route: route.name(), now: self.world.now() };
            more.extend(key.claim(&about));
        }
        let forced = self.books.reserve(&call, route.name(), route.prospects(&call), more).await?;
        call.output_forced = forced;
        if let Some(admission) = &self.admission {
            let visitor = Visitor::of(&call, route.name());
            let seated = Seat::take(admission, visitor, &deadline).await;
            let (seat, queued) = seated.map_err(|refused| Rejected::queued_out(&refused))?;
            entry.seated(seat.clone(), queued);
            call.seat = Some(seat);
        }
        self.books.intend(&call).await?;
        self.routes.answer(&Arc::new(call), route, deadline).await
    }
    /// Who is under way and who waits.
    pub fn queue(&self) -> Option<QueueState> {
        self.admission.as_ref().map(Admission::state)
    }
    /// All that is not as it should be.
    pub fn reasons(&self) -> Vec<Reason> {
        let waiting = self.admission.as_ref().map_or(0, Admission::waiting);
        self.books.vitals.reasons(waiting, self.books.lost())
    }
    /// Virtual keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
    /// What was spent in a month such as `2026-11`, as far as it is written down. `None` if it
    /// is no month.
    pub async fn costs(&self, month: &str, by: By) -> Result<Option<Vec<Cost>>, RecordError> {
        let Some(file) = self.file.clone() else { return Err(RecordError::Missing(record::FILE.into())) };
        self.flush().await;
        let month = month.to_owned();
        let read = tokio::task::spawn_blocking(move || record::costs(&file, &month, &by));
        read.await.unwrap_or_else(|_| Err(RecordError::Missing(record::FILE.into())))
    }
    /// What has been spent of late, and what calls under way may cost.
    pub fn spending(&self) -> Vec<Spending> {
        self.books.spending()
    }
    /// Writes down all calls that have ended. False if that cannot be.
    pub async fn flush(&self) -> bool {
        self.books.flush().await
    }
    /// Models that can be asked for by name.
    pub fn models(&self) -> Vec<&str> {
        self.routes.models()
    }
    /// How the providers' breakers stand.
    pub fn breakers(&self) -> Vec<BreakerState> {
        self.routes.breakers()
    }
    /// How well models can be reached.
    pub fn health(&self) -> Health {
        let breakers = self.routes.breakers();
        match breakers.iter().filter(|breaker| breaker.state != "closed").count() {
            0 if self.reasons().is_empty() => Health::Healthy,
            0 => Health::Degraded,
            bad if bad == breakers.len() => Health::Unhealthy,
            _ => Health::Degraded,
        }
    }
    /// How it was configured.
    pub fn config(&self) -> &ModelsConfig {
        &self.config
    }
    /// Where its time and chance come from.
    pub fn world(&self) -> &World {
        &self.world
    }
}
