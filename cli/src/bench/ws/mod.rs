//! Conversations over WebSocket.
//!
//! 1. Messages are sent at their times, whether or not earlier ones are answered, and every
//!    wait counts from the time at which the message was due: a server that falls behind
//!    cannot hide it.
//! 2. Then every connection is cut twice, once after it asked for a transfer and once after
//!    it confirmed; every reply must still arrive, and every transfer happen once.
//! 3. What was written is verified, and the syncs are counted.

mod load;
mod node;
mod report;

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use steadfast_core::World;
use tokio::sync::mpsc;

use super::percentile;
use crate::{
    client::Connection,
    output,
    store::StoreArgs,
    talk::{Link, Server},
    verify::Verdict,
};
use load::{Kind, Measured, Talker, USERS};
use node::Node;
pub(crate) use report::Report;

/// Handshakes at once.
const OPENING_AT_ONCE: usize = 64;

/// What is measured.
pub(crate) struct Plan {
    /// Connections, each with a conversation of its own.
    pub(crate) connections: usize,
    /// Messages a second, all connections together.
    pub(crate) rate: u64,
    /// For how long.
    pub(crate) seconds: u64,
    /// The folder on whose file system the store is made.
    pub(crate) folder: PathBuf,
    /// Instead of a server in this process.
    pub(crate) running: Option<(Connection, StoreArgs)>,
}

/// Commits and the syncs that they shared, and transfers that were made.
#[derive(Debug, Clone, Copy)]
struct Counts {
    commits: u64,
    syncs: u64,
    transfers: u64,
}

/// How fast messages are made durable and replied to, and whether all replies arrive.
pub(crate) async fn ws(plan: &Plan) -> anyhow::Result<Report> {
    let world = World::system();
    let mut node = Node::start(plan, &world).await?;
    let (before, _) = node.judge().await?;
    let talkers = open(plan, &node, &world).await?;
    let (mut measured, talkers, memory) = under_load(plan, talkers, &world).await?;
    let cuts = cut(talkers).await?;
    node.stop().await?;
    let (after, verdict): (Counts, Verdict) = node.judge().await?;
    let confirmed = measured.confirmed + cuts.confirmed;
    Ok(Report {
        bench: "bench ws",
        connections: plan.connections,
        rate: plan.rate,
        seconds: plan.seconds,
        ack: report::Waits::of(&mut measured.acks),
        reply: report::Waits::of(&mut measured.replies),
        messages: measured.messages,
        reconnects: measured.reconnects,
        replies_lost: measured.lost,
        not_done: measured.not_done + cuts.not_done,
        memory_quarter: memory.0,
        memory_end: memory.1,
        cuts: cuts.reconnects,
        cut_replies_lost: cuts.lost,
        confirmed,
        transferred: after.transfers.saturating_sub(before.transfers),
        commits: after.commits.saturating_sub(before.commits),
        syncs: after.syncs.saturating_sub(before.syncs),
        verify: verdict,
    })
}

async fn open(plan: &Plan, node: &Node, world: &World) -> anyhow::Result<Vec<Talker>> {
    let bar = output::progress(plan.connections as u64, "connections");
    let talkers = stream::iter(0..plan.connections)
        .map(|number| {
            let user = number % USERS.len();
            let server = Server { url: node.url().to_owned(), token: node.token(USERS[user].0) };
            let bar = bar.clone();
            async move {
                let link = Link::open(server, None, 0, world.clone()).await?;
                bar.inc(1);
                anyhow::Ok(Talker::new(link, user, world.clone()))
            }
        })
        .buffer_unordered(OPENING_AT_ONCE)
        .try_collect()
        .await
        .context("not all connections could be opened")?;
    bar.finish_and_clear();
    Ok(talkers)
}

/// The load, the connections, and the memory after a quarter of it and at its end.
async fn under_load(
    plan: &Plan,
    talkers: Vec<Talker>,
    world: &World,
) -> anyhow::Result<(Measured, Vec<Talker>, (Option<u64>, Option<u64>))> {
    let count = plan.connections;
    let (give_back, mut idle) = mpsc::channel(count);
    for talker in talkers {
        give_back.send(talker).await.ok().context("there is a place for each")?;
    }
    let (told, mut results) = mpsc::unbounded_channel();
    let messages = plan.rate * plan.seconds;
    let began = world.clock().elapsed();
    let bar = output::progress(messages, "messages");
    let mut quarter = None;
    let memory = || plan.running.is_none().then(resident).flatten();
    for number in 0..messages {
        let due = began + Duration::from_micros(number * 1_000_000 / plan.rate);
        world.clock().sleep(due.saturating_sub(world.clock().elapsed())).await;
        if number == messages / 4 {
            quarter = memory();
        }
        // When all of them are busy the message is late, and its waits say so.
        let mut talker: Talker = idle.recv().await.context("a conversation broke")?;
        let (told, give_back) = (told.clone(), give_back.clone());
        tokio::spawn(async move {
            let measured = talker.exchange(Kind::of(number), due).await;
            let _ = told.send(measured);
            let _ = give_back.send(talker).await;
        });
        bar.inc(1);
    }
    drop(told);
    let mut all = Measured::default();
    while let Some(measured) = results.recv().await {
        all.add(measured?);
    }
    bar.finish_and_clear();
    drop(give_back);
    let talkers = stream::unfold(idle, |mut idle| async { Some((idle.recv().await?, idle)) }).collect().await;
    Ok((all, talkers, (quarter, memory())))
}

/// Cuts every connection in the middle of a transfer, all at once.
async fn cut(talkers: Vec<Talker>) -> anyhow::Result<Measured> {
    let tasks: Vec<_> = talkers
        .into_iter()
        .enumerate()
        .map(|(number, mut talker)| tokio::spawn(async move { talker.cut_off(number % 2 == 0).await }))
        .collect();
    let mut all = Measured::default();
    for task in tasks {
        all.add(task.await??);
    }
    Ok(all)
}

/// The memory of this process that is in use, in bytes; where the system tells it.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

type Token = Arc<dyn Fn() -> anyhow::Result<String> + Send + Sync>;
