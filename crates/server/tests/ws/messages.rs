//! What is said, by a client like any other.

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use crate::house::House;

type Client = WebSocketStream<TcpStream>;
const ID: &str = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";

async fn client(house: &House) -> Client {
    WebSocketStream::from_raw_socket(house.open().await.stream, Role::Client, None).await
}

async fn ask(client: &mut Client, frame: &Value) -> Value {
    client.send(Message::text(frame.to_string())).await.expect("sent");
    let answer = client.next().await.expect("an answer").expect("read");
    serde_json::from_str(answer.to_text().expect("text")).expect("JSON")
}

#[tokio::test]
async fn frames_go_either_way_in_order_and_a_close_is_answered() {
    let house = House::new().await;
    let mut client = client(&house).await;
    let reply = ask(&mut client, &json!({ "type": "message", "request_id": ID, "text": "hola" })).await;
    let expected = json!({
        "type": "reply", "request_id": ID, "run_id": ID, "session_id": ID, "frame": 1,
        "status": "completed", "text": "hola", "data": {},
    });
    assert_eq!(reply, expected);
    for frame in [
        json!({ "type": "confirm", "request_id": ID, "accept": true }),
        json!({ "type": "resume", "session_id": ID, "after": 3 }),
    ] {
        assert_eq!(ask(&mut client, &frame).await["type"], "reply");
    }
    for n in 0..5 {
        let frame = json!({ "type": "message", "text": format!("{n}") });
        client.send(Message::text(frame.to_string())).await.expect("sent");
    }
    for n in 0..5 {
        let reply = client.next().await.expect("a reply").expect("read");
        let reply: Value = serde_json::from_str(reply.to_text().expect("text")).expect("JSON");
        assert_eq!(reply["text"], json!(n.to_string()));
    }
    let bye = CloseFrame { code: CloseCode::Normal, reason: "bye".into() };
    client.close(Some(bye.clone())).await.expect("sent");
    let answer = client.next().await.expect("answered").expect("read");
    assert_eq!(answer, Message::Close(Some(bye)));
    assert!(client.next().await.is_none());
    drop(client);
    house.is_empty().await;
    house.shows("steadfast_ws_frames_total{direction=\"in\",kind=\"message\"} 6").await;
    house.shows("steadfast_ws_frames_total{direction=\"out\",kind=\"reply\"} 8").await;
}

#[tokio::test]
async fn a_frame_that_does_not_read_is_complained_about_and_the_next_one_is_heard() {
    let house = House::new().await;
    let mut client = client(&house).await;
    let wrong = json!({ "type": "message", "request_id": ID, "text": "x".repeat(4097) });
    let error = ask(&mut client, &wrong).await;
    let expected = json!({
        "type": "error", "request_id": ID, "code": "frame.invalid",
        "message": "`text` has 4097 bytes: send at most 4096 at once", "retryable": false,
    });
    assert_eq!(error, expected);
    assert_eq!(ask(&mut client, &json!([1])).await["code"], "frame.invalid_json");
    // However much they are together, each is bounded for itself.
    for _ in 0..5 {
        assert_eq!(ask(&mut client, &json!("x".repeat(60_000))).await["code"], "frame.invalid_json");
    }
    let largest = json!({ "type": "message", "text": "x".repeat(4096) });
    assert_eq!(ask(&mut client, &largest).await["type"], "reply");
    house.shows("steadfast_ws_frames_total{direction=\"in\",kind=\"invalid\"} 7").await;
}
