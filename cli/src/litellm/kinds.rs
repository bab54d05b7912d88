//! One deployment of a LiteLLM configuration: who it is at.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use steadfast_core::config::Environment;
use steadfast_models::budget::prices;
use toml::Table;

/// Who speaks OpenAI's API under a name of LiteLLM's: where, and which variable holds the key.
const COMPATIBLE: &[(&str, &str, &str)] = &[
    ("openai", "", "OPENAI_API_KEY"),
    ("text-completion-openai", "", "OPENAI_API_KEY"),
    ("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    ("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    ("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    ("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    ("together_ai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    ("fireworks_ai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    ("perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    ("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    ("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    ("gemini", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    ("ollama", "http://127.0.0.1:11434/v1", ""),
    ("ollama_chat", "http://127.0.0.1:11434/v1", ""),
    ("lm_studio", "http://127.0.0.1:1234/v1", ""),
    ("hosted_vllm", "http://127.0.0.1:8000/v1", ""),
    ("vllm", "http://127.0.0.1:8000/v1", ""),
    ("llamafile", "http://127.0.0.1:8080/v1", ""),
    ("openai_like", "", ""),
    ("custom_openai", "", ""),
    ("litellm_proxy", "http://127.0.0.1:4000/v1", "LITELLM_PROXY_API_KEY"),
];
/// Where a server of one's own is asked for `max_tokens`.
const LEGACY: &[&str] = &["ollama", "ollama_chat", "lm_studio", "hosted_vllm", "vllm", "llamafile"];

/// One deployment in our terms.
pub(super) struct Deployment {
    /// What its provider may be called.
    pub(super) kind: String,
    /// Its provider's settings.
    pub(super) provider: Table,
    /// What the provider calls the model.
    pub(super) model: String,
    pub(super) weight: Option<u64>,
    /// What it costs, as we say it.
    pub(super) price: Option<Table>,
}

impl Deployment {
    /// Nothing if such a provider has no counterpart, which is noted.
    pub(super) fn read(
        at: &str,
        mut params: Map<String, Value>,
        keys: &mut Keys,
        env: &Environment,
        notes: &mut Vec<String>,
    ) -> Result<Option<Self>, String> {
        let Some(model) = text(&mut params, "model") else {
            return Err(format!("{at}: litellm_params.model is missing"));
        };
        let named = text(&mut params, "custom_llm_provider");
        let (kind, model) = match (named, model.split_once('/')) {
            (Some(kind), _) => (kind, model),
            (None, Some((kind, model))) => (kind.to_owned(), model.to_owned()),
            (None, None) if model.starts_with("claude") => ("anthropic".into(), model),
            (None, None) => ("openai".into(), model),
        };
        // One name for all ways to Bedrock; which of them is taken stands before the model.
        let (kind, model) = match kind.as_str() {
            "bedrock" | "bedrock_converse" => {
                let bare = ["converse/", "invoke/"].iter().find_map(|way| model.strip_prefix(way));
                ("bedrock".to_owned(), bare.map_or_else(|| model.clone(), str::to_owned))
            }
            _ => (kind, model),
        };
        let base = text(&mut params, "api_base").or_else(|| text(&mut params, "base_url"));
        // That is where it is looked for if it is not said.
        let base = base.or_else(|| (kind == "azure").then(|| "os.environ/AZURE_API_BASE".into()));
        let mut read = |what, given| from_variable(at, what, given, env, notes);
        let base = base.map(|base| read("api_base", base).unwrap_or_else(|variable| variable));
        let version = text(&mut params, "api_version").and_then(|version| read("api_version", version).ok());
        let region = text(&mut params, "aws_region_name");
        let region = region.map(|region| read("aws_region_name", region).unwrap_or_else(|variable| variable));
        let organization = text(&mut params, "organization");
        let organization =
            organization.map(|it| read("organization", it).unwrap_or_else(|variable| variable));
        let Some((mut provider, variable)) = address(&kind, &model, base.as_deref(), version.as_deref())
        else {
            notes.push(format!("{at}: a provider of kind {kind:?} has no counterpart yet and was left out"));
            return Ok(None);
        };
        if let Some(key) = key(at, text(&mut params, "api_key"), &kind, variable, keys, notes) {
            provider.insert("key".into(), Table::from_iter([("env".to_owned(), key.into())]).into());
        }
        if kind == "bedrock" {
            provider.insert("bedrock".into(), bedrock(at, region, &mut params, notes).into());
        }
        if let Some(organization) = organization {
            let header = ("OpenAI-Organization".to_owned(), organization.into());
            provider.insert("headers".into(), Table::from_iter([header]).into());
        }
        for (theirs, ours) in [("rpm", "requests"), ("tpm", "tokens")] {
            if let Some(limit) = params.get(theirs).and_then(Value::as_i64).filter(|limit| *limit > 0) {
                provider.insert(ours.into(), limit_table(limit).into());
            }
        }
        let rpm = params.remove("rpm").and_then(|it| it.as_u64());
        params.remove("tpm");
        let mut timeouts = Table::new();
        if let Some(period) = params.remove("timeout").and_then(|it| it.as_f64()).and_then(period) {
            timeouts.insert("total".into(), period.into());
        }
        if !timeouts.is_empty() {
            provider.insert("timeouts".into(), timeouts.into());
        }
        let weight = params.remove("weight").and_then(|it| it.as_u64()).or(rpm);
        let mut price = price(at, &model, &mut params, notes);
        let thinks = params.remove("supports_reasoning").and_then(|it| it.as_bool());
        if let (Some(price), Some(thinks)) = (&mut price, thinks) {
            price.insert("thinks".into(), if thinks { "always" } else { "never" }.into());
        }
        for (name, value) in &params {
            match name.as_str() {
                _ if value.is_null() => {}
                "stream_timeout" => notes.push(format!(
                    "{at}: stream_timeout was left out: `timeouts.first` of a provider bounds the first content \
                     of a stream, and the first byte of a whole answer as well"
                )),
                _ => notes.push(format!("{at}: litellm_params.{name} has no counterpart and was left out")),
            }
        }
        let kind = kind.trim_end_matches("_chat").trim_start_matches("hosted_").to_owned();
        Ok(Some(Self { kind, provider, model, weight, price }))
    }
}

/// The variables that keys go to.
#[derive(Default)]
pub(super) struct Keys {
    /// Those that the file names itself.
    pub(super) named: BTreeSet<String>,
    /// Keys that stood in the file, and where they go.
    given: Vec<(String, String)>,
}

impl Keys {
    /// The variable of a key that stood in the file, one for each key, and whether it is new.
    fn variable(&mut self, key: &str, wanted: &str) -> (String, bool) {
        if let Some((_, name)) = self.given.iter().find(|(known, _)| known == key) {
            return (name.clone(), false);
        }
        let taken = |name: &String| self.named.contains(name) || self.given.iter().any(|(_, it)| it == name);
        let mut names = std::iter::once(wanted.to_owned()).chain((2_u32..).map(|n| format!("{wanted}_{n}")));
        let name = names.find(|name| !taken(name)).unwrap_or_default();
        self.given.push((key.to_owned(), name.clone()));
        (name, true)
    }
}

fn text(of: &mut Map<String, Value>, name: &str) -> Option<String> {
    match of.remove(name) {
        Some(Value::String(text)) => Some(text),
        Some(Value::Null) | None => None,
        Some(other) => Some(other.to_string()),
    }
}

/// What was given, or what it says of a variable: what that holds now, as our addresses do not
/// come from variables; or else the variable's name, which is told.
fn from_variable(
    at: &str,
    what: &str,
    given: String,
    env: &Environment,
    notes: &mut Vec<String>,
) -> Result<String, String> {
    let Some(variable) = given.strip_prefix("os.environ/") else { return Ok(given) };
    let value = env.get(variable).filter(|value| !value.is_empty());
    notes.push(match value {
        Some(_) => format!("{at}: {what} is what the variable {variable} held when this was made"),
        None => format!(
            "{at}: {what}: the variable {variable} is not set here: write what it holds into this file"
        ),
    });
    value.cloned().ok_or_else(|| variable.to_owned())
}

/// What it costs where the file says it, or says which model it is.
fn price(at: &str, model: &str, params: &mut Map<String, Value>, notes: &mut Vec<String>) -> Option<Table> {
    let base = text(params, "base_model");
    let mut said = |name: &str| params.remove(name).as_ref().and_then(dollars_for_a_million);
    let said = match (said("input_cost_per_token"), said("output_cost_per_token")) {
        (None, None) => None,
        (input, output) => Some([("input", input), ("output", output)]),
    };
    if let Some(said) = said {
        return Some(
            said.map(|(name, it)| (name.to_owned(), it.unwrap_or("0".into()).into())).into_iter().collect(),
        );
    }
    let base = base?;
    let name = base.split_once('/').map_or(base.as_str(), |(_, name)| name);
    if name == model {
        return None;
    }
    let price = prices::listed(&[].into(), name).and_then(|(price, _)| Table::try_from(price).ok());
    if price.is_none() {
        notes.push(format!("{at}: base_model: no price of {name:?} is known: add [models.prices.{model:?}]"));
    }
    price
}

/// The provider's address, and the variable that its key is usually in.
fn address(
    kind: &str,
    model: &str,
    base: Option<&str>,
    version: Option<&str>,
) -> Option<(Table, &'static str)> {
    let mut table = Table::new();
    let base = base.map(|base| base.trim_end_matches('/'));
    let variable = match kind {
        "azure" => {
            let base = base.unwrap_or_default();
            table.insert("url".into(), format!("{base}/openai/deployments/{model}").into());
            let version = version.unwrap_or("2024-10-21");
            table.insert("query".into(), format!("api-version={version}").into());
            table.insert("key_header".into(), "api-key".into());
            // Deployments have none: they are another address of Azure's.
            table.insert("responses".into(), false.into());
            "AZURE_API_KEY"
        }
        "anthropic" => {
            table.insert("kind".into(), "anthropic".into());
            if let Some(base) = base {
                let base = if base.ends_with("/v1") { base.into() } else { format!("{base}/v1") };
                table.insert("url".into(), base.into());
            }
            "ANTHROPIC_API_KEY"
        }
        "bedrock" => {
            table.insert("kind".into(), "bedrock".into());
            if let Some(base) = base {
                table.insert("url".into(), base.into());
            }
            ""
        }
        _ => {
            let (_, usual, variable) = COMPATIBLE.iter().find(|(name, ..)| *name == kind)?;
            let url = match base {
                Some(base) if kind.starts_with("ollama") && !base.ends_with("/v1") => format!("{base}/v1"),
                Some(base) => base.into(),
                None => (*usual).into(),
            };
            if !url.is_empty() {
                table.insert("url".into(), url.into());
            }
            if LEGACY.contains(&kind) {
                table.insert("legacy_max_tokens".into(), true.into());
            }
            *variable
        }
    };
    Some((table, variable))
}

/// Where Bedrock is, and who asks there. What is not said comes from the variables that
/// Amazon's own tools read.
fn bedrock(
    at: &str,
    region: Option<String>,
    params: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) -> Table {
    let mut table = Table::new();
    if let Some(region) = region {
        table.insert("region".into(), region.into());
    }
    for (theirs, ours, usual) in [
        ("aws_access_key_id", "access_key_id", "AWS_ACCESS_KEY_ID"),
        ("aws_secret_access_key", "secret_access_key", "AWS_SECRET_ACCESS_KEY"),
        ("aws_session_token", "session_token", "AWS_SESSION_TOKEN"),
    ] {
        let Some(given) = text(params, theirs) else { continue };
        let name = given.strip_prefix("os.environ/").unwrap_or_else(|| {
            notes.push(format!("{at}: {theirs} stood in the file; put it into the variable {usual}"));
            usual
        });
        table.insert(ours.into(), Table::from_iter([("env".to_owned(), name.into())]).into());
    }
    if let Some(Value::Object(mut guardrail)) = params.remove("guardrailConfig") {
        for (theirs, ours) in
            [("guardrailIdentifier", "guardrail"), ("guardrailVersion", "guardrail_version")]
        {
            if let Some(value) = text(&mut guardrail, theirs) {
                table.insert(ours.into(), value.into());
            }
        }
    }
    table
}

/// The variable that holds the key, if one is wanted.
fn key(
    at: &str,
    given: Option<String>,
    kind: &str,
    variable: &str,
    keys: &mut Keys,
    notes: &mut Vec<String>,
) -> Option<String> {
    match given {
        Some(key) => match key.strip_prefix("os.environ/") {
            Some(name) => Some(name.to_owned()),
            None if kind.starts_with("ollama") || variable.is_empty() && key.len() < 8 => None,
            None => {
                let name = if variable.is_empty() {
                    format!("{}_API_KEY", kind.to_uppercase())
                } else {
                    variable.into()
                };
                let (name, new) = keys.variable(&key, &name);
                if new {
                    notes.push(format!("{at}: the key stood in the file; put it into the variable {name}"));
                }
                Some(name)
            }
        },
        None => (!variable.is_empty()).then(|| variable.to_owned()),
    }
}

/// So many a minute, all of them at once after a pause.
fn limit_table(limit: i64) -> Table {
    Table::from_iter([
        ("enabled".to_owned(), true.into()),
        ("permits".to_owned(), limit.into()),
        ("per".to_owned(), "1m".into()),
        ("burst".to_owned(), limit.into()),
    ])
}

/// Seconds in our writing.
pub(super) fn period(seconds: f64) -> Option<String> {
    let millis = (seconds * 1_000.0).round();
    if !(1.0..1e12).contains(&millis) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was looked at above")]
    let millis = millis as u64;
    Some(if millis.is_multiple_of(1_000) { format!("{}s", millis / 1_000) } else { format!("{millis}ms") })
}

/// Dollars for a token, moved six places, digit by digit: no float touches money.
fn dollars_for_a_million(token: &Value) -> Option<String> {
    let text = match token {
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        _ => return None,
    };
    let (digits, exponent) = match text.to_lowercase().split_once('e') {
        Some((digits, exponent)) => (digits.to_owned(), exponent.parse::<i32>().ok()?),
        None => (text.clone(), 0),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((&digits, ""));
    if whole.is_empty() && part.is_empty() || !whole.bytes().chain(part.bytes()).all(|it| it.is_ascii_digit())
    {
        return None;
    }
    let all = format!("{whole}{part}");
    let point = i32::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(6)?;
    if !(-30..=30).contains(&point) {
        return None;
    }
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let all = format!("{}{all}", zeros(1 - point));
    let point = point.max(1);
    let all = format!("{all}{}", zeros(point - i32::try_from(all.len()).ok()?));
    let (whole, part) = all.split_at(usize::try_from(point).ok()?);
    let (whole, part) = (whole.trim_start_matches('0'), part.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(if part.is_empty() { whole.into() } else { format!("{whole}.{part}") })
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn prices_are_moved_without_floats() {
        for (token, million) in [
            ("0.0000025", "2.5"),
            ("2.5e-06", "2.5"),
            ("1e-5", "10"),
            ("0.00003", "30"),
            ("1.5e-7", "0.15"),
            ("0", "0"),
            ("0.000000000001", "0.000001"),
        ] {
            assert_eq!(dollars_for_a_million(&Value::from(token)).as_deref(), Some(million), "{token}");
        }
        assert_eq!(dollars_for_a_million(&serde_json::json!(2.5e-6)).as_deref(), Some("2.5"));
        assert_eq!(dollars_for_a_million(&Value::from("cheap")), None);
        assert_eq!((period(1.5).as_deref(), period(60.0).as_deref()), (Some("1500ms"), Some("60s")));
    }
}
