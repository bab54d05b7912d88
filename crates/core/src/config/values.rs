//! Values whose text says its unit. A bare number is refused: nobody should have to guess.

use std::{borrow::Cow, fmt, path::PathBuf, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::Environment;
use crate::{Coded, Fault, secret::Secret};

const PERIOD_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1_000),
    ("us", 1),
];
const PERIOD_RULE: &str =
    "expected a whole number and a unit (us, ms, s, m, h or d), such as \"30s\" or \"250ms\"";
const SIZE_UNITS: [(&str, u64); 5] =
    [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const SIZE_RULE: &str = "expected a whole number and a unit (B, KiB, MiB, GiB or TiB), such as \"256KiB\"";

/// A length of time in whole microseconds, written `250ms`, `30s`, `5m`, `24h`, `14d`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Period(u64);

impl Period {
    /// The length of time.
    pub const fn get(self) -> Duration {
        Duration::from_micros(self.0)
    }
}

impl From<Duration> for Period {
    /// Below a microsecond is cut off.
    fn from(duration: Duration) -> Self {
        Self(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.get()
    }
}

/// A number of bytes, written `512B`, `256KiB`, `64MiB`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Size(u64);

impl Size {
    /// So many bytes.
    pub const fn bytes(bytes: u64) -> Self {
        Self(bytes)
    }
    /// How many bytes.
    pub const fn get(self) -> u64 {
        self.0
    }
    /// How many bytes, as what lengths in memory are counted with.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

fn read(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, scale) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

/// In the largest unit that leaves no fraction.
fn write(f: &mut fmt::Formatter<'_>, value: u64, units: &[(&str, u64)], zero: &str) -> fmt::Result {
    match units.iter().find(|(_, scale)| value.is_multiple_of(*scale)) {
        Some((unit, scale)) if value > 0 => write!(f, "{}{unit}", value / scale),
        _ => f.write_str(zero),
    }
}

macro_rules! value_with_unit {
    ($name:ident, $units:ident, $rule:ident, $zero:literal, $format:literal) => {
        impl FromStr for $name {
            type Err = &'static str;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                read(text.trim(), &$units).map(Self).ok_or($rule)
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write(f, self.0, &$units, $zero)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Reader;
                impl de::Visitor<'_> for Reader {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str($rule.trim_start_matches("expected "))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Reader)
            }
        }
        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "format": $format })
            }
        }
    };
}

value_with_unit!(Period, PERIOD_UNITS, PERIOD_RULE, "0s", "period");
value_with_unit!(Size, SIZE_UNITS, SIZE_RULE, "0B", "size");

/// For `#[serde(deserialize_with = "…")]`: a [`Period`] that is longer than nothing.
pub fn positive<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Period, D::Error> {
    let period = Period::deserialize(deserializer)?;
    if period.0 == 0 {
        return Err(de::Error::custom("expected a period longer than zero, such as \"30s\""));
    }
    Ok(period)
}

/// A part of a whole: a number from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64")]
pub struct Share(f64);

impl Share {
    /// The number; outside 0..=1 or not a number is an error.
    pub const fn new(share: f64) -> Result<Self, &'static str> {
        if share >= 0.0 && share <= 1.0 {
            Ok(Self(share))
        } else {
            Err("expected a share from 0 to 1, such as 0.1 for 10 %")
        }
    }
    /// The number, from 0 to 1.
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl TryFrom<f64> for Share {
    type Error = &'static str;
    fn try_from(share: f64) -> Result<Self, Self::Error> {
        Self::new(share)
    }
}

impl JsonSchema for Share {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "format": "share", "minimum": 0, "maximum": 1 })
    }
}

/// Where a secret is found: `{ env = "NAME" }` or `{ file = "PATH" }`, never the secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawSource", into = "RawSource")]
pub enum SecretSource {
    /// In an environment variable.
    Env(String),
    /// In a file; line breaks at its end do not count.
    File(PathBuf),
}

/// What serde knows a [`SecretSource`] by.
pub(super) const SECRET: &str = "SecretSource";
pub(super) const SECRET_RULE: &str = "expected either { env = \"NAME\" } or { file = \"PATH\" }";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename = "SecretSource")]
struct RawSource {
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
}

impl TryFrom<RawSource> for SecretSource {
    type Error = &'static str;
    fn try_from(raw: RawSource) -> Result<Self, Self::Error> {
        match (raw.env, raw.file) {
            (Some(name), None) => Ok(Self::Env(name)),
            (None, Some(path)) => Ok(Self::File(path)),
            _ => Err(SECRET_RULE),
        }
    }
}

impl From<SecretSource> for RawSource {
    fn from(source: SecretSource) -> Self {
        match source {
            SecretSource::Env(name) => Self { env: Some(name), file: None },
            SecretSource::File(path) => Self { env: None, file: Some(path) },
        }
    }
}

impl JsonSchema for SecretSource {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "SecretSource".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object", "format": "secret", "additionalProperties": false,
            "properties": { "env": { "type": "string" }, "file": { "type": "string" } },
        })
    }
}

/// A secret that is not where the configuration says.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// No such variable, or an empty one.
    #[error("variable {0} is not set or empty: set it, or point the configuration elsewhere")]
    Unset(String),
    /// The file cannot be read.
    #[error("secret file {path} cannot be read: {source}")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds nothing.
    #[error("secret file {0} is empty: write the secret into it")]
    Empty(String),
}

impl Coded for SecretError {
    fn code(&self) -> &'static str {
        "config.secret"
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

impl SecretSource {
    /// Reads the secret as it is now; read again to follow changes.
    pub fn read(&self, env: &Environment) -> Result<Secret<String>, SecretError> {
        match self {
            Self::Env(name) => match env.get(name) {
                Some(text) if !text.is_empty() => Ok(Secret::new(text.clone())),
                _ => Err(SecretError::Unset(name.clone())),
            },
            Self::File(path) => {
                let shown = path.display().to_string();
                match std::fs::read_to_string(path) {
                    Err(source) => Err(SecretError::Unreadable { path: shown, source }),
                    Ok(text) => match text.trim_end_matches(['\r', '\n']) {
                        "" => Err(SecretError::Empty(shown)),
                        secret => Ok(Secret::new(secret.to_owned())),
                    },
                }
            }
        }
    }
}
