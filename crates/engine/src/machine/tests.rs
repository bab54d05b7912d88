use steadfast_core::{RunId, TenantId, World};

use super::*;
use crate::WorkflowOptions;

fn info() -> RunInfo {
    RunInfo {
        run: RunId::next(&World::system()),
        tenant: TenantId::default(),
        principal: "ana".into(),
        generation: 1,
        labels: BTreeMap::new(),
    }
}

fn signal(version: u64, name: &str) -> Delivered {
    Delivered::Signal(version, name.to_owned(), Data::null())
}

#[test]
fn a_turn_takes_all_that_came_until_it_is_full_of_what_it_asks_for() {
    let mut registry = Registry::default();
    registry.workflow("two", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
        ctx.signal::<()>("first", "one").await?;
        ctx.signal::<()>("second", "two").await
    });
    let registry = Arc::new(registry);
    let workflow = registry.newest("two").unwrap();
    for (full, taken, ends) in [(false, 2, true), (true, 1, false)] {
        let mut machine = Machine::new(workflow, registry.clone(), info(), Data::null());
        machine.advance(Time::default(), Vec::new(), &|_| full).unwrap();
        let both = vec![signal(1, "one"), signal(2, "two")];
        let advance = machine.advance(Time::default(), both, &|_| full).unwrap();
        assert_eq!((advance.taken, advance.outcome.is_some()), (taken, ends));
    }
}

#[test]
fn children_are_bounded_in_a_turn_and_in_all() {
    let child = |i: usize| {
        let what = What::Child { run: info().run, workflow: "child".into(), input: Data::null() };
        Ask { step: StepId::from(("child", i)), what, undo: None }
    };
    let mut shared = Shared::new(info(), Arc::default());
    shared.asked = (0..defaults::CHILDREN_PER_TURN).map(child).collect();
    let turns = defaults::CHILDREN_MAX / u32::try_from(defaults::CHILDREN_PER_TURN).unwrap();
    for _ in 0..turns {
        assert!(limit_children(&mut shared).is_ok());
    }
    shared.asked = vec![child(0)];
    assert!(limit_children(&mut shared).is_err(), "one more than {}", defaults::CHILDREN_MAX);
    let mut fresh = Shared::new(info(), Arc::default());
    fresh.asked = (0..=defaults::CHILDREN_PER_TURN).map(child).collect();
    assert!(limit_children(&mut fresh).is_err(), "too many in one turn");
}

fn asks(step: &str, what: What) -> Ask {
    Ask { step: StepId::from(step), what, undo: None }
}

fn charges(action: &str, input: u64, within_ms: u64) -> What {
    let input = Data::of(&input).unwrap();
    What::Action { action: action.into(), input, within_ms, on_log: false }
}

/// Does code that asks for `is` fit a turn that recorded `was`?
fn fits(was: &[Ask], is: &[Ask]) -> bool {
    let recorded = Turn { asked: was.to_vec(), ..Turn::default() };
    let replayed = Advance { asked: is.to_vec(), ..Advance::default() };
    compare(&recorded, &replayed).is_ok()
}

#[test]
fn g8_a_replay_must_ask_for_what_was_recorded() {
    let child = |workflow: &str| What::Child {
        run: RunId::from_bytes([1; 16]),
        workflow: workflow.into(),
        input: Data::null(),
    };
    let charge = asks("a", charges("charge", 1, 1_000));
    let pause = asks("b", What::Timer(Time::from_micros(5)));
    assert!(fits(&[], &[]));
    assert!(fits(&[charge.clone(), pause.clone()], &[pause.clone(), charge.clone()]), "order is free");
    let (both, one) = ([charge.clone(), pause], [charge]);
    assert!(!fits(&both, &one), "one less");
    assert!(!fits(&one, &both), "one more");
    for (fit, was, is) in [
        (true, charges("charge", 1, 1_000), charges("charge", 1, 2_000)),
        (false, charges("charge", 1, 1_000), charges("refund", 1, 1_000)),
        (false, charges("charge", 1, 1_000), charges("charge", 2, 1_000)),
        (false, charges("charge", 1, 1_000), What::Signal("charge".into())),
        (true, What::Signal("go".into()), What::Signal("go".into())),
        (false, What::Signal("go".into()), What::Signal("stop".into())),
        (false, What::Timer(Time::from_micros(5)), What::Timer(Time::from_micros(6))),
        (true, child("pay"), child("pay")),
        (false, child("pay"), child("ship")),
    ] {
        assert_eq!(fits(&[asks("s", was.clone())], &[asks("s", is.clone())]), fit, "{was:?} {is:?}");
    }
}

#[test]
fn a_divergence_says_what_was_recorded_and_what_is_asked_for() {
    let (was, is) = (asks("s", charges("charge", 1, 1)), asks("s", What::Signal("go".into())));
    let recorded = Turn { asked: vec![was], ..Turn::default() };
    let replayed = Advance { asked: vec![is], ..Advance::default() };
    let Err(Halt::Park(parked)) = compare(&recorded, &replayed) else { panic!("they differ") };
    assert!(parked.message.contains("as action charge"), "{}", parked.message);
    assert!(parked.message.contains("asks for a wait for signal \"go\""), "{}", parked.message);
}

#[test]
fn g8_a_replay_must_take_the_recorded_patches_and_not_end_before_the_record() {
    let ended = || Some(Outcome::Completed(Data::null()));
    for (fit, was, is) in [
        (true, (&[][..], None), (&[][..], None)),
        (true, (&["p"], None), (&["p"], None)),
        (true, (&[], None), (&["p"], None)),
        (false, (&["p"], None), (&["q"], None)),
        (true, (&[], ended()), (&[], ended())),
        (false, (&[], None), (&[], ended())),
    ] {
        let patches = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let recorded = Turn { patches: patches(was.0), outcome: was.1.clone(), ..Turn::default() };
        let replayed = Advance { patches: patches(is.0), outcome: is.1.clone(), ..Advance::default() };
        assert_eq!(compare(&recorded, &replayed).is_ok(), fit, "{was:?} {is:?}");
    }
}

/// The next generation begins where the code says so as its last word, not where it made up
/// its mind and then met an error.
#[test]
fn code_that_fails_after_all_does_not_continue_as_new() {
    let mut registry = Registry::default();
    registry
        .workflow("goes on", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
            Err::<(), _>(ctx.continue_as_new(&()))
        })
        .workflow("fails", 1, WorkflowOptions::default(), |ctx: Ctx, (): ()| async move {
            drop(ctx.continue_as_new(&()));
            Err::<(), _>(Failure::refused("test.failed", "after all"))
        });
    let registry = Arc::new(registry);
    let end = |name| {
        let workflow = registry.newest(name).unwrap();
        let mut machine = Machine::new(workflow, registry.clone(), info(), Data::null());
        machine.advance(Time::default(), Vec::new(), &|_| false).unwrap().outcome
    };
    assert!(matches!(end("goes on"), Some(Outcome::Continued(_))));
    assert!(matches!(end("fails"), Some(Outcome::Failed(failure)) if failure.code == "test.failed"));
}
