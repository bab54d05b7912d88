use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use steadfast_core::{World, time::Sleep};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connection whose writes fail when its client takes nothing for too long.
///
/// Whoever asks and does not read would otherwise hold all that its answer needs, for as
/// long as it likes: nobody looks at a deadline while an answer waits to be written. A
/// connection that has nothing to write waits for nothing.
pub(crate) struct WriteTimeout<T> {
    io: T,
    limit: Duration,
    world: World,
    /// Rings when the write that waits has waited for too long.
    waiting: Option<Sleep>,
}

impl<T> WriteTimeout<T> {
    pub(crate) fn new(io: T, limit: Duration, world: World) -> Self {
        Self { io, limit, world, waiting: None }
    }
    /// What `written` says, or that it was waited for long enough.
    fn limited<W>(&mut self, written: Poll<io::Result<W>>, context: &mut Context<'_>) -> Poll<io::Result<W>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let waiting = self.waiting.get_or_insert_with(|| self.world.clock().sleep(self.limit));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WriteTimeout<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, into)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for WriteTimeout<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.limited(written, context)
    }
    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, parts);
        self.limited(written, context)
    }
    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // A socket holds nothing back: that it is flushed does not say that anybody reads.
        Pin::new(&mut self.io).poll_flush(context)
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use futures::poll;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn only_a_write_that_waits_and_of_which_nothing_is_taken_fails() {
        let (world, clock) = World::manual(1);
        let (near, mut far) = tokio::io::duplex(4);
        let mut near = WriteTimeout::new(near, 3 * SECOND, world);
        near.write_all(b"full").await.expect("there is room");
        // Nothing is to be written.
        clock.advance(60 * SECOND);
        {
            let mut write = std::pin::pin!(near.write_all(b"12345678"));
            for _ in 0..4 {
                assert!(poll!(&mut write).is_pending());
                clock.advance(2 * SECOND);
                assert!(poll!(&mut write).is_pending());
                far.read_u8().await.expect("a byte");
            }
            assert!(poll!(&mut write).is_pending());
            clock.advance(3 * SECOND);
            assert_eq!(write.await.map_err(|it| it.kind()), Err(io::ErrorKind::TimedOut));
        }
        far.write_all(b"more").await.expect("it is still open");
        assert_eq!(near.read_u8().await.ok(), Some(b'm'));
    }
}
