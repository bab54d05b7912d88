use steadfast_core::{TenantId, World};
use steadfast_log::{NewEvent, Position};

use super::*;
use crate::{
    action::{body, result_message},
    record::{Replayed, What},
};

/// A run whose stream holds these events after the first.
fn with(events: &[(&'static str, Vec<u8>)]) -> History {
    let world = World::system();
    let stream = StreamId::new(&TenantId::default(), "run", RunId::next(&world).to_string());
    let recorded = |version: u64, kind, body: Vec<u8>| Recorded {
        position: Position { incarnation: 1, shard: 0, n: version },
        stream: stream.clone(),
        version,
        event: NewEvent::new(&world, kind, SCHEMA, body),
        side: None,
        ends: true,
    };
    let mut history = History::begin(&recorded(1, kind::STARTED, body(&unreadable()))).unwrap();
    for (version, (kind, body)) in (2..).zip(events) {
        history.apply(&recorded(version, kind, body.clone())).unwrap();
    }
    history
}

fn with_messages(messages: &[Message]) -> History {
    with(&messages.iter().map(|message| (kind::MESSAGE, body(message))).collect::<Vec<_>>())
}

fn result(generation: u32) -> Message {
    result_message(RunId::from_bytes([1; 16]), generation, &StepId::from("pay"), Ok(Data::null()))
}

#[test]
fn a_result_that_stands_in_the_stream_twice_comes_once() {
    let history = with_messages(&[result(1), result(1)]);
    assert_eq!(history.messages.keys().collect::<Vec<_>>(), [&2]);
    assert!(history.finished.contains(&StepId::from("pay")));
}

#[test]
fn a_result_of_another_generation_brings_nothing() {
    assert!(matches!(message_delivers(2, &result(2), 2), Delivered::Result(..)));
    assert!(matches!(message_delivers(2, &result(1), 2), Delivered::Nothing));
    assert!(with_messages(&[result(2)]).finished.is_empty());
}

/// Otherwise whoever takes the run up after a replay begins a step twice, or never.
#[test]
fn a_step_that_is_asked_for_again_after_a_replay_is_asked_for_once() {
    let asks = |steps: &[&str]| -> Vec<Ask> {
        let ask =
            |step: &&str| Ask { step: StepId::from(*step), what: What::Signal("go".into()), undo: None };
        steps.iter().map(ask).collect()
    };
    let failed = || Failure::internal("test.failed", "on purpose");
    let fails = |step: &str| {
        vec![Delivery::Result {
            step: StepId::from(step),
            outcome: Err(failed()),
            failed_attempts: Vec::new(),
        }]
    };
    let turn = |turn: Turn| (kind::TURN, body(&turn));
    let ends = Some(Outcome::Failed(failed()));
    let history = with(&[
        turn(Turn { asked: asks(&["a", "b"]), ..Turn::default() }),
        turn(Turn { turn: 1, delivered: fails("b"), asked: asks(&["c"]), ..Turn::default() }),
        turn(Turn { turn: 2, outcome: ends, ..Turn::default() }),
        (kind::REPLAYED, body(&Replayed { by: "olga".into(), generation: 1 })),
        turn(Turn { turn: 1, delivered: fails("b"), asked: asks(&["c", "d"]), ..Turn::default() }),
    ]);
    let steps: Vec<&str> = history.intents.iter().map(|intent| intent.ask.step.as_str()).collect();
    assert_eq!(steps, ["a", "b", "c", "d"]);
}
