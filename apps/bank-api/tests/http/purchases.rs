use axum::http::StatusCode;
use serde_json::{Value, json};
use steadfast_core::Role;

use crate::house::{Answer, House};

async fn buy(house: &House, user: &str, key: &str, product: &str) -> Answer {
    let body = json!({ "product": product, "quantity": 1 });
    house.post(user, "purchases", key, &body.to_string()).await
}

/// The product of which there is one.
async fn last_one(house: &House) -> (String, i64) {
    let products = house.get("ana", "products?limit=200").await.json;
    let items = products["items"].as_array().expect("products").clone();
    let one = |item: &&Value| item["stock"] == 1;
    let product = items.iter().find(one).expect("one of which there is one");
    let price = product["price"]["minor"].as_i64().expect("a price");
    (product["id"].as_str().expect("an id").into(), price)
}

#[tokio::test(start_paused = true)]
async fn a_purchase_is_a_run_whose_outcome_is_waited_for_and_which_a_key_starts_once() {
    let house = House::new().await;
    let stock = house.stock("taza-barro").await;
    let bought = buy(&house, "ana", "k-1", "taza-barro").await;
    assert_eq!(bought.status, StatusCode::OK, "{}", bought.json);
    assert_eq!(bought.json["status"], "completed");
    assert_eq!(bought.json["output"]["id"], bought.json["id"], "the purchase is the run");
    let again = buy(&house, "ana", "k-1", "taza-barro").await;
    assert!(again.replayed());
    assert_eq!(again.json, bought.json);
    assert_eq!(house.stock("taza-barro").await, stock - 1);
    let paid = bought.json["output"]["total"]["minor"].as_i64().expect("a total");
    assert_eq!(house.balance("ana").await, (2_500_000 - paid, 2_500_000 - paid));
}

#[tokio::test(start_paused = true)]
async fn the_last_item_bought_by_two_at_once_goes_to_one_and_the_other_pays_nothing() {
    let house = House::new().await;
    let (product, price) = last_one(&house).await;
    let (ana, luis) =
        tokio::join!(buy(&house, "ana", "k-1", &product), buy(&house, "luis", "k-1", &product),);
    let (won, lost) = if ana.json["status"] == "completed" { (ana, luis) } else { (luis, ana) };
    assert_eq!(won.json["status"], "completed", "{}", won.json);
    assert_eq!((lost.status, &lost.json["status"]), (StatusCode::OK, &json!("failed")));
    assert_eq!(lost.json["failure"]["code"], "out_of_stock");
    assert_eq!(house.stock(&product).await, 0);
    let (ana, luis) = (house.balance("ana").await, house.balance("luis").await);
    assert_eq!(ana.0 + luis.0, 2_500_000 + 800_000 - price);
    assert_eq!((ana.0, luis.0), (ana.1, luis.1), "nothing is held any more");
}

#[tokio::test(start_paused = true)]
async fn a_purchase_beyond_the_buyers_money_fails_clearly_and_releases_the_goods() {
    let house = House::new().await;
    house.pay("marta", "k-0", "luis", 150_000).await;
    let stock = house.stock("rebozo-azul").await;
    let failed = buy(&house, "marta", "k-1", "rebozo-azul").await;
    assert_eq!((failed.status, &failed.json["status"]), (StatusCode::OK, &json!("failed")));
    assert_eq!(failed.json["failure"]["code"], "insufficient_funds");
    assert_eq!(house.stock("rebozo-azul").await, stock);
    assert_eq!(house.balance("marta").await, (0, 0));
    let again = buy(&house, "marta", "k-1", "rebozo-azul").await;
    assert!(again.replayed());
    assert_eq!(again.json, failed.json);
}

#[tokio::test(start_paused = true)]
async fn every_wrong_purchase_gets_its_own_problem_and_starts_nothing() {
    let house = House::new().await;
    let shape = |field| (400, "request.invalid_body", field);
    for (what, body, expect) in [
        ("no product", r#"{"quantity":1}"#, shape("product")),
        ("an unknown field", r#"{"product":"taza-barro","price":1}"#, shape("price")),
        ("a product that is no name", r#"{"product":"a b"}"#, (400, "product.invalid", "product")),
        ("an unknown product", r#"{"product":"nothing"}"#, (404, "product.not_found", "product")),
        ("an array", r#"["taza-barro",1]"#, shape("")),
        ("none of it", r#"{"product":"taza-barro","quantity":0}"#, (400, "quantity.invalid", "quantity")),
        ("less than none", r#"{"product":"taza-barro","quantity":-1}"#, shape("quantity")),
        ("half of one", r#"{"product":"taza-barro","quantity":0.5}"#, shape("quantity")),
        ("too many", r#"{"product":"taza-barro","quantity":4294967296}"#, shape("quantity")),
        (
            "an account that is no name",
            r#"{"product":"taza-barro","from":""}"#,
            (400, "account.invalid", "from"),
        ),
    ] {
        let answer = house.post("ana", "purchases", &what.replace(' ', "-"), body).await;
        let field = answer.json["field"].as_str().unwrap_or_default();
        assert_eq!((answer.status.as_u16(), answer.code(), field), expect, "{what}: {}", answer.json);
    }
    let keyless = buy(&house, "ana", "", "taza-barro").await;
    assert_eq!(keyless.code(), "idempotency_key_required");
    for from in ["luis-checking", "nobody-checking"] {
        let body = format!(r#"{{"product":"taza-barro","from":"{from}"}}"#);
        let foreign = house.post("ana", "purchases", "k-1", &body).await;
        let field = foreign.json["field"].as_str().unwrap_or_default();
        assert_eq!(
            (foreign.status, foreign.code(), field),
            (StatusCode::NOT_FOUND, "account.not_found", "from")
        );
    }
    let body = r#"{"product":"taza-barro","from":"luis-checking"}"#;
    let operator = house.post_as("olga", Role::Operator, "purchases", "k-1", body).await;
    assert_eq!(operator.code(), "account.not_found", "a run acts as a user: {}", operator.json);
    assert_eq!(house.balance("luis").await, (800_000, 800_000));
    let runs = house.runs().await;
    assert_eq!(runs["items"], json!([]), "nothing was started");
}
