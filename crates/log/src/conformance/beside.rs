use std::time::Duration;

use bytes::Bytes;
use steadfast_core::NodeId;

use super::{Fixture, claim, key, stream, take};
use crate::{
    Checkpoint, ClaimChange, Commit, CommitError, Expect, Lease, Payload, PayloadId, Position, Snapshot,
};

pub(super) async fn a_claim_is_taken_once_until_its_window_ends(f: &Fixture) {
    let claimed = |name: &str, change: ClaimChange| {
        let mut commit = f.one(name, Expect::Any);
        commit.claims = vec![change];
        f.log.commit(commit)
    };
    let held = claim("first");
    claimed("a", take("k", &held)).await.expect("free");
    assert_eq!(f.log.claim(key("k")).await, Ok(Some(held.clone())));
    f.clock.advance(Duration::from_secs(1_000_000));
    assert_eq!(
        claimed("a", take("k", &claim("second"))).await,
        Err(CommitError::Claimed(key("k"), held)),
        "a key without an end never expires"
    );
    let ends = f.world.now().after(Duration::from_secs(60));
    claimed("a", ClaimChange::Settle(key("k"), ends)).await.expect("settles");
    f.clock.advance(Duration::from_secs(59));
    let refused = claimed("a", take("k", &claim("second"))).await;
    assert!(matches!(refused, Err(CommitError::Claimed(..))));
    f.clock.advance(Duration::from_secs(1));
    claimed("a", take("k", &claim("third"))).await.expect("the window has ended");
    assert_eq!(f.log.claim(key("k")).await, Ok(Some(claim("third"))));
}

pub(super) async fn a_key_taken_twice_in_one_commit_is_refused(f: &Fixture) {
    let mut commit = f.one("a", Expect::New);
    commit.claims = vec![take("k", &claim("x")), take("k", &claim("y"))];
    assert_eq!(f.commit(commit.clone()).await, Err(CommitError::Claimed(key("k"), claim("x"))));
    // A record that has run out by now holds nothing, within a commit as elsewhere.
    let mut over = claim("x");
    over.expires = Some(f.world.now());
    commit.claims = vec![take("k", &over), take("k", &claim("y"))];
    f.write(commit).await;
    assert_eq!(f.log.claim(key("k")).await, Ok(Some(claim("y"))));
}

pub(super) async fn settling_what_nobody_claimed_does_nothing(f: &Fixture) {
    let mut commit = f.one("a", Expect::New);
    commit.claims = vec![ClaimChange::Settle(key("k"), f.world.now())];
    f.write(commit).await;
    assert_eq!(f.log.claim(key("k")).await, Ok(None));
}

pub(super) async fn a_payload_is_stored_once_and_must_be_there_when_referred_to(f: &Fixture) {
    let bytes = Bytes::from_static(b"a large value");
    let id = PayloadId::of(b"key", "default/ana", &bytes);
    let refer = |name: &str, bytes: Option<Bytes>| Payload { id, stream: stream(name), bytes };
    let mut commit = f.one("a", Expect::New);
    commit.payloads = vec![refer("a", None)];
    assert_eq!(f.commit(commit.clone()).await, Err(CommitError::NoPayload(id)));
    assert_eq!(f.log.payload(id).await, Ok(None));
    commit.payloads = vec![refer("a", Some(bytes.clone())), refer("b", None)];
    f.write(commit).await;
    assert_eq!(f.log.payload(id).await, Ok(Some(bytes.clone())));
    let mut commit = f.one("c", Expect::New);
    commit.payloads = vec![refer("c", None)];
    f.write(commit).await;
    // In one commit, the bytes must come before what leans on them.
    let other = PayloadId::of(b"key", "default/luis", &bytes);
    assert_ne!(id, other);
    let mut commit = f.one("d", Expect::New);
    commit.payloads =
        [None, Some(bytes)].map(|bytes| Payload { id: other, stream: stream("d"), bytes }).to_vec();
    assert_eq!(f.commit(commit).await, Err(CommitError::NoPayload(other)));
}

pub(super) async fn a_snapshot_replaces_the_one_before(f: &Fixture) {
    f.write(f.one("a", Expect::New)).await;
    assert_eq!(f.log.snapshot(&stream("a")).await, Ok(None));
    for version in [1, 2] {
        let snapshot = Snapshot {
            version,
            schema: 3,
            body: Bytes::from(vec![0xFF, u8::try_from(version).expect("small")]),
        };
        f.log.put_snapshot(stream("a"), snapshot.clone()).await.expect("kept");
        assert_eq!(f.log.snapshot(&stream("a")).await, Ok(Some(snapshot)));
    }
    assert_eq!(f.log.snapshot(&stream("b")).await, Ok(None));
}

pub(super) async fn a_checkpoint_is_what_was_last_written(f: &Fixture) {
    assert_eq!(f.log.checkpoint("s").await, Ok(None));
    let first = f.write(f.one("a", Expect::New)).await.position;
    for position in [first, Position::START] {
        let mut commit = f.one("a", Expect::Any);
        commit.checkpoints = vec![Checkpoint { subscriber: "s".into(), position }];
        f.write(commit).await;
        assert_eq!(f.log.checkpoint("s").await, Ok(Some(position)));
    }
    let both = ["s", "t"].map(|subscriber| Checkpoint { subscriber: subscriber.into(), position: first });
    f.write(Commit { checkpoints: both.to_vec(), ..Commit::default() }).await;
    assert_eq!(f.log.checkpoint("t").await, Ok(Some(first)));
}

pub(super) async fn a_lease_has_one_holder_until_it_runs_out(f: &Fixture) {
    let (one, other) = (NodeId::next(&f.world), NodeId::next(&f.world));
    let ttl = Duration::from_secs(10);
    let ask = |holder| f.log.lease("shard", holder, ttl);
    let held = |again, wanted| Ok(Lease::Held { again, wanted });
    assert_eq!(ask(one).await, held(false, false));
    assert_eq!(ask(other).await, Ok(Lease::Taken { by: one }));
    assert_eq!(ask(one).await, held(true, true));
    assert_eq!(ask(one).await, held(true, false));
    f.clock.advance(ttl);
    assert_eq!(ask(other).await, held(false, false));
    assert_eq!(ask(one).await, Ok(Lease::Taken { by: other }));
    f.log.release("shard", one).await.expect("not its own");
    assert_eq!(ask(one).await, Ok(Lease::Taken { by: other }));
    f.log.release("shard", other).await.expect("given back");
    assert_eq!(ask(one).await, held(false, false));
    let elsewhere = f.log.lease("else", other, ttl).await;
    assert_eq!(elsewhere, held(false, false), "leases are apart");
}
