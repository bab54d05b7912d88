//! What there is, for whoever operates it: routes, providers, and whether they answer.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::future::join_all;
use serde::Serialize;
use steadfast_resilience::{BreakerState, Deadline};

use super::{Route, Routes, choice::Target, upstream::SITE};
use crate::{
    config::{Kind, OrderBy},
    rejected::Rejected,
};

/// A provider.
#[derive(Debug, Clone, Serialize)]
pub struct ProviderView {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub kind: Kind,
    /// Where it is, as configured; empty for that of its kind.
    pub url: String,
    /// `closed`, `open`, `probing`, or `disabled`.
    pub breaker: String,
    /// For how many seconds it, or a model of it, is left alone because it said when to come back.
    pub paused_seconds: Option<u64>,
}

/// Who is asked for what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TargetView {
    /// The provider.
    pub provider: String,
    /// What it calls the model; nothing if that is what the client says.
    pub model: Option<String>,
    /// The part of calls for which it is asked first, where they are shared out: by weight, or
    /// with a canary.
    pub share: Option<f64>,
    /// Simple calls go to it.
    pub simple: bool,
}

/// A route.
#[derive(Debug, Clone, Serialize)]
pub struct RouteView {
    /// Its name, which is a model that can be asked for.
    pub name: String,
    /// Further models that take it.
    pub models: Vec<String>,
    /// Who is asked.
    pub targets: Vec<TargetView>,
}

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct Found {
    /// Those that are called.
    pub providers: Vec<ProviderView>,
    /// By which ways.
    pub routes: Vec<RouteView>,
}

/// How one target answered a small call.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Probe {
    /// The route it is on.
    pub route: String,
    /// The provider.
    pub provider: String,
    /// What it was asked for.
    pub model: Option<String>,
    /// It answered as it should.
    pub ok: bool,
    /// `ok`, or how it failed.
    pub code: String,
    /// Why, in words.
    pub message: Option<String>,
    /// How long it took, in milliseconds.
    pub took_ms: u64,
}

impl Route {
    /// Everybody who may ever be asked, each once.
    fn everybody(&self) -> Vec<&Target> {
        let mut all: Vec<&Target> = Vec::new();
        for target in self.targets.iter().chain(&self.canary).chain(&self.simple) {
            if !all.iter().any(|known| known.is(target)) {
                all.push(target);
            }
        }
        all
    }
    fn view(&self, target: &Target) -> TargetView {
        let is = |other: &Option<Target>| other.as_ref().is_some_and(|other| other.is(target));
        TargetView {
            provider: target.upstream.name().to_string(),
            model: target.fixed_model().map(|model| model.to_string()),
            share: self.share(target),
            simple: is(&self.simple),
        }
    }
    /// How often a target comes first, of calls that are not simple.
    fn share(&self, target: &Target) -> Option<f64> {
        let same = |other: &&Target| other.is(target);
        let listed = match self.config.order {
            OrderBy::Listed if self.canary.is_none() => return None,
            OrderBy::Listed => f64::from(u8::from(self.targets.iter().take(1).any(|it| same(&it)))),
            OrderBy::Weight => {
                let weight =
                    |targets: &mut dyn Iterator<Item = &Target>| targets.map(Target::weight).sum::<f64>();
                let all = weight(&mut self.targets.iter());
                weight(&mut self.targets.iter().filter(same)) / all.max(1.0)
            }
        };
        let canary = if self.canary.is_some() { self.config.canary.share.get() } else { 0.0 };
        let tried_out = f64::from(u8::from(self.canary.iter().any(|it| same(&it))));
        Some(listed * (1.0 - canary) + tried_out * canary)
    }
    /// A name that clients can ask this route's targets for.
    fn a_model(&self, target: &Target) -> Option<Arc<str>> {
        let named = || self.config.models.iter().find(|model| !model.ends_with('*'));
        let plain = || self.config.models.is_empty().then(|| self.name.clone());
        // Who answers here takes any name.
        let local = || (target.upstream.config().kind == Kind::Local).then(|| "local".into());
        let named = || named().map(|model| model.as_str().into());
        target.fixed_model().or_else(named).or_else(plain).or_else(local)
    }
}

/// Begun ones count.
fn in_seconds(left: Duration) -> u64 {
    u64::try_from(left.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX)
}

impl Routes {
    /// Providers that said when to come back, and in how many seconds.
    pub(crate) fn paused(&self) -> Vec<(&str, u64)> {
        let paused = |it: &'_ Arc<super::Upstream>| it.paused().map(in_seconds);
        self.upstreams.iter().filter_map(|it| Some((&**it.name(), paused(it)?))).collect()
    }
    /// Closes the breaker that is listed under that name.
    pub(crate) fn reset(&self, name: &str) -> bool {
        let named =
            name.strip_prefix(SITE).and_then(|name| self.upstreams.iter().find(|it| **it.name() == *name));
        if let Some(upstream) = named {
            upstream.reset();
        }
        named.is_some()
    }
    /// What there is.
    pub(crate) fn found(&self) -> Found {
        let provider = |upstream: &Arc<super::Upstream>| ProviderView {
            name: upstream.name().to_string(),
            kind: upstream.config().kind,
            url: upstream.config().url.clone(),
            breaker: upstream.breaker().map_or("disabled".into(), |BreakerState { state, .. }| state),
            paused_seconds: upstream.paused().map(in_seconds),
        };
        let route = |route: &Arc<Route>| RouteView {
            name: route.name.to_string(),
            models: route.config.models.clone(),
            targets: route.everybody().into_iter().map(|target| route.view(target)).collect(),
        };
        Found {
            providers: self.upstreams.iter().map(provider).collect(),
            routes: self.all().into_iter().map(route).collect(),
        }
    }
    /// Each route once, by name.
    fn all(&self) -> Vec<&Arc<Route>> {
        let mut names = BTreeSet::new();
        let mut all: Vec<_> = self.by_name.values().filter(|it| names.insert(it.name.clone())).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
    /// Asks every target once, of the route that `model` takes or else of all, past breakers
    /// and limits.
    pub(crate) async fn probe(&self, model: Option<&str>, limit: Duration) -> Result<Vec<Probe>, Rejected> {
        let routes = match model {
            Some(name) => vec![self.by_model(name).ok_or_else(|| self.no_such(name))?],
            None => self.all(),
        };
        let mut asked = BTreeSet::new();
        let mut probes = Vec::new();
        for route in routes {
            for target in route.everybody() {
                let own = target.fixed_model();
                let model = own.or(model.map(Into::into)).or_else(|| route.a_model(target));
                if asked.insert((target.upstream.name().clone(), model.clone())) {
                    probes.push(self.probe_one(route, target, model, limit));
                }
            }
        }
        Ok(join_all(probes).await)
    }
    async fn probe_one(
        &self,
        route: &Route,
        target: &Target,
        model: Option<Arc<str>>,
        limit: Duration,
    ) -> Probe {
        let began = self.world.clock().elapsed();
        let result = match &model {
            Some(model) => self.try_out(target, model, &Deadline::after(&self.world, limit)).await,
            None => Err((
                "model.unknown".into(),
                "this route takes any model: name one, such as `steadfast models test gpt-4o-mini`".into(),
            )),
        };
        let took = self.world.clock().elapsed().saturating_sub(began);
        let (code, message) = match result {
            Ok(()) => ("ok".into(), None),
            Err((code, message)) => (code, Some(message)),
        };
        Probe {
            route: route.name.to_string(),
            provider: target.upstream.name().to_string(),
            model: model.map(|model| model.to_string()),
            ok: message.is_none(),
            code,
            message,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }
    }
}
