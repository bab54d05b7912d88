//! An upstream that answers at once and costs next to nothing: the same bytes every time.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// How many events a stream has that say something.
const CHUNKS: usize = 20;

/// What it answers.
struct Answers {
    whole: Bytes,
    stream: Vec<Bytes>,
}

/// Serves until the runtime ends; where it is.
pub(super) async fn start() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    let answers = Arc::new(Answers::new());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = answers.clone();
            // A client that leaves ends its connection.
            tokio::spawn(async move { serve(stream, &answers).await });
        }
    });
    Ok(address)
}

async fn serve(mut stream: TcpStream, answers: &Answers) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(8 << 10);
    loop {
        let end = loop {
            if let Some(end) = request_end(&buffer) {
                break end;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let request = buffer.get(..end).unwrap_or_default();
        if memchr::memmem::find(request, b"\"stream\":true").is_some() {
            for chunk in &answers.stream {
                stream.write_all(chunk).await?;
            }
        } else {
            stream.write_all(&answers.whole).await?;
        }
        buffer.drain(..end);
    }
}

/// Where the first request in `buffer` ends, if it is all there.
fn request_end(buffer: &[u8]) -> Option<usize> {
    let head = memchr::memmem::find(buffer, b"\r\n\r\n")? + 4;
    let end = head + content_length(buffer.get(..head)?).ok()?;
    (end <= buffer.len()).then_some(end)
}

/// What a head says of the length of its body.
pub(super) fn content_length(head: &[u8]) -> anyhow::Result<usize> {
    const NAME: &[u8] = b"content-length:";
    let line = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)));
    let value = line.and_then(|line| std::str::from_utf8(line.get(NAME.len()..)?).ok());
    value.and_then(|value| value.trim().parse().ok()).context("no Content-Length")
}

impl Answers {
    fn new() -> Self {
        let content = "The quick brown fox jumps over the lazy dog. ".repeat(5);
        let whole = json!({
            "id": "chatcmpl-0", "object": "chat.completion", "created": 1_700_000_000, "model": "instant",
            "choices": [{ "index": 0, "message": { "role": "assistant", "content": content }, "finish_reason": "stop" }],
            "usage": { "prompt_tokens": 20, "completion_tokens": 50, "total_tokens": 70 },
        });
        let whole = whole.to_string();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
        let whole = format!("{head}: {}\r\n\r\n{whole}", whole.len());
        let event = |choices: serde_json::Value| {
            let data = json!({
                "id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1_700_000_000,
                "model": "instant", "choices": choices,
            });
            format!("data: {data}\n\n")
        };
        let mut events: Vec<String> = (0..CHUNKS)
            .map(|i| {
                let delta = json!({ "content": format!("word{i} ") });
                event(json!([{ "index": 0, "delta": delta, "finish_reason": null }]))
            })
            .collect();
        events.push(event(json!([{ "index": 0, "delta": {}, "finish_reason": "stop" }])));
        events.push("data: [DONE]\n\n".into());
        let mut stream: Vec<Bytes> =
            events.iter().map(|event| format!("{:x}\r\n{event}\r\n", event.len()).into()).collect();
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
        stream.insert(0, head.into());
        stream.push("0\r\n\r\n".into());
        Self { whole: whole.into(), stream }
    }
}
