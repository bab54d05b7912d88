//! A client of conversations that knows nothing but the frames.

use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

/// More than any answer takes; only a failing test waits for so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// One connection.
pub(crate) struct Talker(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Talker {
    pub(crate) async fn connect(url: &str, token: &str) -> Self {
        Self::reach(url, token).await.expect("a conversation")
    }
    /// `None` when the server is gone.
    pub(crate) async fn reach(url: &str, token: &str) -> Option<Self> {
        let address = url.replacen("http", "ws", 1) + "/ws";
        let mut request = address.into_client_request().expect("an address");
        let bearer = format!("Bearer {token}").parse().expect("a header");
        request.headers_mut().insert("Authorization", bearer);
        connect_async(request).await.ok().map(|(socket, _)| Self(socket))
    }
    /// Whether the server is gone shows when nothing comes back.
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.say(&frame.to_string()).await;
    }
    /// The same for what is no frame.
    pub(crate) async fn say(&mut self, text: &str) {
        let _ = self.0.send(Message::text(text)).await;
    }
    pub(crate) async fn resume(&mut self, session: &Value, after: u64) {
        self.send(&json!({ "type": "resume", "session_id": session, "after": after })).await;
    }
    /// The next frame; `None` when the server is gone.
    pub(crate) async fn next(&mut self) -> Option<Value> {
        let heard = async {
            loop {
                match self.0.next().await?.ok()? {
                    Message::Text(text) => return Some(serde_json::from_str(&text).expect("JSON")),
                    Message::Close(_) => return None,
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("a frame in time")
    }
    /// The next frame about a request that fits.
    pub(crate) async fn hear(&mut self, request: &str, fits: impl Fn(&Value) -> bool) -> Value {
        loop {
            let frame = self.next().await.expect("the connection stays");
            assert_ne!(frame["type"], "error", "{frame}");
            if frame["request_id"] == request && fits(&frame) {
                return frame;
            }
        }
    }
    pub(crate) async fn ack(&mut self, request: &str) -> Value {
        self.hear(request, |frame| frame["type"] == "ack").await
    }
    pub(crate) async fn reply(&mut self, request: &str, status: &str) -> Value {
        self.hear(request, |frame| frame["type"] == "reply" && frame["status"] == status).await
    }
    /// The news that a step is at a certain point.
    pub(crate) async fn step(&mut self, request: &str, step: &str, status: &str) -> Value {
        let fits =
            |frame: &Value| frame["type"] == "progress" && frame["step"] == step && frame["status"] == status;
        self.hear(request, fits).await
    }
}
