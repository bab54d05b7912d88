use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use steadfast_core::{CorrelationId, EventId, SessionId};

use super::{Fixture, claim, key, stream, take};
use crate::{Append, Commit, Derived, Expect, Position, Recorded, Subscription, rebuild};

/// More than any read takes; only a store that hangs is waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) async fn an_event_comes_back_as_it_was_written(f: &Fixture) {
    let mut full = f.event();
    full.kind = "test.everything".into();
    full.schema = 7;
    full.causation = Some(EventId::next(&f.world));
    full.correlation = Some(CorrelationId::next(&f.world));
    full.session = Some(SessionId::next(&f.world));
    full.key_id = Some("key-1".into());
    full.body = Bytes::from_static(&[0, 0xFF, b'\n', b'"']);
    let mut empty = f.event();
    empty.body = Bytes::new();
    let events = vec![full, empty];
    let committed = f.write(Commit::append(stream("a/b"), Expect::New, events.clone())).await;
    let read = f.log.read_stream(&stream("a/b"), 0, 10).await.expect("read");
    let wanted: Vec<Recorded> = (1..)
        .zip(events)
        .map(|(version, event)| Recorded {
            position: Position { n: committed.position.n - 2 + version, ..committed.position },
            stream: stream("a/b"),
            version,
            event,
            side: None,
            ends: version == 2,
        })
        .collect();
    assert_eq!(read, wanted);
    let page = f.log.read_all(Position::START, 10).await.expect("a page");
    assert_eq!(page.events, wanted);
}

/// As a task does that reads in one part and awaits something else in another.
pub(super) async fn a_read_that_nobody_polls_keeps_no_other_waiting(f: &Fixture) {
    f.write(f.one("a", Expect::New)).await;
    let name = stream("a");
    let mut begun: Vec<_> = (0..100).map(|_| f.log.read_stream(&name, 1, 10)).collect();
    for read in &mut begun {
        // Begun, and not looked at again for now.
        let _ = read.now_or_never();
    }
    for _ in 0..100 {
        let read = tokio::time::timeout(PATIENCE, f.log.read_stream(&name, 1, 10));
        let read = read.await.expect("a read that ends though others are not polled");
        assert_eq!(read.expect("read").len(), 1);
    }
}

pub(super) async fn a_stream_is_read_from_either_end(f: &Fixture) {
    for name in ["a", "b", "a", "a", "b", "a"] {
        f.write(f.one(name, Expect::Any)).await;
    }
    let versions = |events: Vec<Recorded>| -> Vec<u64> {
        assert!(events.iter().all(|event| event.stream == stream("a")));
        events.iter().map(|event| event.version).collect()
    };
    let forward: [(u64, usize, &[u64]); 7] = [
        (0, 10, &[1, 2, 3, 4]),
        (1, 2, &[1, 2]),
        (3, usize::MAX, &[3, 4]),
        (4, 1, &[4]),
        (5, 10, &[]),
        (u64::MAX, 10, &[]),
        (1, 0, &[]),
    ];
    for (from, limit, wanted) in forward {
        let read = f.log.read_stream(&stream("a"), from, limit).await;
        assert_eq!(versions(read.expect("read")), wanted, "from {from}");
    }
    let back: [(u64, usize, &[u64]); 6] = [
        (u64::MAX, 10, &[4, 3, 2, 1]),
        (5, 2, &[4, 3]),
        (3, 10, &[2, 1]),
        (1, 10, &[]),
        (0, 10, &[]),
        (4, 0, &[]),
    ];
    for (before, limit, wanted) in back {
        let read = f.log.read_stream_back(&stream("a"), before, limit).await;
        assert_eq!(versions(read.expect("read")), wanted, "before {before}");
    }
    let nobody = f.log.read_stream(&stream("nobody"), 1, 10).await;
    assert_eq!(nobody, Ok(Vec::new()));
}

pub(super) async fn a_page_of_the_log_never_cuts_a_commit(f: &Fixture) {
    let empty = f.log.read_all(Position::START, 10).await.expect("a page");
    assert!(empty.events.is_empty());
    for (i, size) in [3, 1, 5].into_iter().enumerate() {
        let events = f.events(size);
        f.write(Commit::append(stream(&i.to_string()), Expect::New, events)).await;
    }
    for (limit, wanted) in [(0, 3), (1, 3), (3, 3), (4, 4), (5, 9), (9, 9), (100, 9)] {
        let page = f.log.read_all(Position::START, limit).await.expect("a page");
        assert_eq!(page.events.len(), wanted, "limit {limit}");
        assert!(page.events.last().is_some_and(|last| last.ends));
        assert_eq!(page.next, page.events[wanted - 1].position);
    }
    let end = *f.log.tail().borrow();
    let over = f.log.read_all(end, 10).await.expect("a page");
    assert_eq!((over.events.len(), over.next), (0, end));
}

pub(super) async fn reading_on_from_every_page_gives_the_whole_log(f: &Fixture) {
    for i in 0..30 {
        let mut commit = Commit::append(stream(&i.to_string()), Expect::New, f.events(i % 4 + 1));
        commit.appends.push(Append { stream: stream("shared"), expect: Expect::Any, events: f.events(1) });
        f.write(commit).await;
    }
    let whole = f.log.read_all(Position::START, 1_000).await.expect("all");
    assert!(whole.events.is_sorted_by(|a, b| a.position.n < b.position.n));
    for limit in [1, 2, 7] {
        let (mut events, mut at) = (Vec::new(), Position::START);
        loop {
            let page = f.log.read_all(at, limit).await.expect("a page");
            if page.events.is_empty() {
                break;
            }
            events.extend(page.events);
            at = page.next;
        }
        assert_eq!(events, whole.events, "pages of {limit}");
    }
}

pub(super) async fn the_tail_moves_with_every_commit_and_never_with_a_refusal(f: &Fixture) {
    let mut tail = f.log.tail();
    let committed = f.write(f.one("a", Expect::New)).await;
    assert!(tail.has_changed().expect("an open store"));
    assert_eq!(*tail.borrow_and_update(), committed.position);
    f.commit(f.one("a", Expect::New)).await.expect_err("taken");
    assert_eq!(*tail.borrow_and_update(), committed.position);
    let read = f.log.read_all(Position::START, 10).await.expect("a page");
    assert_eq!(read.next, committed.position, "what the tail shows is there");
}

pub(super) async fn a_subscription_goes_on_where_it_stopped(f: &Fixture) {
    for i in 0..3 {
        f.write(f.one(&i.to_string(), Expect::New)).await;
    }
    let resume = || Subscription::resume(f.log.clone(), "reader", Position::START);
    let mut reader = resume().await.expect("opens");
    let page = reader.next(2).await.expect("a page");
    assert_eq!(page.events.len(), 2);
    let again = reader.next(2).await.expect("a page");
    assert_eq!(page, again, "not advanced, so again");
    reader.advance(page.next, true).await.expect("kept");
    let reader = resume().await.expect("opens");
    let rest = reader.next(10).await.expect("a page");
    assert_eq!(rest.events.len(), 1);
    let waiting = crate::follow(&*f.log, rest.next, 10);
    let (woken, _) = futures::join!(waiting, f.write(f.one("late", Expect::New)));
    assert_eq!(woken.expect("a page").events.len(), 1);
}

pub(super) async fn what_is_derived_is_the_fold_of_the_log(f: &Fixture) {
    let mut commit = f.one("a", Expect::New);
    commit.claims = vec![take("k", &claim("x"))];
    f.write(commit).await;
    f.write(f.one("a", Expect::Exact(1))).await;
    let folded = rebuild(&*f.log).await.expect("a fold");
    let wanted = Derived {
        claims: [(key("k"), claim("x"))].into(),
        heads: [(stream("a"), 2)].into(),
        ..Derived::default()
    };
    assert_eq!(folded, wanted);
}
