//! A deadline travels with a call.
//!
//! Timeouts do not compose: a caller that waits 10 s for something that tries four times
//! 5 s gets nothing, while the work goes on for nobody. So whoever is asked makes one
//! [`Deadline`] out of the time there is, and everything below takes it as an argument,
//! shortens it where it has less patience ([`Deadline::within`]) and never lengthens it.
//! What cannot start in time does not start.
//!
//! It is a point on the monotonic clock: setting the wall clock moves no deadline, and it
//! means nothing in another process; there, send what [`Deadline::remaining`] says.

use std::{future::Future, pin::pin, task::Poll, time::Duration};

use futures::poll;
use steadfast_core::World;

/// When a call must be over.
#[derive(Debug, Clone)]
pub struct Deadline {
    world: World,
    at: Duration,
}

/// The deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the deadline passed")]
pub struct Elapsed;

impl Deadline {
    /// From now on, so long.
    pub fn after(world: &World, budget: Duration) -> Self {
        Self { world: world.clone(), at: world.clock().elapsed().saturating_add(budget) }
    }
    /// This one, or sooner: at most `budget` from now.
    pub fn within(&self, budget: Duration) -> Self {
        self.clone().min(Self::after(&self.world, budget))
    }
    /// The sooner of two.
    pub fn min(self, other: Self) -> Self {
        if other.at < self.at { other } else { self }
    }
    /// The time left; zero once it has passed.
    pub fn remaining(&self) -> Duration {
        self.at.saturating_sub(self.world.clock().elapsed())
    }
    /// Has it passed?
    pub fn is_over(&self) -> bool {
        self.remaining().is_zero()
    }
    /// Drops `work` when the deadline passes; does not start it if it has passed.
    pub async fn run<T>(&self, work: impl Future<Output = T>) -> Result<T, Elapsed> {
        if self.is_over() {
            return Err(Elapsed);
        }
        let mut work = pin!(work);
        // Most work is done at once, and needs no timer.
        if let Poll::Ready(done) = poll!(&mut work) {
            return Ok(done);
        }
        tokio::select! {
            biased;
            done = work => Ok(done),
            () = self.world.clock().sleep(self.remaining()) => Err(Elapsed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn a_deadline_only_ever_gets_shorter_and_ends_what_runs() {
        let (world, clock) = World::manual(1);
        let deadline = Deadline::after(&world, 10 * SECOND);
        assert_eq!(deadline.within(60 * SECOND).remaining(), 10 * SECOND);
        assert_eq!(deadline.within(3 * SECOND).remaining(), 3 * SECOND);
        clock.jump(steadfast_core::Time::NEVER);
        assert_eq!(deadline.remaining(), 10 * SECOND);
        assert_eq!(deadline.run(ready(7)).await, Ok(7));
        let (late, ()) = tokio::join!(deadline.run(pending::<()>()), async {
            clock.advance(10 * SECOND);
        });
        assert_eq!(late, Err(Elapsed));
    }

    #[tokio::test]
    async fn what_is_late_does_not_start() {
        let (world, clock) = World::manual(1);
        let deadline = Deadline::after(&world, SECOND);
        clock.advance(SECOND);
        assert_eq!(deadline.run(async { panic!("started") }).await, Err::<(), _>(Elapsed));
    }
}
