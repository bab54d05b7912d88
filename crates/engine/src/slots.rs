use std::{
    collections::BinaryHeap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use steadfast_core::World;
use tokio::sync::oneshot;

use crate::Priority;

/// How much later a run counts as arrived for each step down in priority. It bounds the
/// wait of low ones behind a stream of urgent ones: nothing starves.
const AGING: Duration = Duration::from_secs(10);

/// A bounded number of places, given by priority and then by arrival.
#[derive(Clone)]
pub(crate) struct Slots {
    world: World,
    state: Arc<Mutex<State>>,
}

struct State {
    free: usize,
    waiting: BinaryHeap<Waiting>,
    arrivals: u64,
}

struct Waiting {
    rank: (Duration, u64),
    place: oneshot::Sender<Permit>,
}

impl PartialEq for Waiting {
    fn eq(&self, other: &Self) -> bool {
        self.rank == other.rank
    }
}
impl Eq for Waiting {}
impl PartialOrd for Waiting {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Waiting {
    /// The heap gives its greatest: the one that arrived first.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.rank.cmp(&self.rank)
    }
}

/// A place; free again when dropped.
pub(crate) struct Permit(Option<Slots>);

impl Slots {
    pub(crate) fn new(world: World, places: usize) -> Self {
        let state = State { free: places.max(1), waiting: BinaryHeap::new(), arrivals: 0 };
        Self { world, state: Arc::new(Mutex::new(state)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place, as soon as it is this one's turn. Safe to drop half-way.
    pub(crate) async fn take(&self, priority: Priority) -> Permit {
        let place = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Permit(Some(self.clone()));
            }
            let (place, given) = oneshot::channel();
            let arrived = self.world.clock().elapsed() + AGING * (priority as u32);
            state.arrivals += 1;
            let rank = (arrived, state.arrivals);
            state.waiting.push(Waiting { rank, place });
            given
        };
        // The sender lives in the heap until it is used, and the heap lives in `self`.
        place.await.unwrap_or(Permit(None))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(slots) = self.0.take() else { return };
        loop {
            let next = {
                let mut state = slots.lock();
                let Some(next) = state.waiting.pop() else {
                    state.free += 1;
                    return;
                };
                next
            };
            match next.place.send(Permit(Some(slots.clone()))) {
                Ok(()) => return,
                // Whoever waited has gone; the place must not free itself a second time.
                Err(mut unused) => unused.0 = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn urgent_ones_go_first_and_old_ones_are_not_starved() {
        let (world, clock) = World::manual(1);
        let slots = Slots::new(world, 1);
        let first = slots.take(Priority::Normal).await;
        let mut order = Vec::new();
        let low = slots.take(Priority::Low);
        tokio::pin!(low);
        assert!(futures::poll!(&mut low).is_pending());
        clock.advance(AGING * 4);
        let urgent = slots.take(Priority::Critical);
        tokio::pin!(urgent);
        assert!(futures::poll!(&mut urgent).is_pending());
        let normal = slots.take(Priority::Normal);
        tokio::pin!(normal);
        assert!(futures::poll!(&mut normal).is_pending());
        drop(first);
        order.push("low");
        drop(low.await);
        drop(urgent.await);
        drop(normal.await);
        assert_eq!(slots.lock().free, 1);
        assert_eq!(order, ["low"]);
    }

    #[tokio::test]
    async fn a_waiter_that_leaves_does_not_take_its_place_along() {
        let slots = Slots::new(World::manual(1).0, 1);
        let first = slots.take(Priority::Normal).await;
        {
            let gone = slots.take(Priority::Critical);
            tokio::pin!(gone);
            assert!(futures::poll!(&mut gone).is_pending());
        }
        drop(first);
        assert_eq!(slots.lock().free, 1);
    }
}
