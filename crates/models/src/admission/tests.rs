use std::{
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use steadfast_core::time::ManualClock;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn door(running: u32, waiting: u32) -> (Admission, World, Arc<ManualClock>) {
    let (world, clock) = World::manual(1);
    let running = NonZeroU32::new(running).expect("some");
    let config = AdmissionConfig { running, waiting, ..AdmissionConfig::default() };
    (Admission::new(&config, &world), world, clock)
}

fn visitor(user: &str, priority: Priority) -> Visitor {
    Visitor { user: user.into(), route: "r".into(), priority }
}

type Entering = Pin<Box<dyn Future<Output = Result<Place, Refused>>>>;

fn enter(door: &Admission, user: &str, priority: Priority, deadline: &Deadline) -> Entering {
    let (door, deadline, visitor) = (door.clone(), deadline.clone(), visitor(user, priority));
    Box::pin(async move { door.enter(&visitor, &deadline).await })
}

fn poll(entering: &mut Entering) -> Poll<Result<Place, Refused>> {
    entering.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn now(mut entering: Entering) -> Result<Place, Refused> {
    match poll(&mut entering) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}

fn waiting(door: &Admission, user: &str, priority: Priority, deadline: &Deadline) -> Entering {
    let mut entering = enter(door, user, priority, deadline);
    assert!(poll(&mut entering).is_pending());
    entering
}

#[test]
fn places_go_to_the_more_urgent_first_and_position_and_wait_are_seen() {
    let (door, world, clock) = door(1, 10);
    let deadline = Deadline::after(&world, 100 * SECOND);
    let first = now(enter(&door, "a", Priority::Low, &deadline)).expect("free");
    let mut low = waiting(&door, "a", Priority::Low, &deadline);
    clock.advance(SECOND);
    let mut high = waiting(&door, "b", Priority::High, &deadline);
    let state = door.state().expect("a bound");
    assert_eq!((state.running, state.running_max, state.waiting_max), (1, 1, 10));
    let seen: Vec<_> = state.waiting.iter().map(|it| (it.position, it.priority, it.waited_ms)).collect();
    assert_eq!(seen, [(1, "high", 0), (2, "low", 1_000)]);
    clock.advance(SECOND);
    drop(first);
    let Poll::Ready(Ok(place)) = poll(&mut high) else { panic!("its turn") };
    assert_eq!(place.queued, SECOND);
    assert!(poll(&mut low).is_pending());
    drop(place);
    assert!(matches!(poll(&mut low), Poll::Ready(Ok(_))));
}

#[test]
fn who_goes_away_frees_its_place_in_the_queue_and_beyond() {
    let (door, world, _) = door(1, 2);
    let deadline = Deadline::after(&world, 100 * SECOND);
    let first = now(enter(&door, "a", Priority::Normal, &deadline)).expect("free");
    let gone = waiting(&door, "a", Priority::Normal, &deadline);
    let mut next = waiting(&door, "a", Priority::Normal, &deadline);
    drop(gone);
    assert_eq!(door.waiting(), 1);
    drop(first);
    // It was given the place, and goes away before it looks.
    drop(next);
    assert_eq!((door.state().expect("a bound").running, door.waiting()), (0, 0));
    next = enter(&door, "a", Priority::Normal, &deadline);
    assert!(matches!(poll(&mut next), Poll::Ready(Ok(_))));
}

#[test]
fn a_full_queue_lets_the_more_urgent_in_and_refuses_the_others() {
    let (door, world, clock) = door(1, 2);
    let deadline = Deadline::after(&world, 100 * SECOND);
    let place = now(enter(&door, "a", Priority::Normal, &deadline)).expect("free");
    let mut older = waiting(&door, "a", Priority::Low, &deadline);
    let mut newer = waiting(&door, "b", Priority::Low, &deadline);
    assert!(matches!(
        now(enter(&door, "c", Priority::Low, &deadline)),
        Err(Refused::Full { waiting: 2, .. })
    ));
    let mut urgent = waiting(&door, "c", Priority::Normal, &deadline);
    assert!(matches!(poll(&mut newer), Poll::Ready(Err(Refused::GaveWay { .. }))));
    assert!(poll(&mut older).is_pending());
    clock.advance(SECOND);
    drop(place);
    assert!(matches!(poll(&mut urgent), Poll::Ready(Ok(_))));
}

#[test]
fn what_cannot_be_done_in_time_is_refused_at_once_with_how_long_it_takes() {
    let (door, world, clock) = door(2, 100);
    let long = Deadline::after(&world, 1_000 * SECOND);
    for _ in 0..10 {
        let place = now(enter(&door, "a", Priority::Normal, &long)).expect("free");
        clock.advance(4 * SECOND);
        drop(place);
    }
    let places = [(); 2].map(|()| now(enter(&door, "a", Priority::Normal, &long)).expect("free"));
    let queue = [(); 3].map(|()| waiting(&door, "a", Priority::Normal, &long));
    // The fourth in the queue at 4 s a call and two places: 8 s, and then 4 s of its own.
    let soon = Deadline::after(&world, 11 * SECOND);
    let refused = now(enter(&door, "a", Priority::Normal, &soon)).expect_err("too late");
    assert_eq!(refused, Refused::Late { before: 3, wait: 8 * SECOND });
    let enough = Deadline::after(&world, 12 * SECOND);
    let mut last = waiting(&door, "a", Priority::Normal, &enough);
    // Another user's turn comes sooner.
    let other = waiting(&door, "b", Priority::Normal, &soon);
    clock.advance(12 * SECOND);
    assert!(matches!(poll(&mut last), Poll::Ready(Err(Refused::TimedOut))));
    drop((places, queue, last, other));
    let short = Deadline::after(&world, SECOND);
    now(enter(&door, "a", Priority::Normal, &short)).expect("who need not wait is let in");
    assert_eq!((door.state().expect("a bound").running, door.waiting()), (0, 0));
}

#[test]
fn a_retry_comes_back_as_high() {
    let (door, world, _) = door(1, 10);
    let deadline = Deadline::after(&world, 100 * SECOND);
    let mut taking = Box::pin(Seat::take(&door, visitor("a", Priority::Low), &deadline));
    let Poll::Ready(Ok((seat, _))) = taking.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
        panic!("free")
    };
    seat.leave();
    let place = now(enter(&door, "b", Priority::Normal, &deadline)).expect("it left");
    let mut normal = waiting(&door, "b", Priority::Normal, &deadline);
    let mut back = Box::pin(seat.come_back(&deadline));
    let mut poll_back = || back.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(poll_back().is_pending());
    drop(place);
    assert!(matches!(poll_back(), Poll::Ready(Ok(()))));
    assert!(poll(&mut normal).is_pending());
    seat.leave();
    assert!(matches!(poll(&mut normal), Poll::Ready(Ok(_))));
}

#[derive(Debug, Clone)]
enum Step {
    Enter { user: u8, level: u8, patience: u8 },
    Finish(usize),
    GoAway(usize),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..5_u8, 0..4_u8, 1..60_u8)
            .prop_map(|(user, level, patience)| Step::Enter { user, level, patience }),
        4 => (0..10_usize).prop_map(Step::Finish),
        1 => (0..20_usize).prop_map(Step::GoAway),
        2 => (0..5_u8).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn bounds_hold_and_nothing_leaks_whoever_comes_and_goes(
        running in 1..4_u32, waits in 0..6_u32, steps in prop::collection::vec(step(), 1..200),
    ) {
        let (door, world, clock) = door(running, waits);
        let mut inside: Vec<Place> = Vec::new();
        let mut outside: Vec<Entering> = Vec::new();
        for step in steps {
            match step {
                Step::Enter { user, level, patience } => {
                    let level = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical][usize::from(level)];
                    let deadline = Deadline::after(&world, SECOND * u32::from(patience));
                    outside.push(enter(&door, &format!("u{user}"), level, &deadline));
                }
                Step::Finish(which) if !inside.is_empty() => { inside.swap_remove(which % inside.len()); }
                Step::GoAway(which) if !outside.is_empty() => drop(outside.swap_remove(which % outside.len())),
                Step::Pass(seconds) => clock.advance(SECOND * u32::from(seconds)),
                _ => {}
            }
            // What one of them does may let another in.
            for _ in 0..3 {
                let mut still = Vec::new();
                for mut entering in outside {
                    match poll(&mut entering) {
                        Poll::Ready(Ok(place)) => inside.push(place),
                        Poll::Ready(Err(_)) => {}
                        Poll::Pending => still.push(entering),
                    }
                }
                outside = still;
            }
            let state = door.state().expect("a bound");
            prop_assert_eq!(state.running, inside.len());
            prop_assert!(state.running <= running as usize);
            prop_assert_eq!(state.waiting.len(), outside.len());
            prop_assert!(outside.len() <= waits as usize);
            prop_assert!(outside.is_empty() || state.running == running as usize, "nobody waits for nothing");
        }
        drop((inside, outside));
        prop_assert_eq!((door.state().expect("a bound").running, door.waiting()), (0, 0));
    }

    /// However many urgent calls come in, one that is not urgent has its turn.
    #[test]
    fn nobody_starves(users in 1..4_usize, running in 1..3_u32, each in 1..4_u32) {
        let (door, world, clock) = door(running, 500);
        let deadline = Deadline::after(&world, 10_000 * SECOND);
        let mut inside: Vec<Place> = Vec::new();
        for _ in 0..running {
            inside.push(now(enter(&door, "busy", Priority::Critical, &deadline)).expect("free"));
        }
        let mut patient = waiting(&door, "patient", Priority::Low, &deadline);
        let mut crowd: Vec<Entering> = Vec::new();
        for round in 0..60 {
            for user in 0..users {
                for _ in 0..each {
                    if crowd.len() < 400 {
                        crowd.push(waiting(&door, &format!("u{user}"), Priority::Critical, &deadline));
                    }
                }
            }
            clock.advance(SECOND);
            inside.remove(0);
            if let Poll::Ready(Ok(_)) = poll(&mut patient) {
                prop_assert!(round >= 14, "three steps up");
                return Ok(());
            }
            crowd.retain_mut(|entering| match poll(entering) {
                Poll::Ready(Ok(place)) => { inside.push(place); false }
                Poll::Ready(Err(_)) => false,
                Poll::Pending => true,
            });
        }
        prop_assert!(false, "starved");
    }
}

#[test]
fn another_configuration_holds_from_then_on_and_nobody_is_sent_away() {
    let (door, world, _) = door(1, 10);
    let deadline = Deadline::after(&world, 100 * SECOND);
    let configure = |enabled, running, waiting| {
        let running = NonZeroU32::new(running).expect("some");
        door.configure(&AdmissionConfig { enabled, running, waiting, ..AdmissionConfig::default() });
    };
    let first = now(enter(&door, "a", Priority::Normal, &deadline)).expect("free");
    let mut waits: Vec<_> = (0..3).map(|_| waiting(&door, "a", Priority::Normal, &deadline)).collect();
    configure(true, 3, 1);
    let state = door.state().expect("a bound");
    assert_eq!((state.running, state.running_max, state.waiting_max, state.waiting.len()), (3, 3, 1, 1));
    let refused = now(enter(&door, "b", Priority::Normal, &deadline));
    assert!(matches!(refused, Err(Refused::Full { waiting: 1, .. })));
    let mut places = vec![first];
    for it in waits.drain(..2) {
        places.push(now(it).expect("there is more room"));
    }
    let mut last = waits.remove(0);

    configure(true, 1, 10);
    for _ in 0..2 {
        drop(places.pop());
        assert!(poll(&mut last).is_pending(), "there are fewer places than calls under way");
    }
    drop(places);
    let place = now(last).expect("its turn");

    let waits =
        [waiting(&door, "a", Priority::Normal, &deadline), waiting(&door, "a", Priority::Low, &deadline)];
    configure(false, 1, 0);
    assert_eq!(door.state(), None);
    let mut places: Vec<_> = waits.into_iter().map(|it| now(it).expect("no bound")).collect();
    places.push(now(enter(&door, "a", Priority::Normal, &deadline)).expect("no bound"));

    configure(true, 3, 10);
    let last = waiting(&door, "a", Priority::Normal, &deadline);
    drop(place);
    assert_eq!(door.state().expect("a bound").running, 3, "who came without a bound counts");
    drop(places);
    now(last).expect("its turn");
}
