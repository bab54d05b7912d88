use clap::{Args, Subcommand};
use serde_json::json;

use super::Global;
use crate::{client::segment, output, store::StoreArgs};

/// See [`super::Command::DeadLetters`].
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// What gave up, newest first.
    List(ListArgs),
    /// One of them, with its cause and input.
    Show {
        /// Which.
        id: String,
        #[command(flatten)]
        store: StoreArgs,
    },
    /// Try again: a run goes on at its failed step, or from the start if any of it was undone.
    Replay {
        /// Which.
        id: String,
    },
}

/// See [`DeadLettersCommand::List`].
#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// open, replayed or expired.
    #[arg(long)]
    status: Option<String>,
    /// At most so many.
    #[arg(long)]
    limit: Option<u32>,
    /// Go on where an earlier page ended.
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
}

pub(crate) async fn run(command: DeadLettersCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        DeadLettersCommand::List(args) => {
            let reader = global.connection.reader(&args.store).await?;
            let query = [
                ("status", args.status),
                ("limit", args.limit.map(|limit| limit.to_string())),
                ("cursor", args.cursor),
            ];
            let query: Vec<_> = query.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let answer = reader.get("/dead-letters", &query).await?;
            let columns = [
                ("ID", "id"),
                ("KIND", "kind"),
                ("STATUS", "status"),
                ("RUN", "run"),
                ("WORKFLOW", "workflow"),
                ("CAUSE", "cause.code"),
                ("SINCE", "created"),
            ];
            output::list(&answer, global.json, &columns)
        }
        DeadLettersCommand::Show { id, store } => {
            let reader = global.connection.reader(&store).await?;
            let answer = reader.get(&format!("/dead-letters/{}", segment(&id)), &[]).await?;
            output::thing(&answer, global.json)
        }
        DeadLettersCommand::Replay { id } => {
            let path = format!("/dead-letters/{}/replay", segment(&id));
            let answer = global.connection.client()?.post(&path, None, None, &json!({})).await?;
            if global.json {
                return output::json(&answer.body);
            }
            output::line(format!("dead letter {id} is replayed"));
            Ok(())
        }
    }
}
