use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use steadfast_bank::{
    AccountId, Answer, Ask, Bank, BankConfig, Key, Limits, Op, Reply,
    op::{OpenAccount, Transfer},
    verify::{self, Report},
};
use steadfast_core::{
    Currency, Failure, Money, NodeId, Principal, Role, TenantId, World,
    chance::Seeded,
    time::{ManualClock, PausedClock},
};
use steadfast_log::{
    Between, Claim, Commit, CommitError, Committed, Expect, Log, MemoryLog, Reading, StreamId,
};

pub(crate) fn mxn(minor: i64) -> Money {
    Money::new(minor, Currency::MXN).expect("in range")
}
pub(crate) fn id(text: &str) -> AccountId {
    text.parse().expect("a name")
}
pub(crate) fn user(name: &str) -> Principal {
    Principal { tenant: TenantId::default(), user: name.into(), role: Role::User }
}
pub(crate) fn admin() -> Principal {
    Principal::system(TenantId::default())
}
pub(crate) fn client(key: &str) -> Key {
    Key::Client(key.into())
}

/// A bank whose clock moves only when told, and its decider.
pub(crate) struct Desk {
    decider: tokio::task::JoinHandle<()>,
    pub(crate) bank: Bank,
    pub(crate) log: Arc<MemoryLog>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) world: World,
}

pub(crate) fn desk() -> Desk {
    desk_with(BankConfig::default())
}

pub(crate) fn desk_with(config: BankConfig) -> Desk {
    let (world, clock) = World::manual(7);
    let log = Arc::new(MemoryLog::new(world.clone()));
    let (bank, run) = Bank::open(log.clone(), world.clone(), NodeId::next(&world), config);
    Desk { decider: tokio::spawn(run), bank, log, clock, world }
}

pub(crate) fn start(log: Arc<dyn Log>, world: &World, config: BankConfig) -> Bank {
    let (bank, run) = Bank::open(log, world.clone(), NodeId::next(world), config);
    tokio::spawn(run);
    bank
}

pub(crate) async fn open(bank: &Bank, owner: &str, name: &str, minor: i64) -> AccountId {
    let account = AccountId::of(owner, name).expect("a name");
    let op = OpenAccount {
        account: account.clone(),
        owner: owner.into(),
        name: name.into(),
        opening: mxn(minor),
        floor: 0,
        limits: Limits::default(),
    };
    let key = Key::Import(account.to_string());
    let reply = bank.open_account(&admin(), key, op).await.expect("opened");
    assert_eq!(reply.answer.reason, None);
    account
}

pub(crate) fn pay(from: &AccountId, to: &AccountId, minor: i64) -> Op {
    Op::Transfer(Transfer {
        from: from.clone(),
        to: to.clone(),
        amount: mxn(minor),
        memo: None,
        imported: false,
        booked: None,
    })
}

impl Desk {
    /// Another process on the same log, with nothing in memory.
    pub(crate) async fn restart(&mut self) {
        let node = NodeId::next(&self.world);
        let config = BankConfig::default();
        let (bank, run) = Bank::open(self.log.clone(), self.world.clone(), node, config);
        self.bank = bank;
        (&mut self.decider).await.expect("the decider ends");
        self.decider = tokio::spawn(run);
    }
    pub(crate) async fn ask(&self, who: &str, key: &str, op: Op) -> Result<Reply, Failure> {
        self.bank.ask(Ask::new(op, user(who), client(key))).await
    }
    pub(crate) async fn answer(&self, who: &str, key: &str, op: Op) -> Answer {
        self.ask(who, key, op).await.expect("an answer").answer
    }
    pub(crate) async fn balance(&self, account: &AccountId) -> (i64, i64) {
        let view = self.bank.account(&admin(), account).await.expect("there");
        (view.balance.minor(), view.available.minor())
    }
    pub(crate) async fn verified(&self) -> Report {
        verified(&*self.log).await
    }
    pub(crate) fn events(&self) -> u64 {
        self.log.tail().borrow().n
    }
}

pub(crate) async fn verified(log: &dyn Log) -> Report {
    let report = verify::verify(log).await.expect("readable");
    assert_eq!(report.problems, Vec::<String>::new());
    report
}

pub(crate) fn code(answer: &Answer) -> &str {
    answer.reason.as_ref().map_or("", |reason| &reason.code)
}

pub(crate) fn paused_world(seed: u64) -> World {
    let clock = PausedClock::at("2026-01-01T00:00:00Z".parse().expect("a time"));
    World::new(Arc::new(clock), Arc::new(Seeded::new(seed)))
}

type Before = Box<dyn FnOnce(&Commit) -> Option<Commit> + Send>;

/// A log whose commits take a while, as they do on disk, and that can be made to fail.
pub(crate) struct SlowLog {
    pub(crate) inner: MemoryLog,
    pub(crate) world: World,
    pub(crate) takes: Duration,
    pub(crate) conflicts: AtomicU64,
    /// Streams of commits under way, and how often two of those met on one.
    under_way: Mutex<Vec<StreamId>>,
    pub(crate) overlaps: AtomicU64,
    /// A commit of somebody else that gets in before the next one.
    pub(crate) intruder: Mutex<Option<Before>>,
    /// Loses track of the next commit: of one that happened, or did not.
    pub(crate) lose: Mutex<Option<bool>>,
}

impl SlowLog {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            inner: MemoryLog::new(world.clone()),
            world: world.clone(),
            takes: Duration::from_millis(1),
            conflicts: AtomicU64::new(0),
            under_way: Mutex::default(),
            overlaps: AtomicU64::new(0),
            intruder: Mutex::default(),
            lose: Mutex::default(),
        }
    }
}

impl Between for SlowLog {
    fn store(&self) -> &dyn Log {
        &self.inner
    }
    fn carry(&self, commit: Commit) -> BoxFuture<'_, Result<Committed, CommitError>> {
        async move {
            let exact = commit.appends.iter().filter(|a| a.expect != Expect::Any);
            let streams: Vec<StreamId> = exact.map(|a| a.stream.clone()).collect();
            {
                let mut under_way = self.under_way.lock().expect("lock");
                if streams.iter().any(|stream| under_way.contains(stream)) {
                    self.overlaps.fetch_add(1, Ordering::Relaxed);
                }
                under_way.extend(streams.iter().cloned());
            }
            self.world.clock().sleep(self.takes).await;
            self.under_way.lock().expect("lock").retain(|stream| !streams.contains(stream));
            let intruder = self.intruder.lock().expect("lock").take();
            if let Some(other) = intruder.and_then(|make| make(&commit)) {
                self.inner.commit(other).await.expect("the intruder's");
            }
            let lost = self.lose.lock().expect("lock").take();
            if lost == Some(false) {
                return Err(CommitError::Unknown("power".into()));
            }
            let result = self.inner.commit(commit).await;
            if lost == Some(true) {
                return Err(CommitError::Unknown("power".into()));
            }
            if matches!(result, Err(CommitError::Conflict { .. })) {
                self.conflicts.fetch_add(1, Ordering::Relaxed);
            }
            result
        }
        .boxed()
    }
    fn fetch_claim<'a>(
        &'a self,
        ask: impl FnOnce(&'a dyn Log) -> Reading<'a, Option<Claim>> + Send + 'a,
    ) -> Reading<'a, Option<Claim>> {
        async move {
            self.world.clock().sleep(self.takes).await;
            ask(&self.inner).await
        }
        .boxed()
    }
}
