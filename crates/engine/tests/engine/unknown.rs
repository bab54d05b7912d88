use std::{sync::Arc, time::Duration};

use steadfast_core::RunId;
use steadfast_engine::{Ctx, Data, Engine, Registry, Status, WorkflowOptions};
use steadfast_log::{Commit, Expect, Log, NewEvent};

use crate::{
    house::{House, NOTE, UNDO_NOTE, accept, finish, reach, tenant, view},
    through::Through,
};

fn waiting(registry: &mut Registry) {
    registry.workflow("waiting", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<u64>("go", "go").await?;
        ctx.step("went", &NOTE, &"went".to_owned()).await
    });
}

async fn append(house: &House, run: RunId, kind: &'static str, schema: u16, body: &str) {
    let event = NewEvent::new(&house.world, kind, schema, body.as_bytes().to_vec());
    let commit = Commit::append(house.stream(run), Expect::Any, vec![event]);
    house.log.commit(commit).await.expect("written");
}

async fn dead_letters(engine: &Engine) -> usize {
    let query = steadfast_log::ListQuery { tenant: tenant(), limit: 10, ..Default::default() };
    engine.dead_letters(query).await.expect("listed").0.len()
}

/// A node, and a run of it that waits on the log.
async fn rested(house: &House, registry: &Registry) -> (Engine, RunId) {
    let node = house.engine(registry.clone());
    let run = accept(&node, "waiting", &()).await.run;
    house.world.clock().sleep(Duration::from_secs(10)).await;
    assert_eq!(node.active(), 0);
    (node, run)
}

#[tokio::test(start_paused = true)]
async fn g8_an_event_of_a_newer_binary_parks_the_run_and_the_newer_binary_goes_on() {
    // What a newer binary may have written: another type, and another shape of a known one.
    for (kind, schema, body) in [("run.noticed", 1, "{}"), ("run.noted", 2, "\u{1}"), ("run.turn", 1, "{}")] {
        let house = House::new();
        let mut registry = house.registry();
        waiting(&mut registry);
        let (rolled_back, run) = rested(&house, &registry).await;
        append(&house, run, kind, schema, body).await;
        rolled_back
            .signal(&tenant(), run, None, "ana", "go", Data::of(&1).expect("json"))
            .await
            .expect("sent");
        house.world.clock().sleep(Duration::from_secs(300)).await;
        let seen = view(&rolled_back, run).await;
        assert_eq!(seen.status, Status::Parked, "{kind}");
        let why = seen.parked.expect("it says why");
        assert_eq!(why.code, "run.unknown_event");
        let named = format!("version 3: {kind} of schema {schema}");
        assert!(why.message.contains(&named), "{} does not say {named}", why.message);
        assert_eq!(house.log.derived().listings[&house.stream(run)].status, "parked");
        assert_eq!(dead_letters(&rolled_back).await, 0);
        let check = rolled_back.check(|_| ()).await.expect("reads");
        assert_eq!(check.diverged[0].why.code, "run.unknown_event");
        assert!(house.effects().is_empty());
        let parked = view(&rolled_back, run).await.events;
        house.world.clock().sleep(Duration::from_secs(3_000)).await;
        assert_eq!(view(&rolled_back, run).await.events, parked, "a parked run rests");

        // The newer binary starts while the older one still lives.
        let newer = Through::new(house.log.clone(), |_| None).knowing(kind, "run.noted");
        if kind == "run.turn" {
            continue; // Every turn would be known as another event.
        }
        let newer = house.node(Arc::new(newer), registry);
        assert_eq!(finish(&newer, run).await.status, Status::Completed, "{kind}");
        assert_eq!(house.effects(), ["went"]);
    }
}

#[tokio::test(start_paused = true)]
async fn g8_a_run_whose_first_event_is_of_a_newer_binary_is_parked_too() {
    for (kind, schema, body) in [("run.imported", 1, "{}"), ("run.started", 2, "\u{1}")] {
        let house = House::new();
        let mut registry = house.registry();
        waiting(&mut registry);
        let run = RunId::next(&house.world);
        append(&house, run, kind, schema, body).await;
        let node = house.engine(registry);
        node.signal(&tenant(), run, None, "ana", "go", Data::null()).await.expect("sent");
        house.world.clock().sleep(Duration::from_secs(300)).await;
        assert_eq!(view(&node, run).await.parked.expect(kind).code, "run.unknown_event");
        assert_eq!(dead_letters(&node).await, 0);
        // An operator may still end it.
        node.kill(&tenant(), run, "olga", "not wanted").await.expect("killed");
        assert_eq!(view(&node, run).await.status, Status::Killed);
        assert!(house.log.derived().wake_ups.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_begins_with_another_event_of_a_run_is_damaged_and_not_newer() {
    for kind in ["run.turn", "run.message", "run.claimed", "run.ended"] {
        let house = House::new();
        let run = RunId::next(&house.world);
        append(&house, run, kind, 1, "{}").await;
        let node = house.engine(house.registry());
        let failure = node.describe(&tenant(), run).await.expect_err(kind);
        assert_eq!(failure.code, "run.unreadable", "{kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn g8_a_run_that_is_being_undone_is_parked_and_undone_by_the_newer_binary() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("saga", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        for name in ["a", "b"] {
            ctx.step(("do", name), &NOTE, &name.to_owned()).undo(&UNDO_NOTE, &name.to_owned()).await?;
        }
        Err::<(), _>(steadfast_core::Failure::refused("test.no", "no"))
    });
    // Commits: accepted, two results, the last of which fails, one undone; then death.
    let run = house.crash(&registry, (5, false), "saga", &()).await;
    assert_eq!(house.kinds(run).await.last().expect("events"), "run.undone");
    append(&house, run, "run.noticed", 1, "{}").await;
    let rolled_back = house.engine(registry.clone());
    reach(&rolled_back, run, Status::Parked).await;
    house.world.clock().sleep(Duration::from_secs(300)).await;
    let undone = house.effects().len();
    let newer = Through::new(house.log.clone(), |_| None).knowing("run.noticed", "run.noted");
    let newer = house.node(Arc::new(newer), registry);
    assert_eq!(finish(&newer, run).await.status, Status::Failed);
    assert!(house.effects().len() <= undone + 1, "only what was left is undone: {:?}", house.effects());
    assert_eq!(house.effects().last().expect("effects"), "undo a");
}

#[tokio::test(start_paused = true)]
async fn a_run_that_ended_after_an_unknown_event_has_ended() {
    let house = House::new();
    let mut registry = house.registry();
    waiting(&mut registry);
    let (node, run) = rested(&house, &registry).await;
    node.stop(Duration::from_secs(5)).await;
    append(&house, run, "run.noticed", 1, "{}").await;
    let newer = Through::new(house.log.clone(), |_| None).knowing("run.noticed", "run.noted");
    let newer = house.node(Arc::new(newer), registry.clone());
    newer.signal(&tenant(), run, None, "ana", "go", Data::of(&1).expect("json")).await.expect("sent");
    finish(&newer, run).await;
    newer.stop(Duration::from_secs(5)).await;
    let rolled_back = house.engine(registry);
    assert_eq!(finish(&rolled_back, run).await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn g8_a_live_run_stops_at_an_event_that_it_does_not_understand() {
    // Even where it reads as something that it does understand.
    let id = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";
    let message = format!("{{\"id\":\"{id}\",\"what\":{{\"signal\":{{\"name\":\"go\",\"value\":1}}}}}}");
    let claimed = format!("{{\"epoch\":1,\"owner\":\"{id}\"}}");
    let unknown = [("run.message", 2, &*message), ("run.claimed", 2, &*claimed), ("run.noticed", 1, "{}")];
    for (kind, schema, body) in unknown {
        let house = House::new();
        let mut registry = house.registry();
        registry.workflow("long", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
            ctx.step("slow", &crate::house::SLOW, &600).await?;
            ctx.step("after", &NOTE, &"after".to_owned()).await
        });
        let node = house.engine(registry);
        let run = accept(&node, "long", &()).await.run;
        house.world.clock().sleep(Duration::from_secs(10)).await;
        append(&house, run, kind, schema, body).await;
        house.world.clock().sleep(Duration::from_secs(6_000)).await;
        assert_eq!(view(&node, run).await.status, Status::Parked, "{kind}");
        assert!(!house.effects().contains(&"after".to_owned()), "{kind}");
    }
}
