//! The gateway as its owner sees it: set up, configured anew, asked how it does.

mod pipeline;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde::Serialize;
use steadfast_core::{
    Coded, Failure, Fault, TenantId, World,
    config::{Environment, Problem},
    observe::Observer,
};
use steadfast_guard::pii::PatternError;
use steadfast_log::Log;
use steadfast_resilience::BreakerState;

use crate::{
    admission::{Admission, QueueState},
    books::{Books, Spending},
    cache::{Asking, Cache, CacheError, CacheStats, Counting, Embedder, Home, Unfit, WarmLine, Which},
    call::Caller,
    config::ModelsConfig,
    degrade::{Degradation, Degrade},
    keys::{KeyError, Keys},
    providers::ProviderError,
    record::{self, By, CallRecord, Cost, RecordError, Wanted},
    rejected::Rejected,
    route::{self, Found, Probe, Routes},
    screen::Screen,
    stop::Stop,
    vitals::{Alarm, Reason},
};

pub(crate) use pipeline::in_time;

/// The gateway.
pub struct Models {
    screen: Screen,
    routes: Arc<Routes>,
    cache: Cache,
    degrade: Degrade,
    books: Arc<Books>,
    keys: Arc<Keys>,
    admission: Admission,
    stop: Stop,
    /// Where records are kept.
    file: Option<PathBuf>,
    observer: Arc<dyn Observer>,
    config: ModelsConfig,
    world: World,
}

impl std::fmt::Debug for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Models").field("models", &self.routes.models(|_| true)).finish_non_exhaustive()
    }
}

/// A gateway that cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// Somebody who should be asked.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// Personal data that cannot be looked for.
    #[error(transparent)]
    Screen(#[from] PatternError),
    /// Kept answers cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Records cannot be kept.
    #[error(transparent)]
    Records(#[from] RecordError),
}

impl SetupError {
    /// Where in `[models]` it is.
    pub fn field(&self) -> String {
        match self {
            Self::Provider(error) => error.field(),
            Self::Screen(_) => "screen".into(),
            Self::Cache(_) => "cache".into(),
            Self::Records(_) => "records".into(),
        }
    }
}

impl Coded for SetupError {
    fn code(&self) -> &'static str {
        match self {
            Self::Provider(error) => error.code(),
            Self::Screen(_) => "screen.invalid_pattern",
            Self::Cache(_) => "cache.unusable",
            Self::Records(_) => "records.unusable",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// How well models can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// All providers are called, calls are answered, and nothing rings but for a cold cache.
    Healthy,
    /// Some are left alone, some calls found nobody, or [`Models::reasons`] says what is wrong.
    Degraded,
    /// All are left alone, or all calls found nobody.
    Unhealthy,
}

impl Health {
    /// As a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// Who turns questions into points.
fn embedder(
    config: &ModelsConfig,
    routes: &Arc<Routes>,
    books: &Arc<Books>,
    admission: &Admission,
) -> Arc<dyn Embedder> {
    let model = config.cache.similar.model.clone();
    if model.is_empty() {
        return Arc::new(Counting);
    }
    let (routes, books, admission) = (routes.clone(), books.clone(), admission.clone());
    Arc::new(Asking { model, routes, books, admission })
}

impl Models {
    /// Sets up all providers; none is called yet. Keys are found in `env` or in files.
    /// Nothing survives: see [`Models::at`].
    pub fn new(
        config: ModelsConfig,
        env: &Environment,
        world: &World,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, SetupError> {
        Self::at(&Home::default(), config, env, world, observer)
    }
    /// All for which a gateway of this configuration would be refused, but what its files say:
    /// names that lead nowhere, and providers that cannot be set up with what is in `env` and
    /// in the files of secrets. `section` is where it stands.
    pub fn check(config: &ModelsConfig, section: &str, env: &Environment, world: &World) -> Vec<Problem> {
        let mut problems = config.check(section);
        let told: Vec<_> = problems.iter().map(|problem| problem.key.clone()).collect();
        let unfit = route::unfit(config, env, world).into_iter().map(|error| {
            let key = format!("{section}.{}", error.field());
            Problem { code: error.code(), ..Problem::about(key, error.to_string()) }
        });
        problems.extend(unfit.filter(|problem| !told.contains(&problem.key)));
        problems
    }
    /// The same, at a place where what must survive is kept.
    pub fn at(
        home: &Home,
        config: ModelsConfig,
        env: &Environment,
        world: &World,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, SetupError> {
        let screen = Screen::new(&config.screen)?;
        let routes = Arc::new(Routes::new(&config, None, env, world, observer)?);
        let degrade = Degrade::new(&config.degrade, world);
        let file = home.folder.as_ref().map(|folder| folder.join(record::FILE));
        let books = Books::new(&config, world, observer);
        let books = Arc::new(match &file {
            Some(file) => books.kept(file)?,
            None => books,
        });
        let admission = Admission::new(&config.admission, world);
        let embedder = embedder(&config, &routes, &books, &admission);
        let cache = Cache::new(&config.cache, home, embedder, world)?;
        Ok(Self {
            screen,
            routes,
            cache,
            degrade,
            books,
            keys: Arc::new(Keys::none(world, observer)),
            admission,
            stop: Stop::new(),
            file,
            observer: observer.clone(),
            config,
            world: world.clone(),
        })
    }
    /// The same, with virtual keys that are kept on `log`.
    pub async fn with_keys_on(mut self, log: Arc<dyn Log>) -> Result<Self, KeyError> {
        self.keys = Arc::new(Keys::on(log, &self.world, &self.observer).await?);
        Ok(self)
    }
    /// Another one for another configuration. Providers that did not change go on as they are:
    /// their connections, breakers and limits. Keys are read again. Kept answers stay as far as
    /// there is room for them; so do who is under way and who waits, what was spent, and how many
    /// calls found nobody of late.
    pub fn reloaded(&self, config: ModelsConfig, env: &Environment) -> Result<Self, SetupError> {
        let screen = Screen::new(&config.screen)?;
        let routes = Routes::new(&config, Some(&self.routes), env, &self.world, &self.observer)?;
        let routes = Arc::new(routes);
        let books = Arc::new(self.books.reloaded(&config));
        let embedder = embedder(&config, &routes, &books, &self.admission);
        let cache = self.cache.reloaded(&config.cache, embedder);
        self.admission.configure(&config.admission);
        Ok(Self {
            screen,
            routes,
            cache,
            degrade: self.degrade.reloaded(&config.degrade),
            books,
            keys: self.keys.clone(),
            admission: self.admission.clone(),
            stop: self.stop.clone(),
            file: self.file.clone(),
            observer: self.observer.clone(),
            config,
            world: self.world.clone(),
        })
    }
    /// Who is under way and who waits, if there is a bound.
    pub fn queue(&self) -> Option<QueueState> {
        self.admission.state()
    }
    /// All that is not as it should be.
    pub fn reasons(&self) -> Vec<Reason> {
        let (waiting, waiting_max) = (self.admission.waiting(), self.admission.waiting_max());
        let mut reasons = self.books.vitals.reasons(waiting, waiting_max, self.books.lost());
        let mut say = |what, alarm, message| reasons.push(Reason { what, alarm, message });
        let breakers = self.routes.breakers();
        let open: Vec<_> =
            breakers.iter().filter(|it| it.state != "closed").map(|it| it.name.as_str()).collect();
        if !open.is_empty() {
            let alarm = if open.len() == breakers.len() { Alarm::Critical } else { Alarm::Warning };
            let (few, all) = (open.len(), breakers.len());
            say("providers", alarm, format!("{few} of {all} are left alone: {}", open.join(", ")));
        }
        let paused = self.routes.paused();
        if !paused.is_empty() {
            let each = paused.iter().map(|(name, seconds)| format!("{name} is paused for {seconds} s"));
            let each: Vec<_> = each.collect();
            say("providers", Alarm::Warning, format!("{}, as it asked for", each.join(", ")));
        }
        match self.degrade.level() {
            Degradation::None => {}
            Degradation::Partial => say("answers", Alarm::Warning, "some calls found nobody".into()),
            Degradation::Full => say("answers", Alarm::Critical, "the last calls found nobody".into()),
        }
        reasons
    }
    /// Virtual keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }
    /// What was spent in a month such as `2026-11`, by one tenant or all. `None` if it is no month.
    pub async fn costs(
        &self,
        month: &str,
        by: By,
        tenant: Option<TenantId>,
    ) -> Result<Option<Vec<Cost>>, RecordError> {
        let month = month.to_owned();
        self.read(move |file| record::costs(file, &month, &by, tenant.as_ref())).await
    }
    /// Single calls, the newest first.
    pub async fn calls(&self, wanted: Wanted) -> Result<Vec<CallRecord>, RecordError> {
        self.read(move |file| record::calls(file, &wanted)).await
    }
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, RecordError> + Send + 'static,
    ) -> Result<T, RecordError> {
        let Some(file) = self.file.clone() else { return Err(RecordError::Missing(record::FILE.into())) };
        self.flush().await;
        let read = tokio::task::spawn_blocking(move || read(&file));
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
    /// Ends all calls that are under way: whoever waits is told that the node stops.
    pub fn stop(&self) {
        self.stop.now();
    }
    /// How the cache does.
    pub fn cache_stats(&self) -> CacheStats {
        self.cache.stats()
    }
    /// Forgets kept answers, in memory and on disk, and says how many.
    pub async fn invalidate(&self, which: &Which) -> Result<usize, Failure> {
        self.cache.invalidate(which).await.ok_or_else(|| {
            let message = "they are forgotten, but the file of kept answers cannot be written: after a \
                restart they would be back; free its disk and repeat this";
            Failure::internal("cache.not_written", message).retryable()
        })
    }
    /// Keeps an answer that nobody has asked for yet. `caller` says for which tenant.
    pub async fn warm(&self, line: &WarmLine, caller: &Caller) -> Result<(), Unfit> {
        let mut call = line.call(self.world.uuid().to_string().into(), caller)?;
        let not_found = || Unfit::Request(self.routes.not_found(&call).failure.message);
        let route = self.routes.find(&call).ok_or_else(not_found)?;
        // Its answer would have somebody's values, and be given to others who ask with theirs.
        match self.screen.redact(&mut call, route.screened()) {
            Ok(None) => {}
            Ok(Some(_)) => return Err(Unfit::Request("it has personal data".into())),
            Err(refused) => return Err(Unfit::Request(refused.to_string())),
        }
        let call = Arc::new(call);
        self.cache.warm(line, &call, route).await
    }
    /// How many calls find nobody.
    pub fn degradation(&self) -> Degradation {
        self.degrade.level()
    }
    /// Models that this caller can ask for by name.
    pub fn models(&self, caller: &Caller) -> Vec<&str> {
        self.routes.models(self.may_use(caller))
    }
    /// Whether this caller can ask for a model of that name.
    pub fn has_model(&self, caller: &Caller, model: &str) -> bool {
        self.routes.by_model(model).is_some_and(|route| self.may_use(caller)(route.name()))
    }
    fn may_use(&self, caller: &Caller) -> impl Fn(&str) -> bool + use<> {
        let key = caller.key.as_ref().and_then(|id| self.keys.find(id));
        move |route| key.as_ref().is_none_or(|key| key.may_use(route))
    }
    /// How the providers' breakers stand.
    pub fn breakers(&self) -> Vec<BreakerState> {
        self.routes.breakers()
    }
    /// Closes the breaker of that name. False if there is none.
    pub fn reset(&self, breaker: &str) -> bool {
        self.routes.reset(breaker)
    }
    /// All routes and providers.
    pub fn found(&self) -> Found {
        self.routes.found()
    }
    /// Asks everybody on the route of `model`, or on all routes, for something small, past
    /// breakers and limits.
    pub async fn probe(&self, model: Option<&str>, limit: Duration) -> Result<Vec<Probe>, Rejected> {
        self.routes.probe(model, limit).await
    }
    /// How well models can be reached.
    pub fn health(&self) -> Health {
        // Where no two questions are alike a cold cache is as it should be.
        let reasons = self.reasons();
        let fine = reasons.iter().all(|reason| reason.what == "cache");
        let lost = |it: &Reason| matches!(it.what, "providers" | "answers") && it.alarm == Alarm::Critical;
        if reasons.iter().any(lost) {
            Health::Unhealthy
        } else if fine {
            Health::Healthy
        } else {
            Health::Degraded
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
