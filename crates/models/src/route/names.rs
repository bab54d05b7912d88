//! Which names are shown to whoever wants to know what can be asked for.
//!
//! A route that takes any name is not a model itself. Which names there are behind it is known
//! where its provider is the one whose prices are shipped.

use std::{collections::BTreeMap, sync::Arc};

use super::{Route, Routes};
use crate::{
    budget::prices,
    config::{Kind, ProviderConfig},
};

/// Whose models those of a provider are, if it is at the address of its kind.
fn vendor(config: &ProviderConfig) -> Option<&'static str> {
    match (config.kind, config.url.as_str()) {
        (Kind::OpenAi, "" | "https://api.openai.com/v1") => Some("OpenAI"),
        (Kind::Anthropic, "" | "https://api.anthropic.com/v1") => Some("Anthropic"),
        _ => None,
    }
}

impl Route {
    /// Do those who are asked know it by its own name, or by one that is written down for it?
    fn is_model(&self) -> bool {
        let any = self.config.models.iter().any(|model| model.ends_with('*'));
        !any || self.targets.iter().any(|it| it.fixed_model().is_some() || it.upstream.is_local())
    }
}

impl Routes {
    pub(super) fn names(&self) -> BTreeMap<Arc<str>, Arc<Route>> {
        let own = self.by_name.iter().filter(|(name, route)| **name != route.name || route.is_model());
        let mut names: BTreeMap<_, _> = own.map(|(name, route)| (name.clone(), route.clone())).collect();
        for (prefix, route) in &self.by_prefix {
            let open = route.targets.iter().filter(|target| target.fixed_model().is_none());
            let known = open.filter_map(|target| vendor(target.upstream.config())).flat_map(prices::of);
            for name in known.filter(|name| name.starts_with(prefix.as_str())) {
                if self.by_model(&name).is_some_and(|it| Arc::ptr_eq(it, route)) {
                    names.insert(name.into(), route.clone());
                }
            }
        }
        names
    }
}
