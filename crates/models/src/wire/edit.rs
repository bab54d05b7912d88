//! Replaces parts of a body and leaves every other byte where it was.
//!
//! Order and spelling of what is not touched are kept, because providers cache prompts by
//! their bytes, and because what we don't know must not be lost.

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// Replacements, collected in any order.
#[derive(Debug, Default)]
pub(crate) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    /// Is there nothing to be done?
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Puts `text` where `range` is; an empty range inserts.
    pub(crate) fn replace(&mut self, range: Range<usize>, text: impl Into<String>) {
        self.0.push((range, text.into()));
    }
    /// The body with everything replaced. Ranges that overlap keep the first.
    pub(crate) fn apply(mut self, body: &Bytes) -> Bytes {
        if self.0.is_empty() {
            return body.clone();
        }
        self.0.sort_by_key(|(range, _)| range.start);
        let grown: usize = self.0.iter().map(|(_, text)| text.len()).sum();
        let mut out = BytesMut::with_capacity(body.len() + grown);
        let mut at = 0;
        for (range, text) in &self.0 {
            let (Some(kept), true) = (body.get(at..range.start), range.end <= body.len()) else {
                continue;
            };
            out.extend_from_slice(kept);
            out.extend_from_slice(text.as_bytes());
            at = range.end;
        }
        out.extend_from_slice(&body[at..]);
        out.freeze()
    }
}

/// The place just after the opening brace of an object: where a member can be put first.
pub(crate) fn first_member(body: &[u8]) -> Range<usize> {
    let at = memchr::memchr(b'{', body).map_or(0, |at| at + 1);
    at..at
}

/// `text` as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_around_a_replacement_stay() {
        let body = Bytes::from_static(br#" { "b":1, "model" : "x","a":2}"#);
        let at = memchr::memmem::find(&body, b"\"x\"").expect("it is there");
        let at = at..at + 3;
        let mut edits = Edits::default();
        edits.replace(at, quoted("a \"long\" name"));
        edits.replace(first_member(&body), "\"new\":0,");
        assert_eq!(edits.apply(&body), &br#" {"new":0, "b":1, "model" : "a \"long\" name","a":2}"#[..]);
        assert_eq!(Edits::default().apply(&body).as_ptr(), body.as_ptr());
    }
}
