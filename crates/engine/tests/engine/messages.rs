use std::time::Duration;

use steadfast_engine::{Ctx, Data, Registry, Status, WorkflowOptions};
use uuid::Uuid;

use crate::house::{House, NOTE, UNDO_NOTE, accept, finish, reach, tenant, view};

fn value(n: u64) -> Data {
    Data::of(&n).expect("json")
}

#[tokio::test(start_paused = true)]
async fn signals_are_delivered_once_each_and_in_order() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("sum", 1, WorkflowOptions::default(), |ctx: Ctx, count: u64| async move {
        let mut seen = Vec::new();
        for i in 0..count {
            seen.push(ctx.signal::<u64>(("number", i), "number").await?);
        }
        Ok(seen)
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "sum", &3).await.run;
    let same = Some(Uuid::from_u128(7));
    let tenant_id = tenant();
    let sent = |id, n| engine.signal(&tenant_id, run, id, "ana", "number", value(n));
    assert_eq!(sent(same, 1).await, Ok(false));
    assert_eq!(sent(same, 1).await, Ok(true), "the same again counts once and is told so");
    assert_eq!(sent(same, 5).await.expect_err("another value").code, "idempotency_key_reused");
    for (id, n) in [(None, 2), (None, 3)] {
        engine.signal(&tenant(), run, id, "ana", "number", value(n)).await.expect("sent");
    }
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<Vec<u64>>(), Ok(vec![1, 2, 3]));
    let late = engine.signal(&tenant(), run, None, "ana", "number", value(4)).await.expect_err("ended");
    assert_eq!(late.code, "run.ended");
}

#[tokio::test(start_paused = true)]
async fn many_signals_at_once_lose_nothing() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("count", 1, WorkflowOptions::default(), |ctx: Ctx, count: u64| async move {
        let mut sum = 0;
        for i in 0..count {
            sum += ctx.signal::<u64>(("number", i), "number").await?;
            ctx.step(("note", i), &NOTE, &"n".to_owned()).await?;
        }
        Ok(sum)
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "count", &300).await.run;
    let sends = (0..300).map(|n| {
        let engine = engine.clone();
        async move { engine.signal(&tenant(), run, None, "ana", "number", value(n)).await }
    });
    for sent in futures::future::join_all(sends).await {
        sent.expect("sent");
    }
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<u64>(), Ok(299 * 300 / 2));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_waits_and_undoes_what_was_done() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("flow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("do", &NOTE, &"a".to_owned()).undo(&UNDO_NOTE, &"a".to_owned()).await?;
        let waited = ctx.signal::<u64>("go", "go").await;
        // Code may still tidy up after a cancel.
        ctx.step("tidy", &NOTE, &"tidy".to_owned()).await?;
        waited
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "flow", &()).await.run;
    reach(&engine, run, Status::Waiting).await;
    engine.cancel(&tenant(), run, None, "ana", "enough").await.expect("sent");
    assert_eq!(finish(&engine, run).await.status, Status::Cancelled);
    assert_eq!(house.effects(), ["a", "tidy", "undo a"]);
}

#[tokio::test(start_paused = true)]
async fn a_parents_cancel_reaches_its_children() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("do", &NOTE, &"child".to_owned()).undo(&UNDO_NOTE, &"child".to_owned()).await?;
        ctx.signal::<u64>("never", "never").await
    });
    registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.child::<_, u64>("child", "child", &()).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "parent", &()).await.run;
    reach(&engine, run, Status::Waiting).await;
    house.world.clock().sleep(Duration::from_secs(5)).await;
    engine.cancel(&tenant(), run, None, "ana", "enough").await.expect("sent");
    assert_eq!(finish(&engine, run).await.status, Status::Cancelled);
    house.world.clock().sleep(Duration::from_secs(5)).await;
    assert_eq!(house.effects(), ["child", "undo child"]);
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn children_give_their_results_across_restarts() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, n: u64| async move {
        ctx.sleep("nap", Duration::from_secs(100)).await?;
        ctx.step("note", &NOTE, &format!("child {n}")).await?;
        Ok(n * 10)
    });
    registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let children = (0..3).map(|n: u64| ctx.child::<_, u64>(("child", n), "child", &n));
        let mut sum = 0;
        for result in ctx.join_all(children).await {
            sum += result?;
        }
        Ok(sum)
    });
    for commits in 2..12 {
        let house = House { log: House::new().log, ..House::new() };
        let doomed = house.node(house.mortal(commits, commits % 2 == 0), registry.clone());
        let run = accept(&doomed, "parent", &()).await.run;
        doomed.world().clock().sleep(Duration::from_secs(30)).await;
        let engine = house.engine(registry.clone());
        let settled = finish(&engine, run).await;
        assert_eq!(settled.outcome.expect("a result").read::<u64>(), Ok(30), "crash at commit {commits}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_past_its_deadline_is_given_up() {
    let house = House::new();
    let mut registry = house.registry();
    let options = WorkflowOptions { deadline: Some(Duration::from_secs(600)), ..WorkflowOptions::default() };
    registry.workflow(
        "late",
        1,
        options,
        |ctx: Ctx, (): ()| async move { ctx.signal::<u64>("go", "go").await },
    );
    let engine = house.engine(registry);
    let run = accept(&engine, "late", &()).await.run;
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Dead);
    assert_eq!(settled.outcome.expect_err("given up").code, "run.deadline_exceeded");
    assert_eq!(
        view(&engine, run).await.created.after(Duration::from_secs(600)).seconds(),
        house.world.now().seconds()
    );
}

#[tokio::test(start_paused = true)]
async fn g7_a_child_that_was_not_started_before_a_crash_is_started_after_it() {
    for commits in 2..6 {
        for last_happens in [false, true] {
            let house = House::new();
            let mut registry = house.registry();
            registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
                ctx.step("note", &NOTE, &"child".to_owned()).await
            });
            registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
                ctx.child::<_, u64>("child", "child", &()).await
            });
            let run = house.crash(&registry, (commits, last_happens), "parent", &()).await;
            let engine = house.engine(registry);
            let status = finish(&engine, run).await.status;
            assert_eq!(status, Status::Completed, "crash at commit {commits}");
            house.audit().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_signal_reaches_a_run_that_is_in_memory() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("wait", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        Ok(ctx.signal::<String>("go", "go").await?.len())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "wait", &()).await.run;
    let large = Data::of(&"x".repeat(50_000)).expect("json");
    engine.signal(&tenant(), run, None, "ana", "go", large).await.expect("sent");
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<usize>(), Ok(50_000));
}

#[tokio::test(start_paused = true)]
async fn a_run_that_waits_again_after_a_signal_rests() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("wait", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<u64>("one", "go").await?;
        ctx.signal::<u64>("two", "go").await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "wait", &()).await.run;
    reach(&engine, run, Status::Waiting).await;
    engine.signal(&tenant(), run, None, "ana", "go", value(1)).await.expect("sent");
    house.world.clock().sleep(Duration::from_secs(600)).await;
    let rested = view(&engine, run).await.events;
    house.world.clock().sleep(Duration::from_secs(6_000)).await;
    assert_eq!(view(&engine, run).await.events, rested, "nothing is written while nothing happens");
    let due = house.log.derived().wake_ups.values().map(|wake_up| wake_up.due).collect::<Vec<_>>();
    assert_eq!(due, [steadfast_core::Time::NEVER], "nobody is to look before a signal comes");
    engine.signal(&tenant(), run, None, "ana", "go", value(2)).await.expect("sent");
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_saga_cancels_its_children_too() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("child", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<u64>("never", "never").await
    });
    registry.workflow("parent", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("do", &NOTE, &"a".to_owned()).undo(&UNDO_NOTE, &"a".to_owned()).await?;
        ctx.child::<_, u64>("child", "child", &()).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "parent", &()).await.run;
    house.world.clock().sleep(Duration::from_secs(5)).await;
    engine.cancel(&tenant(), run, None, "ana", "enough").await.expect("sent");
    finish(&engine, run).await;
    house.world.clock().sleep(Duration::from_secs(5)).await;
    let open = house.log.derived().listings.into_values().filter(|row| row.status == "waiting").count();
    assert_eq!(open, 0, "no child is left behind");
}

/// Takes one word a generation.
fn collecting(registry: &mut Registry) {
    registry.workflow(
        "collecting",
        1,
        WorkflowOptions::default(),
        |ctx: Ctx, mut got: Vec<u64>| async move {
            ctx.step("note", &NOTE, &format!("round {}", got.len())).await?;
            got.push(ctx.signal("word", "word").await?);
            if got.len() == 6 { Ok(got) } else { Err(ctx.continue_as_new(&got)) }
        },
    );
}

#[tokio::test(start_paused = true)]
async fn g7_signals_that_a_generation_did_not_take_go_on_to_the_next() {
    for commits in 1..=20 {
        for last_happens in [false, true] {
            let house = House::new();
            let mut registry = house.registry();
            collecting(&mut registry);
            let calm = house.engine(registry.clone());
            let run = accept(&calm, "collecting", &Vec::<u64>::new()).await.run;
            calm.stop(Duration::from_secs(1)).await;
            let doomed = house.node(house.mortal(commits, last_happens), registry.clone());
            for word in 0..6_u64 {
                calm.signal(&tenant(), run, None, "ana", "word", value(word)).await.expect("durable");
            }
            house.world.clock().sleep(Duration::from_secs(30)).await;
            drop(doomed);
            let engine = house.engine(registry);
            let settled = finish(&engine, run).await;
            let got: Vec<u64> = settled.outcome.expect("all came").read().expect("words");
            assert_eq!(got, [0, 1, 2, 3, 4, 5], "death at commit {commits}, which happened: {last_happens}");
            house.audit().await;
        }
    }
}
