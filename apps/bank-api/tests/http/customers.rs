//! Contacts, and customers who may not act.

use axum::http::StatusCode;
use serde_json::json;
use steadfast_core::Role;

use crate::house::House;

async fn set(house: &House, role: Role, user: &str, verb: &str) -> crate::house::Answer {
    house.post_as("olga", role, &format!("customers/{user}/{verb}"), "", "").await
}

#[tokio::test(start_paused = true)]
async fn contacts_are_ones_own_and_the_same_again_changes_nothing() {
    let house = House::new().await;
    let seeded = house.get("ana", "contacts").await;
    let (luis, marta) =
        (json!({ "name": "Luis", "user": "luis" }), json!({ "name": "Marta", "user": "marta" }));
    assert_eq!(seeded.json, json!({ "items": [luis, marta], "next": null }));
    let body = r#"{"name":"Luis Pérez","user":"luis"}"#;
    for _ in 0..2 {
        let added = house.post("marta", "contacts", "", body).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.json);
        assert_eq!(added.json, json!({ "name": "Luis Pérez", "user": "luis" }));
    }
    for removed in [true, false] {
        let path = "contacts?name=luis%20p%C3%89rez";
        let answer = house.delete("marta", path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json);
        assert_eq!(answer.json["removed"], removed);
    }
    assert_eq!(house.get("ana", "contacts").await.json, seeded.json);
}

#[tokio::test(start_paused = true)]
async fn every_wrong_contact_gets_its_own_problem() {
    let house = House::new().await;
    for (body, status, code, field) in [
        (r#"{"name":" ","user":"luis"}"#, 400, "contact.invalid_name", "name"),
        (r#"{"name":"LUIS","user":"marta"}"#, 422, "contact.name_taken", "name"),
        (r#"{"name":"Yo","user":"ana"}"#, 422, "contact.self", "user"),
        (r#"{"name":"Zoe","user":"zoe"}"#, 404, "user.not_found", "user"),
    ] {
        let answer = house.post("ana", "contacts", "", body).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (status, code), "{}", answer.json);
        assert_eq!(answer.json["field"], field);
    }
    let answer = house.post_as("olga", Role::Operator, "customers/ana/activate?why=1", "", "").await;
    assert_eq!((answer.status.as_u16(), answer.code()), (400, "request.invalid_query"));
    for path in ["contacts", "contacts?name=a&name=b", "contacts?nmae=Luis"] {
        let answer = house.delete("ana", path).await;
        assert_eq!((answer.status.as_u16(), answer.code()), (400, "request.invalid_query"), "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_inactive_customer_is_refused_at_every_door_and_still_gets_paid() {
    let house = House::new().await;
    let accepted = house.pay("ana", "k-1", "luis", 100).await;
    let buy = r#"{"product":"taza-barro"}"#;
    let bought = house.post("ana", "purchases", "k-2", buy).await;
    let wrong = set(&house, Role::User, "ana", "deactivate").await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (403, "auth.forbidden"));
    let wrong = set(&house, Role::Operator, "zoe", "deactivate").await;
    assert_eq!((wrong.status.as_u16(), wrong.code()), (404, "user.not_found"));
    let done = set(&house, Role::Operator, "ana", "deactivate").await;
    assert_eq!(done.json, json!({ "user": "ana", "active": false }), "{}", done.status);

    let balance = house.balance("ana").await;
    let refused =
        [house.pay("ana", "k-3", "luis", 100).await, house.post("ana", "purchases", "k-4", buy).await];
    for answer in refused {
        assert_eq!((answer.status.as_u16(), answer.code()), (403, "customer.inactive"), "{}", answer.json);
        assert_eq!(answer.json["nothing_happened"], true);
    }
    assert_eq!(house.balance("ana").await, balance);
    let again = house.pay("ana", "k-1", "luis", 100).await;
    assert!(again.replayed());
    assert_eq!((again.status, &again.json), (accepted.status, &accepted.json));
    let again = house.post("ana", "purchases", "k-2", buy).await;
    assert_eq!((again.status, &again.json), (bought.status, &bought.json));
    assert_eq!(house.pay("luis", "k-5", "ana", 100).await.status, StatusCode::CREATED);

    set(&house, Role::Operator, "ana", "activate").await;
    let paid = house.pay("ana", "k-3", "luis", 100).await;
    assert_eq!(paid.status, StatusCode::CREATED, "what was refused had claimed nothing: {}", paid.json);
}
