use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
};

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use steadfast_core::Failure;

use super::Global;
use crate::{client::Client, output};

/// Lines that are sent in one request.
const LINES_MAX: usize = 500;
/// Bytes that are sent in one request, unless one line alone has more.
const BYTES_MAX: usize = 4 << 20;

/// See [`super::Command::Cache`].
#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// How many answers are kept, and how often they help.
    Stats,
    /// Forget kept answers: those that fit all that is said.
    Invalidate(InvalidateArgs),
    /// Keep answers that nobody has asked for yet: lines of JSON, each with `request` and
    /// `answer` as they go over the wire, perhaps `operation`, `user` and `headers`.
    Warm {
        /// The file.
        file: PathBuf,
    },
}

/// See [`CacheCommand::Invalidate`].
#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct InvalidateArgs {
    /// Of this operation.
    #[arg(long)]
    operation: Option<Operation>,
    /// Of this user.
    #[arg(long)]
    user: Option<String>,
    /// With this tag, as calls name it in `x-steadfast-tags`.
    #[arg(long)]
    tag: Option<String>,
    /// All of the tenant.
    #[arg(long)]
    all: bool,
}

/// What answers are to.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Operation {
    Chat,
    Messages,
    Embeddings,
}

impl Operation {
    const fn name(self) -> &'static str {
        match self {
            Self::Chat => "chat",
            Self::Messages => "messages",
            Self::Embeddings => "embeddings",
        }
    }
}

pub(crate) async fn run(command: CacheCommand, global: &Global) -> anyhow::Result<()> {
    let client = global.connection.client()?;
    match command {
        CacheCommand::Stats => output::thing(&client.get("/models/cache", &[]).await?, global.json),
        CacheCommand::Invalidate(args) => {
            let which = json!({
                "operation": args.operation.map(Operation::name), "user": args.user, "tag": args.tag,
                "all": args.all,
            });
            let answer = client.post("/models/cache/invalidate", None, None, &which).await?;
            output::thing(&answer.body, global.json)
        }
        CacheCommand::Warm { file } => warm(&client, file, global).await,
    }
}

async fn warm(client: &Client, file: PathBuf, global: &Global) -> anyhow::Result<()> {
    let unread = || format!("{} cannot be read", file.display());
    let opened = std::fs::File::open(&file).with_context(unread)?;
    let bar = output::progress(opened.metadata().with_context(unread)?.len(), "bytes");
    let mut lines = BufReader::new(opened).lines();
    let (mut kept, mut refused, mut sent) = (0, Vec::new(), 0);
    loop {
        let mut batch = String::new();
        let mut size = 0;
        while size < LINES_MAX && batch.len() < BYTES_MAX {
            let Some(line) = lines.next() else { break };
            batch.push_str(&line.with_context(unread)?);
            batch.push('\n');
            size += 1;
        }
        if size == 0 {
            break;
        }
        bar.inc(u64::try_from(batch.len()).unwrap_or(0));
        let answer = client.post_text("/models/cache/warm", batch).await?;
        kept += answer["kept"].as_u64().unwrap_or(0);
        for line in answer["refused"].as_array().into_iter().flatten() {
            let number = line["line"].as_u64().unwrap_or(0) + sent;
            refused.push(json!({ "line": number, "why": line["why"] }));
        }
        sent += u64::try_from(size).unwrap_or(0);
    }
    bar.finish_and_clear();
    told(kept, &refused, global)
}

fn told(kept: u64, refused: &[Value], global: &Global) -> anyhow::Result<()> {
    if global.json {
        output::json(&json!({ "kept": kept, "refused": refused }))?;
    } else {
        output::line(format!("{kept} answers are kept"));
        for line in refused {
            output::note(format!("line {}: {}", line["line"], output::cell(line, "why")));
        }
    }
    if kept == 0 && !refused.is_empty() {
        let message = format!("none of {} lines was kept", refused.len());
        return Err(Failure::refused("cache.nothing_kept", message).into());
    }
    Ok(())
}
