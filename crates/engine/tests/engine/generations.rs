//! Runs that go on as their next generation: what taking one up costs, and that what it
//! leaves out makes no difference.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use steadfast_core::{Failure, RunId, observe::silent};
use steadfast_engine::{Ctx, Data, Engine, EngineConfig, Registry, Status, WorkflowOptions};
use steadfast_log::{Log, MemoryLog, Snapshot};
use uuid::Uuid;

use crate::{
    house::{House, NOTE, UNDO_NOTE, accept, finish, reach, tenant, view, worthless},
    through::Through,
};

const STEPS: u64 = 10;

/// So many generations of some steps each; the last one waits for words, too.
fn looping(registry: &mut Registry) {
    registry.workflow("looping", 1, WorkflowOptions::default(), |ctx: Ctx, left: u64| async move {
        for step in 0..STEPS {
            ctx.step(("note", step), &NOTE, &format!("{left} {step}")).await?;
        }
        if left > 0 {
            return Err(ctx.continue_as_new(&(left - 1)));
        }
        ctx.signal::<u64>("word", "word").await?;
        ctx.step("taken", &NOTE, &"taken".to_owned()).await?;
        ctx.signal::<u64>("end", "end").await
    });
}

fn json(value: u64) -> Data {
    Data::of(&value).expect("json")
}

/// A node with the configuration of a real one, and its way to the log, which counts.
fn counting(house: &House, registry: &Registry) -> (Engine, Arc<Through>) {
    let log = Arc::new(Through::new(house.log.clone(), |_| None));
    let (world, config) = (house.world.clone(), EngineConfig::default());
    let engine = Engine::new(log.clone(), world, registry.clone(), config, silent());
    let running = engine.clone();
    tokio::spawn(async move { running.run().await });
    (engine, log)
}

/// The events read to take up, after a crash, a run of so many generations.
async fn read_to_take_up(generations: u64) -> usize {
    let house = House::new();
    let mut registry = house.registry();
    looping(&mut registry);
    let (first, _) = counting(&house, &registry);
    let run = accept(&first, "looping", &(generations - 1)).await.run;
    let waiting = reach(&first, run, Status::Waiting).await;
    assert!(waiting.events > generations * STEPS);
    first.stop(Duration::from_secs(1)).await;
    let (second, log) = counting(&house, &registry);
    second.signal(&tenant(), run, None, "ana", "word", json(7)).await.expect("sent");
    log.read.store(0, Ordering::SeqCst);
    house.world.clock().sleep(Duration::from_millis(100)).await;
    let read = log.read.load(Ordering::SeqCst);
    assert_eq!(house.effects().last().expect("effects"), "taken");
    second.signal(&tenant(), run, None, "ana", "end", json(7)).await.expect("sent");
    assert_eq!(finish(&second, run).await.status, Status::Completed);
    let keys = house.keys();
    assert_eq!(keys.len() as u64, generations * STEPS + 1);
    assert!(keys.values().all(|times| *times == 1));
    house.audit().await;
    read
}

#[tokio::test(start_paused = true)]
async fn a_run_with_a_long_past_is_taken_up_like_one_with_a_short() {
    let (short, long) = (read_to_take_up(5).await, read_to_take_up(500).await);
    // The first events, those since the snapshot, and those of the generation.
    assert!(short < 150 && long < 150, "{long} events of 500 generations were read, {short} of 5");
}

/// Takes a word in each generation, starts a child and leaves it behind, books, and fails
/// at last, so that its last generation is undone.
fn eventful(registry: &mut Registry) {
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.sleep("long", Duration::from_secs(5_000)).await
    });
    registry.workflow("eventful", 1, WorkflowOptions::default(), |ctx: Ctx, mut got: Vec<u64>| async move {
        let note = format!("round {}", got.len());
        ctx.step("note", &NOTE, &note).undo(&UNDO_NOTE, &note).await?;
        let child = ctx.child::<_, ()>("child", "child", &());
        let word = ctx.signal("word", "word");
        match ctx.race(word, child).await {
            steadfast_engine::Either::Left(word) => got.push(word?),
            steadfast_engine::Either::Right(_) => return Err(Failure::internal("test.child", "it ended")),
        }
        if got.len() < 5 {
            return Err(ctx.continue_as_new(&got));
        }
        Err::<(), _>(Failure::internal("test.enough", format!("{got:?}")))
    });
}

#[tokio::test(start_paused = true)]
async fn g2_a_crash_at_any_commit_of_many_generations_changes_nothing() {
    for commits in 1..=45 {
        let house = House::new();
        let mut registry = house.registry();
        eventful(&mut registry);
        let calm = house.engine(registry.clone());
        let run = accept(&calm, "eventful", &Vec::<u64>::new()).await.run;
        calm.stop(Duration::from_secs(1)).await;
        let doomed = house.node(house.mortal(commits, commits % 2 == 0), registry.clone());
        for word in 0..5 {
            calm.signal(&tenant(), run, None, "ana", "word", json(word)).await.expect("durable");
        }
        house.world.clock().sleep(Duration::from_secs(30)).await;
        drop(doomed);
        let engine = house.engine(registry);
        let settled = finish(&engine, run).await;
        let failure = settled.outcome.expect_err("fails at last");
        assert_eq!(
            (settled.status, &*failure.message),
            (Status::Dead, "[0, 1, 2, 3, 4]"),
            "death at {commits}"
        );
        house.world.clock().sleep(Duration::from_secs(200)).await;
        let open = house.log.derived().listings.into_values().filter(|row| row.status == "waiting");
        assert_eq!(open.count(), 0, "no child is left behind, death at {commits}");
        let undone = house.effects().into_iter().filter(|what| what.starts_with("undo"));
        let undone: std::collections::BTreeSet<_> = undone.collect();
        assert!(undone.iter().eq(["undo round 4"]), "{undone:?}, death at {commits}");
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_replayed_again_and_again_is_read_from_its_last_beginning() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("failing", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        for step in 0..STEPS {
            ctx.step(("note", step), &NOTE, &"n".to_owned()).undo(&UNDO_NOTE, &"n".to_owned()).await?;
        }
        Err::<(), _>(Failure::internal("test.again", "again"))
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "failing", &()).await.run;
    for replay in 1..=5 {
        finish(&engine, run).await;
        let letters = engine.dead_letters(steadfast_log::ListQuery {
            tenant: tenant(),
            statuses: vec!["open".into()],
            limit: 1,
            ..Default::default()
        });
        let letter = letters.await.expect("listed").0[0].id;
        engine.replay(&tenant(), letter, "olga").await.expect("replayed");
        reach(&engine, run, Status::Dead).await;
        assert_eq!(view(&engine, run).await.generation, replay + 1);
        let snapshot = house.log.snapshot(&house.stream(run)).await.expect("reads").expect("kept");
        let replayed = house.kinds(run).await.iter().rposition(|kind| kind == "run.replayed");
        assert_eq!(Some(snapshot.version), replayed.map(|place| place as u64 + 1));
    }
    house.audit().await;
}

/// A run of several generations that waits, and the id of a signal that it took in the first.
async fn heard_long_ago(house: &House, registry: &mut Registry) -> (Engine, RunId, Uuid) {
    registry.workflow("hears", 1, WorkflowOptions::default(), |ctx: Ctx, left: u64| async move {
        if left == 9 {
            ctx.signal::<u64>("word", "word").await?;
        }
        ctx.step("note", &NOTE, &format!("left {left}")).await?;
        if left > 0 { Err(ctx.continue_as_new(&(left - 1))) } else { ctx.signal::<u64>("last", "word").await }
    });
    let engine = house.engine(registry.clone());
    let run = accept(&engine, "hears", &9).await.run;
    let id = house.world.uuid();
    let send = |id, value| engine.signal_of(run, id, value);
    assert!(!send(id, 1).await.expect("sent"));
    house.world.clock().sleep(Duration::from_secs(60)).await;
    assert_eq!(view(&engine, run).await.generation, 10);
    assert!(house.log.snapshot(&house.stream(run)).await.expect("reads").expect("kept").version > 20);
    (engine, run, id)
}

trait SignalOf {
    async fn signal_of(&self, run: RunId, id: Uuid, value: u64) -> Result<bool, Failure>;
}

impl SignalOf for Engine {
    async fn signal_of(&self, run: RunId, id: Uuid, value: u64) -> Result<bool, Failure> {
        self.signal(&tenant(), run, Some(id), "ana", "word", json(value)).await
    }
}

#[tokio::test(start_paused = true)]
async fn g5_a_signal_counts_once_whatever_generation_took_it() {
    let house = House::new();
    let (engine, run, id) = heard_long_ago(&house, &mut house.registry()).await;
    assert!(engine.signal_of(run, id, 1).await.expect("it was sent before"));
    let other = engine.signal_of(run, id, 2).await.expect_err("something else");
    assert_eq!(other.code, "idempotency_key_reused");
    assert_eq!(view(&engine, run).await.status, Status::Waiting, "nothing was delivered a second time");
    house.world.clock().sleep(Duration::from_secs(24 * 3_600 - 120)).await;
    assert!(engine.signal_of(run, id, 1).await.expect("still known"));
    engine.signal_of(run, house.world.uuid(), 3).await.expect("sent");
    assert_eq!(finish(&engine, run).await.outcome.expect("a word").read::<u64>(), Ok(3));
    assert!(engine.signal_of(run, id, 1).await.expect("known after the end, too"));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_says_something_else_than_the_events_is_found() {
    let house = House::new();
    let (_, run, _) = heard_long_ago(&house, &mut house.registry()).await;
    let stream = house.stream(run);
    let kept = house.log.snapshot(&stream).await.expect("reads").expect("kept");
    let stands = || steadfast_engine::verify_snapshot(&*house.log, &stream);
    assert!(stands().await.expect("reads"));
    let mut body: serde_json::Value = serde_json::from_slice(&kept.body).expect("json");
    body["generation"] = 9.into();
    let wrong = Snapshot { body: body.to_string().into(), ..kept };
    house.log.put_snapshot(stream.clone(), wrong).await.expect("kept");
    assert!(!stands().await.expect("reads"));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_does_not_fit_its_stream_is_as_good_as_none() {
    let house = House::new();
    let mut registry = house.registry();
    let (engine, run, _) = heard_long_ago(&house, &mut registry).await;
    let stream = house.stream(run);
    let told = |view| serde_json::to_value(&view).expect("json");
    let before = told(view(&engine, run).await);
    let kept = house.log.snapshot(&stream).await.expect("reads").expect("kept");
    let elsewhere = House { log: Arc::new(MemoryLog::new(house.world.clone())), ..House::new() };
    let (_, twin, _) = heard_long_ago(&elsewhere, &mut elsewhere.registry()).await;
    let foreign = elsewhere.log.snapshot(&elsewhere.stream(twin)).await.expect("reads").expect("kept");
    for unfit in [
        worthless(),
        foreign,
        Snapshot { schema: 2, ..kept.clone() },
        Snapshot { version: kept.version - 1, ..kept.clone() },
        Snapshot { version: kept.version + 1_000, ..kept.clone() },
        Snapshot { body: Bytes::from_static(b"{}"), ..kept.clone() },
        kept,
    ] {
        house.log.put_snapshot(stream.clone(), unfit.clone()).await.expect("kept");
        assert_eq!(told(view(&engine, run).await), before, "{unfit:?}");
    }
    engine.signal_of(run, house.world.uuid(), 3).await.expect("sent");
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
}
