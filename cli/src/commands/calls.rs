use clap::Args;
use serde_json::json;
use steadfast_core::Failure;
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
    /// Those under a virtual key: its id, or where a server is asked its name.
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
    let server = global.connection.server_instead(&store)?;
    let local = server.is_none();
    let calls: Vec<CallRecord> = if let Some(server) = server {
        let before = before.map(|n| n.to_string());
        let all = [("id", id), ("run", run), ("key", key), ("user", user), ("before", before)];
        let mut query: Vec<_> = all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        query.push(("limit", limit.to_string()));
        let mut page = server.get("/models/calls", &query).await?;
        serde_json::from_value(page["items"].take())?
    } else {
        if let Some(key) = key.as_ref().filter(|key| !key.starts_with("key-")) {
            let message = format!(
                "{key:?} is no id of a key such as `steadfast keys list` shows; names are known to the server: \
                 ask it with --url or --token"
            );
            return Err(Failure::refused("request.invalid", message).into());
        }
        let file = store.url()?.records_path();
        let wanted = Wanted { id, run, key, user, before, limit, tenant: None };
        blocking(move || Ok(record::calls(&file, &wanted)?)).await?
    };
    if global.json {
        return output::json(&json!({ "items": calls }));
    }
    if calls.is_empty() {
        output::line("There are no such calls.");
        if local {
            output::line(
                "A server that runs writes its calls down about a second later; with --url it does at once.",
            );
        }
        return Ok(());
    }
    let rows: Vec<_> = calls.iter().map(row).collect();
    let columns =
        ["N", "BEGUN", "STATE", "STATUS", "ASKED", "ANSWERED BY", "CACHE", "TRIED", "IN", "OUT", "USD", "MS"];
    output::table(&columns, &rows);
    if calls.iter().any(|it| it.estimated) {
        output::line("");
        output::line("~  counted here: no provider told all of it");
    }
    Ok(())
}

fn row(it: &CallRecord) -> Vec<String> {
    let some = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    let status = match (it.code.as_str(), it.degraded.as_str()) {
        ("", "") => it.status.to_string(),
        ("", _) => format!("{} degraded", it.status),
        (code, _) => format!("{} {code}", it.status),
    };
    let about = if it.estimated { "~" } else { "" };
    vec![
        it.n.to_string(),
        it.begun.to_string(),
        it.state.clone(),
        status,
        some(&it.asked),
        some(answered_by(it)),
        some(&it.cache),
        some(&it.tried),
        it.input.to_string(),
        format!("{about}{}", it.output),
        it.cost_usd.map_or("-".to_owned(), |cost| format!("{about}{cost}")),
        (it.total_us / 1_000).to_string(),
    ]
}

/// Who gave the client an answer, or a part of one.
fn answered_by(it: &CallRecord) -> &str {
    let begun = it.first_us.is_some() || (it.state == "done" && it.status < 400);
    match (it.degraded.as_str(), it.cache.as_str()) {
        ("", "hit" | "similar") => "cached",
        ("", _) if begun => &it.provider,
        (degraded, _) => degraded,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_did_not_answer_is_not_named_as_if_it_had() {
        let record = |value: serde_json::Value| {
            let mut all = serde_json::json!({
                "n": 1, "state": "done", "begun": "2026-11-01T00:00:00Z", "id": "", "tenant": "default", "user": "",
                "key": "", "run": "", "budget": "", "labels": "", "operation": "chat", "stream": false, "asked": "m",
                "route": "m", "provider": "second", "model": "m", "attempts": 1, "tried": "", "cache": "",
                "degraded": "", "status": 200, "code": "", "input": 0, "cached": 0, "cache_written": 0,
                "output": 0, "cost_usd": null, "estimated": false, "queued_us": 0, "first_us": null, "total_us": 0,
            });
            let all_of = all.as_object_mut().expect("an object");
            all_of.extend(value.as_object().cloned().expect("an object"));
            serde_json::from_value::<CallRecord>(all).expect("a record")
        };
        for (value, status, by) in [
            (json!({}), "200", "second"),
            (json!({ "degraded": "template", "cache": "miss" }), "200 degraded", "template"),
            (json!({ "degraded": "cached", "cache": "hit" }), "200 degraded", "cached"),
            (json!({ "cache": "hit" }), "200", "cached"),
            (json!({ "status": 502, "code": "provider.error" }), "502 provider.error", "-"),
            (json!({ "status": 502, "code": "provider.cut", "first_us": 7 }), "502 provider.cut", "second"),
            (json!({ "state": "open", "status": 0 }), "0", "-"),
        ] {
            let row = row(&record(value));
            assert_eq!((row[3].as_str(), row[5].as_str()), (status, by));
        }
    }
}
