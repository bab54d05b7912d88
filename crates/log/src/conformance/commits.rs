use std::collections::BTreeSet;

use bytes::Bytes;
use futures::future::join_all;

use super::{Fixture, claim, key, stream, take};
use crate::{
    Append, Checkpoint, Commit, CommitError, Committed, Expect, ListQuery, Payload, PayloadId, Position,
    WakeUpChange, limits,
};

fn too_large(result: Result<Committed, CommitError>, what: &str, limit: usize) {
    match result {
        Err(CommitError::TooLarge { what: found, limit: stated, .. }) => {
            assert_eq!((found, stated), (what, limit));
        }
        other => panic!("{what}: {other:?}"),
    }
}

pub(super) async fn a_commit_is_bounded_in_every_dimension(f: &Fixture) {
    let fits = Commit::append(stream("a"), Expect::New, f.events(63));
    f.write(fits).await;
    let more = Commit::append(stream("b"), Expect::New, f.events(64));
    too_large(f.commit(more).await, "streams and events", 64);

    let mut items = f.one("c", Expect::New);
    items.claims = (0..90).map(|i| take(&i.to_string(), &claim("x"))).collect();
    too_large(f.commit(items.clone()).await, "written items", 90);
    items.claims.pop();
    f.write(items).await;

    let mut inline = f.one("d", Expect::New);
    inline.appends[0].events[0].body = Bytes::from(vec![b'1'; limits::INLINE_BYTES + 1]);
    too_large(f.commit(inline.clone()).await, "inline bytes", 256 * 1024);
    inline.appends[0].events[0].body.truncate(limits::INLINE_BYTES);
    f.write(inline).await;

    let mut large = f.one("e", Expect::New);
    let bytes = Bytes::from(vec![1; limits::PAYLOAD_BYTES + 1]);
    large.payloads = vec![Payload {
        id: PayloadId::of(b"k", "s", &bytes),
        stream: stream("e"),
        bytes: Some(bytes.clone()),
    }];
    let limit = 4 * 1024 * 1024;
    too_large(f.commit(large.clone()).await, "payload bytes", limit);
    let most = bytes.slice(..limit);
    large.payloads[0].bytes = Some(most.clone());
    let id = large.payloads[0].id;
    f.write(large).await;
    assert_eq!(f.log.payload(id).await, Ok(Some(most)));
}

pub(super) async fn a_commit_without_sense_is_refused(f: &Fixture) {
    let beside_alone = Commit { claims: vec![take("k", &claim("x"))], ..Commit::default() };
    let mut twice = f.one("a", Expect::Any);
    twice.appends.push(twice.appends[0].clone());
    let mut nul = f.one("a", Expect::Any);
    nul.checkpoints = vec![Checkpoint { subscriber: "a\0b".into(), position: Position::START }];
    let senseless = [
        nul,
        Commit::default(),
        beside_alone,
        twice,
        Commit::append(stream("a"), Expect::New, Vec::new()),
        f.one("with blank", Expect::New),
        f.one("", Expect::New),
        f.one(&"x".repeat(161), Expect::New),
    ];
    for commit in senseless {
        let result = f.commit(commit).await;
        assert!(matches!(result, Err(CommitError::Invalid(_))), "{result:?}");
    }
    // What cannot be written is not there, and asking for it is no error.
    assert_eq!(f.log.checkpoint("a\0b").await, Ok(None));
    assert_eq!(f.log.head(&stream("a\0b")).await, Ok(0));
    let labels = [("x".to_owned(), "a\0b".to_owned())].into();
    let query = ListQuery { category: "test".into(), labels, limit: 10, ..ListQuery::default() };
    assert_eq!(f.log.count(query).await, Ok(0));
    let page = f.log.read_all(Position::START, 10).await.expect("a page");
    assert!(page.events.is_empty());
}

pub(super) async fn an_append_holds_only_at_the_expected_version(f: &Fixture) {
    let conflict = |actual| Err(CommitError::Conflict { stream: stream("a"), actual });
    assert_eq!(f.commit(f.one("a", Expect::Exact(1))).await, conflict(0));
    assert_eq!(f.write(f.one("a", Expect::New)).await.versions, [1]);
    assert_eq!(f.commit(f.one("a", Expect::New)).await, conflict(1));
    assert_eq!(f.commit(f.one("a", Expect::Exact(0))).await, conflict(1));
    assert_eq!(f.commit(f.one("a", Expect::Exact(2))).await, conflict(1));
    let two = Commit::append(stream("a"), Expect::Exact(1), f.events(2));
    assert_eq!(f.write(two).await.versions, [3]);
    assert_eq!(f.write(f.one("a", Expect::Any)).await.versions, [4]);
    assert_eq!(f.write(f.one("b", Expect::Any)).await.versions, [1]);
    assert_eq!(f.write(f.one("c", Expect::Exact(0))).await.versions, [1]);
    assert_eq!(f.log.head(&stream("a")).await, Ok(4));
    assert_eq!(f.log.head(&stream("nobody")).await, Ok(0));
}

pub(super) async fn a_refused_commit_writes_nothing(f: &Fixture) {
    f.write(f.one("b", Expect::New)).await;
    let before = f.log.tail().borrow().n;
    let mut commit = f.one("a", Expect::New);
    commit.appends.extend(f.one("b", Expect::New).appends);
    commit.claims = vec![take("k", &claim("x"))];
    commit.checkpoints = vec![Checkpoint { subscriber: "s".into(), position: Position::START }];
    commit.payloads = vec![Payload {
        id: PayloadId::of(b"k", "s", b"v"),
        stream: stream("a"),
        bytes: Some(Bytes::from_static(b"v")),
    }];
    let id = commit.payloads[0].id;
    let result = f.commit(commit).await;
    assert!(matches!(result, Err(CommitError::Conflict { .. })));
    assert_eq!(f.log.head(&stream("a")).await, Ok(0));
    assert_eq!(f.log.claim(key("k")).await, Ok(None));
    assert_eq!(f.log.checkpoint("s").await, Ok(None));
    assert_eq!(f.log.payload(id).await, Ok(None));
    assert_eq!(f.log.tail().borrow().n, before);
    assert_eq!(f.write(f.one("a", Expect::New)).await.position.n, before + 1);
}

pub(super) async fn refusals_come_in_the_order_of_the_contract(f: &Fixture) {
    let mut first = f.one("a", Expect::New);
    first.claims = vec![take("k", &claim("held"))];
    f.write(first).await;
    // Everything is wrong with this one; each turn takes away what was complained about.
    let mut commit = f.one("a", Expect::New);
    commit.claims = (0..90).map(|_| take("k", &claim("other"))).collect::<Vec<_>>();
    commit.payloads = vec![Payload { id: PayloadId::of(b"k", "s", b"v"), stream: stream("a"), bytes: None }];
    let id = commit.payloads[0].id;
    let result = f.commit(commit.clone()).await;
    assert!(matches!(result, Err(CommitError::TooLarge { .. })));
    commit.claims.truncate(1);
    assert_eq!(f.commit(commit.clone()).await, Err(CommitError::Claimed(key("k"), claim("held"))));
    commit.claims.clear();
    let result = f.commit(commit.clone()).await;
    assert!(matches!(result, Err(CommitError::Conflict { .. })));
    commit.appends[0].expect = Expect::Exact(1);
    assert_eq!(f.commit(commit.clone()).await, Err(CommitError::NoPayload(id)));
    commit.payloads.clear();
    f.write(commit).await;
    // Within a kind, in the commit's order.
    let mut commit = f.one("b", Expect::Exact(7));
    commit.appends.push(Append { stream: stream("c"), expect: Expect::Exact(8), events: f.events(1) });
    assert_eq!(f.commit(commit).await, Err(CommitError::Conflict { stream: stream("b"), actual: 0 }));
}

pub(super) async fn one_of_many_at_once_wins(f: &Fixture) {
    let claims = join_all((0..50).map(|i| {
        let mut commit = f.one(&i.to_string(), Expect::New);
        commit.claims = vec![take("same", &claim(&i.to_string()))];
        f.commit(commit)
    }))
    .await;
    let winner = f.log.claim(key("same")).await.expect("read").expect("held");
    let (won, lost): (Vec<_>, Vec<_>) = claims.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for refusal in lost {
        assert_eq!(refusal, Err(CommitError::Claimed(key("same"), winner.clone())));
    }
    let appends = join_all((0..50).map(|_| f.commit(f.one("s", Expect::New)))).await;
    assert_eq!(appends.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(f.log.head(&stream("s")).await, Ok(1));
}

pub(super) async fn commits_are_applied_in_the_order_they_were_made(f: &Fixture) {
    // Nobody waits for an answer before the next one is sent: each needs the one before.
    let sent: Vec<_> = (0..40).map(|version| f.log.commit(f.one("a", Expect::Exact(version)))).collect();
    let done = join_all(sent).await;
    let mut positions = BTreeSet::new();
    for (i, result) in done.into_iter().enumerate() {
        let committed = result.expect("each sees the one before it");
        assert_eq!(committed.versions, [i as u64 + 1]);
        positions.insert(committed.position.n);
    }
    assert_eq!(positions.len(), 40);
    let mut late = f.one("late", Expect::New);
    late.claims = vec![take("k", &claim("x"))];
    let mut later = f.one("later", Expect::New);
    later.claims = vec![take("k", &claim("y"))];
    let (one, other) = (f.log.commit(late), f.log.commit(later));
    let (one, other) = futures::join!(one, other);
    assert!(one.is_ok());
    assert_eq!(other, Err(CommitError::Claimed(key("k"), claim("x"))));
}

pub(super) async fn a_commit_over_several_streams_is_one(f: &Fixture) {
    let mut commit = Commit::append(stream("a"), Expect::New, f.events(2));
    commit.appends.push(Append { stream: stream("b"), expect: Expect::New, events: f.events(1) });
    commit.wake_ups = vec![WakeUpChange::Clear(stream("a"), "none".into())];
    let committed = f.write(commit).await;
    assert_eq!(committed.versions, [2, 1]);
    let page = f.log.read_all(Position::START, 10).await.expect("a page");
    let ends: Vec<_> = page.events.iter().map(|event| event.ends).collect();
    assert_eq!(ends, [false, false, true]);
    let sides: Vec<_> = page.events.iter().map(|event| event.side.is_some()).collect();
    assert_eq!(sides, [true, false, false]);
    assert_eq!(page.events[2].position, committed.position);
    assert_eq!(page.next, committed.position);
}

pub(super) async fn a_commit_of_checkpoints_alone_stays_at_the_end(f: &Fixture) {
    let end = f.write(f.one("a", Expect::New)).await.position;
    let checkpoints = Commit {
        checkpoints: vec![Checkpoint { subscriber: "s".into(), position: end }],
        ..Commit::default()
    };
    let committed = f.write(checkpoints).await;
    assert_eq!((committed.position, committed.versions), (end, Vec::new()));
    assert_eq!(f.log.checkpoint("s").await, Ok(Some(end)));
}
