//! What arrives on a socket: frames of a protocol, and what is said in them.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::FutureExt as _;
use steadfast_core::config::Size;
use steadfast_server::{ClientFrame, ServerFrame, WsConfig, ws_messages};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::told;

const TEXT_MAX: u64 = 4 << 10;

/// One JSON object of a client's, or of a server's as our own client reads it.
pub(crate) fn frame(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match ClientFrame::read(text, TEXT_MAX) {
        Ok(frame) => {
            let written = serde_json::to_string(&frame).expect("JSON");
            assert_eq!(ClientFrame::read(&written, TEXT_MAX), Ok(frame), "{written}");
        }
        Err(answer) => {
            let ServerFrame::Error { code, message, retryable, .. } = &answer else {
                panic!("a refusal is an error frame: {answer:?}");
            };
            assert!(code.starts_with("frame.invalid") && !retryable, "{code}");
            told::text(message);
            as_json(&answer);
        }
    }
    if let Ok(frame) = serde_json::from_str::<ServerFrame>(text) {
        as_json(&frame);
    }
}

fn as_json(frame: &ServerFrame) {
    let written = serde_json::to_string(frame).expect("JSON");
    assert_eq!(&serde_json::from_str::<ServerFrame>(&written).expect("a frame"), frame, "{written}");
}

/// The bytes of a connection: however they are cut on their way, they are the same
/// messages and the same end. The first byte says into how large pieces.
pub(crate) fn wire(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let config = WsConfig { message_max: Size::bytes(1 << 10), ..WsConfig::default() };
    let read = |piece: usize| {
        let messages = ws_messages(Pieces { rest: bytes, piece }, &config);
        messages.now_or_never().expect("bytes in memory are ready")
    };
    let whole = read(bytes.len());
    for (message, size) in whole.0.iter().map(|message| (message, message.len())) {
        assert!(size as u64 <= config.message_max.get(), "a message of {size} bytes: {message:?}");
    }
    for piece in [usize::from(*piece), 1] {
        assert_eq!(read(piece.max(1)), whole, "in pieces of {piece}");
    }
}

/// Bytes that come piece by piece; what is answered is taken and forgotten.
struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let size = self.piece.min(buf.remaining()).min(self.rest.len());
        let (next, rest) = self.rest.split_at(size);
        buf.put_slice(next);
        self.rest = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
