//! What steps of runs rely on: promises G3 and G4.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use steadfast_bank::{
    Answer, Ask, Attach, Key, Op, ProductId, Reply, Status, demo, effect_claim,
    op::{Capture, PlaceHold, ReservationAt, Reserve, Undo},
};
use steadfast_core::{Failure, TenantId};
use steadfast_log::{Append, Expect, Log, NewEvent, StreamId};

use crate::support::*;

fn run() -> StreamId {
    StreamId::new(&TenantId::default(), "run", "r1")
}

/// Records the outcome on the run's stream, as the engine's record of a step does.
fn record(desk: &Desk) -> Attach {
    let world = desk.world.clone();
    Arc::new(move |outcome: &Result<Answer, Failure>| {
        let text = match outcome {
            Ok(answer) => format!("ok {}", answer.id),
            Err(failure) => format!("no {}", failure.code),
        };
        let event = NewEvent::new(&world, "run.message", 1, text.into_bytes());
        Ok(Append { stream: run(), expect: Expect::Any, events: vec![event] })
    })
}

async fn records(desk: &Desk) -> Vec<String> {
    let events = desk.log.read_stream(&run(), 1, 100).await.expect("readable");
    events.iter().map(|e| String::from_utf8(e.event.body.to_vec()).expect("text")).collect()
}

async fn step(desk: &Desk, key: &str, op: Op) -> Result<Reply, Failure> {
    let mut ask = Ask::new(op, user("ana"), Key::Effect(key.into()));
    ask.attach = Some(record(desk));
    desk.bank.ask(ask).await
}

async fn undo(desk: &Desk, key: &str, forward: &Op) -> Result<Reply, Failure> {
    let op = Op::Undo(Undo { forward: Box::new(forward.clone()), key: key.into() });
    step(desk, &format!("{key}!undo"), op).await
}

async fn seeded() -> Desk {
    let desk = desk();
    demo::seed(&desk.bank, &TenantId::default()).await.expect("seeded");
    desk
}

fn hold() -> Op {
    Op::Hold(PlaceHold {
        from: id("ana-checking"),
        to: id("mercado-checking"),
        amount: mxn(1_000),
        ttl: None,
    })
}

#[tokio::test]
async fn g3_an_effect_and_its_record_are_one_commit_and_happen_once() {
    let desk = seeded().await;
    let op = pay(&id("ana-checking"), &id("luis-checking"), 1_000);
    let first = step(&desk, "r1/0/pay", op.clone()).await.expect("an answer");
    let (committed, place) = first.attached.expect("attached");
    assert_eq!(committed.versions[place], 1);
    // A second attempt, long after: the same answer, and no second record.
    desk.clock.advance(Duration::from_secs(90 * 24 * 3_600));
    let again = step(&desk, "r1/0/pay", op).await.expect("an answer");
    assert_eq!((&again.answer, again.replayed), (&first.answer, true));
    assert!(again.attached.is_none());
    assert_eq!(records(&desk).await, [format!("ok {}", first.answer.id)]);
    assert_eq!(desk.balance(&id("luis-checking")).await.0, 801_000);
    // A refusal is recorded too.
    let op = pay(&id("ana-checking"), &id("luis-checking"), 90_000_000);
    step(&desk, "r1/0/more", op).await.expect("an answer");
    assert_eq!(records(&desk).await[1], "no insufficient_funds");
}

#[tokio::test]
async fn g3_records_of_one_run_at_once_keep_their_own_versions() {
    let desk = seeded().await;
    let op = |n| pay(&id("ana-checking"), &id("luis-checking"), n);
    let steps: Vec<(i64, String)> = (1..=6).map(|n| (n, format!("r1/0/{n}"))).collect();
    let replies = join_all(steps.iter().map(|(n, key)| step(&desk, key, op(*n)))).await;
    let records = records(&desk).await;
    for reply in replies {
        let reply = reply.expect("an answer");
        let (committed, place) = reply.attached.expect("attached");
        let version = usize::try_from(committed.versions[place]).expect("small");
        assert_eq!(records[version - 1], format!("ok {}", reply.answer.id));
    }
}

#[tokio::test]
async fn g4_what_happened_is_taken_back_once() {
    let desk = seeded().await;
    let (ana, shop) = (id("ana-checking"), id("mercado-checking"));
    let start = desk.balance(&ana).await;
    let held = step(&desk, "hold", hold()).await.expect("an answer").answer;
    let capture = Op::Capture(Capture {
        from: ana.clone(),
        to: shop.clone(),
        hold: held.id.parse().expect("a hold id"),
        amount: Some(mxn(400)),
    });
    step(&desk, "capture", capture.clone()).await.expect("an answer");
    assert_eq!(desk.balance(&shop).await.0, 400);
    for _ in 0..2 {
        undo(&desk, "capture", &capture).await.expect("undone");
        undo(&desk, "hold", &hold()).await.expect("undone");
        assert_eq!(desk.balance(&ana).await, start);
        assert_eq!(desk.balance(&shop).await.0, 0);
    }
    // A hold that was not captured is released.
    step(&desk, "hold 2", hold()).await.expect("an answer");
    assert_eq!(desk.balance(&ana).await.1, start.1 - 1_000);
    undo(&desk, "hold 2", &hold()).await.expect("undone");
    assert_eq!(desk.balance(&ana).await, start);
    assert_eq!(desk.verified().await.holds, 0);
}

#[tokio::test]
async fn g4_stock_comes_back_whether_reserved_or_sold() {
    let desk = seeded().await;
    let product: ProductId = "taza-barro".parse().expect("a name");
    let reserve = Op::Reserve(Reserve { product: product.clone(), quantity: 3, ttl: None });
    let stock = async || {
        let view = desk.bank.product(&user("ana"), &product).await;
        view.expect("there").stock
    };
    step(&desk, "a", reserve.clone()).await.expect("an answer");
    assert_eq!(stock().await, 57);
    undo(&desk, "a", &reserve).await.expect("undone");
    assert_eq!(stock().await, 60);

    let reserved = step(&desk, "b", reserve.clone()).await.expect("an answer").answer;
    let sell = Op::Sell(ReservationAt {
        product: product.clone(),
        reservation: reserved.id.parse().expect("a reservation id"),
    });
    step(&desk, "c", sell.clone()).await.expect("an answer");
    undo(&desk, "c", &sell).await.expect("undone");
    undo(&desk, "b", &reserve).await.expect("nothing left to undo");
    assert_eq!(stock().await, 60);
    desk.verified().await;
}

#[tokio::test]
async fn g4_what_was_undone_before_it_came_never_happens() {
    let desk = seeded().await;
    let before = desk.balance(&id("ana-checking")).await;
    let undone = undo(&desk, "hold", &hold()).await.expect("nothing to undo");
    assert_eq!(undone.answer.status, Status::Settled);
    let late = step(&desk, "hold", hold()).await.expect_err("too late");
    assert_eq!(late.code, "compensated");
    let again = undo(&desk, "hold", &hold()).await.expect("nothing to undo");
    assert!(again.replayed);
    assert_eq!(desk.balance(&id("ana-checking")).await, before);
    let claim = effect_claim(&TenantId::default(), &hold(), "hold");
    let claim = desk.log.claim(claim).await.expect("readable").expect("taken");
    assert_eq!(claim.expires, None);
    desk.verified().await;
}

#[tokio::test]
async fn g4_a_step_and_its_undoing_at_once_leave_nothing_behind() {
    let desk = seeded().await;
    let before = desk.balance(&id("ana-checking")).await;
    for n in 0..20 {
        let key = format!("hold {n}");
        let forward = hold();
        let (forward_came, undone) = if n % 2 == 0 {
            let (a, b) = tokio::join!(step(&desk, &key, hold()), undo(&desk, &key, &forward));
            (a, b)
        } else {
            let (b, a) = tokio::join!(undo(&desk, &key, &forward), step(&desk, &key, hold()));
            (a, b)
        };
        undone.expect("undone");
        match forward_came {
            Ok(reply) => assert_eq!(reply.answer.status, Status::Settled),
            Err(failure) => assert_eq!(failure.code, "compensated"),
        }
        assert_eq!(desk.balance(&id("ana-checking")).await, before);
    }
    assert_eq!(desk.verified().await.holds, 0);
}

#[tokio::test]
async fn g4_undoing_a_refusal_is_fine_and_one_that_cannot_pay_back_stays_open() {
    let desk = seeded().await;
    let (marta, luis, ana) = (id("marta-checking"), id("luis-checking"), id("ana-checking"));
    let dear = pay(&ana, &luis, 90_000_000);
    step(&desk, "dear", dear.clone()).await.expect("an answer");
    undo(&desk, "dear", &dear).await.expect("nothing to undo");

    let gift = pay(&ana, &marta, 50_000);
    step(&desk, "gift", gift.clone()).await.expect("an answer");
    desk.answer("marta", "spend", pay(&marta, &luis, 190_000)).await;
    let failure = undo(&desk, "gift", &gift).await.expect_err("spent");
    assert_eq!((failure.code.as_str(), failure.retryable), ("insufficient_funds", true));
    desk.answer("luis", "back", pay(&luis, &marta, 100_000)).await;
    undo(&desk, "gift", &gift).await.expect("undone");
    assert_eq!(desk.balance(&ana).await.0, 2_500_000);
    desk.verified().await;
}
