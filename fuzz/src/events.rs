//! Events as they stand on the log, perhaps damaged, perhaps of another version.

use std::borrow::Cow;

use bytes::Bytes;
use steadfast_core::{EventId, RunId, TenantId, Time};
use steadfast_engine::{Audit, record::RUN};
use steadfast_log::{Derived, EventType, NewEvent, Position, Recorded, StreamId};

/// Every type of event there is.
fn types() -> impl Iterator<Item = &'static EventType> + Clone {
    let (engine, bank) = (steadfast_engine::record::EVENTS, steadfast_bank::events::EVENTS);
    engine.iter().chain(bank).chain(steadfast_bank_assistant::session::EVENTS)
}

fn recorded(kind: &'static str, schema: u16, version: u64, body: &[u8]) -> Recorded {
    Recorded {
        position: Position { incarnation: 1, shard: 0, n: version },
        stream: StreamId::new(&TenantId::default(), RUN, RunId::from_bytes([7; 16])),
        version,
        event: NewEvent {
            id: EventId::from_bytes([9; 16]),
            kind: Cow::Borrowed(kind),
            schema,
            time: Time::from_micros(1_800_000_000_000_000),
            causation: None,
            correlation: None,
            session: None,
            key_id: None,
            body: Bytes::copy_from_slice(body),
        },
        side: None,
        ends: true,
    }
}

/// One event: the first byte says which type, the second which shape. What reads is
/// written as today's shape, and that comes back as itself.
pub(crate) fn event(data: &[u8]) {
    let [which, schema, body @ ..] = data else { return };
    let count = types().count();
    let Some(known) = types().nth(usize::from(*which) % count) else { return };
    let schema = u16::from(*schema % 4);
    match (known.rewrite)(&recorded(known.kind, schema, 3, body)) {
        Ok(written) => {
            assert!(schema <= known.schema, "a newer shape was read as if it were known");
            let again = (known.rewrite)(&recorded(known.kind, known.schema, 3, &written));
            assert_eq!(again.as_ref(), Ok(&written), "{}", String::from_utf8_lossy(&written));
        }
        Err(error) => {
            let told = error.to_string();
            assert!(told.contains(known.kind) && told.contains("version 3"), "{told}");
            assert!(schema <= known.schema || told.contains("run a newer one"), "{told}");
        }
    }
}

/// The events of one run, one a line: the first byte says which type, the rest is the body.
/// Whatever they say, the audit says what is wrong and goes on.
pub(crate) fn history(data: &[u8]) {
    let kinds: Vec<_> = types().map(|known| known.kind).collect();
    let mut audit = Audit::default();
    let lines = data.split(|byte| *byte == b'\n').filter_map(<[u8]>::split_first);
    for (version, (which, body)) in (1..).zip(lines) {
        audit.apply(&recorded(kinds[usize::from(*which) % kinds.len()], 1, version, body));
    }
    for problem in audit.finish(&Derived::default()) {
        assert!(!problem.is_empty());
    }
}
