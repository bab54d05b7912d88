use std::time::Duration;

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use reqwest::header;
use steadfast_core::{Failure, World};
use steadfast_server::{ClientFrame, ServerFrame};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest as _, protocol::WebSocketConfig},
};

use crate::failed::{Problem, Refusal};

/// How long a server may take to let us in.
const OPENED_WITHIN: Duration = Duration::from_secs(10);
const FRAME_BYTES_MAX: usize = 1 << 20;

/// One connection to `/ws`.
pub(super) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// What comes over it.
pub(super) enum Arrived {
    Frame(Box<ServerFrame>),
    /// Nothing for us, but the other end is there.
    Sign,
    /// The connection has ended; why, as far as it is known.
    Ended(String),
}

impl Socket {
    /// Connects. `url` is the server's address as for HTTP.
    pub(super) async fn open(url: &str, token: &str, world: &World) -> anyhow::Result<Self> {
        let address = match url.split_once("://") {
            Some(("http", rest)) => format!("ws://{rest}/ws"),
            Some(("https", rest)) => format!("wss://{rest}/ws"),
            _ => return Err(not_an_address(url).into()),
        };
        let mut request = address.into_client_request().map_err(|_| not_an_address(url))?;
        let mut bearer = header::HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| Failure::refused("token.invalid", "the token holds characters that no token has"))?;
        bearer.set_sensitive(true);
        request.headers_mut().insert(header::AUTHORIZATION, bearer);
        let limits = WebSocketConfig::default()
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let opened = tokio::select! {
            opened = connect_async_with_config(request, Some(limits), true) => opened,
            () = world.clock().sleep(OPENED_WITHIN) => {
                let message = format!("{url} did not answer the handshake within {OPENED_WITHIN:?}");
                return Err(unreached("server.no_answer", message).into());
            }
        };
        match opened {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(error) => Err(refused(url, error)),
        }
    }

    /// Sends a frame; an error means that the connection has ended.
    pub(super) async fn send(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        let text = serde_json::to_string(frame).context("a frame cannot be written")?;
        Ok(self.0.send(Message::text(text)).await?)
    }

    /// Asks for a sign of life.
    pub(super) async fn ping(&mut self) -> anyhow::Result<()> {
        Ok(self.0.send(Message::Ping(tungstenite::Bytes::new())).await?)
    }

    /// Says goodbye. What the server still says comes before [`Arrived::Ended`].
    pub(super) async fn close(&mut self) -> anyhow::Result<()> {
        Ok(self.0.close(None).await?)
    }

    /// What comes next. Safe to drop half-way.
    pub(super) async fn next(&mut self) -> Arrived {
        match self.0.next().await {
            // A kind of frame that this version does not know is no concern of ours.
            Some(Ok(Message::Text(text))) => {
                serde_json::from_str(&text).map_or(Arrived::Sign, |frame| Arrived::Frame(Box::new(frame)))
            }
            Some(Ok(Message::Close(why))) => {
                let why = why.filter(|why| !why.reason.is_empty());
                Arrived::Ended(
                    why.map_or_else(|| "the server closed it".into(), |why| why.reason.to_string()),
                )
            }
            Some(Ok(_)) => Arrived::Sign,
            Some(Err(error)) => Arrived::Ended(error.to_string()),
            None => Arrived::Ended("the server is gone".into()),
        }
    }
}

/// May another attempt at connecting succeed?
pub(super) fn may_pass(error: &anyhow::Error) -> bool {
    let refusal = error.downcast_ref::<Refusal>().map(|refusal| refusal.problem.retryable);
    let failure = || error.downcast_ref::<Failure>().map(|failure| failure.retryable);
    refusal.or_else(failure).unwrap_or(false)
}

fn refused(url: &str, error: tungstenite::Error) -> anyhow::Error {
    match error {
        tungstenite::Error::Http(answer) => {
            let status = answer.status();
            let problem = answer.body().as_deref().map(serde_json::from_slice::<Problem>);
            if let Some(Ok(problem)) = problem {
                return Refusal { problem }.into();
            }
            let message = format!(
                "{url}/ws answered HTTP {status} and opens no conversation: check --url and the token"
            );
            let failure = unreached("server.not_steadfast", message);
            Failure { retryable: status.is_server_error(), ..failure }.into()
        }
        tungstenite::Error::Io(_) | tungstenite::Error::Tls(_) => {
            let what_to_do = "start one with `steadfast serve`, or give --url";
            unreached("server.unreachable", format!("no server answers at {url}: {what_to_do}: {error}"))
                .into()
        }
        error => unreached("server.no_answer", format!("the handshake with {url} failed: {error}")).into(),
    }
}

/// Connecting alone does nothing.
fn unreached(code: &str, message: String) -> Failure {
    Failure { nothing_happened: true, ..Failure::upstream(code, message) }
}

fn not_an_address(url: &str) -> Failure {
    Failure::refused("server.invalid_url", format!("--url {url:?} is no address: write http://HOST:PORT"))
}
