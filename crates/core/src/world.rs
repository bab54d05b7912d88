use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use uuid::Uuid;

use crate::{
    chance::{Chance, Seeded, SystemChance},
    time::{Clock, ManualClock, SystemClock, Time},
};

/// What comes in from outside: time and chance. Cheap to clone.
#[derive(Clone)]
pub struct World {
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    last_id: Arc<AtomicU64>,
}

impl World {
    /// A world of the given clock and chance.
    pub fn new(clock: Arc<dyn Clock>, chance: Arc<dyn Chance>) -> Self {
        Self { clock, chance, last_id: Arc::new(AtomicU64::new(0)) }
    }
    /// The real one.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemClock::new()), Arc::new(SystemChance))
    }
    /// A repeatable one, whose clock moves only when told.
    pub fn manual(seed: u64) -> (Self, Arc<ManualClock>) {
        // 2026-01-01T00:00:00Z
        let clock = Arc::new(ManualClock::at(Time::from_micros(1_767_225_600_000_000)));
        (Self::new(clock.clone(), Arc::new(Seeded::new(seed))), clock)
    }
    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }
    /// The chance.
    pub fn chance(&self) -> &dyn Chance {
        &*self.chance
    }
    /// The wall clock's time.
    pub fn now(&self) -> Time {
        self.clock.now()
    }
    /// A UUIDv7 (RFC 9562) that is greater than every earlier one of this world:
    /// milliseconds, then a 12-bit count that runs over into the milliseconds.
    pub fn uuid(&self) -> Uuid {
        let millis = u64::try_from(self.now().micros() / 1_000).unwrap_or(0);
        let floor = millis << 12;
        let stamp = self
            .last_id
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |last| Some(floor.max(last + 1)))
            .map_or(floor, |last| floor.max(last + 1));
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&(stamp >> 12).to_be_bytes()[2..]);
        let count = u16::try_from(stamp & 0xFFF).unwrap_or(0);
        bytes[6..8].copy_from_slice(&(0x7000 | count).to_be_bytes());
        bytes[8..].copy_from_slice(&self.chance.bits().to_be_bytes());
        bytes[8] = (bytes[8] & 0x3F) | 0x80;
        Uuid::from_bytes(bytes)
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_also_when_the_clock_goes_back() {
        let (world, clock) = World::manual(1);
        let mut last = world.uuid();
        assert_eq!(last.get_version_num(), 7);
        for i in 0..10_000 {
            if i == 5_000 {
                clock.jump(Time::from_micros(0));
            }
            let next = world.uuid();
            assert!(next > last);
            last = next;
        }
    }
}
