//! Finds personal data and secrets in text.
//!
//! What has a form or a check digit is found by it, not by chance: cards by Luhn, accounts
//! by their control digits, tax ids by their form and date. Names and addresses have no
//! form and are not looked for.
//!
//! A text without anything is passed over quickly: three scans look for the few bytes that
//! everything must have (a digit, an `@`, the beginning of a secret), and only there is
//! looked closer. The text may be JSON or another code that holds text with escapes.

mod account;
mod card;
mod digits;
mod email;
mod ip;
mod near;
mod phone;
mod secret;
mod tax;

use std::ops::Range;

use aho_corasick::{AhoCorasick, AhoCorasickKind};
use regex::Regex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An e-mail address, also one that is written out ("ana at example dot com").
    Email,
    /// A telephone number.
    Phone,
    /// The number of a payment card.
    Card,
    /// An international bank account number.
    Iban,
    /// A Mexican bank account number.
    Clabe,
    /// A Mexican citizen's code.
    Curp,
    /// A Mexican tax id.
    Rfc,
    /// A social security number of the United States.
    Ssn,
    /// A public IP address.
    Ip,
    /// A key, token or password with a well-known beginning.
    Secret,
    /// What the configuration lists.
    Custom,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 11] = [
        Self::Email,
        Self::Phone,
        Self::Card,
        Self::Iban,
        Self::Clabe,
        Self::Curp,
        Self::Rfc,
        Self::Ssn,
        Self::Ip,
        Self::Secret,
        Self::Custom,
    ];
    /// Its name in capitals.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Email => "EMAIL",
            Self::Phone => "PHONE",
            Self::Card => "CARD",
            Self::Iban => "IBAN",
            Self::Clabe => "CLABE",
            Self::Curp => "CURP",
            Self::Rfc => "RFC",
            Self::Ssn => "SSN",
            Self::Ip => "IP",
            Self::Secret => "SECRET",
            Self::Custom => "CUSTOM",
        }
    }
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// What it is.
    pub kind: Kind,
    /// Where, in bytes. It begins and ends between characters.
    pub range: Range<usize>,
}

/// Texts or patterns that cannot be looked for.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// A pattern that is none.
    #[error("{0:?} is not a regular expression: {1}")]
    Pattern(String, Box<regex::Error>),
    /// A pattern that every text has.
    #[error("{0:?} is found where nothing is")]
    Empty(String),
    /// Too many or too long.
    #[error("the texts to be found are too many: {0}")]
    Literals(aho_corasick::BuildError),
}

/// Finds what it was told to find. Made once, used by all.
#[derive(Debug)]
pub struct Detector {
    kinds: u16,
    beginnings: AhoCorasick,
    literals: Option<AhoCorasick>,
    patterns: Vec<Regex>,
}

impl Detector {
    /// One for these kinds, and for texts (capitals or not) and patterns of one's own.
    pub fn new(
        kinds: impl IntoIterator<Item = Kind>,
        literals: &[String],
        patterns: &[String],
    ) -> Result<Self, PatternError> {
        let patterns = patterns.iter().map(|pattern| {
            let compiled = Regex::new(pattern)
                .map_err(|error| PatternError::Pattern(pattern.clone(), Box::new(error)))?;
            if compiled.is_match("") {
                return Err(PatternError::Empty(pattern.clone()));
            }
            Ok(compiled)
        });
        if literals.iter().any(String::is_empty) {
            return Err(PatternError::Empty(String::new()));
        }
        let automaton = |texts: Vec<&str>| {
            AhoCorasick::builder()
                .ascii_case_insensitive(true)
                .match_kind(aho_corasick::MatchKind::LeftmostLongest)
                .kind(Some(AhoCorasickKind::DFA))
                .build(texts)
                .map_err(PatternError::Literals)
        };
        Ok(Self {
            kinds: kinds.into_iter().fold(0, |all, kind| all | bit(kind)),
            beginnings: automaton(secret::BEGINNINGS.iter().map(|it| it.0).chain(email::SPOKEN).collect())?,
            literals: (!literals.is_empty())
                .then(|| automaton(literals.iter().map(String::as_str).collect()))
                .transpose()?,
            patterns: patterns.collect::<Result<_, _>>()?,
        })
    }
    fn wants(&self, kind: Kind) -> bool {
        self.kinds & bit(kind) != 0
    }
    /// All that is in `text`, in order. Nothing overlaps: what does is one, of the longer
    /// one's kind.
    pub fn find(&self, text: &str) -> Vec<Span> {
        let mut found = Vec::new();
        self.find_numbers(text, &mut found);
        if self.wants(Kind::Email) {
            for at in memchr::memchr_iter(b'@', text.as_bytes()) {
                push(&mut found, Kind::Email, email::around(text, at..at + 1));
            }
        }
        if self.wants(Kind::Email) || self.wants(Kind::Secret) {
            self.find_beginnings(text, &mut found);
        }
        if self.wants(Kind::Custom) {
            if let Some(literals) = &self.literals {
                // A text may end in the middle of none: literals are whole characters.
                found.extend(
                    literals.find_iter(text).map(|it| Span { kind: Kind::Custom, range: it.range() }),
                );
            }
            for pattern in &self.patterns {
                let spans = pattern.find_iter(text).filter(|it| !it.is_empty());
                found.extend(spans.map(|it| Span { kind: Kind::Custom, range: it.range() }));
            }
        }
        settle(found)
    }
    fn find_beginnings(&self, text: &str, found: &mut Vec<Span>) {
        let mut from = 0;
        for hit in self.beginnings.find_iter(text) {
            // What is inside of the last secret is no other one.
            if hit.start() < from {
                continue;
            }
            let range = match secret::BEGINNINGS.get(hit.pattern().as_usize()) {
                Some((beginning, shape)) if self.wants(Kind::Secret) => {
                    let range = secret::at(text, hit.start(), beginning, *shape);
                    from = range.as_ref().map_or(from, |it| it.end);
                    push(found, Kind::Secret, range);
                    continue;
                }
                None if self.wants(Kind::Email) => email::spoken(text, hit.range()),
                _ => continue,
            };
            push(found, Kind::Email, range);
        }
    }
    fn find_numbers(&self, text: &str, found: &mut Vec<Span>) {
        let bytes = text.as_bytes();
        let mut at = 0;
        while let Some(next) = bytes[at..].iter().position(|byte| digits::MAY_BEGIN[usize::from(*byte)]) {
            at += next;
            if !digits::at_least(bytes, at, digits::FEWEST)
                && !account::may_be_iban(text, at)
                && !ip::may_be(bytes, at)
            {
                at += bytes[at..]
                    .iter()
                    .position(|byte| !byte.is_ascii_digit())
                    .unwrap_or(bytes.len() - at)
                    .max(1);
                continue;
            }
            let Some(run) = digits::Run::at(text, at) else {
                at += 1;
                continue;
            };
            match self.number(text, &run) {
                Some(span) => {
                    at = span.range.end.max(run.first_end());
                    found.push(span);
                }
                None => at = run.first_end(),
            }
        }
    }
    /// What begins at `run`, the most telling first.
    fn number(&self, text: &str, run: &digits::Run) -> Option<Span> {
        type Find = fn(&str, &digits::Run) -> Option<Range<usize>>;
        const FORMS: [(Kind, Find); 8] = [
            (Kind::Iban, account::iban),
            (Kind::Curp, tax::curp),
            (Kind::Rfc, tax::rfc),
            (Kind::Card, card::find),
            (Kind::Clabe, account::clabe),
            (Kind::Ip, ip::find),
            (Kind::Ssn, phone::ssn),
            (Kind::Phone, phone::find),
        ];
        FORMS.into_iter().filter(|(kind, _)| self.wants(*kind)).find_map(|(kind, find)| {
            let range = find(text, run)?;
            Some(Span { kind, range })
        })
    }
}

const fn bit(kind: Kind) -> u16 {
    1 << kind as u16
}

fn push(found: &mut Vec<Span>, kind: Kind, range: Option<Range<usize>>) {
    found.extend(range.map(|range| Span { kind, range }));
}

/// In order, and what overlaps as one.
fn settle(mut found: Vec<Span>) -> Vec<Span> {
    found.sort_by_key(|span| (span.range.start, std::cmp::Reverse(span.range.end)));
    let mut settled: Vec<Span> = Vec::with_capacity(found.len());
    for span in found {
        match settled.last_mut() {
            Some(last) if span.range.start < last.range.end => {
                if span.range.len() > last.range.len() {
                    last.kind = span.kind;
                }
                last.range.end = last.range.end.max(span.range.end);
            }
            _ => settled.push(span),
        }
    }
    settled
}

#[cfg(test)]
mod tests;
