//! What comes at the worst moment: too late, twice, from elsewhere, in the middle.

use std::{collections::BTreeMap, time::Duration};

use steadfast_bank_assistant::session::ReplyStatus::{Completed, Failed, NeedsConfirmation};
use steadfast_core::{Principal, RequestId, Role, SessionId, TenantId};

use crate::house::*;

/// The last words that each request got, by kind: everything but a demand for a yes.
async fn last_words(node: &Node, session: SessionId) -> BTreeMap<RequestId, Vec<String>> {
    let tenant = TenantId::default();
    let (mut words, mut after) = (BTreeMap::<_, Vec<_>>::new(), 0);
    loop {
        let (replies, read) = node.conversations.replies(&tenant, session, after).await.expect("readable");
        if read == after {
            return words;
        }
        after = read;
        for (_, reply) in replies.iter().filter(|(_, reply)| reply.status != NeedsConfirmation) {
            for request in &reply.answers {
                let kind = reply.data["kind"].as_str().expect("a kind").to_owned();
                words.entry(*request).or_default().push(kind);
            }
        }
    }
}

async fn stop(node: &Node) {
    node.engine.stop(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_in_time_counts_even_if_its_turn_comes_too_late() {
    for in_words in [false, true] {
        let house = House::build().await;
        let node = house.node();
        let mut ana = node.customer("ana");
        let (request, _) = ana.say("transfiere 500 pesos a luis").await;
        stop(&node).await;
        house.sleep(290).await;
        if in_words {
            ana.send(house.request(), "sí").await.expect("in time");
        } else {
            ana.confirm(request, true).await.expect("in time");
        }
        house.sleep(60).await;
        let next = house.node();
        assert_eq!(ana.outcome(request).await.status, Completed, "in words: {in_words}");
        assert_eq!(next.balance("luis").await, 850_000);
    }
}

#[tokio::test(start_paused = true)]
async fn a_yes_in_words_after_the_time_moves_nothing_and_everybody_gets_one_last_word() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (request, _) = ana.say("transfiere 500 pesos a luis").await;
    stop(&node).await;
    house.sleep(301).await;
    let late = house.request();
    ana.send(late, "sí").await.expect("heard");
    let next = house.node();
    assert_eq!(ana.outcome(request).await.data["kind"], "expired");
    assert_eq!(ana.outcome(late).await.data["kind"], "nothing_pending");
    house.sleep(1_000).await;
    assert_eq!(next.balance("luis").await, 800_000);
    let words = last_words(&next, ana.session.expect("known")).await;
    assert_eq!(words.values().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
}

#[tokio::test(start_paused = true)]
async fn a_yes_never_counts_for_the_same_arguments_another_time() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (first, _) = ana.say("transfiere 500 pesos a luis").await;
    stop(&node).await;
    let requests = [house.request(), house.request(), house.request()];
    for (request, text) in requests.into_iter().zip(["sí", "transfiere 500 pesos a luis", "sí"]) {
        ana.send(request, text).await.expect("heard");
    }
    let next = house.node();
    assert_eq!(ana.outcome(first).await.status, Completed);
    assert_eq!(ana.outcome(requests[2]).await.data["kind"], "changed");
    assert_eq!(next.balance("luis").await, 850_000, "the second was not agreed to");
}

#[tokio::test(start_paused = true)]
async fn what_the_user_was_told_is_done_stays_done_when_the_run_is_cancelled_later() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (first, shown) = ana.say("transfiere 500 pesos a luis").await;
    stop(&node).await;
    ana.confirm(first, true).await.expect("confirmed");
    let second = house.request();
    ana.send(second, "transfiere 100 pesos a marta").await.expect("heard");
    let next = house.node();
    assert_eq!(ana.outcome(first).await.status, Completed);
    assert_eq!(ana.reply(second).await.status, NeedsConfirmation);
    let tenant = TenantId::default();
    next.engine.cancel(&tenant, shown.run, None, "operator", "test").await.expect("cancelled");
    next.engine.wait(&tenant, shown.run, Duration::from_secs(60)).await.expect("readable").expect("ended");
    assert_eq!((next.balance("luis").await, next.balance("marta").await), (850_000, 150_000));
    let session = ana.session.expect("known");
    next.conversations.resume(&user("ana"), session).await.expect("resumed");
    let words = last_words(&next, session).await;
    assert_eq!((&words[&first], &words[&second]), (&vec!["transferred".into()], &vec!["stopped".into()]));
}

#[tokio::test(start_paused = true)]
async fn nobody_says_that_no_money_moved_where_nobody_knows() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (request, _) = ana.say("transfiere 500 pesos a luis").await;
    node.bank.close();
    ana.confirm(request, true).await.expect("confirmed");
    let reply = ana.outcome(request).await;
    assert_eq!((reply.status, &reply.data["kind"]), (Failed, &"stopped".into()));
    assert!(!reply.text.contains("No se movió"), "{}", reply.text);
}

#[tokio::test(start_paused = true)]
async fn whoever_may_not_act_any_more_is_refused_at_the_last_moment_and_told_so() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (request, _) = ana.say("transfiere 500 pesos a luis").await;
    let operator = Principal { role: Role::Operator, ..user("operator") };
    node.bank.set_active(&operator, "ana", false).await.expect("set");
    ana.send(request, "transfiere 500 pesos a luis").await.expect("a repeat gets its answer");
    let refused = ana.send(house.request(), "hola").await.expect_err("not any more");
    assert_eq!(refused.code, "customer.inactive");
    ana.confirm(request, true).await.expect("heard");
    let reply = ana.outcome(request).await;
    assert_eq!((reply.status, &reply.data["code"]), (Failed, &"customer.inactive".into()));
    assert!(reply.text.contains("no puedes pagar") && reply.text.contains("No se movió"), "{}", reply.text);
    assert_eq!(node.balance("luis").await, 800_000);
}

#[tokio::test(start_paused = true)]
async fn what_is_replaced_is_told_so_and_what_is_not_understood_voids_nothing() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (first, _) = ana.say("transfiere 500 pesos a luis").await;
    let (_, shown) = ana.say("mmm no sé").await;
    assert_eq!(shown.status, NeedsConfirmation, "{}", shown.text);
    let (third, _) = ana.say("mejor 300").await;
    assert_eq!(ana.outcome(first).await.data["kind"], "changed");
    assert_eq!(ana.confirm(first, true).await.expect_err("void").code, "confirmation.void");
    let (fourth, shown) = ana.say("qué?? asdf").await;
    assert_eq!(shown.status, NeedsConfirmation, "{}", shown.text);
    ana.confirm(third, true).await.expect("the same is still open");
    assert!(ana.outcome(third).await.answers.contains(&fourth));
    let words = last_words(&node, ana.session.expect("known")).await;
    assert!(words.len() == 4 && words.values().all(|words| words.len() == 1), "{words:?}");
    assert_eq!(node.balance("luis").await, 830_000);
}

#[tokio::test(start_paused = true)]
async fn a_run_hears_so_much_and_everything_it_hears_is_answered_once() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (shown, reply) = ana.say("transfiere 500 pesos a luis").await;
    stop(&node).await;
    ana.confirm(shown, true).await.expect("confirmed");
    let mut first = None;
    let refused = loop {
        let request = house.request();
        match ana.send(request, "hola").await {
            Ok(()) => first = first.or(Some(request)),
            Err(refused) => break refused,
        }
    };
    assert_eq!((refused.code.as_str(), refused.retryable), ("session.full", true));
    ana.send(first.expect("one was heard"), "hola").await.expect("a repeat needs no room");
    let session = ana.session.expect("known");
    // All of them are left behind.
    let tenant = TenantId::default();
    node.engine.kill(&tenant, reply.run, "operator", "test").await.expect("killed");
    ana.resume(session).await;
    let stopped = ana.outcome(shown).await;
    assert_eq!(stopped.data["kind"], "stopped");
    let words = last_words(&node, session).await;
    assert_eq!(words.len(), stopped.answers.len(), "nobody is named twice");
    assert!(words.len() > 100 && words.values().all(|words| words.len() == 1));
}

#[tokio::test(start_paused = true)]
async fn where_several_people_are_named_nobody_is_chosen_for_the_user() {
    let house = House::build().await;
    let node = house.node();
    for text in [
        "Sácale 200 a Luis. Mándaselos a Memo",
        "sácale 200 a mi cuenta y mándaselos a Memo",
        "sácale 200 a luis",
        "manda 200 a luis, no, a marta",
        "manda a luis los 200 que le debo a marta",
        "send 200 to luis, no wait, to marta",
    ] {
        let (_, asked) = node.customer("ana").say(text).await;
        assert_eq!(asked.data["asks"], "recipient", "{text}: {}", asked.text);
    }
    for (text, name) in [
        ("sácale 200 a luis y mándaselos a marta", "Marta"),
        ("send marta 200, not to luis", "Marta"),
        ("manda 200 a luis a las 5", "Luis"),
    ] {
        let (_, shown) = node.customer("ana").say(text).await;
        assert_eq!(shown.data["proposal"]["name"], name, "{text}: {}", shown.text);
    }
}
