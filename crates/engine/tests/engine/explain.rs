use std::time::Duration;

use steadfast_core::Failure;
use steadfast_engine::{Ctx, Data, Status, WorkflowOptions};

use crate::house::{BOOK, FAIL, House, NOTE, UNDO_NOTE, accept, finish, reach, tenant};

#[tokio::test(start_paused = true)]
async fn the_story_names_who_what_each_effect_and_the_end() {
    let house = House::new();
    let mut registry = house.registry();
    house.book_on(&mut registry, house.log.clone());
    registry.workflow("story", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("note", &NOTE, &"a".to_owned()).undo(&UNDO_NOTE, &"a".to_owned()).await?;
        ctx.step("book", &BOOK, &"entry".to_owned()).await?;
        ctx.signal::<u64>("go", "go").await?;
        ctx.step("fail", &FAIL, &Failure::upstream("test.down", "the outside is down")).await
    });
    let engine = house.engine(registry);
    let run = accept(&engine, "story", &()).await.run;
    reach(&engine, run, Status::Waiting).await;
    engine.signal(&tenant(), run, None, "olga", "go", Data::of(&7).expect("json")).await.expect("sent");
    finish(&engine, run).await;
    let story = engine.explain(&tenant(), run).await.expect("told");
    let text = story.to_string().replace(&run.to_string(), "RUN");
    let lines: Vec<&str> = text.lines().map(|line| line.get(35..).unwrap_or(line).trim()).collect();
    for wanted in [
        "asked      turn 0: step note (test.note), key RUN/1/note, undone by test.undo_note",
        "delivered  turn 1: step note gave 1",
        "message    step book gave 5",
        "effect     book.entry in default/book/one (version 1)",
        "message    signal go from olga: 7",
        "delivered  turn 4: step fail failed: the outside is down (test.down) after 3 failed attempts (test.down, test.down, test.down)",
        "failed     turn 4: the outside is down (test.down)",
        "undone     step note undone",
        "ended      dead",
    ] {
        assert!(lines.contains(&wanted), "{wanted:?} is missing in\n{text}");
    }
    assert!(text.contains("story version 1, dead"), "{text}");
    assert_eq!(story.dead_letters.len(), 1);
    assert!(
        serde_json::to_value(&story).expect("json")["story"].as_array().is_some_and(|lines| lines.len() > 10)
    );
}

#[tokio::test(start_paused = true)]
async fn g8_check_finds_the_runs_that_new_code_would_park_and_writes_nothing() {
    let house = House::new();
    let with = |name: &'static str| {
        let mut registry = house.registry();
        registry.workflow("flow", 1, WorkflowOptions::default(), move |ctx: Ctx, first: bool| async move {
            if first {
                ctx.step(name, &NOTE, &"one".to_owned()).await?;
            }
            ctx.signal::<u64>("go", "go").await
        });
        registry
    };
    let first = house.engine(with("one"));
    let hit = accept(&first, "flow", &true).await.run;
    accept(&first, "flow", &false).await;
    reach(&first, hit, Status::Waiting).await;
    assert!(first.check(|_| {}).await.expect("checked").passed());
    first.stop(Duration::from_secs(1)).await;

    let second = house.engine(with("uno"));
    let before = *steadfast_log::Log::tail(&*house.log).borrow();
    let report = second.check(|_| {}).await.expect("checked");
    assert_eq!((report.checked, report.diverged.len()), (2, 1));
    assert_eq!(report.diverged[0].run, hit);
    assert!(report.diverged[0].why.message.contains("\"one\""), "{}", report.diverged[0].why.message);
    assert_eq!(*steadfast_log::Log::tail(&*house.log).borrow(), before);
}
