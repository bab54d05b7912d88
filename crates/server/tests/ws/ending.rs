//! How connections end that did nothing wrong.

use std::time::Duration;

use tokio::net::TcpStream;

use crate::{
    house::{House, TTL},
    raw::{CLOSE, FIN, Raw, frame},
};

const DAY: Duration = Duration::from_secs(86_400);

#[tokio::test]
async fn a_connection_lasts_no_longer_than_its_token() {
    let house = House::with(|ws| ws.idle_timeout = DAY.into()).await;
    let mut raw = house.open().await;
    house.clock.advance(TTL / 2);
    raw.echoes("half of it is over").await;
    house.clock.advance(TTL / 2);
    assert_eq!(raw.close_code().await, Some(4401));
    drop(raw);
    house.is_empty().await;
}

#[tokio::test]
async fn setting_the_clock_past_the_tokens_end_ends_the_connection() {
    let house = House::with(|ws| ws.idle_timeout = DAY.into()).await;
    let mut raw = house.open().await;
    raw.echoes("hola").await;
    house.clock.jump(house.world.now().after(TTL));
    house.clock.advance(Duration::from_secs(30));
    assert_eq!(raw.close_code().await, Some(4401));
}

#[tokio::test]
async fn a_stopping_server_says_so_and_waits_for_its_clients_to_go() {
    let mut house = House::new().await;
    let (mut ana, mut bob) = (house.open().await, house.open_as("bob").await);
    ana.echoes("hola").await;
    bob.echoes("hola").await;
    house.stop();
    assert_eq!(ana.close_code().await, Some(1001));
    assert_eq!(bob.close_code().await, Some(1001));
    drop(ana);
    assert!(!house.ended.is_finished(), "bob is still there");
    drop(bob);
    (&mut house.ended).await.expect("ends");
    house.is_empty().await;
}

#[tokio::test]
async fn who_comes_while_the_server_stops_is_sent_away_in_the_same_words() {
    let mut house = House::new().await;
    let mut raw = Raw::new(house.connect().await);
    let token = format!("Bearer {}", house.token("slow"));
    let headers = [("authorization", token.as_str())];
    let (head, ()) = tokio::join!(raw.handshake(&headers), async {
        house.echo.waits.notified().await;
        house.stop();
        // It no longer listens.
        while TcpStream::connect(house.address).await.is_ok() {}
        house.echo.go_on.notify_one();
    });
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(raw.close_code().await, Some(1001));
    drop(raw);
    (&mut house.ended).await.expect("ends");
}

#[tokio::test]
async fn a_client_that_does_not_go_is_left_behind() {
    let mut house = House::new().await;
    let mut raw = house.open().await;
    raw.echoes("hola").await;
    house.stop();
    assert_eq!(raw.close_code().await, Some(1001));
    house.clock.advance(Duration::from_secs(10));
    (&mut house.ended).await.expect("ends");
    house.is_empty().await;
}

#[tokio::test]
async fn what_was_read_is_heard_to_its_end_though_its_client_is_gone() {
    let house = House::new().await;
    let mut raw = house.open().await;
    raw.say("wait").await;
    raw.say("and this").await;
    raw.send(&frame(FIN | CLOSE, &[])).await;
    house.echo.waits.notified().await;
    assert_eq!(raw.close_code().await, None);
    drop(raw);
    house.echo.closed.notified().await;
    let mut bob = house.open_as("bob").await;
    for _ in 0..10 {
        bob.echoes("time goes by").await;
    }
    house.shows("steadfast_ws_connections 2").await;
    drop(bob);
    house.echo.go_on.notify_one();
    house.is_empty().await;
    let mut heard = house.echo.state().heard;
    heard.retain(|it| it != "time goes by");
    assert_eq!(heard, ["wait", "and this"]);
}

#[tokio::test]
async fn a_panic_of_the_application_ends_its_connection_and_no_other() {
    let house = House::new().await;
    let (mut ana, mut bob) = (house.open().await, house.open_as("bob").await);
    ana.say("panic").await;
    assert_eq!(ana.close_code().await, Some(1011));
    bob.echoes("all is well here").await;
    drop((ana, bob));
    house.is_empty().await;
}
