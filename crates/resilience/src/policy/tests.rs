use std::{
    future::pending,
    num::NonZeroU32,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use steadfast_core::{
    World,
    chance::Seeded,
    observe::{Observer, Signal},
    time::SystemClock,
};

use super::*;

/// A world on tokio's paused clock, which moves on whenever everybody waits.
fn paused() -> World {
    World::new(Arc::new(SystemClock::new()), Arc::new(Seeded::new(1)))
}

fn policy(world: &World, config: &PolicyConfig) -> (Policy, Deadline) {
    (Policy::new(config, Site::silent("model", world)), Deadline::after(world, Duration::from_mins(10)))
}

fn busy() -> Failure {
    Failure::upstream("busy", "busy")
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Observer for Heard {
    fn observe(&self, signal: Signal<'_>) {
        self.0.lock().expect("heard").push(match signal {
            Signal::Breaker { state, .. } => state.into(),
            Signal::Retry { attempt, .. } => format!("attempt {attempt}"),
            Signal::Rejected { by, .. } => by.into(),
            other => format!("{other:?}"),
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_recovers_is_answered_and_one_that_does_not_fails_after_four_attempts() {
    let (policy, deadline) = policy(&paused(), &PolicyConfig::default());
    let recovers = |attempt, _| async move { if attempt < 3 { Err(busy()) } else { Ok(attempt) } };
    assert_eq!(policy.call(&deadline, recovers).await, Ok(3));

    let attempts = AtomicU32::new(0);
    let fails = |attempt, _| {
        attempts.store(attempt, Relaxed);
        async { Err::<(), _>(busy()) }
    };
    assert_eq!(policy.call(&deadline, fails).await, Err(busy()));
    assert_eq!(attempts.load(Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn what_blames_the_caller_is_not_retried_and_not_held_against_the_callee() {
    let (policy, deadline) = policy(&paused(), &PolicyConfig::default());
    for _ in 0..30 {
        let attempts = AtomicU32::new(0);
        let refused = |_, _| {
            attempts.fetch_add(1, Relaxed);
            async { Err::<(), _>(Failure::refused("no", "no")) }
        };
        assert_eq!(policy.call(&deadline, refused).await, Err(Failure::refused("no", "no")));
        assert_eq!(attempts.load(Relaxed), 1);
    }
    assert_eq!(policy.breaker().expect("a breaker").state().state, "closed");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_cut_off_and_leaves_doubt() {
    let world = paused();
    let (policy, deadline) = policy(&world, &PolicyConfig::action_group());
    let begun = world.clock().elapsed();
    let failure = policy.call(&deadline, |_, _| pending::<Result<(), _>>()).await.expect_err("cut off");
    assert_eq!(failure.code, "resilience.timeout");
    assert!(failure.retryable && !failure.nothing_happened);
    let took = world.clock().elapsed().saturating_sub(begun);
    // Three failures open an action group's breaker, so there is no fourth attempt.
    assert!(
        took >= 3 * defaults::ACTION_TIMEOUT && took < 4 * defaults::ACTION_TIMEOUT + Duration::from_secs(3)
    );
    assert_eq!(policy.breaker().expect("a breaker").state().state, "open");
    let failure = policy.call(&deadline, |_, _| async { Ok(()) }).await.expect_err("refused");
    assert_eq!((&*failure.code, failure.nothing_happened), ("resilience.open", true));
    assert!(crate::retry_after(&failure).is_some());
}

#[tokio::test(start_paused = true)]
async fn the_callers_deadline_bounds_everything() {
    let world = paused();
    let (policy, _) = policy(&world, &PolicyConfig::default());
    let deadline = Deadline::after(&world, Duration::from_secs(2));
    let failure = policy.call(&deadline, |_, _| pending::<Result<(), _>>()).await.expect_err("late");
    assert_eq!((&*failure.code, failure.nothing_happened), ("resilience.late", false));
    assert_eq!(world.clock().elapsed(), Duration::from_secs(2));
    let never = |_, _| async { panic!("started") };
    let failure = policy.call::<(), _>(&deadline, never).await.expect_err("late");
    assert_eq!((&*failure.code, failure.nothing_happened), ("resilience.late", true));
}

#[tokio::test(start_paused = true)]
async fn retries_pass_the_rate_limit_too() {
    let world = paused();
    let rate_limit = RateLimitConfig { enabled: true, ..RateLimitConfig::default() };
    let retry = RetryConfig::waiting(&[Duration::ZERO; 3]);
    let (policy, deadline) = policy(&world, &PolicyConfig { rate_limit, retry, ..PolicyConfig::default() });
    let fails = |_, _| async { Err::<(), _>(busy()) };
    assert_eq!(policy.call(&deadline, fails).await, Err(busy()));
    assert_eq!(world.clock().elapsed(), Duration::from_secs(3), "four attempts at one a second");
}

#[tokio::test]
async fn a_token_that_the_breaker_made_useless_is_given_back() {
    let (world, clock) = World::manual(1);
    let second = Duration::from_secs(1);
    let config = PolicyConfig {
        rate_limit: RateLimitConfig {
            enabled: true,
            wait: Duration::ZERO.into(),
            ..RateLimitConfig::default()
        },
        breaker: BreakerConfig { failures: NonZeroU32::MIN, ..BreakerConfig::default() },
        retry: RetryConfig { enabled: false, ..RetryConfig::default() },
        ..PolicyConfig::default()
    };
    let (policy, deadline) = policy(&world, &config);
    let code = |result: Result<(), Failure>| result.expect_err("fails").code;
    assert_eq!(code(policy.call(&deadline, |_, _| async { Err(busy()) }).await), "busy");
    let works = |_, _| async { Ok(()) };
    assert_eq!(code(policy.call(&deadline, works).await), "resilience.limited");
    clock.advance(second);
    assert_eq!(code(policy.call(&deadline, works).await), "resilience.open");
    policy.breaker().expect("a breaker").reset();
    // Also shows that a call may move between threads.
    let call = tokio::spawn(async move { policy.call(&deadline, works).await });
    assert_eq!(call.await.expect("no panic"), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn rejections_and_changes_are_reported() {
    let heard = Arc::new(Heard::default());
    let world = paused();
    let failures = NonZeroU32::new(2).expect("two");
    let breaker = BreakerConfig { failures, ..BreakerConfig::default() };
    let config = PolicyConfig { breaker, ..PolicyConfig::default() };
    let observer: Arc<dyn Observer> = heard.clone();
    let policy = Policy::new(&config, Site::new("model", &world, &observer));
    let deadline = Deadline::after(&world, Duration::from_mins(10));
    let failure = policy.call(&deadline, |_, _| async { Err::<(), _>(busy()) }).await;
    assert_eq!(failure, Err(busy()), "the callee's own words, not the breaker's");
    assert_eq!(*heard.0.lock().expect("heard"), ["attempt 2", "open", "attempt 3", "resilience.open"]);
}
