//! `[models]`: who is called, and by which way.

mod bedrock;
mod cache;
mod screen;
mod usual;

use std::{collections::BTreeMap, num::NonZeroU32, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    config::{Period, Problem, SecretSource, Share, Size, positive},
    defaults,
};
use steadfast_resilience::{BreakerConfig, RateLimitConfig, RetryConfig};

mod money;

pub use bedrock::BedrockConfig;
pub(crate) use bedrock::NOT_BUILT;
pub use cache::{CacheConfig, DegradeConfig, KeepConfig, ShareWith, SimilarConfig, TemplateConfig};
pub use money::{
    AdmissionConfig, BudgetConfig, LimitConfig, LongPriceConfig, Per, PriceConfig, RecordMode, RecordsConfig,
    Thinks, Window,
};
pub use screen::{Action, KindsConfig, ScreenConfig};

/// `[models]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ModelsConfig {
    /// Whether models are served under `/v1`.
    pub enabled: bool,
    /// The largest body of a request. Pictures travel in it.
    pub body_max: Size,
    /// How long the body of a request may take to arrive.
    #[serde(deserialize_with = "positive")]
    pub read_timeout: Period,
    /// The longest a call may take with all its waits and attempts, where the client does
    /// not say.
    #[serde(deserialize_with = "positive")]
    pub deadline: Period,
    /// The same for a stream: long answers are welcome as long as something comes.
    #[serde(deserialize_with = "positive")]
    pub stream_deadline: Period,
    /// What providers don't get to see.
    pub screen: ScreenConfig,
    /// Who can be called, by name.
    pub providers: BTreeMap<String, ProviderConfig>,
    /// By which ways, by name. The name is a model that clients can ask for.
    pub routes: BTreeMap<String, RouteConfig>,
    /// What models cost that the shipped table does not know, or knows wrongly, by their
    /// names: `MODEL`, or `PROVIDER/MODEL` for those of one provider.
    pub prices: BTreeMap<String, PriceConfig>,
    /// Who may spend how much.
    pub budget: BudgetConfig,
    /// What is remembered of calls.
    pub records: RecordsConfig,
    /// How many calls run at once, and who waits.
    pub admission: AdmissionConfig,
    /// Answers that are given again.
    pub cache: CacheConfig,
    /// What is answered when nobody can be asked.
    pub degrade: DegradeConfig,
}

impl Default for ModelsConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            body_max: Size::bytes(32 << 20),
            read_timeout: Duration::from_secs(60).into(),
            deadline: defaults::CALL_DEADLINE.into(),
            stream_deadline: Duration::from_secs(600).into(),
            screen: ScreenConfig::default(),
            providers: BTreeMap::new(),
            routes: BTreeMap::new(),
            prices: BTreeMap::new(),
            budget: BudgetConfig::default(),
            records: RecordsConfig::default(),
            admission: AdmissionConfig::default(),
            cache: CacheConfig::default(),
            degrade: DegradeConfig::default(),
        }
    }
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// OpenAI's API, which most others speak as well.
    #[default]
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Amazon Bedrock: Converse, Titan's embeddings, guardrails.
    Bedrock,
    /// Nobody: answers made here, always the same, for trying things out.
    Local,
}

/// One that is called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProviderConfig {
    /// What it speaks.
    pub kind: Kind,
    /// Where it is, up to the version: `https://api.openai.com/v1`. Empty for that of its
    /// kind.
    pub url: String,
    /// What is added to every address, such as `api-version=2024-10-21`.
    pub query: String,
    /// The key that it wants.
    pub key: Option<SecretSource>,
    /// The header that the key is sent in. Empty for that of its kind.
    pub key_header: String,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
    /// The most tokens of an answer where the client says nothing and the API wants it said.
    pub output_max: NonZeroU32,
    /// Whether the most tokens are said as `max_tokens`, which is all that older servers
    /// know, when a call is translated.
    pub legacy_max_tokens: bool,
    /// Whether it has OpenAI's responses. Where it has not, they are asked for as chat.
    pub responses: bool,
    /// Whether streams are asked for their usage. Some servers refuse the question.
    pub stream_usage: bool,
    /// What Amazon Bedrock wants to know.
    pub bedrock: BedrockConfig,
    /// How long is waited.
    pub timeouts: TimeoutConfig,
    /// When to leave it alone.
    pub breaker: BreakerConfig,
    /// How many calls it gets a period.
    pub requests: RateLimitConfig,
    /// How many tokens it gets a period. A call takes what it may need at most, and gives
    /// back what it did not.
    pub tokens: RateLimitConfig,
}

impl Default for ProviderConfig {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            url: String::new(),
            query: String::new(),
            key: None,
            key_header: String::new(),
            headers: BTreeMap::new(),
            output_max: NonZeroU32::MIN.saturating_add(4_095),
            legacy_max_tokens: false,
            responses: true,
            stream_usage: true,
            bedrock: BedrockConfig::default(),
            timeouts: TimeoutConfig::default(),
            breaker: BreakerConfig::default(),
            requests: RateLimitConfig::default(),
            tokens: RateLimitConfig::default(),
        }
    }
}

/// How long is waited for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TimeoutConfig {
    /// For a connection, with its encryption.
    #[serde(deserialize_with = "positive")]
    pub connect: Period,
    /// For the first byte of an answer, or the first content of a stream.
    #[serde(deserialize_with = "positive")]
    pub first: Period,
    /// From one byte of an answer, or one event of a stream, to the next.
    #[serde(deserialize_with = "positive")]
    pub between: Period,
    /// For the whole of an answer. Streams may take as long as the call.
    #[serde(deserialize_with = "positive")]
    pub total: Period,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5).into(),
            first: defaults::MODEL_TIMEOUT.into(),
            between: Duration::from_secs(20).into(),
            total: defaults::MODEL_TIMEOUT.into(),
        }
    }
}

/// How a route chooses who comes first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OrderBy {
    /// As they are listed.
    #[default]
    Listed,
    /// By chance, as often as their weights say; the others follow in the same way.
    Weight,
}

/// A way to an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RouteConfig {
    /// Further models that take this way. A `*` at the end stands for anything.
    pub models: Vec<String>,
    /// Who is asked, until one answers.
    pub targets: Vec<TargetConfig>,
    /// Who is asked first.
    pub order: OrderBy,
    /// One that is tried out with a part of the calls.
    pub canary: CanaryConfig,
    /// One that is good enough for simple calls.
    pub simple: SimpleConfig,
    /// Whether a stream that breaks after its first content is continued by the next
    /// provider, from the text so far.
    pub continue_streams: bool,
    /// Whether calls on this route are screened for personal data. As `[models.screen]` says
    /// where this says nothing.
    pub screen: Option<bool>,
    /// When everybody is asked once more.
    pub retry: RetryConfig,
}

/// Who is asked for what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TargetConfig {
    /// The provider.
    pub provider: String,
    /// What it calls the model. Empty for the name that the client asked for.
    pub model: String,
    /// How often it comes first, beside the others' weights.
    pub weight: u32,
}

impl Default for TargetConfig {
    fn default() -> Self {
        Self { provider: String::new(), model: String::new(), weight: 1 }
    }
}

/// One that is tried out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CanaryConfig {
    /// The part of calls that go to it first.
    pub share: Share,
    /// Who it is.
    pub target: TargetConfig,
}

impl Default for CanaryConfig {
    fn default() -> Self {
        const NONE: Share = match Share::new(0.0) {
            Ok(share) => share,
            Err(_) => panic!("zero is a share"),
        };
        Self { share: NONE, target: TargetConfig::default() }
    }
}

/// What counts as simple, and who gets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SimpleConfig {
    /// Whether simple calls go their own way.
    pub enabled: bool,
    /// The largest body of a simple call.
    pub body_max: Size,
    /// The most tokens that a simple call may ask for; one that does not say is not simple.
    pub output_max: NonZeroU32,
    /// Who gets them. Calls with tools are never simple.
    pub target: TargetConfig,
}

impl Default for SimpleConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            body_max: Size::bytes(2 << 10),
            output_max: NonZeroU32::MIN.saturating_add(255),
            target: TargetConfig::default(),
        }
    }
}

impl ModelsConfig {
    /// Two routes for one name.
    fn check_names(&self, section: &str, problems: &mut Vec<Problem>) {
        let mut taken: BTreeMap<_, _> = self.routes.keys().map(|name| (name, name)).collect();
        for (name, route) in &self.routes {
            for (i, model) in route.models.iter().enumerate() {
                let other = *taken.entry(model).or_insert(name);
                if other != name {
                    let at = format!("{section}.routes.{name}.models.{i}");
                    let message = format!(
                        "{model:?} takes the route `{other}` as well as `{name}`: leave it to one of them"
                    );
                    problems.push(Problem::about(at, message));
                }
            }
        }
    }
    /// What no single value can know: names that must exist. `section` is where this stands
    /// in the configuration.
    pub fn check(&self, section: &str) -> Vec<Problem> {
        let mut problems = self.budget.check(section, self.routes.keys().map(String::as_str));
        self.screen.check(section, &mut problems);
        for (i, template) in self.degrade.templates.iter().enumerate() {
            if !["", "chat", "messages"].contains(&template.operation.as_str()) {
                let at = format!("{section}.degrade.templates.{i}.operation");
                problems.push(Problem::about(at, "expected `chat`, `messages` or nothing"));
            }
        }
        if self.is_unsaid() {
            let message = "there are several providers and no route: say who gets which models, such as \
                [models.routes.NAME] with models = [\"gpt-*\"] and targets = [{ provider = \"...\" }]";
            problems.push(Problem::about(format!("{section}.routes"), message));
        }
        self.check_names(section, &mut problems);
        for (name, provider) in &self.providers {
            let at = format!("{section}.providers.{name}");
            provider.check_bedrock(&at, cfg!(feature = "bedrock"), &mut problems);
        }
        for (name, route) in &self.routes {
            let at = format!("{section}.routes.{name}");
            let mut named = Vec::new();
            for (i, target) in route.targets.iter().enumerate() {
                named.push((format!("{at}.targets.{i}.provider"), target));
            }
            if route.canary.share.get() > 0.0 {
                named.push((format!("{at}.canary.target.provider"), &route.canary.target));
            }
            if route.simple.enabled {
                named.push((format!("{at}.simple.target.provider"), &route.simple.target));
            }
            if route.targets.is_empty() {
                problems.push(Problem::about(format!("{at}.targets"), "expected at least one target"));
            }
            for (key, target) in named {
                if !self.providers.contains_key(&target.provider) {
                    let known = self.providers.keys().map(String::as_str);
                    problems.push(Problem::dangling(key, "provider", &target.provider, known));
                }
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::config::{Environment, load_checked};

    use super::*;

    #[derive(Deserialize)]
    struct Config {
        models: ModelsConfig,
    }

    fn read(text: &str) -> Result<ModelsConfig, String> {
        let check = |config: &Config| config.models.check("models");
        load_checked(Some(("s.toml", text)), &Environment::new(), check)
            .map(|config| config.models)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_route_names_providers_that_exist_and_mistakes_are_told() {
        let good = "[models.providers.main]\nkind = 'anthropic'\ntimeouts.first = '3s'\n\
            [models.routes.smart]\nmodels = ['gpt-*']\ntargets = [{ provider = 'main', model = 'claude' }]\n";
        let config = read(good).expect("reads");
        assert_eq!(config.providers["main"].timeouts.first.get(), Duration::from_secs(3));
        assert_eq!(config.routes["smart"].targets[0].weight, 1);
        for (text, said) in [
            ("[models.providers.main]\nkind = 'antropic'\n", "anthropic"),
            ("[models.screen]\npatterns = ['(']\n", "models.screen.patterns"),
            ("[models.screen]\nliterals = ['']\n", "models.screen.literals"),
            ("[models.providers.main]\nurll = 'x'\n", "did you mean `url`?"),
            ("[models.routes.smart]\nmodels = ['x']\n", "expected at least one target"),
            (
                "[models.providers.a]\n[models.providers.b]\n",
                "models.routes: there are several providers and no route",
            ),
            (
                "[models.providers.a]\n[models.routes.one]\nmodels = ['m']\ntargets = [{ provider = 'a' }]\n\
                 [models.routes.two]\nmodels = ['n', 'm']\ntargets = [{ provider = 'a' }]\n",
                "models.routes.two.models.1: \"m\" takes the route `one` as well as `two`",
            ),
            (
                "[models.providers.a]\n[models.routes.one]\nmodels = ['two']\ntargets = [{ provider = 'a' }]\n\
                 [models.routes.two]\ntargets = [{ provider = 'a' }]\n",
                "\"two\" takes the route `two` as well as `one`",
            ),
            (
                "[models.providers.main]\n[models.routes.smart]\ntargets = [{ provider = 'mian' }]\n",
                "\"mian\": there is no such provider; did you mean `main`?",
            ),
        ] {
            let error = read(text).expect_err("refused");
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn what_bedrock_is_told_goes_together() {
        let of = |more: &str| read(&format!("[models.providers.b]\n{more}\n"));
        let half = of("kind = 'bedrock'\nbedrock.access_key_id = { env = 'A' }").expect_err("half");
        assert!(half.contains("together"), "{half}");
        let strange = of("bedrock.region = 'eu-central-1'").expect_err("another kind");
        assert!(strange.contains("alone"), "{strange}");
    }
}
