use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::Recorded;

/// A body that does not read as its event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{stream} version {version}: {kind} of schema {schema} cannot be read: {reason}")]
pub struct DecodeError {
    /// Where it stands.
    pub stream: String,
    /// Its version there.
    pub version: u64,
    /// Its type.
    pub kind: String,
    /// Its shape's version.
    pub schema: u16,
    /// What is wrong with it.
    pub reason: String,
}

impl DecodeError {
    pub(crate) fn of(recorded: &Recorded, reason: String) -> Self {
        Self {
            stream: recorded.stream.to_string(),
            version: recorded.version,
            kind: recorded.event.kind.to_string(),
            schema: recorded.event.schema,
            reason,
        }
    }
    /// Is its shape one of those up to `current`?
    pub(crate) fn check_known(recorded: &Recorded, current: u16) -> Result<(), Self> {
        if recorded.event.schema > current {
            let reason = format!("this binary knows schema {current} at most; run a newer one");
            return Err(Self::of(recorded, reason));
        }
        Ok(())
    }
}

type Upcast = fn(Value) -> Value;

/// How bodies of older shapes become today's: one function for each (type, schema), each
/// leading to the next schema.
#[derive(Debug, Clone, Default)]
pub struct Upcasters(BTreeMap<(&'static str, u16), Upcast>);

impl Upcasters {
    /// `upcast` turns a body of `schema` into one of `schema + 1`.
    pub fn with(mut self, kind: &'static str, schema: u16, upcast: Upcast) -> Self {
        self.0.insert((kind, schema), upcast);
        self
    }

    /// Reads a body as today's type, whose shape is `current`.
    pub fn decode<T: DeserializeOwned>(&self, recorded: &Recorded, current: u16) -> Result<T, DecodeError> {
        let event = &recorded.event;
        let fail = |reason: String| DecodeError::of(recorded, reason);
        DecodeError::check_known(recorded, current)?;
        if event.schema == current {
            return serde_json::from_slice(&event.body).map_err(|error| fail(error.to_string()));
        }
        let mut body = serde_json::from_slice(&event.body).map_err(|error| fail(error.to_string()))?;
        for schema in event.schema..current {
            let upcast = self
                .0
                .iter()
                .find(|((kind, from), _)| *kind == event.kind && *from == schema)
                .ok_or_else(|| fail(format!("no upcaster from schema {schema}")))?;
            body = upcast.1(body);
        }
        serde_json::from_value(body).map_err(|error| fail(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde::Deserialize;
    use steadfast_core::{TenantId, World};

    use super::*;
    use crate::{NewEvent, Position, StreamId};

    #[derive(Debug, PartialEq, Deserialize)]
    struct Today {
        minor: i64,
    }

    #[test]
    fn old_bodies_become_todays_and_newer_ones_are_refused() {
        let recorded = |schema, body: &'static str| Recorded {
            position: Position::START,
            stream: StreamId::new(&TenantId::default(), "t", "1"),
            version: 1,
            event: NewEvent::new(&World::manual(1).0, "t.done", schema, Bytes::from_static(body.as_bytes())),
            side: None,
            ends: true,
        };
        let upcasters = Upcasters::default().with("t.done", 1, |mut body| {
            let whole = body["whole"].take();
            serde_json::json!({ "minor": whole.as_i64().unwrap_or(0) * 100 })
        });
        assert_eq!(upcasters.decode(&recorded(1, r#"{"whole":3}"#), 2), Ok(Today { minor: 300 }));
        assert_eq!(upcasters.decode(&recorded(2, r#"{"minor":3}"#), 2), Ok(Today { minor: 3 }));
        assert!(upcasters.decode::<Today>(&recorded(3, "{}"), 2).is_err());
        assert!(upcasters.decode::<Today>(&recorded(0, "{}"), 2).is_err());
        assert!(upcasters.decode::<Today>(&recorded(2, "\u{1}"), 2).is_err());
    }
}
