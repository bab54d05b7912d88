use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Uri,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use steadfast_core::World;
use tokio::{net::TcpStream, task::JoinHandle};

/// One request, sent again and again over connections that stay open. Equal requests for
/// whoever is measured, so that it is not this end that differs.
pub(crate) struct Load {
    pub(crate) url: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Each request carries an `Idempotency-Key` of its own.
    pub(crate) keyed: bool,
    /// What an answer must contain.
    pub(crate) expect: String,
    pub(crate) world: World,
}

/// How much each caller sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Each {
    Count(u64),
    For(Duration),
    /// All callers together so many a second, at even times, for so long.
    Evenly(u64, Duration),
}

/// What came of a load.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Of the requests that were answered as expected.
    pub(crate) waits: Vec<Duration>,
    /// The others. A caller ends with its first failure.
    pub(crate) failures: Vec<String>,
}

type Connection = (SendRequest<Full<Bytes>>, JoinHandle<hyper::Result<()>>);

impl Load {
    /// Sends from so many callers at once, each over a connection of its own, one request
    /// after another.
    pub(crate) async fn send(self: &Arc<Self>, callers: u64, each: Each) -> anyhow::Result<Answered> {
        let connections = try_join_all((0..callers).map(|_| self.connect())).await?;
        let began = self.world.clock().elapsed();
        let callers = (0..callers).zip(connections).map(|(first, connection)| {
            let load = self.clone();
            let turn = move |round: u64| first + round * callers;
            tokio::spawn(async move { load.caller(connection, began, each, turn).await })
        });
        let mut all = Answered::default();
        for (waits, failure) in try_join_all(callers).await? {
            all.waits.extend(waits);
            all.failures.extend(failure.map(|failure| format!("{failure:#}")));
        }
        all.took = self.world.clock().elapsed().saturating_sub(began);
        Ok(all)
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let (Some("http"), Some(host)) = (self.url.scheme_str(), self.url.host()) else {
            bail!("{}: expected http://HOST:PORT/PATH", self.url);
        };
        let stream = TcpStream::connect((host, self.url.port_u16().unwrap_or(80))).await;
        let stream = stream.with_context(|| format!("nobody answers at {}", self.url))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok((sender, tokio::spawn(connection)))
    }

    async fn caller(
        &self,
        (mut sender, connected): Connection,
        began: Duration,
        each: Each,
        turn: impl Fn(u64) -> u64,
    ) -> (Vec<Duration>, Option<anyhow::Error>) {
        let mut waits = Vec::new();
        let mut failure = None;
        loop {
            let (clock, done) = (self.world.clock(), waits.len() as u64);
            let since = clock.elapsed().saturating_sub(began);
            let more = match each {
                Each::Count(count) => done < count,
                Each::For(duration) => since < duration,
                Each::Evenly(rate, duration) => {
                    let due = Duration::from_micros(turn(done) * 1_000_000 / rate);
                    clock.sleep(due.saturating_sub(since)).await;
                    due < duration
                }
            };
            if !more {
                break;
            }
            let asked = clock.elapsed();
            if let Err(error) = self.exchange(&mut sender).await {
                failure = Some(error);
                break;
            }
            waits.push(self.world.clock().elapsed().saturating_sub(asked));
        }
        drop(sender);
        // The server closes when we do; how does not matter any more.
        let _ = connected.await;
        (waits, failure)
    }

    async fn exchange(&self, sender: &mut SendRequest<Full<Bytes>>) -> anyhow::Result<()> {
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let host = self.url.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path)
            .header(header::HOST, host)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(self.body.clone()))?;
        request.headers_mut().extend(self.headers.clone());
        if self.keyed {
            let key = self.world.uuid().to_string().try_into()?;
            request.headers_mut().insert("Idempotency-Key", key);
        }
        sender.ready().await?;
        let answer = sender.send_request(request).await?;
        let status = answer.status();
        let bytes = answer.into_body().collect().await?.to_bytes();
        let text = String::from_utf8_lossy(&bytes);
        ensure!(
            status.is_success() && text.contains(&self.expect),
            "a request was answered with HTTP {status}: {}",
            text.get(..200).unwrap_or(&text)
        );
        Ok(())
    }
}
