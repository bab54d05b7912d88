//! When the first choice fails there is usually a worse answer that is better than none.
//!
//! The chain goes down in order: **primary**, any number of **secondaries**, **safe mode**,
//! and then it **escalates**: whoever called gets every failure, to put before a person.
//! The caller learns which level answered and what failed above it; a worse answer that
//! looks like the best one is how quality rots unseen.
//!
//! A failure that blames the caller ends the chain: the next level would be asked the same
//! wrong question. All levels share one deadline. Safe mode is plain code that waits for
//! nothing (a template, a cached answer, a refusal to act), so it runs even when time is up.
//!
//! Levels are tried although an earlier one may have had its effect. So they either have
//! none, or share one idempotency key with one callee.

use std::future::Future;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use steadfast_core::{Coded as _, Failure, Fault, observe::Signal};

use crate::{Deadline, Error, Site};

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// The first choice.
    Primary,
    /// Another way to the same kind of answer.
    Secondary,
    /// Code that needs nothing.
    SafeMode,
}

/// An answer, and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer<T> {
    /// The answer itself.
    pub value: T,
    /// Who gave it.
    pub level: Level,
    /// What failed before, in order.
    pub failures: Vec<Failure>,
}

/// No level answered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unanswered {
    /// The caller is to blame, so nobody else was asked.
    #[error(transparent)]
    Refused(Failure),
    /// All levels failed, in this order: a person must see it.
    #[error("no level of the fallback answered; {} failed, the first with: {}", .0.len(), .0.first().map_or("", |first| &first.message))]
    Escalated(Vec<Failure>),
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        let message = unanswered.to_string();
        match unanswered {
            Unanswered::Refused(failure) => failure,
            Unanswered::Escalated(failures) => Self {
                nothing_happened: failures.iter().all(|failure| failure.nothing_happened),
                retryable: failures.iter().any(|failure| failure.retryable),
                ..Self::upstream("resilience.escalated", message)
            },
        }
    }
}

/// A chain of ways to get a `T`. Futures do nothing before their turn.
pub struct Fallback<'a, T> {
    site: Site,
    levels: Vec<(Level, BoxFuture<'a, Result<T, Failure>>)>,
    safe_mode: Option<Box<dyn FnOnce() -> Option<T> + Send + 'a>>,
}

impl<'a, T> Fallback<'a, T> {
    /// A chain with its first choice.
    pub fn primary(site: Site, call: impl Future<Output = Result<T, Failure>> + Send + 'a) -> Self {
        Self { site, levels: vec![(Level::Primary, Box::pin(call))], safe_mode: None }
    }
    /// The next choice.
    pub fn secondary(mut self, call: impl Future<Output = Result<T, Failure>> + Send + 'a) -> Self {
        self.levels.push((Level::Secondary, Box::pin(call)));
        self
    }
    /// What to do without anybody; `None` if this case has no safe answer.
    pub fn safe_mode(mut self, answer: impl FnOnce() -> Option<T> + Send + 'a) -> Self {
        self.safe_mode = Some(Box::new(answer));
        self
    }
    /// Goes down the chain until somebody answers.
    pub async fn run(self, deadline: &Deadline) -> Result<Answer<T>, Unanswered> {
        let site = self.site;
        let fell_to = |level| {
            site.observer.observe(Signal::Fallback { name: &site.name, level });
        };
        let mut failures = Vec::new();
        for (level, call) in self.levels {
            let started = !deadline.is_over();
            match deadline.run(call).await {
                Ok(Ok(value)) => {
                    if level == Level::Secondary {
                        fell_to("secondary");
                    }
                    return Ok(Answer { value, level, failures });
                }
                Ok(Err(failure)) if failure.fault == Fault::Caller => {
                    return Err(Unanswered::Refused(failure));
                }
                Ok(Err(failure)) => failures.push(failure),
                Err(_) => failures.push(Error::Late { name: site.name.clone(), started }.failure()),
            }
        }
        if let Some(value) = self.safe_mode.and_then(|answer| answer()) {
            fell_to("safe_mode");
            return Ok(Answer { value, level: Level::SafeMode, failures });
        }
        fell_to("escalated");
        Err(Unanswered::Escalated(failures))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::{Ready, pending, ready},
        time::Duration,
    };

    use steadfast_core::World;

    use super::*;

    fn fails(code: &str) -> Ready<Result<u8, Failure>> {
        ready(Err(Failure::upstream(code, "down")))
    }

    fn setting() -> (Site, Deadline, std::sync::Arc<steadfast_core::time::ManualClock>) {
        let (world, clock) = World::manual(1);
        (Site::silent("answers", &world), Deadline::after(&world, Duration::from_secs(1)), clock)
    }

    #[tokio::test]
    async fn the_first_level_that_answers_wins_and_says_what_failed_above() {
        let (site, deadline, _) = setting();
        let never = async { panic!("asked too early") };
        let chain = Fallback::primary(site, fails("a")).secondary(fails("b")).secondary(async { Ok(3) });
        let answer = chain.secondary(never).safe_mode(|| Some(9)).run(&deadline).await.expect("an answer");
        assert_eq!((answer.value, answer.level), (3, Level::Secondary));
        assert_eq!(answer.failures.iter().map(|failure| &*failure.code).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[tokio::test]
    async fn without_any_answer_it_is_safe_mode_and_then_a_person() {
        let (site, deadline, _) = setting();
        let chain = Fallback::primary(site.clone(), fails("a")).safe_mode(|| Some(9));
        assert_eq!(chain.run(&deadline).await.expect("an answer").level, Level::SafeMode);
        let chain = Fallback::primary(site, fails("a")).secondary(fails("b")).safe_mode(|| None);
        let failure = Failure::from(chain.run(&deadline).await.expect_err("escalated"));
        assert_eq!(failure.code, "resilience.escalated");
        assert!(failure.retryable && !failure.nothing_happened);
    }

    #[tokio::test]
    async fn who_asks_wrongly_is_told_so_by_the_first() {
        let (site, deadline, _) = setting();
        let refused = Failure::refused("invalid", "no such currency");
        let primary = ready(Err(refused.clone()));
        let chain = Fallback::primary(site, primary).secondary(async { Ok(1) }).safe_mode(|| Some(9));
        assert_eq!(chain.run(&deadline).await, Err(Unanswered::Refused(refused)));
    }

    #[tokio::test]
    async fn a_level_that_hangs_takes_the_time_of_those_below_but_not_of_safe_mode() {
        let (site, deadline, clock) = setting();
        let chain = Fallback::primary(site, pending()).secondary(async { panic!("late") });
        let run = chain.safe_mode(|| Some(9)).run(&deadline);
        let (answer, ()) = tokio::join!(run, async { clock.advance(Duration::from_secs(1)) });
        let answer = answer.expect("an answer");
        assert_eq!(answer.level, Level::SafeMode);
        assert_eq!(answer.failures.iter().map(|it| it.nothing_happened).collect::<Vec<_>>(), [false, true]);
    }
}
