//! How long a server that was killed takes to come back: measured by what its log says,
//! while everything else goes on.

use std::time::Duration;

use steadfast_bank::purchase::PURCHASE;
use steadfast_core::{TenantId, Time, World};
use steadfast_engine::{Status, record::RUN};
use steadfast_log::{ListQuery, Listing, Log as _};
use steadfast_log_sqlite::{Options, SqliteLog};

use crate::node::{Node, Place};

/// Workflows that wait for nobody. A conversation may wait for a person for ever.
const KINDS: [&str; 2] = ["bench.steps", PURCHASE];
const PAGE: usize = 1_000;

/// When the server was killed, and when it was started again.
#[derive(Default)]
pub(crate) struct Recovery {
    killed: Vec<Time>,
    started: Vec<Time>,
    ready: Vec<Duration>,
}

impl Recovery {
    pub(crate) fn serve(&mut self, place: &Place) -> Node {
        let world = World::system();
        self.started.push(world.now());
        let node = place.serve();
        self.ready.push(world.clock().elapsed());
        node
    }

    /// Call it right before.
    pub(crate) fn kills(&mut self) {
        self.killed.push(World::system().now());
    }

    /// Prints how long each restart took until the server listened, and until the last run
    /// that the kill had left open was finished. Where the next kill came first, there is
    /// no such figure.
    pub(crate) async fn report(&self, place: &Place) {
        let runs = runs(place).await;
        let (mut finished, mut left) = (Vec::new(), 0);
        for (round, killed) in self.killed.iter().enumerate() {
            let open = runs.iter().filter(|run| run.created < *killed && run.updated > *killed);
            let open: Vec<&Listing> = open.collect();
            left += open.len();
            let last = open.iter().map(|run| run.updated).max();
            let until = self.killed.get(round + 1);
            if let Some(last) = last.filter(|last| until.is_none_or(|until| last < until)) {
                finished.push(last.since(self.started[round + 1]));
            }
        }
        // The first start was none after a kill.
        line("restart to ready", self.ready.get(1..).unwrap_or_default());
        line("restart to all runs finished", &finished);
        let cut_off = self.killed.len() - finished.len();
        eprintln!("{left} runs were left open; {cut_off} kills had none, or the next one came first");
    }
}

/// All runs of those workflows. Each has ended: `updated` is when.
async fn runs(place: &Place) -> Vec<Listing> {
    let store = place.path("data/steadfast.db");
    let log = SqliteLog::open_read_only(store, Options::new(World::system())).expect("it opens");
    let mut all = Vec::new();
    for kind in KINDS {
        let mut query = ListQuery {
            tenant: TenantId::default(),
            category: RUN.into(),
            kind: Some(kind.to_owned()),
            limit: PAGE,
            ..ListQuery::default()
        };
        loop {
            let page = log.list(query.clone()).await.expect("listed");
            query.after = page.rows.last().map(|row| (row.created, row.stream.clone()));
            all.extend(page.rows);
            if !page.more {
                break;
            }
        }
    }
    let open = |row: &&Listing| Status::OPEN.iter().any(|status| status.as_str() == row.status);
    assert_eq!(all.iter().find(open), None, "all runs have ended");
    all
}

fn line(what: &str, times: &[Duration]) {
    let mut times = times.to_vec();
    times.sort_unstable();
    let (Some(min), Some(max)) = (times.first(), times.last()) else {
        return eprintln!("{what}: never");
    };
    let [min, median, max] = [min, &times[times.len() / 2], max].map(Duration::as_millis);
    eprintln!("{what}: min {min} ms, median {median} ms, max {max} ms of {}", times.len());
}
