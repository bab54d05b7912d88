//! Stopping: who was taken in is answered.

use futures::{StreamExt as _, future::join_all, stream::FuturesUnordered};
use reqwest::Method;

use crate::{
    http::{Client, purchase, send, transfer},
    node::{Node, Place, SERVE},
};

/// Without any grace, so that what is under way is answered while the node goes down.
fn serve_without_grace(place: &Place) -> Node {
    let mut command = place.command(SERVE);
    command.env("STEADFAST_SERVER__GRACE", "0s");
    Node::start(command)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_that_moved_money_is_never_left_without_an_answer_by_a_stop() {
    let place = Place::new();
    let mut unanswered = Vec::new();
    for round in 0..5 {
        let node = serve_without_grace(&place);
        let client = Client::new(&node.url);
        let token = place.token("ana", "user");
        let mut asks: FuturesUnordered<_> = (0..200)
            .map(|number| {
                let ask = transfer("ana", &format!("r{round}-{number}"), "luis", 1);
                let (client, token) = (client.clone(), token.clone());
                tokio::spawn(async move {
                    let reply = client.post(&token, &ask).await;
                    (ask, reply)
                })
            })
            .collect();
        // Some are answered, many are under way.
        let first = asks.next().await.expect("some").expect("ends");
        assert!(first.1.is_some(), "the first is answered before anybody stops");
        let stopped = tokio::task::spawn_blocking(move || node.stop());
        while let Some(asked) = asks.next().await {
            let (ask, reply) = asked.expect("ends");
            match reply {
                Some(reply) => {
                    assert!(reply.status == 201 || reply.body["nothing_happened"] == true, "{reply:?}");
                }
                None => unanswered.push(ask),
            }
        }
        stopped.await.expect("it stops");
    }
    // Connections that nobody accepted may have been cut, as long as nothing came of them.
    let node = place.serve();
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let again = join_all(unanswered.iter().map(|ask| client.post(&token, ask))).await;
    for (ask, reply) in unanswered.iter().zip(again) {
        let reply = reply.expect("an answer");
        assert!(!reply.replayed, "{ask:?} was done and its caller left without an answer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_for_a_run_when_the_node_stops_hears_that_it_was_accepted() {
    let place = Place::new();
    let node = serve_without_grace(&place);
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let steps = serde_json::json!({ "workflow": "bench.steps", "input": { "steps": 1, "millis": 20_000 } });
    let request = client
        .raw(Method::POST, "/api/v1/runs")
        .bearer_auth(&token)
        .header("Idempotency-Key", "slow")
        .header("Prefer", "wait=30")
        .json(&steps);
    let operator = place.token("operator", "admin");
    let before = client.get(&operator, "/events?last=1").await["next"].clone();
    let waiting = tokio::spawn(send(request));
    let after = before.as_str().expect("a position").to_owned();
    let begun = client.get(&operator, &format!("/events?after={after}&wait=30")).await;
    assert_eq!(begun["items"][0]["type"], "run.started", "{begun}");
    let stopped = tokio::task::spawn_blocking(move || node.stop());
    let reply = waiting.await.expect("ends").expect("an answer");
    assert_eq!((reply.status, reply.text("status")), (202, "accepted"), "{reply:?}");
    stopped.await.expect("it stops");
    // And what was accepted goes on.
    let node = place.serve();
    let client = Client::new(&node.url);
    let bought = client.post(&token, &purchase("ana", "after", "taza-barro", 1)).await;
    assert_eq!(bought.expect("an answer").status, 200);
    let run = client.get(&token, &format!("/runs/{}", reply.text("id"))).await;
    assert_ne!(run["status"], "failed");
}
