use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use steadfast_bank::{Bank, BankConfig, demo};
use steadfast_bank_api::BankApp;
use steadfast_bank_assistant::{AssistantConfig, Conversations};
use steadfast_core::{Principal, Role, TenantId, World, defaults::ACCESS_TOKEN, observe::silent};
use steadfast_engine::{Engine, EngineConfig};
use steadfast_log::Log;
use steadfast_resilience::{Policies, Registry};
use steadfast_server::{Metrics, NodeKey, Server, ServerConfig, ServerParts};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Counts, Plan, Token};
use crate::{
    bench::place::Place,
    client::{Client, Connection},
    config::StoreSection,
    keys, node,
    store::StoreArgs,
    verify::{self, Verdict},
};

/// The server that is measured.
pub(super) enum Node {
    Own(Box<Own>),
    Other(Box<Other>),
}

/// One that runs already; its store is here.
pub(super) struct Other {
    connection: Connection,
    client: Client,
    store: StoreArgs,
    world: World,
}

/// In this process, with the demo, on a store of its own.
pub(super) struct Own {
    place: Place,
    url: String,
    key: NodeKey,
    engine: Engine,
    bank: Bank,
    running: JoinHandle<()>,
    /// What else runs until it is stopped.
    tasks: Vec<JoinHandle<()>>,
}

impl Node {
    pub(super) async fn start(plan: &Plan, world: &World) -> anyhow::Result<Self> {
        if let Some((connection, store)) = plan.running.clone() {
            let client = connection.client()?;
            let other = Other { connection, client, store, world: world.clone() };
            return Ok(Self::Other(Box::new(other)));
        }
        Ok(Self::Own(Box::new(Own::start(plan).await?)))
    }

    pub(super) fn url(&self) -> &str {
        match self {
            Self::Own(own) => &own.url,
            Self::Other(other) => other.connection.address(),
        }
    }

    pub(super) fn token(&self, user: &'static str) -> Token {
        match self {
            Self::Own(own) => {
                let (key, world) = (own.key.clone(), own.place.world.clone());
                let caller = Principal { tenant: TenantId::default(), user: user.into(), role: Role::User };
                Arc::new(move || Ok(key.mint(&caller, ACCESS_TOKEN, &world)?))
            }
            Self::Other(other) => {
                let connection = other.connection.clone();
                Arc::new(move || connection.token(Some(user)))
            }
        }
    }

    /// Nothing is written any more when this returns, unless by another process.
    pub(super) async fn stop(&mut self) -> anyhow::Result<()> {
        let Self::Own(own) = self else { return Ok(()) };
        own.engine.stop(Duration::from_secs(5)).await;
        (&mut own.running).await?;
        own.bank.close();
        for task in own.tasks.drain(..) {
            task.abort();
            // Ends by being cancelled.
            let _ = task.await;
        }
        Ok(())
    }

    /// Does everything that was written hold together, and how much is it?
    pub(super) async fn judge(&self) -> anyhow::Result<(Counts, Verdict)> {
        let (commits, syncs, verdict) = match self {
            Self::Own(own) => {
                let (stats, verdict) = (own.place.stats(), own.place.verify().await?);
                (stats.commits, stats.syncs, verdict)
            }
            Self::Other(other) => {
                let Other { client, store, world, .. } = &**other;
                let metrics = client.metrics().await?;
                let log =
                    store.read_only().await.context("the server's store must be here to be verified")?;
                // Others may write meanwhile, so tables are not compared.
                let verdict = verify::verify(&log, world, false).await?;
                let count = |name| count(&metrics, name);
                (
                    count("steadfast_store_commits_total")?,
                    count("steadfast_store_group_commits_count")?,
                    verdict,
                )
            }
        };
        let transfers = verdict.bank.transfers;
        Ok((Counts { commits, syncs, transfers }, verdict))
    }
}

/// A metric without labels.
fn count(metrics: &str, name: &str) -> anyhow::Result<u64> {
    let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = line.and_then(|value| value.trim().parse().ok());
    value.with_context(|| format!("the server's /metrics does not tell {name}"))
}

impl Own {
    async fn start(plan: &Plan) -> anyhow::Result<Self> {
        let place = Place::make(&plan.folder).await?;
        let world = place.world.clone();
        let (bank, decider) = node::open_bank(&place.log, &world, BankConfig::default());
        demo::seed(&bank, &TenantId::default()).await?;
        let key = NodeKey::load_or_create(&place.folder().join("node.key"), &world)?;
        let keyring = keys::words_ring(&StoreSection::default(), &key, &world)?;
        let log: Arc<dyn Log> = place.log.clone();
        let assistant = node::assistant(&bank, &log, &world, keyring, AssistantConfig::default());
        let registry = node::registry(&assistant);
        let engine = Engine::new(log, world.clone(), registry, EngineConfig::default(), silent());
        let conversations = Conversations::new(assistant, engine.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let server = Server::new(ServerParts {
            engine: engine.clone(),
            key: key.clone(),
            config: ServerConfig::default(),
            metrics: Arc::new(Metrics::new()),
            breakers: Arc::new(Registry::new(&Policies::new(), &world, &silent())),
            apps: vec![Box::new(BankApp::new(bank.clone()).conversing(conversations.clone()))],
        });
        let runs = engine.clone();
        let running = tokio::spawn(async move { runs.run().await });
        let timers = bank.clone();
        let tasks = vec![
            tokio::spawn(async move { conversations.run().await }),
            tokio::spawn(async move { timers.run_timers().await }),
            tokio::spawn(async move { drop(server.serve(listener, std::future::pending()).await) }),
            decider,
        ];
        Ok(Self { place, url, key, engine, bank, running, tasks })
    }
}
