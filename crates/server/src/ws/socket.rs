//! One open connection, from its handshake to its last byte.
//!
//! Three things go on at once, each in its own order: what the client says is read, what
//! was read is heard by the application, and what the client is to be told is written. Any
//! of them, the token's end or the server's, ends the connection. What was read is heard to
//! its end even then; until it is, the connection keeps its place.

use std::{future::pending, time::Duration};

use bytes::Bytes;
use futures::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use steadfast_core::{Failure, RequestId, Time};
use steadfast_resilience::{Deadline, RateLimit, RateLimitConfig, Site};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::mpsc,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{Role, WebSocketConfig},
    },
};

use super::{
    ClientFrame, Connection, Conversation, Outbox, ServerFrame, WsConfig,
    close::{Close, End},
    outbox::Outgoing,
    wire::{Count, Wire},
};
use crate::{Caller, Edge};

/// Frames that were read and wait for the application; then nothing more is read.
const INBOX_FRAMES: usize = 16;
/// Read at once; messages are small.
const READ_BYTES: usize = 4 << 10;
/// How often a token's end is looked at again, should somebody set the clock.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(30);
/// Pings within the time that a silent client has.
const PINGS: u32 = 3;
/// How long a client may take to see the last word and to end its side.
const LINGER: Duration = Duration::from_secs(3);

type Socket = WebSocketStream<Wire>;

/// Of whom a connection is, and how long it may last.
pub(super) struct Link {
    edge: Edge,
    caller: Caller,
    expires: Time,
}

impl Link {
    pub(super) fn new(edge: Edge, caller: Caller, expires: Time) -> Self {
        Self { edge, caller, expires }
    }
    fn config(&self) -> &WsConfig {
        &self.edge.config().ws
    }
    /// Ends with the token.
    async fn expiry(&self) {
        let world = self.edge.world();
        loop {
            let left = self.expires.since(world.now());
            if left.is_zero() {
                return;
            }
            world.clock().sleep(left.min(LOOK_AT_CLOCK)).await;
        }
    }
    /// So many a second, and so many at once.
    fn limit(&self) -> RateLimit {
        let config = RateLimitConfig {
            enabled: true,
            permits: self.config().messages_per_second,
            per: Duration::from_secs(1).into(),
            burst: self.config().messages_burst,
            wait: Duration::ZERO.into(),
        };
        RateLimit::new(&config, Site::silent("ws", self.edge.world()))
    }
}

/// Converses until the connection ends.
pub(super) async fn run(link: Link, upgraded: Upgraded, conversation: &dyn Conversation) {
    let _open = link.edge.metrics().connection();
    let correlation = link.caller.correlation;
    tracing::debug!(correlation_id = %correlation, "a connection for a conversation was opened");

    let (socket, count) = open(TokioIo::new(upgraded), link.config()).await;
    let (mut sink, mut stream) = socket.split();
    let capacity = usize::try_from(link.config().outbox_frames.get()).unwrap_or(usize::MAX);
    let (outbox, mut outgoing) = Outbox::new(capacity);
    let (inbox, incoming) = mpsc::channel(INBOX_FRAMES);
    let connection = conversation.connect(link.caller.clone(), outbox.clone());
    let hearing = tokio::spawn(hear(connection, incoming));
    let ear = Ear::new(&link, inbox, outbox, count);

    let end = tokio::select! {
        () = link.edge.stopped() => End::Ours(Close::GoingAway),
        () = link.expiry() => End::Ours(Close::Expired),
        () = outgoing.overflow() => End::Ours(Close::Slow),
        () = ear.inbox.closed() => End::Ours(Close::Failed),
        end = ear.listen(&mut stream) => end,
        end = tell(&link, &mut sink, &mut outgoing) => end,
    };
    drop((ear, outgoing));
    link.edge.metrics().closed(end.code(), end.by());
    tracing::debug!(
        correlation_id = %correlation,
        status_code = end.code(),
        "a connection for a conversation ended"
    );
    // They are the halves of one socket, so this cannot fail.
    if let Ok(socket) = sink.reunite(stream) {
        farewell(&link, socket, end).await;
    }
    if hearing.await.is_err() {
        tracing::error!(correlation_id = %correlation, "a conversation panicked");
    }
}

/// Frames over the bytes that follow a handshake, and the count of those bytes.
async fn open<T>(io: T, config: &WsConfig) -> (WebSocketStream<Wire<T>>, Count)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let message_max = Some(config.message_max.as_usize());
    let protocol = WebSocketConfig::default()
        .read_buffer_size(READ_BYTES)
        .write_buffer_size(0)
        .max_message_size(message_max)
        .max_frame_size(message_max);
    let count = Count::of_messages(config.message_max.get());
    let wire = Wire::new(io, count.clone());
    (WebSocketStream::from_raw_socket(wire, Role::Server, Some(protocol)).await, count)
}

/// Every message that these bytes of a client hold, up to its close, and with which code
/// the connection ends.
pub async fn messages<T>(io: T, config: &WsConfig) -> (Vec<Message>, u16)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let (mut socket, count) = open(io, config).await;
    let mut heard = Vec::new();
    loop {
        match socket.next().await {
            None => return (heard, End::Lost.code()),
            Some(Err(error)) => return (heard, End::of(&error).code()),
            Some(Ok(Message::Close(_))) => return (heard, End::Theirs.code()),
            Some(Ok(message)) => heard.push(message),
        }
        count.reset();
    }
}

/// Has the application hear what arrived, to its end.
async fn hear(mut connection: Box<dyn Connection>, mut incoming: mpsc::Receiver<ClientFrame>) {
    while let Some(frame) = incoming.recv().await {
        connection.hear(frame).await;
    }
}

/// Reads what the client says.
struct Ear<'a> {
    link: &'a Link,
    inbox: mpsc::Sender<ClientFrame>,
    outbox: Outbox,
    count: Count,
    messages: RateLimit,
    refusals: RateLimit,
    controls: RateLimit,
}

impl<'a> Ear<'a> {
    fn new(link: &'a Link, inbox: mpsc::Sender<ClientFrame>, outbox: Outbox, count: Count) -> Self {
        let (messages, refusals, controls) = (link.limit(), link.limit(), link.limit());
        Self { link, inbox, outbox, count, messages, refusals, controls }
    }

    async fn listen(&self, stream: &mut SplitStream<Socket>) -> End {
        let (edge, idle) = (&self.link.edge, self.link.config().idle_timeout.get());
        loop {
            let message = match edge.within(idle, stream.next()).await {
                None => return End::Ours(Close::Idle),
                Some(None) => return End::Lost,
                Some(Some(Err(error))) => return End::of(&error),
                Some(Some(Ok(message))) => message,
            };
            self.count.reset();
            let end = match message {
                Message::Text(text) => self.take(text.as_str()).await.err(),
                Message::Binary(_) => Some(Close::Binary),
                Message::Ping(_) => self.control("ping").await.err(),
                Message::Pong(_) => self.control("pong").await.err(),
                // Only for writing.
                Message::Frame(_) => None,
                Message::Close(_) => {
                    // The library answers, and has done so when it reads no more.
                    let rest = async { while let Some(Ok(_)) = stream.next().await {} };
                    edge.within(self.link.config().write_timeout.get(), rest).await;
                    return End::Theirs;
                }
            };
            if let Some(close) = end {
                return End::Ours(close);
            }
        }
    }

    /// A message that is too much is refused; who goes on all the same is disconnected.
    async fn take(&self, text: &str) -> Result<(), Close> {
        let metrics = self.link.edge.metrics();
        let read = ClientFrame::read(text, self.link.config().text_max.get());
        if !self.allows(&self.messages).await {
            metrics.frame("in", "refused");
            if !self.allows(&self.refusals).await {
                return Err(Close::Flood);
            }
            self.outbox.send(self.too_many(request_id(&read)));
            return Ok(());
        }
        match read {
            Ok(frame) => {
                metrics.frame("in", frame.kind());
                self.inbox.send(frame).await.map_err(|_| Close::Failed)
            }
            Err(complaint) => {
                metrics.frame("in", "invalid");
                self.outbox.send(complaint);
                Ok(())
            }
        }
    }

    async fn control(&self, kind: &'static str) -> Result<(), Close> {
        self.link.edge.metrics().frame("in", kind);
        if self.allows(&self.controls).await { Ok(()) } else { Err(Close::Flood) }
    }

    /// At once or not at all.
    async fn allows(&self, limit: &RateLimit) -> bool {
        let now = Deadline::after(self.link.edge.world(), Duration::ZERO);
        limit.take(1, &now).await.is_ok()
    }

    fn too_many(&self, request_id: Option<RequestId>) -> ServerFrame {
        let most = self.link.config().messages_per_second;
        let message = format!("more than {most} messages a second: wait a second, then send it again");
        ServerFrame::error(request_id, &Failure::refused("rate_limited", message).retryable())
    }
}

fn request_id(read: &Result<ClientFrame, ServerFrame>) -> Option<RequestId> {
    match read {
        Ok(ClientFrame::Message { request_id, .. }) | Err(ServerFrame::Error { request_id, .. }) => {
            *request_id
        }
        Ok(ClientFrame::Confirm { request_id, .. }) => Some(*request_id),
        _ => None,
    }
}

/// Writes what the client is told, and pings.
async fn tell(link: &Link, sink: &mut SplitSink<Socket, Message>, outgoing: &mut Outgoing) -> End {
    let clock = link.edge.world().clock();
    let pause = link.config().idle_timeout.get() / PINGS;
    let mut pulse = clock.sleep(pause);
    loop {
        let (kind, message) = tokio::select! {
            Some(frame) = outgoing.next() => (frame.kind, Message::text(frame.text)),
            () = &mut pulse => {
                pulse = clock.sleep(pause);
                ("ping", Message::Ping(Bytes::new()))
            }
        };
        match link.edge.within(link.config().write_timeout.get(), sink.send(message)).await {
            Some(Ok(())) => link.edge.metrics().frame("out", kind),
            // The socket has ended; its reader finds that out too, and how.
            Some(Err(_)) => return pending().await,
            None => return End::Ours(Close::Slow),
        }
    }
}

/// The last word, and time for it to arrive.
async fn farewell(link: &Link, mut socket: Socket, end: End) {
    let said = match end {
        End::Lost => false,
        End::Theirs => true,
        End::Ours(close) => {
            let word = socket.send(Message::Close(Some(close.frame())));
            matches!(link.edge.within(link.config().write_timeout.get(), word).await, Some(Ok(())))
        }
    };
    if said {
        link.edge.within(LINGER, socket.into_inner().linger()).await;
    }
}
