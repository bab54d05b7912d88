//! What is there without being configured: providers whose keys are in the environment, and a
//! route to each.

use steadfast_core::config::{Environment, SecretSource};

use super::{Kind, ModelsConfig, ProviderConfig, RouteConfig, TargetConfig};

/// A provider as its own clients know it.
struct Usual {
    name: &'static str,
    kind: Kind,
    /// The variable with its key.
    key: &'static str,
    /// The variable with its address.
    base: &'static str,
    /// What of our addresses is not in that.
    version: &'static str,
}

const USUAL: [Usual; 2] = [
    Usual { name: "openai", kind: Kind::OpenAi, key: "OPENAI_API_KEY", base: "OPENAI_BASE_URL", version: "" },
    Usual {
        name: "anthropic",
        kind: Kind::Anthropic,
        key: "ANTHROPIC_API_KEY",
        base: "ANTHROPIC_BASE_URL",
        version: "/v1",
    },
];

impl Usual {
    fn address(&self, base: &str) -> String {
        let base = base.trim_end_matches('/');
        if base.ends_with(self.version) { base.into() } else { format!("{base}{}", self.version) }
    }
}

impl ModelsConfig {
    /// If no provider is configured: those whose keys are in the environment under their
    /// usual names, so that a key alone is enough to begin with, at the addresses that are
    /// there for their own clients. And if no route is configured, one to each provider.
    ///
    /// One that is configured under its usual name, and without a key, gets that key as well, if
    /// it is at the address of its kind: to another one no key goes that is not meant for it.
    #[must_use]
    pub fn or_from_environment(mut self, env: &Environment) -> Self {
        let set = |variable| env.get(variable).filter(|value| !value.is_empty());
        let none = self.providers.is_empty();
        for usual in &USUAL {
            if set(usual.key).is_none() {
                continue;
            }
            let key = Some(SecretSource::Env(usual.key.into()));
            if none {
                let url = set(usual.base).map(|base| usual.address(base)).unwrap_or_default();
                let provider = ProviderConfig { kind: usual.kind, url, key, ..ProviderConfig::default() };
                self.providers.insert(usual.name.into(), provider);
            } else if let Some(provider) = self.providers.get_mut(usual.name)
                && (provider.kind, provider.key.is_none(), provider.url.is_empty())
                    == (usual.kind, true, true)
            {
                provider.key = key;
            }
        }
        self.or_direct()
    }
    /// If no provider is configured: one that needs no network, for trying things out.
    #[must_use]
    pub fn or_local(mut self) -> Self {
        if self.providers.is_empty() {
            let local = ProviderConfig { kind: Kind::Local, ..ProviderConfig::default() };
            self.providers.insert("local".into(), local);
        }
        self.or_direct()
    }
    /// If no route is configured: one to each provider, under its name. A provider that is
    /// alone gets every model; of two, the one of Anthropic's gets its models, and the other
    /// one gets the rest.
    fn or_direct(mut self) -> Self {
        if !self.routes.is_empty() || self.is_unsaid() {
            return self;
        }
        let alone = self.providers.len() == 1;
        for (name, provider) in &self.providers {
            let its_own = !alone && provider.kind == Kind::Anthropic;
            let models = vec![if its_own { "claude-*" } else { "*" }.into()];
            let targets = vec![TargetConfig { provider: name.clone(), ..TargetConfig::default() }];
            self.routes.insert(name.clone(), RouteConfig { models, targets, ..RouteConfig::default() });
        }
        self
    }
    /// Is it anybody's guess who gets which models?
    pub(super) fn is_unsaid(&self) -> bool {
        let of_anthropic = self.providers.values().filter(|it| it.kind == Kind::Anthropic).count();
        self.routes.is_empty() && (of_anthropic > 1 || self.providers.len() - of_anthropic > 1)
    }
    /// A line about each provider: where its key comes from.
    pub fn providers_told(&self, env: &Environment) -> Vec<String> {
        let line = |(name, provider): (&String, &ProviderConfig)| {
            format!("The provider {name}: {}.", provider.key_told(name, env))
        };
        self.providers.iter().map(line).collect()
    }
}

impl ProviderConfig {
    fn key_told(&self, name: &str, env: &Environment) -> String {
        let set = |variable: &str| env.get(variable).is_some_and(|key| !key.is_empty());
        match (&self.key, self.kind) {
            (Some(SecretSource::Env(variable)), _) => format!("its key is in the variable {variable}"),
            (Some(SecretSource::File(path)), _) => format!("its key is in the file {}", path.display()),
            (None, Kind::Local) => "answers are made here, and it needs no key".into(),
            (None, Kind::Bedrock) => "its credentials are found as Amazon's own tools find them".into(),
            (None, _) => match USUAL.iter().find(|it| it.name == name && set(it.key)) {
                Some(Usual { key, .. }) => format!(
                    "it has no key; {key} is not sent to an address of its own, unless `key = {{ env = \"{key}\" }}` says so"
                ),
                None => "it has no key".into(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[models]`
    fn read(text: &str) -> ModelsConfig {
        toml::from_str(text).expect("reads")
    }

    #[test]
    fn a_key_in_the_environment_is_enough() {
        let env = |names: &[&str]| names.iter().map(|it| ((*it).to_owned(), "k".to_owned())).collect();
        let found = |names: &[&str]| ModelsConfig::default().or_from_environment(&env(names));
        assert_eq!(found(&["ANTHROPIC_API_KEY"]).routes["anthropic"].models, ["*"]);
        let both = found(&["ANTHROPIC_API_KEY", "OPENAI_API_KEY"]);
        assert_eq!(both.routes["anthropic"].models, ["claude-*"]);
        assert_eq!(both.routes["openai"].models, ["*"]);
        assert!(both.check("models").is_empty());
        assert!(found(&[]).providers.is_empty());
        let both = both.or_local();
        assert_eq!(both.providers.len(), 2);
        assert_eq!(found(&[]).or_local().routes["local"].models, ["*"]);
        let own = read("[providers.azure]\nurl = 'https://x'\n");
        let own = own.or_from_environment(&env(&["OPENAI_API_KEY"]));
        assert_eq!(own.routes["azure"].models, ["*"]);
        assert!(!own.providers.contains_key("openai"));
    }

    #[test]
    fn addresses_of_their_own_clients_hold_and_no_key_goes_to_another_one() {
        let env: Environment = [
            ("OPENAI_API_KEY", "secret"),
            ("OPENAI_BASE_URL", "https://eu.example.com/v1/"),
            ("ANTHROPIC_API_KEY", "secret"),
            ("ANTHROPIC_BASE_URL", "https://proxy.example.com"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        let found = ModelsConfig::default().or_from_environment(&env);
        assert_eq!(found.providers["openai"].url, "https://eu.example.com/v1");
        assert_eq!(found.providers["anthropic"].url, "https://proxy.example.com/v1");

        let of = |text: &str| read(text).or_from_environment(&env);
        let usual = of("[providers.openai]\nresponses = false\n");
        assert_eq!(usual.providers["openai"].key, Some(SecretSource::Env("OPENAI_API_KEY".into())));
        assert_eq!(usual.providers["openai"].url, "", "where it is configured, that holds");
        let other = of("[providers.openai]\nurl = 'http://10.0.0.7/v1'\n");
        assert_eq!(other.providers["openai"].key, None);
        let told = other.providers_told(&env);
        assert!(told[0].contains("openai: it has no key; OPENAI_API_KEY is not sent"), "{told:?}");
        let told = found.providers_told(&env).join(" ");
        assert!(
            told.contains("The provider anthropic: its key is in the variable ANTHROPIC_API_KEY."),
            "{told}"
        );
        assert!(!told.contains("secret"), "{told}");
    }
}
