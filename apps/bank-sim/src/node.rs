//! What runs on a node: all that `steadfast serve` runs, but for the socket and the file.
//! Requests are brought in and performed there, and so die with it.

use std::{
    collections::BTreeMap,
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, LazyLock, OnceLock},
    time::Duration,
};

use axum::Router;
use futures::future::BoxFuture;
use steadfast_bank::{Bank, BankConfig};
use steadfast_bank_api::BankApp;
use steadfast_bank_assistant::{Assistant, AssistantConfig, Conversations, understand::Rules};
use steadfast_core::{
    NodeId,
    config::Size,
    observe::silent,
    secret::{Keyring, Secret},
};
use steadfast_engine::{Engine, EngineConfig, Registry};
use steadfast_log::Log;
use steadfast_resilience::{Policies, PolicyConfig, Registry as Guards};
use steadfast_server::{App, Conversation, Edge, Metrics, NodeKey, Server, ServerConfig, ServerParts};
use steadfast_sim::Site;
use tokio::sync::mpsc;

use crate::{
    outside::{Hands, Outside, POLICY},
    subscribers::{self, Delivered},
    tally::{Heard, Tally},
    workflows,
};

/// What a request gets at.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) router: Router,
    pub(crate) bank: Bank,
    pub(crate) desk: Arc<dyn Conversation>,
}

pub(crate) type Request = Box<dyn FnOnce(Node) -> BoxFuture<'static, ()> + Send>;

/// What nodes leave behind.
#[derive(Clone, Default)]
pub(crate) struct Traces {
    pub(crate) outside: Outside,
    pub(crate) delivered: Delivered,
    pub(crate) tally: Tally,
}

/// How a node is configured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting {
    /// It takes in little at once.
    pub(crate) narrow: bool,
}

/// What tokens, cursors and words are signed and sealed with.
pub(crate) const KEY: Secret<[u8; 32]> = Secret::new([7; 32]);

/// Simulated hours pass: nobody looks every second, and everything that is kept for days is
/// kept for minutes.
const POLL: Duration = Duration::from_secs(5);
const KEPT: Duration = Duration::from_secs(120);
/// How long keys of runs are kept: for longer than any clock is off.
pub(crate) const WINDOW: Duration = Duration::from_hours(2);
/// How long a node that was told to stop lets work end.
const GRACE: Duration = Duration::from_secs(2);

/// Runs a node, and performs what it is asked for, until it is told to stop.
pub(crate) async fn run(
    site: Site,
    setting: Setting,
    traces: Traces,
    mut requests: mpsc::UnboundedReceiver<Request>,
) {
    let stop = site.stop.clone();
    let log: Arc<dyn Log> = Arc::new(Heard { log: site.log.clone(), tally: traces.tally.clone() });
    let world = site.world.clone();
    let (bank, decider) = Bank::open(log.clone(), world.clone(), NodeId::next(&world), bank_config(setting));
    let keyring = Keyring::new("sim", &KEY, world.clone());
    let talking = AssistantConfig {
        confirm_within: Duration::from_secs(60).into(),
        answer_within: Duration::from_secs(60).into(),
        ..AssistantConfig::default()
    };
    let assistant = Assistant::new(bank.clone(), log.clone(), world.clone(), keyring, rules(), talking);
    let me = Arc::new(OnceLock::new());
    let hands = Hands { traces: traces.clone(), site, bank: bank.clone(), log: log.clone(), me: me.clone() };
    let (registry, guards) = registry(&hands, &assistant, setting);
    let engine = Engine::new(log, world.clone(), registry, engine_config(setting), silent());
    // Nothing has run yet.
    let _ = me.set(engine.node());
    let conversations = Conversations::new(assistant, engine.clone());
    let (router, desk) = serve(&engine, &bank, &conversations, guards);
    let decider = tokio::spawn(decider);
    let (running, timing) = (engine.clone(), bank.clone());
    tokio::spawn(async move { running.run().await });
    let timing = tokio::spawn(async move { timing.run_timers().await });
    tokio::spawn(async move { conversations.run().await });
    let Some(desk) = desk else { return };
    let node = Node { router, bank: bank.clone(), desk };
    let mut ending = Box::pin(async {
        stop.told().await;
        engine.stop(GRACE).await;
        timing.abort();
        bank.close();
        // It answers what it has taken in; one that cannot is cut off with the machine.
        tokio::select! {
            biased;
            _ = decider => {}
            () = world.clock().sleep(GRACE) => {}
        }
        // Answers may take a moment to leave.
        world.clock().sleep(GRACE / 2).await;
    });
    loop {
        tokio::select! {
            biased;
            Some(request) = requests.recv() => drop(tokio::spawn(request(node.clone()))),
            () = &mut ending => return,
        }
    }
}

/// The assistant's tables, which are the same for all: reading them takes longer than most
/// lives of nodes.
fn rules() -> Arc<Rules> {
    static RULES: LazyLock<Arc<Rules>> = LazyLock::new(Arc::default);
    RULES.clone()
}

fn bank_config(setting: Setting) -> BankConfig {
    let queue = if setting.narrow { NonZeroUsize::MIN } else { BankConfig::default().queue };
    BankConfig {
        queue,
        per_transfer_max: Some(1_200_000),
        per_day_max: Some(1_500_000),
        timers_every: POLL.into(),
        hold_ttl: Duration::from_secs(60).into(),
        ..BankConfig::default()
    }
}

fn engine_config(setting: Setting) -> EngineConfig {
    let defaults = EngineConfig::default();
    EngineConfig {
        poll: POLL.into(),
        dead_letters_kept: KEPT.into(),
        idempotency_window: WINDOW.into(),
        snapshot_after: 1,
        open_runs_per_tenant: if setting.narrow { 4 } else { defaults.open_runs_per_tenant },
        ..defaults
    }
}

fn server_config() -> ServerConfig {
    ServerConfig {
        body_max: Size::bytes(256 * 1024),
        read_timeout: Duration::from_secs(5).into(),
        request_timeout: Duration::from_secs(15).into(),
        wait_max: Duration::from_secs(10).into(),
        ..ServerConfig::default()
    }
}

fn registry(hands: &Hands, assistant: &Assistant, setting: Setting) -> (Registry, Arc<Guards>) {
    let mut registry = Registry::default();
    hands.register(&mut registry);
    workflows::register(&mut registry, hands.site.old_code);
    steadfast_bank::purchase::register(&mut registry, assistant.bank());
    steadfast_bank::steps::register(&mut registry, assistant.bank());
    steadfast_bank_assistant::register(&mut registry, assistant);
    subscribers::register(&mut registry, hands);
    let guards = Arc::new(Guards::new(&policies(setting), &hands.site.world, &silent()));
    registry.guarded_by(guards.clone());
    (registry, guards)
}

/// A policy that is soon at its end.
fn policies(setting: Setting) -> Policies {
    let mut tight = PolicyConfig::action_group();
    // Sooner than most attempts end, or later than any may.
    tight.deadline = Duration::from_millis(if setting.narrow { 150 } else { 3_000 }).into();
    tight.timeout = Duration::from_secs(2).into();
    tight.retry.enabled = false;
    tight.breaker.failures = NonZeroU32::MIN;
    (tight.bulkhead.running, tight.bulkhead.waiting) = (NonZeroU32::MIN.saturating_add(1), 2);
    tight.rate_limit.enabled = true;
    tight.rate_limit.burst = NonZeroU32::MIN.saturating_add(2);
    tight.rate_limit.wait = Duration::from_millis(100).into();
    BTreeMap::from([(POLICY.to_owned(), tight)])
}

/// The bank as it is mounted, and a way to its conversation that leads past the socket.
struct Tapped {
    app: BankApp,
    desk: Arc<OnceLock<Arc<dyn Conversation>>>,
}

impl App for Tapped {
    fn name(&self) -> &'static str {
        self.app.name()
    }
    fn routes(&self, edge: Edge) -> Router {
        self.app.routes(edge)
    }
    fn conversation(&self, edge: Edge) -> Option<Arc<dyn Conversation>> {
        let conversation = self.app.conversation(edge)?;
        Some(self.desk.get_or_init(|| conversation).clone())
    }
}

fn serve(
    engine: &Engine,
    bank: &Bank,
    conversations: &Conversations,
    breakers: Arc<Guards>,
) -> (Router, Option<Arc<dyn Conversation>>) {
    let desk = Arc::new(OnceLock::new());
    let app = BankApp::new(bank.clone()).conversing(conversations.clone());
    let server = Server::new(ServerParts {
        engine: engine.clone(),
        key: NodeKey::new(&KEY),
        config: server_config(),
        metrics: Arc::new(Metrics::new()),
        breakers,
        apps: vec![Box::new(Tapped { app, desk: desk.clone() })],
    });
    (server.router(), desk.get().cloned())
}
