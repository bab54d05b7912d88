//! What providers don't get to see: personal data and secrets.
//!
//! Before anything else is done with a call, what is found in its texts is replaced by
//! placeholders (`<EMAIL_1>`), and in the answer placeholders by what they stand for. So
//! everything between (cache, records, providers) knows placeholders alone.
//!
//! The same value has the same placeholder all over a call, also where it stands in a place
//! that would not have shown it for what it is. Numbers are given in the order of what is
//! found, first what does not change from turn to turn, then what was said, so a conversation
//! that goes on keeps those it has, and providers' prompt caches with them; and two callers who ask the same with other values send the same bytes. An
//! answer that was kept under these bytes is restored for each with their own values. The
//! scope of the cache is still the caller's: values may matter to an answer though they were
//! not seen.
//!
//! A text that has something like a placeholder already keeps it: its number is not given.
//!
//! What is said to the model is looked at, what it may be told again, and what says who asks
//! (`user`, `metadata`): providers then know users by placeholders, and who must tell them
//! apart sends a name of no person. Of a recording the prompt is looked at, the sound is not.
//!
//! Where providers allow no brackets, in the name of who says a message, a placeholder has none
//! (`EMAIL_1`); it is then restored without them as well.
//!
//! Names of members, tools and their schemas, and what must stay as it is (ids, signatures,
//! pictures and their addresses) are not looked at. A number in what a tool was given becomes a text
//! when it is replaced, and stays one, because a placeholder is no number: a tool that takes
//! card numbers as JSON numbers gets them as texts.

mod member;
mod stream;
mod vault;

use std::{collections::HashSet, ops::Range, sync::Arc};

use aho_corasick::{AhoCorasick, MatchKind};
use bytes::Bytes;
use http::StatusCode;
use steadfast_core::{Coded, Fault};
use steadfast_guard::pii::{Detector, Kind, PatternError};

pub(crate) use vault::Vault;

use crate::{
    Answer, Rejected,
    answer::Body,
    call::{Call, Operation, Unreadable},
    config::{Action, KindsConfig, ScreenConfig},
    wire::{
        edit::Edits,
        strings::{Is, Places, said, walk},
    },
};
use member::{Writing, writing};

/// The stage.
pub(crate) struct Screen {
    detector: Detector,
    kinds: KindsConfig,
    enabled: bool,
}

/// What a call's values became.
pub(crate) struct Redacted {
    vault: Arc<Vault>,
}

/// A call that goes no further.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// It has kinds that may not be sent, by name.
    #[error("the request has what may not be sent to a model: {0}; take it out")]
    Kinds(String),
    /// More values than can be looked for at once.
    #[error("the request has too much personal data to be screened")]
    TooMuch,
    /// It does not read any more.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
}

impl Coded for Refused {
    fn code(&self) -> &'static str {
        match self {
            Self::Kinds(_) => "screen.personal_data",
            Self::TooMuch => "screen.too_much",
            Self::Unreadable(error) => error.code(),
        }
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

impl From<Refused> for Rejected {
    fn from(refused: Refused) -> Self {
        Self::new(refused.failure(), StatusCode::BAD_REQUEST)
    }
}

impl Screen {
    pub(crate) fn new(config: &ScreenConfig) -> Result<Self, PatternError> {
        Ok(Self { detector: config.detector()?, kinds: config.kinds.clone(), enabled: config.enabled })
    }
    /// Replaces what is found. `wanted` is what the call's route says about it.
    pub(crate) fn redact(&self, call: &mut Call, wanted: Option<bool>) -> Result<Option<Redacted>, Refused> {
        if !wanted.unwrap_or(self.enabled) {
            return Ok(None);
        }
        let places: Vec<_> = call.asked.at.texts().collect();
        // What is said beside a recording is no JSON.
        let json = call.operation != Operation::Transcription;
        let mut values = Values::default();
        for (place, free) in &places {
            let text = text(&call.body, place);
            if json { self.look(text, *free, &mut values) } else { self.find(text, false, &mut values) }
        }
        if values.all.is_empty() {
            return Ok(None);
        }
        self.refuse(&values)?;
        let (mut vault, names) =
            Vault::new(values.all.iter().map(|it| (it.kind, &*it.text)), &taken(&call.body));
        let forms = values.forms()?;
        let (edits, bare) = (Edits::default(), HashSet::new());
        let mut out = Replacing { forms: &forms, names: &names, edits, bare };
        for (place, free) in &places {
            let text = text(&call.body, place);
            if json { out.json(text, *free, place.start) } else { out.text(text, place.start) }
        }
        vault.know_bare(out.bare.iter().map(|which| &*names[*which]), &call.body);
        let body = out.edits.apply(&call.body);
        call.replace_body(body)?;
        Ok(Some(Redacted { vault: Arc::new(vault) }))
    }
    fn look(&self, json: &str, free: bool, values: &mut Values) {
        walk(json, |found| {
            if writing(&found, json, free).is_some() {
                self.find(&said(&json[found.at]), found.name == "arguments", values);
            }
        });
    }
    fn find(&self, text: &str, json: bool, values: &mut Values) {
        for span in self.detector.find(text) {
            values.add(span.kind, &text[span.range], json);
        }
    }
    fn refuse(&self, values: &Values) -> Result<(), Refused> {
        let mut kinds: Vec<_> = values.all.iter().map(|it| it.kind).collect();
        kinds.retain(|kind| self.kinds.action(*kind) == Action::Refuse);
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = kinds.iter().map(|kind| kind.name().to_ascii_lowercase()).collect();
        Err(Refused::Kinds(names.join(", ")))
    }
}

fn text<'a>(body: &'a Bytes, place: &Range<usize>) -> &'a str {
    std::str::from_utf8(&body[place.clone()]).expect("what does not read as text is no call")
}

/// A value, and how it was written where it was found.
struct Value {
    kind: Kind,
    text: String,
    /// Inside of JSON that is itself in a text it may be written otherwise.
    written: String,
}

#[derive(Default)]
struct Values {
    all: Vec<Value>,
    known: HashSet<String>,
}

impl Values {
    fn add(&mut self, kind: Kind, written: &str, json: bool) {
        let value = if json { said(written) } else { written.into() };
        if self.known.contains(&*value) {
            return;
        }
        self.known.insert(value.clone().into_owned());
        self.all.push(Value { kind, text: value.into_owned(), written: written.into() });
    }
    /// Finds all values in all ways to write them.
    fn forms(&self) -> Result<Forms, Refused> {
        let mut patterns: Vec<(String, usize)> = Vec::with_capacity(self.all.len());
        for (i, value) in self.all.iter().enumerate() {
            let escaped = vault::escaped(&value.text);
            for form in [&value.text, &value.written, &escaped] {
                if !patterns[patterns.len().saturating_sub(2)..].iter().any(|(it, _)| it == form) {
                    patterns.push((form.clone(), i));
                }
            }
        }
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|it| &it.0))
            .map_err(|_| Refused::TooMuch)?;
        Ok(Forms { automaton, of: patterns.into_iter().map(|it| it.1).collect() })
    }
}

struct Forms {
    automaton: AhoCorasick,
    /// Whose form each pattern is.
    of: Vec<usize>,
}

/// Values on their way out of a body.
struct Replacing<'a> {
    forms: &'a Forms,
    /// What they become, in brackets.
    names: &'a [String],
    edits: Edits,
    /// Names that stand somewhere without their brackets.
    bare: HashSet<usize>,
}

impl Replacing<'_> {
    /// In all texts of `json`, which stands at `start` of the body.
    fn json(&mut self, json: &str, free: bool, start: usize) {
        walk(json, |found| {
            let Some(writing) = writing(&found, json, free) else { return };
            let raw = &json[found.at.clone()];
            let text = said(raw);
            let mut places = Places::new(raw);
            for hit in self.forms.automaton.find_iter(&*text) {
                let which = self.forms.of[hit.pattern().as_usize()];
                let name = &self.names[which];
                let from = places.of(hit.start());
                let range = start + found.at.start + from..start + found.at.start + places.of(hit.end());
                let name = if writing == Writing::Name {
                    self.bare.insert(which);
                    vault::bare(name).to_owned()
                } else if found.is == Is::Number {
                    format!("\"{name}\"")
                } else if found.name == "arguments" && bare_number(&text, hit.range()) {
                    format!("\\\"{name}\\\"")
                } else {
                    name.clone()
                };
                self.edits.replace(range, name);
            }
        });
    }
    /// In `text`, which stands at `start` and is no JSON.
    fn text(&mut self, text: &str, start: usize) {
        for hit in self.forms.automaton.find_iter(text) {
            let name = &self.names[self.forms.of[hit.pattern().as_usize()]];
            self.edits.replace(start + hit.start()..start + hit.end(), name.as_str());
        }
    }
}

/// Is it a number of the JSON that `text` is?
fn bare_number(text: &str, at: Range<usize>) -> bool {
    let digits = text[at.clone()].bytes().all(|it| it.is_ascii_digit());
    let before = text[..at.start].trim_end().bytes().last();
    let after = text[at.end..].trim_start().bytes().next();
    digits && matches!(before, Some(b':' | b',' | b'[')) && matches!(after, Some(b',' | b'}' | b']'))
}

/// Placeholders that the body has of its own.
fn taken(body: &[u8]) -> HashSet<String> {
    let mut taken = HashSet::new();
    let mut take = |from: usize| {
        let rest = &body[from..];
        let length = rest.iter().position(|it| !vault::in_name(*it)).unwrap_or(rest.len());
        if (1..=vault::NAME_MAX).contains(&length) {
            taken.extend(std::str::from_utf8(&rest[..length]).ok().map(str::to_owned));
        }
    };
    memchr::memchr_iter(b'<', body).for_each(|at| take(at + 1));
    for escape in [&b"u003c"[..], b"u003C"] {
        memchr::memmem::find_iter(body, escape).for_each(|at| take(at + escape.len()));
    }
    taken
}

impl Redacted {
    /// Puts the values back into the answer to the call.
    pub(crate) fn restore(self, call: &Call, mut answer: Answer) -> Answer {
        let json = call.asked.json;
        answer.body = match answer.body {
            Body::Whole(bytes) if call.asked.media_type.is_some() => {
                let text = String::from_utf8_lossy(&bytes);
                Body::Whole(self.vault.restore_all(&text, false).into_owned().into())
            }
            Body::Whole(bytes) => Body::Whole(self.vault.restore_body(&bytes, json)),
            Body::Stream(frames) => Body::Stream(stream::restored(frames, self.vault, call.operation, json)),
        };
        answer
    }
    /// Puts the values back into what a provider says is wrong with the call.
    pub(crate) fn restore_words(&self, mut rejected: Rejected) -> Rejected {
        rejected.words = rejected.words.map(|words| self.vault.restore_body(&words, false));
        rejected
    }
}

#[cfg(test)]
mod tests;
