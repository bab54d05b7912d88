use std::time::Duration;

use steadfast_core::Failure;
use steadfast_engine::{Ctx, Either, Status, WorkflowOptions};

use crate::house::{FAIL, House, NOTE, SLOW, accept, finish, view};

#[tokio::test(start_paused = true)]
async fn parts_of_a_join_go_on_at_the_same_time() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("join", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let began = ctx.now();
        let slow = (0..4u64).map(|n| ctx.step(("slow", n), &SLOW, &(10 - n)));
        let results = ctx.join_all(slow).await;
        let results: Result<Vec<u64>, Failure> = results.into_iter().collect();
        Ok((results?, ctx.now().since(began).as_secs()))
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "join", &()).await.run;
    let result = finish(&engine, run).await.outcome.expect("a result");
    assert_eq!(result.read::<(Vec<u64>, u64)>(), Ok((vec![10, 9, 8, 7], 10)));
}

#[tokio::test(start_paused = true)]
async fn map_keeps_to_its_limit() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("map", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let began = ctx.now();
        let results = ctx.map((0..6u64).collect(), 2, |n| ctx.step(("slow", n), &SLOW, &10)).await;
        Ok((results.len(), ctx.now().since(began).as_secs()))
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "map", &()).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<(usize, u64)>(), Ok((6, 30)));
}

#[tokio::test(start_paused = true)]
async fn the_loser_of_a_race_is_abandoned_but_recorded() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("race", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let won = ctx.race(ctx.step("slow", &SLOW, &30), ctx.step("fast", &SLOW, &3)).await;
        ctx.sleep("rest", Duration::from_secs(60)).await?;
        Ok(matches!(won, Either::Right(Ok(3))))
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "race", &()).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<bool>(), Ok(true));
    assert_eq!(house.effects(), ["slow 3", "slow 30"]);
    assert_eq!(view(&engine, run).await.turns, 4, "start, the fast one, the slow one, the timer");
}

#[tokio::test(start_paused = true)]
async fn the_same_step_twice_fails_the_run() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("twice", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("note", &NOTE, &"a".to_owned()).await?;
        // The error is not one that code can swallow.
        let _ = ctx.step("note", &NOTE, &"b".to_owned()).await;
        Ok(())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "twice", &()).await.run;
    let settled = finish(&engine, run).await;
    assert_eq!(settled.outcome.expect_err("failed").code, "workflow.duplicate_step");
    assert_eq!(house.effects(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_the_code_handles_does_not_fail_the_run() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("handles", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let refused = ctx.step("fail", &FAIL, &Failure::refused("test.no", "no")).await;
        Ok(refused.is_err())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "handles", &()).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn continue_as_new_begins_again_with_an_empty_history() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("again", 1, WorkflowOptions::default(), |ctx: Ctx, left: u64| async move {
        ctx.step("note", &NOTE, &format!("left {left}")).await?;
        if left > 0 {
            return Err(ctx.continue_as_new(&(left - 1)));
        }
        Ok(ctx.info().generation)
    });
    for commits in [3, 4, 5, 6, 100] {
        let house = House { log: House::new().log, ..House::new() };
        let run = house.crash(&registry, (commits, true), "again", &3).await;
        let engine = house.engine(registry.clone());
        assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<u32>(), Ok(4));
        assert_eq!(view(&engine, run).await.turns, 2, "of the last generation");
    }
}

#[tokio::test(start_paused = true)]
async fn time_and_chance_are_the_same_on_every_replay() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("chance", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let before = (ctx.random(), ctx.now());
        ctx.step("one", &NOTE, &format!("{before:?}")).await?;
        ctx.sleep("nap", Duration::from_secs(100)).await?;
        ctx.step("two", &NOTE, &format!("{before:?} {}", ctx.random())).await?;
        Ok(())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "chance", &()).await.run;
    // Put out of memory during the nap: the code ran twice, and asked for the same.
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
    let effects = house.effects();
    assert!(effects[1].starts_with(&effects[0]), "{effects:?}");
}
