use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, FutureExt};
use steadfast_core::Failure;
use steadfast_engine::{
    Ctx, Data, Deliver, Engine, LetterKind, Reaction, Start, Subscriber, WorkflowOptions,
};
use steadfast_log::{Commit, Expect, ListQuery, Log, NewEvent, Recorded, StreamId};

use crate::house::{House, NOTE, tenant};

async fn happen(house: &House, kind: &'static str, n: u64) {
    let event = NewEvent::new(&house.world, kind, 1, n.to_string().into_bytes());
    let stream = StreamId::new(&tenant(), "thing", n);
    house.log.commit(Commit::append(stream, Expect::Any, vec![event])).await.expect("written");
}

async fn letters(engine: &Engine) -> Vec<steadfast_engine::DeadLetterView> {
    let query = ListQuery { tenant: tenant(), limit: 50, ..ListQuery::default() };
    engine.dead_letters(query).await.expect("listed").0
}

fn starting(name: &str, fails: bool) -> Subscriber {
    let prefix = name.to_owned();
    Subscriber::trigger(name, vec!["thing.*".into()], move |event| {
        if fails {
            return Err(Failure::internal("test.broken", "this trigger is broken"));
        }
        let what = format!("{prefix} {}", String::from_utf8_lossy(&event.event.body));
        let start = Start::new(event.stream.tenant(), "system", "note", Data::of(&what)?);
        Ok(Some(Reaction::Start(start)))
    })
}

fn note(registry: &mut steadfast_engine::Registry) {
    registry.workflow("note", 1, WorkflowOptions::default(), |ctx: Ctx, what: String| async move {
        ctx.step("note", &NOTE, &what).await
    });
}

#[tokio::test(start_paused = true)]
async fn g6_every_event_sets_off_every_trigger_once_also_across_crashes() {
    for commits in (2..60).step_by(3) {
        let house = House::new();
        let mut registry = house.registry();
        note(&mut registry);
        registry.subscriber(starting("left", false)).subscriber(starting("right", false));
        for n in 0..3 {
            happen(&house, "thing.made", n).await;
        }
        let _doomed = house.node(house.mortal(commits, commits % 2 == 0), registry.clone());
        house.world.clock().sleep(Duration::from_secs(100)).await;
        let _engine = house.engine(registry);
        for n in 3..5 {
            happen(&house, "thing.made", n).await;
        }
        happen(&house, "other.made", 9).await;
        house.world.clock().sleep(Duration::from_secs(300)).await;
        let mut effects = house.effects();
        effects.sort();
        effects.dedup();
        let expected: Vec<String> =
            ["left", "right"].iter().flat_map(|side| (0..5).map(move |n| format!("{side} {n}"))).collect();
        assert_eq!(effects, expected, "crash at commit {commits}");
        let runs =
            house.log.count(ListQuery { tenant: tenant(), category: "run".into(), ..ListQuery::default() });
        assert_eq!(runs.await.expect("counted"), 10, "one run for each event and trigger");
    }
}

#[tokio::test(start_paused = true)]
async fn g6_one_failing_trigger_stops_no_other_and_its_events_can_be_replayed() {
    let house = House::new();
    let mut registry = house.registry();
    note(&mut registry);
    registry.subscriber(starting("broken", true)).subscriber(starting("fine", false));
    let engine = house.engine(registry);
    for n in 0..3 {
        happen(&house, "thing.made", n).await;
    }
    house.world.clock().sleep(Duration::from_secs(60)).await;
    assert_eq!(house.effects(), ["fine 0", "fine 1", "fine 2"]);
    let dead = letters(&engine).await;
    assert_eq!(dead.len(), 3);
    assert!(dead.iter().all(|letter| letter.letter.kind == LetterKind::Message));
    let still = engine.replay(&tenant(), dead[0].id, "olga").await.expect_err("still broken");
    assert_eq!(still.code, "test.broken");
    assert_eq!(letters(&engine).await.iter().filter(|letter| letter.status == "open").count(), 3);
}

struct Outside {
    up: AtomicBool,
    got: Mutex<Vec<String>>,
}

impl Deliver for Outside {
    fn deliver<'a>(&'a self, event: &'a Recorded) -> BoxFuture<'a, Result<(), Failure>> {
        async move {
            if !self.up.load(Ordering::SeqCst) {
                return Err(Failure::upstream("test.down", "down"));
            }
            let data = String::from_utf8_lossy(&event.event.body);
            let line = format!("{} {} {data}", event.event.kind, event.stream);
            self.got.lock().expect("got").push(line);
            Ok(())
        }
        .boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn a_sink_delivers_in_order_and_lays_aside_what_the_outside_does_not_take() {
    let house = House::new();
    let outside = Arc::new(Outside { up: AtomicBool::new(true), got: Mutex::default() });
    let mut registry = house.registry();
    registry.subscriber(Subscriber::sink("hook", vec!["thing.made".into()], outside.clone()));
    let engine = house.engine(registry);
    happen(&house, "thing.made", 1).await;
    happen(&house, "thing.lost", 2).await;
    house.world.clock().sleep(Duration::from_secs(10)).await;
    outside.up.store(false, Ordering::SeqCst);
    happen(&house, "thing.made", 3).await;
    house.world.clock().sleep(Duration::from_secs(60)).await;
    outside.up.store(true, Ordering::SeqCst);
    happen(&house, "thing.made", 4).await;
    house.world.clock().sleep(Duration::from_secs(10)).await;
    let line = |n: u64| format!("thing.made default/thing/{n} {n}");
    assert_eq!(*outside.got.lock().expect("got"), [line(1), line(4)]);
    let dead = letters(&engine).await;
    assert_eq!(dead.len(), 1);
    engine.replay(&tenant(), dead[0].id, "olga").await.expect("delivered");
    assert_eq!(*outside.got.lock().expect("got"), [line(1), line(4), line(3)]);
}
