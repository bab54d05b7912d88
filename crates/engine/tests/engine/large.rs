//! What is too large for a commit: values go beside the log, and what arrives together is
//! delivered over several turns.

use std::{collections::BTreeSet, time::Duration};

use steadfast_core::Failure;
use steadfast_engine::{Action, ActionOptions, Ctx, Data, Record, Registry, Status, WorkflowOptions};
use steadfast_log::{Commit, ListQuery, Log as _, Position};

use crate::house::{House, NOTE, UNDO_NOTE, accept, finish, tenant};

/// Answers with so many bytes.
const LARGE: Action<usize, String> = Action::new("test.large");
/// The same, as a commit on our own log.
const LARGE_ENTRY: Action<usize, String> = Action::new("test.large_entry");
/// Answers a conversation with so many bytes, unlike any answer before.
const ANSWER: Action<Vec<String>, String> = Action::new("test.answer");
const MIB: usize = 1024 * 1024;

fn large(house: &House) -> Registry {
    let mut registry = house.registry();
    let effects = house.effects.clone();
    registry.action(&LARGE, ActionOptions::default(), move |task, bytes: usize| {
        effects.lock().expect("effects").push((task.key.to_string(), "large".into()));
        async move { Ok("x".repeat(bytes)) }
    });
    registry
}

fn plain() -> WorkflowOptions {
    WorkflowOptions::default()
}

#[tokio::test(start_paused = true)]
async fn a_childs_large_result_reaches_its_parent() {
    let house = House::new();
    let mut registry = large(&house);
    registry.workflow("child", 1, plain(), |ctx: Ctx, bytes: usize| async move {
        ctx.step("large", &LARGE, &bytes).await
    });
    registry.workflow("parent", 1, plain(), |ctx: Ctx, bytes: usize| async move {
        Ok(ctx.child::<_, String>("child", "child", &bytes).await?.len())
    });
    for commits in 2..7 {
        let house = House { log: House::new().log, ..House::new() };
        let run = house.crash(&registry, (commits, commits % 2 == 0), "parent", &MIB).await;
        let settled = finish(&house.engine(registry.clone()), run).await;
        assert_eq!(settled.outcome.expect("a result").read::<usize>(), Ok(MIB), "crash at commit {commits}");
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn results_that_come_together_are_delivered_over_several_turns() {
    let bytes: usize = 15 * 1024;
    for commits in 2..9 {
        let house = House::new();
        let mut registry = large(&house);
        registry.workflow("fan", 1, plain(), |ctx: Ctx, (count, bytes): (usize, usize)| async move {
            let steps = (0..count).map(|i| ctx.step(("large", i), &LARGE, &bytes));
            let results = ctx.join_all(steps).await.into_iter().collect::<Result<Vec<_>, _>>()?;
            Ok(results.iter().map(String::len).sum::<usize>())
        });
        let run = house.crash(&registry, (commits, commits % 2 == 0), "fan", &(60, bytes)).await;
        let settled = finish(&house.engine(registry), run).await;
        assert_eq!(settled.outcome.expect("a result").read::<usize>(), Ok(60 * bytes));
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_values_beside_the_log_are_delivered_over_several_turns() {
    let house = House::new();
    let mut registry = large(&house);
    registry.workflow("fan", 1, plain(), |ctx: Ctx, count: usize| async move {
        // Each of another length, so that each is stored for itself.
        let steps = (0..count).map(|i| ctx.step(("large", i), &LARGE, &(40_000 + i)));
        let results = ctx.join_all(steps).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(results.iter().map(String::len).sum::<usize>())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "fan", &100).await.run;
    let sum = (0..100).map(|i| 40_000 + i).sum::<usize>();
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<usize>(), Ok(sum));
}

#[tokio::test(start_paused = true)]
async fn what_follows_many_timers_at_once_is_asked_for_over_several_turns() {
    for commits in 2..9 {
        let house = House::new();
        let mut registry = house.registry();
        registry.workflow("timers", 1, plain(), |ctx: Ctx, count: u64| async move {
            let parts = (0..count).map(|i| {
                let ctx = ctx.clone();
                async move {
                    ctx.sleep(("nap", i), Duration::from_secs(10)).await?;
                    ctx.step(("note", i), &NOTE, &"n".repeat(10_000)).await
                }
            });
            Ok(ctx.join_all(parts).await.into_iter().flatten().count())
        });
        let run = house.crash(&registry, (commits, commits % 2 == 0), "timers", &60).await;
        let settled = finish(&house.engine(registry), run).await;
        assert_eq!(settled.outcome.expect("a result").read::<usize>(), Ok(60), "crash at commit {commits}");
        assert_eq!(house.keys().len(), 60);
        house.audit().await;
    }
}

#[tokio::test(start_paused = true)]
async fn timers_that_are_due_together_may_start_many_children() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("child", 1, plain(), |_: Ctx, n: u64| async move { Ok(n) });
    registry.workflow("parent", 1, plain(), |ctx: Ctx, count: u64| async move {
        let parts = (0..count).map(|i| {
            let ctx = ctx.clone();
            async move {
                ctx.sleep(("nap", i), Duration::from_secs(10)).await?;
                ctx.child::<_, u64>(("child", i), "child", &i).await
            }
        });
        Ok(ctx.join_all(parts).await.into_iter().flatten().count())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "parent", &80).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<usize>(), Ok(80));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_no_store_would_take_is_the_steps_failure() {
    let house = House::new();
    let mut registry = large(&house);
    registry.workflow("large", 1, plain(), |ctx: Ctx, bytes: usize| async move {
        match ctx.step("large", &LARGE, &bytes).await {
            Err(failure) if failure.code == "step.result_too_large" => Ok("told"),
            _ => Ok("not told"),
        }
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "large", &(5 * MIB)).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<String>(), Ok("told".into()));
    assert_eq!(house.effects().len(), 1, "it is not tried again");
}

#[tokio::test(start_paused = true)]
async fn a_failure_with_a_long_story_is_recorded_in_short() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("talk", 1, plain(), |ctx: Ctx, (): ()| async move {
        let failures = (0..20).map(|i| {
            let failure = Failure::refused("test.talk", "é".repeat(MIB / 20));
            ctx.step(("talk", i), &crate::house::FAIL, &failure)
        });
        let mut told = ctx.join_all(failures).await.into_iter().filter_map(Result::err);
        Err::<(), _>(told.next_back().map_or_else(
            || Failure::refused("test.none", ""),
            |last| Failure { message: last.message.repeat(10_000), ..last },
        ))
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "talk", &()).await.run;
    let failure = finish(&engine, run).await.outcome.expect_err("refused");
    assert_eq!(failure.code, "test.talk");
    assert!(failure.message.len() < 4_096);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_asks_for_too_much_ends_the_run_and_nothing_of_it_happens() {
    let house = House::new();
    let mut registry = house.registry();
    registry.workflow("greedy", 1, plain(), |ctx: Ctx, (): ()| async move {
        ctx.step("first", &NOTE, &"first".to_owned()).await?;
        let input = "n".repeat(10_000);
        let steps = (0..60).map(|i| ctx.step(("note", i), &NOTE, &input).undo(&UNDO_NOTE, &input));
        Ok(ctx.join_all(steps).await.len())
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "greedy", &()).await.run;
    let settled = finish(&engine, run).await;
    assert_eq!(settled.status, Status::Dead);
    assert_eq!(settled.outcome.expect_err("given up").code, "run.turn_too_large");
    assert_eq!(house.effects(), ["first"]);
    let query = ListQuery { tenant: tenant(), limit: 10, ..ListQuery::default() };
    assert_eq!(engine.dead_letters(query).await.expect("listed").0.len(), 1);
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn the_large_result_of_an_effect_on_our_log_is_stored_beside_it() {
    let house = House::new();
    let mut registry = house.registry();
    let log = house.log.clone();
    let options = ActionOptions::default();
    registry.commit_action(&LARGE_ENTRY, options, move |_, bytes: usize, record: Record<String>| {
        let log = log.clone();
        async move {
            let outcome = Ok("x".repeat(bytes));
            assert_eq!(record.append(&outcome).expect_err("large").code, "step.result_too_large");
            let mut commit = Commit::default();
            let place = record.join(&mut commit, &outcome)?;
            let committed =
                log.commit(commit).await.map_err(|error| steadfast_core::Coded::failure(&error))?;
            record.committed(&outcome, &committed, place)
        }
    });
    registry.workflow("large", 1, plain(), |ctx: Ctx, bytes: usize| async move {
        let first = ctx.step("large", &LARGE_ENTRY, &bytes).await?.len();
        ctx.sleep("nap", Duration::from_secs(600)).await?;
        Ok(first)
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "large", &MIB).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<usize>(), Ok(MIB));
}

#[tokio::test(start_paused = true)]
async fn a_large_result_that_comes_after_the_failure_is_recorded_before_the_undoing() {
    let house = House::new();
    let mut registry = house.registry();
    let slow: Action<(), String> = Action::new("test.slow_large");
    let world = house.world.clone();
    registry.action(&slow, ActionOptions::once(Duration::from_secs(60)), move |_, ()| {
        let world = world.clone();
        async move {
            world.clock().sleep(Duration::from_secs(5)).await;
            Ok("x".repeat(MIB))
        }
    });
    registry.workflow("racing", 1, plain(), |ctx: Ctx, (): ()| async move {
        let slow = Action::<(), String>::new("test.slow_large");
        let slow = ctx.step("slow", &slow, &()).undo(&UNDO_NOTE, &"slow".to_owned());
        ctx.timeout("patience", Duration::from_secs(1), slow).await;
        Err::<(), _>(Failure::refused("test.tired", "waited long enough"))
    });
    let engine = house.engine(registry);
    let began = house.world.now();
    let run = accept(&engine, "racing", &()).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Failed);
    assert_eq!(house.effects(), ["undo slow"]);
    assert_eq!(house.world.now().since(began).as_secs(), 5, "nobody waited for its deadline");
}

#[tokio::test(start_paused = true)]
async fn the_letter_of_an_undo_with_a_large_input_is_written() {
    let house = House::new();
    let mut registry = house.registry();
    let broken: Action<String, ()> = Action::new("test.broken_undo");
    registry.action(&broken, ActionOptions::default(), |_, _: String| async {
        Err(Failure::internal("test.broken", "cannot be undone"))
    });
    registry.workflow("saga", 1, plain(), |ctx: Ctx, bytes: usize| async move {
        let broken = Action::<String, ()>::new("test.broken_undo");
        ctx.step("do", &NOTE, &"a".to_owned()).undo(&broken, &"x".repeat(bytes)).await?;
        Err::<(), _>(Failure::refused("test.no", "no"))
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "saga", &MIB).await.run;
    assert_eq!(finish(&engine, run).await.status, Status::Failed);
    let query = ListQuery { tenant: tenant(), limit: 10, ..ListQuery::default() };
    let (letters, _) = engine.dead_letters(query).await.expect("listed");
    assert!(matches!(letters[0].letter.input, Some(Data::Stored(..))));
}

/// All bytes that the log holds: of events, and of what stands beside them.
async fn stored(house: &House) -> usize {
    let page = house.log.read_all(Position::START, usize::MAX).await.expect("reads");
    let mut bytes: usize = page.events.iter().map(|recorded| recorded.event.body.len()).sum();
    let beside: BTreeSet<_> = house.log.derived().payload_refs.into_iter().map(|(id, _)| id).collect();
    for id in beside {
        bytes += house.log.payload(id).await.expect("reads").expect("there").len();
    }
    bytes
}

#[tokio::test(start_paused = true)]
async fn a_conversation_that_grows_is_stored_once() {
    for commits in [2, 3, 9, 25, 1_000] {
        let house = House::new();
        let mut registry = house.registry();
        registry.action(&ANSWER, ActionOptions::default(), |_, said: Vec<String>| async move {
            // Whoever answers is given every word that was said.
            let count = said.iter().map(String::len).sum::<usize>();
            Ok(format!("{count}: {}", format!("«{}» ", said.len()).repeat(400)))
        });
        registry.workflow("talk", 1, plain(), |ctx: Ctx, calls: usize| async move {
            let mut said = vec![(0..3_000).map(|word| format!("w{word} ")).collect::<Vec<_>>().concat()];
            for call in 0..calls {
                said.push(format!("question {call}"));
                let answer = ctx.step(("answer", call), &ANSWER, &said).await?;
                said.push(answer);
            }
            Ok(said)
        });
        let run = house.crash(&registry, (commits, commits % 2 == 0), "talk", &40).await;
        let settled = finish(&house.engine(registry), run).await;
        let said: Vec<String> = settled.outcome.expect("a result").read().expect("words");
        for (place, answer) in said.iter().enumerate().skip(2).step_by(2) {
            let count: usize = said[..place].iter().map(String::len).sum();
            assert!(answer.starts_with(&format!("{count}: ")), "crash at commit {commits}: {answer:.40}");
        }
        let spoken: usize = said.iter().map(String::len).sum();
        // The result of the run is the conversation once more.
        let stored = stored(&house).await - spoken;
        assert!(stored < spoken * 3 / 2, "crash at commit {commits}: {stored} stored of {spoken} spoken");
        house.audit().await;
    }
}
