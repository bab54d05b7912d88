use steadfast_engine::{Ctx, Status, WorkflowOptions};

use crate::house::{House, accept, finish, start};

#[tokio::test(start_paused = true)]
async fn a_run_with_too_many_turns_is_given_up() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow(
        "endless",
        1,
        WorkflowOptions::default(),
        |ctx: Ctx, (): ()| async move {
            for i in 0u64.. {
                ctx.step(("note", i), &crate::house::NOTE, &"n".to_owned())
                    .await?;
            }
            Ok(())
        },
    );
    let engine = house.engine(registry);
    let run = accept(&engine, "endless", &()).await.run;
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Dead);
    assert_eq!(
        settled.outcome.expect_err("given up").code,
        "run.too_many_turns"
    );
    assert_eq!(house.effects().len(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_starts_too_many_children_at_once_is_given_up() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow(
        "child",
        1,
        WorkflowOptions::default(),
        |_: Ctx, (): ()| async move { Ok(()) },
    );
    registry.workflow(
        "many",
        1,
        WorkflowOptions::default(),
        |ctx: Ctx, count: u64| async move {
            let children = (0..count).map(|n| ctx.child::<_, ()>(("child", n), "child", &()));
            Ok(ctx.join_all(children).await.into_iter().flatten().count())
        },
    );
    let engine = house.engine(registry);
    let run = accept(&engine, "many", &50).await.run;
    assert_eq!(
        finish(&engine, run)
            .await
            .outcome
            .expect("a result")
            .read::<u64>(),
        Ok(50)
    );
    let run = accept(&engine, "many", &51).await.run;
    assert_eq!(
        finish(&engine, run)
            .await
            .outcome
            .expect_err("refused")
            .code,
        "run.too_many_children"
    );
}

#[tokio::test(start_paused = true)]
async fn bad_requests_are_refused_before_acceptance() {
    let house = House::new();
    let mut registry = house.registry();
    crate::house::notes(&mut registry);
    let engine = house.engine(registry);
    let before = *steadfast_log::Log::tail(&*house.log).borrow();
    let wrong_input = engine
        .start(start("notes", &"five"))
        .await
        .expect_err("refused");
    assert_eq!(wrong_input.code, "run.invalid_input");
    let mut labels = start("notes", &1);
    labels.labels.insert("bad label".into(), "x".into());
    assert_eq!(
        engine.start(labels).await.expect_err("refused").code,
        "run.invalid_label"
    );
    assert_eq!(
        *steadfast_log::Log::tail(&*house.log).borrow(),
        before,
        "nothing was written"
    );
}
