use std::{io::Write as _, time::Duration};

use anyhow::Context as _;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use steadfast_core::World;
use steadfast_log::{Log, Position, Recorded, StreamId};

use super::Global;
use crate::{output, store::StoreArgs};

const PAGE: usize = 1_000;
const FOLLOW_EVERY: Duration = Duration::from_millis(200);

/// See [`super::Command::Events`].
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// Write the whole log as JSON lines: enough to recompute every balance elsewhere.
    Export(ExportArgs),
    /// Show the last events, and go on with --follow.
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
    /// Only this stream: TENANT/CATEGORY/NAME.
    #[arg(long, value_parser = stream)]
    stream: Option<StreamId>,
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

fn stream(text: &str) -> Result<StreamId, String> {
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
    let log = args.store.read_only().await?;
    let world = World::system();
    let mut next = match &args.stream {
        Some(stream) => Next::Stream(log.head(stream).await?),
        None => Next::All(Position {
            n: 0,
            ..*log.tail().borrow()
        }),
    };
    let mut last = last(&log, &args, &mut next).await?;
    loop {
        for recorded in &last {
            show(recorded, global.json);
        }
        if !args.follow {
            return Ok(());
        }
        // The writer is another process: it cannot wake this one.
        world.clock().sleep(FOLLOW_EVERY).await;
        last = match &mut next {
            Next::All(after) => {
                let page = log.read_all(*after, PAGE).await?;
                *after = page.next;
                page.events
            }
            Next::Stream(version) => {
                let Some(stream) = &args.stream else {
                    return Ok(());
                };
                let events = log.read_stream(stream, *version + 1, PAGE).await?;
                *version = events.last().map_or(*version, |last| last.version);
                events
            }
        };
    }
}

/// Where the next events begin.
enum Next {
    All(Position),
    Stream(u64),
}

async fn last(log: &dyn Log, args: &TailArgs, next: &mut Next) -> anyhow::Result<Vec<Recorded>> {
    if let Some(stream) = &args.stream {
        let mut events = log.read_stream_back(stream, u64::MAX, args.lines).await?;
        events.reverse();
        return Ok(events);
    }
    // The log is read forward only, so begin near its end and keep the last ones.
    let tail = *log.tail().borrow();
    let mut after = Position {
        n: tail.n.saturating_sub(4 * args.lines as u64),
        ..tail
    };
    let mut events = Vec::new();
    loop {
        let page = log.read_all(after, PAGE).await?;
        after = page.next;
        if page.events.is_empty() {
            break;
        }
        events.extend(page.events);
    }
    *next = Next::All(after);
    let cut = events.len().saturating_sub(args.lines);
    Ok(events.split_off(cut))
}

fn show(recorded: &Recorded, as_json: bool) {
    let value = exported(recorded);
    if as_json {
        output::line(value.to_string());
        return;
    }
    output::line(format!(
        "{}  {}  {} {}  {}",
        recorded.event.time,
        recorded.position,
        recorded.stream,
        recorded.version,
        recorded.event.kind
    ));
}
