use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An opaque place in the log. Ordered within a shard only; numbers may have gaps.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Position {
    /// Raised by every restore, so that a place in a lost future is recognized.
    pub incarnation: u32,
    /// Which shard; 0 in this version.
    pub shard: u16,
    /// The place in the shard. 0 is before the first event.
    pub n: u64,
}

/// A position as text, for lists and subscribers outside.
pub type Cursor = String;

impl Position {
    /// Before everything.
    pub const START: Self = Self { incarnation: 0, shard: 0, n: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{:x}.{:x}.{:x}", self.incarnation, self.shard, self.n)
    }
}

impl FromStr for Position {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = text.strip_prefix('p')?.split('.');
            let position = Self {
                incarnation: u32::from_str_radix(parts.next()?, 16).ok()?,
                shard: u16::from_str_radix(parts.next()?, 16).ok()?,
                n: u64::from_str_radix(parts.next()?, 16).ok().filter(|n| i64::try_from(*n).is_ok())?,
            };
            // Letter by letter: one place has one cursor.
            (position.to_string() == text).then_some(position)
        };
        read().ok_or_else(|| {
            format!(
                "{:?} is not a cursor: use one that an earlier answer returned",
                text.chars().take(64).collect::<String>()
            )
        })
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_anything_else_is_refused() {
        let position = Position { incarnation: 3, shard: 1, n: 0xABCD };
        assert_eq!(position.to_string().parse(), Ok(position));
        for wrong in [
            "",
            "p",
            "p1.0",
            "p1.0.1.2",
            "1.0.1",
            "p1.0.ffffffffffffffff",
            "p+1.0.1",
            "p01.0.1",
            "pA.0.1",
            "p1.0.1é",
        ] {
            assert!(wrong.parse::<Position>().is_err(), "{wrong:?}");
        }
    }
}
