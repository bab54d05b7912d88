use clap::Args;
use serde_json::json;
use steadfast_core::{Failure, World};
use steadfast_models::record::{self, By, Cost};

use super::Global;
use crate::{
    output,
    store::{StoreArgs, blocking},
};

/// See [`super::Command::Costs`].
#[derive(Debug, Args)]
pub(crate) struct CostsArgs {
    /// team, key, user, tenant, workflow, model, route, provider, budget or label:NAME.
    #[arg(long, default_value = "model")]
    by: By,
    /// The month, UTC, such as 2026-11; else the present one.
    #[arg(long, value_name = "YYYY-MM")]
    month: Option<String>,
    /// As comma-separated values.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    #[command(flatten)]
    store: StoreArgs,
}

/// Asks the server that is named, or reads the file of records beside the store, whether a server
/// writes it or not.
pub(crate) async fn run(args: CostsArgs, global: &Global) -> anyhow::Result<()> {
    let month = args.month.unwrap_or_else(|| World::system().now().to_string().chars().take(7).collect());
    let (by, wanted) = (args.by, month.clone());
    let costs: Vec<Cost> = if let Some(server) = global.connection.server_instead(&args.store)? {
        let query = [("by", by.to_string()), ("month", wanted)];
        let mut page = server.get("/models/costs", &query).await?;
        serde_json::from_value(page["items"].take())?
    } else {
        let file = args.store.url()?.records_path();
        let costs = blocking(move || Ok(record::costs(&file, &wanted, &by, None)?)).await?;
        costs.ok_or_else(|| {
            let message = format!("{month:?} is not a month such as 2026-11");
            Failure::refused("costs.invalid_month", message)
        })?
    };
    if global.json {
        return output::json(&json!({ "month": month, "items": costs }));
    }
    if args.csv {
        output::line("name,key_name,calls,unpriced,input_tokens,cached_tokens,output_tokens,cost_usd");
        for cost in &costs {
            output::line(csv(cost));
        }
        return Ok(());
    }
    let row = |it: &Cost| {
        let name = match &it.key_name {
            Some(called) => format!("{} ({called})", it.name),
            None if it.name.is_empty() => "-".into(),
            None => it.name.clone(),
        };
        let mut row = vec![name];
        row.extend([it.calls, it.unpriced, it.input, it.cached, it.output].map(|n| n.to_string()));
        row.push(it.cost.to_string());
        row
    };
    let rows: Vec<_> = costs.iter().map(row).collect();
    output::table(&["NAME", "CALLS", "UNPRICED", "IN", "CACHED", "OUT", "USD"], &rows);
    Ok(())
}

/// RFC 4180: quotes where a name needs them.
fn csv(cost: &Cost) -> String {
    let quoted = |text: &str| {
        let needed = text.contains([',', '"', '\n', '\r']);
        if needed { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
    };
    let Cost { name, key_name, calls, unpriced, input, cached, output, cost } = cost;
    let (name, key_name) = (quoted(name), quoted(key_name.as_deref().unwrap_or_default()));
    format!("{name},{key_name},{calls},{unpriced},{input},{cached},{output},{cost}")
}
