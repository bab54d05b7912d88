use std::{
    borrow::Cow,
    io::{Read, Write},
};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use steadfast_core::{CorrelationId, EventId, SessionId, Time, canonical::Hash};

use crate::{NewEvent, Position, ReadError, Recorded, StreamId};

const FORMAT: &str = "steadfast-segment-1";
/// The largest segment that is read, unpacked; stores seal far smaller ones.
const UNPACKED_MAX: u64 = 1 << 30;
const ZSTD_LEVEL: i32 = 9;

/// What a segment says about itself, in its first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SegmentHeader {
    /// The n of its first event.
    pub first: u64,
    /// The n of its last event.
    pub last: u64,
    /// How many events it holds; there may be gaps in n.
    pub count: u64,
    /// SHA-256 of all lines after the first.
    pub hash: Hash,
}

/// Events that were moved out of a store: a file of JSON lines, packed with zstd, that
/// other programs can read too. Ordered by n.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its first line.
    pub header: SegmentHeader,
    /// The events. Their incarnation is the reader's business and 0 here.
    pub events: Vec<Recorded>,
}

#[derive(Serialize, Deserialize)]
struct First {
    format: String,
    #[serde(flatten)]
    header: SegmentHeader,
}

/// One event as a line.
#[derive(Serialize, Deserialize)]
struct Line {
    n: u64,
    stream: StreamId,
    version: u64,
    id: EventId,
    kind: Cow<'static, str>,
    schema: u16,
    time: Time,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    causation: Option<EventId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    correlation: Option<CorrelationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
    ends: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    side: Option<Raw>,
    body: Raw,
}

/// Bytes that must come back exactly: text as it is, anything else in hex.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Raw {
    Text(String),
    Hex(#[serde(with = "hex::serde")] Vec<u8>),
}

impl Raw {
    fn of(bytes: &Bytes) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Hex(bytes.to_vec()),
        }
    }
    fn bytes(self) -> Bytes {
        match self {
            Self::Text(text) => text.into(),
            Self::Hex(bytes) => bytes.into(),
        }
    }
}

impl Line {
    fn of(recorded: &Recorded) -> Self {
        let event = &recorded.event;
        Self {
            n: recorded.position.n,
            stream: recorded.stream.clone(),
            version: recorded.version,
            id: event.id,
            kind: event.kind.clone(),
            schema: event.schema,
            time: event.time,
            causation: event.causation,
            correlation: event.correlation,
            session: event.session,
            key_id: event.key_id.clone(),
            ends: recorded.ends,
            side: recorded.side.as_ref().map(Raw::of),
            body: Raw::of(&event.body),
        }
    }
    fn recorded(self) -> Recorded {
        Recorded {
            position: Position { n: self.n, ..Position::START },
            stream: self.stream,
            version: self.version,
            event: NewEvent {
                id: self.id,
                kind: self.kind,
                schema: self.schema,
                time: self.time,
                causation: self.causation,
                correlation: self.correlation,
                session: self.session,
                key_id: self.key_id,
                body: self.body.bytes(),
            },
            side: self.side.map(Raw::bytes),
            ends: self.ends,
        }
    }
}

impl Segment {
    /// The file's bytes for events in order of n, of which there must be one at least.
    pub fn pack(events: &[Recorded]) -> std::io::Result<(SegmentHeader, Vec<u8>)> {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, &Line::of(event))?;
            lines.push(b'\n');
        }
        let n = |event: Option<&Recorded>| event.map_or(0, |event| event.position.n);
        let header = SegmentHeader {
            first: n(events.first()),
            last: n(events.last()),
            count: events.len() as u64,
            hash: Hash::of_bytes(&lines),
        };
        let first = First { format: FORMAT.into(), header };
        let mut packed = zstd::Encoder::new(Vec::new(), ZSTD_LEVEL)?;
        serde_json::to_writer(&mut packed, &first)?;
        packed.write_all(b"\n")?;
        packed.write_all(&lines)?;
        Ok((header, packed.finish()?))
    }

    /// Reads a file's bytes and checks them against their own hash. `file` is for the
    /// error, which is always [`ReadError::Corrupt`].
    pub fn unpack(file: &str, packed: &[u8]) -> Result<Self, ReadError> {
        let corrupt = |what: String| ReadError::Corrupt(format!("segment {file}: {what}"));
        let mut bytes = Vec::new();
        zstd::Decoder::new(packed)
            .and_then(|unpacked| unpacked.take(UNPACKED_MAX).read_to_end(&mut bytes))
            .map_err(|error| corrupt(error.to_string()))?;
        let end = bytes.iter().position(|byte| *byte == b'\n');
        let (first, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
        let First { format, header } =
            serde_json::from_slice(first).map_err(|error| corrupt(error.to_string()))?;
        if format != FORMAT {
            return Err(corrupt(format!("its format is {format}, not {FORMAT}")));
        }
        if Hash::of_bytes(rest) != header.hash {
            return Err(corrupt("its content does not fit its hash".into()));
        }
        let events = serde_json::Deserializer::from_slice(rest)
            .into_iter::<Line>()
            .map(|line| line.map(Line::recorded))
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| corrupt(error.to_string()))?;
        if events.len() as u64 != header.count {
            return Err(corrupt(format!("it has {} events", events.len())));
        }
        let n = |event: Option<&Recorded>| event.map(|event| event.position.n);
        let ends = (n(events.first()), n(events.last()));
        if ends != (Some(header.first), Some(header.last))
            || !events.is_sorted_by(|a, b| a.position.n < b.position.n)
        {
            return Err(corrupt("its events are not those of its header, in order".into()));
        }
        Ok(Self { header, events })
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::{TenantId, World};

    use super::*;

    fn events() -> Vec<Recorded> {
        let world = World::manual(1).0;
        [&b"{\"a\":1}"[..], &[0xFF, 0], b""]
            .iter()
            .zip(1..)
            .map(|(body, version)| Recorded {
                position: Position { n: version * 3, ..Position::START },
                stream: StreamId::new(&TenantId::default(), "run", "a/b"),
                version,
                event: NewEvent {
                    correlation: Some(CorrelationId::next(&world)),
                    key_id: (version == 2).then(|| "k".into()),
                    ..NewEvent::new(&world, "run.turned", 2, *body)
                },
                side: (version == 1).then(|| Bytes::from_static(b"{}")),
                ends: version == 3,
            })
            .collect()
    }

    #[test]
    fn a_segment_comes_back_as_it_was_sealed() {
        let events = events();
        let (header, packed) = Segment::pack(&events).expect("packs");
        assert_eq!((header.first, header.last, header.count), (3, 9, 3));
        let segment = Segment::unpack("x", &packed).expect("unpacks");
        assert_eq!(segment, Segment { header, events });
    }

    #[test]
    fn a_segment_that_was_changed_or_cut_is_refused_by_name() {
        let (_, packed) = Segment::pack(&events()).expect("packs");
        let mut text = zstd::decode_all(&packed[..]).expect("unpacks");
        let at = text.len() - 10;
        text[at] ^= 1;
        let changed = zstd::encode_all(&text[..], 1).expect("packs");
        let cut = &packed[..packed.len() / 2];
        for broken in [&changed[..], cut, b"", b"no segment"] {
            match Segment::unpack("x.zst", broken) {
                Err(ReadError::Corrupt(what)) => assert!(what.contains("x.zst"), "{what}"),
                other => panic!("{other:?}"),
            }
        }
    }
}
