//! How long the claims of a run's effects are kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use steadfast_core::{Failure, RunId, Time};
use steadfast_engine::{
    Action, ActionOptions, Ctx, Engine, EngineConfig, LetterKind, Registry, Status, WorkflowOptions,
    effect_claim,
};
use steadfast_log::{ListQuery, Log as _};

use crate::house::{BOOK, FAIL, House, UNDO_NOTE, accept, finish, tenant, view};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const HOUR: Duration = Duration::from_secs(3_600);
const WELL: Action<(), ()> = Action::new("test.well");

/// Books so many entries, each with its compensation, and then fails as it is told.
fn books(house: &House, healed: &Arc<AtomicBool>) -> Registry {
    let mut registry = house.registry();
    house.book_on(&mut registry, house.log.clone());
    let healed = healed.clone();
    registry.action(&WELL, ActionOptions::default(), move |_, ()| {
        let healed = healed.load(Ordering::SeqCst);
        async move { if healed { Ok(()) } else { Err(Failure::internal("test.ill", "ill")) } }
    });
    registry.workflow("plain", 1, WorkflowOptions::default(), |ctx: Ctx, count: u64| async move {
        let entries = (0..count).map(|i| ctx.step(("entry", i), &BOOK, &i.to_string()));
        ctx.join_all(entries).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        ctx.step("well", &WELL, &()).await
    });
    registry.workflow("undone", 1, WorkflowOptions::default(), |ctx: Ctx, what: String| async move {
        ctx.step(("entry", 0), &BOOK, &what).undo(&UNDO_NOTE, &what).await?;
        ctx.step("refuse", &FAIL, &Failure::refused("test.no", "no")).await
    });
    registry.workflow("renewed", 1, WorkflowOptions::default(), |ctx: Ctx, generations: u64| async move {
        let generation = u64::from(ctx.info().generation);
        let entries = (0..40).map(|i| ctx.step(("entry", i), &BOOK, &i.to_string()));
        ctx.join_all(entries).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        if generation < generations { Err(ctx.continue_as_new(&generations)) } else { Ok(generation) }
    });
    registry.workflow("waiting", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step(("entry", 0), &BOOK, &"one".to_owned()).await?;
        ctx.signal::<()>("go", "go").await
    });
    registry
}

fn house() -> (House, Registry, Arc<AtomicBool>) {
    let (house, healed) = (House::new(), Arc::new(AtomicBool::new(true)));
    let registry = books(&house, &healed);
    (house, registry, healed)
}

/// It looks around twice an hour: weeks pass here.
fn engine(house: &House, registry: Registry) -> Engine {
    let poll = (HOUR / 2).into();
    let config = EngineConfig { poll, node_lease: HOUR.into(), ..EngineConfig::default() };
    let silent = steadfast_core::observe::silent();
    let engine = Engine::new(house.log.clone(), house.world.clone(), registry, config, silent);
    let running = engine.clone();
    tokio::spawn(async move { running.run().await });
    engine
}

/// When the claims of these entries lapse.
async fn lapse(house: &House, run: RunId, generation: u32, count: u64) -> Vec<Option<Time>> {
    let mut all = Vec::new();
    for i in 0..count {
        let key = effect_claim(&tenant(), &format!("{run}/{generation}/entry#{i}"));
        all.push(house.log.claim(key).await.expect("reads").expect("taken").expires);
    }
    all
}

async fn letters(engine: &Engine, kind: LetterKind) -> Vec<steadfast_engine::DeadLetterView> {
    let query = ListQuery { tenant: tenant(), limit: 10, ..ListQuery::default() };
    let (letters, _) = engine.dead_letters(query).await.expect("listed");
    letters.into_iter().filter(|letter| letter.letter.kind == kind).collect()
}

#[tokio::test(start_paused = true)]
async fn g5_the_keys_of_any_number_of_effects_lapse_a_day_after_the_end() {
    for (commits, happens) in [
        (100, false),
        (2, true),
        (203, false),
        (204, true),
        (205, false),
        (205, true),
        (206, false),
        (206, true),
    ] {
        let (house, registry, _) = house();
        let run = house.crash(&registry, (commits, happens), "plain", &200).await;
        let engine = engine(&house, registry);
        assert_eq!(finish(&engine, run).await.status, Status::Completed);
        let ended = view(&engine, run).await.updated;
        house.world.clock().sleep(HOUR).await;
        let lapses = lapse(&house, run, 1, 200).await;
        assert!(
            lapses.iter().all(|lapse| lapse.is_some_and(|at| at <= ended.after(DAY))),
            "crash at {commits}"
        );
        let left = house.log.derived().wake_ups.len();
        assert_eq!(left, 0, "nothing is left to do");
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn g4_the_keys_of_a_dead_run_are_kept_while_its_letter_may_be_replayed() {
    let (house, registry, healed) = house();
    healed.store(false, Ordering::SeqCst);
    let engine = engine(&house, registry);
    let run = accept(&engine, "plain", &3).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Dead);
    house.world.clock().sleep(DAY * 13).await;
    assert_eq!(lapse(&house, run, 1, 3).await, [None; 3]);
    let letter = letters(&engine, LetterKind::Run).await.remove(0);
    healed.store(true, Ordering::SeqCst);
    engine.replay(&tenant(), letter.id, "olga").await.expect("replayed");
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
    house.world.clock().sleep(HOUR).await;
    let lapses = lapse(&house, run, 1, 3).await;
    assert!(lapses.iter().all(Option::is_some), "it has ended for good");
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn g4_the_keys_of_a_dead_run_lapse_a_day_after_its_letter() {
    let (house, registry, healed) = house();
    healed.store(false, Ordering::SeqCst);
    let engine = engine(&house, registry);
    let run = accept(&engine, "plain", &3).await.run;
    finish(&engine, run).await;
    let died = view(&engine, run).await.updated;
    house.world.clock().sleep(DAY * 14 + HOUR).await;
    let letter = letters(&engine, LetterKind::Run).await.remove(0);
    assert_eq!(letter.status, "expired");
    for at in lapse(&house, run, 1, 3).await {
        let at = at.expect("settled");
        assert!(at >= died.after(DAY * 15) && at <= died.after(DAY * 15 + HOUR));
    }
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn g4_the_keys_of_an_undone_run_lapse_unless_an_undoing_gave_up() {
    for (what, kept) in [("meek", false), ("stubborn", true)] {
        let (house, registry, _) = house();
        let engine = engine(&house, registry);
        let run = accept(&engine, "undone", &what).await.run;
        assert_eq!(finish(&engine, run).await.status, Status::Failed);
        house.world.clock().sleep(DAY * 2).await;
        let lapses = lapse(&house, run, 1, 1).await;
        assert_eq!(lapses[0].is_none(), kept, "{what}");
        house.world.clock().sleep(DAY * 14).await;
        assert!(lapse(&house, run, 1, 1).await[0].is_some());
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn g5_the_keys_of_all_generations_and_of_killed_runs_lapse() {
    let (house, registry, _) = house();
    let engine = engine(&house, registry);
    let run = accept(&engine, "renewed", &3).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Completed);
    let killed = accept(&engine, "waiting", &()).await.run;
    house.world.clock().sleep(HOUR).await;
    engine.kill(&tenant(), killed, "olga", "test").await.expect("killed");
    house.world.clock().sleep(HOUR).await;
    for generation in 1..4 {
        let lapses = lapse(&house, run, generation, 40).await;
        assert!(lapses.iter().all(Option::is_some), "generation {generation}");
    }
    assert!(lapse(&house, killed, 1, 1).await[0].is_some());
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_not_replayed_once_its_keys_lapse() {
    let (house, registry, healed) = house();
    healed.store(false, Ordering::SeqCst);
    let engine = engine(&house, registry.clone());
    let run = accept(&engine, "undone", &"stubborn").await.run;
    finish(&engine, run).await;
    let letter = letters(&engine, LetterKind::Undo).await.remove(0);
    house.world.clock().sleep(DAY * 15).await;
    let refused = engine.replay(&tenant(), letter.id, "olga").await.expect_err("too late");
    assert_eq!(refused.code, "dead_letter.closed");
    house.audit().await;
}
