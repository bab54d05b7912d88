//! A client of bytes, which may break every rule.

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const BINARY: u8 = 0x2;
pub(crate) const CONTINUE: u8 = 0x0;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;
pub(crate) const FIN: u8 = 0x80;
const MASK: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// One masked frame. `first` is its first byte: FIN, reserved bits and opcode.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = announced(first, payload.len() as u64);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The head of a masked frame, whose payload may never come.
pub(crate) fn announced(first: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => bytes.push(0x80 | length),
        (_, Ok(length)) => {
            bytes.push(0x80 | 0x7E);
            bytes.extend(length.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 0x7F);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    frame(FIN | TEXT, text.as_bytes())
}

pub(crate) fn message(said: &str) -> Vec<u8> {
    text(&json!({ "type": "message", "text": said }).to_string())
}

pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
}

impl Raw {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream }
    }
    /// Asks to upgrade, with further headers, and gives the head of the answer.
    pub(crate) async fn handshake(&mut self, headers: &[(&str, &str)]) -> String {
        let mut request = format!(
            "GET /ws HTTP/1.1\r\nhost: bank.test\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: {KEY}\r\n"
        );
        for (name, value) in headers {
            request.extend([name, ": ", value, "\r\n"]);
        }
        self.send((request + "\r\n").as_bytes()).await;
        self.head().await
    }
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(self.stream.read_u8().await.expect("a head"));
        }
        String::from_utf8(head).expect("text")
    }
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
    }
    pub(crate) async fn say(&mut self, said: &str) {
        self.send(&message(said)).await;
    }
    /// The next frame: its opcode and payload. A server's are whole and never masked.
    pub(crate) async fn next(&mut self) -> (u8, Vec<u8>) {
        let first = self.stream.read_u8().await.expect("a frame");
        assert_eq!(first & 0xF0, FIN, "whole, without reserved bits");
        let length = match self.stream.read_u8().await.expect("a length") {
            126 => self.stream.read_u16().await.expect("a length").into(),
            127 => self.stream.read_u64().await.expect("a length"),
            length => length.into(),
        };
        let mut payload = vec![0; usize::try_from(length).expect("fits")];
        self.stream.read_exact(&mut payload).await.expect("a payload");
        (first & 0x0F, payload)
    }
    pub(crate) async fn json(&mut self) -> Value {
        let (opcode, payload) = self.next().await;
        assert_eq!(opcode, TEXT, "{}", String::from_utf8_lossy(&payload));
        serde_json::from_slice(&payload).expect("JSON")
    }
    /// What is said comes back.
    pub(crate) async fn echoes(&mut self, said: &str) {
        self.say(said).await;
        let reply = self.json().await;
        assert_eq!((&reply["type"], &reply["text"]), (&json!("reply"), &json!(said)));
    }
    /// Skips what comes until the close frame; gives its code. Nothing comes after it.
    pub(crate) async fn close_code(&mut self) -> Option<u16> {
        loop {
            let (opcode, payload) = self.next().await;
            if opcode == CLOSE {
                self.is_over().await;
                let code = payload.get(..2)?;
                assert!(std::str::from_utf8(&payload[2..]).is_ok());
                return Some(u16::from_be_bytes([code[0], code[1]]));
            }
        }
    }
    /// The server has ended its side, and says nothing more.
    pub(crate) async fn is_over(&mut self) {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).await.expect("an end, not a reset");
        assert!(rest.is_empty(), "{rest:?}");
    }
}
