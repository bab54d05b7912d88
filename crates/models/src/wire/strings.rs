//! Where the texts of a JSON value stand, and what they say.
//!
//! The value is not built: whoever looks for something in it gets each text where it is, and
//! can replace it there.

use std::{borrow::Cow, ops::Range};

use memchr::memchr2;

/// What is found in a JSON value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    /// The name of a member.
    Name,
    /// A text.
    Text,
    /// A number.
    Number,
}

/// One thing in a JSON value.
pub(crate) struct Found<'a> {
    /// The member that it is, or is in a list of.
    pub(crate) name: &'a str,
    /// What it is.
    pub(crate) is: Is,
    /// Where it stands, without quotes.
    pub(crate) at: Range<usize>,
    /// Where the object begins that it is in.
    pub(crate) object: usize,
    /// Is it in an object whose names say nothing: what a tool or a stored prompt is given?
    pub(crate) free: bool,
}

struct Level {
    object: bool,
    /// Where the innermost object begins.
    start: usize,
    /// The name of the last member; that of the list, in a list.
    name: Range<usize>,
    free: bool,
}

/// Goes through `json`, which must have been read before.
pub(crate) fn walk<'a>(json: &'a str, mut visit: impl FnMut(Found<'a>)) {
    let bytes = json.as_bytes();
    let mut levels: Vec<Level> = Vec::with_capacity(8);
    let mut name_next = false;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let (name, free, start) =
            levels.last().map_or((0..0, false, 0), |it| (it.name.clone(), it.free, it.start));
        match byte {
            b'"' => {
                let end = text_end(bytes, at + 1);
                let inside = at + 1..end;
                let is = if name_next { Is::Name } else { Is::Text };
                if name_next && let Some(level) = levels.last_mut() {
                    level.name = inside.clone();
                    name_next = false;
                }
                let name = json.get(name).unwrap_or_default();
                visit(Found { name, is, at: inside, object: start, free });
                at = end + 1;
                continue;
            }
            b'{' | b'[' => {
                let object = *byte == b'{';
                let open = || matches!(json.get(name.clone()), Some("input" | "variables"));
                let free = free || (object && open());
                let start = if object { at } else { start };
                levels.push(Level { object, start, name, free });
                name_next = object;
            }
            b'}' | b']' => {
                levels.pop();
                name_next = false;
            }
            b',' => name_next = levels.last().is_some_and(|it| it.object),
            b'-' | b'0'..=b'9' => {
                let more = |it: &u8| !matches!(it, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-');
                let end = bytes[at..].iter().position(more).map_or(bytes.len(), |it| at + it);
                let name = json.get(name).unwrap_or_default();
                visit(Found { name, is: Is::Number, at: at..end, object: start, free });
                at = end;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
}

/// Where the quote stands that ends a text.
fn text_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(next) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += next;
        if bytes[at] == b'"' {
            return at;
        }
        at += 2;
    }
    bytes.len()
}

/// The character that `raw` begins with, and how long it is written there.
fn first(raw: &str) -> Option<(char, usize)> {
    let bytes = raw.as_bytes();
    let unit = |at: usize| {
        let digits = raw.get(at..at + 6)?.strip_prefix("\\u")?;
        u32::from_str_radix(digits, 16).ok()
    };
    if bytes.first() != Some(&b'\\') {
        return raw.chars().next().map(|it| (it, it.len_utf8()));
    }
    let plain = match bytes.get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => {
            let Some(high) = unit(0) else { return Some((char::REPLACEMENT_CHARACTER, 2)) };
            if (0xD800..0xDC00).contains(&high)
                && let Some(low @ 0xDC00..0xE000) = unit(6)
            {
                let both = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                return Some((char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER), 12));
            }
            return Some((char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER), 6));
        }
        _ => return raw[1..].chars().next().map(|it| (it, 1 + it.len_utf8())),
    };
    Some((plain, 2))
}

/// What a text says, borrowed where nothing in it is escaped. Halves of surrogate pairs are
/// replaced.
pub(crate) fn said(raw: &str) -> Cow<'_, str> {
    let Some(begin) = memchr::memchr(b'\\', raw.as_bytes()) else { return raw.into() };
    let mut text = String::with_capacity(raw.len());
    text.push_str(&raw[..begin]);
    let mut rest = &raw[begin..];
    while let Some((letter, width)) = first(rest) {
        text.push(letter);
        rest = rest.get(width..).unwrap_or_default();
    }
    text.into()
}

/// Places in what a text says as places in how it is written. Asked for in order.
pub(crate) struct Places<'a> {
    raw: &'a str,
    written: usize,
    said: usize,
}

impl<'a> Places<'a> {
    pub(crate) fn new(raw: &'a str) -> Self {
        Self { raw, written: 0, said: 0 }
    }
    pub(crate) fn of(&mut self, said: usize) -> usize {
        while self.said < said
            && let Some((letter, width)) = self.raw.get(self.written..).and_then(first)
        {
            self.said += letter.len_utf8();
            self.written += width;
        }
        self.written.min(self.raw.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn texts_are_found_with_the_names_of_their_members() {
        let json =
            r#"{"a": "x", "list":["y",{"b\"":"z"}],"n":-1.5e3,"input":{"k":[12,"w"]},"input_text":"v"}"#;
        let mut all = Vec::new();
        walk(json, |it| all.push((it.name, it.is, &json[it.at], it.free)));
        assert_eq!(
            all.into_iter().filter(|it| it.1 != Is::Name).collect::<Vec<_>>(),
            [
                ("a", Is::Text, "x", false),
                ("list", Is::Text, "y", false),
                ("b\\\"", Is::Text, "z", false),
                ("n", Is::Number, "-1.5e3", false),
                ("k", Is::Number, "12", true),
                ("k", Is::Text, "w", true),
                ("input_text", Is::Text, "v", false),
            ]
        );
    }

    #[test]
    fn half_of_a_pair_is_replaced_and_nothing_is_lost_around_it() {
        assert_eq!(said(r"a\ud83d\ude00b\ud83dc\u00e9\/"), "a😀b\u{FFFD}cé/");
    }

    fn texts(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::String(text) => all.push(text.clone()),
            Value::Array(list) => list.iter().for_each(|it| texts(it, all)),
            Value::Object(members) => members.values().for_each(|it| texts(it, all)),
            _ => {}
        }
    }

    proptest! {
        #[test]
        fn every_text_is_found_and_read_as_it_was_written(a in "\\PC{0,20}", b in "[\"\\\\\n\t/é😀]{0,9}", c in any::<i64>()) {
            let value = json!({ "a": [a, { &b: c, "x": b }], "input": { "y": [a, b, null, true] } });
            let json = value.to_string();
            let (mut wanted, mut got) = (Vec::new(), Vec::new());
            texts(&value, &mut wanted);
            walk(&json, |it| if it.is == Is::Text { got.push(said(&json[it.at]).into_owned()) });
            wanted.sort();
            got.sort();
            prop_assert_eq!(got, wanted);
        }

        #[test]
        fn places_are_those_of_the_same_characters(text in "[\"\\\\\n<a-c>é😀]{0,20}") {
            let written = serde_json::to_string(&text).expect("text");
            let raw = &written[1..written.len() - 1];
            let mut places = Places::new(raw);
            for (at, letter) in text.char_indices() {
                let from = places.of(at);
                prop_assert!(said(&raw[from..]).starts_with(letter));
            }
        }

        #[test]
        fn anything_at_all_does_no_harm(text in "[{}\\[\\]\"\\\\u0-9a,:é]{0,40}") {
            walk(&text, |it| { let _ = said(text.get(it.at).unwrap_or_default()); });
            let _ = Places::new(&text).of(text.len());
        }
    }
}
