use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde_json::json;
use steadfast_core::Role;

use crate::house::House;

#[tokio::test(start_paused = true)]
async fn a_user_sees_their_own_accounts_and_operators_everybodys() {
    let house = House::new().await;
    let mine = house.get("ana", "accounts").await.json;
    let ids: Vec<_> = mine["items"].as_array().expect("accounts").iter().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, [json!("ana-checking"), json!("ana-savings")]);
    assert_eq!(mine["items"][0]["available"], json!({ "minor": 2_500_000, "currency": "MXN" }));
    for path in [
        "accounts/luis-checking",
        "accounts/luis-checking/transactions",
        "accounts?user=luis",
        "transactions?user=luis",
    ] {
        let foreign = house.get("ana", path).await;
        assert_eq!(foreign.status, StatusCode::NOT_FOUND, "{path}: {}", foreign.json);
        let seen = house.get_as("olga", Role::Operator, path).await;
        assert_eq!(seen.status, StatusCode::OK, "{path}: {}", seen.json);
    }
    let odd = house.get("ana", "accounts/a%2Fb").await;
    assert_eq!((odd.status, odd.code()), (StatusCode::BAD_REQUEST, "request.invalid_path"));
}

#[tokio::test(start_paused = true)]
async fn transactions_come_newest_first_in_pages_of_twenty_that_hold_everything_once() {
    let house = House::new().await;
    for i in 1..=25 {
        house.pay("ana", &format!("k-{i}"), "luis", i).await;
    }
    let first = house.get("ana", "accounts/ana-checking/transactions").await.json;
    let items = first["items"].as_array().expect("movements");
    assert_eq!(items.len(), 20);
    assert_eq!((&items[0]["amount"]["minor"], &items[0]["with"]), (&json!(-25), &json!("luis-checking")));
    let (mut seen, mut path) = (BTreeSet::new(), String::from("transactions?limit=7"));
    loop {
        let page = house.get("ana", &path).await.json;
        for item in page["items"].as_array().expect("movements") {
            assert!(seen.insert((item["id"].to_string(), item["account"].to_string())));
        }
        match page["next"].as_str() {
            Some(next) => path = format!("transactions?limit=7&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen.len(), 27, "25 payments and two openings");
    for wrong in ["limit=0", "limit=201", "offset=3"] {
        let answer = house.get("ana", &format!("accounts/ana-checking/transactions?{wrong}")).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "request.invalid_query"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_is_opaque_and_only_the_one_that_was_given_for_the_list_is_taken() {
    let house = House::new().await;
    house.pay("ana", "k-1", "luis", 1).await;
    let first = house.get("ana", "transactions?limit=1").await.json;
    let given = first["next"].as_str().expect("more").to_owned();
    assert!(!given.contains("ana"), "{given}");
    let second = house.get("ana", &format!("transactions?cursor={given}")).await;
    assert_eq!(second.status, StatusCode::OK, "{}", second.json);
    let mut edited = given.clone();
    let last = edited.pop().expect("long");
    edited.push(if last == 'A' { 'Q' } else { 'A' });
    let own = ["ana-checking@5", "abc", "", "ana-checking@2,ana-savings@2", edited.as_str()];
    for cursor in own {
        let answer = house.get("ana", &format!("transactions?cursor={cursor}")).await;
        assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "cursor.invalid"), "{cursor}");
    }
    for (user, path) in [("luis", "transactions"), ("ana", "accounts/ana-checking/transactions")] {
        let answer = house.get(user, &format!("{path}?cursor={given}")).await;
        assert_eq!(answer.code(), "cursor.invalid", "a cursor of another list: {path} of {user}");
    }
}

#[tokio::test(start_paused = true)]
async fn products_are_listed_page_by_page() {
    let house = House::new().await;
    let (mut seen, mut path) = (BTreeSet::new(), String::from("products?limit=9"));
    loop {
        let page = house.get("luis", &path).await.json;
        for item in page["items"].as_array().expect("products") {
            assert!(seen.insert(item["id"].to_string()));
        }
        match page["next"].as_str() {
            Some(next) => path = format!("products?limit=9&cursor={next}"),
            None => break,
        }
    }
    assert!(seen.len() >= 20);
    let wrong = house.get("luis", "products?cursor=7").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    let missing = house.get("luis", "products/nothing").await;
    assert_eq!((missing.status, missing.code()), (StatusCode::NOT_FOUND, "product.not_found"));
}
