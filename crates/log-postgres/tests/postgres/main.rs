//! The store on a real server: the contract, several nodes, broken connections, crashes.

mod contract;
mod crash;
mod faults;
mod nodes;
mod opening;
mod proxy;
mod server;

use bytes::Bytes;
use steadfast_core::{TenantId, World};
use steadfast_log::{Commit, Expect, NewEvent, StreamId};
use steadfast_log_postgres::{Options, PostgresLog};

fn stream(name: &str) -> StreamId {
    StreamId::new(&TenantId::default(), "test", name)
}

fn one(world: &World, name: &str, expect: Expect) -> Commit {
    let event = NewEvent::new(world, "test.happened", 1, Bytes::from_static(b"{}"));
    Commit::append(stream(name), expect, vec![event])
}

async fn open(address: &str, world: &World) -> PostgresLog {
    PostgresLog::open(address, Options::new(world.clone())).await.expect("opens")
}
