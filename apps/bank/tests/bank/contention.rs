use std::sync::{Arc, atomic::Ordering};

use futures::future::join_all;
use steadfast_bank::{AccountId, Ask, Bank, BankConfig, Status, events::kind};
use steadfast_core::World;
use steadfast_log::{Append, Commit, Expect, NewEvent};

use crate::support::*;

/// 64 clients, each with 50 transfers among 10 accounts, spread over the banks.
async fn storm(seed: u64, deciders: usize) {
    let world = paused_world(seed);
    let log = Arc::new(SlowLog::new(&world));
    let banks: Vec<Bank> = (0..deciders).map(|_| start(log.clone(), &world, BankConfig::default())).collect();
    let mut accounts = Vec::new();
    for n in 0..10 {
        accounts.push(open(&banks[0], &format!("u{n}"), "checking", 500).await);
    }
    let clients = (0..64).map(|n| client_of(n, &banks[n % deciders], &accounts, &world));
    let conflicts: Vec<u32> = join_all(clients).await.into_iter().flatten().collect();
    assert_eq!(conflicts.len(), 64 * 50);
    let many = conflicts.iter().filter(|n| **n >= 3).count();
    assert!(many * 100 <= conflicts.len(), "{many} transfers met 3 conflicts or more");
    if deciders == 1 {
        assert_eq!(log.conflicts.load(Ordering::Relaxed), 0);
        // A commit never rests on one that is still under way.
        assert_eq!(log.overlaps.load(Ordering::Relaxed), 0);
    }
    for bank in &banks {
        // Both had their turn.
        assert!(bank.stats().requests.load(Ordering::Relaxed) >= 1_600);
    }
    let report = verified(&log.inner).await;
    let sum: i64 = accounts.iter().map(|a| report.balances[a.stream(&admin().tenant).as_str()]).sum();
    assert_eq!(sum, 5_000);
}

async fn client_of(n: usize, bank: &Bank, accounts: &[AccountId], world: &World) -> Vec<u32> {
    let pick = |below: usize| {
        let below = u64::try_from(below).expect("small");
        usize::try_from(world.chance().below(below)).expect("small")
    };
    let mut conflicts = Vec::new();
    for i in 0..50 {
        let from = pick(10);
        let to = (from + 1 + pick(9)) % 10;
        let amount = i64::try_from(1 + pick(200)).expect("small");
        let op = pay(&accounts[from], &accounts[to], amount);
        let key = client(&format!("{n} {i}"));
        let ask = Ask::new(op, user(&format!("u{from}")), key);
        let reply = bank.ask(ask).await.expect("an answer");
        assert!(reply.answer.status == Status::Settled || code(&reply.answer) == "insufficient_funds");
        conflicts.push(reply.conflicts);
    }
    conflicts
}

#[tokio::test(start_paused = true)]
async fn sixty_four_clients_on_ten_accounts_meet_no_conflict_with_one_decider() {
    storm(11, 1).await;
}

#[tokio::test(start_paused = true)]
async fn sixty_four_clients_on_ten_accounts_hardly_meet_a_conflict_with_two_deciders() {
    storm(12, 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_foreign_commit_changed_is_read_and_decided_anew() {
    let world = paused_world(5);
    let log = Arc::new(SlowLog::new(&world));
    let bank = start(log.clone(), &world, BankConfig::default());
    let ana = open(&bank, "ana", "checking", 100).await;
    let luis = open(&bank, "luis", "checking", 0).await;
    let marta = open(&bank, "marta", "checking", 0).await;
    // Somebody else moves ana's money while our commit is on its way.
    let (stranger, a, m) = (world.clone(), ana.clone(), marta.clone());
    *log.intruder.lock().expect("lock") = Some(Box::new(move |_| {
        let side = |account: &AccountId, with: &AccountId, minor: i64, balance: i64, version| {
            let body = format!(
                r#"{{"transfer":"0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e","amount":{{"minor":{minor},"currency":"MXN"}},"balance":{balance},"with":"{with}"}}"#
            );
            Append {
                stream: account.stream(&admin().tenant),
                expect: Expect::Exact(version),
                events: vec![NewEvent::new(&stranger, kind::POSTED, 1, body.into_bytes())],
            }
        };
        let appends = vec![side(&a, &m, -70, 30, 2), side(&m, &a, 70, 70, 1)];
        Some(Commit { appends, ..Commit::default() })
    }));
    let requests = [40, 20, 20].map(|minor| {
        let op = pay(&ana, &luis, minor);
        bank.ask(Ask::new(op, user("ana"), client(&minor.to_string())))
    });
    // The two of 20 have one key: they are one.
    let replies: Vec<_> =
        join_all(requests).await.into_iter().map(|reply| reply.expect("an answer")).collect();
    assert_eq!(code(&replies[0].answer), "insufficient_funds");
    assert_eq!(replies[1].answer.status, Status::Settled);
    assert_eq!(replies[1].answer, replies[2].answer);
    assert!(replies.iter().any(|reply| reply.conflicts == 1));
    assert_eq!(log.conflicts.load(Ordering::Relaxed), 1);
    let report = verified(&log.inner).await;
    assert_eq!(report.balances["default/account/ana-checking"], 10);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_always_meets_a_conflict_is_given_up_and_nothing_happened() {
    let world = paused_world(6);
    let log = Arc::new(SlowLog::new(&world));
    let bank = start(log.clone(), &world, BankConfig::default());
    let ana = open(&bank, "ana", "checking", 100).await;
    let luis = open(&bank, "luis", "checking", 0).await;
    let stranger = start(log.clone(), &world, BankConfig::default());
    drop(stranger);
    let spoiler = {
        let (log, world, ana) = (log.clone(), world.clone(), ana.clone());
        tokio::spawn(async move {
            for _ in 0..400 {
                let (w, a) = (world.clone(), ana.clone());
                *log.intruder.lock().expect("lock") = Some(Box::new(move |_| {
                    let body = r#"{"id":"0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e","operation":"x","code":"y"}"#;
                    let event = NewEvent::new(&w, kind::ACCOUNT_REFUSED, 1, body.as_bytes());
                    let stream = a.stream(&admin().tenant);
                    Some(Commit::append(stream, Expect::Any, vec![event]))
                }));
                world.clock().sleep(std::time::Duration::from_micros(500)).await;
            }
        })
    };
    let result = bank.ask(Ask::new(pay(&ana, &luis, 1), user("ana"), client("k"))).await;
    let failure = result.expect_err("given up");
    assert_eq!(failure.code, "ledger.contended");
    assert!(failure.retryable && failure.nothing_happened);
    assert_eq!(log.conflicts.load(Ordering::Relaxed), 9);
    spawn_end(spoiler).await;
    log.intruder.lock().expect("lock").take();
    let reply = bank.ask(Ask::new(pay(&ana, &luis, 1), user("ana"), client("k"))).await;
    assert!(!reply.expect("an answer").replayed);
    verified(&log.inner).await;
}

async fn spawn_end(task: tokio::task::JoinHandle<()>) {
    task.await.expect("the spoiler ends");
}
