use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use steadfast_core::{Coded, Fault, World, config::nearest, observe::Observer};

use crate::{Breaker, BreakerState, Policy, PolicyConfig, Site};

/// `[resilience.NAME]`: policies by name.
pub type Policies = BTreeMap<String, PolicyConfig>;

/// A name that no policy has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no policy {name:?}{}", .suggestion.as_ref().map(|it| format!("; did you mean {it:?}?")).unwrap_or_default())]
pub struct UnknownPolicy {
    /// The name.
    pub name: String,
    /// What was probably meant.
    pub suggestion: Option<String>,
}

impl Coded for UnknownPolicy {
    fn code(&self) -> &'static str {
        "resilience.unknown_policy"
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// Breakers that somebody else looks after.
pub trait Breakers: Send + Sync {
    /// How they stand.
    fn breakers(&self) -> Vec<BreakerState>;
    /// Closes the one of that name by hand. False if there is none.
    fn reset(&self, name: &str) -> bool;
}

/// All policies of a node. Whoever asks for a name shares its state.
pub struct Registry {
    policies: Mutex<BTreeMap<String, Arc<Policy>>>,
    others: Mutex<Vec<Arc<dyn Breakers>>>,
    world: World,
    observer: Arc<dyn Observer>,
}

impl Registry {
    /// The configured policies.
    pub fn new(configured: &Policies, world: &World, observer: &Arc<dyn Observer>) -> Self {
        let made = Self {
            policies: Mutex::default(),
            others: Mutex::default(),
            world: world.clone(),
            observer: observer.clone(),
        };
        for (name, config) in configured {
            made.get_or(name, config);
        }
        made
    }
    /// The policy of that name.
    pub fn get(&self, name: &str) -> Result<Arc<Policy>, UnknownPolicy> {
        let policies = self.lock();
        policies.get(name).cloned().ok_or_else(|| UnknownPolicy {
            name: name.into(),
            suggestion: nearest(name, policies.keys().map(String::as_str)).map(str::to_owned),
        })
    }
    /// The policy of that name; made from `preset` if the configuration has none.
    pub fn get_or(&self, name: &str, preset: &PolicyConfig) -> Arc<Policy> {
        let make = || Arc::new(Policy::new(preset, Site::new(name, &self.world, &self.observer)));
        self.lock().entry(name.into()).or_insert_with(make).clone()
    }
    /// Lists and resets these breakers as well.
    pub fn also(&self, others: Arc<dyn Breakers>) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).push(others);
    }
    fn others(&self) -> Vec<Arc<dyn Breakers>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
    /// How every breaker stands, by name.
    pub fn breakers(&self) -> Vec<BreakerState> {
        let mut all: Vec<_> =
            self.lock().values().filter_map(|policy| policy.breaker()).map(Breaker::state).collect();
        all.extend(self.others().iter().flat_map(|others| others.breakers()));
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }
    /// Closes the breaker of that name by hand.
    pub fn reset(&self, name: &str) -> Result<(), UnknownPolicy> {
        if self.others().iter().any(|others| others.reset(name)) {
            return Ok(());
        }
        let policy = self.get(name)?;
        if let Some(breaker) = policy.breaker() {
            breaker.reset();
        }
        Ok(())
    }
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Policy>>> {
        self.policies.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use steadfast_core::{
        Failure,
        config::{Environment, Period, load},
        observe::silent,
    };

    use super::*;
    use crate::Deadline;

    #[derive(serde::Deserialize)]
    struct Config {
        resilience: Policies,
    }

    fn read(text: &str) -> Result<Policies, String> {
        let config = load::<Config>(Some(("s.toml", text)), &Environment::new());
        config.map(|config| config.resilience).map_err(|error| error.to_string())
    }

    #[test]
    fn a_policy_is_configured_by_name_and_mistakes_are_told() {
        let text = "[resilience.mail]\ntimeout = '7s'\nretry.waits = ['1ms']\nbreaker.enabled = false\n";
        let policies = read(text).expect("reads");
        assert_eq!(policies["mail"].timeout, Period::from(Duration::from_secs(7)));
        assert_eq!(policies["mail"].bulkhead, PolicyConfig::default().bulkhead);
        for (text, said) in [
            ("[resilience.mail]\ntimeuot = '7s'\n", "did you mean `timeout`?"),
            (
                "[resilience.mail.breaker]\nwindow = '0s'\n",
                "s.toml:2: resilience.mail.breaker.window = \"0s\": expected a period longer than zero",
            ),
            (
                "[resilience.mail]\nbreaker.failures = 0\n",
                "s.toml:2: resilience.mail.breaker.failures = 0: expected a whole number of at least 1",
            ),
        ] {
            let error = read(text).expect_err("refused");
            assert!(error.contains(said), "{error}");
        }
    }

    #[tokio::test]
    async fn breakers_are_listed_and_reset_by_name_and_shared_by_whoever_asks() {
        let (world, _) = World::manual(1);
        let policies = read("[resilience.mail]\nretry.enabled = false\nbreaker.failures = 1\n");
        let registry = Registry::new(&policies.expect("reads"), &world, &silent());
        let deadline = Deadline::after(&world, Duration::from_secs(1));
        let mail = registry.get_or("mail", &PolicyConfig::store());
        let down = |_, _| async { Err::<(), _>(Failure::upstream("down", "down")) };
        mail.call(&deadline, down).await.expect_err("down");
        registry.get_or("store", &PolicyConfig::store());
        let states = |registry: &Registry| {
            registry.breakers().into_iter().map(|it| (it.name, it.state)).collect::<Vec<_>>()
        };
        let open = [("mail".into(), "open".into()), ("store".into(), "closed".into())];
        assert_eq!(states(&registry), open);
        registry.reset("mail").expect("known");
        assert_eq!(states(&registry)[0].1, "closed");
        let unknown = registry.reset("mial").expect_err("unknown").to_string();
        assert_eq!(unknown, "there is no policy \"mial\"; did you mean \"mail\"?");
    }
}
