//! Databases that are not as they should be, restored ones, and what is found again.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use steadfast_core::{
    Coded, World,
    secret::{Keyring, Secret},
};
use steadfast_log::{CommitError, Expect, Log, Payload, PayloadId, Position, ReadError, Snapshot};
use steadfast_log_postgres::{Options, PostgresLog, StoreError};

use crate::{
    one, open,
    server::{Server, shared},
    stream,
};

async fn refused(address: &str) -> StoreError {
    let world = World::manual(1).0;
    PostgresLog::open(address, Options::new(world)).await.expect_err("must not open")
}

#[tokio::test]
async fn g1_a_server_that_may_lose_what_it_acknowledged_is_refused() {
    let server = Server::start(&["fsync=off"]);
    let error = refused(&server.address("postgres")).await;
    assert_eq!(error.code(), "store.unsafe_setting");
    assert!(error.to_string().contains("set fsync = on"), "{error}");

    let database = shared().database().await;
    let admin = shared().client(&database).await;
    let loose = format!("ALTER DATABASE {database} SET synchronous_commit = off");
    admin.batch_execute(&loose).await.expect("changed");
    let error = refused(&shared().address(&database)).await;
    assert_eq!(error.code(), "store.unsafe_setting");
    assert!(error.to_string().contains("set synchronous_commit = on"), "{error}");

    admin
        .batch_execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0",
        )
        .await
        .expect("a database");
    let error = refused(&shared().address("latin")).await;
    assert!(error.to_string().contains("server_encoding = LATIN1"), "{error}");
}

#[tokio::test]
async fn an_address_that_leads_nowhere_is_told_without_its_password() {
    let error = refused("postgres://ana:hunter2@[").await;
    assert_eq!(error.code(), "store.bad_address");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let error = refused("host=127.0.0.1 port=1 user=ana password=hunter2 dbname=x").await;
    assert_eq!((error.code(), error.retryable()), ("store.unavailable", true));
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn databases_of_others_and_of_newer_versions_are_refused_and_left_alone() {
    for theirs in ["CREATE TABLE events (x integer)", "CREATE TABLE steadfast (x integer)"] {
        let database = shared().database().await;
        let admin = shared().client(&database).await;
        admin.batch_execute(theirs).await.expect("a table");
        let error = refused(&shared().address(&database)).await;
        assert_eq!(error.code(), "store.foreign_database", "{error}");
        let sql = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'";
        let tables: i64 = admin.query_one(sql, &[]).await.expect("a count").get(0);
        assert_eq!(tables, 1);
        // A schema of its own is enough.
        admin.batch_execute("CREATE SCHEMA ours").await.expect("a schema");
        let address = format!("{} options='-c search_path=ours'", shared().address(&database));
        open(&address, &World::manual(1).0).await;
    }
    let database = shared().database().await;
    open(&shared().address(&database), &World::manual(1).0).await;
    let admin = shared().client(&database).await;
    admin.batch_execute("UPDATE steadfast SET schema = 1000").await.expect("a newer schema");
    let error = refused(&shared().address(&database)).await;
    assert_eq!(error.code(), "store.newer_schema");
    assert!(error.to_string().contains("1000"), "{error}");
}

#[tokio::test]
async fn nodes_that_open_an_empty_database_at_once_find_one_log() {
    let address = shared().address(&shared().database().await);
    let opened = join_all((0..6).map(|seed| {
        let address = address.clone();
        async move { open(&address, &World::manual(seed).0).await }
    }));
    let logs = opened.await;
    assert!(logs.iter().all(|log| log.identity() == logs[0].identity()));
    assert!(logs.iter().all(|log| log.payload_key().reveal() == logs[0].payload_key().reveal()));
}

#[tokio::test]
async fn what_was_queued_is_written_before_the_store_closes() {
    let address = shared().address(&shared().database().await);
    let world = World::manual(1).0;
    let mut options = Options::new(world.clone());
    options.config.queue = 2.try_into().expect("not zero");
    options.config.max_group = 3.try_into().expect("not zero");
    let log = PostgresLog::open(&address, options).await.expect("opens");
    for i in 0..2 {
        // Nobody waits for the answers.
        drop(log.commit(one(&world, &i.to_string(), Expect::New)));
    }
    let more = (2..20).map(|i| log.commit(one(&world, &i.to_string(), Expect::New)));
    assert!(join_all(more).await.iter().all(Result::is_ok));
    drop(log.commit(one(&world, "last", Expect::New)));
    log.close().await;
    assert_eq!(open(&address, &world).await.tail().borrow().n, 21);
}

#[tokio::test]
async fn g6_a_restore_is_held_until_resumed_and_a_cursor_of_the_lost_future_goes_on() {
    let address = shared().address(&shared().database().await);
    let (world, _) = World::manual(1);
    let log = open(&address, &world).await;
    let first = log.commit(one(&world, "a", Expect::New)).await.expect("free");
    for cursor in [
        Position { n: 2, ..first.position },
        Position { incarnation: 2, ..first.position },
        Position { shard: 1, ..first.position },
    ] {
        let result = log.read_all(cursor, 10).await;
        assert!(matches!(result, Err(ReadError::BadCursor(_))), "{cursor}");
    }
    let was = log.identity();
    PostgresLog::restored(&address, Options::new(world.clone())).await.expect("marked");
    // A node that was open all the time must not go on as if nothing had happened.
    let refused = log.commit(one(&world, "b", Expect::New)).await;
    assert!(matches!(refused, Err(CommitError::Unavailable(_))), "{refused:?}");
    let refused = log.read_all(first.position, 10).await;
    assert!(matches!(refused, Err(ReadError::Unavailable(_))), "{refused:?}");

    let (restored, other) = (open(&address, &world).await, open(&address, &world).await);
    let is = restored.identity();
    assert_eq!((is.log_id, is.held), (was.log_id, true));
    assert!(is.incarnation > was.incarnation);
    let held = restored.commit(one(&world, "b", Expect::New)).await;
    assert_eq!(held, Err(CommitError::Held));
    restored.resume().await.expect("resumes");
    assert!(!restored.identity().held);
    let new = other.commit(one(&world, "b", Expect::New)).await.expect("free");
    assert!(!other.identity().held);
    let lost = Position { n: 5, ..first.position };
    for cursor in [first.position, lost] {
        let page = other.read_all(cursor, 10).await.expect("a page");
        assert_eq!(page.events.len(), 1, "{cursor}");
        assert_eq!(page.events[0].position, new.position);
    }
}

#[tokio::test]
async fn payloads_are_sealed_in_the_table_and_broken_snapshots_are_as_good_as_lost() {
    let database = shared().database().await;
    let address = shared().address(&database);
    let world = World::manual(1).0;
    let key = Secret::new([9; 32]);
    let cipher = Arc::new(Keyring::new("k", &key, world.clone()));
    let options = Options { cipher, ..Options::new(world.clone()) };
    let log = PostgresLog::open(&address, options).await.expect("opens");
    let secret = Bytes::from("a planted canary ".repeat(300));
    let id = PayloadId::of(log.payload_key().reveal(), "default/ana", &secret);
    let mut commit = one(&world, "a", Expect::New);
    commit.payloads = vec![Payload { id, stream: stream("a"), bytes: Some(secret.clone()) }];
    log.commit(commit).await.expect("free");
    let snapshot = Snapshot { version: 1, schema: 1, body: Bytes::from_static(b"state") };
    log.put_snapshot(stream("a"), snapshot.clone()).await.expect("kept");
    assert_eq!(log.payload(id).await, Ok(Some(secret)));
    assert_eq!(log.snapshot(&stream("a")).await, Ok(Some(snapshot)));

    let admin = shared().client(&database).await;
    let sql = "SELECT count(*) FROM payloads WHERE position('planted canary'::bytea IN bytes) > 0";
    let found: i64 = admin.query_one(sql, &[]).await.expect("a count").get(0);
    assert_eq!(found, 0);
    admin.batch_execute("UPDATE snapshots SET body = 'x'").await.expect("breaks it");
    assert_eq!(log.snapshot(&stream("a")).await, Ok(None));
    // Without its key.
    let result = open(&address, &world).await.payload(id).await;
    assert!(matches!(result, Err(ReadError::Unavailable(_))), "{result:?}");
}
