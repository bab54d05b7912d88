//! The purchase run: the goods and the money move once, or not at all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt as _};
use steadfast_bank::{
    Bank, BankConfig, ProductId, demo,
    purchase::{PURCHASE, PurchaseRequest, Receipt, register},
    verify,
};
use steadfast_core::{NodeId, RunId, TenantId, World, chance::Seeded, observe::silent, time::PausedClock};
use steadfast_engine::{Data, Engine, EngineConfig, Registry, Settled, Start, Status};
use steadfast_log::{Between, Commit, CommitError, Committed, ListQuery, Log, MemoryLog, Mortal, StreamId};

use crate::support::*;

/// A node with a bank in it, on a log that may outlive it.
fn node(log: Arc<dyn Log>, world: &World) -> (Bank, Engine) {
    let (bank, decider) = Bank::open(log.clone(), world.clone(), NodeId::next(world), BankConfig::default());
    tokio::spawn(decider);
    let mut registry = Registry::default();
    register(&mut registry, &bank);
    let engine = Engine::new(log, world.clone(), registry, EngineConfig::default(), silent());
    let running = engine.clone();
    tokio::spawn(async move { running.run().await });
    (bank, engine)
}

async fn house() -> (Arc<MemoryLog>, World) {
    let clock = PausedClock::at("2026-01-01T00:00:00Z".parse().expect("a time"));
    let world = World::new(Arc::new(clock), Arc::new(Seeded::new(7)));
    let log = Arc::new(MemoryLog::new(world.clone()));
    let (bank, _engine) = node(log.clone(), &world);
    demo::seed(&bank, &TenantId::default()).await.expect("seeded");
    (log, world)
}

async fn buy(engine: &Engine, user: &str, product: &ProductId, quantity: u32) -> RunId {
    let request = PurchaseRequest { product: product.clone(), quantity, from: None, total: None };
    let input = Data::of(&request).expect("json");
    engine.start(Start::new(TenantId::default(), user, PURCHASE, input)).await.expect("accepted").run
}

async fn finish(engine: &Engine, run: RunId) -> Settled {
    let settled = engine.wait(&TenantId::default(), run, Duration::from_secs(10_000)).await;
    settled.expect("readable").expect("the run ends")
}

async fn story(log: &dyn Log, run: RunId) -> Vec<String> {
    let stream = StreamId::new(&TenantId::default(), "purchase", run);
    let events = log.read_stream(&stream, 1, 100).await.expect("readable");
    events.iter().map(|recorded| recorded.event.kind.to_string()).collect()
}

async fn product_of(bank: &Bank, fits: impl Fn(u32, i64) -> bool) -> (ProductId, i64) {
    let (products, _) = bank.products(&user("ana"), None, 100).await.expect("listed");
    let found = products.iter().find(|product| fits(product.stock, product.price.minor())).expect("one fits");
    (found.id.clone(), found.price.minor())
}

async fn books_are_right(log: &dyn Log) {
    let report = verify::verify(log).await.expect("read");
    assert!(report.passed(), "{report:?}");
}

#[tokio::test(start_paused = true)]
async fn a_purchase_pays_the_merchant_and_hands_over_the_goods() {
    let (log, world) = house().await;
    let (bank, engine) = node(log.clone(), &world);
    let (product, price) = product_of(&bank, |stock, price| stock > 5 && price < 50_000).await;
    let before = bank.product(&user("ana"), &product).await.expect("there").stock;
    let run = buy(&engine, "ana", &product, 2).await;
    let receipt: Receipt = finish(&engine, run).await.outcome.expect("bought").read().expect("a receipt");
    assert_eq!((receipt.quantity, receipt.total.minor()), (2, price * 2));
    assert_eq!(bank.product(&user("ana"), &product).await.expect("there").stock, before - 2);
    let account = bank.account(&user("ana"), &receipt.from).await.expect("there");
    assert_eq!(account.balance.minor(), 2_500_000 - price * 2);
    let wanted = ["PURCHASE_INITIATED", "INVENTORY_RESERVED", "PAYMENT_COMPLETED", "PURCHASE_COMPLETED"];
    assert_eq!(story(&*log, run).await, wanted);
    books_are_right(&*log).await;
}

#[tokio::test(start_paused = true)]
async fn a_purchase_that_cannot_be_paid_gives_the_goods_back_and_says_why() {
    let (log, world) = house().await;
    let (bank, engine) = node(log.clone(), &world);
    let (product, _) = product_of(&bank, |stock, price| stock > 0 && price > 150_000).await;
    let before = bank.product(&user("marta"), &product).await.expect("there").stock;
    let run = buy(&engine, "marta", &product, 1).await;
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Failed);
    assert_eq!(settled.outcome.expect_err("refused").code, "insufficient_funds");
    assert_eq!(bank.product(&user("marta"), &product).await.expect("there").stock, before);
    let wanted = ["PURCHASE_INITIATED", "INVENTORY_RESERVED", "PAYMENT_FAILED", "INVENTORY_RELEASED"];
    assert_eq!(story(&*log, run).await, wanted);
    books_are_right(&*log).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_item_goes_to_one_of_two_buyers() {
    let (log, world) = house().await;
    let (bank, engine) = node(log.clone(), &world);
    let (product, _) = product_of(&bank, |stock, _| stock == 1).await;
    let runs = [buy(&engine, "ana", &product, 1).await, buy(&engine, "luis", &product, 1).await];
    let mut ends = Vec::new();
    for run in runs {
        let settled = finish(&engine, run).await;
        ends.push(settled.outcome.map_or_else(|failure| failure.code, |_| "bought".into()));
    }
    ends.sort();
    assert_eq!(ends, ["bought", "out_of_stock"]);
    assert_eq!(bank.product(&user("ana"), &product).await.expect("there").stock, 0);
    books_are_right(&*log).await;
}

#[tokio::test(start_paused = true)]
async fn g3_a_purchase_survives_a_crash_at_any_commit_and_moves_once() {
    for last_happens in [false, true] {
        for commits in 2..12 {
            let (log, world) = house().await;
            let mortal = Arc::new(Mortal::new(log.clone(), commits, last_happens));
            let (doomed_bank, doomed) = node(mortal, &world);
            let (product, price) = product_of(&doomed_bank, |stock, price| stock > 5 && price < 50_000).await;
            let run = buy(&doomed, "ana", &product, 1).await;
            world.clock().sleep(Duration::from_secs(60)).await;

            let (bank, engine) = node(log.clone(), &world);
            let settled = finish(&engine, run).await;
            assert_eq!(settled.status, Status::Completed, "crash at commit {commits}");
            let account = bank.account(&user("ana"), &id("ana-checking")).await.expect("there");
            assert_eq!(account.balance.minor(), 2_500_000 - price, "crash at commit {commits}");
            assert_eq!(account.available.minor(), 2_500_000 - price, "nothing is tied up");
            books_are_right(&*log).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g4_a_failing_purchase_survives_a_crash_at_any_commit_and_ties_nothing_up() {
    for last_happens in [false, true] {
        for commits in 2..12 {
            let (log, world) = house().await;
            let mortal = Arc::new(Mortal::new(log.clone(), commits, last_happens));
            let (doomed_bank, doomed) = node(mortal, &world);
            let (product, _) = product_of(&doomed_bank, |stock, price| stock > 0 && price > 150_000).await;
            let before = doomed_bank.product(&user("marta"), &product).await.expect("there").stock;
            let run = buy(&doomed, "marta", &product, 1).await;
            world.clock().sleep(Duration::from_secs(60)).await;

            let (bank, engine) = node(log.clone(), &world);
            assert_eq!(finish(&engine, run).await.status, Status::Failed, "crash at commit {commits}");
            assert_eq!(bank.product(&user("marta"), &product).await.expect("there").stock, before);
            books_are_right(&*log).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_purchase_that_an_inactive_customer_begins_by_its_workflow_comes_to_nothing() {
    let (log, world) = house().await;
    let (bank, engine) = node(log.clone(), &world);
    bank.set_active(&admin(), "ana", false).await.expect("written");
    let (product, _) = product_of(&bank, |stock, _| stock > 5).await;
    let run = buy(&engine, "ana", &product, 1).await;
    let failure = finish(&engine, run).await.outcome.expect_err("not hers to buy");
    assert_eq!(failure.code, "customer.inactive");
    assert_eq!(story(&*log, run).await, Vec::<String>::new());
    books_are_right(&*log).await;
}

/// A way to the log on which nothing can be sold.
struct Unsold(Arc<MemoryLog>, AtomicBool);

impl Between for Unsold {
    fn store(&self) -> &dyn Log {
        &*self.0
    }
    fn carry(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        let mut events = commit.appends.iter().flat_map(|append| &append.events);
        if self.1.load(Ordering::SeqCst) && events.any(|event| event.kind == "product.sold") {
            return async { Err(CommitError::Unavailable("away".into())) }.boxed();
        }
        self.0.commit(commit)
    }
}

#[tokio::test(start_paused = true)]
async fn a_purchase_that_gave_up_and_is_replayed_leaves_right_books() {
    let (log, world) = house().await;
    let away = Arc::new(Unsold(log.clone(), AtomicBool::new(true)));
    let (bank, engine) = node(away.clone(), &world);
    let (product, price) = product_of(&bank, |stock, price| stock > 5 && price < 50_000).await;
    let run = buy(&engine, "ana", &product, 1).await;
    assert_eq!(finish(&engine, run).await.status, Status::Dead);
    books_are_right(&*log).await;
    away.1.store(false, Ordering::SeqCst);
    let query = ListQuery { tenant: TenantId::default(), limit: 10, ..ListQuery::default() };
    let (letters, _) = engine.dead_letters(query).await.expect("listed");
    engine.replay(&TenantId::default(), letters[0].id, "olga").await.expect("replayed");
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
    let account = bank.account(&user("ana"), &id("ana-checking")).await.expect("there");
    assert_eq!(account.available.minor(), 2_500_000 - price);
    assert_eq!(story(&*log, run).await.iter().filter(|kind| *kind == "PURCHASE_INITIATED").count(), 2);
    books_are_right(&*log).await;
}
