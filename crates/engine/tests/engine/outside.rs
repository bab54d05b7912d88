//! Steps that are done outside: the first answer wins, and whoever drives the run never notices.

use futures::future::join_all;
use steadfast_core::{RunId, TenantId, canonical::Hash};
use steadfast_engine::{Ctx, Data, Engine, OutsideStep, StepId, WorkflowOptions};
use steadfast_log::{Append, Commit, Expect, Log as _, NewEvent, StreamId};

use crate::house::{House, accept, finish, notes, tenant};

fn done(step: &str, answer: &str) -> OutsideStep {
    OutsideStep {
        step: StepId::from(step),
        request: Hash::of_bytes(step.as_bytes()),
        by: "ana".into(),
        answer: Data::of(answer).expect("json"),
    }
}

async fn look(engine: &Engine, run: RunId, step: &str) -> Result<Option<OutsideStep>, String> {
    let found = engine.outside_step(&tenant(), run, &StepId::from(step)).await;
    found.map_err(|failure| failure.code)
}

fn waiting(house: &House) -> Engine {
    let mut registry = house.registry();
    registry.workflow("wait", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<u64>("go", "go").await
    });
    house.engine(registry)
}

#[tokio::test(start_paused = true)]
async fn the_first_answer_is_the_one_that_everybody_gets_on_any_node() {
    let house = House::new();
    let nodes = [waiting(&house), waiting(&house)];
    let run = accept(&nodes[0], "wait", &()).await.run;
    assert_eq!(look(&nodes[1], run, "plan").await, Ok(None));
    // Large ones lie beside the log.
    let answers: Vec<String> = (0..8).map(|i| format!("answer {i} {}", "x".repeat(i * 10_000))).collect();
    let recording = answers.iter().enumerate().map(|(i, answer)| {
        let engine = &nodes[i % 2];
        async move { engine.record_outside(&tenant(), run, done("plan", answer)).await.expect("recorded") }
    });
    let told = join_all(recording).await;
    let first = look(&nodes[0], run, "plan").await.expect("there").expect("recorded");
    assert!(told.iter().all(|it| *it == first), "one of them was told something else");
    assert!(answers.contains(&first.answer.read::<String>().expect("text")));
    // Different steps at once are all recorded.
    let steps: Vec<String> = (0..8).map(|i| format!("step#{i}")).collect();
    let recording = steps.iter().enumerate().map(|(i, step)| {
        let engine = &nodes[i % 2];
        async move { engine.record_outside(&tenant(), run, done(step, step)).await }
    });
    for (step, recorded) in steps.iter().zip(join_all(recording).await) {
        assert_eq!(recorded.expect("recorded").answer.read::<String>().expect("text"), *step);
    }
    let story = nodes[0].explain(&tenant(), run).await.expect("told").to_string();
    assert!(story.contains("step step#7 was done outside by ana"), "{story}");
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_driven_meanwhile_takes_the_same_turns_and_no_other() {
    let house = House::new();
    let mut registry = house.registry();
    notes(&mut registry);
    let engine = house.engine(registry.clone());
    let alone = accept(&engine, "notes", &20_u64).await.run;
    finish(&engine, alone).await;
    let run = accept(&engine, "notes", &20_u64).await.run;
    let recording =
        (0..40).map(|i| {
            let engine = &engine;
            async move {
                engine.record_outside(&tenant(), run, done(&format!("s#{i}"), "x")).await.expect("recorded")
            }
        });
    let (settled, _) = tokio::join!(finish(&engine, run), join_all(recording));
    settled.outcome.expect("it completes");
    assert_eq!(house.kinds(run).await, house.kinds(alone).await);
    // Also one that dies and is taken up in between.
    let run = house.crash(&registry, (4, false), "notes", &6_u64).await;
    engine.record_outside(&tenant(), run, done("late", "x")).await.expect("recorded");
    finish(&engine, run).await.outcome.expect("it completes");
    assert!(house.keys().values().all(|times| *times <= 2));
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_not_there_or_not_theirs_or_over_or_full_takes_none() {
    let house = House::new();
    let engine = waiting(&house);
    let run = accept(&engine, "wait", &()).await.run;
    let missing = Err("run.not_found".to_owned());
    assert_eq!(look(&engine, RunId::next(&house.world), "plan").await, missing);
    let other: TenantId = "other".parse().expect("a tenant");
    let foreign = engine.outside_step(&other, run, &StepId::from("plan")).await;
    assert_eq!(foreign.map_err(|failure| failure.code), missing);

    engine.record_outside(&tenant(), run, done("plan", "x")).await.expect("recorded");
    let event = |i: usize| {
        let body = serde_json::to_vec(&done(&format!("s#{i}"), "x")).expect("json");
        NewEvent::new(&house.world, "run.outside_step", 1, body)
    };
    let stream = StreamId::new(&tenant(), "outside", run);
    for page in 0..27 {
        let events = (0..37).map(|i| event(page * 37 + i)).collect();
        let append = Append { stream: stream.clone(), expect: Expect::Any, events };
        house.log.commit(Commit { appends: vec![append], ..Commit::default() }).await.expect("written");
    }
    assert_eq!(look(&engine, run, "one more").await, Err("run.too_many_steps".into()));

    engine.kill(&tenant(), run, "olga", "enough").await.expect("killed");
    assert_eq!(look(&engine, run, "new").await, Err("run.ended".into()));
    let told = look(&engine, run, "plan").await.expect("there").expect("what was done is still told");
    assert_eq!(told, done("plan", "x"));
}
