use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// What reading fails with when a message comes in too many pieces.
pub(super) const TOO_MANY_PIECES: io::ErrorKind = io::ErrorKind::QuotaExceeded;
/// What is still taken from a client after the last word was said to it.
const LINGER_BYTES_MAX: u64 = 1 << 20;

/// The bytes below the frames, counted.
///
/// A message is bounded in size, but not in how many fragments it comes in, and empty ones
/// are free: a client could send them for ever and nothing whole would ever arrive that a
/// rate limit could count. So there is a bound on the bytes between two whole messages.
#[derive(Debug)]
pub(super) struct Wire<T = TokioIo<Upgraded>> {
    io: T,
    count: Count,
}

/// Bytes that arrived since the last whole message, control frames included.
#[derive(Debug, Clone)]
pub(super) struct Count {
    bytes: Arc<AtomicU64>,
    max: u64,
}

impl Count {
    /// A message of so many bytes may be twice as large with all that is around it.
    pub(super) fn of_messages(max: u64) -> Self {
        Self { bytes: Arc::default(), max: max.saturating_mul(2).saturating_add(16 << 10) }
    }
    /// A message is whole.
    pub(super) fn reset(&self) {
        self.bytes.store(0, Ordering::Relaxed);
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Wire<T> {
    pub(super) fn new(io: T, count: Count) -> Self {
        Self { io, count }
    }
    /// Ends the connection so that what was sent last arrives: closing a socket that has
    /// unread bytes resets it, and a reset may overtake the close frame. So the client is
    /// told that no more will come, and what it still sends is read until it ends too.
    pub(super) async fn linger(self) {
        let mut io = self.io;
        if io.shutdown().await.is_ok() {
            // Whatever comes, and however it ends: nobody reads it.
            let _ = tokio::io::copy(&mut io.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await;
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Wire<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = (buf.filled().len() - before) as u64;
        let bytes = self.count.bytes.fetch_add(read, Ordering::Relaxed) + read;
        Poll::Ready(if bytes > self.count.max { Err(TOO_MANY_PIECES.into()) } else { Ok(()) })
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Wire<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
