//! A message that comes in while a turn is on its way to the log.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use futures::FutureExt;
use steadfast_core::Time;
use steadfast_engine::{Ctx, Registry, WorkflowOptions};
use steadfast_log::{Commit, CommitError, Expect, Log, NewEvent, WakeUp, WakeUpChange};

use crate::{
    house::{House, NOTE, accept, finish},
    through::Through,
};

/// When the run is to be looked at, at each turn that was about to be written.
type Dues = Arc<Mutex<Vec<Option<Time>>>>;

/// A way to the log on which a signal comes in just before the first turn after acceptance.
fn overtaken(house: &House) -> (Through, Dues) {
    let (log, world, dues) = (house.log.clone(), house.world.clone(), Dues::default());
    let (seen, turns) = (dues.clone(), AtomicUsize::default());
    let through = Through::new(house.log.clone(), move |commit| {
        let append = commit.appends.first()?;
        let Expect::Exact(head) = append.expect else { return None };
        if append.events[0].kind != "run.turn" {
            return None;
        }
        let (stream, name) = (append.stream.clone(), "run".into());
        let due = log.derived().wake_ups.get(&(stream.clone(), name)).map(|wake_up| wake_up.due);
        seen.lock().expect("a lock").push(due);
        if turns.fetch_add(1, Ordering::SeqCst) > 0 {
            return None;
        }
        let id = world.uuid();
        let body = format!(r#"{{"id":"{id}","what":{{"signal":{{"name":"go","value":1}}}}}}"#);
        let event = NewEvent::new(&world, "run.message", 1, body.into_bytes());
        let mut signal = Commit::append(stream.clone(), Expect::Any, vec![event]);
        let wake_up = WakeUp { stream: stream.clone(), name: "run".into(), due: world.now(), owner: None };
        signal.wake_ups.push(WakeUpChange::Set(wake_up));
        log.commit(signal).now_or_never().expect("in memory").expect("written");
        Some(CommitError::Conflict { stream, actual: head + 1 })
    });
    (through, dues)
}

fn waiting(registry: &mut Registry) {
    registry.workflow("waiting", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.step("before", &NOTE, &"before".to_owned()).await?;
        ctx.signal::<u64>("go", "go").await
    });
}

/// Otherwise a node that dies right after the turn leaves a message that nobody looks for.
#[tokio::test(start_paused = true)]
async fn g7_a_turn_that_a_message_overtook_leaves_the_run_to_be_looked_at() {
    let house = House::new();
    let (log, dues) = overtaken(&house);
    let mut registry = house.registry();
    waiting(&mut registry);
    let engine = house.node(Arc::new(log), registry);
    let run = accept(&engine, "waiting", &()).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<u64>(), Ok(1));
    // The turn, the turn again behind the message, and the one that delivers the message.
    let dues = dues.lock().expect("a lock").clone();
    assert_eq!(dues.len(), 3);
    assert!(dues[2].is_some_and(|due| due <= house.world.now()), "{dues:?}");
    house.audit().await;
}

#[tokio::test(start_paused = true)]
async fn g7_a_message_that_overtook_the_end_of_a_generation_reaches_the_next() {
    let house = House::new();
    let (log, _) = overtaken(&house);
    let mut registry = house.registry();
    registry.workflow("goes on", 1, WorkflowOptions::default(), |ctx: Ctx, generation: u64| async move {
        if generation == 1 {
            ctx.step("before", &NOTE, &"before".to_owned()).await?;
            return Err(ctx.continue_as_new(&2u64));
        }
        ctx.signal::<u64>("go", "go").await
    });
    let engine = house.node(Arc::new(log), registry);
    let run = accept(&engine, "goes on", &1u64).await.run;
    assert_eq!(finish(&engine, run).await.outcome.expect("a result").read::<u64>(), Ok(1));
    house.audit().await;
}
