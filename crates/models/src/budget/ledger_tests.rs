use std::sync::mpsc;

use proptest::prelude::*;
use steadfast_core::World;

use super::*;

fn claim(name: &str, limit: u64) -> Claim {
    Claim {
        account: AccountId { rule: name.into(), value: "all".into(), window: 0 },
        name: name.into(),
        limit: Usd::from_nanos(limit),
        window: Window::Total,
    }
}

fn now() -> Time {
    World::manual(1).0.now()
}

fn usd(nanos: u64) -> Usd {
    Usd::from_nanos(nanos)
}

/// Reserves at once, or says why not.
fn reserve(ledger: &Arc<Ledger>, claims: &[Claim], amount: u64) -> Result<Reservation, Refused> {
    let mut reserving = Box::pin(ledger.reserve(claims.to_vec(), usd(amount), now()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match reserving.as_mut().poll(&mut context) {
        std::task::Poll::Ready(done) => done,
        std::task::Poll::Pending => panic!("it waits"),
    }
}

/// A file that holds what it was told, and forgets nothing.
#[derive(Default)]
struct File(HashMap<AccountId, (Usd, Usd)>);

impl File {
    fn write(&mut self, ledger: &Ledger, all: bool, stopping: bool) {
        let mut done = Vec::new();
        for booking in ledger.bookings(all, stopping) {
            let known = self.0.entry(booking.id.clone()).or_default();
            let before = known.0.max(known.1);
            let (spent, booked) = match booking.spent {
                Some(spent) => (spent, booking.booked),
                None => (before, before.plus(booking.booked).min(booking.limit.max(before))),
            };
            *known = (spent, booked);
            done.push(Booked { id: booking.id, spent, booked });
        }
        ledger.booked(done);
    }
}

#[test]
fn a_call_is_refused_exactly_when_it_could_exceed_a_limit_and_told_the_figures() {
    let ledger = Arc::new(Ledger::in_memory());
    let claims = [claim("team", 100), claim("all", 1_000)];
    let first = reserve(&ledger, &claims, 60).expect("fits");
    first.settle(usd(25));
    let second = reserve(&ledger, &claims, 75).expect("fills it up exactly");
    let Err(Refused::Exceeded(figures)) = reserve(&ledger, &claims, 1) else { panic!("one too many") };
    assert_eq!((&*figures.name, figures.limit, figures.spent), ("team", usd(100), usd(25)));
    assert_eq!((figures.reserved, figures.asked, figures.ends_in), (usd(75), usd(1), None));
    drop(second);
    reserve(&ledger, &claims, 75).expect("what was given back can be spent");
}

#[test]
fn refused_by_one_limit_nothing_is_taken_from_the_others() {
    let ledger = Arc::new(Ledger::in_memory());
    let (rich, poor) = (claim("rich", 1_000), claim("poor", 10));
    for _ in 0..5 {
        assert!(reserve(&ledger, &[rich.clone(), poor.clone()], 11).is_err());
    }
    reserve(&ledger, &[rich], 1_000).expect("untouched");
}

#[test]
fn a_call_counts_in_the_window_in_which_it_began() {
    let ledger = Arc::new(Ledger::in_memory());
    let today = Claim { window: Window::Day, ..claim("day", 100) };
    let tomorrow = Claim { account: AccountId { window: 1, ..today.account.clone() }, ..today.clone() };
    let late = reserve(&ledger, std::slice::from_ref(&today), 80).expect("fits");
    let early = reserve(&ledger, std::slice::from_ref(&tomorrow), 100).expect("a new day, a new limit");
    late.settle(usd(80));
    early.settle(usd(10));
    assert!(reserve(&ledger, std::slice::from_ref(&tomorrow), 91).is_err());
    reserve(&ledger, &[tomorrow], 90).expect("yesterday does not count today");
    assert!(reserve(&ledger, &[today], 21).is_err(), "nor is it forgotten if the clock is set back");
}

#[test]
fn nothing_is_spent_before_it_is_booked_and_a_crash_forgets_none_of_it() {
    let (tell, told) = mpsc::channel();
    let claims = [claim("team", 1_000)];
    let mut file = File::default();
    let start = |tell: mpsc::Sender<()>| Arc::new(Ledger::kept(0.1, move || tell.send(()).expect("heard")));
    let ledger = start(tell.clone());
    let mut waiting = Box::pin(ledger.reserve(claims.to_vec(), usd(50), now()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending(), "nobody knows what was spent before");
    told.try_recv().expect("the writer is woken");
    file.write(&ledger, false, false);
    let std::task::Poll::Ready(Ok(reserved)) = waiting.as_mut().poll(&mut context) else { panic!("booked") };
    reserved.settle(usd(30));
    assert_eq!(file.0[&claims[0].account], (usd(0), usd(150)));
    reserve(&ledger, &claims, 100).expect("within what is booked").settle(usd(100));
    file.write(&ledger, false, false);
    drop(waiting);

    // The node dies. What was booked counts as spent.
    let ledger = start(tell.clone());
    let booked = file.0[&claims[0].account].1;
    let mut waiting = Box::pin(ledger.reserve(claims.to_vec(), usd(1_001).minus(booked), now()));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    file.write(&ledger, false, false);
    let std::task::Poll::Ready(Err(Refused::Exceeded(figures))) = waiting.as_mut().poll(&mut context) else {
        panic!("one more than is left")
    };
    assert!(figures.spent == booked && booked >= usd(130));
    drop(waiting);

    // One that stops in peace loses nothing.
    file.write(&ledger, true, true);
    let ledger = start(tell);
    let mut waiting = Box::pin(ledger.reserve(claims.to_vec(), usd(1_000).minus(booked), now()));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    file.write(&ledger, false, false);
    assert!(matches!(waiting.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(_))));
}

#[test]
fn a_crash_takes_what_calls_under_way_may_cost_and_not_what_they_could_at_the_busiest_moment() {
    let ledger = Arc::new(Ledger::kept(0.01, || ()));
    let claims = [claim("cent", 1_000)];
    let mut file = File::default();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let mut calls = Vec::new();
    for _ in 0..5 {
        let mut waiting = Box::pin(ledger.reserve(claims.to_vec(), usd(60), now()));
        calls.push(loop {
            match waiting.as_mut().poll(&mut context) {
                std::task::Poll::Ready(done) => break done.expect("fits"),
                std::task::Poll::Pending => file.write(&ledger, false, false),
            }
        });
    }
    assert_eq!(file.0[&claims[0].account], (usd(0), usd(310)));
    for call in calls.drain(1..) {
        call.settle(usd(2));
    }
    file.write(&ledger, true, false);
    assert_eq!(file.0[&claims[0].account], (usd(8), usd(78)), "8 spent, 60 under way, 10 ahead");
    // Who needs more than that waits for the file again.
    assert!(
        Box::pin(ledger.reserve(claims.to_vec(), usd(60), now())).as_mut().poll(&mut context).is_pending()
    );
    drop(calls);
    file.write(&ledger, true, false);
    file.write(&ledger, true, false);
    assert_eq!(file.0[&claims[0].account], (usd(8), usd(18)));
}

#[test]
fn a_file_that_cannot_be_written_refuses_and_does_not_fail_open() {
    let ledger = Arc::new(Ledger::kept(0.01, || ()));
    let claims = [claim("team", 1_000)];
    let mut waiting = Box::pin(ledger.reserve(claims.to_vec(), usd(5), now()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    ledger.not_booked(ledger.bookings(true, false));
    assert!(matches!(waiting.as_mut().poll(&mut context), std::task::Poll::Ready(Err(Refused::Unrecorded))));
    assert!(matches!(reserve(&ledger, &claims, 5), Err(Refused::Unrecorded)));
    // The disk has room again.
    ledger.booked(Vec::new());
    let mut waiting = Box::pin(ledger.reserve(claims.to_vec(), usd(5), now()));
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    File::default().write(&ledger, false, false);
    assert!(matches!(waiting.as_mut().poll(&mut context), std::task::Poll::Ready(Ok(_))));
}

#[test]
fn idle_accounts_give_back_what_they_booked_and_are_forgotten() {
    let ledger = Arc::new(Ledger::kept(0.5, || ()));
    let claims = [claim("team", 1_000)];
    let mut file = File::default();
    let mut waiting = Box::pin(ledger.reserve(claims.to_vec(), usd(10), now()));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(waiting.as_mut().poll(&mut context).is_pending());
    file.write(&ledger, false, false);
    let std::task::Poll::Ready(Ok(reserved)) = waiting.as_mut().poll(&mut context) else { panic!("booked") };
    reserved.settle(usd(7));
    for _ in 0..IDLE_MAX + 2 {
        file.write(&ledger, true, false);
    }
    assert_eq!(file.0[&claims[0].account], (usd(7), usd(7)));
    assert_eq!(ledger.standing(), []);
}

#[test]
fn many_threads_never_spend_more_than_there_is_and_lose_none_of_it() {
    let ledger = Arc::new(Ledger::in_memory());
    let claims = [claim("all", 100_000), claim("team", 70_000)];
    let spent: u64 = std::thread::scope(|scope| {
        let work = |thread: u64| {
            let (ledger, claims) = (&ledger, &claims);
            move || {
                let mut spent = 0;
                for i in 0..5_000_u64 {
                    let amount = steadfast_core::chance::split_mix(thread, i) % 40;
                    if let Ok(reserved) = reserve(ledger, claims, amount) {
                        for (_, spent, reserved) in ledger.standing() {
                            assert!(spent.plus(reserved) <= usd(100_000));
                        }
                        if i % 7 == 0 {
                            drop(reserved);
                        } else {
                            reserved.settle(usd(amount / 2));
                            spent += amount / 2;
                        }
                    }
                }
                spent
            }
        };
        let threads: Vec<_> = (0..4).map(|thread| scope.spawn(work(thread))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    for (_, booked, reserved) in ledger.standing() {
        assert_eq!((booked, reserved), (usd(spent), usd(0)));
    }
}

#[derive(Debug, Clone)]
enum Step {
    Reserve(usize, u64),
    Extend(usize, u64),
    Settle(usize, u64),
    Drop(usize),
    Write(bool),
    Crash,
    Stop,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_usize, 0..60_u64).prop_map(|(who, amount)| Step::Reserve(who, amount)),
        1 => (0..8_usize, 0..30_u64).prop_map(|(which, amount)| Step::Extend(which, amount)),
        3 => (0..8_usize, 0..=100_u64).prop_map(|(which, percent)| Step::Settle(which, percent)),
        1 => (0..8_usize).prop_map(Step::Drop),
        2 => any::<bool>().prop_map(Step::Write),
        1 => Just(Step::Crash),
        1 => Just(Step::Stop),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    /// Any sequence of calls, writes, crashes and restarts, held against a model that keeps
    /// true sums of what was spent.
    #[test]
    fn spent_and_reserved_never_exceed_a_limit_also_across_crashes(
        steps in prop::collection::vec(step(), 1..80), ahead in 1..=100_u32,
    ) {
        let limits = [claim("a", 150), claim("b", 200), claim("all", 260)];
        let claims = |who: usize| vec![limits[who % 2].clone(), limits[2].clone()];
        let mut file = File::default();
        let fresh = || Arc::new(Ledger::kept(f64::from(ahead) / 100.0, || ()));
        let mut ledger = fresh();
        let mut open: Vec<(usize, Reservation)> = Vec::new();
        let mut truly = HashMap::<Arc<str>, u64>::new();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        for step in steps {
            match step {
                Step::Reserve(who, amount) => {
                    let claims = claims(who);
                    let before: HashMap<_, _> = ledger.standing().into_iter()
                        .map(|(id, spent, reserved)| (id, spent.plus(reserved))).collect();
                    let mut reserving = Box::pin(ledger.reserve(claims.clone(), usd(amount), now()));
                    let done = loop {
                        match reserving.as_mut().poll(&mut context) {
                            std::task::Poll::Ready(done) => break done,
                            std::task::Poll::Pending => file.write(&ledger, false, false),
                        }
                    };
                    let fits = claims.iter().all(|it| match before.get(&it.account) {
                        Some(used) => used.plus(usd(amount)) <= it.limit,
                        // Only now was it read from the file.
                        None => ledger.standing().iter().any(|(id, spent, reserved)| {
                            *id == it.account && if done.is_ok() { spent.plus(*reserved) <= it.limit }
                                else { spent.plus(*reserved).plus(usd(amount)) <= it.limit }
                        }),
                    });
                    prop_assert_eq!(done.is_ok(), fits);
                    if let Ok(reserved) = done { open.push((who % 2, reserved)); }
                }
                Step::Extend(which, amount) if !open.is_empty() => {
                    let at = which % open.len();
                    let mut extending = Box::pin(open[at].1.extend(usd(amount), now()));
                    while extending.as_mut().poll(&mut context).is_pending() {
                        file.write(&ledger, false, false);
                    }
                }
                Step::Settle(which, percent) if !open.is_empty() => {
                    let (who, reserved) = open.swap_remove(which % open.len());
                    let cost = reserved.amount().nanos() * percent / 100;
                    for claim in claims(who) { *truly.entry(claim.name).or_default() += cost; }
                    reserved.settle(usd(cost));
                }
                Step::Drop(which) if !open.is_empty() => { open.swap_remove(which % open.len()); }
                Step::Write(all) => file.write(&ledger, all, false),
                Step::Crash => {
                    // What was open may have cost all that it might.
                    for (who, reserved) in open.drain(..) {
                        for claim in claims(who) { *truly.entry(claim.name).or_default() += reserved.amount().nanos(); }
                        std::mem::forget(reserved);
                    }
                    ledger = fresh();
                }
                Step::Stop => {
                    open.clear();
                    file.write(&ledger, true, false);
                    file.write(&ledger, true, true);
                    ledger = fresh();
                }
                _ => {}
            }
            for (id, spent, reserved) in ledger.standing() {
                let limit = limits.iter().find(|it| it.account == id).expect("one of them").limit;
                prop_assert!(spent.plus(reserved) <= limit);
                prop_assert!(spent.nanos() >= truly.get(&id.rule).copied().unwrap_or(0), "undercounted");
            }
        }
    }
}
