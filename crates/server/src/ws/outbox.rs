use std::sync::Arc;

use tokio::sync::{Notify, mpsc};

use super::ServerFrame;

/// Where frames for one connection go. Cheap to clone.
///
/// It is bounded. A connection whose reader is so slow that it fills up is closed; what is
/// durable is told again when the client resumes, so nothing is lost with it.
#[derive(Debug, Clone)]
pub struct Outbox {
    frames: mpsc::Sender<Written>,
    full: Arc<Notify>,
}

/// A frame as it goes out. It waits as text, which is smaller than what it is made of.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// The other end of an [`Outbox`].
#[derive(Debug)]
pub struct Outgoing {
    frames: mpsc::Receiver<Written>,
    full: Arc<Notify>,
}

impl From<ServerFrame> for Written {
    fn from(frame: ServerFrame) -> Self {
        // Texts, numbers and JSON: nothing here can fail to be written.
        Self { kind: frame.kind(), text: serde_json::to_string(&frame).unwrap_or_default() }
    }
}

impl Outbox {
    /// An outbox of so many frames (at least one), and what comes out of it: for sockets, and
    /// for whoever brings frames by other means.
    pub fn new(frames: usize) -> (Self, Outgoing) {
        let (sender, receiver) = mpsc::channel(frames.max(1));
        let full = Arc::new(Notify::new());
        (Self { frames: sender, full: full.clone() }, Outgoing { frames: receiver, full })
    }
    /// Sends a frame, without waiting. It goes nowhere once the connection is closed, or if
    /// the outbox is full, which closes the connection.
    pub fn send(&self, frame: ServerFrame) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.frames.try_send(frame.into()) {
            self.full.notify_one();
        }
    }
    /// Sends a frame and waits for room, as a replay of what was told before does. Ends also
    /// when the connection is closed, which happens to a peer that does not read.
    pub async fn deliver(&self, frame: ServerFrame) {
        // Closed: it is told again when the client resumes.
        let _ = self.frames.send(frame.into()).await;
    }
    /// Ends when the connection is closed. Safe to drop half-way.
    pub async fn closed(&self) {
        self.frames.closed().await;
    }
    /// Is the connection closed?
    pub fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }
}

impl Outgoing {
    /// The next frame; `None` once nobody can send any more. Safe to drop half-way.
    pub(super) async fn next(&mut self) -> Option<Written> {
        self.frames.recv().await
    }
    /// The next frame as it goes out, in JSON; `None` once nobody can send any more. Safe to
    /// drop half-way.
    pub async fn frame(&mut self) -> Option<String> {
        self.next().await.map(|written| written.text)
    }
    /// Ends when a frame found no room. Safe to drop half-way.
    pub(super) fn overflow(&self) -> impl Future<Output = ()> + Send + use<> {
        let full = self.full.clone();
        async move { full.notified().await }
    }
}
