use std::{fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned, de::Error as _};
use serde_json::value::RawValue;
use steadfast_core::{Failure, strict::Strictly};
use steadfast_log::PayloadId;

use crate::grown::Grown;

/// A JSON value that the engine carries without looking inside: inputs, results, signals.
/// Cheap to clone. Large ones are stored once, beside the log, and referred to.
#[derive(Clone)]
pub enum Data {
    /// The value's text.
    Inline(Arc<RawValue>),
    /// Where the value is stored, and how many bytes it has.
    Stored(PayloadId, u64),
    /// The parts that it is made of, and how many bytes they have together.
    Grown(Arc<Grown>, u64),
}

/// How a reference looks in an event. A value that begins like one is always stored, so
/// that the two cannot be mistaken for each other.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference<T> {
    #[serde(rename = "$payload")]
    to: T,
    bytes: u64,
}

const REFERENCE_PREFIX: &str = "{\"$payload\"";

impl Data {
    /// The value as JSON.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, Failure> {
        serde_json::value::to_raw_value(value).map(|raw| Self::Inline(raw.into())).map_err(|error| {
            Failure::internal("data.not_json", format!("value cannot be written as JSON: {error}"))
        })
    }
    /// `null`.
    #[expect(clippy::expect_used, reason = "null is JSON")]
    pub fn null() -> Self {
        Self::of(&()).expect("null is JSON")
    }
    /// From JSON text.
    pub fn parse(text: &str) -> Result<Self, Failure> {
        serde_json::from_str::<Box<RawValue>>(text)
            .map(|raw| Self::Inline(raw.into()))
            .map_err(|error| Failure::refused("data.not_json", format!("not JSON: {error}")))
    }
    /// The value read as a type. A stored value must have been loaded first.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        match self {
            Self::Inline(raw) => serde_json::from_str::<Strictly<T>>(raw.get())
                .map(|Strictly(value)| value)
                .map_err(|error| Failure::refused("data.shape", format!("value has another shape: {error}"))),
            Self::Stored(id, _) => {
                Err(Failure::internal("data.not_loaded", format!("payload {id} is not loaded")))
            }
            Self::Grown(..) => Err(Failure::internal("data.not_loaded", "a value in parts is not loaded")),
        }
    }
    /// The JSON text; a stored value's reference.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
    /// Must it be stored beside the log rather than inside an event?
    pub(crate) fn spills(&self, inline_max: usize) -> Option<&str> {
        match self {
            Self::Inline(raw) if raw.get().len() > inline_max || raw.get().starts_with(REFERENCE_PREFIX) => {
                Some(raw.get())
            }
            _ => None,
        }
    }
    /// What of it may stand beside the log: all of it, or what a value in parts adds.
    pub(crate) fn own(&mut self) -> &mut Self {
        match self {
            Self::Inline(_) | Self::Stored(..) => self,
            Self::Grown(grown, _) => &mut Arc::make_mut(grown).text,
        }
    }
    /// The same value? Text first, since equal code writes equal text.
    pub(crate) fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Inline(a), Self::Inline(b)) => {
                let value = |raw: &RawValue| serde_json::from_str::<serde_json::Value>(raw.get()).ok();
                a.get() == b.get() || value(a) == value(b)
            }
            (Self::Stored(a, _), Self::Stored(b, _)) => a == b,
            (Self::Grown(a, _), Self::Grown(b, _)) => a == b,
            _ => false,
        }
    }
}

impl PartialEq for Data {
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
    }
}

/// Masked: values may be personal.
impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(raw) => write!(f, "[{} bytes]", raw.get().len()),
            Self::Stored(id, bytes) => write!(f, "[{bytes} bytes at {id}]"),
            Self::Grown(_, bytes) => write!(f, "[{bytes} bytes in parts]"),
        }
    }
}

impl Serialize for Data {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Inline(raw) => raw.serialize(serializer),
            Self::Stored(id, bytes) => Reference { to: id, bytes: *bytes }.serialize(serializer),
            Self::Grown(grown, bytes) => Reference { to: &**grown, bytes: *bytes }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Data {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with(REFERENCE_PREFIX) {
            let Reference { to, bytes }: Reference<Box<RawValue>> =
                serde_json::from_str(raw.get()).map_err(D::Error::custom)?;
            let to = to.get();
            let read = if to.starts_with('"') {
                serde_json::from_str(to).map(|id| Self::Stored(id, bytes))
            } else {
                serde_json::from_str(to).map(|grown| Self::Grown(Arc::new(grown), bytes))
            };
            return read.map_err(D::Error::custom);
        }
        Ok(Self::Inline(raw.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_looks_like_a_reference_is_always_stored() {
        let sly = Data::of(&serde_json::json!({ "$payload": "x" })).expect("json");
        assert!(sly.spills(1_000_000).is_some());
        assert!(Data::of("plain").expect("json").spills(100).is_none());
    }

    #[test]
    fn equal_values_are_the_same_in_any_spelling() {
        let a = Data::parse(r#"{"a":1,"b":[2]}"#).expect("json");
        let b = Data::parse(r#"{ "b": [2], "a": 1 }"#).expect("json");
        assert_eq!(a, b);
        assert_ne!(a, Data::null());
    }
}
