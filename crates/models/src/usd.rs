//! US dollars as whole nano-units. There is no float in what is paid.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

const NANOS: u64 = 1_000_000_000;
const DECIMALS: usize = 9;

/// An amount of US dollars, in nano-units. Written as a decimal number in quotes, `"2.50"`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Usd(u64);

impl Usd {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// More than anybody has.
    pub const MAX: Self = Self(u64::MAX);

    /// So many nano-units.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }
    /// How many nano-units.
    pub const fn nanos(self) -> u64 {
        self.0
    }
    /// The sum, at most [`Usd::MAX`], which no limit admits.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
    /// The difference, at least nothing.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Usd {
    /// Exact, without zeros at the end: `0.00125`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / NANOS, self.0 % NANOS);
        if part == 0 {
            return write!(f, "{whole}");
        }
        let part = format!("{part:0DECIMALS$}");
        write!(f, "{whole}.{}", part.trim_end_matches('0'))
    }
}

impl fmt::Debug for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "${self}")
    }
}

/// What an amount looks like.
const RULE: &str = "expected dollars in quotes with at most nine decimals, such as \"2.50\"";

impl FromStr for Usd {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > DECIMALS {
            return Err(RULE);
        }
        let whole: u64 = whole.parse().map_err(|_| RULE)?;
        let part: u64 = format!("{part:0<DECIMALS$}").parse().map_err(|_| RULE)?;
        whole.checked_mul(NANOS).and_then(|nanos| nanos.checked_add(part)).map(Self).ok_or(RULE)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer).map_err(|_| D::Error::custom(RULE))?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for Usd {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Usd".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "usd" })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn dollars_read_as_people_write_them_and_never_round() {
        for (text, nanos) in [
            ("2.50", 2_500_000_000),
            ("0", 0),
            ("0.000000001", 1),
            ("15", 15 * NANOS),
            ("007.5", 7_500_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Usd(nanos)), "{text}");
        }
        for wrong in ["", ".", "1.", ".5", "-1", "+1", "1e3", "1,5", "0.0000000001", " 1", "18446744074"] {
            assert_eq!(wrong.parse::<Usd>(), Err(RULE), "{wrong:?}");
        }
        assert_eq!(Usd(1_250_000).to_string(), "0.00125");
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(nanos: u64) {
            prop_assert_eq!(Usd(nanos).to_string().parse(), Ok(Usd(nanos)));
        }
    }
}
