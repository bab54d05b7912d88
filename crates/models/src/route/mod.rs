//! By which way a call gets its answer.
//!
//! A route is a list of targets. They are asked one after another until one answers, each
//! at once after the last failed: nobody waits while somebody who could answer stands by.
//! Who is known to be unwell (breaker), busy (it said when to come back) or full (our own
//! limits for it) is passed over. Only when the list is through is a wait begun, within the
//! retry budget, and the list gone through again.
//!
//! A stream counts as answered with its first content; until then the client has seen
//! nothing, and a failure is as if it had not been. `relay` looks after what comes then.

mod busy;
mod choice;
mod join;
mod names;
mod relay;
mod survey;
mod trial;
mod upstream;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use http::StatusCode;
use steadfast_core::{
    Failure, World,
    canonical::Hash,
    config::Environment,
    observe::{Observer, silent},
};
use steadfast_resilience::{BreakerState, Deadline, Retry, Site};

use crate::{
    answer::{About, Answer, Body},
    books::Prospect,
    call::Call,
    config::{ModelsConfig, RouteConfig},
    failure::{Class, Failed, Tried},
    providers::ProviderError,
    record::Bill,
    rejected::Rejected,
};
use choice::Target;
use relay::Relay;
pub use survey::{Found, Probe, ProviderView, RouteView, TargetView};
use upstream::{Asked, Upstream};

/// One route.
pub(crate) struct Route {
    name: Arc<str>,
    /// Its name, and a hash of whom it asks for what: answers of others are not its own.
    mark: String,
    config: RouteConfig,
    targets: Vec<Target>,
    canary: Option<Target>,
    simple: Option<Target>,
    retry: Retry,
}

/// All routes, and who is on them.
pub(crate) struct Routes {
    by_name: HashMap<Arc<str>, Arc<Route>>,
    /// Beginnings of models' names, the longest first.
    by_prefix: Vec<(String, Arc<Route>)>,
    /// Those that are shown.
    names: BTreeMap<Arc<str>, Arc<Route>>,
    upstreams: Vec<Arc<Upstream>>,
    world: World,
    deadline: Duration,
    stream_deadline: Duration,
}

/// Why providers cannot be set up as they are configured: one reason each.
pub(crate) fn unfit(config: &ModelsConfig, env: &Environment, world: &World) -> Vec<ProviderError> {
    let of = |(name, provider): (&String, &_)| Upstream::new(name, provider, env, world, &silent()).err();
    config.providers.iter().filter_map(of).collect()
}

impl Routes {
    /// Providers that are as they were `before` are kept, with what is known of them.
    pub(crate) fn new(
        config: &ModelsConfig,
        before: Option<&Self>,
        env: &Environment,
        world: &World,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, ProviderError> {
        let mut upstreams = Vec::new();
        for (name, provider) in &config.providers {
            let kept = before.and_then(|it| it.upstreams.iter().find(|it| it.is_of(name, provider, env)));
            upstreams.push(match kept {
                Some(upstream) => upstream.clone(),
                None => Arc::new(Upstream::new(name, provider, env, world, observer)?),
            });
        }
        let mut routes = Self {
            by_name: HashMap::new(),
            by_prefix: Vec::new(),
            names: BTreeMap::new(),
            upstreams,
            world: world.clone(),
            deadline: config.deadline.get(),
            stream_deadline: config.stream_deadline.get(),
        };
        for (name, route) in &config.routes {
            let site = Site::new(name, world, observer);
            let route = Arc::new(Route::new(name, route, &routes.upstreams, site)?);
            for model in &route.config.models {
                match model.strip_suffix('*') {
                    Some(prefix) => routes.by_prefix.push((prefix.into(), route.clone())),
                    None => {
                        routes.by_name.insert(model.as_str().into(), route.clone());
                    }
                }
            }
            routes.by_name.insert(route.name.clone(), route);
        }
        routes.by_prefix.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        routes.names = routes.names();
        Ok(routes)
    }
    /// Models that can be asked for by name, on those routes.
    pub(crate) fn models(&self, on: impl Fn(&str) -> bool) -> Vec<&str> {
        self.names.iter().filter(|(_, route)| on(&route.name)).map(|(name, _)| &**name).collect()
    }
    /// How the providers' breakers stand.
    pub(crate) fn breakers(&self) -> Vec<BreakerState> {
        self.upstreams.iter().filter_map(|upstream| upstream.breaker()).collect()
    }
    fn no_such(&self, model: &str) -> Rejected {
        let model = steadfast_core::shown(model, 80);
        let message = if self.by_name.is_empty() {
            "no models are configured: set OPENAI_API_KEY or ANTHROPIC_API_KEY where the server runs, or \
             add [models.providers.NAME] to its configuration"
                .into()
        } else {
            format!("there is no model {model:?}; see GET /v1/models")
        };
        let rejected = Rejected::new(Failure::refused("model.not_found", message), StatusCode::NOT_FOUND);
        Rejected { param: Some("model".into()), ..rejected }
    }
    /// The route of a call.
    pub(crate) fn find(&self, call: &Call) -> Option<&Arc<Route>> {
        self.by_model(&call.asked.model)
    }
    /// The route that a model takes.
    pub(crate) fn by_model(&self, model: &str) -> Option<&Arc<Route>> {
        self.by_name.get(model).or_else(|| {
            self.by_prefix.iter().find(|(prefix, _)| model.starts_with(prefix.as_str())).map(|it| &it.1)
        })
    }
    /// There is no route for a call.
    pub(crate) fn not_found(&self, call: &Call) -> Rejected {
        self.no_such(&call.asked.model)
    }
    /// When a call must be over.
    pub(crate) fn deadline(&self, call: &Call) -> Deadline {
        let limit = if call.asked.stream { self.stream_deadline } else { self.deadline };
        Deadline::after(&self.world, call.options.deadline.unwrap_or(limit))
    }
    /// Answers a call, or says why not. Dropped, it cancels what is under way; so does
    /// dropping the answer's stream.
    pub(crate) async fn answer(
        &self,
        route: &Arc<Route>,
        call: &Arc<Call>,
        bill: &Arc<Bill>,
        deadline: Deadline,
    ) -> Result<Answer, Rejected> {
        let order = route.order(call, &self.world);
        let about = About { route: route.name.clone(), ..About::default() };
        let (asked, target, mut about) = route.first(call, bill, &order, None, &deadline, about).await?;
        about.provider = target.upstream.name().clone();
        about.model = target.model(call).clone();
        let body = match asked {
            Asked::Whole(bytes, usage) => {
                about.usage = usage;
                Body::Whole(bytes)
            }
            Asked::Stream(begun) => {
                let relay =
                    Relay::new(call.clone(), bill.clone(), route.clone(), order, target, *begun, deadline);
                Body::Stream(relay.frames())
            }
        };
        Ok(Answer { status: StatusCode::OK, body, about })
    }
}

fn note(about: &mut About, target: &Target, failed: &Failed, asked: bool) {
    about.attempts += u32::from(asked);
    let provider = target.upstream.name().clone();
    about.tried.push(Tried { provider, class: failed.class, asked });
}

impl Route {
    /// All who may have to be paid for a call.
    pub(crate) fn prospects<'a>(&'a self, call: &'a Call) -> impl Iterator<Item = Prospect<'a>> {
        let targets = self.targets.iter().chain(&self.canary).chain(&self.simple);
        targets.map(move |target| target.prospect(call))
    }
    fn new(
        name: &str,
        config: &RouteConfig,
        upstreams: &[Arc<Upstream>],
        site: Site,
    ) -> Result<Self, ProviderError> {
        let target = |of| Target::new(name, of, upstreams);
        let targets = config.targets.iter().map(target).collect::<Result<_, _>>()?;
        let canary = (config.canary.share.get() > 0.0).then(|| target(&config.canary.target)).transpose()?;
        let simple = config.simple.enabled.then(|| target(&config.simple.target)).transpose()?;
        let retry = Retry::new(&config.retry, site);
        let asks = format!("{:?} {:?} {:?}", config.targets, config.canary, config.simple);
        let mark = format!("{name} {:?}", Hash::of_bytes(asks.as_bytes()));
        Ok(Self { name: name.into(), mark, config: config.clone(), targets, canary, simple, retry })
    }
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }
    /// What it says about personal data.
    pub(crate) fn screened(&self) -> Option<bool> {
        self.config.screen
    }
    /// What answers of this route depend on.
    pub(crate) fn mark(&self) -> &str {
        &self.mark
    }
    /// The first answer that somebody in `order` gives.
    async fn first(
        &self,
        call: &Call,
        bill: &Arc<Bill>,
        order: &[Target],
        so_far: Option<&str>,
        deadline: &Deadline,
        mut about: About,
    ) -> Result<(Asked, Target, About), Rejected> {
        if deadline.is_over() {
            return Err(Rejected::of(Failed::nobody_asked(), about));
        }
        let mut tries = self.retry.begin();
        // Those who will not answer this call, however often they are asked.
        let mut hopeless = Vec::new();
        loop {
            let mut told: Option<Failed> = None;
            for (i, target) in order.iter().enumerate() {
                if hopeless.contains(&i) {
                    continue;
                }
                let model = target.model(call);
                let failed = match target.upstream.admit(call, &model) {
                    Err(refused) => {
                        note(&mut about, target, &refused, false);
                        refused
                    }
                    Ok(admitted) => match admitted.ask(call, bill, &model, so_far, deadline).await {
                        Ok(asked) => {
                            about.attempts += 1;
                            return Ok((asked, target.clone(), about));
                        }
                        Err(failed) => {
                            note(&mut about, target, &failed, failed.class != Class::Unsupported);
                            failed
                        }
                    },
                };
                if !failed.class.fallback() || deadline.is_over() {
                    return Err(Rejected::of(failed, about));
                }
                if !failed.class.retryable() {
                    hopeless.push(i);
                }
                told = Some(more_telling(told, failed));
            }
            let Some(told) = told else {
                let failure = Failure::internal("route.empty", "nobody is left on this route");
                return Err(Rejected::new(failure, StatusCode::SERVICE_UNAVAILABLE));
            };
            // Who waits needs no place.
            let seat = bill.seat();
            if let Some(seat) = &seat {
                seat.leave();
            }
            if tries.again(told.to_failure(), deadline).await.is_err() {
                // Where the gateway never asks again, that is left to the client.
                let retries = self.config.retry.enabled && !self.config.retry.waits.is_empty();
                let tried_enough = retries && about.attempts > 0;
                return Err(Rejected { tried_enough, ..Rejected::of(told, about) });
            }
            if let Some(seat) = &seat
                && let Err(refused) = seat.come_back(deadline).await
            {
                return Err(Rejected { about: Box::new(about), ..Rejected::from(refused) });
            }
        }
    }
}

/// Of two failures the one that says more to who waits: one that passes by itself rather
/// than one that does not, what a provider said rather than that nobody asked it, and the
/// one that passes sooner.
fn more_telling(earlier: Option<Failed>, later: Failed) -> Failed {
    let Some(earlier) = earlier else { return later };
    let rank = |failed: &Failed| {
        (!failed.class.retryable(), failed.class == Class::Open, failed.retry_after.unwrap_or_default())
    };
    if rank(&later) < rank(&earlier) { later } else { earlier }
}
