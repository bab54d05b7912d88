use std::sync::Arc;

use proptest::prelude::*;
use steadfast_core::{World, time::ManualClock};

use super::*;

fn breaker(config: BreakerConfig) -> (Breaker, Arc<ManualClock>) {
    let (world, clock) = World::manual(1);
    (Breaker::new(config, Site::silent("model", &world)), clock)
}

fn call(breaker: &Breaker, well: bool) {
    let permit = breaker.admit().expect("let through");
    if well { permit.well() } else { permit.unwell() }
}

fn phase(breaker: &Breaker) -> String {
    breaker.state().state
}

#[test]
fn failures_in_a_row_open_it_and_a_success_starts_the_row_anew() {
    let (breaker, _) = breaker(BreakerConfig::default());
    for _ in 0..4 {
        call(&breaker, false);
    }
    call(&breaker, true);
    for _ in 0..4 {
        call(&breaker, false);
    }
    assert_eq!(phase(&breaker), "closed");
    call(&breaker, false);
    assert_eq!(phase(&breaker), "open");
    let refused = Error::Open { name: "model".into(), retry_after: Some(defaults::BREAKER_OPEN) };
    assert_eq!(breaker.admit().err(), Some(refused));
}

#[test]
fn a_rate_of_failures_opens_it_once_the_window_holds_enough_calls() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    call(&breaker, false);
    for _ in 0..17 {
        call(&breaker, true);
    }
    call(&breaker, false);
    assert_eq!(phase(&breaker), "closed", "two of nineteen");
    clock.advance(defaults::BREAKER_WINDOW);
    for _ in 0..19 {
        call(&breaker, true);
    }
    call(&breaker, false);
    assert_eq!(phase(&breaker), "closed", "the old failures are out of the window: one of twenty");
    call(&breaker, true);
    call(&breaker, false);
    assert_eq!(phase(&breaker), "closed", "two of twenty-two are less than a tenth");
    call(&breaker, false);
    assert_eq!(phase(&breaker), "open", "three of twenty-three");
}

#[test]
fn one_probe_at_a_time_decides_and_two_successes_close_it() {
    let (breaker, clock) = breaker(BreakerConfig::default());
    let early = breaker.admit().expect("let through");
    for _ in 0..5 {
        call(&breaker, false);
    }
    clock.advance(defaults::BREAKER_OPEN);
    let probe = breaker.admit().expect("a probe");
    assert!(breaker.admit().is_err(), "one at a time");
    early.unwell();
    assert_eq!(phase(&breaker), "probing", "a call from before says nothing about now");
    drop(probe);
    call(&breaker, true);
    assert_eq!(phase(&breaker), "probing");
    call(&breaker, true);
    assert_eq!(phase(&breaker), "closed");
    assert_eq!(breaker.state().calls, 0, "it starts with a clean slate");
}

#[test]
fn a_failed_probe_opens_it_again() {
    let (breaker, clock) = breaker(BreakerConfig::action_group());
    for _ in 0..3 {
        call(&breaker, false);
    }
    assert_eq!(breaker.state().retry_after_ms, Some(60_000));
    clock.advance(defaults::ACTION_GROUP_OPEN);
    call(&breaker, true);
    call(&breaker, false);
    assert_eq!(phase(&breaker), "open");
    assert_eq!(breaker.state().retry_after_ms, Some(60_000));
}

#[test]
fn a_reset_closes_it_by_hand() {
    let (breaker, _) = breaker(BreakerConfig::default());
    for _ in 0..5 {
        call(&breaker, false);
    }
    breaker.reset();
    call(&breaker, false);
    assert_eq!((breaker.state().failures_in_a_row, &*phase(&breaker)), (1, "closed"));
}

#[derive(Default)]
struct Changes(std::sync::atomic::AtomicU32);

impl steadfast_core::observe::Observer for Changes {
    fn observe(&self, signal: Signal<'_>) {
        if matches!(signal, Signal::Breaker { .. }) {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

#[test]
fn a_reset_of_a_closed_one_is_no_change_but_forgets_what_was_counted() {
    let changes = Arc::new(Changes::default());
    let observer: Arc<dyn steadfast_core::observe::Observer> = changes.clone();
    let (world, _) = World::manual(1);
    let breaker = Breaker::new(BreakerConfig::default(), Site::new("model", &world, &observer));
    let under_way = breaker.admit().expect("let through");
    call(&breaker, false);
    breaker.reset();
    under_way.unwell();
    assert_eq!((breaker.state().failures, &*phase(&breaker)), (0, "closed"));
    assert_eq!(changes.0.load(std::sync::atomic::Ordering::Relaxed), 0);
}

proptest! {
    /// Whatever happens: nothing passes an open breaker before its time, at most one probe
    /// runs, and the breaker never stays shut for good.
    #[test]
    fn it_lets_one_probe_through_at_a_time_and_never_gets_stuck(
        steps in prop::collection::vec(0..6_u8, 1..300),
    ) {
        let (breaker, clock) = breaker(BreakerConfig::default());
        let mut held: Vec<Permit<'_>> = Vec::new();
        for step in steps {
            match step {
                0 | 1 => {
                    let before = breaker.state();
                    let admitted = breaker.admit();
                    prop_assert!(before.retry_after_ms.unwrap_or(0) == 0 || admitted.is_err());
                    if let Ok(permit) = admitted {
                        held.push(permit);
                        if phase(&breaker) == "probing" {
                            prop_assert!(breaker.admit().is_err());
                        }
                    }
                }
                2 => held.pop().map_or((), Permit::well),
                3 | 4 => held.pop().map_or((), Permit::unwell),
                _ => clock.advance(Duration::from_secs(7)),
            }
        }
        held.clear();
        clock.advance(defaults::BREAKER_OPEN);
        for _ in 0..2 {
            call(&breaker, true);
        }
        prop_assert_eq!(phase(&breaker), "closed");
    }
}

#[test]
fn calls_that_break_after_a_good_beginning_open_it_too() {
    let (world, _) = World::manual(1);
    let breaker = Breaker::new(BreakerConfig::default(), Site::silent("model", &world));
    for _ in 0..10 {
        breaker.admit().expect("closed").well();
        breaker.broke();
    }
    assert_eq!(breaker.state().state, "open");
}
