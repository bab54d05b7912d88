use std::{pin::pin, time::Duration};

use futures::poll;
use steadfast_core::{World, time::Sleep};
use steadfast_resilience::Deadline;

use crate::failure::Wait;

/// A wait that begins anew with every sign of life, and ends with a deadline at the latest.
///
/// It has one timer, however many signs there are: a timer that rings too early is set again
/// for what is left.
pub(crate) struct Patience {
    world: World,
    limit: Duration,
    last: Duration,
    end: Duration,
    what: Wait,
    timer: Option<Sleep>,
}

impl Patience {
    /// Waits `limit` for `what`, from now on.
    pub(crate) fn new(world: &World, what: Wait, limit: Duration, deadline: &Deadline) -> Self {
        let now = world.clock().elapsed();
        let end = now.saturating_add(deadline.remaining());
        Self { world: world.clone(), limit, last: now, end, what, timer: None }
    }
    /// There was a sign of life.
    pub(crate) fn renew(&mut self) {
        self.last = self.world.clock().elapsed();
    }
    /// From now on waits `limit` for something else.
    pub(crate) fn turn_to(&mut self, what: Wait, limit: Duration) {
        (self.what, self.limit, self.timer) = (what, limit, None);
        self.renew();
    }
    /// Waits for `work`.
    pub(crate) async fn wait<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Wait> {
        let mut work = pin!(work);
        if let std::task::Poll::Ready(done) = poll!(&mut work) {
            return Ok(done);
        }
        loop {
            let now = self.world.clock().elapsed();
            if now >= self.end {
                return Err(Wait::Total);
            }
            let until = self.last.saturating_add(self.limit);
            if now >= until {
                return Err(self.what);
            }
            let left = until.min(self.end).saturating_sub(now);
            let timer = self.timer.get_or_insert_with(|| self.world.clock().sleep(left));
            tokio::select! {
                biased;
                done = &mut work => return Ok(done),
                () = timer => self.timer = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test]
    async fn it_ends_a_while_after_the_last_sign_of_life_or_with_the_deadline() {
        let (world, clock) = World::manual(1);
        let deadline = Deadline::after(&world, 10 * SECOND);
        let mut patience = Patience::new(&world, Wait::NextToken, 3 * SECOND, &deadline);
        for _ in 0..3 {
            {
                let mut wait = pin!(patience.wait(pending::<()>()));
                assert!(poll!(&mut wait).is_pending());
                clock.advance(2 * SECOND);
                assert!(poll!(&mut wait).is_pending());
            }
            patience.renew();
        }
        // 6 s are over; the timer of the first second rings early and is set again.
        {
            let mut wait = pin!(patience.wait(pending::<()>()));
            assert!(poll!(&mut wait).is_pending());
            clock.advance(2 * SECOND);
            assert!(poll!(&mut wait).is_pending());
            clock.advance(SECOND);
            assert_eq!(wait.await, Err(Wait::NextToken));
        }
        patience.turn_to(Wait::FirstToken, 60 * SECOND);
        assert_eq!(patience.wait(async { 7 }).await, Ok(7));
        clock.advance(SECOND);
        assert_eq!(patience.wait(pending::<()>()).await, Err(Wait::Total));
    }
}
