use proptest::prelude::*;
use steadfast_bank::{
    AccountId, BankConfig, HoldId, Key, Op, Status, TransferRequest,
    op::{Capture, HoldAt, PlaceHold},
};
use steadfast_core::{Currency, Money, TenantId, Time};
use steadfast_log::{Log, Snapshot};

use crate::support::*;

#[derive(Debug, Clone)]
enum Act {
    Pay(usize, usize, i64),
    Hold(usize, usize, i64, u64),
    Capture(usize, Option<i64>),
    Release(usize),
    Wait(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let amount = prop_oneof![1..400i64, 1..5_000i64];
    let act = prop_oneof![
        4 => (0..4usize, 0..4usize, amount.clone()).prop_map(|(a, b, m)| Act::Pay(a, b, m)),
        3 => (0..4usize, 0..4usize, amount.clone(), 1..20u64)
            .prop_map(|(a, b, m, s)| Act::Hold(a, b, m, s)),
        2 => (0..8usize, prop::option::of(amount)).prop_map(|(h, m)| Act::Capture(h, m)),
        1 => (0..8usize).prop_map(Act::Release),
        1 => (1..15u64).prop_map(Act::Wait),
    ];
    prop::collection::vec(act, 1..60)
}

/// Carries the acts out and returns all that can be seen of them.
async fn play(acts: &[Act]) -> (Vec<String>, Vec<(i64, i64)>, u64) {
    let desk = desk();
    let users = ["ana", "luis", "marta", "omar"];
    let mut accounts = Vec::new();
    for user in users {
        accounts.push(open(&desk.bank, user, "checking", 1_000).await);
    }
    let mut holds: Vec<(usize, AccountId, HoldId)> = Vec::new();
    let mut seen = Vec::new();
    for (n, act) in acts.iter().enumerate() {
        let (who, op) = match act {
            Act::Pay(a, b, minor) => (*a, pay(&accounts[*a], &accounts[*b], *minor)),
            Act::Hold(a, b, minor, seconds) => {
                let op = PlaceHold {
                    from: accounts[*a].clone(),
                    to: accounts[*b].clone(),
                    amount: mxn(*minor),
                    ttl: Some(std::time::Duration::from_secs(*seconds)),
                };
                (*a, Op::Hold(op))
            }
            Act::Capture(i, minor) if !holds.is_empty() => {
                let (who, to, hold) = holds[i % holds.len()].clone();
                let from = accounts[who].clone();
                let amount = minor.map(mxn);
                (who, Op::Capture(Capture { from, to, hold, amount }))
            }
            Act::Release(i) if !holds.is_empty() => {
                let (who, _, hold) = holds[i % holds.len()].clone();
                let account = accounts[who].clone();
                (who, Op::ReleaseHold(HoldAt { account, hold }))
            }
            Act::Wait(seconds) => {
                desk.clock.advance(std::time::Duration::from_secs(*seconds));
                desk.bank.expire_due(desk.world.now()).await.expect("timers");
                continue;
            }
            Act::Capture(..) | Act::Release(_) => continue,
        };
        let result = desk.ask(users[who], &n.to_string(), op).await;
        if let (Act::Hold(a, b, ..), Ok(reply)) = (act, &result)
            && reply.answer.status == Status::Settled
        {
            let hold = reply.answer.id.parse().expect("a hold id");
            holds.push((*a, accounts[*b].clone(), hold));
        }
        seen.push(match result {
            Ok(reply) => serde_json::to_string(&reply.answer).expect("JSON"),
            Err(failure) => failure.code,
        });
    }
    let mut balances = Vec::new();
    for account in &accounts {
        balances.push(desk.balance(account).await);
    }
    desk.verified().await;
    (seen, balances, desk.events())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_asked_money_is_kept_and_the_same_seed_gives_the_same_books(acts in acts()) {
        let runtime = || {
            let mut builder = tokio::runtime::Builder::new_current_thread();
            builder.enable_time().start_paused(true).build().expect("runtime")
        };
        let first = runtime().block_on(play(&acts));
        let sum: i64 = first.1.iter().map(|(balance, _)| balance).sum();
        prop_assert_eq!(sum, 4_000);
        prop_assert!(first.1.iter().all(|(_, available)| *available >= 0));
        prop_assert_eq!(first, runtime().block_on(play(&acts)));
    }
}

#[tokio::test]
async fn bad_requests_are_refused_before_acceptance_and_claim_nothing() {
    let desk = desk();
    let ana = open(&desk.bank, "ana", "checking", 1_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    let usd = Money::new(5, Currency::USD).expect("in range");
    let ask = |to: &str, from: &AccountId, amount| TransferRequest {
        to: to.into(),
        from: Some(from.clone()),
        amount,
        memo: None,
    };
    let before = desk.events();
    for (code, request) in [
        ("money.not_positive", ask("luis", &ana, mxn(0))),
        ("money.not_positive", ask("luis", &ana, mxn(-1))),
        ("transfer.same_account", ask("ana", &ana, mxn(1))),
        ("account.no_default", ask("luis", &ana, usd)),
        ("money.currency_mismatch", ask("luis-checking", &ana, usd)),
        ("account.not_found", ask("nobody", &ana, mxn(1))),
        ("account.not_found", ask("ana", &luis, mxn(1))),
        ("account.not_found", ask("ana", &id("none"), mxn(1))),
        ("to.invalid", ask("no name", &ana, mxn(1))),
        ("memo.invalid", TransferRequest { memo: Some("x\ny".into()), ..ask("luis", &ana, mxn(1)) }),
    ] {
        let result = desk.bank.transfer(&user("ana"), client("k"), request).await;
        assert_eq!(result.expect_err("refused").code, code);
    }
    assert_eq!(desk.events(), before);
    // The key is still free.
    let reply =
        desk.bank.transfer(&user("ana"), client("k"), ask("luis", &ana, mxn(10))).await.expect("an answer");
    assert_eq!((reply.answer.status, reply.replayed), (Status::Settled, false));
    assert_eq!(desk.balance(&luis).await, (10, 10));
}

#[tokio::test]
async fn only_an_admin_opens_accounts_and_names_are_never_in_doubt() {
    let desk = desk();
    open(&desk.bank, "ana", "checking", 0).await;
    let op = |owner: &str, name: &str| steadfast_bank::op::OpenAccount {
        account: AccountId::of(owner, name).expect("a name"),
        owner: owner.into(),
        name: name.into(),
        opening: mxn(5),
        floor: 0,
        limits: steadfast_bank::Limits::default(),
    };
    let open = async |who, owner, name| {
        let key = Key::Client(format!("{owner} {name}"));
        let result = desk.bank.open_account(&who, key, op(owner, name)).await;
        result.map_err(|failure| failure.code)
    };
    let refused = open(user("eve"), "eve", "checking").await;
    assert_eq!(refused.expect_err("forbidden"), "forbidden");
    // A user called like ana's account could be paid in her stead.
    let refused = open(admin(), "ana-checking", "checking").await;
    assert_eq!(refused.expect_err("taken"), "account.name_taken");
    let refused = open(admin(), "system", "checking").await;
    assert_eq!(refused.expect_err("reserved"), "account.invalid");
    let reply = open(admin(), "ana", "checking").await.expect("an answer");
    assert_eq!(code(&reply.answer), "account_exists");
}

#[tokio::test]
async fn limits_count_what_is_held_and_a_new_day_starts_anew() {
    let desk = desk_with(BankConfig {
        per_transfer_max: Some(500),
        per_day_max: Some(800),
        ..BankConfig::default()
    });
    let ana = open(&desk.bank, "ana", "checking", 10_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    let over = desk.answer("ana", "1", pay(&ana, &luis, 501)).await;
    assert_eq!(code(&over), "over_transfer_limit");
    let hold = Op::Hold(PlaceHold { from: ana.clone(), to: luis.clone(), amount: mxn(400), ttl: None });
    assert_eq!(desk.answer("ana", "2", hold).await.status, Status::Settled);
    let over = desk.answer("ana", "held", pay(&ana, &luis, 401)).await;
    assert_eq!(code(&over), "over_daily_limit");
    let fits = desk.answer("ana", "3", pay(&ana, &luis, 400)).await;
    assert_eq!(fits.status, Status::Settled);
    let over = desk.answer("ana", "4", pay(&ana, &luis, 1)).await;
    assert_eq!(code(&over), "over_daily_limit");
    // Next day the hold is gone, and with it all that counted.
    desk.clock.jump(Time::from_micros(1_767_225_600_000_000 + 86_400_000_000));
    desk.bank.expire_due(desk.world.now()).await.expect("timers");
    let fits = desk.answer("ana", "5", pay(&ana, &luis, 500)).await;
    assert_eq!(fits.status, Status::Settled);
    let over = desk.answer("ana", "6", pay(&ana, &luis, 301)).await;
    assert_eq!(code(&over), "over_daily_limit");
    desk.verified().await;
}

#[tokio::test]
async fn a_long_account_is_read_from_its_snapshot() {
    let desk = desk_with(BankConfig { snapshot_every: 8, ..BankConfig::default() });
    let ana = open(&desk.bank, "ana", "checking", 10_000).await;
    let luis = open(&desk.bank, "luis", "checking", 0).await;
    for n in 0..25 {
        desk.answer("ana", &n.to_string(), pay(&ana, &luis, 1)).await;
    }
    let stream = ana.stream(&TenantId::default());
    let snapshot = desk.log.snapshot(&stream).await.expect("readable").expect("kept");
    assert_eq!(snapshot.version, 24);
    assert!(steadfast_bank::verify::snapshot(&*desk.log, &stream).await.expect("readable"));
    let fresh = start(desk.log.clone(), &desk.world, BankConfig::default());
    let view = fresh.account(&user("ana"), &ana).await.expect("there");
    assert_eq!(view.balance, mxn(9_975));
    let early = Snapshot { version: snapshot.version - 1, ..snapshot };
    desk.log.put_snapshot(stream.clone(), early).await.expect("kept");
    assert!(!steadfast_bank::verify::snapshot(&*desk.log, &stream).await.expect("readable"));
}
