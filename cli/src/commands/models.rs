use clap::Subcommand;
use serde_json::{Value, json};
use steadfast_core::Failure;

use super::{
    Global,
    calls::{self, CallsArgs},
    price::{self, PriceArgs},
};
use crate::output;

/// See [`super::Command::Models`].
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Which models can be asked for, who answers them, and how the providers are.
    List,
    /// Ask every provider for something small. Exit code 1 if one does not answer.
    Test {
        /// Only those who answer this model; needed where a route takes any.
        model: Option<String>,
    },
    /// What a model costs, and where that is known from.
    Price(PriceArgs),
    /// Calls of late, the newest first: who asked whom, how long it took, how it ended, what it
    /// cost. Nothing that was said is kept.
    Calls(CallsArgs),
}

pub(crate) async fn run(command: ModelsCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        ModelsCommand::Price(args) => price::run(args, global),
        ModelsCommand::Calls(args) => calls::run(args, global).await,
        ModelsCommand::List => {
            let client = global.connection.client()?;
            let answer = client.get("/models", &[]).await?;
            if global.json {
                output::json(&answer)?;
            } else {
                list(&answer);
            }
            Ok(())
        }
        ModelsCommand::Test { model } => {
            let client = global.connection.client()?;
            let answer = client.post("/models/test", None, None, &json!({ "model": model })).await?.body;
            if global.json {
                output::json(&answer)?;
            } else {
                tested(&answer);
            }
            judged(&answer)
        }
    }
}

fn list(answer: &Value) {
    if answer["enabled"] == false {
        output::line("Models are not served: see models.enabled.");
    }
    let routes = answer["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if routes.is_empty() {
        output::line("No models are configured: set OPENAI_API_KEY or ANTHROPIC_API_KEY where the server");
        output::line("runs, or add [models.providers.NAME] to its configuration and reload it.");
        return;
    }
    let rows: Vec<_> = routes.iter().map(route).collect();
    output::table(&["ROUTE", "MODELS", "ANSWERED BY"], &rows);
    output::line("");
    let rows: Vec<_> = output::items(&answer["providers"]).iter().map(provider).collect();
    output::table(&["PROVIDER", "KIND", "URL", "BREAKER"], &rows);
    output::line("");
    output::line(format!("Models are {}.", output::cell(answer, "health")));
}

fn provider(provider: &Value) -> Vec<String> {
    let mut cells: Vec<_> =
        ["name", "kind", "url", "breaker"].map(|field| output::cell(provider, field)).to_vec();
    if let Some(seconds) = provider["paused_seconds"].as_u64() {
        cells[3] = format!("{}, paused for {seconds} s", cells[3]);
    }
    cells
}

fn route(route: &Value) -> Vec<String> {
    let names = route["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    let targets = route["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let target = |target: &Value| {
        let provider = output::cell(target, "provider");
        let model = target["model"].as_str().map(|model| format!(": {model}")).unwrap_or_default();
        let share = target["share"].as_f64().map(|share| format!(" ({} %)", percent(share)));
        let simple = if target["simple"] == true { " (simple calls)" } else { "" };
        format!("{provider}{model}{}{simple}", share.unwrap_or_default())
    };
    let targets: Vec<_> = targets.iter().map(target).collect();
    let names = if names.is_empty() { "-".into() } else { names.join(", ") };
    vec![output::cell(route, "name"), names, targets.join(", then ")]
}

/// A share to a tenth of a percent, without a zero that says nothing.
fn percent(share: f64) -> f64 {
    (share * 1_000.0).round() / 10.0
}

fn tested(answer: &Value) {
    let row = |probe: &Value| {
        let said = probe["message"].as_str().map_or_else(
            || "answers".to_owned(),
            |message| format!("{message} ({})", output::cell(probe, "code")),
        );
        let took = format!("{} ms", output::cell(probe, "took_ms"));
        vec![output::cell(probe, "provider"), output::cell(probe, "model"), took, said]
    };
    let rows: Vec<_> = output::items(answer).iter().map(row).collect();
    output::table(&["PROVIDER", "MODEL", "TOOK", ""], &rows);
}

fn judged(answer: &Value) -> anyhow::Result<()> {
    let probes = output::items(answer);
    let failed = probes.iter().filter(|probe| probe["ok"] != true).count();
    match (failed, probes.len()) {
        (_, 0) => {
            let message = "no models are configured: see `steadfast models list`";
            Err(Failure::refused("models.none", message).into())
        }
        (0, _) => Ok(()),
        (failed, all) => {
            let message = format!("{failed} of {all} did not answer");
            Err(Failure::upstream("models.unwell", message).into())
        }
    }
}
