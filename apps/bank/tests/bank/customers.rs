//! Customers: whom they know, whether they may act, and what happens when two write at once.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use steadfast_bank::{Bank, BankConfig, CONTACTS_MAX, Customer, Key, Limits, demo, op::OpenAccount, verify};
use steadfast_core::{Failure, Principal, Role, TenantId};
use steadfast_log::{ClaimKey, Commit, Expect, Log, NewEvent, Snapshot, StreamId};

use crate::support::*;

async fn people() -> Desk {
    let desk = desk();
    for who in ["ana", "luis", "marta"] {
        open(&desk.bank, who, "checking", 1_000).await;
    }
    desk
}

fn operator() -> Principal {
    Principal { role: Role::Operator, ..user("olga") }
}

fn stream(of: &str) -> StreamId {
    StreamId::new(&TenantId::default(), "customer", of)
}

async fn known(bank: &Bank, who: &str) -> Vec<(String, String)> {
    let contacts = bank.contacts(&user(who)).await.expect("readable");
    contacts.iter().map(|it| (it.name.to_string(), it.user.to_string())).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(name, user)| ((*name).into(), (*user).into())).collect()
}

fn code_of<T: std::fmt::Debug>(result: Result<T, Failure>) -> String {
    result.expect_err("refused").code
}

#[tokio::test]
async fn a_name_is_given_once_and_means_one_user() {
    let mut desk = people().await;
    let ana = user("ana");
    let add = async |name: &str, user: &str| desk.bank.add_contact(&ana, name, user).await;
    add(" Luis Pérez ", "luis").await.expect("added");
    let events = desk.events();
    let again = add("LUIS perez", "luis").await.expect("there already");
    assert_eq!(&*again.name, "Luis Pérez");
    assert_eq!(code_of(add("luis pérez", "marta").await), "contact.name_taken");
    assert_eq!(code_of(add("Yo", "ana").await), "contact.self");
    assert_eq!(code_of(add("Nadie", "nobody").await), "user.not_found");
    assert_eq!(code_of(add("Books", "system").await), "user.not_found");
    assert_eq!(code_of(add("a\nb", "luis").await), "contact.invalid_name");
    assert_eq!(desk.events(), events, "nothing of that was written");

    add("Luis", "marta").await.expect("added");
    let found = desk.bank.find_contacts(&ana, "luis").await.expect("readable");
    assert_eq!(found.len(), 1);
    assert_eq!((&*found[0].name, &*found[0].user), ("Luis", "marta"));
    assert!(desk.bank.remove_contact(&ana, "LUIS").await.expect("removed"));
    assert!(!desk.bank.remove_contact(&ana, "Luis").await.expect("not there"));
    let found = desk.bank.find_contacts(&ana, "luis").await.expect("readable");
    assert_eq!(&*found[0].user, "luis");

    desk.restart().await;
    assert_eq!(known(&desk.bank, "ana").await, pairs(&[("Luis Pérez", "luis")]));
    assert_eq!(known(&desk.bank, "luis").await, []);
    assert_eq!(desk.verified().await.customers, 1);
}

#[tokio::test]
async fn nobody_has_more_contacts_than_the_most() {
    let desk = people().await;
    for n in 0..CONTACTS_MAX {
        desk.bank.add_contact(&user("ana"), &format!("Luis {n}"), "luis").await.expect("fits");
    }
    let over = desk.bank.add_contact(&user("ana"), "Luis", "luis").await;
    assert_eq!(code_of(over), "contact.too_many");
    desk.bank.add_contact(&user("ana"), "Luis 7", "luis").await.expect("there already");
    desk.bank.remove_contact(&user("ana"), "Luis 7").await.expect("removed");
    desk.bank.add_contact(&user("ana"), "Luis", "luis").await.expect("fits again");
}

#[tokio::test]
async fn a_long_stream_is_read_from_its_snapshot() {
    let desk = desk_with(BankConfig { snapshot_every: 4, ..BankConfig::default() });
    open(&desk.bank, "luis", "checking", 0).await;
    for n in 0..5 {
        desk.bank.add_contact(&user("ana"), &format!("Luis {n}"), "luis").await.expect("added");
        desk.bank.remove_contact(&user("ana"), &format!("Luis {n}")).await.expect("removed");
    }
    desk.bank.add_contact(&user("ana"), "Luis", "luis").await.expect("added");
    let snapshot = desk.log.snapshot(&stream("ana")).await.expect("readable").expect("kept");
    assert_eq!(snapshot.version, 8);
    let other = start(desk.log.clone(), &desk.world, BankConfig::default());
    assert_eq!(known(&other, "ana").await, pairs(&[("Luis", "luis")]));
    assert!(steadfast_bank::verify::snapshot(&*desk.log, &stream("ana")).await.expect("readable"));
    let early = Snapshot { version: 7, ..snapshot };
    desk.log.put_snapshot(stream("ana"), early).await.expect("kept");
    assert!(!steadfast_bank::verify::snapshot(&*desk.log, &stream("ana")).await.expect("readable"));
}

#[tokio::test(start_paused = true)]
async fn two_nodes_at_once_lose_nothing() {
    let world = paused_world(7);
    let log = Arc::new(SlowLog::new(&world));
    let banks = [0, 1].map(|_| start(log.clone(), &world, BankConfig::default()));
    open(&banks[0], "luis", "checking", 0).await;
    for round in 0..20 {
        let adds = banks.iter().enumerate().map(|(node, bank)| async move {
            bank.add_contact(&user("ana"), &format!("Luis {round} {node}"), "luis").await.expect("added");
        });
        join_all(adds).await;
    }
    assert!(log.conflicts.load(std::sync::atomic::Ordering::Relaxed) >= 10);
    for bank in &banks {
        assert_eq!(known(bank, "ana").await.len(), 40);
    }
    verified(&*log).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_decided_is_decided_again_when_somebody_else_was_first() {
    let world = paused_world(7);
    let log = Arc::new(SlowLog::new(&world));
    let bank = start(log.clone(), &world, BankConfig::default());
    for who in ["luis", "marta"] {
        open(&bank, who, "checking", 0).await;
    }
    let body = r#"{"name":"Luis","user":"marta"}"#;
    let first = NewEvent::new(&world, "customer.contact_added", 1, body.as_bytes());
    let commit = Commit::append(stream("ana"), Expect::New, vec![first]);
    *log.intruder.lock().expect("lock") = Some(Box::new(|_| Some(commit)));
    let late = bank.add_contact(&user("ana"), "luis", "luis").await;
    assert_eq!(code_of(late), "contact.name_taken");
    assert_eq!(log.head(&stream("ana")).await.expect("readable"), 1);
}

#[tokio::test]
async fn who_is_inactive_is_not_admitted_and_other_nodes_learn_it_soon() {
    let desk = people().await;
    let other = start(desk.log.clone(), &desk.world, BankConfig::default());
    let (ana, tenant) = (user("ana"), TenantId::default());
    other.admit(&ana, None).await.expect("nothing is said of her");
    assert_eq!(code_of(desk.bank.set_active(&ana, "luis", false).await), "auth.forbidden");
    assert_eq!(code_of(desk.bank.set_active(&operator(), "nobody", false).await), "user.not_found");
    desk.bank.set_active(&operator(), "ana", false).await.expect("written");
    let events = desk.events();
    desk.bank.set_active(&operator(), "ana", false).await.expect("so already");
    assert_eq!(desk.events(), events);
    assert_eq!(code_of(desk.bank.admit(&ana, None).await), "customer.inactive");
    assert_eq!(
        desk.bank.customer(&tenant, "ana").await.expect("readable"),
        Customer { exists: true, active: false }
    );
    let nobody = desk.bank.customer(&tenant, "nobody").await.expect("readable");
    assert_eq!(nobody, Customer { exists: false, active: false });
    desk.clock.advance(Duration::from_secs(4));
    assert_eq!(code_of(other.admit(&ana, None).await), "customer.inactive");

    let paid = desk.answer("luis", "k", pay(&id("luis-checking"), &id("ana-checking"), 10)).await;
    assert_eq!(paid.reason, None, "money still comes in");
    desk.bank.set_active(&operator(), "ana", true).await.expect("written");
    desk.bank.admit(&ana, None).await.expect("again");
    desk.verified().await;
}

#[tokio::test]
async fn a_repeat_is_admitted_for_as_long_as_its_key_holds() {
    let desk = people().await;
    let ana = user("ana");
    desk.answer("ana", "k", pay(&id("ana-checking"), &id("luis-checking"), 10)).await;
    desk.bank.set_active(&operator(), "ana", false).await.expect("written");
    let key = |key| Some(ClaimKey::new(&TenantId::default(), "ana", "bank.transfer", key));
    desk.bank.admit(&ana, key("k")).await.expect("the answer is hers");
    assert_eq!(code_of(desk.bank.admit(&ana, key("other")).await), "customer.inactive");
    // Seconds before the key may be taken anew.
    desk.clock.advance(BankConfig::default().idempotency_window.get().saturating_sub(Duration::from_secs(5)));
    assert_eq!(code_of(desk.bank.admit(&ana, key("k")).await), "customer.inactive");
}

#[tokio::test]
async fn the_demos_people_know_each_other_from_the_first_time_on() {
    let desk = desk();
    // A store that an older version seeded has accounts and no contacts.
    let op = OpenAccount {
        account: id("ana-checking"),
        owner: "ana".into(),
        name: "checking".into(),
        opening: mxn(2_500_000),
        floor: 0,
        limits: Limits::default(),
    };
    let key = Key::Import("demo/ana-checking".into());
    desk.bank.open_account(&admin(), key, op).await.expect("opened");
    demo::seed(&desk.bank, &TenantId::default()).await.expect("seeded");
    assert_eq!(known(&desk.bank, "ana").await, pairs(&[("Luis", "luis"), ("Marta", "marta")]));
    assert_eq!(known(&desk.bank, "luis").await, pairs(&[("Ana", "ana"), ("Marta", "marta")]));
    assert_eq!(known(&desk.bank, "marta").await, pairs(&[("Ana", "ana"), ("Luis", "luis")]));
    desk.bank.remove_contact(&user("ana"), "Luis").await.expect("removed");
    let events = desk.events();
    demo::seed(&desk.bank, &TenantId::default()).await.expect("seeded");
    assert_eq!(desk.events(), events, "what ana took away stays away");
}

#[tokio::test]
async fn verify_finds_facts_that_cannot_follow_each_other() {
    let desk = desk();
    let write = async |version: u64, kind: &'static str, body: &'static str| {
        let expect = if version == 0 { Expect::New } else { Expect::Exact(version) };
        let event = NewEvent::new(&desk.world, kind, 1, body.as_bytes());
        desk.log.commit(Commit::append(stream("ana"), expect, vec![event])).await.expect("written");
    };
    let added = r#"{"name":"Luis","user":"luis"}"#;
    write(0, "customer.contact_added", added).await;
    write(1, "customer.contact_added", added).await;
    write(2, "customer.contact_removed", r#"{"name":"Marta"}"#).await;
    write(3, "customer.activated", r#"{"by":"olga"}"#).await;
    write(4, "customer.renamed", "{}").await;
    let report = verify::verify(&*desk.log).await.expect("readable");
    let places: Vec<_> = report.problems.iter().map(|it| it.split(':').next().unwrap_or("")).collect();
    assert_eq!(
        places,
        [
            "default/customer/ana version 2 (customer.contact_added)",
            "default/customer/ana version 3 (customer.contact_removed)",
            "default/customer/ana version 4 (customer.activated)",
            "default/customer/ana version 5 (customer.renamed)",
        ]
    );
    assert_eq!(code_of(desk.bank.contacts(&user("ana")).await), "store.corrupt");
}
