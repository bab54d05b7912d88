//! A node inside the test, with workflows that can be left in every state a run can have.

use std::{path::Path, sync::Arc, time::Duration};

use steadfast_bank::{Bank, BankConfig, demo};
use steadfast_bank_assistant::{Assistant, AssistantConfig, Conversations, understand::Rules};
use steadfast_core::{
    Failure, NodeId, RunId, TenantId, Time, World,
    chance::SystemChance,
    observe::silent,
    secret::Keyring,
    time::{Clock, Sleep, SystemClock},
};
use steadfast_engine::{
    Action, ActionOptions, CheckReport, Ctx, Data, Engine, EngineConfig, Registry, Start, Status,
    WorkflowOptions,
};
use steadfast_log::{ListQuery, Log};
use steadfast_log_sqlite::{Options, SqliteLog};
use steadfast_server::NodeKey;
use tokio::runtime::Runtime;

const NOTE: Action<String, String> = Action::new("fixture.note");
const STUCK: Action<String, String> = Action::new("fixture.stuck");
const FRAGILE: Action<(), ()> = Action::new("fixture.fragile");
/// A value so large that it is stored beside the log.
const LARGE_BYTES: usize = 20_000;
/// So long a run sleeps.
const NAP: Duration = Duration::from_secs(24 * 3_600);

/// How the node behaves that the store is opened with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    /// Some things hang, some fail.
    Troubled,
    /// The same, and one workflow has changed.
    Changed,
    /// Everything works, and days have passed.
    Healed,
}

/// The machine's clock, days ahead.
struct Ahead(SystemClock);

impl Clock for Ahead {
    fn now(&self) -> Time {
        self.0.now().after(2 * NAP)
    }
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        self.0.sleep(duration)
    }
}

/// A node over a store file.
pub(crate) struct House {
    pub(crate) log: Arc<SqliteLog>,
    pub(crate) bank: Bank,
    pub(crate) engine: Engine,
    pub(crate) conversations: Conversations,
}

pub(crate) fn tenant() -> TenantId {
    TenantId::default()
}

/// Does something with a node over the store, then ends it as a crash would: whatever hangs
/// or goes on is gone.
pub(crate) fn with_node<T>(store: &Path, code: Code, work: impl AsyncFnOnce(&House) -> T) -> T {
    let runtime = Runtime::new().expect("threads");
    let done = runtime.block_on(async {
        let house = House::open(store, code);
        work(&house).await
    });
    runtime.shutdown_timeout(Duration::from_secs(60));
    done
}

impl House {
    /// Opens the store; nothing runs yet but the bank's decider.
    fn open(store: &Path, code: Code) -> Self {
        let world = match code {
            Code::Healed => World::new(Arc::new(Ahead(SystemClock::new())), Arc::new(SystemChance)),
            Code::Troubled | Code::Changed => World::system(),
        };
        let log = Arc::new(SqliteLog::open(store, Options::new(world.clone())).expect("it opens"));
        let shared: Arc<dyn Log> = log.clone();
        let key = NodeKey::load_or_create(&store.with_file_name("node.key"), &world).expect("a key");
        let config = BankConfig { snapshot_every: 2, ..BankConfig::default() };
        let (bank, decider) = Bank::open(shared.clone(), world.clone(), NodeId::next(&world), config);
        tokio::spawn(decider);
        let keyring = Keyring::new("node", key.words(), world.clone());
        let rules = Arc::new(Rules::default());
        let config = AssistantConfig::default();
        let assistant = Assistant::new(bank.clone(), shared.clone(), world.clone(), keyring, rules, config);
        let mut registry = Registry::default();
        steadfast_bank::purchase::register(&mut registry, &bank);
        steadfast_bank::steps::register(&mut registry, &bank);
        steadfast_bank_assistant::register(&mut registry, &assistant);
        register(&mut registry, code);
        let engine = Engine::new(shared, world, registry, EngineConfig::default(), silent());
        let conversations = Conversations::new(assistant, engine.clone());
        Self { log, bank, engine, conversations }
    }

    /// Takes up what is there.
    pub(crate) fn run(&self) {
        let (engine, bank) = (self.engine.clone(), self.bank.clone());
        tokio::spawn(async move { engine.run().await });
        tokio::spawn(async move { bank.run_timers().await });
    }

    pub(crate) async fn seed(&self) {
        demo::seed(&self.bank, &tenant()).await.expect("seeded");
    }

    /// A run of `fixture.NAME`, found again by that name.
    pub(crate) async fn start(&self, name: &str) -> RunId {
        let mut start = Start::new(tenant(), "ana", format!("fixture.{name}"), Data::null());
        start.labels.insert("name".into(), name.into());
        self.engine.start(start).await.expect("accepted").run
    }

    pub(crate) async fn named(&self, name: &str) -> RunId {
        let labels = [("name".to_owned(), name.to_owned())].into();
        let query = ListQuery { tenant: tenant(), labels, limit: 2, ..ListQuery::default() };
        let found = self.engine.list_runs(query).await.expect("listed").rows;
        let [row] = &found[..] else { panic!("{name}: {found:?}") };
        row.stream.name().parse().expect("an id")
    }

    pub(crate) async fn status(&self, run: RunId) -> Status {
        self.engine.describe(&tenant(), run).await.expect("there").status
    }

    /// Looks until the run has this status.
    pub(crate) async fn until(&self, run: RunId, wanted: Status) {
        for _ in 0..6_000 {
            if self.status(run).await == wanted {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{run} is {:?} and not {wanted:?}", self.status(run).await);
    }

    /// What the run waits for.
    pub(crate) async fn go(&self, run: RunId) {
        let seven = Data::of(&7).expect("JSON");
        self.engine.signal(&tenant(), run, None, "ana", "go", seven).await.expect("sent");
    }

    pub(crate) async fn check(&self) -> CheckReport {
        self.engine.check(|_| {}).await.expect("replayed")
    }
}

fn register(registry: &mut Registry, code: Code) {
    let healed = code == Code::Healed;
    let hour = ActionOptions::once(Duration::from_secs(3_600));
    registry
        .action(&NOTE, ActionOptions::default(), |_, note: String| async move { Ok(note) })
        .action(&STUCK, hour, move |_, note: String| async move {
            if healed { Ok(note) } else { std::future::pending().await }
        })
        .action(&FRAGILE, ActionOptions::default(), move |_, ()| async move {
            if healed { Ok(()) } else { Err(Failure::internal("fixture.broken", "broken for now")) }
        });
    let options = WorkflowOptions::default;
    registry
        .workflow("fixture.done", 1, options(), |ctx: Ctx, (): ()| async move {
            let text: String = ctx.step("note", &NOTE, &"large ".repeat(LARGE_BYTES / 6)).await?;
            ctx.child::<(), usize>("child", "fixture.child", &()).await.map(|size| size + text.len())
        })
        .workflow("fixture.child", 1, options(), |_: Ctx, (): ()| async move { Ok(1_usize) })
        .workflow("fixture.refused", 1, options(), |ctx: Ctx, (): ()| async move {
            let text = "note".to_owned();
            ctx.step("note", &NOTE, &text).undo(&NOTE, &text).await?;
            Err::<(), _>(Failure::refused("fixture.refused", "it is not allowed"))
        })
        .workflow("fixture.waits", 1, options(), waits)
        .workflow("fixture.cancelled", 1, options(), waits)
        .workflow("fixture.killed", 1, options(), waits)
        .workflow(
            "fixture.sleeps",
            1,
            options(),
            |ctx: Ctx, (): ()| async move { ctx.sleep("nap", NAP).await },
        )
        .workflow("fixture.stuck", 1, options(), |ctx: Ctx, (): ()| async move {
            ctx.step("stuck", &STUCK, &"note".to_owned()).await
        })
        .workflow("fixture.undoing", 1, options(), |ctx: Ctx, (): ()| async move {
            let text = "note".to_owned();
            ctx.step("note", &NOTE, &text).undo(&STUCK, &text).await?;
            Err::<(), _>(Failure::refused("fixture.refused", "it is not allowed"))
        })
        .workflow("fixture.dies", 1, options(), |ctx: Ctx, (): ()| async move {
            ctx.step("fragile", &FRAGILE, &()).await
        })
        .workflow("fixture.parked", 1, options(), move |ctx: Ctx, (): ()| async move {
            let step = if code == Code::Changed { "other" } else { "note" };
            ctx.step(step, &NOTE, &"note".to_owned()).await?;
            ctx.signal::<u64>("word", "go").await
        });
}

async fn waits(ctx: Ctx, (): ()) -> Result<u64, Failure> {
    let text = "note".to_owned();
    ctx.step("note", &NOTE, &text).undo(&NOTE, &text).await?;
    ctx.signal::<u64>("word", "go").await
}
