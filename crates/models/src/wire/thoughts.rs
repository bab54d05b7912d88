//! Thoughts that the gateway itself wrote down in the client's API, for a model of another.
//!
//! Clients send what was thought back with the next turn. But thoughts are signed by the
//! provider that had them, or known to it by their id, and it refuses those of others. So
//! these have a mark, and are left out where the next turn goes to a provider of the API.

use std::{borrow::Cow, ops::Range};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::edit::Edits;
use crate::call::Operation;

/// Where Anthropic signs.
pub(crate) const UNSIGNED: &str = "unsigned";
/// What ids begin with where OpenAI knows them.
pub(crate) const UNSIGNED_ID: &str = "rs_unsigned";

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Thought<'a> {
    #[serde(borrow)]
    signature: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

impl Thought<'_> {
    fn is_ours(&self) -> bool {
        self.signature.as_deref() == Some(UNSIGNED)
            || self.id.as_deref().is_some_and(|it| it.starts_with(UNSIGNED_ID))
    }
}

/// Leaves them out of what was said, which stands at `said` in `body`.
pub(crate) fn left_out(operation: Operation, body: &[u8], said: &Range<usize>, edits: &mut Edits) {
    let Some(list) = body.get(said.clone()) else { return };
    if memchr::memmem::find(list, UNSIGNED.as_bytes()).is_none() {
        return;
    }
    match operation {
        Operation::Messages => {
            let messages: Vec<Message<'_>> = serde_json::from_slice(list).unwrap_or_default();
            let contents = messages.into_iter().filter_map(|it| it.content);
            contents.for_each(|it| left_out_of(it.get().as_bytes(), body, edits));
        }
        Operation::Responses => left_out_of(list, body, edits),
        _ => {}
    }
}

/// Leaves them out of a list that is a part of `body`; a text is none.
fn left_out_of(list: &[u8], body: &[u8], edits: &mut Edits) {
    let parts: Vec<&RawValue> = serde_json::from_slice(list).unwrap_or_default();
    let place = |part: &RawValue| {
        let start = (part.get().as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
        start..start + part.get().len()
    };
    let is_ours =
        |part: &RawValue| serde_json::from_str::<Thought<'_>>(part.get()).is_ok_and(|it| it.is_ours());
    // A comma goes with the part before it, but for the last part that stays.
    let mut kept_until = None;
    for (i, part) in parts.iter().enumerate() {
        let at = place(part);
        if !is_ours(part) {
            kept_until = Some(at.end);
        } else if let Some(next) = parts.get(i + 1) {
            edits.replace(at.start..place(next).start, "");
        } else {
            edits.replace(kept_until.unwrap_or(at.start)..at.end, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn left(operation: Operation, body: &str, said: &str) -> String {
        let body = Bytes::from(body.to_owned());
        let at = memchr::memmem::find(&body, said.as_bytes()).expect("it is there");
        let mut edits = Edits::default();
        left_out(operation, &body, &(at..at + said.len()), &mut edits);
        String::from_utf8(edits.apply(&body).to_vec()).expect("text")
    }

    #[test]
    fn wherever_they_stand_the_rest_stays_as_it_was() {
        let ours = r#"{"type":"thinking","thinking":"a","signature":"unsigned"}"#;
        let signed = r#"{"type":"thinking","thinking":"unsigned","signature":"c2ln"}"#;
        let text = r#"{"type":"text", "text":"b"}"#;
        for (parts, expected) in [
            (format!("{ours}, {text}"), text.to_owned()),
            (format!("{text} ,{ours}"), text.to_owned()),
            (format!("{ours},{signed} , {ours},{text},{ours},{ours}"), format!("{signed} , {text}")),
            (format!("{ours} ,{ours}"), String::new()),
            (signed.to_owned(), signed.to_owned()),
        ] {
            let said = |parts: &str| {
                format!(
                    r#"[{{"role":"user","content":"unsigned"}},{{"role":"assistant","content":[{parts}]}}]"#
                )
            };
            let body = |parts: &str| format!(r#"{{"model":"m","messages":{},"x":1}}"#, said(parts));
            assert_eq!(left(Operation::Messages, &body(&parts), &said(&parts)), body(&expected));
        }
        let said = r#"[{"role":"user","content":"unsigned"},{"type":"reasoning","id":"rs_unsigned_x_0","summary":[]},{"type":"reasoning","id":"rs_1"}]"#;
        let expected = r#"[{"role":"user","content":"unsigned"},{"type":"reasoning","id":"rs_1"}]"#;
        assert_eq!(left(Operation::Responses, said, said), expected);
        assert_eq!(left(Operation::Responses, r#""unsigned""#, r#""unsigned""#), r#""unsigned""#);
    }
}
