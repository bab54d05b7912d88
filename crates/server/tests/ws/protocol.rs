//! RFC 6455, kept and broken.

use crate::{
    house::House,
    raw::{BINARY, CLOSE, CONTINUE, FIN, PING, PONG, Raw, TEXT, announced, frame, message, text},
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const SAID: &str = r#"{"type":"message","text":"ñandú"}"#;

#[tokio::test]
async fn fragments_are_joined_and_a_ping_between_them_is_answered() {
    let house = House::new().await;
    let mut raw = house.open().await;
    // The text is cut in the middle of a letter.
    let (start, rest) = SAID.as_bytes().split_at(SAID.find('ñ').expect("there") + 1);
    raw.send(&frame(TEXT, start)).await;
    raw.send(&frame(FIN | PING, b"still there?")).await;
    assert_eq!(raw.next().await, (PONG, b"still there?".to_vec()));
    raw.send(&frame(CONTINUE, &[])).await;
    for byte in rest {
        raw.send(&frame(CONTINUE, &[*byte])).await;
    }
    raw.send(&frame(FIN | CONTINUE, &[])).await;
    assert_eq!(raw.json().await["text"], "ñandú");
}

#[tokio::test]
async fn frames_that_come_with_the_handshake_are_heard() {
    let house = House::new().await;
    let mut raw = Raw::new(house.connect().await);
    let token = house.token("ana");
    let mut bytes = format!("GET /ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {}\r\nauthorization: Bearer {token}\r\n\r\n", crate::raw::KEY).into_bytes();
    bytes.extend(message("early"));
    raw.send(&bytes).await;
    assert!(raw.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(raw.json().await["text"], "early");
}

#[tokio::test]
async fn what_breaks_the_protocol_is_told_with_its_code_and_disconnected() {
    let long = "x".repeat(40 << 10);
    let unmasked = [&[FIN | TEXT, 2][..], b"hi"].concat();
    let joined = |frames: &[Vec<u8>]| frames.concat();
    for (what, bytes, code) in [
        ("an unmasked frame", unmasked, 1002),
        ("a reserved bit", frame(FIN | 0x40 | TEXT, b"{}"), 1002),
        ("a reserved bit of a control frame", frame(FIN | 0x10 | PING, b""), 1002),
        ("a reserved data opcode", frame(FIN | 0x3, b""), 1002),
        ("a reserved control opcode", frame(FIN | 0xB, b""), 1002),
        ("a ping in fragments", frame(PING, b"a"), 1002),
        ("a ping of 126 bytes", frame(FIN | PING, &[0; 126]), 1002),
        ("a continuation of nothing", frame(FIN | CONTINUE, b"a"), 1002),
        ("a text inside another", joined(&[frame(TEXT, b"{"), text("{}")]), 1002),
        ("a close frame of one byte", frame(FIN | CLOSE, &[3]), 1002),
        ("a close code that none may send", frame(FIN | CLOSE, &1005_u16.to_be_bytes()), 1002),
        ("another protocol", b"GET / HTTP/1.1\r\nhost: bank.test\r\n\r\n".to_vec(), 1002),
        ("no UTF-8", frame(FIN | TEXT, &[b'"', 0xFF, b'"']), 1007),
        ("no UTF-8 over fragments", joined(&[frame(TEXT, &[0xC3]), frame(FIN | CONTINUE, b"(")]), 1007),
        ("half a letter", joined(&[frame(TEXT, b"a"), frame(FIN | CONTINUE, &[0xC3])]), 1007),
        ("a surrogate", frame(FIN | TEXT, &[0xED, 0xA0, 0x80]), 1007),
        ("a reason that is no UTF-8", frame(FIN | CLOSE, &[3, 0xE8, 0xFF]), 1007),
        ("64 MB, announced", announced(FIN | TEXT, 64 << 20), 1009),
        ("more than there is", announced(FIN | TEXT, u64::MAX >> 1), 1009),
        ("one byte too many", announced(FIN | TEXT, (64 << 10) + 1), 1009),
        (
            "too many bytes over fragments",
            joined(&[frame(TEXT, long.as_bytes()), frame(FIN | CONTINUE, long.as_bytes())]),
            1009,
        ),
        ("binary", frame(FIN | BINARY, b"{}"), 1003),
    ] {
        let house = House::new().await;
        let mut raw = house.open().await;
        raw.send(&bytes).await;
        assert_eq!(raw.close_code().await, Some(code), "{what}");
        drop(raw);
        house.is_empty().await;
        let by_us = format!("steadfast_ws_closed_total{{code=\"{code}\",by=\"server\"}} 1");
        let theirs = "steadfast_ws_closed_total{code=\"1000\",by=\"client\"} 1";
        let metrics = house.metrics().await;
        assert!(metrics.contains(&by_us) || metrics.contains(theirs), "{what}: {metrics}");
    }
}

#[tokio::test]
async fn a_close_frame_is_not_lost_to_a_reset() {
    let house = House::new().await;
    let mut raw = house.open().await;
    // Much more follows the mistake, and nobody will read it.
    raw.send(&frame(FIN | 0x3, b"")).await;
    raw.send(&vec![0; 512 << 10]).await;
    assert_eq!(raw.close_code().await, Some(1002));
}

#[tokio::test]
async fn a_clients_close_is_answered_in_kind() {
    let house = House::new().await;
    let mut bye = 1000_u16.to_be_bytes().to_vec();
    bye.extend(b"bye");
    for payload in [&bye[..], &[], &4000_u16.to_be_bytes()] {
        let mut raw = house.open().await;
        raw.send(&frame(FIN | CLOSE, payload)).await;
        assert_eq!(raw.next().await, (CLOSE, payload.to_vec()));
        raw.is_over().await;
    }
    house.is_empty().await;
    house.shows("steadfast_ws_closed_total{code=\"1000\",by=\"client\"} 3").await;
}

#[tokio::test]
async fn a_client_that_ends_its_side_or_resets_is_let_go() {
    let house = House::new().await;
    let mut raw = house.open().await;
    raw.stream.shutdown().await.expect("half closed");
    raw.is_over().await;
    let mut raw = house.open().await;
    raw.echoes("hola").await;
    raw.stream.set_zero_linger().expect("set");
    drop(raw);
    house.is_empty().await;
    house.shows("steadfast_ws_closed_total{code=\"1006\",by=\"nobody\"} 2").await;
}

#[tokio::test]
async fn an_endless_flood_of_pings_pongs_or_empty_fragments_is_ended() {
    for (first, flood) in [
        (None, frame(FIN | PING, b"x")),
        (None, frame(FIN | PONG, b"")),
        (Some(frame(TEXT, b"")), frame(CONTINUE, b"")),
    ] {
        let house = House::new().await;
        let raw = house.open().await;
        let (mut read, mut write) = raw.stream.into_split();
        let flooding = tokio::spawn(async move {
            if let Some(first) = first {
                write.write_all(&first).await.expect("sent");
            }
            // Ends when the server has ended the connection.
            while write.write_all(&flood).await.is_ok() {}
        });
        let mut last = Vec::new();
        let mut bytes = [0; 4096];
        // What was not read when the flood met the end may be reset, after the close frame.
        while let Ok(n @ 1..) = read.read(&mut bytes).await {
            last.extend_from_slice(&bytes[..n]);
        }
        let reason = b"\x03\xF0too many messages";
        assert!(last.windows(reason.len()).any(|it| it == reason), "1008 is told");
        flooding.await.expect("ends");
        house.is_empty().await;
        house.shows("steadfast_ws_closed_total{code=\"1008\",by=\"server\"} 1").await;
    }
}
