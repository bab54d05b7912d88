//! Who gets in.

use std::{num::NonZeroU32, time::Duration};

use serde_json::Value;
use steadfast_server::ServerConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    house::{House, TTL},
    raw::{CLOSE, FIN, KEY, Raw, frame},
};

async fn answer(house: &House, request: &str) -> (String, Value) {
    let mut raw = Raw::new(house.connect().await);
    raw.send(request.as_bytes()).await;
    let head = raw.head().await;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
    let length = length.filter(|_| !request.starts_with("HEAD "));
    let mut body = vec![0; length.unwrap_or(0)];
    raw.stream.read_exact(&mut body).await.expect("a body");
    (head, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn whoever_may_not_converse_is_told_why_in_a_problem_document() {
    let house = House::new().await;
    let old = house.token("ana");
    house.clock.advance(TTL);
    let (ana, bob) = (house.token("ana"), house.token("bob"));
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    let good = bearer(&ana);
    let upgrade = format!(
        "connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}"
    );
    for (method, path, upgrade, headers, status, code) in [
        ("GET", "/ws", &*upgrade, String::new(), 401, "auth.missing"),
        ("GET", "/ws", &upgrade, "authorization: Basic YTpi".into(), 401, "auth.missing"),
        ("GET", "/ws", &upgrade, format!("{good}\r\n{good}"), 401, "auth.missing"),
        ("GET", "/ws", &upgrade, "sec-websocket-protocol: steadfast.v1".into(), 401, "auth.missing"),
        ("GET", "/ws", &upgrade, bearer("x.y.z"), 401, "token.invalid"),
        (
            "GET",
            "/ws",
            &upgrade,
            "sec-websocket-protocol: steadfast.v1, bearer.".into(),
            401,
            "token.invalid",
        ),
        ("GET", "/ws", &upgrade, bearer(&old), 401, "token.expired"),
        (
            "GET",
            "/ws",
            &upgrade,
            format!("{good}\r\nsec-websocket-protocol: bearer.{bob}"),
            401,
            "auth.ambiguous",
        ),
        (
            "GET",
            "/ws",
            &upgrade,
            format!("sec-websocket-protocol: bearer.{ana}\r\nsec-websocket-protocol: bearer.{bob}"),
            401,
            "auth.ambiguous",
        ),
        ("GET", "/ws", &upgrade, bearer(&house.token("mallory")), 403, "user.not_found"),
        ("GET", "/ws", &upgrade, bearer(&house.token("trent")), 503, "store.unavailable"),
        ("GET", "/ws", &upgrade, format!("{good}\r\norigin: https://evil.test"), 403, "auth.forbidden"),
        ("GET", "/ws", &upgrade, format!("{good}\r\norigin: null"), 403, "auth.forbidden"),
        (
            "GET",
            "/ws",
            &upgrade,
            format!("{good}\r\norigin: http://bank.test\r\norigin: http://bank.test"),
            403,
            "auth.forbidden",
        ),
        ("GET", &format!("/ws?token={ana}"), &upgrade, good.clone(), 400, "request.invalid_query"),
        ("GET", "/ws", "connection: close", good.clone(), 426, "request.invalid_upgrade"),
        ("GET", "/ws", &upgrade.replace(" Upgrade", " close"), good.clone(), 426, "request.invalid_upgrade"),
        ("GET", "/ws", &upgrade.replace("13", "8"), good.clone(), 426, "request.invalid_upgrade"),
        (
            "GET",
            "/ws",
            &upgrade.replace("websocket\r\n", "h2c\r\n"),
            good.clone(),
            426,
            "request.invalid_upgrade",
        ),
        ("GET", "/ws", &upgrade.replace(KEY, "c2hvcnQ="), good.clone(), 400, "request.invalid_upgrade"),
        (
            "GET",
            "/ws",
            &upgrade,
            format!("{good}\r\nsec-websocket-key: {KEY}"),
            400,
            "request.invalid_upgrade",
        ),
        ("HEAD", "/ws", &upgrade, good.clone(), 400, ""),
        ("GET", "/ws", &upgrade, format!("{good}\r\ncontent-length: 2"), 400, "request.invalid_upgrade"),
        (
            "GET",
            "/ws",
            &upgrade,
            format!("{good}\r\ntransfer-encoding: chunked"),
            400,
            "request.invalid_upgrade",
        ),
        ("POST", "/ws", &upgrade, good.clone(), 405, "request.method_not_allowed"),
        ("GET", "/api/v1/ws", &upgrade, good.clone(), 404, "request.no_such_path"),
    ] {
        let request =
            format!("{method} {path} HTTP/1.1\r\nhost: bank.test\r\n{upgrade}\r\n{headers}\r\n\r\n");
        let request = request.replace("\r\n\r\n\r\n", "\r\n\r\n");
        let (head, problem) = answer(&house, &request).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{request}{head}{problem}");
        if method != "HEAD" {
            assert_eq!(problem["code"], code, "{request}{problem}");
            assert_eq!(problem["status"], status, "{problem}");
        }
        assert!(head.contains("content-type: application/problem+json"), "{head}");
        let told = ["connection: upgrade", "upgrade: websocket\r\n", "sec-websocket-version: 13\r\n"];
        assert!(told.iter().all(|it| head.contains(it) == (status == 426)), "{head}");
        let answer = head + &problem.to_string();
        assert!(!answer.contains(&ana) && !answer.contains(&bob) && !answer.contains(&old), "{answer}");
    }
    assert_eq!(house.echo.state().opened, 0);
}

#[tokio::test]
async fn a_token_comes_in_a_header_or_in_a_subprotocol_that_is_not_told_back() {
    let house = House::with(|ws| {
        ws.origins = vec!["https://app.example.com".to_owned().try_into().expect("an origin")];
    })
    .await;
    let token = house.token("ana");
    let bearer = format!("Bearer {token}");
    let offer = format!("steadfast.v1, bearer.{token}");
    let other_order = format!("bearer.{token},other.v2,steadfast.v1");
    for (headers, echoed) in [
        (vec![("authorization", &*bearer)], false),
        (vec![("authorization", &bearer), ("sec-websocket-protocol", "other.v2")], false),
        (vec![("authorization", &bearer), ("sec-websocket-protocol", "steadfast.v1")], true),
        (vec![("sec-websocket-protocol", &*offer)], true),
        (vec![("sec-websocket-protocol", &*other_order)], true),
        (vec![("authorization", &bearer), ("sec-websocket-protocol", &offer)], true),
        (vec![("sec-websocket-protocol", &*offer), ("origin", "http://bank.test")], true),
        (vec![("sec-websocket-protocol", &*offer), ("origin", "https://app.example.com")], true),
    ] {
        let mut raw = Raw::new(house.connect().await);
        let head = raw.handshake(&headers).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), "{head}");
        assert_eq!(head.contains("sec-websocket-protocol: steadfast.v1\r\n"), echoed, "{head}");
        assert!(!head.contains(&token), "{head}");
        raw.echoes("hola").await;
        assert_eq!(head.matches("sec-websocket-protocol").count(), usize::from(echoed));
    }
}

#[tokio::test]
async fn without_anybody_to_talk_to_there_is_no_path() {
    let house = House::build(ServerConfig::default(), false).await;
    let mut raw = Raw::new(house.connect().await);
    let head = raw.handshake(&[("authorization", &format!("Bearer {}", house.token("ana")))]).await;
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
}

#[tokio::test]
async fn a_user_has_so_many_connections_and_a_closed_one_makes_room() {
    let house = House::with(|ws| ws.connections_per_user = NonZeroU32::MIN.saturating_add(1)).await;
    let (first, _second) = (house.open().await, house.open().await);
    let bearer = format!("Bearer {}", house.token("ana"));
    let mut third = Raw::new(house.connect().await);
    let head = third.handshake(&[("authorization", &bearer)]).await;
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("retry-after: 1\r\n"), "{head}");
    house.open_as("bob").await.echoes("there is room for others").await;
    drop(first);
    house.shows("steadfast_ws_closed_total{code=\"1006\",by=\"nobody\"} 2").await;
    house.shows("steadfast_ws_connections 1").await;
    house.open().await.echoes("there is room again").await;
}

#[tokio::test]
async fn a_connection_keeps_its_place_among_all_until_it_ends() {
    let config = ServerConfig { connections_max: NonZeroU32::MIN, ..ServerConfig::default() };
    let house = House::build(config, true).await;
    let mut raw = house.open().await;
    let mut next = house.connect().await;
    next.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("sent");
    for _ in 0..10 {
        raw.echoes("still here").await;
    }
    let early = next.try_read(&mut [0; 1]);
    assert_eq!(early.expect_err("not yet its turn").kind(), std::io::ErrorKind::WouldBlock);
    raw.send(&frame(FIN | CLOSE, &[])).await;
    raw.close_code().await;
    drop(raw);
    let mut answer = String::new();
    next.read_to_string(&mut answer).await.expect("answered");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_is_given_up() {
    let config = ServerConfig { read_timeout: Duration::from_millis(50).into(), ..ServerConfig::default() };
    let house = House::build(config, true).await;
    let mut raw = Raw::new(house.connect().await);
    raw.send(b"GET /ws HTTP/1.1\r\nhost: bank.test\r\nconnection: Upgrade\r\nupgra").await;
    let mut rest = Vec::new();
    raw.stream.read_to_end(&mut rest).await.expect("closed");
    assert!(!rest.starts_with(b"HTTP/1.1 101"));
    // What is open has no such limit.
    house.open().await.echoes("hola").await;
}
