use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use steadfast_core::RunId;

use super::{Global, key_or_new};
use crate::{client::segment, output, store::StoreArgs};

/// See [`super::Command::Runs`].
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// Runs, newest first.
    List(ListArgs),
    /// One run.
    Show(ShowArgs),
    /// Start a run.
    Start(StartArgs),
    /// Send a run a named value.
    Signal(SignalArgs),
    /// Ask a run to end; what it did is undone.
    Cancel(EndArgs),
    /// End a run at once; nothing is undone.
    Kill(EndArgs),
    /// Replay every open run against this binary without doing anything. For use before an
    /// upgrade; exit code 1 when one diverges.
    Check(super::verify::CheckArgs),
}

/// See [`RunsCommand::List`].
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only this status: running, waiting, compensating, parked, completed, failed, ….
    #[arg(long)]
    status: Option<String>,
    /// Only this workflow.
    #[arg(long)]
    workflow: Option<String>,
    /// Only with this label: NAME=VALUE. May be given more than once.
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// At most so many.
    #[arg(long)]
    limit: Option<u32>,
    /// Go on where an earlier page ended.
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

/// See [`RunsCommand::Show`].
#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Which.
    run: RunId,
    #[command(flatten)]
    store: StoreArgs,
}

/// See [`RunsCommand::Start`].
#[derive(Debug, Args)]
pub(crate) struct StartArgs {
    /// Which workflow.
    workflow: String,
    /// Its input as JSON.
    #[arg(default_value = "null", value_parser = value)]
    input: Value,
    /// To find it by: NAME=VALUE. May be given more than once.
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = label)]
    labels: Vec<(String, String)>,
    /// The idempotency key.
    #[arg(long)]
    key: Option<String>,
    /// Wait so many seconds for the outcome.
    #[arg(long, value_name = "SECONDS")]
    wait: Option<u64>,
}

/// See [`RunsCommand::Signal`].
#[derive(Debug, Args)]
pub(crate) struct SignalArgs {
    /// To which run.
    run: RunId,
    /// The signal's name.
    name: String,
    /// Its value as JSON.
    #[arg(default_value = "null", value_parser = value)]
    value: Value,
    /// The idempotency key.
    #[arg(long)]
    key: Option<String>,
}

/// See [`RunsCommand::Cancel`].
#[derive(Debug, Args)]
pub(crate) struct EndArgs {
    /// Which run.
    run: RunId,
    /// Why; it stands in the run's history.
    #[arg(long, default_value = "by hand")]
    reason: String,
}

fn value(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

fn label(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".into())
}

pub(crate) async fn run(command: RunsCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        RunsCommand::List(args) => {
            let reader = global.connection.reader(&args.store).await?;
            let answer = reader.get("/runs", &query(args)).await?;
            let columns = [
                ("ID", "id"),
                ("WORKFLOW", "workflow"),
                ("STATUS", "status"),
                ("PRINCIPAL", "principal"),
                ("CREATED", "created"),
            ];
            output::list(&answer, global.json, &columns)
        }
        RunsCommand::Show(args) => {
            let reader = global.connection.reader(&args.store).await?;
            let answer = reader.get(&format!("/runs/{}", args.run), &[]).await?;
            output::thing(&answer, global.json)
        }
        RunsCommand::Start(args) => {
            let client = global.connection.client()?;
            let labels: serde_json::Map<String, Value> =
                args.labels.into_iter().map(|(name, value)| (name, value.into())).collect();
            let body = json!({ "workflow": args.workflow, "input": args.input, "labels": labels });
            let key = key_or_new(args.key, global);
            let answer = client.post("/runs", Some(&key), args.wait, &body).await?;
            output::thing(&answer.body, global.json)
        }
        RunsCommand::Signal(args) => {
            let client = global.connection.client()?;
            let path = format!("/runs/{}/signals/{}", args.run, segment(&args.name));
            let key = key_or_new(args.key, global);
            client.post(&path, Some(&key), None, &args.value).await?;
            done(global, args.run, "signalled")
        }
        RunsCommand::Cancel(args) => end(global, args, "cancel").await,
        RunsCommand::Kill(args) => end(global, args, "kill").await,
        RunsCommand::Check(args) => super::verify::check(args, global).await,
    }
}

fn query(args: ListArgs) -> Vec<(&'static str, String)> {
    let single = [
        ("status", args.status),
        ("workflow", args.workflow),
        ("limit", args.limit.map(|limit| limit.to_string())),
        ("cursor", args.cursor),
    ];
    let single = single.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let labels = args.labels.into_iter().map(|label| ("label", label));
    single.chain(labels).collect()
}

async fn end(global: &Global, args: EndArgs, verb: &str) -> anyhow::Result<()> {
    let path = format!("/runs/{}/{verb}", args.run);
    let client = global.connection.client()?;
    client
        .post(&path, None, None, &json!({ "reason": args.reason }))
        .await
        .with_context(|| format!("run {} was not ended", args.run))?;
    done(global, args.run, verb)
}

fn done(global: &Global, run: RunId, what: &str) -> anyhow::Result<()> {
    if global.json {
        return output::json(&json!({ "id": run, "done": what }));
    }
    output::line(format!("run {run}: {what}"));
    Ok(())
}
