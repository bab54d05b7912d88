use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use steadfast_core::{Failure, RunId};
use steadfast_engine::{Ctx, Data, Engine, Registry, Status, WorkflowOptions};
use steadfast_log::{CommitError, Listing, Log, NewEvent, Position};

use crate::{
    house::{FAIL, House, NOTE, UNDO_NOTE, accept, finish, reach, tenant, view},
    through::Through,
};

const MANY: u64 = 130;

/// Parents of many children that wait for ever, and the ways in which they leave them.
fn families(registry: &mut Registry) {
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, n: u64| async move {
        if n == 0 {
            ctx.step("do", &NOTE, &"child".to_owned()).undo(&UNDO_NOTE, &"child".to_owned()).await?;
        }
        ctx.signal::<u64>("never", "never").await
    });
    registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, how: String| async move {
        if how == "second generation" {
            return ctx.signal::<u64>("on", "on").await;
        }
        if how == "undone" {
            ctx.step("do", &NOTE, &"parent".to_owned()).undo(&UNDO_NOTE, &"parent".to_owned()).await?;
        }
        let mut children = Vec::new();
        for batch in 0..MANY.div_ceil(40) {
            for n in batch * 40..MANY.min(batch * 40 + 40) {
                children.push(ctx.child::<_, u64>(("child", n), "child", &n));
            }
            let group = ctx.join_all(std::mem::take(&mut children));
            let pause = ctx.sleep(("pause", batch), Duration::from_secs(1));
            ctx.race(group, pause).await;
        }
        ctx.signal::<u64>("go", "go").await?;
        match how.as_str() {
            "completed" => Ok(1),
            "continued" => Err(ctx.continue_as_new(&"second generation")),
            _ => Err(Failure::refused("test.no", "no")),
        }
    });
}

fn statuses(house: &House, kind: &str) -> Vec<(String, u64)> {
    let mut counts = std::collections::BTreeMap::<String, u64>::new();
    for row in house.log.derived().listings.into_values().filter(|row| row.kind == kind) {
        *counts.entry(row.status).or_default() += 1;
    }
    counts.into_iter().collect()
}

async fn leave(engine: &Engine, run: RunId, how: &str) {
    if how == "killed" {
        engine.kill(&tenant(), run, "olga", "test").await.expect("killed");
    } else {
        engine.signal(&tenant(), run, None, "ana", "go", Data::of(&1).expect("json")).await.expect("sent");
    }
}

fn ends_a_generation(event: &NewEvent) -> bool {
    let body = String::from_utf8_lossy(&event.body);
    let ends = |how| body.contains(&format!("\"o\":{{\"{how}\""));
    event.kind == "run.ended" || ["completed", "failed", "continued"].into_iter().any(ends)
}

const WAYS: [&str; 5] = ["completed", "failed", "undone", "continued", "killed"];

#[tokio::test(start_paused = true)]
async fn every_child_that_is_left_behind_is_told() {
    for how in WAYS {
        let house = House::new();
        let mut registry = house.registry();
        families(&mut registry);
        let engine = house.engine(registry);
        let run = accept(&engine, "parent", &how).await.run;
        house.world.clock().sleep(Duration::from_secs(30)).await;
        assert_eq!(statuses(&house, "child"), [("waiting".to_owned(), MANY)], "{how}");
        leave(&engine, run, how).await;
        house.world.clock().sleep(Duration::from_secs(600)).await;
        let told = if how == "killed" { "killed" } else { "cancelled" };
        assert_eq!(statuses(&house, "child"), [(told.to_owned(), MANY)], "{how}");
        assert_eq!(house.effects().contains(&"undo child".to_owned()), how != "killed", "{how}");
        let events = view(&engine, run).await.events;
        house.world.clock().sleep(Duration::from_secs(6_000)).await;
        assert_eq!(view(&engine, run).await.events, events, "{how}: then it rests");
        let open = usize::from(how == "continued");
        assert_eq!(house.log.derived().wake_ups.len(), open, "{how}: {:?}", house.log.derived().wake_ups);
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn g7_children_are_told_although_the_node_died_while_it_told_them() {
    for how in WAYS {
        for told in [0, 1, 30] {
            let house = House::new();
            let mut registry = house.registry();
            families(&mut registry);
            let first = house.engine(registry.clone());
            let run = accept(&first, "parent", &how).await.run;
            house.world.clock().sleep(Duration::from_secs(30)).await;
            first.stop(Duration::from_secs(5)).await;
            // From the commit that leaves the children behind, this many more happen.
            let (left, parent) = (AtomicU32::new(u32::MAX), run.to_string());
            let doomed = Through::new(house.log.clone(), move |commit| {
                if commit.appends.iter().any(|append| {
                    append.stream.name() == parent && append.events.iter().any(ends_a_generation)
                }) {
                    left.store(told, Ordering::SeqCst);
                    return None;
                }
                let dies = |left: u32| if left == u32::MAX { Some(left) } else { left.checked_sub(1) };
                let alive = left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, dies).is_ok();
                (!alive).then(|| CommitError::Unavailable("dead".into()))
            });
            let doomed = house.node(Arc::new(doomed), registry.clone());
            leave(&doomed, run, how).await;
            house.world.clock().sleep(Duration::from_secs(5)).await;
            doomed.stop(Duration::from_secs(5)).await;
            assert_ne!(statuses(&house, "child").len(), 0);

            let engine = house.engine(registry);
            house.world.clock().sleep(Duration::from_secs(600)).await;
            let ended = if how == "killed" { "killed" } else { "cancelled" };
            assert_eq!(statuses(&house, "child"), [(ended.to_owned(), MANY)], "{how}, {told} told");
            assert!(view(&engine, run).await.status.ended() || how == "continued");
            house.audit().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_child_that_was_not_started_when_its_parent_ended_never_starts() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("note", &NOTE, &"child".to_owned()).await
    });
    registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.child::<_, u64>("child", "child", &()).await
    });
    // Commits: accepted; the child is never started.
    let run = house.crash(&registry, (2, false), "parent", &()).await;
    let operator = house.engine(house.registry());
    operator.kill(&tenant(), run, "olga", "test").await.expect("killed");
    let engine = house.engine(registry);
    house.world.clock().sleep(Duration::from_secs(600)).await;
    assert_eq!(statuses(&house, "child"), [("killed".to_owned(), 1)], "its place is taken");
    assert!(house.effects().is_empty());
    assert_eq!(engine.active(), 0);
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_for_a_while_fails_no_child() {
    let away =
        [CommitError::Unavailable("away".into()), CommitError::Unknown("lost".into()), CommitError::Held];
    // Within the patience of one commit, and beyond it.
    for (error, times) in away.iter().flat_map(|error| [(error, 2), (error, 9)]) {
        let house = House::new();
        let mut registry = house.registry();
        registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
            ctx.step("note", &NOTE, &"child".to_owned()).await
        });
        registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
            ctx.child::<_, u64>("child", "child", &()).await
        });
        let (refused, error) = (Arc::new(AtomicU32::new(0)), error.clone());
        let count = refused.clone();
        let log = Through::new(house.log.clone(), move |commit| {
            let starts = commit.listings.iter().any(
                |change| matches!(change, steadfast_log::ListingChange::Put(row) if row.kind == "child"),
            );
            (starts && count.fetch_add(1, Ordering::SeqCst) < times).then(|| error.clone())
        });
        let engine = house.node(Arc::new(log), registry);
        let run = accept(&engine, "parent", &()).await.run;
        assert_eq!(finish(&engine, run).await.status, Status::Completed);
        assert_eq!(refused.load(Ordering::SeqCst), times + 1);
        assert_eq!(house.effects(), ["child"]);
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_ends_in_the_turn_that_asks_leaves_no_child_behind() {
    let house = House::new();
    let mut registry = house.registry();
    families(&mut registry);
    registry.workflow("hasty", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        drop(ctx.child::<_, u64>("child", "child", &1_u64));
        Ok(1)
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "hasty", &()).await.run;
    finish(&engine, run).await;
    house.world.clock().sleep(Duration::from_secs(600)).await;
    assert_eq!(statuses(&house, "child"), []);
    reach(&engine, run, Status::Completed).await;
    assert!(house.log.head(&house.stream(run)).await.expect("reads") < 4);
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_asks_again_does_not_bring_its_child_back_from_the_dead() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("fail", &FAIL, &Failure::internal("test.broken", "broken")).await
    });
    registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.child::<_, u64>("child", "child", &()).await
    });
    // Their node dies as the child begins. Whoever takes them up gets the parent only once the
    // child is dead.
    let run = house.crash(&registry, (2, true), "parent", &()).await;
    assert_eq!(statuses(&house, "child"), [("running".to_owned(), 1)]);
    let (parent, log) = (run.to_string(), house.log.clone());
    let late = Through::new(house.log.clone(), move |commit| {
        let claims = commit.appends.iter().any(|append| {
            append.stream.name() == parent && append.events.iter().any(|event| event.kind == "run.claimed")
        });
        let lives = |row: &Listing| row.kind == "child" && row.status != "dead";
        (claims && log.derived().listings.values().any(lives))
            .then(|| CommitError::Unavailable("away".into()))
    });
    let engine = house.node(Arc::new(late), registry);
    assert_eq!(finish(&engine, run).await.status, Status::Dead);
    house.world.clock().sleep(Duration::from_secs(600)).await;
    assert_eq!(statuses(&house, "child"), [("dead".to_owned(), 1)]);
    let events = house.log.read_all(Position::START, usize::MAX).await.expect("reads").events;
    assert!(events.iter().all(|recorded| recorded.event.kind != "run.replayed"));
    house.audit().await;
}
