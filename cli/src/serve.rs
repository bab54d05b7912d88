//! The composition root: configuration, store, bank, engine and server become a node.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use steadfast_bank::{Bank, demo, import};
use steadfast_bank_api::BankApp;
use steadfast_bank_assistant::Conversations;
use steadfast_core::{
    Failure, Principal, TenantId, World, logging,
    observe::{Observer, silent},
};
use steadfast_engine::Engine;
use steadfast_log::Log;
use steadfast_log_sqlite::SqliteLog;
use steadfast_models::Home;
use steadfast_models_api::ModelsApp;
use steadfast_resilience::Registry as Policies;
use steadfast_server::{Metrics, NodeKey, Server, ServerParts};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    task::JoinHandle,
};

use crate::{
    config::{self, Config, StoreUrl},
    effects, keys, models, node, output, retention,
    store::StoreArgs,
};

/// See [`crate::commands`].
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    pub(crate) store: StoreArgs,
    /// Where to listen; else the configuration's server.listen.
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Seed a bank, once: users ana, luis and marta, and things to buy. Without a provider of
    /// models, one answers that needs no network.
    #[arg(long)]
    pub(crate) demo: bool,
    /// Register the workflow bench.steps: steps that do nothing.
    #[arg(long)]
    bench: bool,
    /// Each step of bench.steps writes a line to this file when it begins and ends.
    #[arg(long, value_name = "FILE", requires = "bench")]
    bench_effects: Option<PathBuf>,
}

/// Serves until it is told to stop, then ends what is going on.
pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let world = World::system();
    let mut config = config::load_to_serve(&args.store.config, &world)?;
    if let Some(listen) = args.listen {
        config.server.listen = listen;
    }
    let url: StoreUrl = match &args.store.store {
        Some(url) => url.clone(),
        None => config.store.url.parse()?,
    };
    if config.node.production && (args.demo || args.bench) {
        let message = "node.production is set: leave --demo and --bench out, or the setting";
        return Err(Failure::refused("node.production", message).into());
    }
    logging::init(&config.log, &world)?;
    let node = Node::start(&args, &config, &url, &world).await?;
    node.serve(&args, &config, &url).await
}

struct Node {
    log: Arc<SqliteLog>,
    bank: Bank,
    decider: JoinHandle<()>,
    engine: Engine,
    conversations: Conversations,
    metrics: Arc<Metrics>,
    models: ModelsApp,
    breakers: Arc<Policies>,
    key: NodeKey,
    world: World,
}

impl Node {
    /// Everything but the socket. Nothing runs yet except the bank's decider.
    async fn start(args: &ServeArgs, config: &Config, url: &StoreUrl, world: &World) -> anyhow::Result<Self> {
        let metrics = Arc::new(Metrics::new());
        let observer: Arc<dyn Observer> = metrics.clone();
        let log = node::open_store(url, &config.store, world, observer.clone()).await?;
        let key = NodeKey::load_or_create(&url.key_path(), world)?;
        let (bank, decider) = node::open_bank(&log, world, config.bank.clone());
        if args.demo && !log.identity().held {
            demo::seed(&bank, &TenantId::default()).await.context("the demo could not be seeded")?;
        }
        let shared: Arc<dyn Log> = log.clone();
        let keyring = keys::words_ring(&config.store, &key, world)?;
        let assistant = node::assistant(&bank, &shared, world, keyring.clone(), config.assistant.clone());
        let mut registry = node::registry(&assistant);
        if args.bench {
            effects::register(&mut registry, world, args.bench_effects.as_deref())?;
        }
        node::add_sinks(&mut registry, &config.sinks, log.identity(), world)?;
        let breakers = Arc::new(Policies::new(&config.resilience, world, &observer));
        registry.guarded_by(breakers.clone());
        let home = Home {
            folder: url.path().parent().map(Path::to_owned),
            keyring: keys::ring(&config.store, world)?,
            production: config.node.production,
        };
        let source = models::Source { config: args.store.config.clone(), demo: args.demo };
        let models = models::app(source, config, shared, world, &observer, &home, keyring).await?;
        models.register(&mut registry);
        breakers.also(models.breakers());
        let engine = Engine::new(log.clone(), world.clone(), registry, config.engine.clone(), observer);
        models.run_on(&engine);
        let conversations = Conversations::new(assistant, engine.clone());
        let world = world.clone();
        Ok(Self { log, bank, decider, engine, conversations, metrics, models, breakers, key, world })
    }

    async fn serve(self, args: &ServeArgs, config: &Config, url: &StoreUrl) -> anyhow::Result<()> {
        let wanted = config.server.listen;
        let listener = TcpListener::bind(wanted).await.map_err(|error| {
            let what_to_do = "choose another address with --listen";
            Failure::refused(
                "server.cannot_listen",
                format!("cannot listen on {wanted}: {what_to_do}: {error}"),
            )
        })?;
        let listen = listener.local_addr()?;
        let server = Server::new(ServerParts {
            engine: self.engine.clone(),
            key: self.key,
            config: config.server.clone(),
            metrics: self.metrics,
            breakers: self.breakers,
            apps: vec![
                Box::new(BankApp::new(self.bank.clone()).conversing(self.conversations.clone())),
                Box::new(self.models.clone()),
            ],
        });
        let reloading = tokio::spawn(models::reload_on_hangup(self.models.clone())?);
        let stop = stop_signal()?;
        let engine = self.engine.clone();
        let running = tokio::spawn(async move { engine.run().await });
        let bank = self.bank.clone();
        let timers = tokio::spawn(async move { bank.run_timers().await });
        let conversations = self.conversations;
        let news = tokio::spawn(async move { conversations.run().await });
        let world = self.world;
        let keeping = retention::run(self.log.clone(), world.clone(), config.store.sqlite.clone());
        let keeping = tokio::spawn(keeping);
        if self.log.identity().held {
            output::note("the store was restored and is held: stop, check it, run `steadfast resume`");
        }
        greet(args, config, listen, url);
        tracing::info!(%listen, version = env!("CARGO_PKG_VERSION"), "the node serves");
        let connections = server.serve(listener, stop).await;
        tracing::info!("the node stops");
        timers.abort();
        news.abort();
        keeping.abort();
        reloading.abort();
        self.engine.stop(config.server.grace.get()).await;
        // A task that panicked has logged where; there is nothing left to save.
        let _ = running.await;
        let _ = timers.await;
        let _ = keeping.await;
        self.bank.close();
        drain(self.decider, config.bank.answer_within.get(), &world).await;
        self.models.stop();
        if !connections.ended(ANSWERS_OUT).await {
            tracing::warn!("connections that are still open are cut off");
        }
        tokio::select! {
            biased;
            () = self.models.flush() => {}
            () = world.clock().sleep(ANSWERS_OUT) => tracing::warn!("the last model calls are not all recorded"),
        }
        Ok(())
    }
}

/// The exit code of a node that was asked to stop twice.
const STOPPED_TWICE: i32 = 130;
/// How long answers that are given may take to leave.
const ANSWERS_OUT: Duration = Duration::from_secs(1);

/// Lets the decider answer what it has taken in. It waits for the store alone; a caller
/// that has waited for so long has been told to ask again.
async fn drain(mut decider: JoinHandle<()>, limit: Duration, world: &World) {
    tokio::select! {
        biased;
        _ = &mut decider => {}
        () = world.clock().sleep(limit) => {
            tracing::warn!("the store does not answer: what waits for it is given up");
            decider.abort();
        }
    }
}

/// Ends when the process is asked to stop. Asked again, it stops at once, as if it were killed.
fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut asked = async move || {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    };
    Ok(async move {
        asked().await;
        tokio::spawn(async move {
            asked().await;
            tracing::warn!("asked to stop a second time, the node does not wait for what is under way");
            std::process::exit(STOPPED_TWICE);
        });
    })
}

/// The address and what to try.
fn greet(args: &ServeArgs, config: &Config, listen: SocketAddr, url: &StoreUrl) {
    output::line(format!("Steadfast listens on http://{listen}"));
    output::line(format!("The store is {}.", url.path().display()));
    for provider in models::providers(&config.models, args.demo) {
        output::line(provider);
    }
    if !args.demo {
        return;
    }
    let program = std::env::args().next().unwrap_or_else(|| "steadfast".into());
    let place = if listen.port() == 7400 { String::new() } else { format!(" --url http://{listen}") };
    output::line("");
    output::line("Try, in another terminal:");
    // Elsewhere than at its usual place the key that commands act with must be found first.
    let usual = url.path() == Path::new("data/steadfast.db");
    let store =
        if usual { String::new() } else { format!("STEADFAST_STORE__URL=sqlite:{} ", url.path().display()) };
    for try_this in
        ["chat --user ana", "bank transfer luis 1750.50 --as ana", "bank buy cafe-chiapas --as marta"]
    {
        output::line(format!("  {store}{program} {try_this}{place}"));
    }
    output::line("");
    output::line("Stop it with Ctrl-C. Or kill it: nothing is lost.");
}

/// Imports a file into a store that no server holds.
pub(crate) async fn import(
    store: &StoreArgs,
    kind: import::Kind,
    file: &Path,
) -> anyhow::Result<import::Report> {
    let config = config::load(&store.config)?;
    let world = World::system();
    let log = node::open_store(&store.url()?, &config.store, &world, silent()).await?;
    let (bank, decider) = node::open_bank(&log, &world, config.bank);
    let admin = Principal::system(TenantId::default());
    let bar = output::progress(1, "lines");
    let mut tell = |progress: import::Progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    };
    let report = import::import(&bank, &admin, kind, file, &mut tell).await;
    bar.finish_and_clear();
    drop(bank);
    decider.await?;
    Ok(report?)
}
