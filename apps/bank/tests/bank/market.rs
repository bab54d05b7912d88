use std::time::Duration;

use steadfast_bank::{
    Answer, Ask, Op, ProductId, PurchaseId, Status, demo,
    events::kind,
    op::{Capture, PlaceHold, ReservationAt, Reserve},
};
use steadfast_core::TenantId;
use steadfast_log::{ListQuery, Log};

use crate::support::*;

async fn market() -> Desk {
    let desk = desk();
    demo::seed(&desk.bank, &TenantId::default()).await.expect("seeded");
    desk
}

fn unique() -> ProductId {
    "alebrije-unico".parse().expect("a name")
}

fn reserve(quantity: u32) -> Op {
    Op::Reserve(Reserve { product: unique(), quantity, ttl: Some(Duration::from_secs(60)) })
}

fn at(reserved: &Answer) -> ReservationAt {
    ReservationAt { product: unique(), reservation: reserved.id.parse().expect("a reservation id") }
}

async fn kinds(desk: &Desk, purchase: PurchaseId) -> Vec<String> {
    let stream = purchase.stream(&TenantId::default());
    let events = desk.log.read_stream(&stream, 1, 100).await.expect("readable");
    events.iter().map(|e| e.event.kind.to_string()).collect()
}

async fn status(desk: &Desk) -> Vec<String> {
    let query = ListQuery { category: "purchase".into(), limit: 10, ..ListQuery::default() };
    let rows = desk.log.list(query).await.expect("readable").rows;
    rows.into_iter().map(|row| row.status).collect()
}

#[tokio::test]
async fn the_last_one_wanted_by_two_at_once_goes_to_one_and_the_other_hears_why() {
    let desk = market().await;
    let (a, b) = tokio::join!(desk.answer("ana", "k", reserve(1)), desk.answer("luis", "k", reserve(1)),);
    assert_eq!(a.status, Status::Settled);
    assert_eq!((b.status, code(&b)), (Status::Refused, "out_of_stock"));
    let luis_sells = desk.answer("luis", "s", Op::Sell(at(&a))).await;
    assert_eq!(code(&luis_sells), "reservation_not_open");
    let sold = desk.answer("ana", "s", Op::Sell(at(&a))).await;
    assert_eq!(sold.status, Status::Settled);
    let view = desk.bank.product(&user("ana"), &unique()).await.expect("there");
    assert_eq!(view.stock, 0);
    desk.verified().await;
}

#[tokio::test]
async fn a_reservation_that_is_released_or_runs_out_is_for_sale_again() {
    let desk = market().await;
    let first = desk.answer("ana", "1", reserve(1)).await;
    desk.answer("ana", "2", Op::ReleaseStock(at(&first))).await;
    let second = desk.answer("luis", "3", reserve(1)).await;
    assert_eq!(second.status, Status::Settled);
    desk.clock.advance(Duration::from_secs(60));
    let late = desk.answer("luis", "4", Op::Sell(at(&second))).await;
    assert_eq!(code(&late), "reservation_expired");
    assert_eq!(desk.bank.expire_due(desk.world.now()).await, Ok(1));
    let third = desk.answer("marta", "5", reserve(1)).await;
    assert_eq!(third.status, Status::Settled);
    assert_eq!(desk.verified().await.reservations, 1);
}

#[tokio::test]
async fn a_purchase_tells_its_story_in_the_commits_that_make_it() {
    let desk = market().await;
    let purchase = PurchaseId::next(&desk.world);
    let buy = async |who: &str, key: &str, op| {
        let mut ask = Ask::new(op, user(who), client(key));
        ask.purchase = Some(purchase);
        desk.bank.ask(ask).await.expect("an answer").answer
    };
    let reserved = buy("ana", "1", reserve(1)).await;
    let total = reserved.amount.expect("a price");
    let (from, to) = (id("ana-checking"), id("mercado-checking"));
    let hold = PlaceHold { from, to, amount: total, ttl: None };
    let held = buy("ana", "2", Op::Hold(hold.clone())).await;
    let capture =
        Capture { from: hold.from, to: hold.to, hold: held.id.parse().expect("a hold id"), amount: None };
    buy("ana", "3", Op::Capture(capture)).await;
    assert_eq!(status(&desk).await, ["paid"]);
    buy("ana", "4", Op::Sell(at(&reserved))).await;
    let story = [
        kind::PURCHASE_INITIATED,
        kind::INVENTORY_RESERVED,
        kind::PAYMENT_COMPLETED,
        kind::PURCHASE_COMPLETED,
    ];
    assert_eq!(kinds(&desk, purchase).await, story);
    assert_eq!(status(&desk).await, ["completed"]);
    assert_eq!(desk.balance(&id("mercado-checking")).await.0, total.minor());
    desk.verified().await;
}

#[tokio::test]
async fn a_purchase_without_funds_fails_and_gives_its_stock_back() {
    let desk = market().await;
    let marta = id("marta-checking");
    desk.answer("marta", "0", pay(&marta, &id("luis-checking"), 100_000)).await;
    let purchase = PurchaseId::next(&desk.world);
    let buy = async |key: &str, op| {
        let mut ask = Ask::new(op, user("marta"), client(key));
        ask.purchase = Some(purchase);
        desk.bank.ask(ask).await.expect("an answer").answer
    };
    let reserved = buy("1", reserve(1)).await;
    let hold = Op::Hold(PlaceHold {
        from: marta,
        to: id("mercado-checking"),
        amount: reserved.amount.expect("a price"),
        ttl: None,
    });
    assert_eq!(code(&buy("2", hold).await), "insufficient_funds");
    buy("3", Op::ReleaseStock(at(&reserved))).await;
    let story =
        [kind::PURCHASE_INITIATED, kind::INVENTORY_RESERVED, kind::PAYMENT_FAILED, kind::INVENTORY_RELEASED];
    assert_eq!(kinds(&desk, purchase).await, story);
    assert_eq!(status(&desk).await, ["failed"]);
    desk.verified().await;
}

#[tokio::test]
async fn the_demo_is_seeded_once() {
    let desk = market().await;
    let events = desk.events();
    demo::seed(&desk.bank, &TenantId::default()).await.expect("seeded");
    desk.clock.advance(Duration::from_secs(48 * 3_600));
    demo::seed(&desk.bank, &TenantId::default()).await.expect("seeded");
    assert_eq!(desk.events(), events);
    let ana = desk.bank.accounts(&user("ana"), "ana").await.expect("hers");
    let shown: Vec<_> = ana.iter().map(|a| (a.id.as_str(), a.balance.to_string())).collect();
    assert_eq!(
        shown,
        [("ana-checking", "25,000.00 MXN".to_owned()), ("ana-savings", "100,000.00 MXN".to_owned()),]
    );
    let (products, more) = desk.bank.products(&user("ana"), None, 100).await.expect("list");
    assert!(products.len() >= 20 && more.is_none());
    assert!(products.iter().any(|product| product.stock == 1));
    let report = desk.verified().await;
    assert_eq!(report.sums["MXN"], 0);
}
