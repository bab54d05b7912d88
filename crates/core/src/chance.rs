//! Chance comes in from outside too, so that a seed repeats a whole run.

use std::sync::{Mutex, PoisonError};

use rand::{Rng, SeedableRng, rngs::StdRng};

/// Where random numbers come from.
pub trait Chance: Send + Sync + 'static {
    /// Sixty-four random bits.
    fn bits(&self) -> u64;

    /// A fraction in `[0, 1)`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
    fn fraction(&self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `bound`; 0 when `bound` is 0.
    fn below(&self, bound: u64) -> u64 {
        // Multiply-shift; the bias is below 2^-32 for the small bounds used here.
        let wide = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }
}

/// The operating system's randomness.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemChance;

impl Chance for SystemChance {
    #[expect(clippy::disallowed_methods, reason = "this is the one place where chance enters")]
    fn bits(&self) -> u64 {
        rand::rng().next_u64()
    }
}

/// Repeatable randomness.
#[derive(Debug)]
pub struct Seeded(Mutex<StdRng>);

impl Seeded {
    /// The same seed gives the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Chance for Seeded {
    fn bits(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}

/// One number of the stream that belongs to `(seed, counter)`: SplitMix64.
/// Chance inside a run is this, and so costs no write.
pub const fn split_mix(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_bounds_hold() {
        let (a, b) = (Seeded::new(7), Seeded::new(7));
        for _ in 0..1_000 {
            assert_eq!(a.bits(), b.bits());
            assert!(a.below(10) < 10);
            let fraction = a.fraction();
            assert!((0.0..1.0).contains(&fraction));
            b.bits();
            b.bits();
        }
        assert_eq!(a.below(0), 0);
    }
}
