use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use steadfast_core::{Failure, canonical::Hash};
use steadfast_engine::{Action, ActionOptions, Ctx, Data, Status, Update, WorkflowOptions};
use steadfast_log::{ClaimKey, Log, StreamId};
use tokio::sync::Semaphore;

use crate::{
    house::{BOOK, FAIL, House, NOTE, accept, finish, notes, start, tenant, view},
    through::Through,
};

#[tokio::test(start_paused = true)]
async fn a_run_of_five_steps_is_six_commits() {
    let house = House::new();
    let mut registry = house.registry();
    notes(&mut registry);
    let engine = house.engine(registry);
    let before = house.log.tail().borrow().n;
    let run = accept(&engine, "notes", &5).await.run;
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Completed);
    assert_eq!(settled.outcome.expect("a result").read::<u64>(), Ok(5));
    // Six commits: the first holds two events, `run.started` and the first turn.
    assert_eq!(house.log.tail().borrow().n - before, 7);
    assert_eq!(house.effects().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_retryable_failure_is_tried_again_under_the_same_key_and_then_gives_up() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("failing", 1, WorkflowOptions::default(), |ctx: Ctx, failure: Failure| async move {
        ctx.step("fail", &FAIL, &failure).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "failing", &Failure::upstream("test.down", "down")).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Dead);
    assert_eq!(house.keys().into_values().collect::<Vec<_>>(), [4], "one attempt and three retries, one key");

    let run = accept(&engine, "failing", &Failure::refused("test.no", "no")).await.run;
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Failed, "a refusal is an answer, not a dead letter");
    assert_eq!(settled.outcome.expect_err("failed").code, "test.no");
    assert_eq!(house.effects().len(), 5, "a refusal is not tried again");
    assert!(view(&engine, run).await.output.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_breaker_keeps_calls_away_from_an_owner_that_is_down() {
    let house = House::new();
    let down: Action<String, u64> = Action::new("test.payments");
    let mut registry = house.registry();
    let effects = house.effects.clone();
    let options = ActionOptions { policy: Some("payments"), ..ActionOptions::default() };
    registry.action(&down, options, move |task, what: String| {
        effects.lock().expect("effects").push((task.key.to_string(), what));
        async move { Err::<u64, _>(Failure::upstream("test.down", "down")) }
    });
    registry.workflow("pay", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("pay", &Action::<String, u64>::new("test.payments"), &"pay".to_owned()).await
    });
    let engine = house.engine(registry);
    for _ in 0..5 {
        let run = accept(&engine, "pay", &()).await.run;
        assert_eq!(finish(&engine, run).await.status, Status::Dead);
    }
    assert_eq!(house.effects().len(), 3, "three failures open it; the other runs never call");
}

#[tokio::test(start_paused = true)]
async fn g1_whatever_was_accepted_survives_a_crash_at_any_commit() {
    for last_happens in [false, true] {
        for commits in 2..10 {
            let house = House::new();
            let mut registry = house.registry();
            notes(&mut registry);
            let run = house.crash(&registry, (commits, last_happens), "notes", &5).await;

            let engine = house.engine(registry);
            let settled = finish(&engine, run).await;
            assert_eq!(settled.status, Status::Completed, "crash at commit {commits}");
            assert_eq!(house.keys().len(), 5, "five effects, each under its one key");
            house.audit().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g1_nothing_is_accepted_before_it_is_durable() {
    let house = House::new();
    let mut registry = house.registry();
    notes(&mut registry);
    let doomed = house.node(house.mortal(1, false), registry);
    let accepting = doomed.start(start("notes", &5));
    let answer = tokio::time::timeout(Duration::from_secs(60), accepting).await;
    assert!(answer.is_err(), "the commit never came, and yet the run was accepted");
    assert!(house.effects().is_empty(), "nothing acts before it is written");
}

#[tokio::test(start_paused = true)]
async fn g2_a_recorded_step_never_runs_again() {
    for last_happens in [false, true] {
        for commits in 2..8 {
            let house = House::new();
            let mut registry = house.registry();
            notes(&mut registry);
            let run = house.crash(&registry, (commits, last_happens), "notes", &5).await;
            let recorded = recorded_steps(&house, run).await;

            let engine = house.engine(registry);
            finish(&engine, run).await;
            let again: Vec<_> = house.keys().into_iter().filter(|(_, times)| *times > 1).collect();
            assert!(again.len() <= 1, "only the step that was under way may act again: {again:?}");
            for (key, _) in again {
                let step = key.rsplit('/').next().expect("a step");
                assert!(!recorded.iter().any(|known| known == step), "{step} was recorded and ran again");
            }
        }
    }
}

async fn recorded_steps(house: &House, run: steadfast_core::RunId) -> Vec<String> {
    let events = house.log.read_stream(&house.stream(run), 1, 1_000).await.expect("reads");
    let turns = events.iter().filter(|recorded| recorded.event.kind == "run.turn");
    let mut steps = Vec::new();
    for recorded in turns {
        let turn: serde_json::Value = serde_json::from_slice(&recorded.event.body).expect("json");
        for delivery in turn["d"].as_array().into_iter().flatten() {
            steps.extend(delivery["r"]["s"].as_str().map(str::to_owned));
        }
    }
    steps
}

#[tokio::test(start_paused = true)]
async fn g2_a_stale_owner_cannot_fork_the_history() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("pausing", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("before", &NOTE, &"before".to_owned()).await?;
        ctx.step("slow", &crate::house::SLOW, &30).await?;
        ctx.step("after", &NOTE, &"after".to_owned()).await
    });
    // The first owner keeps working while its lease is taken for lost.
    let first = house.engine(registry.clone());
    let run = accept(&first, "pausing", &()).await.run;
    house.world.clock().sleep(Duration::from_secs(1)).await;
    house.log.release(&format!("node/{}", first.node()), first.node()).await.expect("released");
    let second = house.engine(registry);
    let settled = finish(&second, run).await;
    assert_eq!(settled.status, Status::Completed);
    house.world.clock().sleep(Duration::from_secs(120)).await;
    let kinds = house.kinds(run).await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "run.claimed").count(), 1);
    let ends = recorded_ends(&house, run).await;
    assert_eq!(ends, 1, "one history, one end");
    house.audit().await;
    assert_eq!(house.effects().iter().filter(|what| *what == "before").count(), 1);
}

async fn recorded_ends(house: &House, run: steadfast_core::RunId) -> usize {
    let events = house.log.read_stream(&house.stream(run), 1, 1_000).await.expect("reads");
    let ends = |recorded: &&steadfast_log::Recorded| {
        serde_json::from_slice::<serde_json::Value>(&recorded.event.body).expect("json").get("o").is_some()
    };
    events.iter().filter(ends).count()
}

#[tokio::test(start_paused = true)]
async fn g3_an_effect_on_our_log_commits_with_its_record_and_happens_once() {
    for last_happens in [false, true] {
        for commits in 2..9 {
            let house = House::new();
            let book = |ctx: Ctx, (): ()| async move {
                let first = ctx.step("first", &BOOK, &"one".to_owned()).await?;
                let second = ctx.step("second", &BOOK, &"three".to_owned()).await?;
                Ok(first + second)
            };
            let mortal = house.mortal(commits, last_happens);
            let mut registry = house.registry();
            house.book_on(&mut registry, mortal.clone());
            registry.workflow("book", 1, WorkflowOptions::default(), book);
            let doomed = house.node(mortal, registry);
            let run = accept(&doomed, "book", &()).await.run;
            doomed.world().clock().sleep(Duration::from_secs(60)).await;

            let mut registry = house.registry();
            house.book_on(&mut registry, house.log.clone());
            registry.workflow("book", 1, WorkflowOptions::default(), book);
            let engine = house.engine(registry);
            let settled = finish(&engine, run).await;
            assert_eq!(settled.outcome.expect("a result").read::<u64>(), Ok(8), "crash at {commits}");
            let entries = house.log.head(&StreamId::new(&tenant(), "book", "one")).await.expect("reads");
            assert_eq!(entries, 2, "crash at commit {commits}: each entry exactly once");
            house.audit().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn g5_one_key_fifty_times_is_one_run_and_one_answer() {
    let house = House::new();
    let mut registry = house.registry();
    notes(&mut registry);
    let engine = house.engine(registry);
    let key = ClaimKey::new(&tenant(), "ana", "runs", "key-1");
    let request = |steps: u64| {
        let mut request = start("notes", &steps);
        request.key = Some((key, Hash::of(&steps).expect("json")));
        request
    };
    let starts = (0..50).map(|_| engine.start_and_wait(request(3), Duration::from_secs(60)));
    let answers = futures::future::join_all(starts).await;
    let (mut fresh, mut runs) = (0, std::collections::BTreeSet::new());
    for answer in answers {
        let (accepted, settled) = answer.expect("accepted");
        fresh += usize::from(!accepted.replayed);
        runs.insert(accepted.run);
        assert_eq!(settled.expect("ended").outcome.expect("a result").read::<u64>(), Ok(3));
    }
    assert_eq!((fresh, runs.len(), house.effects().len()), (1, 1, 3));

    let other = engine.start(request(4)).await.expect_err("another request");
    assert_eq!(other.code, "idempotency_key_reused");
    // Until 24 h after the end the key stands for the run; then it is free.
    house.world.clock().sleep(Duration::from_secs(23 * 3_600)).await;
    assert!(engine.start(request(3)).await.expect("the same run").replayed);
    house.world.clock().sleep(Duration::from_secs(2 * 3_600)).await;
    assert!(!engine.start(request(3)).await.expect("a new run").replayed);
}

#[tokio::test(start_paused = true)]
async fn g5_a_live_runs_key_never_expires_and_a_refusal_claims_nothing() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("wait", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<u64>("go", "go").await
    });
    let engine = house.engine(registry);
    let key = ClaimKey::new(&tenant(), "ana", "runs", "key-2");
    let mut request = start("wait", &());
    request.key = Some((key, Hash::of(&()).expect("json")));
    let mut unknown = request.clone();
    unknown.workflow = "wiat".into();
    let refused = engine.start(unknown).await.expect_err("unknown workflow");
    assert!(refused.message.contains("did you mean \"wait\""), "{}", refused.message);
    let first = engine.start(request.clone()).await.expect("the refusal claimed nothing");
    assert!(!first.replayed);
    house.world.clock().sleep(Duration::from_secs(90 * 24 * 3_600)).await;
    let again = engine.start(request).await.expect("the same run");
    assert_eq!((again.run, again.replayed), (first.run, true));
}

#[tokio::test(start_paused = true)]
async fn the_key_of_an_effect_is_remembered_while_the_run_may_need_it_and_no_longer() {
    let house = House::new();
    let mut registry = house.registry();
    house.book_on(&mut registry, house.log.clone());
    registry.workflow("book", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("entry", &BOOK, &"one".to_owned()).await?;
        ctx.signal::<()>("go", "go").await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "book", &()).await.run;
    house.world.clock().sleep(Duration::from_secs(90 * 24 * 3_600)).await;
    let key = steadfast_engine::EffectKey::of(run, 1, &"entry".into()).claim(&tenant());
    let live = async || {
        let claim = house.log.claim(key).await.expect("reads").expect("there");
        claim.live(house.world.now())
    };
    assert!(live().await, "the run goes on, and may be undone");
    let nothing = steadfast_engine::Data::null();
    engine.signal(&tenant(), run, None, "ana", "go", nothing).await.expect("sent");
    finish(&engine, run).await;
    assert!(live().await);
    house.world.clock().sleep(Duration::from_secs(25 * 3_600)).await;
    assert!(!live().await);
    house.audit().await;
}

/// Needs what the log needs too.
const SCARCE: Action<(), ()> = Action::new("test.scarce");

#[tokio::test(start_paused = true)]
async fn a_step_goes_on_while_its_run_waits_for_the_log() {
    let house = House::new();
    let scarce = Arc::new(Semaphore::new(1));
    let shared = Arc::new(Through::new(house.log.clone(), |_| None).sharing(scarce.clone()));
    let mut registry = house.registry();
    let sharing = scarce.clone();
    registry.action(&SCARCE, ActionOptions::once(Duration::from_secs(7_200)), move |_, ()| {
        let sharing = sharing.clone();
        async move {
            drop(sharing.acquire().await.expect("never closed"));
            Ok(())
        }
    });
    registry.workflow("flow", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        let (done, said) = ctx.join(ctx.step("scarce", &SCARCE, &()), ctx.signal::<u64>("go", "go")).await;
        done?;
        said
    });
    let (owner, other) = (house.node(shared.clone(), registry.clone()), house.engine(registry));
    house.world.clock().sleep(Duration::from_secs(1)).await;
    // It is taken: first the step queues for it, and then its run, which has something to read.
    let held = scarce.acquire().await.expect("never closed");
    let run = accept(&owner, "flow", &()).await.run;
    house.world.clock().sleep(Duration::from_secs(1)).await;
    assert_eq!(shared.queued.load(Ordering::SeqCst), 0, "nothing is read yet");
    let seven = Data::of(&7).expect("json");
    other.signal(&tenant(), run, None, "ana", "go", seven).await.expect("sent");
    while shared.queued.load(Ordering::SeqCst) == 0 {
        house.world.clock().sleep(Duration::from_secs(1)).await;
    }
    drop(held);
    assert_eq!(finish(&other, run).await.outcome.expect("a result").read::<u64>(), Ok(7));
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn listeners_are_told_that_a_step_ended_wherever_its_result_is_recorded() {
    let house = House::new();
    let mut registry = house.registry();
    house.book_on(&mut registry, house.log.clone());
    registry.workflow("both", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("outside", &NOTE, &"note".to_owned()).await?;
        ctx.step("on our log", &BOOK, &"entry".to_owned()).await
    });
    let engine = house.engine(registry);
    let mut updates = engine.updates();
    let run = accept(&engine, "both", &()).await.run;
    finish(&engine, run).await;
    let mut told = Vec::new();
    while let Ok((_, update)) = updates.try_recv() {
        match update {
            Update::StepStarted { step, .. } => told.push(format!("{step} started")),
            Update::StepEnded { step, ok } => told.push(format!("{step} ended {ok}")),
            _ => {}
        }
    }
    let expected = ["outside started", "outside ended true", "on our log started", "on our log ended true"];
    assert_eq!(told, expected);
}
