//! What Amazon Bedrock wants to know beside what every provider does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::config::{Environment, Problem, SecretSource};

use super::{Kind, ProviderConfig};

/// A provider of kind `bedrock`, in a build without it.
pub(crate) const NOT_BUILT: &str = "this build cannot speak to Amazon Bedrock: it was made without the \
    feature `bedrock`, which `cargo build --package steadfast-cli` puts in unless told otherwise";

/// Amazon Bedrock: where it is, who asks, and what guards it. Without `key` (a key of
/// Bedrock's own) and without these, `AWS_BEARER_TOKEN_BEDROCK` is looked for, then
/// `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BedrockConfig {
    /// The region. Empty for `AWS_REGION` or `AWS_DEFAULT_REGION`.
    pub region: String,
    /// The id of the access key that requests are signed with.
    pub access_key_id: Option<SecretSource>,
    /// Its secret.
    pub secret_access_key: Option<SecretSource>,
    /// Its session, if it is a temporary one.
    pub session_token: Option<SecretSource>,
    /// A guardrail, by id or ARN, that every call passes.
    pub guardrail: String,
    /// Its version.
    pub guardrail_version: String,
}

impl Default for BedrockConfig {
    fn default() -> Self {
        Self {
            region: String::new(),
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            guardrail: String::new(),
            guardrail_version: "DRAFT".into(),
        }
    }
}

fn variable(env: &Environment, name: &str) -> Option<SecretSource> {
    env.get(name).filter(|value| !value.is_empty()).map(|_| SecretSource::Env(name.into()))
}

impl ProviderConfig {
    /// With what Amazon's own tools would find in the environment, where this says nothing.
    #[must_use]
    pub(crate) fn or_usual(&self, env: &Environment) -> Self {
        let mut config = self.clone();
        let bedrock = &mut config.bedrock;
        if config.kind != Kind::Bedrock {
            return config;
        }
        if bedrock.region.is_empty() {
            let named = ["AWS_REGION", "AWS_DEFAULT_REGION"].iter().find_map(|name| env.get(*name));
            bedrock.region = named.cloned().unwrap_or_default();
        }
        if config.key.is_none() && bedrock.access_key_id.is_none() && bedrock.secret_access_key.is_none() {
            config.key = variable(env, "AWS_BEARER_TOKEN_BEDROCK");
            if config.key.is_none() {
                bedrock.access_key_id = variable(env, "AWS_ACCESS_KEY_ID");
                bedrock.secret_access_key = variable(env, "AWS_SECRET_ACCESS_KEY");
                bedrock.session_token = bedrock.session_token.take().or(variable(env, "AWS_SESSION_TOKEN"));
            }
        }
        config
    }
    /// Where all its secrets are, by the names of their fields.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (&'static str, &SecretSource)> {
        let bedrock = &self.bedrock;
        let all = [
            ("key", &self.key),
            ("bedrock.access_key_id", &bedrock.access_key_id),
            ("bedrock.secret_access_key", &bedrock.secret_access_key),
            ("bedrock.session_token", &bedrock.session_token),
        ];
        all.into_iter().filter_map(|(field, source)| Some((field, source.as_ref()?)))
    }
    /// `built`: whether this build has it.
    pub(super) fn check_bedrock(&self, at: &str, built: bool, problems: &mut Vec<Problem>) {
        if self.kind == Kind::Bedrock && !built {
            problems.push(Problem::about(format!("{at}.kind"), NOT_BUILT));
        }
        if self.kind != Kind::Bedrock && self.bedrock != BedrockConfig::default() {
            problems.push(Problem::about(format!("{at}.bedrock"), "expected with kind = \"bedrock\" alone"));
        }
        if self.bedrock.access_key_id.is_some() != self.bedrock.secret_access_key.is_some() {
            let said = "expected `access_key_id` and `secret_access_key` together";
            problems.push(Problem::about(format!("{at}.bedrock"), said));
        }
        if self.key.is_some() && self.bedrock.access_key_id.is_some() {
            problems.push(Problem::about(
                format!("{at}.key"),
                "expected either `key` or `bedrock.access_key_id`",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_it_says_which_has_it() {
        let config = ProviderConfig { kind: Kind::Bedrock, ..ProviderConfig::default() };
        for (config, built, found) in
            [(&config, false, 1), (&config, true, 0), (&ProviderConfig::default(), false, 0)]
        {
            let mut problems = Vec::new();
            config.check_bedrock("models.providers.b", built, &mut problems);
            assert_eq!(problems.len(), found, "{problems:?}");
            let told = problems.iter().all(|it| format!("{it:?}").contains("the feature `bedrock`"));
            assert!(told, "{problems:?}");
        }
    }
}
