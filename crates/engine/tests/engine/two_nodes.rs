use std::time::Duration;

use steadfast_engine::{Ctx, Data, Registry, Status, WorkflowOptions};

use crate::house::{House, NOTE, SLOW, UNDO_NOTE, accept, finish, reach, tenant, view};

fn value(n: u64) -> Data {
    Data::of(&n).expect("json")
}

fn sum(registry: &mut Registry) {
    registry.workflow("sum", 1, WorkflowOptions::default(), |ctx: Ctx, count: u64| async move {
        let mut sum = 0;
        for i in 0..count {
            let n = ctx.signal::<u64>(("number", i), "number").await?;
            ctx.step(("note", i), &NOTE, &format!("number {n}")).await?;
            sum += n;
        }
        Ok(sum)
    });
}

#[tokio::test(start_paused = true)]
async fn messages_sent_through_one_node_reach_a_run_of_another() {
    let house = House::new();
    let mut registry = house.registry();
    sum(&mut registry);
    let (a, b) = (house.engine(registry.clone()), house.engine(registry));
    house.world.clock().sleep(Duration::from_secs(1)).await;
    let run = accept(&a, "sum", &3).await.run;
    reach(&b, run, Status::Waiting).await;
    for n in 1..=3 {
        // At once, after it has left memory, and twice.
        let id = Some(uuid::Uuid::from_u128(u128::from(n)));
        for node in [&b, &b, &a] {
            node.signal(&tenant(), run, id, "ana", "number", value(n)).await.expect("sent");
        }
        house.world.clock().sleep(Duration::from_secs(200 * (n - 1))).await;
    }
    for node in [&b, &a] {
        let settled = finish(node, run).await;
        assert_eq!(settled.outcome.expect("a result").read::<u64>(), Ok(6));
    }
    assert_eq!(house.effects(), ["number 1", "number 2", "number 3"]);
    assert!(!house.kinds(run).await.contains(&"run.claimed".to_owned()), "its owner lived all the time");
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancel_through_another_node_does_not_wait_for_a_long_step() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("long", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let both = ctx.join(ctx.step("slow", &SLOW, &3_000), ctx.signal::<u64>("go", "go")).await;
        ctx.step("heard", &NOTE, &"heard".to_owned()).await?;
        both.1
    });
    let (a, b) = (house.engine(registry.clone()), house.engine(registry));
    house.world.clock().sleep(Duration::from_secs(1)).await;
    let run = accept(&a, "long", &()).await.run;
    house.world.clock().sleep(Duration::from_secs(100)).await;
    b.cancel(&tenant(), run, None, "ana", "enough").await.expect("sent");
    house.world.clock().sleep(Duration::from_secs(300)).await;
    assert_eq!(house.effects(), ["heard"]);
    assert_eq!(finish(&b, run).await.status, Status::Cancelled);
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_kill_through_another_node_is_told_to_those_who_wait() {
    let house = House::new();
    let mut registry = house.registry();
    sum(&mut registry);
    let (a, b) = (house.engine(registry.clone()), house.engine(registry));
    house.world.clock().sleep(Duration::from_secs(1)).await;
    let began = house.world.now();
    let waiting = a.clone();
    let asked = crate::house::start("sum", &1);
    let waits = tokio::spawn(async move { waiting.start_and_wait(asked, Duration::from_secs(50_000)).await });
    house.world.clock().sleep(Duration::from_secs(10)).await;
    let listings = house.log.derived().listings;
    let run = listings.keys().next().expect("a run").name().parse().expect("an id");
    b.kill(&tenant(), run, "olga", "test").await.expect("killed");
    let (_, settled) = waits.await.expect("no panic").expect("accepted");
    assert_eq!(settled.expect("told").status, Status::Killed);
    assert!(house.world.now().since(began) < Duration::from_secs(200));
}

#[tokio::test(start_paused = true)]
async fn g2_a_dead_nodes_runs_are_taken_over_after_its_lease_and_nothing_happens_twice() {
    for (commits, last_happens) in [2, 3, 4, 5, 6, 7].into_iter().flat_map(|n| [(n, false), (n, true)]) {
        let house = House::new();
        let mut registry = house.registry();
        registry.workflow("flow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
            for i in 0..3_u64 {
                let what = format!("note {i}");
                ctx.step(("note", i), &NOTE, &what).undo(&UNDO_NOTE, &what).await?;
                ctx.sleep(("nap", i), Duration::from_secs(20)).await?;
            }
            ctx.signal::<u64>("go", "go").await
        });
        let b = house.engine(registry.clone());
        let a = house.node(house.mortal(commits, last_happens), registry);
        house.world.clock().sleep(Duration::from_secs(1)).await;
        let run = accept(&a, "flow", &()).await.run;
        house.world.clock().sleep(Duration::from_secs(5)).await;
        b.signal(&tenant(), run, None, "ana", "go", value(7)).await.expect("sent");
        let settled = finish(&b, run).await;
        assert_eq!(settled.outcome.expect("a result").read::<u64>(), Ok(7), "death at commit {commits}");
        let keys = house.keys();
        assert_eq!(keys.len(), 3);
        // A step that was under way when its node died acts again, under the same key.
        assert!(keys.values().sum::<usize>() <= 4, "death at commit {commits}: {keys:?}");
        let claims = house.kinds(run).await.iter().filter(|kind| *kind == "run.claimed").count();
        assert!(claims <= 1, "one node took it over, once: {claims}");
        assert_eq!(view(&b, run).await.status, Status::Completed);
        house.audit().await;
    }
}
