//! Server-sent events, read bit by bit and kept as they are.
//!
//! An event ends with a blank line; lines end with LF, CRLF or CR; several `data` lines
//! are joined by LF; a line that starts with a colon is a comment. What comes out is the
//! event's data for whoever acts on it, and its bytes for whoever passes it on.
//!
//! A network may deliver any number of events at once, or one event a byte at a time. So
//! the parser remembers how far it has looked and never looks at a byte twice.

use bytes::{Bytes, BytesMut};

/// The most bytes that one event may have: a generated image fits.
const EVENT_MAX: usize = 32 << 20;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Its `event` field; empty if it has none.
    pub name: Bytes,
    /// Its data.
    pub data: Bytes,
    /// All of it, with the blank line.
    pub raw: Bytes,
}

/// An event that is larger than any may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {EVENT_MAX} bytes")]
pub struct TooLarge;

/// Finds events in bytes as they come.
#[derive(Debug, Default)]
pub struct Parser {
    pending: BytesMut,
    /// Bytes of `pending` that hold no end of an event.
    scanned: usize,
    begun: bool,
}

impl Parser {
    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if !self.begun && self.pending.len() >= 3 {
            self.begun = true;
            if self.pending.starts_with(b"\xEF\xBB\xBF") {
                let _ = self.pending.split_to(3);
                self.scanned = 0;
            }
        }
    }
    /// The next event that has data, if it is all there. What has none (comments, blank
    /// lines) is skipped.
    pub fn next_event(&mut self) -> Result<Option<Event>, TooLarge> {
        while let Some(end) = self.block_end() {
            self.scanned = 0;
            let raw = self.pending.split_to(end).freeze();
            if let Some(event) = read(raw) {
                return Ok(Some(event));
            }
        }
        if self.pending.len() > EVENT_MAX { Err(TooLarge) } else { Ok(None) }
    }
    /// Is there a part of an event that has not ended?
    pub fn is_inside(&self) -> bool {
        !self.pending.is_empty()
    }
    /// Where the first block ends: just after its blank line.
    fn block_end(&mut self) -> Option<usize> {
        let bytes = &self.pending[..];
        let mut from = self.scanned;
        while let Some(found) = memchr::memchr2(b'\n', b'\r', &bytes[from..]) {
            let line_end = from + found;
            // A CR at the very end may be half of a CRLF: wait for what follows.
            let next = line_end + terminator(&bytes[line_end..])?;
            match bytes.get(next) {
                Some(b'\n') => return Some(next + 1),
                Some(b'\r') => return Some(next + terminator(&bytes[next..])?),
                Some(_) => {}
                None => return None,
            }
            from = next;
            self.scanned = from;
        }
        self.scanned = bytes.len();
        None
    }
}

/// How long the line end is that `bytes` start with; `None` if that is not known yet.
fn terminator(bytes: &[u8]) -> Option<usize> {
    match bytes {
        [b'\r', b'\n', ..] => Some(2),
        [b'\r'] => None,
        _ => Some(1),
    }
}

fn read(raw: Bytes) -> Option<Event> {
    let mut name = Bytes::new();
    let mut data: Option<Bytes> = None;
    for line in raw.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(value) = field(line, b"data") {
            let value = raw.slice_ref(value);
            data = Some(match data {
                None => value,
                Some(earlier) => [&earlier[..], b"\n", &value[..]].concat().into(),
            });
        } else if let Some(value) = field(line, b"event") {
            name = raw.slice_ref(value);
        }
    }
    data.map(|data| Event { name, data, raw })
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

/// An event as it goes over the wire, with a field for each line of `data`.
pub(crate) fn write(name: Option<&str>, data: &str) -> Bytes {
    let mut bytes = BytesMut::with_capacity(data.len() + 40);
    if let Some(name) = name {
        bytes.extend_from_slice(b"event: ");
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b"\n");
    }
    for line in data.split('\n') {
        bytes.extend_from_slice(b"data: ");
        bytes.extend_from_slice(line.as_bytes());
        bytes.extend_from_slice(b"\n");
    }
    bytes.extend_from_slice(b"\n");
    bytes.freeze()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(chunks: &[&[u8]]) -> Vec<(String, String)> {
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for chunk in chunks {
            parser.push(chunk);
            while let Some(event) = parser.next_event().expect("small") {
                let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
                events.push((text(&event.name), text(&event.data)));
            }
        }
        events
    }

    #[test]
    fn all_line_ends_names_comments_and_joined_data() {
        let stream = "\u{feff}: hello\n\ndata: 1\n\nevent: x\r\ndata:2\r\ndata: 3\r\n\r\ndata\n\ndata: 4\r\r\n\n\ndata: 5\n\n";
        let expected = [("", "1"), ("x", "2\n3"), ("", "4"), ("", "5")];
        let expected: Vec<_> = expected.iter().map(|(n, d)| (n.to_string(), d.to_string())).collect();
        assert_eq!(all(&[stream.as_bytes()]), expected);
    }

    #[test]
    fn an_event_without_its_blank_line_is_none() {
        let mut parser = Parser::default();
        parser.push(b"data: 1\n");
        assert_eq!(parser.next_event(), Ok(None));
        assert!(parser.is_inside());
        parser.push(b"\n");
        let event = parser.next_event().expect("small").expect("now it ended");
        assert_eq!((&event.data[..], &event.raw[..]), (&b"1"[..], &b"data: 1\n\n"[..]));
        assert!(!parser.is_inside());
    }

    #[test]
    fn what_is_written_reads_the_same_whatever_lines_it_has() {
        for data in ["", "1", "{\n\"a\": 1,\n\n\"b\": 2}\n"] {
            let written = write(Some("x"), data);
            assert_eq!(all(&[&written]), [("x".to_owned(), data.to_owned())], "{written:?}");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut parser = Parser::default();
        parser.push(&vec![b'a'; EVENT_MAX + 1]);
        assert_eq!(parser.next_event(), Err(TooLarge));
    }

    proptest! {
        #[test]
        fn where_the_network_cuts_makes_no_difference_and_no_byte_is_lost(
            events in prop::collection::vec(("[a-z]{0,3}", "[a-zé{}: ]{0,9}", 0..3_usize), 0..8),
            cuts in prop::collection::vec(0..200_usize, 0..12),
        ) {
            let mut stream = String::new();
            for (name, data, end) in &events {
                let end = ["\n", "\r\n", "\r"][*end];
                if !name.is_empty() {
                    stream += &["event: ", name, end].concat();
                }
                stream += &["data: ", data, end, end].concat();
            }
            // Whatever comes next says that a last CR was a line end by itself.
            stream += ":\n\n";
            let bytes = stream.as_bytes();
            let mut places: Vec<_> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
            places.sort_unstable();
            let mut chunks = Vec::new();
            let mut at = 0;
            for place in places {
                chunks.push(&bytes[at..place]);
                at = place;
            }
            chunks.push(&bytes[at..]);
            let expected: Vec<_> = events.iter().map(|(name, data, _)| (name.clone(), data.clone())).collect();
            prop_assert_eq!(all(&chunks), expected);
            let mut parser = Parser::default();
            let mut kept = Vec::new();
            for chunk in &chunks {
                parser.push(chunk);
                while let Some(event) = parser.next_event().expect("small") {
                    kept.extend_from_slice(&event.raw);
                }
            }
            prop_assert_eq!(kept, &bytes[..bytes.len() - 3]);
        }
    }
}
