use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use steadfast_core::{Failure, RunId};
use steadfast_engine::{Action, ActionOptions, Ctx, DeadLetterId, Engine, Registry, Status, WorkflowOptions};
use steadfast_log::ListQuery;

use crate::house::{House, NOTE, UNDO_NOTE, accept, finish, reach, tenant, view};

const FRAGILE: Action<(), String> = Action::new("test.fragile");

fn fragile(house: &House, healed: &Arc<AtomicBool>) -> Registry {
    let mut registry = house.registry();
    let healed = healed.clone();
    registry.action(&FRAGILE, ActionOptions::default(), move |_, ()| {
        let healed = healed.load(Ordering::SeqCst);
        async move {
            if healed {
                Ok("fine".to_owned())
            } else {
                Err(Failure::internal("test.broken", "broken"))
            }
        }
    });
    registry
}

async fn only_letter(engine: &Engine) -> DeadLetterId {
    let query =
        ListQuery { tenant: tenant(), limit: 10, statuses: vec!["open".into()], ..ListQuery::default() };
    let (letters, _) = engine.dead_letters(query).await.expect("listed");
    assert_eq!(letters.len(), 1);
    letters[0].id
}

async fn replay_and_finish(engine: &Engine, run: RunId) -> Status {
    let letter = only_letter(engine).await;
    engine.replay(&tenant(), letter, "olga").await.expect("replayed");
    finish(engine, run).await.status
}

#[tokio::test(start_paused = true)]
async fn g3_a_replayed_dead_letter_goes_on_at_the_failed_step() {
    let house = House::new();
    let healed = Arc::new(AtomicBool::new(false));
    let mut registry = fragile(&house, &healed);
    registry.workflow("flow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("first", &NOTE, &"first".to_owned()).await?;
        let (fragile, beside) = ctx
            .join(ctx.step("fragile", &FRAGILE, &()), ctx.step("beside", &NOTE, &"beside".to_owned()))
            .await;
        beside?;
        let fragile = fragile?;
        ctx.step("last", &NOTE, &fragile).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "flow", &()).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Dead);
    healed.store(true, Ordering::SeqCst);
    assert_eq!(replay_and_finish(&engine, run).await, Status::Completed);
    assert_eq!(house.effects(), ["first", "beside", "fine"], "what was recorded did not run again");
    assert!(house.keys().keys().all(|key| key.contains("/1/")), "the generation is kept");
}

#[tokio::test(start_paused = true)]
async fn a_letter_replayed_through_another_node_is_worked_on_by_the_runs_owner() {
    let house = House::new();
    let healed = Arc::new(AtomicBool::new(false));
    let mut registry = fragile(&house, &healed);
    registry.workflow("flow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("fragile", &FRAGILE, &()).await
    });
    let (a, b) = (house.engine(registry.clone()), house.engine(registry));
    house.world.clock().sleep(Duration::from_secs(1)).await;
    let run = accept(&a, "flow", &()).await.run;
    assert_eq!(finish(&a, run).await.status, Status::Dead);
    healed.store(true, Ordering::SeqCst);
    assert_eq!(replay_and_finish(&b, run).await, Status::Completed);
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn g3_after_a_compensation_the_next_generation_starts_with_nothing_recorded() {
    let house = House::new();
    let healed = Arc::new(AtomicBool::new(false));
    let mut registry = fragile(&house, &healed);
    registry.workflow("flow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("first", &NOTE, &"first".to_owned()).undo(&UNDO_NOTE, &"first".to_owned()).await?;
        ctx.step("fragile", &FRAGILE, &()).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "flow", &()).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Dead);
    healed.store(true, Ordering::SeqCst);
    assert_eq!(replay_and_finish(&engine, run).await, Status::Completed);
    assert_eq!(house.effects(), ["first", "undo first", "first"]);
    house.audit().await;
    assert_eq!(house.keys().len(), 3, "the second first has a key of its own");
    assert_eq!(view(&engine, run).await.generation, 2);
}

#[tokio::test(start_paused = true)]
async fn g3_a_dead_child_is_replayed_with_its_parent() {
    let house = House::new();
    let healed = Arc::new(AtomicBool::new(false));
    let mut registry = fragile(&house, &healed);
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("fragile", &FRAGILE, &()).await
    });
    registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.child::<_, String>("child", "child", &()).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "parent", &()).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Dead);
    healed.store(true, Ordering::SeqCst);
    let query = ListQuery { tenant: tenant(), limit: 10, ..ListQuery::default() };
    let (letters, _) = engine.dead_letters(query).await.expect("listed");
    let parent = letters.iter().find(|letter| letter.letter.run == Some(run)).expect("the parent's letter");
    engine.replay(&tenant(), parent.id, "olga").await.expect("replayed");
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<String>(), Ok("fine".into()));
    // The child's own letter is not needed any more.
    let refused = engine.replay(&tenant(), only_letter(&engine).await, "olga").await.expect_err("completed");
    assert_eq!(refused.code, "dead_letter.cannot_replay");
}

#[tokio::test(start_paused = true)]
async fn a_dead_child_is_not_replayed_once_its_parent_has_gone_on_without_it() {
    for how in ["told", "undone"] {
        let house = House::new();
        let healed = Arc::new(AtomicBool::new(false));
        let mut registry = fragile(&house, &healed);
        registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
            ctx.step("fragile", &FRAGILE, &()).await
        });
        registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, how: String| async move {
            ctx.step("note", &NOTE, &"note".to_owned()).undo(&UNDO_NOTE, &"note".to_owned()).await?;
            match ctx.child::<_, String>("child", "child", &()).await {
                Err(failure) if how == "told" => Ok(failure.code),
                done => done,
            }
        });
        let engine = house.engine(registry);
        let run = accept(&engine, "parent", &how).await.run;
        let ended = if how == "told" { Status::Completed } else { Status::Dead };
        assert_eq!(finish(&engine, run).await.status, ended);
        healed.store(true, Ordering::SeqCst);
        let query = ListQuery { tenant: tenant(), limit: 10, ..ListQuery::default() };
        let (letters, _) = engine.dead_letters(query).await.expect("listed");
        let child = letters.iter().find(|letter| letter.letter.run != Some(run)).expect("the child's letter");
        let refused = engine.replay(&tenant(), child.id, "olga").await.expect_err(how);
        assert_eq!(refused.code, "dead_letter.cannot_replay", "{how}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_child_may_be_replayed_before_its_parent() {
    let house = House::new();
    let healed = Arc::new(AtomicBool::new(false));
    let mut registry = fragile(&house, &healed);
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("fragile", &FRAGILE, &()).await
    });
    registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.child::<_, String>("child", "child", &()).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "parent", &()).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Dead);
    healed.store(true, Ordering::SeqCst);
    let query = ListQuery { tenant: tenant(), limit: 10, ..ListQuery::default() };
    let (mut letters, _) = engine.dead_letters(query).await.expect("listed");
    letters.sort_by_key(|letter| letter.letter.run == Some(run));
    for letter in letters {
        engine.replay(&tenant(), letter.id, "olga").await.expect("replayed");
        finish(&engine, letter.letter.run.expect("a run's")).await;
    }
    assert_eq!(view(&engine, run).await.status, Status::Completed);
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_forgotten_after_fourteen_days() {
    let house = House::new();
    let mut registry = fragile(&house, &Arc::new(AtomicBool::new(false)));
    registry.workflow("flow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("fragile", &FRAGILE, &()).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "flow", &()).await.run;
    finish(&engine, run).await;
    let letter = only_letter(&engine).await;
    house.world.clock().sleep(Duration::from_secs(14 * 24 * 3_600 + 5)).await;
    let refused = engine.replay(&tenant(), letter, "olga").await.expect_err("expired");
    assert!(refused.message.contains("expired"));
}

#[tokio::test(start_paused = true)]
async fn g8_code_that_no_longer_matches_parks_the_run_until_code_that_does() {
    let house = House::new();
    let with = |swapped: bool| {
        let mut registry = house.registry();
        registry.workflow("flow", 1, WorkflowOptions::default(), move |ctx: Ctx, (): ()| async move {
            let names = if swapped { ["two", "one"] } else { ["one", "two"] };
            for name in names {
                ctx.step(name, &NOTE, &name.to_owned()).await?;
            }
            ctx.signal::<u64>("go", "go").await
        });
        registry
    };
    let first = house.engine(with(false));
    let run = accept(&first, "flow", &()).await.run;
    reach(&first, run, Status::Waiting).await;
    first.stop(Duration::from_secs(1)).await;

    let second = house.engine(with(true));
    second
        .signal(&tenant(), run, None, "olga", "go", steadfast_engine::Data::of(&7).expect("json"))
        .await
        .expect("sent");
    let parked = reach(&second, run, Status::Parked).await.parked.expect("why");
    assert_eq!((parked.code.as_str(), parked.turn), ("workflow.diverged", 0));
    assert!(parked.message.contains("one"), "{}", parked.message);
    second.stop(Duration::from_secs(1)).await;

    let third = house.engine(with(false));
    third.take_up_parked().await;
    assert_eq!(finish(&third, run).await.outcome.expect("a result").read::<u64>(), Ok(7));
    assert_eq!(house.effects(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn g8_patched_keeps_the_old_path_for_runs_that_passed_it() {
    let house = House::new();
    let with = |patch: bool| {
        let mut registry = house.registry();
        registry.workflow("flow", 1, WorkflowOptions::default(), move |ctx: Ctx, (): ()| async move {
            ctx.step("one", &NOTE, &"one".to_owned()).await?;
            if patch && ctx.patched("more") {
                ctx.step("more", &NOTE, &"more".to_owned()).await?;
            }
            ctx.signal::<u64>("go", "go").await
        });
        registry
    };
    let go = || steadfast_engine::Data::of(&7).expect("json");
    let first = house.engine(with(false));
    let old = accept(&first, "flow", &()).await.run;
    reach(&first, old, Status::Waiting).await;
    first.stop(Duration::from_secs(1)).await;

    let second = house.engine(with(true));
    let new = accept(&second, "flow", &()).await.run;
    for run in [old, new] {
        second.signal(&tenant(), run, None, "olga", "go", go()).await.expect("sent");
        assert_eq!(finish(&second, run).await.status, Status::Completed);
    }
    assert_eq!(house.effects(), ["one", "one", "more"]);
}

#[tokio::test(start_paused = true)]
async fn g8_code_without_a_patch_that_a_run_took_does_not_go_on_with_it() {
    let house = House::new();
    let with = |patch: bool| {
        let mut registry = house.registry();
        registry.workflow("flow", 1, WorkflowOptions::default(), move |ctx: Ctx, (): ()| async move {
            let more = patch && ctx.patched("more");
            ctx.signal::<u64>("go", "go").await?;
            let what = if more { "the new path" } else { "the old path" };
            ctx.step("act", &NOTE, &what.to_owned()).await
        });
        registry
    };
    let first = house.engine(with(true));
    let run = accept(&first, "flow", &()).await.run;
    reach(&first, run, Status::Waiting).await;
    first.stop(Duration::from_secs(1)).await;

    let older = house.engine(with(false));
    let go = steadfast_engine::Data::of(&7).expect("json");
    older.signal(&tenant(), run, None, "olga", "go", go).await.expect("sent");
    reach(&older, run, Status::Parked).await;
    older.stop(Duration::from_secs(1)).await;

    let newer = house.engine(with(true));
    assert_eq!(finish(&newer, run).await.status, Status::Completed);
    assert_eq!(house.effects(), ["the new path"]);
}

#[tokio::test(start_paused = true)]
async fn g8_runs_stay_with_the_version_they_began_with() {
    let house = House::new();
    let version = |registry: &mut Registry, version: u32| {
        registry.workflow("flow", version, WorkflowOptions::default(), move |ctx: Ctx, (): ()| async move {
            ctx.signal::<()>("go", "go").await?;
            Ok(version)
        });
    };
    let mut registry = house.registry();
    version(&mut registry, 1);
    let first = house.engine(registry.clone());
    let old = accept(&first, "flow", &()).await.run;
    first.stop(Duration::from_secs(1)).await;
    version(&mut registry, 2);
    let second = house.engine(registry);
    let new = accept(&second, "flow", &()).await.run;
    for (run, expected) in [(old, 1), (new, 2)] {
        second
            .signal(&tenant(), run, None, "olga", "go", steadfast_engine::Data::null())
            .await
            .expect("sent");
        assert_eq!(finish(&second, run).await.outcome.expect("a result").read::<u32>(), Ok(expected));
    }
}

#[tokio::test(start_paused = true)]
async fn g8_a_wait_for_something_that_is_no_step_parks_the_run() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("foreign", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("one", &NOTE, &"one".to_owned()).await?;
        std::future::pending::<()>().await;
        Ok(())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "foreign", &()).await.run;
    assert_eq!(reach(&engine, run, Status::Parked).await.parked.expect("why").code, "workflow.foreign_await");
}

#[tokio::test(start_paused = true)]
async fn g8_another_timeout_is_no_divergence() {
    let house = House::new();
    let with = |seconds: u64| {
        let mut registry = fragile(&house, &Arc::new(AtomicBool::new(true)));
        let quick: Action<(), ()> = Action::new("test.quick");
        let options = ActionOptions::once(Duration::from_secs(seconds));
        registry.action(&quick, options, |_, ()| async { Ok(()) });
        registry.workflow("flow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
            ctx.step("quick", &Action::<(), ()>::new("test.quick"), &()).await?;
            ctx.signal::<u64>("go", "go").await
        });
        registry
    };
    let first = house.engine(with(3));
    let run = accept(&first, "flow", &()).await.run;
    reach(&first, run, Status::Waiting).await;
    first.stop(Duration::from_secs(1)).await;
    let second = house.engine(with(30));
    assert!(second.check(|_| {}).await.expect("checked").passed());
}
