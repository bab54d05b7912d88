use std::sync::Arc;

use futures::future::join_all;
use steadfast_bank::{Ask, BankConfig, Status};

use crate::support::*;

#[tokio::test]
async fn g5_one_key_fifty_times_at_once_is_one_effect_and_fifty_equal_answers() {
    let desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 1_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    let asks = (0..50).map(|_| desk.ask("ana", "k", pay(&ana, &luis, 100)));
    let replies = join_all(asks).await;
    let first = replies[0].as_ref().expect("an answer").answer.clone();
    let mut fresh = 0;
    for reply in replies {
        let reply = reply.expect("an answer");
        assert_eq!(reply.answer, first);
        fresh += u32::from(!reply.replayed);
    }
    assert_eq!(fresh, 1);
    assert_eq!(desk.balance(&luis).await, (100, 100));
}

#[tokio::test]
async fn g5_a_key_gives_its_answer_again_also_a_refusal_and_also_after_a_restart() {
    let mut desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 100).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    let poor = desk.answer("ana", "poor", pay(&ana, &luis, 500)).await;
    assert_eq!((poor.status, code(&poor)), (Status::Refused, "insufficient_funds"));
    let paid = desk.answer("ana", "paid", pay(&ana, &luis, 60)).await;
    // Now there is enough, and the refusal still stands.
    open(&desk.bank, "rich", "checking", 1_000).await;
    desk.answer("rich", "gift", pay(&id("rich-checking"), &ana, 900)).await;
    let events = desk.events();
    for restart in [false, true] {
        if restart {
            desk.restart().await;
        }
        for (key, minor, answer) in [("poor", 500, &poor), ("paid", 60, &paid)] {
            let ask = Ask::new(pay(&ana, &luis, minor), user("ana"), client(key));
            let reply = desk.bank.ask(ask).await.expect("an answer");
            assert!(reply.replayed);
            assert_eq!(reply.answer, *answer);
        }
    }
    assert_eq!(desk.events(), events);
}

#[tokio::test]
async fn g5_a_key_with_another_request_is_refused_at_once_and_later() {
    let desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 1_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    let (first, second) =
        tokio::join!(desk.ask("ana", "k", pay(&ana, &luis, 1)), desk.ask("ana", "k", pay(&ana, &luis, 2)),);
    assert_eq!(first.expect("an answer").answer.status, Status::Settled);
    assert_eq!(second.expect_err("reused").code, "idempotency_key_reused");
    let third = desk.ask("ana", "k", pay(&ana, &luis, 3)).await;
    assert_eq!(third.expect_err("reused").code, "idempotency_key_reused");
    // Another person's key of the same text is another key.
    let other = desk.ask("luis", "k", pay(&luis, &ana, 1)).await;
    assert_eq!(other.expect("an answer").answer.status, Status::Settled);
}

#[tokio::test]
async fn g5_a_key_may_be_used_anew_after_its_window() {
    let desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 1_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    desk.answer("ana", "k", pay(&ana, &luis, 1)).await;
    desk.clock.advance(std::time::Duration::from_secs(24 * 3_600));
    let anew = desk.ask("ana", "k", pay(&ana, &luis, 2)).await;
    assert!(!anew.expect("an answer").replayed);
    assert_eq!(desk.balance(&luis).await.0, 3);
}

#[tokio::test]
async fn repeats_in_one_commit_with_new_requests_spoil_nothing() {
    let mut desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 10_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    for n in 0..20 {
        desk.answer("ana", &format!("old {n}"), pay(&ana, &luis, 1)).await;
    }
    desk.restart().await;
    let ask = |key: String| Ask::new(pay(&ana, &luis, 1), user("ana"), client(&key));
    let asks = (0..20).flat_map(|n| [ask(format!("old {n}")), ask(format!("new {n}"))]);
    let replies = join_all(asks.map(|ask| desk.bank.ask(ask))).await;
    let replayed = replies.iter().filter(|r| r.as_ref().expect("an answer").replayed);
    assert_eq!(replayed.count(), 20);
    assert_eq!(desk.balance(&luis).await.0, 40);
    desk.verified().await;
}

#[tokio::test(start_paused = true)]
async fn when_the_store_loses_track_the_claim_tells_what_happened() {
    let world = paused_world(3);
    let log = Arc::new(SlowLog::new(&world));
    let bank = start(log.clone(), &world, BankConfig::default());
    let ana = open(&bank, "ana", "checking", 1_000).await;
    let luis = open(&bank, "luis", "checking", 0).await;
    let ask = |key| bank.ask(Ask::new(pay(&ana, &luis, 10), user("ana"), client(key)));

    *log.lose.lock().expect("lock") = Some(true);
    let happened = ask("a").await.expect("found by its claim");
    assert_eq!(happened.answer.status, Status::Settled);

    *log.lose.lock().expect("lock") = Some(false);
    let failure = ask("b").await.expect_err("nobody knows");
    assert_eq!(failure.code, "store.unknown_outcome");
    assert!(failure.retryable && !failure.nothing_happened);
    let again = ask("b").await.expect("an answer");
    assert!(!again.replayed);

    let view = bank.account(&user("luis"), &luis).await.expect("there");
    assert_eq!(view.balance, mxn(20));
    verified(&log.inner).await;
}
