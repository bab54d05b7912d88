use std::num::NonZeroU32;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use steadfast_core::Failure;

use super::Global;
use crate::{client::segment, output};

/// See [`super::Command::Keys`].
#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// Make a key. It is shown once.
    Create(CreateArgs),
    /// All keys, and how they stand.
    List,
    /// End a key, at once and for good.
    Revoke {
        /// Its id, as `list` shows it.
        id: String,
    },
}

/// See [`KeysCommand::Create`].
#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What it is for.
    name: String,
    /// Whose calls they are.
    #[arg(long)]
    tenant: Option<String>,
    /// Which user's.
    #[arg(long)]
    user: Option<String>,
    /// A route that may be used; again for more. Without, all.
    #[arg(long = "route", value_name = "ROUTE")]
    routes: Vec<String>,
    /// A label of its calls; again for more.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Until when it is good, such as 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    /// Calls a minute.
    #[arg(long, value_name = "COUNT")]
    requests_per_minute: Option<NonZeroU32>,
    /// Tokens a minute.
    #[arg(long, value_name = "COUNT")]
    tokens_per_minute: Option<NonZeroU32>,
    /// Dollars that it may spend, such as 12.50.
    #[arg(long, value_name = "USD")]
    budget: Option<String>,
    /// When the budget begins anew: day, month or total.
    #[arg(long, value_name = "WINDOW", requires = "budget", default_value = "month")]
    window: String,
}

pub(crate) async fn run(command: KeysCommand, global: &Global) -> anyhow::Result<()> {
    let client = global.connection.client()?;
    match command {
        KeysCommand::Create(args) => {
            let made = client.post("/models/keys", None, None, &request(args)?).await?.body;
            if global.json {
                return output::json(&made);
            }
            output::line(output::cell(&made, "secret"));
            output::note(format!(
                "its id is {}; keep the key now, it is not shown again",
                output::cell(&made, "id")
            ));
            Ok(())
        }
        KeysCommand::List => {
            let answer = client.get("/models/keys", &[]).await?;
            if global.json {
                return output::json(&answer);
            }
            let rows: Vec<_> = output::items(&answer).iter().map(row).collect();
            let columns = [
                "ID",
                "NAME",
                "STATE",
                "TENANT",
                "USER",
                "ROUTES",
                "LABELS",
                "CALLS/MIN",
                "TOKENS/MIN",
                "BUDGET",
                "SPENT",
                "EXPIRES",
            ];
            output::table(&columns, &rows);
            output::line("");
            output::line("SPENT is what calls under the key cost this month, in dollars.");
            Ok(())
        }
        KeysCommand::Revoke { id } => {
            let gone = client.delete(&format!("/models/keys/{}", segment(&id)), &[]).await?;
            if global.json {
                return output::json(&gone);
            }
            output::line(format!("{id} is revoked"));
            Ok(())
        }
    }
}

/// A key, as it is listed.
fn row(key: &Value) -> Vec<String> {
    let some = |text: String| if text.is_empty() { "-".into() } else { text };
    let routes = key["routes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let routes: Vec<_> = routes.iter().filter_map(Value::as_str).collect();
    let labels = key["labels"].as_object().into_iter().flatten();
    let labels: Vec<_> =
        labels.map(|(name, value)| format!("{name}={}", value.as_str().unwrap_or_default())).collect();
    let budget = match key["budget"]["window"].as_str() {
        Some(window) => {
            format!("{} a {window}", output::cell(key, "budget.limit")).replace("a total", "in all")
        }
        None => "-".into(),
    };
    let mut cells = ["id", "name", "state", "tenant", "user"].map(|field| output::cell(key, field)).to_vec();
    cells.extend([some(routes.join(",")), some(labels.join(","))]);
    cells.extend(["requests_per_minute", "tokens_per_minute"].map(|field| output::cell(key, field)));
    cells.extend([budget, output::cell(key, "spent_usd"), output::cell(key, "expires")]);
    cells
}

/// What the server is asked for: only what was said.
fn request(args: CreateArgs) -> anyhow::Result<Value> {
    let mut labels = Map::new();
    for label in &args.labels {
        let Some((name, value)) = label.split_once('=') else {
            let message = format!("{label:?} is not a label such as team=search");
            return Err(Failure::refused("request.invalid", message).into());
        };
        labels.insert(name.into(), value.into());
    }
    let budget = args.budget.map(|limit| json!({ "limit": limit, "window": args.window }));
    let members = [
        ("name", Some(json!(args.name))),
        ("tenant", args.tenant.map(Into::into)),
        ("user", args.user.map(Into::into)),
        ("routes", Some(json!(args.routes))),
        ("labels", Some(Value::Object(labels))),
        ("expires", args.expires.map(Into::into)),
        ("requests_per_minute", args.requests_per_minute.map(|it| json!(it))),
        ("tokens_per_minute", args.tokens_per_minute.map(|it| json!(it))),
        ("budget", budget),
    ];
    let said = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Ok(Value::Object(said.collect()))
}
