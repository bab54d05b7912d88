//! Does a store hold together? The bank's books, the engine's promises and every derived
//! table, each against a fold of the log.

use std::collections::BTreeMap;

use serde::Serialize;
use steadfast_core::World;
use steadfast_engine::{Audit, record::RUN};
use steadfast_log::{Derived, EventType, Log, Position};
use steadfast_log_sqlite::SqliteLog;

use crate::output;

const PAGE: usize = 1_000;
/// More problems than these help nobody.
const PROBLEMS: usize = 100;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Verdict {
    /// Nothing is wrong.
    pub(crate) passed: bool,
    pub(crate) bank: steadfast_bank::verify::Report,
    /// All runs, and those that have not ended.
    pub(crate) runs: usize,
    pub(crate) open_runs: usize,
    /// The derived tables were compared with a fold of the log.
    pub(crate) rebuilt: bool,
    /// The first of them.
    pub(crate) problems: Vec<String>,
}

impl Verdict {
    /// More is wrong than the log shows.
    pub(crate) fn blame(&mut self, problems: Vec<String>) {
        self.passed &= problems.is_empty();
        self.problems.extend(problems);
        self.problems.truncate(PROBLEMS);
    }
    /// In one line.
    pub(crate) fn summary(&self) -> String {
        let bank = &self.bank;
        let verdict = if self.passed { "verified" } else { "NOT VERIFIED" };
        let rebuilt = if self.rebuilt { ", derived tables equal the fold" } else { "" };
        format!(
            "{verdict}: {} events in {} commits, {} accounts, {} movements, {} runs ({} open){rebuilt}",
            bank.events, bank.commits, bank.accounts, bank.transfers, self.runs, self.open_runs
        )
    }
}

/// Folds the log and checks it; with `rebuild`, every derived table too.
pub(crate) async fn verify(log: &SqliteLog, world: &World, rebuild: bool) -> anyhow::Result<Verdict> {
    let bank = steadfast_bank::verify::verify(log).await?;
    let Fold { audit, derived, unknown } = fold(log).await?;
    let (runs, open_runs) = audit.runs();
    let mut problems = unknown;
    problems.extend(bank.problems.iter().cloned());
    problems.extend(audit.finish(&derived));
    if rebuild {
        problems.extend(compare(log, world, derived).await?);
        problems.extend(snapshots(log).await?);
    }
    problems.truncate(PROBLEMS);
    Ok(Verdict {
        passed: problems.is_empty() && bank.passed(),
        bank,
        runs,
        open_runs,
        rebuilt: rebuild,
        problems,
    })
}

/// What the whole log comes to.
#[derive(Default)]
struct Fold {
    audit: Audit,
    derived: Derived,
    /// Events of a shape that only a newer binary can judge.
    unknown: Vec<String>,
}

/// Every type of event that this binary reads.
fn types() -> BTreeMap<&'static str, EventType> {
    let (engine, bank) = (steadfast_engine::record::EVENTS, steadfast_bank::events::EVENTS);
    let all = engine
        .iter()
        .chain(bank)
        .chain(steadfast_bank_assistant::session::EVENTS)
        .chain(steadfast_models::keys::EVENTS);
    all.map(|known| (known.kind, *known)).collect()
}

async fn fold(log: &SqliteLog) -> anyhow::Result<Fold> {
    let (mut fold, types) = (Fold::default(), types());
    let mut after = Position::START;
    let bar = output::progress(log.tail().borrow().n, "events");
    loop {
        let page = log.read_all(after, PAGE).await?;
        if page.events.is_empty() {
            bar.finish_and_clear();
            return Ok(fold);
        }
        for recorded in &page.events {
            fold.audit.apply(recorded);
            fold.derived.apply(recorded)?;
            let known = types.get(&*recorded.event.kind).map_or(Ok(()), |known| known.check(recorded));
            if let Err(error) = known
                && fold.unknown.len() < PROBLEMS
            {
                fold.unknown.push(error.to_string());
            }
        }
        after = page.next;
        bar.set_position(after.n);
    }
}

/// Where the store's tables differ from the fold. Claims that ran out may be gone.
async fn compare(log: &SqliteLog, world: &World, mut fold: Derived) -> anyhow::Result<Vec<String>> {
    let mut stored = log.derived().await?;
    let now = world.now();
    fold.forget_expired(now);
    stored.forget_expired(now);
    let mut problems = Vec::new();
    differ(&mut problems, "claim", &stored.claims, &fold.claims);
    differ(&mut problems, "wake-up", &stored.wake_ups, &fold.wake_ups);
    differ(&mut problems, "list row", &stored.listings, &fold.listings);
    differ(&mut problems, "head", &stored.heads, &fold.heads);
    let refs = stored.payload_refs.symmetric_difference(&fold.payload_refs);
    problems.extend(refs.map(|(payload, stream)| {
        format!("the reference of {stream} to payload {payload} differs from the log")
    }));
    Ok(problems)
}

/// Snapshots that are not what the events amount to: whoever starts from one goes astray.
async fn snapshots(log: &SqliteLog) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let streams = log.snapshots().await?;
    let bar = output::progress(streams.len() as u64, "snapshots");
    for stream in streams {
        let sound = match stream.category() {
            RUN => steadfast_engine::verify_snapshot(log, &stream).await?,
            _ => steadfast_bank::verify::snapshot(log, &stream).await?,
        };
        if !sound && problems.len() < PROBLEMS {
            problems.push(format!("the snapshot of {stream} differs from the log"));
        }
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok(problems)
}

fn differ<K: Ord + std::fmt::Debug, V: PartialEq>(
    problems: &mut Vec<String>,
    what: &str,
    stored: &BTreeMap<K, V>,
    fold: &BTreeMap<K, V>,
) {
    let wrong = fold.iter().filter(|(key, value)| stored.get(key) != Some(value));
    let extra = stored.iter().filter(|(key, _)| !fold.contains_key(key));
    let keys = wrong.chain(extra).map(|(key, _)| key);
    problems.extend(keys.map(|key| format!("the {what} of {key:?} differs from the log")));
}
