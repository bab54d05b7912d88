use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use steadfast_core::World;
use steadfast_log::{Log as _, Position, Recorded, newest};

use super::Global;
use crate::{output, store::StoreArgs};

const PAGE: usize = 1_000;
/// How often a store is looked at, and how many seconds a server is asked to wait.
const FOLLOW_EVERY: Duration = Duration::from_millis(200);
const FOLLOW_WAIT: u64 = 20;

/// See [`super::Command::Events`].
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Write the whole log as JSON lines: enough to recompute every balance elsewhere.
    Export(ExportArgs),
    /// Show the last events, and go on with --follow. Asks the server, or reads the store
    /// that is named.
    Tail(TailArgs),
}

/// See [`EventsCommand::Export`].
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Begin after this position, as an earlier line gave it.
    #[arg(long, value_name = "POSITION", value_parser = position)]
    after: Option<Position>,
    /// Write to a file instead of stdout.
    #[arg(long, short, value_name = "FILE")]
    output: Option<std::path::PathBuf>,
    #[command(flatten)]
    store: StoreArgs,
}

/// See [`EventsCommand::Tail`].
#[derive(Debug, Args)]
pub(crate) struct TailArgs {
    /// Only this stream, TENANT/CATEGORY/NAME, or those that begin so: default/run.
    #[arg(long)]
    stream: Option<String>,
    /// How many.
    #[arg(long, short = 'n', default_value_t = 20)]
    lines: usize,
    /// Go on as events are written.
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    store: StoreArgs,
}

fn position(text: &str) -> Result<Position, String> {
    text.parse()
}

pub(crate) async fn run(command: EventsCommand, global: &Global) -> anyhow::Result<()> {
    match command {
        EventsCommand::Export(args) => export(args).await,
        EventsCommand::Tail(args) => tail(args, global).await,
    }
}

/// An event as one line of an export. Bodies that are not JSON are hexadecimal text.
pub(crate) fn exported(recorded: &Recorded) -> Value {
    let event = &recorded.event;
    let body = match event.body.as_ref() {
        [] => Value::Null,
        bytes => serde_json::from_slice(bytes).unwrap_or_else(|_| hex::encode(bytes).into()),
    };
    json!({
        "position": recorded.position,
        "stream": recorded.stream,
        "version": recorded.version,
        "id": event.id,
        "type": event.kind,
        "schema": event.schema,
        "time": event.time,
        "causation": event.causation,
        "correlation": event.correlation,
        "session": event.session,
        "key_id": event.key_id,
        "commit_ends": recorded.ends,
        "body": body,
    })
}

async fn export(args: ExportArgs) -> anyhow::Result<()> {
    let log = args.store.read_only().await?;
    let mut out: Box<dyn std::io::Write> = match &args.output {
        None => Box::new(std::io::BufWriter::new(std::io::stdout().lock())),
        Some(path) => {
            let file = std::fs::File::create(path)
                .with_context(|| format!("{} cannot be written", path.display()))?;
            Box::new(std::io::BufWriter::new(file))
        }
    };
    // What is written from here on is left to the next export.
    let end = log.tail().borrow().n;
    let bar = output::progress(end, "events");
    let mut after = args.after.unwrap_or(Position::START);
    loop {
        let page = log.read_all(after, PAGE).await?;
        if page.events.is_empty() {
            break;
        }
        for recorded in &page.events {
            serde_json::to_writer(&mut out, &exported(recorded))?;
            out.write_all(b"\n")?;
        }
        after = page.next;
        bar.set_position(after.n);
        if after.n >= end {
            break;
        }
    }
    out.flush().context("the export cannot be written")?;
    bar.finish_and_clear();
    Ok(())
}

async fn tail(args: TailArgs, global: &Global) -> anyhow::Result<()> {
    if args.store.store.is_some() {
        return tail_of_store(args, global.json).await;
    }
    let client = global.connection.client()?;
    let stream = args.stream.map(|stream| ("stream", stream));
    let mut query = vec![("last", args.lines.to_string())];
    loop {
        query.extend(stream.clone());
        let page = client.get("/events", &query).await?;
        for event in output::items(&page) {
            let columns = ["time", "position", "subject", "streamversion", "type"];
            show(&event, &columns, global.json);
        }
        if !args.follow {
            return Ok(());
        }
        let after = output::cell(&page, "next");
        query = vec![("after", after), ("wait", FOLLOW_WAIT.to_string())];
    }
}

async fn tail_of_store(args: TailArgs, as_json: bool) -> anyhow::Result<()> {
    let log = args.store.read_only().await?;
    let world = World::system();
    let wanted = |recorded: &Recorded| {
        let under = |prefix: &String| recorded.stream.as_str().starts_with(prefix);
        args.stream.as_ref().is_none_or(under)
    };
    let mut page = newest(&log, args.lines, wanted).await?;
    loop {
        for recorded in page.events.iter().filter(|recorded| wanted(recorded)) {
            let columns = ["time", "position", "stream", "version", "type"];
            show(&exported(recorded), &columns, as_json);
        }
        if !args.follow {
            return Ok(());
        }
        // The writer is another process: it cannot wake this one.
        world.clock().sleep(FOLLOW_EVERY).await;
        page = log.read_all(page.next, PAGE).await?;
    }
}

fn show(event: &Value, columns: &[&str], as_json: bool) {
    if as_json {
        output::line(event.to_string());
    } else {
        let cells = columns.iter().map(|column| output::cell(event, column));
        output::line(cells.collect::<Vec<_>>().join("  "));
    }
}
