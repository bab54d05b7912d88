use steadfast_bank::{Key, TransferRequest};

use crate::support::*;

#[tokio::test]
async fn a_users_transactions_come_newest_first_in_pages_that_news_do_not_shift() {
    let desk = desk();
    let checking = open(&desk.bank, "ana", "checking", 10_000).await;
    let savings = open(&desk.bank, "ana", "savings", 10_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    for n in 1..=40i64 {
        desk.clock.advance(std::time::Duration::from_secs(1));
        let from = if n % 3 == 0 { &savings } else { &checking };
        desk.answer("ana", &n.to_string(), pay(from, &luis, n)).await;
        // A refusal is no movement.
        desk.answer("ana", &format!("no {n}"), pay(from, &luis, 99_999)).await;
    }
    let ana = user("ana");
    let page = |cursor: Option<String>| async move { cursor };
    let first = desk.bank.transactions_of(&ana, "ana", None, None).await.expect("page");
    let amounts = |list: &[steadfast_bank::Transaction]| -> Vec<i64> {
        list.iter().map(|t| -t.amount.minor()).collect()
    };
    assert_eq!(amounts(&first.transactions), (21..=40).rev().collect::<Vec<_>>());
    desk.answer("ana", "news", pay(&checking, &luis, 1)).await;
    let cursor = page(first.next).await;
    let second = desk.bank.transactions_of(&ana, "ana", cursor.as_deref(), Some(20)).await.expect("page");
    assert_eq!(amounts(&second.transactions), (1..=20).rev().collect::<Vec<_>>());
    let third = desk.bank.transactions_of(&ana, "ana", second.next.as_deref(), None).await.expect("page");
    assert_eq!(amounts(&third.transactions), [-10_000, -10_000]);
    assert_eq!(third.next, None);

    let one = desk.bank.transactions(&ana, &checking, None, Some(1)).await.expect("page");
    assert_eq!(one.transactions[0].amount, mxn(-1));
    assert_eq!(one.transactions[0].with, luis);
}

#[tokio::test]
async fn other_peoples_accounts_and_cursors_are_not_found() {
    let desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 10_000).await;
    open(&desk.bank, "luis", "checking", 0).await;
    let luis = user("luis");
    let bank = &desk.bank;
    let failure = bank.account(&luis, &ana).await.expect_err("hidden");
    assert_eq!(failure.code, "account.not_found");
    let same = bank.account(&luis, &id("none")).await.expect_err("not there");
    assert_eq!(failure.message.replace("ana-checking", "none"), same.message);
    let failure = bank.transactions(&luis, &ana, None, None).await.expect_err("hidden");
    assert_eq!(failure.code, "account.not_found");
    let failure = bank.transactions_of(&luis, "ana", None, None).await.expect_err("hidden");
    assert_eq!(failure.code, "user.not_found");
    for cursor in ["ana-checking@5", "x", "luis-checking@x", ""] {
        let result = bank.transactions_of(&luis, "luis", Some(cursor), None).await;
        assert_eq!(result.expect_err("refused").code, "cursor.invalid", "{cursor:?}");
    }
    for limit in [0, 201] {
        let result = bank.transactions_of(&luis, "luis", None, Some(limit)).await;
        assert_eq!(result.expect_err("refused").code, "limit.out_of_range");
    }
}

#[tokio::test]
async fn a_user_is_paid_into_their_first_checking_account() {
    let desk = desk();
    open(&desk.bank, "ana", "checking", 1_000).await;
    desk.clock.advance(std::time::Duration::from_secs(1));
    open(&desk.bank, "luis", "savings", 0).await;
    desk.clock.advance(std::time::Duration::from_secs(1));
    let first = open(&desk.bank, "luis", "checking", 0).await;
    desk.clock.advance(std::time::Duration::from_secs(1));
    open(&desk.bank, "luis", "checking-2", 0).await;
    for key in ["1", "2"] {
        let request =
            TransferRequest { to: "luis".into(), from: None, amount: mxn(10), memo: Some("café".into()) };
        let key = Key::Client(key.into());
        desk.bank.transfer(&user("ana"), key, request).await.expect("an answer");
    }
    assert_eq!(desk.balance(&first).await, (20, 20));
}
