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
            if global.json { output::json(&answer) } else { list(&answer) }
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

fn list(answer: &Value) -> anyhow::Result<()> {
    if answer["enabled"] == false {
        output::line("Models are not served: see models.enabled.");
    }
    let routes = answer["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if routes.is_empty() {
        output::line("No models are configured: set OPENAI_API_KEY or ANTHROPIC_API_KEY where the server");
        output::line("runs, or add [models.providers.NAME] to its configuration and reload it.");
        return Ok(());
    }
    let rows: Vec<_> = routes.iter().map(route).collect();
    output::table(&["ROUTE", "MODELS", "ANSWERED BY"], &rows);
    output::line("");
    let columns = [("PROVIDER", "name"), ("KIND", "kind"), ("URL", "url"), ("BREAKER", "breaker")];
    output::list(&answer["providers"], false, &columns)?;
    output::line("");
    output::line(format!("Models are {}.", output::cell(answer, "health")));
    Ok(())
}

fn route(route: &Value) -> Vec<String> {
    let names = route["models"].as_array().map(Vec::as_slice).unwrap_or_default();
    let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
    let targets = route["targets"].as_array().map(Vec::as_slice).unwrap_or_default();
    let target = |target: &Value| {
        let provider = output::cell(target, "provider");
        target["model"].as_str().map_or_else(|| provider.clone(), |model| format!("{provider}: {model}"))
    };
    let targets: Vec<_> = targets.iter().map(target).collect();
    let names = if names.is_empty() { "-".into() } else { names.join(", ") };
    vec![output::cell(route, "name"), names, targets.join(", then ")]
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
