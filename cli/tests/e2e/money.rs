//! What people see when they race each other, or ask for what cannot be.

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    books::{balances, listed, recompute},
    http::{Client, mxn, purchase, send, transfer},
    node::Place,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_key_fifty_times_at_once_is_one_transfer_and_one_answer() {
    let place = Place::new();
    let node = place.serve();
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let ask = transfer("ana", "rent", "luis", 175_050);
    let replies = join_all((0..50).map(|_| client.post(&token, &ask))).await;
    let replies: Vec<_> = replies.into_iter().map(|reply| reply.expect("an answer")).collect();
    let first = &replies[0];
    assert!(first.status < 300, "{first:?}");
    for reply in &replies {
        assert_eq!(reply.outcome(), first.outcome());
    }
    let fresh = replies.iter().filter(|reply| !reply.replayed).count();
    assert_eq!(fresh, 1, "all but one say that they repeat");
    let balances = balances(&listed(&place, &client).await);
    assert_eq!(balances["ana-checking"], 2_500_000 - 175_050);
    assert_eq!(balances["luis-checking"], 800_000 + 175_050);

    let other = transfer("ana", "rent", "luis", 175_051);
    let reply = client.post(&token, &other).await.expect("an answer");
    assert_eq!((reply.status, reply.text("code")), (422, "idempotency_key_reused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_item_is_bought_once_and_who_cannot_pay_gives_the_stock_back() {
    let place = Place::new();
    let node = place.serve();
    let client = Client::new(&node.url);
    let (ana, luis) = (place.token("ana", "user"), place.token("luis", "user"));
    let asks = [purchase("ana", "last", "alebrije-unico", 1), purchase("luis", "last", "alebrije-unico", 1)];
    let (one, other) = tokio::join!(client.post(&ana, &asks[0]), client.post(&luis, &asks[1]));
    let mut replies = [one.expect("an answer"), other.expect("an answer")];
    replies.sort_by_key(|reply| reply.text("status") != "completed");
    assert_eq!(replies[0].text("status"), "completed", "{replies:?}");
    assert_ne!(replies[1].text("status"), "completed", "{replies:?}");
    let told = replies[1].body.to_string();
    assert!(told.contains("out_of_stock"), "{told}");

    let marta = place.token("marta", "user");
    let dear = purchase("marta", "dear", "telescopio-luna", 1);
    let reply = client.post(&marta, &dear).await.expect("an answer");
    assert!(reply.body.to_string().contains("insufficient_funds"), "{reply:?}");
    let products = client.get(&marta, "/bank/products?limit=100").await;
    let products = products["items"].as_array().expect("a list").clone();
    let stock = |id: &str| {
        let product = products.iter().find(|product| product["id"] == id);
        product.expect("listed")["stock"].clone()
    };
    assert_eq!(stock("alebrije-unico"), 0);
    assert_eq!(stock("telescopio-luna"), 4);
    assert!(products.len() >= 20);

    let accounts = listed(&place, &client).await;
    node.stop();
    place.verify(&["--rebuild"]);
    std::fs::write(place.path("effects.txt"), "").expect("written");
    recompute(&place, &accounts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_is_told_what_is_wrong_and_moves_nothing() {
    let place = Place::new();
    let mut node = place.serve();
    let client = Client::new(&node.url);
    let (ana, luis) = (place.token("ana", "user"), place.token("luis", "user"));
    let mine = client.post(&ana, &transfer("ana", "first", "luis", 100)).await;
    assert!(mine.expect("an answer").status < 300);
    let before = listed(&place, &client).await;
    let post = |body: &str, key: Option<&str>| {
        let mut request = client
            .raw(Method::POST, "/api/v1/bank/transfers")
            .bearer_auth(&ana)
            .header("Content-Type", "application/json")
            .body(body.to_owned());
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        send(request)
    };
    let to_luis = |amount: Value| json!({ "to": "luis", "amount": amount }).to_string();
    let cases = [
        ("not json".to_owned(), 400),
        (String::new(), 400),
        (json!({ "to": "luis", "amount": mxn(1), "tip": 1 }).to_string(), 400),
        (to_luis(json!({ "minor": 9_007_199_254_740_992_i64, "currency": "MXN" })), 400),
        (to_luis(mxn(-5)), 400),
        (to_luis(mxn(0)), 400),
        (to_luis(json!({ "minor": 1.5, "currency": "MXN" })), 400),
        (to_luis(json!({ "minor": 1, "currency": "ZZZ" })), 400),
        (json!({ "to": "ana", "amount": mxn(1) }).to_string(), 422),
        (json!({ "to": "nobody", "amount": mxn(1) }).to_string(), 404),
        (json!({ "to": "luis", "from": "luis-checking", "amount": mxn(1) }).to_string(), 404),
    ];
    for (number, (body, status)) in cases.iter().enumerate() {
        let reply = post(body, Some(&format!("wrong-{number}"))).await.expect("an answer");
        let problem = &reply.body;
        assert!(problem["code"].is_string() && problem["detail"].is_string(), "{body}: {problem}");
        assert!(
            reply.status == *status || (400..=422).contains(&reply.status) && *status != 404,
            "{body}: {} instead of {status}, {problem}",
            reply.status
        );
        assert!(reply.status < 500, "{body}: {problem}");
    }
    let keyless = post(&to_luis(mxn(1)), None).await.expect("an answer");
    assert_eq!((keyless.status, keyless.text("code")), (400, "idempotency_key_required"));
    let theirs =
        send(client.raw(Method::GET, "/api/v1/bank/accounts/ana-checking/transactions").bearer_auth(&luis));
    assert_eq!(theirs.await.expect("an answer").status, 404);
    let nobody = send(client.raw(Method::GET, "/api/v1/bank/accounts"));
    assert_eq!(nobody.await.expect("an answer").status, 401);
    assert_eq!(listed(&place, &client).await, before);
    assert!(node.alive());
}
