//! Several nodes on one database.

use std::sync::Arc;

use futures::future::join_all;
use steadfast_core::{TenantId, World, canonical::Hash};
use steadfast_log::{
    Append, Claim, ClaimChange, ClaimKey, CommitError, Expect, Log, Position, Recorded, follow, rebuild,
};
use steadfast_log_postgres::PostgresLog;

use crate::{one, open, server::shared, stream};

const NODES: usize = 3;
const COMMITTERS: usize = 4;
const EACH: usize = 25;

async fn nodes(count: usize) -> (Vec<(Arc<PostgresLog>, World)>, String) {
    let database = shared().database().await;
    let mut nodes = Vec::new();
    for number in 0..count {
        let world = World::manual(number as u64).0;
        nodes.push((Arc::new(open(&shared().address(&database), &world).await), world));
    }
    (nodes, database)
}

/// Decides again at each conflict, as deciders do.
async fn append_exactly(log: &PostgresLog, world: &World, own: &str) {
    let mut expected = log.head(&stream("hot")).await.expect("read");
    loop {
        let mut commit = one(world, "hot", Expect::Exact(expected));
        commit.appends.push(Append { stream: stream(own), ..one(world, own, Expect::Any).appends.remove(0) });
        match log.commit(commit).await {
            Ok(committed) => {
                assert_eq!(committed.versions[0], expected + 1);
                return;
            }
            Err(CommitError::Conflict { actual, .. }) => {
                assert!(actual > expected);
                expected = actual;
            }
            Err(other) => panic!("{other:?}"),
        }
    }
}

/// Everything from the beginning, as it comes.
async fn subscribe(log: Arc<PostgresLog>, until: usize) -> Vec<Recorded> {
    let (mut events, mut at) = (Vec::new(), Position::START);
    while events.len() < until {
        let page = follow(&*log, at, 7).await.expect("a page");
        at = page.next;
        events.extend(page.events);
    }
    events
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g6_nodes_that_race_keep_versions_exact_and_no_subscriber_skips() {
    let (nodes, _) = nodes(NODES).await;
    let all = NODES * COMMITTERS * EACH * 2;
    let subscribers: Vec<_> =
        nodes.iter().map(|(log, _)| tokio::spawn(subscribe(log.clone(), all))).collect();
    let committers = nodes.iter().enumerate().flat_map(|(node, (log, world))| {
        (0..COMMITTERS).map(move |number| {
            let (log, world) = (log.clone(), world.clone());
            tokio::spawn(async move {
                for _ in 0..EACH {
                    append_exactly(&log, &world, &format!("{node}/{number}")).await;
                }
            })
        })
    });
    for committer in join_all(committers.collect::<Vec<_>>()).await {
        committer.expect("no panic");
    }
    let mut seen = Vec::new();
    for subscriber in subscribers {
        seen.push(subscriber.await.expect("no panic"));
    }
    for events in &seen {
        let places: Vec<u64> = events.iter().map(|event| event.position.n).collect();
        assert_eq!(places, (1..=all as u64).collect::<Vec<_>>(), "in order, without a gap");
        assert_eq!(events, &seen[0], "and the same for everybody");
    }
    let heads = rebuild(&*nodes[0].0).await.expect("a fold, with every version after the one before").heads;
    assert_eq!(heads[&stream("hot")], (NODES * COMMITTERS * EACH) as u64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g5_a_key_is_won_once_whichever_nodes_try() {
    let (nodes, _) = nodes(2).await;
    for round in 0..30 {
        let key = ClaimKey::new(&TenantId::default(), "ana", "test", &round.to_string());
        let tries = nodes.iter().enumerate().map(|(node, (log, world))| {
            let mut commit = one(world, &format!("{round}/{node}"), Expect::New);
            let claim =
                Claim { request: Hash::of_bytes(b""), answer: node.to_string().into(), expires: None };
            commit.claims = vec![ClaimChange::Take(key, claim)];
            log.commit(commit)
        });
        let results = join_all(tries).await;
        let held = nodes[0].0.claim(key).await.expect("read").expect("held");
        let winner: usize = held.answer.parse().expect("a node");
        assert!(results[winner].is_ok(), "{results:?}");
        assert_eq!(results[1 - winner], Err(CommitError::Claimed(key, held)));
    }
}

#[tokio::test]
async fn commits_are_announced_and_announcements_are_heard() {
    let (nodes, database) = nodes(2).await;
    let (one_node, world) = &nodes[0];
    let committed = one_node.commit(one(world, "a", Expect::New)).await.expect("free");
    let mut heard = nodes[1].0.tail();
    heard.wait_for(|tail| *tail == committed.position).await.expect("an open store");
    // Of this one the tables know nothing: it can only have been heard.
    let channel = format!("steadfast_{}", one_node.identity().log_id.simple());
    let client = shared().client(&database).await;
    client.execute("SELECT pg_notify($1, '7')", &[&channel]).await.expect("said");
    heard.wait_for(|tail| tail.n == 7).await.expect("an open store");
}
