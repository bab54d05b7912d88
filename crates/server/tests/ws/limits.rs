//! Too fast, too slow, too quiet.

use std::{num::NonZeroU32, time::Duration};

use serde_json::json;

use crate::{
    house::House,
    raw::{FIN, PING, PONG, frame, text},
};

const ID: &str = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn who_is_too_fast_is_told_first_and_disconnected_if_it_goes_on() {
    let house = House::with(|ws| {
        ws.messages_per_second = NonZeroU32::MIN;
        ws.messages_burst = NonZeroU32::MIN.saturating_add(1);
    })
    .await;
    let mut raw = house.open().await;
    let said = text(&json!({ "type": "message", "request_id": ID, "text": "hola" }).to_string());
    for _ in 0..2 {
        raw.send(&said).await;
        assert_eq!(raw.json().await["type"], "reply");
    }
    raw.send(&said).await;
    let error = raw.json().await;
    assert_eq!((&error["code"], &error["request_id"]), (&json!("rate_limited"), &json!(ID)));
    assert_eq!(error["retryable"], true);
    // Who waits as told is heard again.
    house.clock.advance(Duration::from_secs(1));
    raw.send(&said).await;
    assert_eq!(raw.json().await["type"], "reply");
    for _ in 0..2 {
        raw.send(&said).await;
        assert_eq!(raw.json().await["code"], "rate_limited");
    }
    raw.send(&said).await;
    assert_eq!(raw.close_code().await, Some(1008));
    assert_eq!(house.echo.state().heard.len(), 3, "what is refused is not heard");
}

#[tokio::test]
async fn who_reads_too_slowly_for_its_outbox_is_disconnected() {
    let house = House::with(|ws| ws.outbox_frames = NonZeroU32::MIN.saturating_add(9)).await;
    let mut raw = house.open().await;
    raw.say("many").await;
    assert_eq!(raw.close_code().await, Some(1013));
    house.echo.closed.notified().await;
    drop(raw);
    house.is_empty().await;
}

#[tokio::test]
async fn what_waits_for_room_is_told_in_full_through_a_small_outbox() {
    let house = House::with(|ws| ws.outbox_frames = NonZeroU32::MIN).await;
    let mut raw = house.open().await;
    raw.say("all").await;
    for n in 0..100 {
        assert_eq!(raw.json().await["frame"], n);
    }
}

#[tokio::test]
async fn who_does_not_read_at_all_is_disconnected() {
    let house = House::with(|ws| ws.idle_timeout = DAY.into()).await;
    let mut raw = house.open().await;
    raw.say("large").await;
    house.shows("steadfast_ws_frames_total{direction=\"in\",kind=\"message\"} 1").await;
    while house.metrics().await.contains("steadfast_ws_connections 1") {
        house.clock.advance(Duration::from_secs(10));
        tokio::task::yield_now().await;
    }
    house.is_empty().await;
    house.shows("steadfast_ws_closed_total{code=\"1013\",by=\"server\"} 1").await;
    drop(raw);
}

#[tokio::test]
async fn who_answers_pings_stays_and_who_is_silent_goes() {
    let house = House::new().await;
    let mut raw = house.open().await;
    raw.echoes("hola").await;
    let third = Duration::from_secs(20);
    for _ in 0..6 {
        house.clock.advance(third);
        assert_eq!(raw.next().await, (PING, Vec::new()));
        raw.send(&frame(FIN | PONG, &[])).await;
        // The answer shows that the pong was read.
        raw.send(&frame(FIN | PING, b"?")).await;
        assert_eq!(raw.next().await, (PONG, b"?".to_vec()));
    }
    for _ in 0..3 {
        house.clock.advance(third);
    }
    assert_eq!(raw.close_code().await, Some(4408));
    drop(raw);
    house.is_empty().await;
}

#[tokio::test]
async fn pings_take_nothing_from_what_may_be_said() {
    let house = House::with(|ws| ws.messages_burst = NonZeroU32::MIN.saturating_add(2)).await;
    let mut raw = house.open().await;
    for _ in 0..3 {
        raw.send(&frame(FIN | PING, b"?")).await;
        assert_eq!(raw.next().await.0, PONG);
    }
    for _ in 0..3 {
        raw.echoes("hola").await;
    }
    raw.send(&frame(FIN | PONG, &[])).await;
    assert_eq!(raw.close_code().await, Some(1008));
}

#[tokio::test]
async fn while_the_application_is_busy_only_so_much_is_read() {
    let house = House::with(|ws| {
        ws.idle_timeout = DAY.into();
        ws.messages_burst = NonZeroU32::MIN.saturating_add(999);
    })
    .await;
    let mut raw = house.open().await;
    raw.say("wait").await;
    house.echo.waits.notified().await;
    for n in 0..40 {
        raw.say(&n.to_string()).await;
    }
    // The one being heard, those that wait, and the one that finds no place.
    house.shows("steadfast_ws_frames_total{direction=\"in\",kind=\"message\"} 18").await;
    house.echo.go_on.notify_one();
    assert_eq!(raw.json().await["text"], "wait");
    for n in 0..40 {
        assert_eq!(raw.json().await["text"], json!(n.to_string()));
    }
}
