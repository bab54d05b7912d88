//! What is just allowed, and what is just too much.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures::future::join_all;
use steadfast_bank::{
    AccountId, Ask, Attach, Bank, BankConfig, Key, Limits, Op, PurchaseId, Status,
    op::{OpenAccount, PlaceHold},
};
use steadfast_core::{Failure, NodeId, TenantId, World, money::MAX_MINOR};
use steadfast_log::{Append, Expect, MemoryLog, NewEvent, StreamId};

use crate::support::*;

async fn open_with(bank: &Bank, owner: &str, opening: i64, floor: i64) -> Result<AccountId, Failure> {
    let account = AccountId::of(owner, "checking").expect("a name");
    let op = OpenAccount {
        account: account.clone(),
        owner: owner.into(),
        name: "checking".into(),
        opening: mxn(opening),
        floor,
        limits: Limits::default(),
    };
    let reply = bank.open_account(&admin(), Key::Import(account.to_string()), op).await?;
    assert_eq!(reply.answer.status, Status::Settled);
    Ok(account)
}

#[tokio::test]
async fn an_account_may_owe_down_to_its_floor_and_is_told_what_it_has_until_there() {
    let desk = desk();
    let ana = open_with(&desk.bank, "ana", 50, -100).await.expect("opened");
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    let over = desk.answer("ana", "over", pay(&ana, &luis, 151)).await;
    assert_eq!(code(&over), "insufficient_funds");
    let figures = over.reason.expect("refused").data.expect("figures");
    assert_eq!((&figures["available"]["minor"], &figures["asked"]["minor"]), (&150.into(), &151.into()));
    let fits = desk.answer("ana", "fits", pay(&ana, &luis, 150)).await;
    assert_eq!(fits.status, Status::Settled);
    assert_eq!(desk.balance(&ana).await.0, -100);
    for (opening, floor) in [(-1, 0), (0, 1), (-1, 1)] {
        let failure = open_with(&desk.bank, "marta", opening, floor).await.expect_err("refused");
        assert_eq!(failure.code, "account.invalid");
    }
    desk.verified().await;
}

#[tokio::test]
async fn neither_an_account_nor_the_books_hold_more_than_every_reader_can_read() {
    let desk = desk();
    let debtor = open_with(&desk.bank, "debtor", 0, -10).await.expect("opened");
    let rich = open(&desk.bank, "rich", "checking", MAX_MINOR - 1).await;
    open(&desk.bank, "last", "checking", 1).await;
    let failure = open_with(&desk.bank, "more", 1, 0).await.expect_err("equity is at its end");
    assert_eq!(failure.code, "money.out_of_range");
    let fits = desk.answer("debtor", "fits", pay(&debtor, &rich, 1)).await;
    assert_eq!(fits.status, Status::Settled);
    let over = desk.answer("debtor", "over", pay(&debtor, &rich, 1)).await;
    assert_eq!(code(&over), "balance_out_of_range");
    assert_eq!(desk.balance(&rich).await.0, MAX_MINOR);
    desk.verified().await;
}

#[tokio::test]
async fn a_hold_lasts_longer_than_nothing_and_at_most_as_long_as_the_bank_says() {
    let desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 1_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    let most = BankConfig::default().hold_ttl_max.get();
    let hold = async |key: &str, ttl| {
        let op = PlaceHold { from: ana.clone(), to: luis.clone(), amount: mxn(1), ttl: Some(ttl) };
        desk.ask("ana", key, Op::Hold(op)).await
    };
    for (key, ttl) in [("none", Duration::ZERO), ("over", most + Duration::from_micros(1))] {
        assert_eq!(hold(key, ttl).await.expect_err("refused").code, "ttl.out_of_range");
    }
    for (key, ttl) in [("least", Duration::from_micros(1)), ("most", most)] {
        assert_eq!(hold(key, ttl).await.expect("accepted").answer.status, Status::Settled);
    }
}

/// Asks for all of it at once and counts the commits that it took.
async fn commits(desk: &Desk, asks: Vec<Ask>) -> u64 {
    let before = desk.bank.stats().commits.load(Ordering::Relaxed);
    for reply in join_all(asks.into_iter().map(|ask| desk.bank.ask(ask))).await {
        assert_eq!(reply.expect("an answer").answer.status, Status::Settled);
    }
    desk.bank.stats().commits.load(Ordering::Relaxed) - before
}

#[tokio::test]
async fn a_commit_takes_in_as_many_requests_as_it_can_hold() {
    let desk = desk();
    let mut accounts = Vec::new();
    for n in 0..34 {
        accounts.push(open(&desk.bank, &format!("u{n}"), "checking", 1_000).await);
    }
    let ask = |from: usize, key: String| {
        let op = pay(&accounts[from], &accounts[from + 1], 1);
        Ask::new(op, user(&format!("u{from}")), client(&key))
    };
    // Two events and a claim each, of 90 items; the streams are the same.
    for (count, expected) in [(30, 1), (31, 2)] {
        let asks = (0..count).map(|n| ask(0, format!("{count} {n}"))).collect();
        assert_eq!(commits(&desk, asks).await, expected, "{count} on one pair of accounts");
    }
    // Two streams and two events each, of 64.
    for (count, expected) in [(16, 1), (17, 2)] {
        let asks = (0..count).map(|n| ask(2 * n, format!("apart {count} {n}"))).collect();
        assert_eq!(commits(&desk, asks).await, expected, "{count} on accounts of their own");
    }
    // What stands beside them counts too: with an event and a stream more each, 2 + 15 * 4.
    for (count, expected) in [(15, 1), (16, 2)] {
        let asks = (0..count).map(|n| {
            let mut ask = ask(0, format!("of purchases {count} {n}"));
            ask.purchase = Some(PurchaseId(desk.world.uuid()));
            ask
        });
        assert_eq!(commits(&desk, asks.collect()).await, expected, "{count} of purchases");
        let asks = (0..count).map(|n| {
            let key = format!("of-runs-{count}-{n}");
            let mut ask = Ask::new(pay(&accounts[0], &accounts[1], 1), user("u0"), Key::Effect(key.clone()));
            ask.attach = Some(attach(&desk.world, key, 1));
            ask
        });
        assert_eq!(commits(&desk, asks.collect()).await, expected, "{count} of runs");
    }
    // The bytes of what is attached count, and those of the facts beside it.
    for (bytes, expected) in [(120_000, 1), (121_500, 2)] {
        let asks = ["one", "other"].map(|name| {
            let key = Key::Effect(format!("{name} {bytes}"));
            let mut ask = Ask::new(pay(&accounts[0], &accounts[1], 1), user("u0"), key);
            ask.attach = Some(attach(&desk.world, format!("{name} {bytes}").replace(' ', "-"), bytes));
            ask
        });
        assert_eq!(commits(&desk, asks.to_vec()).await, expected, "twice {bytes} bytes");
    }
    desk.verified().await;
}

fn attach(world: &World, run: String, bytes: usize) -> Attach {
    let world = world.clone();
    Arc::new(move |_| {
        let stream = StreamId::new(&TenantId::default(), "run", &run);
        let event = NewEvent::new(&world, "run.message", 1, vec![b'1'; bytes]);
        Ok(Append { stream, expect: Expect::Any, events: vec![event] })
    })
}

#[tokio::test]
async fn one_that_no_commit_can_hold_spoils_none_that_came_with_it() {
    let desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 1_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    let ask = |key: &str, run: &str| {
        let mut ask = Ask::new(pay(&ana, &luis, 1), user("ana"), Key::Effect(key.into()));
        ask.attach = Some(attach(&desk.world, run.into(), 1));
        ask
    };
    // The store takes no stream of such a name.
    let asks = [ask("first", "r1"), ask("bad", "no name"), ask("last", "r2")];
    let replies = join_all(asks.map(|ask| desk.bank.ask(ask))).await;
    let codes: Vec<_> = replies.iter().map(|r| r.as_ref().map_err(|f| f.code.as_str())).collect();
    assert!(codes[0].is_ok() && codes[2].is_ok(), "{codes:?}");
    assert!(codes[1].is_err());
    assert_eq!(desk.balance(&luis).await.0, 2);
    desk.verified().await;
}

const WINDOW: Duration = Duration::from_secs(24 * 3_600);

#[tokio::test]
async fn a_key_whose_window_is_over_is_free_whatever_came_with_it() {
    let mut desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 1_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    desk.answer("ana", "old", pay(&ana, &luis, 1)).await;
    desk.clock.advance(WINDOW / 2);
    desk.answer("ana", "held", pay(&ana, &luis, 1)).await;
    let bad = pay(&ana, &id("nobody"), 1);
    let reused = desk.ask("ana", "held", bad.clone()).await.expect_err("refused");
    assert_eq!(reused.code, "idempotency_key_reused");
    desk.clock.advance(WINDOW / 2);
    desk.restart().await;
    // A request that is not accepted is held against a live record only.
    let unknown = desk.ask("ana", "old", bad).await.expect_err("refused");
    assert_eq!(unknown.code, "account.not_found");
    let (old, held) = tokio::join!(
        desk.ask("ana", "old", pay(&ana, &luis, 1)),
        desk.ask("ana", "held", pay(&ana, &luis, 1)),
    );
    assert_eq!([old, held].map(|reply| reply.expect("an answer").replayed), [false, true]);
    assert_eq!(desk.balance(&luis).await.0, 3);
}

#[tokio::test]
async fn a_key_holds_as_long_as_the_store_says_although_this_clock_is_ahead() {
    let (stores, _) = World::manual(7);
    let (ours, clock) = World::manual(8);
    let log = Arc::new(MemoryLog::new(stores));
    let start = || {
        let (bank, run) = Bank::open(log.clone(), ours.clone(), NodeId::next(&ours), BankConfig::default());
        tokio::spawn(run);
        bank
    };
    let bank = start();
    let ana = open(&bank, "ana", "checking", 1_000).await;
    let luis = open(&bank, "luis", "checking", 0).await;
    let ask = || Ask::new(pay(&ana, &luis, 1), user("ana"), client("k"));
    bank.ask(ask()).await.expect("an answer");
    clock.advance(WINDOW);
    let again = bank.ask(ask()).await.expect("an answer");
    assert!(again.replayed);
    verified(&*log).await;
}
