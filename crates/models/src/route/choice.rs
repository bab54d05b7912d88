//! Who is asked first, and who after that.

use std::sync::Arc;

use steadfast_core::World;

use super::{Route, Upstream};
use crate::{
    books::Prospect,
    call::Call,
    config::{OrderBy, SimpleConfig, TargetConfig},
    providers::ProviderError,
};

/// One that can be asked, and for what.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) upstream: Arc<Upstream>,
    model: Option<Arc<str>>,
    weight: u32,
}

impl Target {
    pub(super) fn new(
        route: &str,
        config: &TargetConfig,
        upstreams: &[Arc<Upstream>],
    ) -> Result<Self, ProviderError> {
        let upstream = upstreams.iter().find(|upstream| **upstream.name() == *config.provider);
        let upstream =
            upstream.ok_or_else(|| ProviderError::Route(route.into(), config.provider.clone()))?.clone();
        let model = (!config.model.is_empty()).then(|| config.model.as_str().into());
        Ok(Self { upstream, model, weight: config.weight })
    }
    /// Who may have to be paid, and for what.
    pub(super) fn prospect<'a>(&'a self, call: &'a Call) -> Prospect<'a> {
        let model = self.model.as_deref().unwrap_or(&call.asked.model);
        Prospect { provider: self.upstream.name(), local: self.upstream.is_local(), model }
    }
    /// What the provider calls the model of this call.
    pub(super) fn model(&self, call: &Call) -> Arc<str> {
        self.model.clone().unwrap_or_else(|| call.asked.model.as_str().into())
    }
    /// What the provider calls every model of this target, if that is one.
    pub(super) fn fixed_model(&self) -> Option<Arc<str>> {
        self.model.clone()
    }
    pub(super) fn weight(&self) -> f64 {
        self.weight.into()
    }
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.upstream, &other.upstream) && self.model == other.model
    }
}

impl Route {
    /// Everybody who may answer, in the order in which they are asked.
    pub(super) fn order(&self, call: &Call, world: &World) -> Vec<Target> {
        let mut order = match self.config.order {
            OrderBy::Listed => self.targets.clone(),
            OrderBy::Weight => by_weight(&self.targets, world),
        };
        let simple = self.simple.as_ref().filter(|_| is_simple(&self.config.simple, call));
        let tried_out = || world.chance().fraction() < self.config.canary.share.get();
        let canary = self.canary.as_ref().filter(|_| tried_out());
        if let Some(first) = simple.or(canary) {
            order.retain(|other| !other.is(first));
            order.insert(0, first.clone());
        }
        order
    }
}

/// Draws one after another, each as likely as its weight among those that are left. Those
/// without weight come last, as they are listed.
fn by_weight(targets: &[Target], world: &World) -> Vec<Target> {
    let mut left: Vec<_> = targets.iter().collect();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let sum: u64 = left.iter().map(|target| u64::from(target.weight)).sum();
        let mut drawn = world.chance().below(sum);
        let at = left.iter().position(|target| {
            let weight = u64::from(target.weight);
            let hit = drawn < weight;
            drawn = drawn.saturating_sub(weight);
            hit
        });
        order.push(left.remove(at.unwrap_or(0)).clone());
    }
    order
}

fn is_simple(config: &SimpleConfig, call: &Call) -> bool {
    let asked = &call.asked;
    let short = asked.output_max.is_some_and(|max| max <= config.output_max.get().into());
    short && !asked.tools && call.body.len() <= config.body_max.as_usize()
}
