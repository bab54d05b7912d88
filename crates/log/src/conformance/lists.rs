use std::{collections::BTreeMap, time::Duration};

use steadfast_core::{NodeId, TenantId, Time};

use super::{Fixture, stream};
use crate::{Commit, DueQuery, Expect, ListQuery, Listing, ListingChange, StreamId, WakeUp, WakeUpChange};

fn due(until: Time, after: Option<WakeUp>, limit: usize) -> DueQuery {
    DueQuery { category: "test", until, after, limit }
}

fn wake_up(name: &str, which: &'static str, seconds: u64) -> WakeUp {
    WakeUp {
        stream: stream(name),
        name: which.into(),
        due: Time::from_micros(0).after(Duration::from_secs(seconds)),
        owner: (seconds.is_multiple_of(2)).then(|| NodeId::from_bytes([7; 16])),
    }
}

impl Fixture {
    async fn change_wake_ups(&self, changes: Vec<WakeUpChange>) {
        let mut commit = self.one("driver", Expect::Any);
        commit.wake_ups = changes;
        self.write(commit).await;
    }

    async fn put(&self, listings: Vec<Listing>) {
        let mut commit = self.one("driver", Expect::Any);
        commit.listings = listings.into_iter().map(ListingChange::Put).collect();
        self.write(commit).await;
    }

    async fn list(&self, query: ListQuery) -> Vec<String> {
        let listings = self.log.list(query).await.expect("a list");
        listings.rows.iter().map(|row| row.stream.name().to_owned()).collect()
    }
}

pub(super) async fn wake_ups_come_in_order_and_page_without_loss(f: &Fixture) {
    // "a-b" sorts before "a/b" as text, though '/' ends a part.
    let mut wanted = vec![
        wake_up("b", "two", 1),
        wake_up("a-b", "one", 1),
        wake_up("a/b", "one", 1),
        wake_up("b", "one", 1),
        wake_up("a", "late", 3),
        wake_up("c", "soon", 2),
    ];
    f.change_wake_ups(wanted.iter().cloned().map(WakeUpChange::Set).collect()).await;
    let elsewhere =
        WakeUp { stream: StreamId::new(&TenantId::default(), "other", "a"), ..wake_up("a", "x", 1) };
    let tenant = WakeUp {
        stream: StreamId::new(&"acme".parse().expect("a name"), "test", "a"),
        ..wake_up("a", "x", 2)
    };
    f.change_wake_ups(vec![WakeUpChange::Set(elsewhere), WakeUpChange::Set(tenant.clone())]).await;
    wanted.push(tenant);
    wanted.sort_by(|a, b| (a.due, &a.stream, &a.name).cmp(&(b.due, &b.stream, &b.name)));

    let until = Time::from_micros(3_000_000);
    let all = f.log.due(due(until, None, 100)).await.expect("due");
    assert_eq!(all, wanted);
    for size in 1..=4 {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = f.log.due(due(until, after, size)).await.expect("due");
            assert!(page.len() <= size);
            let Some(last) = page.last() else { break };
            after = Some(last.clone());
            paged.extend(page);
        }
        assert_eq!(paged, wanted, "pages of {size}");
    }
    let early = Time::from_micros(2_999_999);
    let some = f.log.due(due(early, None, 100)).await.expect("due");
    assert_eq!(some, wanted[..wanted.len() - 1]);
}

pub(super) async fn a_wake_up_is_replaced_and_cleared_by_its_name(f: &Fixture) {
    let all = || async {
        let query = due(Time::NEVER, None, 100);
        f.log.due(query).await.expect("due")
    };
    let (first, other) = (wake_up("a", "one", 5), wake_up("a", "two", 6));
    f.change_wake_ups(vec![WakeUpChange::Set(first.clone()), WakeUpChange::Set(other.clone())]).await;
    let moved = wake_up("a", "one", 9);
    f.change_wake_ups(vec![WakeUpChange::Set(moved.clone())]).await;
    assert_eq!(all().await, [other, moved.clone()]);
    f.change_wake_ups(vec![
        WakeUpChange::Clear(stream("a"), "two".into()),
        WakeUpChange::Clear(stream("a"), "never".into()),
        WakeUpChange::Clear(stream("nobody"), "one".into()),
    ])
    .await;
    assert_eq!(all().await, [moved]);
}

fn listing(name: &str, created: i64) -> Listing {
    Listing {
        stream: stream(name),
        kind: "purchase".into(),
        status: "running".into(),
        principal: None,
        labels: BTreeMap::new(),
        created: Time::from_micros(created),
        updated: Time::from_micros(created),
    }
}

fn query() -> ListQuery {
    ListQuery { category: "test".into(), limit: 100, ..ListQuery::default() }
}

pub(super) async fn listings_come_newest_first_and_page_without_loss(f: &Fixture) {
    let mut rows = vec![
        listing("a", 3),
        listing("c", 1),
        listing("b-", 2),
        listing("b/", 2),
        listing("b", 2),
        listing("d", 2),
    ];
    // Pages must not lose their order where several statuses are merged.
    rows[1].status = "failed".into();
    rows[4].status = "failed".into();
    f.put(rows).await;
    let wanted = ["a", "d", "b/", "b-", "b", "c"];
    assert_eq!(f.list(query()).await, wanted);
    for size in 1..=7 {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = f.log.list(ListQuery { after, limit: size, ..query() }).await.expect("a page");
            assert_eq!(page.more, paged.len() + page.rows.len() < wanted.len());
            paged.extend(page.rows.iter().map(|row| row.stream.name().to_owned()));
            let Some(last) = page.rows.last().filter(|_| page.more) else {
                break;
            };
            after = Some((last.created, last.stream.clone()));
        }
        assert_eq!(paged, wanted, "pages of {size}");
    }
}

pub(super) async fn every_filter_of_a_list_narrows_it_and_the_count(f: &Fixture) {
    let mut rows = vec![listing("a", 1), listing("b", 2), listing("c", 3), listing("d", 4)];
    rows[0].kind = "refund".into();
    rows[1].status = "failed".into();
    rows[2].principal = Some("ana".into());
    rows[3].principal = Some("ana".into());
    rows[3].status = "done".into();
    for (row, labels) in
        rows.iter_mut().zip([&[("x", "1")][..], &[("x", "1"), ("y", "2")], &[("x", "2"), ("y", "2")], &[]])
    {
        row.labels = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    }
    f.put(rows).await;
    let strings = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let with = |change: &dyn Fn(&mut ListQuery)| {
        let mut query = query();
        change(&mut query);
        query
    };
    let label = |query: &mut ListQuery, name: &str, value: &str| {
        query.labels.insert(name.into(), value.into());
    };
    let cases: Vec<(ListQuery, &[&str])> = vec![
        (query(), &["d", "c", "b", "a"]),
        (with(&|q| q.kind = Some("refund".into())), &["a"]),
        (with(&|q| q.kind = Some("purchase".into())), &["d", "c", "b"]),
        (with(&|q| q.statuses = strings(&["failed"])), &["b"]),
        (with(&|q| q.statuses = strings(&["failed", "done", "failed", "none"])), &["d", "b"]),
        (with(&|q| q.principal = Some("ana".into())), &["d", "c"]),
        (with(&|q| label(q, "x", "1")), &["b", "a"]),
        (
            with(&|q| {
                label(q, "x", "1");
                label(q, "y", "2");
            }),
            &["b"],
        ),
        (
            with(&|q| {
                q.principal = Some("ana".into());
                q.statuses = strings(&["done"]);
            }),
            &["d"],
        ),
        (
            with(&|q| {
                q.kind = Some("purchase".into());
                q.statuses = strings(&["running", "failed"]);
                label(q, "y", "2");
            }),
            &["c", "b"],
        ),
        (with(&|q| q.category = "other".into()), &[]),
        (with(&|q| q.tenant = "acme".parse().expect("a name")), &[]),
    ];
    for (query, wanted) in cases {
        assert_eq!(f.list(query.clone()).await, wanted, "{query:?}");
        let count = f.log.count(ListQuery { limit: 1, ..query }).await;
        assert_eq!(count, Ok(wanted.len() as u64));
    }
}

pub(super) async fn a_listing_put_again_replaces_row_and_labels(f: &Fixture) {
    let mut row = listing("a", 1);
    row.labels.insert("x".into(), "1".into());
    f.put(vec![row.clone()]).await;
    row.labels = BTreeMap::from([("y".to_owned(), "2".to_owned())]);
    row.created = Time::from_micros(2);
    row.kind = "refund".into();
    f.put(vec![row.clone()]).await;
    let by = |name: &str, value: &str| ListQuery {
        labels: BTreeMap::from([(name.to_owned(), value.to_owned())]),
        ..query()
    };
    assert_eq!(f.list(by("x", "1")).await, [""; 0]);
    assert_eq!(f.list(by("y", "2")).await, ["a"]);
    let at = Time::from_micros(9);
    let mut commit: Commit = f.one("driver", Expect::Any);
    commit.listings = vec![
        ListingChange::Status(stream("a"), "done".into(), at),
        ListingChange::Status(stream("nobody"), "done".into(), at),
    ];
    f.write(commit).await;
    row.status = "done".into();
    row.updated = at;
    let listings = f.log.list(query()).await.expect("a list");
    assert_eq!(listings.rows, [row]);
    assert!(!listings.more);
}
