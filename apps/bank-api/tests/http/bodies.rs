use serde_json::{Value, json};
use steadfast_core::Role;

use crate::house::House;

/// Every way of writing one of the value's objects as the array of its members.
fn flattened(value: &Value) -> Vec<Value> {
    let mut ways = Vec::new();
    if let Value::Object(members) = value {
        ways.push(members.values().cloned().collect());
        for (name, member) in members {
            for way in flattened(member) {
                let mut members = members.clone();
                members.insert(name.clone(), way);
                ways.push(Value::Object(members));
            }
        }
    }
    if let Value::Array(items) = value {
        for (place, item) in items.iter().enumerate() {
            for way in flattened(item) {
                let mut items = items.clone();
                items[place] = way;
                ways.push(Value::Array(items));
            }
        }
    }
    ways
}

#[tokio::test(start_paused = true)]
async fn an_array_is_taken_for_an_object_in_no_body_and_at_no_depth() {
    let house = House::new().await;
    let line = json!({ "number": 1, "fields": { "user": "zoe", "name": "checking", "currency": "MXN" } });
    let bodies = [
        ("transfers", json!({ "to": "luis", "amount": { "minor": 1, "currency": "MXN" } })),
        ("purchases", json!({ "product": "taza-barro", "quantity": 1 })),
        ("imports", json!({ "kind": "accounts", "lines": [line] })),
    ];
    for (path, body) in bodies {
        for (number, way) in flattened(&body).into_iter().enumerate() {
            let key = format!("{path}-{number}");
            let answer = house.post_as("olga", Role::Admin, path, &key, &way.to_string()).await;
            assert_eq!(answer.code(), "request.invalid_body", "{path} {way}: {}", answer.json);
            let said = answer.json["detail"].as_str().expect("a detail");
            assert!(said.ends_with("is an array: expected an object"), "{said}");
        }
    }
    let run = json!({ "workflow": "bank.purchase", "input": ["taza-barro", 1] });
    let answer = house.start("ana", "k-1", &run.to_string()).await;
    assert_eq!(answer.code(), "run.invalid_input", "{}", answer.json);
}
