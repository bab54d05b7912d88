use steadfast_engine::{Ctx, Status, WorkflowOptions};

use crate::house::{House, accept, finish, start};

#[tokio::test(start_paused = true)]
async fn a_run_with_too_many_turns_is_given_up() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("endless", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        for i in 0u64.. {
            ctx.step(("note", i), &crate::house::NOTE, &"n".to_owned()).await?;
        }
        Ok(())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "endless", &()).await.run;
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Dead);
    assert_eq!(settled.outcome.expect_err("given up").code, "run.too_many_turns");
    assert_eq!(house.effects().len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_starts_too_many_children_at_once_is_given_up() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("child", 1, WorkflowOptions::default(), |_: Ctx, (): ()| async move { Ok(()) });
    registry.workflow("many", 1, WorkflowOptions::default(), |ctx: Ctx, count: u64| async move {
        let children = (0..count).map(|n| ctx.child::<_, ()>(("child", n), "child", &()));
        Ok(ctx.join_all(children).await.into_iter().flatten().count())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "many", &50).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<u64>(), Ok(50));
    let run = accept(&engine, "many", &51).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect_err("refused").code, "run.too_many_children");
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused_before_acceptance() {
    let house = House::new();
    let mut registry = house.registry();
    crate::house::notes(&mut registry);
    let engine = house.engine(registry);
    let before = *steadfast_log::Log::tail(&*house.log).borrow();
    let wrong_input = engine.start(start("notes", &"five")).await.expect_err("refused");
    assert_eq!(wrong_input.code, "run.invalid_input");
    for (name, value) in [("bad label", "x"), ("label", "x\0")] {
        let mut labels = start("notes", &1);
        labels.labels.insert(name.into(), value.into());
        assert_eq!(engine.start(labels).await.expect_err("refused").code, "run.invalid_label");
    }
    assert_eq!(*steadfast_log::Log::tail(&*house.log).borrow(), before, "nothing was written");
}

#[tokio::test(start_paused = true)]
async fn a_tenant_with_too_many_open_runs_waits_until_some_have_ended() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("wait", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<u64>("go", "go").await
    });
    let config = steadfast_engine::EngineConfig { open_runs_per_tenant: 2, ..Default::default() };
    let silent = steadfast_core::observe::silent();
    let log = house.log.clone();
    let engine = steadfast_engine::Engine::new(log, house.world.clone(), registry, config, silent);
    let first = accept(&engine, "wait", &()).await.run;
    accept(&engine, "wait", &()).await;
    let refused = engine.start(start("wait", &())).await.expect_err("one too many");
    assert_eq!((refused.code.as_str(), refused.retryable), ("tenant.too_many_runs", true));
    let go = steadfast_engine::Data::of(&1).expect("json");
    engine.signal(&crate::house::tenant(), first, None, "ana", "go", go).await.expect("sent");
    finish(&engine, first).await;
    accept(&engine, "wait", &()).await;
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_leaves_half_way_leaves_no_run_half_begun() {
    let house = House::new();
    let mut registry = house.registry();
    crate::house::notes(&mut registry);
    let engine = house.engine(registry);
    {
        let starting = engine.start(start("notes", &3));
        tokio::pin!(starting);
        // One poll: the commit is on its way, and then nobody waits for it.
        assert!(futures::poll!(&mut starting).is_pending());
    }
    house.world.clock().sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(house.effects().len(), 3, "what was begun is finished");
    assert_eq!(engine.active(), 0);
}
