//! What stands beside events, and files of events that left the store.

use serde_json::{Value, json};
use steadfast_core::canonical::Hash;
use steadfast_log::{Derived, ReadError, Segment, Side};

/// What a commit changed beside its events.
pub(crate) fn side(data: &[u8]) {
    match Side::decode(data) {
        Ok(side) => {
            let again = side.encode().map(|bytes| Side::decode(&bytes).expect("what was written reads"));
            assert_eq!(again.unwrap_or_default(), side);
            let (mut once, mut twice) = (Derived::default(), Derived::default());
            once.apply_side(side.clone());
            twice.apply_side(side.clone());
            twice.apply_side(side);
            assert_eq!(once, twice, "the same again changes something");
        }
        Err(error) => assert!(matches!(error, ReadError::Corrupt(_))),
    }
}

/// A segment: as it is or, after a first byte of 1, its lines, which are given a header
/// that fits.
pub(crate) fn segment(data: &[u8]) {
    let packed = match data.split_first() {
        Some((1, lines)) => seal(lines),
        _ => data.to_vec(),
    };
    match Segment::unpack("fuzz", &packed) {
        Ok(segment) => {
            let (header, bytes) = Segment::pack(&segment.events).expect("packs");
            let again = Segment::unpack("again", &bytes).expect("what was packed unpacks");
            assert_eq!(again.events, segment.events);
            assert_eq!((header.first, header.last), (segment.header.first, segment.header.last));
            assert_eq!(header.count, segment.header.count);
            let sorted = segment.events.is_sorted_by(|a, b| a.position.n < b.position.n);
            assert!(sorted, "events out of order");
        }
        Err(ReadError::Corrupt(told)) => assert!(told.starts_with("segment fuzz: "), "{told}"),
        Err(error) => panic!("{error:?}"),
    }
}

fn seal(lines: &[u8]) -> Vec<u8> {
    let of = |line: Option<&[u8]>| {
        let value: Option<Value> = line.and_then(|line| serde_json::from_slice(line).ok());
        value.and_then(|value| value["n"].as_u64()).unwrap_or(0)
    };
    let each = || lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let header = json!({
        "format": "steadfast-segment-1",
        "first": of(each().next()),
        "last": of(each().next_back()),
        "count": each().count(),
        "hash": Hash::of_bytes(lines),
    });
    let whole = [header.to_string().as_bytes(), b"\n", lines].concat();
    zstd::encode_all(&*whole, 1).expect("packs")
}
