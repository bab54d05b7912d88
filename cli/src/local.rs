//! A store that answers for itself: what a server would say, read beside it or without one.
//!
//! The very handlers of the server answer, over a log that is open for reading alone, so
//! that a verb says the same with `--store` as without.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::StatusCode;
use steadfast_bank_api::BankApp;
use steadfast_core::{Failure, World, observe::silent, secret::Secret};
use steadfast_resilience::{Policies, Registry};
use steadfast_server::{Metrics, NodeKey, Server, ServerConfig, ServerParts};

use crate::{keys, node, store::StoreArgs};

/// The store behind the server's handlers, and who asks.
pub(crate) struct Local {
    server: Server,
    token: String,
}

impl Local {
    /// For a user, or for whoever operates the store.
    pub(crate) async fn open(store: &StoreArgs, user: Option<&str>) -> anyhow::Result<Self> {
        let world = World::system();
        let (engine, bank) = node::reading(store).await?;
        let path = store.url()?.key_path();
        // With the node's own key, cursors go on where the server's left off. What is
        // signed with any other stays within this command.
        let key = if path.exists() {
            NodeKey::load_or_create(&path, &world)?
        } else {
            NodeKey::new(&Secret::new(std::array::from_fn(|_| world.uuid().as_bytes()[15])))
        };
        let token = key.mint(&keys::principal(user), steadfast_core::defaults::ACCESS_TOKEN, &world)?;
        let server = Server::new(ServerParts {
            engine,
            key,
            config: ServerConfig::default(),
            metrics: Arc::new(Metrics::new()),
            breakers: Arc::new(Registry::new(&Policies::new(), &world, &silent())),
            apps: vec![Box::new(BankApp::new(bank))],
        });
        Ok(Self { server, token })
    }

    /// What the server would answer to a GET.
    pub(crate) async fn get(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let url = reqwest::Url::parse_with_params(&format!("http://store/api/v1{path}"), query)?;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let answer = self.server.look(&target, &self.token).await;
        answer.ok_or_else(|| Failure::internal("store.no_answer", "the store did not answer").into())
    }
}
