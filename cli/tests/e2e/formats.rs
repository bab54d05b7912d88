//! What was ever written is read: every type of event in every shape that it had.

use std::{borrow::Cow, collections::BTreeSet, fs};

use serde_json::Value;
use steadfast_core::{EventId, TenantId, Time};
use steadfast_log::{EventType, NewEvent, Position, Recorded, StreamId};

use crate::node::root;

/// Every type of event that anything here writes.
pub(crate) fn types() -> Vec<EventType> {
    let (engine, bank) = (steadfast_engine::record::EVENTS, steadfast_bank::events::EVENTS);
    [engine, bank, steadfast_bank_assistant::session::EVENTS, steadfast_models::keys::EVENTS].concat()
}

fn recorded(kind: &'static str, schema: u16, body: &Value) -> Recorded {
    Recorded {
        position: Position::START,
        stream: StreamId::new(&TenantId::default(), "some", "thing"),
        version: 3,
        event: NewEvent {
            id: EventId::from_bytes([1; 16]),
            kind: Cow::Borrowed(kind),
            schema,
            time: Time::default(),
            causation: None,
            correlation: None,
            session: None,
            key_id: None,
            body: serde_json::to_vec(body).expect("JSON").into(),
        },
        side: None,
        ends: true,
    }
}

/// A file for each type and shape, named so, with bodies as they are on logs.
#[test]
fn every_shape_of_every_event_has_a_fixture_that_reads_and_todays_are_written_as_they_read() {
    let folder = root().join("cli/tests/formats/events");
    let mut wanted = BTreeSet::new();
    for known in types() {
        for schema in 1..=known.schema {
            let name = format!("{}.{schema}.json", known.kind);
            let text = fs::read_to_string(folder.join(&name));
            let text = text.unwrap_or_else(|error| panic!("{name}: {error}: each shape needs a fixture"));
            let bodies: Vec<Value> = serde_json::from_str(&text).expect("an array of bodies");
            assert!(!bodies.is_empty(), "{name}");
            for body in &bodies {
                let written = (known.rewrite)(&recorded(known.kind, schema, body));
                let written = written.unwrap_or_else(|error| panic!("{name}: {error}"));
                let written: Value = serde_json::from_slice(&written).expect("JSON");
                assert!(schema < known.schema || written == *body, "{name}: {body} became {written}");
                let again = (known.rewrite)(&recorded(known.kind, known.schema, &written));
                assert_eq!(serde_json::from_slice::<Value>(&again.expect("reads")).expect("JSON"), written);
            }
            wanted.insert(name);
        }
    }
    let found = fs::read_dir(&folder).expect("fixtures");
    let found: BTreeSet<String> =
        found.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(found, wanted, "a fixture without a type is one that can no longer be read");
}

#[test]
fn an_event_of_a_newer_shape_is_refused_with_its_place_and_what_to_do() {
    for known in types() {
        let newer = recorded(known.kind, known.schema + 1, &Value::Object(serde_json::Map::new()));
        let error = (known.rewrite)(&newer).expect_err("it is not known").to_string();
        for said in [
            "default/some/thing version 3",
            known.kind,
            &format!("schema {}", known.schema + 1),
            &format!("knows schema {} at most", known.schema),
            "run a newer one",
        ] {
            assert!(error.contains(said), "{error}");
        }
    }
}
