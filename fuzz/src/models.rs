//! What clients of models send, and what providers stream.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::HeaderMap;
use serde_json::value::RawValue;
use steadfast_core::Coded as _;
use steadfast_models::{
    Call, Caller, Operation,
    wire::sse::{Event, Parser},
};

use crate::told;

/// A request's body. The first byte says of which operation.
pub(crate) fn call(data: &[u8]) {
    let Some((operation, body)) = data.split_first() else { return };
    let operation = match operation % 3 {
        0 => Operation::Chat,
        1 => Operation::Messages,
        _ => Operation::Embeddings,
    };
    let body = Bytes::copy_from_slice(body);
    let read = Call::read("id".into(), operation, &HeaderMap::new(), body.clone(), Caller::default());
    match read {
        Ok(call) => {
            // What nobody here acts on may be more than a value of ours can hold: half a
            // surrogate pair, a number beyond all floats, a hundred lists in each other.
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_slice(&body).expect("what is taken is a JSON object");
            let said = |name| members.get(name).map_or("null", |it| it.get());
            assert_eq!(serde_json::from_str::<String>(said("model")).ok(), Some(call.asked.model));
            let stream: Option<bool> = serde_json::from_str(said("stream")).expect("a switch");
            assert_eq!(stream.unwrap_or(false), call.asked.stream);
            assert_eq!(call.body, body, "the bytes stay");
        }
        Err(error) => {
            assert!(error.code().starts_with("request."));
            told::text(&error.to_string());
        }
    }
}

/// A stream of events. However it is cut on its way, it is the same events, and all its
/// bytes up to the last of them. The first byte says into how large pieces.
pub(crate) fn stream(data: &[u8]) {
    let Some((piece, bytes)) = data.split_first() else { return };
    let whole = events(bytes, bytes.len());
    for piece in [usize::from(*piece), 1] {
        assert_eq!(events(bytes, piece), whole, "in pieces of {piece}");
    }
    for event in &whole {
        let of = |part: &Bytes| part.is_empty() || part.iter().all(|byte| *byte != b'\r');
        assert!(of(&event.name) && of(&event.data), "a field ends with its line");
        assert!(event.raw.len() >= event.data.len() + "data\n\n".len());
    }
}

fn events(bytes: &[u8], piece: usize) -> Vec<Event> {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    for piece in bytes.chunks(piece.max(1)) {
        parser.push(piece);
        while let Some(event) = parser.next_event().expect("small") {
            events.push(event);
        }
    }
    events
}
