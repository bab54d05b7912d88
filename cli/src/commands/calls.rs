use clap::Args;
use serde_json::json;
use steadfast_models::record::{self, CallRecord, Wanted};

use super::Global;
use crate::{
    output,
    store::{StoreArgs, blocking},
};

/// See [`super::models::ModelsCommand::Calls`].
#[derive(Debug, Args)]
pub(crate) struct CallsArgs {
    /// The one with this `X-Request-Id`, which errors call their support id.
    #[arg(long)]
    id: Option<String>,
    /// Those of a run.
    #[arg(long)]
    run: Option<String>,
    /// Those under a virtual key.
    #[arg(long)]
    key: Option<String>,
    /// Those of a user.
    #[arg(long = "user")]
    whose: Option<String>,
    /// Those before the call of this number.
    #[arg(long, value_name = "NUMBER")]
    before: Option<u64>,
    /// So many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 20)]
    limit: usize,
    #[command(flatten)]
    store: StoreArgs,
}

/// Asks the server that is named, or reads the file of records beside the store, whether a server
/// writes it or not.
pub(crate) async fn run(args: CallsArgs, global: &Global) -> anyhow::Result<()> {
    let CallsArgs { id, run, key, whose: user, before, limit, store } = args;
    let calls: Vec<CallRecord> = if let Some(server) = global.connection.server_instead(&store)? {
        let before = before.map(|n| n.to_string());
        let all = [("id", id), ("run", run), ("key", key), ("user", user), ("before", before)];
        let mut query: Vec<_> = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        query.push(("limit", limit.to_string()));
        let mut page = server.get("/models/calls", &query).await?;
        serde_json::from_value(page["items"].take())?
    } else {
        let file = store.url()?.records_path();
        let wanted = Wanted { id, run, key, user, before, limit, tenant: None };
        blocking(move || Ok(record::calls(&file, &wanted)?)).await?
    };
    if global.json {
        return output::json(&json!({ "items": calls }));
    }
    if calls.is_empty() {
        output::line("There are no such calls.");
        return Ok(());
    }
    let rows: Vec<_> = calls.iter().map(row).collect();
    let columns =
        ["N", "BEGUN", "STATE", "STATUS", "ASKED", "ANSWERED BY", "CACHE", "TRIED", "IN", "OUT", "USD", "MS"];
    output::table(&columns, &rows);
    Ok(())
}

fn row(it: &CallRecord) -> Vec<String> {
    let some = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let status =
        if it.code.is_empty() { it.status.to_string() } else { format!("{} {}", it.status, it.code) };
    let about = if it.estimated { "~" } else { "" };
    vec![
        it.n.to_string(),
        it.begun.to_string(),
        it.state.clone(),
        status,
        some(&it.asked),
        some(&it.provider),
        some(&it.cache),
        some(&it.tried),
        it.input.to_string(),
        format!("{about}{}", it.output),
        it.cost_usd.map_or("-".to_owned(), |cost| format!("{about}{cost}")),
        (it.total_us / 1_000).to_string(),
    ]
}
