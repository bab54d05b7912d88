//! Placeholders and what they stand for, and how they are found again in an answer.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
};

use bytes::Bytes;
use steadfast_guard::pii::Kind;

use crate::wire::{
    edit::{Edits, quoted},
    strings::{Is, said, walk},
};

/// The longest name: that of the longest kind, and a number.
pub(super) const NAME_MAX: usize = 16;

pub(super) fn in_name(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_'
}

/// `text` as it stands inside of a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let quoted = quoted(text);
    quoted[1..quoted.len() - 1].to_owned()
}

/// A placeholder without its brackets.
pub(super) fn bare(name: &str) -> &str {
    &name[1..name.len() - 1]
}

/// What placeholders stand for.
pub(crate) struct Vault {
    /// By the name between the brackets.
    values: HashMap<String, String>,
    /// Names that were said without brackets.
    bare: Vec<String>,
}

/// What stands where a placeholder may begin.
enum Match<'a> {
    /// One of so many bytes, for this value.
    Whole(usize, &'a str),
    /// What may become one.
    Begun,
    /// Something else.
    None,
}

impl Vault {
    /// Gives names to values, one after another, and tells them.
    pub(super) fn new<'a>(
        values: impl Iterator<Item = (Kind, &'a str)>,
        taken: &HashSet<String>,
    ) -> (Self, Vec<String>) {
        let mut numbers = HashMap::new();
        let mut names = Vec::new();
        let mut all = HashMap::new();
        for (kind, value) in values {
            let number = numbers.entry(kind).or_insert(0_u32);
            let name = loop {
                *number += 1;
                let name = format!("{}_{number}", kind.name());
                if !taken.contains(&name) {
                    break name;
                }
            };
            names.push(format!("<{name}>"));
            all.insert(name, value.to_owned());
        }
        (Self { values: all, bare: Vec::new() }, names)
    }
    /// These placeholders are said without brackets in what `body` becomes. Those that it says
    /// itself are not put back where they have none: nobody knows which is meant.
    pub(super) fn know_bare<'a>(&mut self, names: impl Iterator<Item = &'a str>, body: &[u8]) {
        let names = names.map(bare).filter(|name| memchr::memmem::find(body, name.as_bytes()).is_none());
        self.bare = names.map(str::to_owned).collect();
    }
    /// The name without brackets at a place of `text`, of which nothing follows if it is the
    /// `last`.
    fn bare_at(&self, text: &str, at: usize, last: bool) -> Match<'_> {
        let in_word = |it: char| it == '_' || it.is_alphanumeric();
        if text[..at].ends_with(in_word) {
            return Match::None;
        }
        let text = &text[at..];
        for name in &self.bare {
            match text.strip_prefix(name.as_str()) {
                Some(rest) if rest.starts_with(in_word) => {}
                Some(rest) if last || !rest.is_empty() => {
                    return self
                        .values
                        .get(name)
                        .map_or(Match::None, |value| Match::Whole(name.len(), value));
                }
                Some(_) => return Match::Begun,
                None if !last && name.starts_with(text) => return Match::Begun,
                None => {}
            }
        }
        Match::None
    }
    /// What `text` begins with. In JSON that is itself in a text, brackets may be escaped.
    fn at(&self, text: &str, json: bool) -> Match<'_> {
        let bracket = |rest: &str, plain: char, code: &str| {
            if rest.starts_with(plain) {
                return Some(Some(1));
            }
            let head = &rest.as_bytes()[..rest.len().min(6)];
            let fits = json && head.eq_ignore_ascii_case(&code.as_bytes()[..head.len()]);
            match (fits, head.len()) {
                (false, _) => None,
                (true, 6) => Some(Some(6)),
                (true, _) => Some(None),
            }
        };
        let open = match bracket(text, '<', "\\u003c") {
            None => return Match::None,
            Some(None) => return Match::Begun,
            Some(Some(width)) => width,
        };
        let rest = &text[open..];
        let length = rest.bytes().position(|it| !in_name(it)).unwrap_or(rest.len());
        let name = &rest[..length];
        if length == rest.len() {
            let any = length <= NAME_MAX && self.values.keys().any(|it| it.starts_with(name));
            return if any { Match::Begun } else { Match::None };
        }
        let Some(value) = self.values.get(name) else { return Match::None };
        match bracket(&rest[length..], '>', "\\u003e") {
            None => Match::None,
            Some(None) => Match::Begun,
            Some(Some(width)) => Match::Whole(open + length + width, value),
        }
    }
    /// `text` with values in it, and where what may become a placeholder begins, if it ends
    /// with that. `json` says that the text is JSON itself, `last` that it does not go on.
    pub(super) fn restore<'t>(&self, text: &'t str, json: bool, last: bool) -> (Cow<'t, str>, usize) {
        let named = !self.bare.is_empty();
        let may_begin = |it: char| it == '<' || (json && it == '\\') || (named && it.is_ascii_uppercase());
        let mut out: Option<String> = None;
        let (mut kept, mut at) = (0, 0);
        while let Some(next) = text[at..].find(may_begin) {
            at += next;
            let begun = if text.as_bytes()[at].is_ascii_uppercase() {
                self.bare_at(text, at, last)
            } else {
                self.at(&text[at..], json)
            };
            match begun {
                Match::Whole(length, value) => {
                    let out = out.get_or_insert_with(|| String::with_capacity(text.len() + value.len()));
                    out.push_str(&text[kept..at]);
                    if json {
                        out.push_str(&escaped(value));
                    } else {
                        out.push_str(value);
                    }
                    at += length;
                    kept = at;
                }
                Match::Begun => return (joined(out, &text[kept..at]), at),
                Match::None => {
                    // The two characters of an escape belong together.
                    let pair = text.as_bytes()[at] == b'\\' && text.as_bytes().get(at + 1) == Some(&b'\\');
                    at += if pair { 2 } else { 1 };
                }
            }
        }
        (joined(out, &text[kept..]), text.len())
    }
    /// All of `text`, which does not go on.
    pub(super) fn restore_all<'t>(&self, text: &'t str, json: bool) -> Cow<'t, str> {
        let (restored, end) = self.restore(text, json, true);
        if end == text.len() { restored } else { (restored.into_owned() + &text[end..]).into() }
    }
    /// A JSON body with values in all its texts. `json` says that the answer was asked for as
    /// JSON, so that its texts are.
    pub(super) fn restore_body(&self, body: &Bytes, json: bool) -> Bytes {
        let Ok(text) = std::str::from_utf8(body) else { return body.clone() };
        let mut edits = Edits::default();
        walk(text, |found| {
            let raw = text.get(found.at.clone()).unwrap_or_default();
            let may_hold = raw.contains('<') || raw.contains("u003") || !self.bare.is_empty();
            if found.is == Is::Number || !may_hold {
                return;
            }
            let said = said(raw);
            if let Cow::Owned(restored) = self.restore_all(&said, is_json(found.name, json)) {
                edits.replace(found.at.start - 1..found.at.end + 1, quoted(&restored));
            }
        });
        edits.apply(body)
    }
}

/// Is the text of this member JSON?
pub(super) fn is_json(member: &str, asked: bool) -> bool {
    matches!(member, "arguments" | "partial_json")
        || (asked && matches!(member, "content" | "text" | "delta"))
}

fn joined(out: Option<String>, rest: &str) -> Cow<'_, str> {
    match out {
        Some(out) => (out + rest).into(),
        None => rest.into(),
    }
}
