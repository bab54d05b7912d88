use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::future::try_join_all;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, StatusCode, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::json;
use steadfast_core::World;
use tokio::net::TcpStream;

use crate::effects;

/// A load of runs over connections that stay open.
pub(super) struct Load {
    pub(super) address: SocketAddr,
    pub(super) token: String,
    pub(super) world: World,
}

impl Load {
    /// `callers` at once, each with a connection of its own and `each` runs one after
    /// another.
    pub(super) async fn runs(self: &Arc<Self>, callers: u64, each: u64) -> anyhow::Result<()> {
        let callers = (0..callers).map(|_| {
            let load = self.clone();
            tokio::spawn(async move { load.caller(each).await })
        });
        for done in try_join_all(callers).await? {
            done?;
        }
        Ok(())
    }

    async fn caller(&self, each: u64) -> anyhow::Result<()> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        let connected = tokio::spawn(connection);
        let body = json!({ "workflow": effects::WORKFLOW, "input": effects::FIVE }).to_string();
        for _ in 0..each {
            let request = Request::post("/api/v1/runs")
                .header(header::HOST, self.address.to_string())
                .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
                .header(header::CONTENT_TYPE, "application/json")
                .header("Idempotency-Key", self.world.uuid().to_string())
                .header("Prefer", "wait=30")
                .body(Full::new(Bytes::from(body.clone())))?;
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            let status = answer.status();
            let text = answer.into_body().collect().await?.to_bytes();
            let answer: serde_json::Value = serde_json::from_slice(&text).context("an answer is not JSON")?;
            ensure!(
                status == StatusCode::OK && answer["status"] == "completed",
                "a run was answered with HTTP {status} and status {}",
                answer["status"]
            );
        }
        drop(sender);
        // The server closes when we do; how does not matter any more.
        let _ = connected.await;
        Ok(())
    }
}
