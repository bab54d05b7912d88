use std::time::Duration;

use steadfast_core::Failure;
use steadfast_engine::{Ctx, LetterKind, Registry, Status, WorkflowOptions};
use steadfast_log::ListQuery;

use crate::house::{FAIL, House, NOTE, SLOW, UNDO_NOTE, accept, finish, reach, tenant, view};

/// Three steps that can be undone, then a refusal.
fn saga(registry: &mut Registry) {
    registry.workflow("saga", 1, WorkflowOptions::default(), |ctx: Ctx, names: Vec<String>| async move {
        for name in &names {
            ctx.step(("do", name), &NOTE, name).undo(&UNDO_NOTE, name).await?;
        }
        ctx.step("refuse", &FAIL, &Failure::refused("test.no", "no")).await
    });
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn g4_a_failed_run_is_undone_newest_first() {
    let house = House::new();
    let mut registry = house.registry();
    saga(&mut registry);
    let engine = house.engine(registry);
    let run = accept(&engine, "saga", &names(&["a", "b", "c"])).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Failed);
    assert_eq!(house.effects(), ["a", "b", "c", "test.no", "undo c", "undo b", "undo a"]);
}

#[tokio::test(start_paused = true)]
async fn g4_compensation_survives_a_crash_at_any_commit() {
    for last_happens in [false, true] {
        for commits in 2..14 {
            let house = House::new();
            let mut registry = house.registry();
            saga(&mut registry);
            let run = house.crash(&registry, (commits, last_happens), "saga", &names(&["a", "b", "c"])).await;

            let engine = house.engine(registry);
            assert_eq!(finish(&engine, run).await.status, Status::Failed, "crash at commit {commits}");
            let undone: Vec<_> =
                house.effects().into_iter().filter(|what| what.starts_with("undo")).collect();
            let mut once = undone.clone();
            once.dedup();
            assert_eq!(once, ["undo c", "undo b", "undo a"], "crash at commit {commits}: {undone:?}");
            assert!(undone.len() <= 4, "only the one under way may act again");
            house.audit().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g4_a_step_that_never_finished_is_undone_too() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("racing", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let slow = ctx.step("slow", &SLOW, &600).undo(&UNDO_NOTE, &"slow".to_owned());
        ctx.timeout("patience", Duration::from_secs(5), slow).await;
        Err::<(), _>(Failure::refused("test.tired", "waited long enough"))
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "racing", &()).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Failed);
    assert_eq!(house.effects(), ["slow 600", "undo slow"], "its result is recorded first, then it is undone");
}

#[tokio::test(start_paused = true)]
async fn g4_an_unfinished_step_outside_is_given_its_deadline_after_a_crash() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("crashing", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let slow = ctx.step("slow", &SLOW, &1_800).undo(&UNDO_NOTE, &"slow".to_owned());
        ctx.race(slow, ctx.sleep("soon", Duration::from_secs(1))).await;
        Err::<(), _>(Failure::refused("test.tired", "waited long enough"))
    });
    // Commits: accepted with the first turn, then the turn that fails, which happens; then the
    // node is cut off while the slow step is going on. It may act until its deadline, and does.
    let doomed = house.node(house.mortal(2, true), registry.clone());
    let began = house.world.now();
    let run = accept(&doomed, "crashing", &()).await.run;
    doomed.world().clock().sleep(Duration::from_secs(100)).await;
    let engine = house.engine(registry);
    finish(&engine, run).await;
    assert_eq!(house.effects(), ["slow 1800", "undo slow"]);
    let waited = house.world.now().since(began);
    assert!(waited >= Duration::from_secs(3_600), "undone after {waited:?}, before the deadline");
}

#[tokio::test(start_paused = true)]
async fn g4_a_compensation_that_gives_up_is_a_dead_letter_and_the_next_starts() {
    let house = House::new();
    let mut registry = house.registry();
    saga(&mut registry);
    let engine = house.engine(registry);
    let run = accept(&engine, "saga", &names(&["a", "stubborn", "c"])).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Failed);
    assert_eq!(house.effects()[4..], ["undo c", "undo stubborn", "undo a"]);
    let query = ListQuery { tenant: tenant(), limit: 10, ..ListQuery::default() };
    let (letters, _) = engine.dead_letters(query).await.expect("listed");
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].letter.kind, LetterKind::Undo);
    assert_eq!(letters[0].letter.cause.code, "test.stubborn");

    // Replayed, it is tried again, and its letter stays as long as that fails.
    for tries in 2..4 {
        let failure = engine.replay(&tenant(), letters[0].id, "olga").await.expect_err("stubborn");
        assert_eq!(failure.code, "test.stubborn");
        assert_eq!(house.effects().iter().filter(|what| *what == "undo stubborn").count(), tries);
    }
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn killing_undoes_nothing_and_says_so() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("waiting", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("do", &NOTE, &"a".to_owned()).undo(&UNDO_NOTE, &"a".to_owned()).await?;
        ctx.signal::<u64>("go", "go").await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "waiting", &()).await.run;
    reach(&engine, run, Status::Waiting).await;
    engine.kill(&tenant(), run, "olga", "test").await.expect("killed");
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Killed);
    assert!(settled.outcome.expect_err("killed").message.contains("not compensated"));
    assert_eq!(house.effects(), ["a"]);
    assert!(view(&engine, run).await.waiting_for.is_empty());
}
