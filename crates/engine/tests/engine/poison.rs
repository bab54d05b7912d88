//! Runs that cannot be taken up, of every kind, among many that can: none of these is
//! delayed, and each of those ends where people look for it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use steadfast_core::{Failure, RunId, observe::silent};
use steadfast_engine::{Ctx, Data, Engine, EngineConfig, Registry, Status, WorkflowOptions};
use steadfast_log::{Commit, Expect, ListQuery, Log, NewEvent, StreamId, WakeUp, WakeUpChange};

use crate::{
    house::{House, NOTE, accept, finish, tenant, view},
    through::Through,
};

const PACE: usize = 4;
const HEALTHY: usize = 200;

async fn nap(ctx: Ctx, (): ()) -> Result<u64, Failure> {
    ctx.sleep("nap", Duration::from_secs(100)).await?;
    ctx.step("awake", &NOTE, &"awake".to_owned()).await
}

/// What a run is poisoned with, and how it ends.
const BROKEN: &[(&str, &str)] = &[
    ("half a turn", "run.unreadable"),
    ("half a beginning", "run.unreadable"),
    ("a message of a long name that is cut off", "run.unreadable"),
    ("a value that is gone", "run.unreadable"),
    ("a page that is gone", "store.corrupt"),
    ("half a turn, and children to be told", "run.unreadable"),
    ("an event of another kind", "run.unknown_event"),
    ("a message of a long name", "run.unknown_event"),
];
/// Workflows whose code is another after the restart.
const CHANGED: &[(&str, &str)] = &[
    ("panics", "workflow.diverged"),
    ("panics when dropped", "workflow.foreign_await"),
    ("asks for something else", "workflow.diverged"),
    ("waits for something else", "workflow.foreign_await"),
    ("is gone", "workflow.unknown_version"),
];

struct Falls;

impl Drop for Falls {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "falls over on purpose");
    }
}

fn before(house: &House) -> Registry {
    let mut registry = house.registry();
    for (name, _) in BROKEN.iter().chain(CHANGED).chain(&[("healthy", "")]) {
        registry.workflow(name, 1, WorkflowOptions::default(), nap);
    }
    registry
}

fn after(house: &House) -> Registry {
    let (mut registry, options) = (house.registry(), WorkflowOptions::default);
    for (name, _) in BROKEN.iter().chain(&[("healthy", "")]) {
        registry.workflow(name, 1, options(), nap);
    }
    registry
        .workflow("panics", 1, options(), |_: Ctx, (): ()| async move {
            assert!(std::thread::panicking(), "on purpose");
            Ok(())
        })
        .workflow("panics when dropped", 1, options(), |_: Ctx, (): ()| async move {
            let falls = Falls;
            std::future::pending::<()>().await;
            drop(falls);
            Ok(())
        })
        .workflow("asks for something else", 1, options(), |ctx: Ctx, (): ()| async move {
            ctx.sleep("other", Duration::from_secs(100)).await
        })
        .workflow("waits for something else", 1, options(), |_: Ctx, (): ()| async move {
            std::future::pending::<()>().await;
            Ok(())
        });
    registry
}

impl House {
    async fn poison(&self, log: &Through, run: RunId, with: &str) {
        let stream = self.stream(run);
        let id = self.world.uuid();
        let long = "x".repeat(200_000);
        let (kind, body) = match with {
            "a page that is gone" => {
                log.corrupt.lock().expect("a lock").insert(stream);
                return;
            }
            "an event of another kind" => ("run.noticed", "{}".to_owned()),
            "a value that is gone" => {
                let value = format!("{{\"$payload\":\"{}\",\"bytes\":9}}", "0".repeat(64));
                let what = format!("{{\"signal\":{{\"name\":\"go\",\"value\":{value}}}}}");
                ("run.message", format!("{{\"id\":\"{id}\",\"what\":{what}}}"))
            }
            "a message of a long name" => {
                ("run.message", format!("{{\"id\":\"{id}\",\"what\":{{\"{long}\":1}}}}"))
            }
            "a message of a long name that is cut off" => {
                ("run.message", format!("{{\"id\":\"{id}\",\"what\":{{\"{long}\":1}}"))
            }
            _ => ("run.turn", "{\"t\":".to_owned()),
        };
        let event = NewEvent::new(&self.world, kind, 1, body.into_bytes());
        let mut commit = Commit::append(stream.clone(), Expect::Any, vec![event]);
        if with.ends_with("to be told") {
            let (name, due) = ("orphans".into(), self.world.now());
            commit.wake_ups.push(WakeUpChange::Set(WakeUp { stream, name, due, owner: None }));
        }
        self.log.commit(commit).await.expect("written");
    }

    fn statuses(&self) -> BTreeMap<StreamId, String> {
        self.log.derived().listings.into_iter().map(|(stream, row)| (stream, row.status)).collect()
    }
}

/// Why a run does not go on: from its dead letter, or because it is parked.
async fn causes(engine: &Engine) -> BTreeMap<RunId, Vec<String>> {
    let query = ListQuery { tenant: tenant(), limit: 1_000, ..ListQuery::default() };
    let (letters, _) = engine.dead_letters(query).await.expect("listed");
    let mut causes: BTreeMap<RunId, Vec<String>> = BTreeMap::new();
    for letter in letters {
        causes.entry(letter.letter.run.expect("a run")).or_default().push(letter.letter.cause.code);
    }
    causes
}

/// A stream whose first event nobody can read.
async fn half_a_beginning(house: &House) -> RunId {
    let run = RunId::next(&house.world);
    let stream = house.stream(run);
    let event = NewEvent::new(&house.world, "run.started", 1, &b"{\"workflow\":"[..]);
    let mut commit = Commit::append(stream.clone(), Expect::New, vec![event]);
    let wake_up = WakeUp { stream, name: "run".into(), due: house.world.now(), owner: None };
    commit.wake_ups.push(WakeUpChange::Set(wake_up));
    house.log.commit(commit).await.expect("written");
    run
}

/// Has much to read, and nothing wrong with it.
async fn a_long_stream(house: &House, engine: &Engine) -> RunId {
    let run = accept(engine, "healthy", &()).await.run;
    for _ in 0..100 {
        let message = |_| {
            let id = house.world.uuid();
            let body = format!("{{\"id\":\"{id}\",\"what\":{{\"signal\":{{\"name\":\"go\",\"value\":1}}}}}}");
            NewEvent::new(&house.world, "run.message", 1, body.into_bytes())
        };
        let events = (0..50).map(message).collect();
        house.log.commit(Commit::append(house.stream(run), Expect::Any, events)).await.expect("written");
    }
    run
}

#[tokio::test(start_paused = true)]
async fn g7_no_kind_of_poison_keeps_the_others_from_ending() {
    let house = House::new();
    let first = house.engine(before(&house));
    let mut poisoned = Vec::new();
    for (kind, code) in BROKEN.iter().chain(CHANGED) {
        poisoned.push((accept(&first, kind, &()).await.run, *kind, *code));
    }
    let mut healthy = Vec::new();
    for _ in 0..HEALTHY {
        healthy.push(accept(&first, "healthy", &()).await.run);
    }
    healthy.push(a_long_stream(&house, &first).await);
    first.stop(Duration::from_secs(1)).await;
    house.world.clock().sleep(Duration::from_secs(120)).await;

    let log =
        Arc::new(Through::new(house.log.clone(), |_| None).slow(&house.world, Duration::from_millis(10)));
    for (run, kind, _) in &poisoned[..BROKEN.len()] {
        house.poison(&log, *run, kind).await;
    }
    poisoned.push((half_a_beginning(&house).await, "half a beginning", "run.unreadable"));
    let config = EngineConfig { recovery_pace: PACE, ..EngineConfig::default() };
    let second = Engine::new(log.clone(), house.world.clone(), after(&house), config, silent());
    let running = second.clone();
    tokio::spawn(async move { running.run().await });
    house.world.clock().sleep(Duration::from_secs(60)).await;

    let statuses = house.statuses();
    for run in &healthy {
        assert_eq!(statuses[&house.stream(*run)], "completed");
    }
    assert_eq!(house.effects().len(), healthy.len());
    let most = log.most_reading.load(Ordering::SeqCst);
    assert!(most <= PACE, "{most} runs were taken up at the same time");
    all_are_found(&house, &second, &poisoned).await;

    // Nothing looks at them again until something happens, and then no second letter is written.
    let (end, read) = (*house.log.tail().borrow(), log.read.load(Ordering::SeqCst));
    house.world.clock().sleep(Duration::from_secs(3_600)).await;
    assert_eq!((*house.log.tail().borrow(), log.read.load(Ordering::SeqCst)), (end, read));
    for (run, kind, _) in &poisoned {
        let note = NewEvent::new(&house.world, "run.noted", 1, &b"{}"[..]);
        let mut commit = Commit::append(house.stream(*run), Expect::Any, vec![note]);
        let (stream, due) = (house.stream(*run), house.world.now());
        commit.wake_ups.push(WakeUpChange::Set(WakeUp { stream, name: "run".into(), due, owner: None }));
        house.log.commit(commit).await.expect(kind);
    }
    house.world.clock().sleep(Duration::from_secs(60)).await;
    let read = log.read.load(Ordering::SeqCst);
    house.world.clock().sleep(Duration::from_secs(3_600)).await;
    assert_eq!(log.read.load(Ordering::SeqCst), read);
    all_are_found(&house, &second, &poisoned).await;
}

/// Each is parked, or has one dead letter, for the reason that it has.
async fn all_are_found(house: &House, engine: &Engine, poisoned: &[(RunId, &str, &str)]) {
    let (statuses, causes) = (house.statuses(), causes(engine).await);
    for (run, kind, code) in poisoned {
        match statuses.get(&house.stream(*run)).map(String::as_str) {
            Some("parked") => assert_eq!(view(engine, *run).await.parked.expect(kind).code, *code, "{kind}"),
            _ => assert_eq!(causes.get(run).map(Vec::as_slice), Some(&[(*code).to_owned()][..]), "{kind}"),
        }
    }
}

/// Code that never gives its thread back takes that thread from the node and nothing more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_a_workflow_that_blocks_its_thread_does_not_keep_the_others_from_ending() {
    let house = House::new();
    let blocks = Arc::new(AtomicBool::new(false));
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = Arc::new(std::sync::Mutex::new(released));
    let mut registry = house.registry();
    crate::house::notes(&mut registry);
    let code = blocks.clone();
    registry.workflow("blocks", 1, WorkflowOptions::default(), move |ctx: Ctx, (): ()| {
        let (blocks, released) = (code.clone(), released.clone());
        async move {
            if blocks.load(Ordering::SeqCst) {
                // An error means that it is released.
                let _ = released.lock().expect("a lock").recv();
            }
            ctx.signal::<u64>("go", "go").await
        }
    });
    let first = house.engine(registry.clone());
    let blocking = accept(&first, "blocks", &()).await.run;
    first.stop(Duration::from_secs(5)).await;
    blocks.store(true, Ordering::SeqCst);
    let second = house.engine(registry);
    second.signal(&tenant(), blocking, None, "ana", "go", Data::of(&1).expect("json")).await.expect("sent");
    for _ in 0..20 {
        let run = accept(&second, "notes", &3).await.run;
        assert_eq!(finish(&second, run).await.status, Status::Completed);
    }
    drop(release);
    assert_eq!(finish(&second, blocking).await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn g7_parked_runs_are_tried_again_beside_what_is_due() {
    let house = House::new();
    let first = house.engine(before(&house));
    for _ in 0..50 {
        accept(&first, "is gone", &()).await;
    }
    first.stop(Duration::from_secs(1)).await;
    house.world.clock().sleep(Duration::from_secs(120)).await;
    let second = house.engine(after(&house));
    house.world.clock().sleep(Duration::from_secs(10)).await;
    assert!(house.statuses().values().all(|status| status == "parked"));
    let due = accept(&second, "healthy", &()).await.run;
    second.stop(Duration::from_secs(1)).await;
    house.world.clock().sleep(Duration::from_secs(120)).await;

    let log = Arc::new(Through::new(house.log.clone(), |_| None).slow(&house.world, Duration::from_secs(60)));
    let config = EngineConfig { recovery_pace: PACE, ..EngineConfig::default() };
    let third = Engine::new(log, house.world.clone(), after(&house), config, silent());
    tokio::spawn(async move { third.run().await });
    house.world.clock().sleep(Duration::from_secs(300)).await;
    assert_eq!(house.statuses()[&house.stream(due)], "completed", "while parked runs are still tried");
}
