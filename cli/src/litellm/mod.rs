//! A LiteLLM configuration as ours.
//!
//! Several deployments under one name are one route with several targets; deployments that
//! share address, key and limits share a provider. Whatever has no counterpart is told, never
//! passed over in silence.

mod kinds;
#[cfg(test)]
mod tests;
mod yaml;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use steadfast_core::config::{Environment, load_checked};
use toml::Table;

use crate::config::Config;
use kinds::{Deployment, Keys};

/// What came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Imported {
    /// Our configuration.
    config: Table,
    /// What has no counterpart, or needs a hand.
    notes: Vec<String>,
}

impl Imported {
    /// A file of ours.
    pub(crate) fn print(&self) -> String {
        let mut text =
            String::from("# Made from a LiteLLM configuration by `steadfast config import-litellm`.\n");
        for note in &self.notes {
            text.extend([format!("# NOTE {note}\n")]);
        }
        text.push('\n');
        // A table of tables and values: nothing in it cannot be written.
        text.push_str(&toml::to_string(&self.config).unwrap_or_default());
        text
    }
}

/// The import as it grows.
#[derive(Default)]
struct Import {
    providers: BTreeMap<String, Table>,
    routes: BTreeMap<String, Route>,
    prices: Table,
    cache: Table,
    notes: Vec<String>,
    keys: Keys,
}

#[derive(Default)]
struct Route {
    models: Vec<String>,
    targets: Vec<Target>,
}

#[derive(Clone)]
struct Target {
    provider: String,
    model: String,
    weight: u64,
}

/// Reads LiteLLM's `config.yaml`.
/// Addresses that it takes from variables are those in `env`.
pub(crate) fn import(text: &str, env: &Environment) -> Result<Imported, String> {
    let Value::Object(mut file) = yaml::read(text)? else {
        return Err("expected a mapping with model_list".into());
    };
    let Some(Value::Array(list)) = file.remove("model_list") else {
        return Err("there is no model_list".into());
    };
    let mut import = Import::default();
    for entry in &list {
        let key = entry["litellm_params"]["api_key"].as_str();
        import.keys.named.extend(key.and_then(|key| key.strip_prefix("os.environ/")).map(str::to_owned));
    }
    for (i, entry) in list.into_iter().enumerate() {
        import.deployment(i, entry, env)?;
    }
    let mut router = import.section(&mut file, "router_settings");
    let mut settings = import.section(&mut file, "litellm_settings");
    let strategy = router.remove("routing_strategy");
    let strategy = strategy.as_ref().and_then(Value::as_str).unwrap_or("simple-shuffle").to_owned();
    let retries = [router.remove("num_retries"), settings.remove("num_retries")];
    let retries = retries.iter().flatten().find_map(Value::as_u64);
    let timeout = [router.remove("timeout"), settings.remove("request_timeout")];
    import.timeouts(timeout.iter().flatten().find_map(Value::as_f64));
    let mut defaults = None;
    for (section, of) in [("router_settings", &mut router), ("litellm_settings", &mut settings)] {
        if let Some(fallbacks) = of.remove("fallbacks") {
            import.fallbacks(section, &fallbacks);
        }
        defaults = defaults.or(of.remove("default_fallbacks").map(|others| (section, others)));
        import.breakers(section, of);
    }
    if let Some((section, others)) = defaults {
        import.default_fallbacks(section, &others);
    }
    import.cache(&mut settings);
    if let Some(Value::Object(aliases)) = router.remove("model_group_alias") {
        import.aliases(aliases);
    }
    import.left("router_settings.", router);
    import.left("litellm_settings.", settings);
    for (section, of) in file {
        match section.as_str() {
            "general_settings" => {
                import.note("general_settings: keys of clients are made by `steadfast keys create` here; its other settings have no counterpart");
            }
            "environment_variables" => {
                import.note("environment_variables: set them where the server runs");
            }
            _ => import.left_one(&section, &of),
        }
    }
    let config = import.config(&strategy, retries);
    // What is printed must be accepted.
    let written = toml::to_string(&config).map_err(|error| error.to_string())?;
    let check = |config: &Config| config.models.check("models");
    load_checked::<Config>(Some(("import", &written)), &Environment::new(), check)
        .map_err(|error| format!("it cannot be said in our terms: {error}"))?;
    Ok(Imported { config, notes: import.notes })
}

impl Import {
    fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
    fn left(&mut self, section: &str, left: Map<String, Value>) {
        for (name, value) in left {
            self.left_one(&format!("{section}{name}"), &value);
        }
    }
    fn left_one(&mut self, path: &str, value: &Value) {
        if !value.is_null() {
            self.note(format!("{path} has no counterpart and was left out"));
        }
    }
    fn section(&mut self, file: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
        match file.remove(name) {
            Some(Value::Object(section)) => section,
            Some(other) => {
                self.left_one(name, &other);
                Map::new()
            }
            None => Map::new(),
        }
    }
    fn deployment(&mut self, i: usize, entry: Value, env: &Environment) -> Result<(), String> {
        let at = format!("model_list[{i}]");
        let Value::Object(mut entry) = entry else { return Err(format!("{at} is not a mapping")) };
        let Some(Value::String(name)) = entry.remove("model_name") else {
            return Err(format!("{at}.model_name is missing"));
        };
        let Some(Value::Object(mut params)) = entry.remove("litellm_params") else {
            return Err(format!("{at}.litellm_params is missing"));
        };
        let at = format!("{at} {name:?}");
        prices_beside(&mut entry, &mut params);
        self.left(&format!("{at}: "), entry);
        let Some(found) = Deployment::read(&at, params, &mut self.keys, env, &mut self.notes)? else {
            return Ok(());
        };
        let provider = self.provider(&found);
        if let Some(price) = found.price {
            self.prices.insert(found.model.clone(), price.into());
        }
        let anything = name.ends_with('*');
        let same =
            self.routes.iter().find(|(_, route)| route.models.contains(&name)).map(|(key, _)| key.clone());
        let key = match same {
            Some(same) => same,
            None if anything => route_name(&name, &provider),
            None => name.clone(),
        };
        let mut model = found.model;
        if model.ends_with('*') {
            if name != "*" {
                let note = format!(
                    "{at}: clients say {name:?}, and the provider is asked for just that: leave a prefix out in the client, or list models one by one"
                );
                self.note(note);
            }
            model = String::new();
        }
        let route = self.routes.entry(key).or_default();
        if anything && !route.models.contains(&name) {
            route.models.push(name);
        }
        route.targets.push(Target { provider, model, weight: found.weight.unwrap_or(1) });
        Ok(())
    }
    /// The provider with these settings, made if there is none.
    fn provider(&mut self, found: &Deployment) -> String {
        if let Some((name, _)) = self.providers.iter().find(|(_, settings)| **settings == found.provider) {
            return name.clone();
        }
        let taken = |name: &String| self.providers.contains_key(name);
        let mut names =
            std::iter::once(found.kind.clone()).chain((2_u32..).map(|n| format!("{}-{n}", found.kind)));
        let name = names.find(|name| !taken(name)).unwrap_or_default();
        self.providers.insert(name.clone(), found.provider.clone());
        name
    }
    fn timeouts(&mut self, seconds: Option<f64>) {
        let Some(period) = seconds.and_then(kinds::period) else { return };
        for provider in self.providers.values_mut() {
            let timeouts = provider.entry("timeouts").or_insert_with(|| Table::new().into());
            if let Some(timeouts) = timeouts.as_table_mut() {
                timeouts.entry("total").or_insert_with(|| period.clone().into());
                timeouts.entry("first").or_insert_with(|| period.clone().into());
            }
        }
    }
    /// `[{a: [b, c]}]`: who answers `a` when its own deployments do not.
    fn fallbacks(&mut self, section: &str, fallbacks: &Value) {
        let lists = fallbacks.as_array().into_iter().flatten().filter_map(Value::as_object).flatten();
        let own: BTreeMap<_, _> =
            self.routes.iter().map(|(name, route)| (name.clone(), route.targets.clone())).collect();
        for (name, others) in lists {
            let others: Vec<_> = others.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            for missing in std::iter::once(name.as_str()).chain(others.iter().copied()) {
                if !own.contains_key(missing) {
                    self.note(format!(
                        "{section}.fallbacks: {missing:?} is not in model_list or was left out"
                    ));
                }
            }
            let Some(route) = self.routes.get_mut(name) else { continue };
            // Without weight they come last, in this order.
            for target in others.iter().filter_map(|other| own.get(*other)).flatten().cloned() {
                let there = |it: &Target| (&it.provider, &it.model) == (&target.provider, &target.model);
                if !route.targets.iter().any(there) {
                    route.targets.push(Target { weight: 0, ..target });
                }
            }
        }
    }
    /// `[b, c]`: who answers for everybody of whom nothing else is said.
    fn default_fallbacks(&mut self, section: &str, others: &Value) {
        let without = self.routes.iter().filter(|(_, route)| route.targets.iter().all(|it| it.weight > 0));
        let lists = without.map(|(name, _)| Value::from_iter([(name.as_str(), others.clone())]));
        let lists = lists.collect();
        self.fallbacks(section, &lists);
    }
    /// When providers are left alone, and for how long.
    fn breakers(&mut self, section: &str, of: &mut Map<String, Value>) {
        let mut breaker = Table::new();
        if let Some(fails) = of.remove("allowed_fails").and_then(|it| it.as_u64()) {
            let failures = i64::from(u32::try_from(fails).unwrap_or(u32::MAX)) + 1;
            breaker.insert("failures".into(), failures.min(u32::MAX.into()).into());
            self.note(format!(
                "{section}.allowed_fails is `breaker.failures`: in a row here, in a minute there"
            ));
        }
        if let Some(open) = of.remove("cooldown_time").and_then(|it| it.as_f64()).and_then(kinds::period) {
            breaker.insert("open".into(), open.into());
        }
        if breaker.is_empty() {
            return;
        }
        for provider in self.providers.values_mut() {
            let there = provider.entry("breaker").or_insert_with(|| Table::new().into());
            if let Some(there) = there.as_table_mut() {
                there.extend(breaker.clone());
            }
        }
    }
    /// Whether answers are kept, and for how long. Where is another matter here.
    fn cache(&mut self, settings: &mut Map<String, Value>) {
        if let Some(Value::Bool(enabled)) = settings.remove("cache") {
            self.cache.insert("enabled".into(), enabled.into());
        }
        let Some(Value::Object(mut params)) = settings.remove("cache_params") else { return };
        if let Some(ttl) = params.remove("ttl").and_then(|it| it.as_f64()).and_then(kinds::period) {
            self.cache.insert("ttl".into(), ttl.into());
        }
        for (name, value) in params {
            if !value.is_null() {
                self.note(format!(
                    "litellm_settings.cache_params.{name} was left out: answers are kept in the node and in a file \
                     beside its store, see [models.cache]"
                ));
            }
        }
    }
    fn aliases(&mut self, aliases: Map<String, Value>) {
        for (alias, of) in aliases {
            if self.routes.contains_key(&alias) {
                self.note(format!(
                    "router_settings.model_group_alias.{alias} was left out: model_list has that name"
                ));
                continue;
            }
            match of.as_str().and_then(|of| self.routes.get_mut(of)) {
                Some(route) => route.models.push(alias),
                None => self.note(format!(
                    "router_settings.model_group_alias.{alias}: its model is not in model_list"
                )),
            }
        }
    }
    fn config(&mut self, strategy: &str, retries: Option<u64>) -> Table {
        if strategy != "simple-shuffle" && self.routes.values().any(|route| route.targets.len() > 1) {
            self.note(format!(
                "router_settings.routing_strategy {strategy:?} has no counterpart: weights are used"
            ));
        }
        let routes = self.routes.iter().map(|(name, route)| (name.clone(), route.table(retries).into()));
        let routes: Table = routes.collect();
        let providers: Table =
            self.providers.iter().map(|(name, of)| (name.clone(), of.clone().into())).collect();
        let mut models = Table::from_iter([
            ("providers".to_owned(), providers.into()),
            ("routes".to_owned(), routes.into()),
        ]);
        if !self.cache.is_empty() {
            models.insert("cache".to_owned(), self.cache.clone().into());
        }
        if !self.prices.is_empty() {
            models.insert("prices".to_owned(), self.prices.clone().into());
        }
        Table::from_iter([("models".to_owned(), models.into())])
    }
}

/// Prices may stand in `model_info` as well, and whether a model thinks does.
fn prices_beside(entry: &mut Map<String, Value>, params: &mut Map<String, Value>) {
    let Some(Value::Object(info)) = entry.get_mut("model_info") else { return };
    for name in ["input_cost_per_token", "output_cost_per_token", "base_model", "supports_reasoning"] {
        if let Some(price) = info.remove(name) {
            params.entry(name).or_insert(price);
        }
    }
    if info.is_empty() {
        entry.remove("model_info");
    }
}

/// A route's name is a model too, so it is one that nobody means by accident.
fn route_name(pattern: &str, provider: &str) -> String {
    let start: String = pattern.chars().filter(char::is_ascii_alphanumeric).collect();
    if start.is_empty() { format!("any-{provider}") } else { format!("any-{start}") }
}

impl Route {
    fn table(&self, retries: Option<u64>) -> Table {
        let mut table = Table::new();
        if !self.models.is_empty() {
            table.insert("models".into(), self.models.clone().into());
        }
        let shared = self.targets.iter().filter(|target| target.weight > 0).count() > 1;
        if shared {
            table.insert("order".into(), "weight".into());
        }
        let targets = self.targets.iter().map(|target| {
            let mut to = Table::new();
            to.insert("provider".into(), target.provider.clone().into());
            if !target.model.is_empty() {
                to.insert("model".into(), target.model.clone().into());
            }
            if shared && target.weight != 1 {
                to.insert("weight".into(), i64::try_from(target.weight).unwrap_or(i64::MAX).into());
            }
            toml::Value::from(to)
        });
        table.insert("targets".into(), targets.collect::<Vec<_>>().into());
        match retries {
            None | Some(3) => {}
            Some(0) => {
                table.insert("retry".into(), Table::from_iter([("enabled".to_owned(), false.into())]).into());
            }
            Some(count) => {
                let waits = (0..count.min(10)).map(|i| toml::Value::from(format!("{}s", 1_u64 << i.min(2))));
                let waits = toml::Value::from(waits.collect::<Vec<_>>());
                table.insert("retry".into(), Table::from_iter([("waits".to_owned(), waits)]).into());
            }
        }
        table
    }
}
