//! A server that crashes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures::future::join_all;
use steadfast_core::World;
use steadfast_log::{CommitError, Expect, Log, Position};

use crate::{
    one, open,
    server::{Order, Server},
    stream,
};

const COMMITTERS: usize = 8;
const EACH: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_what_was_acknowledged_survives_a_crash_of_the_server_and_nodes_go_on() {
    let server = Server::start(&[]);
    let world = World::manual(1).0;
    let database = server.database().await;
    let log = Arc::new(open(&server.address(&database), &world).await);
    let written = Arc::new(AtomicUsize::new(0));
    let committers: Vec<_> = (0..COMMITTERS)
        .map(|number| {
            let (log, world, written) = (log.clone(), world.clone(), written.clone());
            tokio::spawn(async move {
                let mut acknowledged = Vec::new();
                while acknowledged.len() < EACH {
                    let commit = one(&world, &number.to_string(), Expect::Any);
                    let id = commit.appends[0].events[0].id;
                    match log.commit(commit).await {
                        Ok(committed) => acknowledged.push((id, committed.position)),
                        Err(CommitError::Unavailable(_) | CommitError::Unknown(_)) => {}
                        Err(other) => panic!("{other:?}"),
                    }
                    written.fetch_add(1, Ordering::SeqCst);
                }
                acknowledged
            })
        })
        .collect();
    for crash in 1..=3 {
        while written.load(Ordering::SeqCst) < crash * COMMITTERS * EACH / 4 {
            tokio::task::yield_now().await;
        }
        server.order(Order::Crash);
        server.order(Order::Start);
    }
    for (number, acknowledged) in join_all(committers).await.into_iter().enumerate() {
        let events = log.read_stream(&stream(&number.to_string()), 1, usize::MAX).await.expect("read");
        for (id, position) in acknowledged.expect("no panic") {
            let found = events.iter().find(|event| event.event.id == id);
            assert_eq!(found.map(|event| event.position), Some(position), "{id} was acknowledged");
        }
    }
    let mut tail = log.tail();
    let end = log.read_all(Position::START, 4_096).await.expect("a page");
    tail.wait_for(|tail| *tail == end.next).await.expect("an open store");
    let last = log.commit(one(&world, "last", Expect::New)).await.expect("it goes on");
    assert_eq!(last.position.n, end.next.n + 1);
}
