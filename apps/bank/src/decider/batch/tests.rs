use bytes::Bytes;
use steadfast_core::{Currency, Money, Principal, TenantId, Time, canonical::Hash};
use steadfast_log::{ClaimKey, ListingChange, WakeUpChange};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::*;
use crate::{
    AccountId, Fact, HoldId, Op,
    books::State,
    decider::{Ask, Key},
    events::{HoldReleased, Release},
    op::Transfer,
};

/// How many of each a batch has, and how many more are offered to it.
#[derive(Debug, Clone, Copy)]
struct Counts {
    appends: usize,
    events: usize,
    claims: usize,
    wake_ups: usize,
    listings: usize,
    bytes: usize,
    streams: usize,
    facts: usize,
    beside: usize,
    attached: usize,
    claiming: usize,
    waking: usize,
    listing: usize,
    /// Of each body and each answer.
    body: usize,
}

fn stream(kind: &'static str, i: usize) -> StreamId {
    StreamId::new(&TenantId::default(), kind, i.to_string())
}
fn take(answer: usize) -> ClaimChange {
    let claim = Claim { request: Hash::of_bytes(b"r"), answer: "x".repeat(answer).into(), expires: None };
    ClaimChange::Take(ClaimKey(Hash::of_bytes(b"k")), claim)
}
fn wake_ups(count: usize) -> Vec<WakeUpChange> {
    vec![WakeUpChange::Clear(stream("a", 0), "w".into()); count]
}
fn listings(count: usize) -> Vec<ListingChange> {
    vec![ListingChange::Status(stream("a", 0), "open".into(), Time::from_micros(0)); count]
}

fn transfer(world: &World) -> Request {
    let account = |name| AccountId::of(name, "checking").unwrap();
    let amount = Money::new(1, Currency::MXN).unwrap();
    let (from, to) = (account("a"), account("b"));
    let op = Op::Transfer(Transfer { from, to, amount, memo: None, imported: false, booked: None });
    let ask = Ask::new(op, Principal::system(TenantId::default()), Key::None);
    Request::new(ask, world, oneshot::channel().0).unwrap()
}

fn fits(n: Counts) -> bool {
    let world = World::system();
    let mut request = transfer(&world);
    request.streams = (0..n.streams).map(|i| stream("offered", i)).collect();
    let body = Bytes::from(vec![b'x'; n.body]);
    let mut draft = Draft::settled("t", None);
    for _ in 0..n.facts {
        let hold = HoldId(Uuid::nil());
        draft.fact(0, Fact::HoldReleased(HoldReleased { hold, why: Release::Released }));
    }
    draft.beside = (0..n.beside).map(|i| (stream("beside", i), "test.happened", body.clone())).collect();
    (draft.wake_ups, draft.listings) = (wake_ups(n.waking), listings(n.listing));
    let event = || NewEvent::new(&world, "test.happened", 1, body.clone());
    let events = (0..n.attached).map(|_| event()).collect();
    let attached = Append { stream: stream("attached", 0), expect: Expect::Any, events };
    let append = |i| Append { stream: stream("had", i), expect: Expect::Any, events: Vec::new() };
    let commit = Commit {
        appends: (0..n.appends).map(append).collect(),
        claims: vec![take(0); n.claims],
        wake_ups: wake_ups(n.wake_ups),
        listings: listings(n.listings),
        ..Commit::default()
    };
    let batch = Batch { commit, events: n.events, bytes: n.bytes, ..Batch::default() };
    batch.fits(&request, &draft, Some(&attached), &vec![take(n.body); n.claiming])
}

/// What fits exactly does not fit with one more of whatever counts.
fn exactly(n: Counts, counts: &[fn(&mut Counts) -> &mut usize]) {
    assert!(fits(n), "{n:?}");
    for count in counts {
        let mut more = n;
        *count(&mut more) += 1;
        assert!(!fits(more), "{more:?}");
    }
}

#[test]
fn whatever_a_request_writes_counts_against_what_a_commit_holds() {
    let streams_and_events = Counts {
        appends: 3,
        events: 45,
        claims: 3,
        wake_ups: 3,
        listings: 3,
        bytes: 0,
        streams: 2,
        facts: 3,
        beside: 3,
        attached: 4,
        claiming: 3,
        waking: 3,
        listing: 3,
        body: 10,
    };
    exactly(
        streams_and_events,
        &[
            |n| &mut n.appends,
            |n| &mut n.events,
            |n| &mut n.streams,
            |n| &mut n.facts,
            |n| &mut n.beside,
            |n| &mut n.attached,
        ],
    );
    let items = Counts {
        events: 20,
        claims: 20,
        wake_ups: 15,
        listings: 10,
        claiming: 6,
        waking: 5,
        listing: 4,
        ..streams_and_events
    };
    exactly(
        items,
        &[
            |n| &mut n.events,
            |n| &mut n.claims,
            |n| &mut n.wake_ups,
            |n| &mut n.listings,
            |n| &mut n.facts,
            |n| &mut n.beside,
            |n| &mut n.attached,
            |n| &mut n.claiming,
            |n| &mut n.waking,
            |n| &mut n.listing,
        ],
    );
    let left = 3 * 1_024 + (3 + 4 + 3) * 10;
    let bytes = Counts { events: 20, bytes: BYTES - left, ..streams_and_events };
    exactly(
        bytes,
        &[
            |n| &mut n.bytes,
            |n| &mut n.facts,
            |n| &mut n.beside,
            |n| &mut n.attached,
            |n| &mut n.claiming,
            |n| &mut n.body,
        ],
    );
}

/// Is there a place in the batch for a transfer, by what the books know of its accounts?
fn takes(batch: &mut Batch, known: usize, alone: bool) -> bool {
    let (world, mut books) = (World::system(), Books::new(0));
    let mut request = transfer(&world);
    request.alone = alone;
    for stream in request.streams.iter().take(known) {
        let entry = Entry { version: 0, snapshot: 0, tenure: 0, state: State::Absent };
        books.put(stream.clone(), entry);
    }
    !matches!(batch.offer(request, &mut books, &world, &BankConfig::default()), Offer::Full(_))
}

#[test]
fn what_is_no_longer_in_memory_is_not_decided_on() {
    assert!(takes(&mut Batch::default(), 2, false));
    assert!(!takes(&mut Batch::default(), 1, false));
}

#[test]
fn a_request_that_spoiled_a_commit_has_one_to_itself() {
    let batch = |alone| {
        let mut request = transfer(&World::system());
        request.alone = alone;
        let answer = Draft::settled("t", None).answer;
        Batch { requests: vec![Decided { request, answer, place: None }], ..Batch::default() }
    };
    for (had, offered, taken) in
        [(false, false, true), (true, false, false), (false, true, false), (true, true, false)]
    {
        assert_eq!(takes(&mut batch(had), 2, offered), taken, "{had} {offered}");
    }
    assert!(takes(&mut Batch::default(), 2, true));
}
