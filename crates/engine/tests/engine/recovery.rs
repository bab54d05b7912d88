use std::time::Duration;

use steadfast_engine::{Ctx, Data, Status, WorkflowOptions};
use steadfast_log::{Commit, Expect, Log, NewEvent};

use crate::house::{House, NOTE, accept, finish, notes, reach, tenant};

fn sleeper(registry: &mut steadfast_engine::Registry) {
    registry.workflow("sleeper", 1, WorkflowOptions::default(), |ctx: Ctx, seconds: u64| async move {
        ctx.sleep("nap", Duration::from_secs(seconds)).await?;
        ctx.step("awake", &NOTE, &format!("awake {seconds}")).await
    });
}

#[tokio::test(start_paused = true)]
async fn g7_overdue_timers_are_due_at_once_and_in_due_order() {
    let house = House::new();
    let mut registry = house.registry();
    sleeper(&mut registry);
    let doomed = house.node(house.mortal(5, false), registry.clone());
    let mut runs = Vec::new();
    for seconds in [300, 100, 200] {
        runs.push(accept(&doomed, "sleeper", &seconds).await.run);
    }
    doomed.stop(Duration::from_secs(1)).await;
    house.world.clock().sleep(Duration::from_secs(1_000)).await;
    assert!(house.effects().is_empty());
    let config = steadfast_engine::EngineConfig { recovery_pace: 1, ..Default::default() };
    let engine = steadfast_engine::Engine::new(
        house.log.clone(),
        house.world.clone(),
        registry,
        config,
        steadfast_core::observe::silent(),
    );
    let running = engine.clone();
    tokio::spawn(async move { running.run().await });
    for run in runs {
        assert_eq!(finish(&engine, run).await.status, Status::Completed);
    }
    assert_eq!(house.effects(), ["awake 100", "awake 200", "awake 300"]);
}

#[tokio::test(start_paused = true)]
async fn g7_a_timer_fires_when_it_is_due_and_not_before() {
    let house = House::new();
    let mut registry = house.registry();
    sleeper(&mut registry);
    let engine = house.engine(registry);
    let began = house.world.now();
    let run = accept(&engine, "sleeper", &86_400).await.run;
    finish(&engine, run).await;
    let took = house.world.now().since(began);
    assert!(took >= Duration::from_secs(86_400), "{took:?}");
    assert!(took < Duration::from_secs(86_402), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn g7_a_cancel_survives_a_crash_right_after_it_was_sent() {
    let house = House::new();
    let began = house.world.now();
    let mut registry = house.registry();
    sleeper(&mut registry);
    // Commits: accept; then the cancel, whose answer is lost.
    let doomed = house.node(house.mortal(2, true), registry.clone());
    let run = accept(&doomed, "sleeper", &86_400).await.run;
    let cancel = doomed.clone();
    tokio::spawn(async move { cancel.cancel(&tenant(), run, None, "ana", "changed my mind").await });
    house.world.clock().sleep(Duration::from_secs(60)).await;
    let engine = house.engine(registry);
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Cancelled);
    assert_eq!(settled.outcome.expect_err("cancelled").code, "run.cancelled");
    let waited = house.world.now().since(began);
    assert!(waited < Duration::from_secs(600), "noticed only when the timer was due: {waited:?}");
    assert!(house.effects().is_empty());
}

#[tokio::test(start_paused = true)]
async fn g7_one_poisoned_run_becomes_a_dead_letter_and_delays_no_other() {
    let house = House::new();
    let mut registry = house.registry();
    sleeper(&mut registry);
    notes(&mut registry);
    let first = house.engine(registry.clone());
    let poisoned = accept(&first, "sleeper", &10).await.run;
    let healthy = accept(&first, "sleeper", &20).await.run;
    reach(&first, healthy, Status::Waiting).await;
    first.stop(Duration::from_secs(1)).await;
    let garbage = NewEvent::new(&house.world, "run.turn", 1, &b"{\"t\": \"nonsense\""[..]);
    let commit = Commit::append(house.stream(poisoned), Expect::Any, vec![garbage]);
    house.log.commit(commit).await.expect("written");

    let second = house.engine(registry);
    assert_eq!(finish(&second, healthy).await.status, Status::Completed);
    house.world.clock().sleep(Duration::from_secs(5)).await;
    let query = steadfast_log::ListQuery { tenant: tenant(), limit: 10, ..Default::default() };
    let (letters, _) = second.dead_letters(query).await.expect("listed");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].letter.run, Some(poisoned));
    assert_eq!(letters[0].letter.cause.code, "run.unreadable");
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_workflow_code_is_a_dead_letter_not_a_dead_node() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("panics", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("one", &NOTE, &"one".to_owned()).await?;
        let numbers: Vec<u64> = Vec::new();
        Ok(numbers[0])
    });
    notes(&mut registry);
    let engine = house.engine(registry);
    let run = accept(&engine, "panics", &()).await.run;
    let settled = finish(&engine, run).await;
    assert_eq!(
        (settled.status, settled.outcome.expect_err("dead").code.as_str()),
        (Status::Dead, "workflow.panicked")
    );
    let run = accept(&engine, "notes", &1).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_run_holds_nothing_in_memory() {
    let house = House::new();
    let mut registry = house.registry();
    sleeper(&mut registry);
    let engine = house.engine(registry);
    for _ in 0..50 {
        accept(&engine, "sleeper", &3_600).await;
    }
    house.world.clock().sleep(Duration::from_secs(10)).await;
    assert_eq!(engine.active(), 0);
    house.world.clock().sleep(Duration::from_secs(3_700)).await;
    assert_eq!(house.effects().len(), 50);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_waiting_runs_leaves_memory_as_fast_as_it_came() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("wait", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<u64>("go", "go").await
    });
    let engine = house.engine(registry.clone());
    let places = engine.config().max_active_runs;
    let mut runs = Vec::new();
    for _ in 0..places * 5 {
        runs.push(accept(&engine, "wait", &()).await.run);
        tokio::task::yield_now().await;
        assert!(engine.active() <= places + 1, "{} are in memory", engine.active());
    }
    house.world.clock().sleep(engine.config().keep_warm.get() + Duration::from_millis(10)).await;
    assert_eq!(engine.active(), 0, "none is left once the last of them was kept warm");
    engine.stop(Duration::from_secs(1)).await;

    let engine = house.engine(registry);
    for _ in 0..100 {
        house.world.clock().sleep(Duration::from_secs(1)).await;
        assert_eq!(engine.active(), 0, "a start takes up nothing that waits");
    }
    for run in runs.iter().step_by(100) {
        let go = Data::of(&7).expect("json");
        engine.signal(&tenant(), *run, None, "ana", "go", go).await.expect("sent");
        assert_eq!(finish(&engine, *run).await.status, Status::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn large_values_are_stored_once_beside_the_log_and_come_back() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("large", 1, WorkflowOptions::default(), |ctx: Ctx, text: String| async move {
        ctx.signal::<()>("go", "go").await?;
        Ok(text)
    });
    let engine = house.engine(registry);
    let text = "x".repeat(300_000);
    let run = accept(&engine, "large", &text).await.run;
    reach(&engine, run, Status::Waiting).await;
    house.world.clock().sleep(Duration::from_secs(5)).await;
    assert_eq!(engine.active(), 0, "read again from the log for the signal");
    engine.signal(&tenant(), run, None, "ana", "go", Data::null()).await.expect("sent");
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<String>(), Ok(text));
    let events = house.log.read_stream(&house.stream(run), 1, 100).await.expect("reads");
    let bytes: usize = events.iter().map(|recorded| recorded.event.body.len()).sum();
    assert!(bytes < 5_000, "{bytes} bytes inline");
    assert_eq!(house.log.derived().payload_refs.len(), 1, "input and result are one payload");
}
