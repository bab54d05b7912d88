//! Replaying the letters of compensations that gave up.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use steadfast_core::{Failure, RunId};
use steadfast_engine::{
    Action, ActionOptions, Ctx, DeadLetterView, Engine, LetterKind, Registry, Status, WorkflowOptions,
};
use steadfast_log::ListQuery;

use crate::house::{House, NOTE, accept, finish, tenant, view};

const UNDO: Action<String, ()> = Action::new("test.fragile_undo");
const FRAGILE: Action<(), ()> = Action::new("test.fragile");

/// A saga whose last step and whose undoing fail until all is healed.
fn fragile(house: &House, healed: &Arc<AtomicBool>) -> Registry {
    let mut registry = house.registry();
    let (effects, well) = (house.effects.clone(), healed.clone());
    registry.action(&UNDO, ActionOptions::default(), move |task, what: String| {
        effects.lock().expect("effects").push((task.key.to_string(), format!("undo {}", what.len())));
        assert!(task.undoes.is_some());
        let well = well.load(Ordering::SeqCst);
        async move { if well { Ok(()) } else { Err(Failure::internal("test.broken", "cannot be undone")) } }
    });
    let well = healed.clone();
    registry.action(&FRAGILE, ActionOptions::default(), move |_, ()| {
        let well = well.load(Ordering::SeqCst);
        async move { if well { Ok(()) } else { Err(Failure::internal("test.broken", "broken")) } }
    });
    registry.workflow("saga", 1, WorkflowOptions::default(), |ctx: Ctx, bytes: usize| async move {
        ctx.step("do", &NOTE, &"do".to_owned()).undo(&UNDO, &"x".repeat(bytes)).await?;
        ctx.step("fragile", &FRAGILE, &()).await
    });
    registry
}

async fn letters(engine: &Engine) -> Vec<DeadLetterView> {
    let query =
        ListQuery { tenant: tenant(), limit: 10, statuses: vec!["open".into()], ..ListQuery::default() };
    engine.dead_letters(query).await.expect("listed").0
}

async fn letter(engine: &Engine, kind: LetterKind) -> DeadLetterView {
    let letters = letters(engine).await;
    letters.into_iter().find(|letter| letter.letter.kind == kind).expect("an open letter")
}

async fn die(engine: &Engine, bytes: usize) -> RunId {
    let run = accept(engine, "saga", &bytes).await.run;
    assert_eq!(finish(engine, run).await.status, Status::Dead);
    run
}

#[tokio::test(start_paused = true)]
async fn g3_the_undo_of_an_earlier_generation_is_performed_from_its_letter() {
    let (house, healed) = (House::new(), Arc::new(AtomicBool::new(false)));
    let engine = house.engine(fragile(&house, &healed));
    // Large, so that the letter only refers to it.
    let run = die(&engine, 100_000).await;
    healed.store(true, Ordering::SeqCst);
    let dead = letter(&engine, LetterKind::Run).await;
    engine.replay(&tenant(), dead.id, "olga").await.expect("replayed");
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
    assert_eq!(view(&engine, run).await.generation, 2, "a compensation was tried: nothing of it is trusted");

    let undo = letter(&engine, LetterKind::Undo).await;
    engine.replay(&tenant(), undo.id, "olga").await.expect("undone");
    assert_eq!(house.effects(), ["do", "undo 100000", "do", "undo 100000"]);
    let undone = format!("{run}/1/do!undo");
    assert_eq!(house.keys().get(&undone), Some(&2), "the same key as at first");
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
    assert_eq!(letters(&engine).await, []);
    let again = engine.replay(&tenant(), undo.id, "olga").await.expect_err("closed");
    assert_eq!(again.code, "dead_letter.closed");
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn g4_an_undo_that_succeeds_from_its_letter_is_told_by_the_run() {
    let (house, healed) = (House::new(), Arc::new(AtomicBool::new(false)));
    let engine = house.engine(fragile(&house, &healed));
    let run = die(&engine, 10).await;
    let undo = letter(&engine, LetterKind::Undo).await;
    let failure = engine.replay(&tenant(), undo.id, "olga").await.expect_err("broken");
    assert_eq!(failure.code, "test.broken");
    assert_eq!(letters(&engine).await.len(), 2, "it is still open");
    healed.store(true, Ordering::SeqCst);
    engine.replay(&tenant(), undo.id, "olga").await.expect("undone");
    assert_eq!(house.kinds(run).await.last().map(String::as_str), Some("run.undone"));
    assert_eq!(view(&engine, run).await.status, Status::Dead);
    // What was undone is not built upon.
    let dead = letter(&engine, LetterKind::Run).await;
    engine.replay(&tenant(), dead.id, "olga").await.expect("replayed");
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
    assert_eq!(view(&engine, run).await.generation, 2);
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn g4_a_crash_in_the_middle_of_a_replay_leaves_the_letter_open() {
    for happens in [false, true] {
        let (house, healed) = (House::new(), Arc::new(AtomicBool::new(false)));
        let registry = fragile(&house, &healed);
        let engine = house.engine(registry.clone());
        let run = die(&engine, 10).await;
        engine.stop(Duration::from_secs(1)).await;
        healed.store(true, Ordering::SeqCst);
        let doomed = house.node(house.mortal(1, happens), registry.clone());
        let undo = letter(&doomed, LetterKind::Undo).await;
        let tenant = tenant();
        let died = doomed.replay(&tenant, undo.id, "olga");
        tokio::time::timeout(Duration::from_secs(60), died).await.expect_err("the dead do not answer");
        let engine = house.engine(registry);
        let open = letters(&engine).await.iter().any(|open| open.id == undo.id);
        assert_eq!(open, !happens, "open until it is written that it was done");
        if open {
            engine.replay(&tenant, undo.id, "olga").await.expect("undone");
        }
        let key = format!("{run}/1/do!undo");
        assert_eq!(house.keys().get(&key), Some(if happens { &2 } else { &3 }));
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_run_that_goes_on_is_undone() {
    let (house, healed) = (House::new(), Arc::new(AtomicBool::new(false)));
    let mut registry = fragile(&house, &healed);
    registry.workflow("slow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("a", &NOTE, &"a".to_owned()).undo(&crate::house::UNDO_NOTE, &"a".to_owned()).await?;
        let slow = ctx.step("b", &crate::house::SLOW, &600).undo(&crate::house::UNDO_NOTE, &"b".to_owned());
        ctx.timeout("patience", Duration::from_secs(5), slow).await;
        ctx.step("c", &NOTE, &"c".to_owned()).undo(&UNDO, &"c".to_owned()).await?;
        Err::<(), _>(Failure::refused("test.no", "no"))
    });
    // The undo of c gives up at once; that of b waits until b has come.
    let engine = house.engine(registry);
    let run = accept(&engine, "slow", &()).await.run;
    while letters(&engine).await.is_empty() {
        house.world.clock().sleep(Duration::from_millis(100)).await;
    }
    let undo = letter(&engine, LetterKind::Undo).await;
    if !view(&engine, run).await.status.ended() {
        let refused = engine.replay(&tenant(), undo.id, "olga").await.expect_err("too early");
        assert_eq!((refused.code.as_str(), refused.retryable), ("run.not_ended", true));
    }
    finish(&engine, run).await;
    healed.store(true, Ordering::SeqCst);
    engine.replay(&tenant(), undo.id, "olga").await.expect("undone");
    house.audit().await;
}
