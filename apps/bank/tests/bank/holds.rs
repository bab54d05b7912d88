use std::time::Duration;

use steadfast_bank::{
    AccountId, HoldId, Op, Status,
    op::{Capture, HoldAt, PlaceHold},
};

use crate::support::*;

struct Held {
    desk: Desk,
    ana: AccountId,
    shop: AccountId,
    hold: HoldId,
}

async fn held(minor: i64) -> Held {
    let desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 1_000).await;
    let shop = open(&desk.bank, "shop", "checking", 0).await;
    let op = Op::Hold(PlaceHold {
        from: ana.clone(),
        to: shop.clone(),
        amount: mxn(minor),
        ttl: Some(Duration::from_secs(60)),
    });
    let answer = desk.answer("ana", "hold", op).await;
    let hold = answer.id.parse().expect("a hold id");
    Held { desk, ana, shop, hold }
}

impl Held {
    fn capture(&self, minor: Option<i64>) -> Op {
        Op::Capture(Capture {
            from: self.ana.clone(),
            to: self.shop.clone(),
            hold: self.hold,
            amount: minor.map(mxn),
        })
    }
    fn release(&self) -> Op {
        Op::ReleaseHold(HoldAt { account: self.ana.clone(), hold: self.hold })
    }
}

#[tokio::test]
async fn a_hold_counts_against_what_is_available_and_not_against_the_balance() {
    let held = held(700).await;
    assert_eq!(held.desk.balance(&held.ana).await, (1_000, 300));
    let op = pay(&held.ana, &held.shop, 301);
    let answer = held.desk.answer("ana", "p", op).await;
    assert_eq!(code(&answer), "insufficient_funds");
    let data = answer.reason.expect("refused").data.expect("figures");
    assert_eq!(data["available"]["minor"], 300);
    assert_eq!(held.desk.verified().await.holds, 1);
}

#[tokio::test]
async fn a_part_is_captured_and_the_rest_is_free_again() {
    let held = held(700).await;
    let over = held.desk.answer("ana", "over", held.capture(Some(701))).await;
    assert_eq!(code(&over), "over_hold");
    let answer = held.desk.answer("ana", "c", held.capture(Some(450))).await;
    assert_eq!(answer.amount, Some(mxn(450)));
    assert_eq!(held.desk.balance(&held.ana).await, (550, 550));
    assert_eq!(held.desk.balance(&held.shop).await, (450, 450));
    // It is resolved: nothing can be done with it again.
    for (key, op) in [("c2", held.capture(None)), ("r2", held.release())] {
        let answer = held.desk.answer("ana", key, op).await;
        assert_eq!(code(&answer), "hold_not_open");
    }
    assert_eq!(held.desk.verified().await.holds, 0);
}

#[tokio::test]
async fn a_hold_ends_by_timer_and_is_not_captured_after_its_time() {
    let held = held(700).await;
    let desk = &held.desk;
    assert_eq!(desk.bank.expire_due(desk.world.now()).await, Ok(0));
    desk.clock.advance(Duration::from_secs(60));
    // The timer has not come round yet: too late all the same.
    let late = desk.answer("ana", "late", held.capture(None)).await;
    assert_eq!(code(&late), "hold_expired");
    assert_eq!(desk.bank.expire_due(desk.world.now()).await, Ok(1));
    assert_eq!(desk.balance(&held.ana).await, (1_000, 1_000));
    assert_eq!(desk.bank.expire_due(desk.world.now()).await, Ok(0));
    let answer = desk.answer("ana", "later", held.capture(None)).await;
    assert_eq!((answer.status, code(&answer)), (Status::Refused, "hold_not_open"));
    desk.verified().await;
}

#[tokio::test]
async fn a_hold_pays_only_the_one_it_is_for_and_only_its_owner_uses_it() {
    let held = held(700).await;
    let desk = &held.desk;
    let thief = open(&desk.bank, "thief", "checking", 0).await;
    let op = Op::Capture(Capture { from: held.ana.clone(), to: thief, hold: held.hold, amount: None });
    let failure = desk.ask("ana", "x", op).await.expect_err("refused");
    assert_eq!(failure.code, "hold.other_payee");
    for op in [held.capture(None), held.release()] {
        let failure = desk.ask("thief", "y", op).await.expect_err("refused");
        assert_eq!(failure.code, "account.not_found");
    }
    assert_eq!(desk.verified().await.holds, 1);
}

#[tokio::test]
async fn two_who_resolve_one_hold_at_once_resolve_it_once() {
    let held = held(700).await;
    let desk = &held.desk;
    let (a, b) =
        tokio::join!(desk.answer("ana", "a", held.capture(None)), desk.answer("ana", "b", held.release()),);
    assert_eq!((a.status, code(&b)), (Status::Settled, "hold_not_open"));
    assert_eq!(desk.balance(&held.shop).await.0, 700);
    desk.verified().await;
}
