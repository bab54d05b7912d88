use steadfast_bank_assistant::session::ReplyStatus::{Completed, Failed, NeedsConfirmation};

use crate::house::*;

#[tokio::test(start_paused = true)]
async fn balance_and_movements_are_told_in_both_languages() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (_, reply) = ana.say("¿cuánto tengo en mi cuenta?").await;
    assert_eq!(reply.status, Completed);
    assert!(reply.text.contains("25,000.00 MXN") && reply.text.contains("100,000.00 MXN"), "{}", reply.text);
    let (_, reply) = ana.say("show me my latest transactions").await;
    assert_eq!(reply.status, Completed);
    assert!(reply.text.contains("Your latest movements"), "{}", reply.text);
}

#[tokio::test(start_paused = true)]
async fn a_transfer_moves_once_it_is_confirmed_and_not_before() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (request, shown) = ana.say("transfiere $1,750.50 a luis").await;
    assert_eq!(shown.status, NeedsConfirmation, "{}", shown.text);
    assert!(shown.text.contains("1,750.50 MXN") && shown.text.contains("Luis"), "{}", shown.text);
    assert_eq!(node.balance("ana").await, 2_500_000);
    ana.confirm(request, true).await.expect("confirmed");
    let done = ana.reply(request).await;
    assert_eq!(done.status, Completed, "{}", done.text);
    assert_eq!((node.balance("ana").await, node.balance("luis").await), (2_324_950, 975_050));
    // The same yes again changes nothing; a no is too late.
    ana.confirm(request, true).await.expect("the same");
    let late = ana.confirm(request, false).await.expect_err("decided");
    assert_eq!(late.code, "confirmation.already_given");
    let (_, reply) = ana.say("mi saldo").await;
    assert!(reply.text.contains("23,249.50 MXN"), "{}", reply.text);
    house.books_are_right().await;
}

#[tokio::test(start_paused = true)]
async fn yes_and_no_can_be_said_in_words() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (first, shown) = ana.say("send 300 pesos to marta").await;
    assert_eq!(shown.status, NeedsConfirmation, "{}", shown.text);
    let (_, reply) = ana.say("yes").await;
    assert_eq!(reply.status, Completed, "{}", reply.text);
    assert!(reply.answers.contains(&first), "the first request is answered too");
    assert_eq!(node.balance("marta").await, 180_000);
    ana.say("manda 500 a luis").await;
    let (_, reply) = ana.say("no, mejor no").await;
    assert_eq!(reply.status, Failed, "{}", reply.text);
    assert_eq!(node.balance("luis").await, 800_000);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_asked_for_and_the_answer_goes_on_with_the_same_request() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (_, asked) = ana.say("quiero hacer una transferencia").await;
    assert_eq!(asked.data["asks"], "recipient", "{}", asked.text);
    let (_, asked_again) = ana.say("a luis").await;
    assert_eq!(asked_again.data["asks"], "amount", "{}", asked_again.text);
    assert_eq!(asked_again.run, asked.run, "one request, one run");
    let (_, still) = ana.say("12.345").await;
    assert_eq!(still.data["asks"], "amount", "ambiguous: {}", still.text);
    let (request, shown) = ana.say("doscientos pesos").await;
    assert_eq!(shown.status, NeedsConfirmation, "{}", shown.text);
    assert_eq!(shown.run, asked.run);
    ana.confirm(request, true).await.expect("confirmed");
    assert_eq!(ana.reply(request).await.status, Completed);
    assert_eq!(node.balance("luis").await, 820_000);
}

#[tokio::test(start_paused = true)]
async fn nobody_and_nothing_is_guessed() {
    let house = House::build().await;
    let node = house.node();
    node.bank.add_contact(&user("ana"), "Luis Pérez", "marta").await.expect("added");
    node.bank.add_contact(&user("ana"), "Luis Gómez", "luis").await.expect("added");
    node.bank.remove_contact(&user("ana"), "Luis").await.expect("removed");
    let mut ana = node.customer("ana");
    let (_, asked) = ana.say("pásale 100 pesos a pedro").await;
    assert_eq!(asked.data["asks"], "recipient", "unknown: {}", asked.text);
    let (_, asked) = ana.say("mándale 100 pesos a luis").await;
    assert_eq!(asked.data["choices"].as_array().map(Vec::len), Some(2), "ambiguous: {}", asked.text);
    for wrong in ["manda 0 pesos a marta", "transfiere -50 pesos a marta"] {
        let (_, asked) = ana.say(wrong).await;
        assert_eq!(asked.data["asks"], "amount", "{wrong}: {}", asked.text);
    }
    assert_eq!(node.balance("ana").await, 2_500_000);
}

#[tokio::test(start_paused = true)]
async fn changing_an_argument_voids_the_confirmation() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (first, _) = ana.say("transfiere 500 pesos a luis").await;
    let (second, shown) = ana.say("mejor 300").await;
    assert_eq!(shown.status, NeedsConfirmation, "{}", shown.text);
    assert!(shown.text.contains("300.00 MXN"), "{}", shown.text);
    let void = ana.confirm(first, true).await.expect_err("void");
    assert_eq!(void.code, "confirmation.void");
    ana.confirm(second, true).await.expect("confirmed");
    assert_eq!(ana.reply(second).await.status, Completed);
    assert_eq!(node.balance("luis").await, 830_000);
}

#[tokio::test(start_paused = true)]
async fn whatever_was_proposed_can_be_changed_and_what_is_not_understood_is_said_to_be() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    ana.say("transfiere 500 pesos a luis").await;
    let (_, shown) = ana.say("mejor a marta").await;
    assert!(shown.text.starts_with("Voy a enviar 500.00 MXN a Marta"), "{}", shown.text);
    let (_, shown) = ana.say("mmm no sé").await;
    assert!(shown.text.starts_with("No te entendí") && shown.text.contains("Marta"), "{}", shown.text);
    assert_eq!(shown.status, NeedsConfirmation);
    ana.say("no").await;

    ana.say("buy a folding bicycle").await;
    let (_, shown) = ana.say("make it two").await;
    assert!(shown.text.contains("2 × Folding bicycle"), "{}", shown.text);
    let (_, shown) = ana.say("mejor quiero dos cafés de chiapas").await;
    assert!(shown.text.contains("2 × Café de altura"), "{}", shown.text);
    let (_, shown) = ana.say("buy three coffees").await;
    assert!(shown.text.contains("3 × Highland coffee"), "{}", shown.text);
    let (_, done) = ana.say("yes").await;
    assert_eq!(done.status, Completed, "{}", done.text);
    assert_eq!((node.balance("ana").await, node.balance("marta").await), (2_500_000 - 3 * 38_900, 150_000));
}

#[tokio::test(start_paused = true)]
async fn a_confirmation_expires_and_moves_nothing() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (request, _) = ana.say("transfiere 500 pesos a luis").await;
    house.sleep(600).await;
    let reply = ana.reply(request).await;
    assert_eq!((reply.status, &reply.data["kind"]), (Failed, &"expired".into()));
    let late = ana.confirm(request, true).await.expect_err("late");
    assert_eq!(late.code, "confirmation.expired");
    assert_eq!(node.balance("luis").await, 800_000);
}

#[tokio::test(start_paused = true)]
async fn a_question_in_between_leaves_the_confirmation_open() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (request, _) = ana.say("transfiere 500 pesos a luis").await;
    let (_, reply) = ana.say("¿cuánto tengo?").await;
    assert!(reply.text.contains("25,000.00"), "{}", reply.text);
    ana.confirm(request, true).await.expect("still open");
    assert_eq!(ana.reply(request).await.status, Completed);
    assert_eq!(node.balance("luis").await, 850_000);
}

#[tokio::test(start_paused = true)]
async fn a_purchase_is_made_or_refused_with_nothing_left_reserved() {
    let house = House::build().await;
    let node = house.node();
    let mut marta = node.customer("marta");
    let (shown, done) = marta.agree("quiero comprar dos chocolates de mesa").await;
    assert!(shown.text.contains("258.00 MXN"), "{}", shown.text);
    assert_eq!(done.status, Completed, "{}", done.text);
    assert_eq!(node.balance("marta").await, 150_000 - 25_800);
    let (_, refused) = marta.agree("I want to buy a folding bicycle").await;
    assert_eq!(refused.status, Failed, "{}", refused.text);
    assert_eq!(refused.data["code"], "insufficient_funds", "{}", refused.data);
    let id = "bici-plegable".parse().expect("an id");
    let bicycle = node.bank.product(&user("marta"), &id).await.expect("there");
    assert_eq!(bicycle.stock, 5, "the reservation is released");
    assert_eq!(node.balance("marta").await, 150_000 - 25_800);
    let (_, orders) = marta.say("¿cómo va mi pedido?").await;
    assert_eq!(orders.data["orders"].as_array().map(Vec::len), Some(2), "{}", orders.text);
    house.books_are_right().await;
}

#[tokio::test(start_paused = true)]
async fn g5_the_same_request_is_the_same_run_on_any_connection() {
    let house = House::build().await;
    let node = house.node();
    let request = house.request();
    let mut first = node.customer("ana");
    first.send(request, "transfiere 500 pesos a luis").await.expect("accepted");
    let shown = first.reply(request).await;
    let mut second = node.customer("ana");
    second.send(request, "transfiere 500 pesos a luis").await.expect("the same");
    assert_eq!(second.session, first.session);
    let other = second.send(request, "transfiere 900 pesos a luis").await.expect_err("another");
    assert_eq!(other.code, "idempotency_key_reused");
    assert_eq!(second.reply(request).await, shown);
    let (yes, no) = futures::future::join(first.confirm(request, true), second.confirm(request, false)).await;
    assert!(yes.is_ok() != no.is_ok(), "one of them wins: {yes:?} {no:?}");
    let outcome = first.outcome(request).await;
    let moved = if yes.is_ok() { (Completed, 850_000) } else { (Failed, 800_000) };
    assert_eq!((outcome.status, node.balance("luis").await), moved);
}

#[tokio::test(start_paused = true)]
async fn a_conversation_of_others_is_as_if_it_were_not_there() {
    let house = House::build().await;
    let node = house.node();
    let mut ana = node.customer("ana");
    let (request, _) = ana.say("transfiere 500 pesos a luis").await;
    let mut luis = node.customer("luis");
    luis.session = ana.session;
    let refused = luis.send(house.request(), "hola").await.expect_err("not his");
    assert_eq!(refused.code, "session.not_found");
    let refused = luis.confirm(request, true).await.expect_err("not his");
    assert_eq!(refused.code, "request.not_found");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_cancelled_or_killed_still_replies() {
    let house = House::build().await;
    let node = house.node();
    let tenant = steadfast_core::TenantId::default();
    for kill in [false, true] {
        let mut ana = node.customer("ana");
        let (request, shown) = ana.say("transfiere 500 pesos a luis").await;
        if kill {
            node.engine.kill(&tenant, shown.run, "operator", "test").await.expect("killed");
        } else {
            node.engine.cancel(&tenant, shown.run, None, "operator", "test").await.expect("cancelled");
        }
        let reply = ana.reply(request).await;
        assert_eq!((reply.status, &reply.data["kind"]), (Failed, &"stopped".into()));
        let (_, next) = ana.say("hola").await;
        assert_eq!(next.status, Completed, "the conversation goes on");
    }
    assert_eq!(node.balance("luis").await, 800_000);
}
