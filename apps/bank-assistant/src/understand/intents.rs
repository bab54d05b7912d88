//! Which intent a message has: each line of the tables that fits adds its weight, and the
//! examples lean towards what they look like.

use std::collections::BTreeMap;

use super::{
    examples::Examples,
    meaning::{Intent, Language},
    pattern::{self, Fact, Pattern, Words},
    text::{self, Kind, Token},
};

/// With less than this the tables understood nothing.
const ENOUGH: i32 = 3;
/// One point of a table, in the thousandths in which examples speak.
const POINT: i32 = 1_000;
/// Examples have a fifth of a say, and never more than six points against an intent: what a
/// table is sure of stands. Measured on sentences that neither had seen.
const EXAMPLES_SHARE: i32 = 5;
const EXAMPLES_SAY_MAX: i32 = 6 * POINT;
/// A yes, a no or a hello is short: each word beyond these makes it less likely to be only that.
const SMALL_TALK_WORDS: usize = 4;
/// Words shorter than this must be spelt right.
const TYPO_LETTERS_MIN: usize = 5;
/// A stem shorter than this forgives nothing: too many words begin nearly like it.
const TYPO_STEM_MIN: usize = 6;

/// The tables of one language.
pub(super) struct Tables {
    patterns: Vec<Pattern>,
    /// Words and stems of the patterns, long enough to forgive a slip in.
    words: Vec<String>,
    stems: Vec<String>,
    examples: Examples,
}

/// An intent and how sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Guess {
    pub(super) intent: Intent,
    pub(super) score: i32,
}

impl Tables {
    /// The tables this program carries.
    pub(super) fn of(language: Language) -> Self {
        let table = match language {
            Language::Es => include_str!("tables/es.txt"),
            Language::En => include_str!("tables/en.txt"),
        };
        let patterns = pattern::read(table).expect("the built-in tables parse: a test reads them");
        let known = |stem: bool| -> Vec<String> {
            let mut words: Vec<String> = patterns
                .iter()
                .flat_map(Pattern::known)
                .filter(|(word, is_stem)| *is_stem == stem && !word.is_empty())
                .map(|(word, _)| word.to_owned())
                .collect();
            words.sort_unstable();
            words.dedup();
            words
        };
        let (words, stems) = (known(false), known(true));
        let examples = Examples::of(language, |text| plain_words(&text::tokens(text)));
        Self { patterns, words, stems, examples }
    }

    /// The best intent by tables and examples together.
    pub(super) fn guess(&self, tokens: &[Token], facts: &[Fact]) -> Guess {
        let words = plain_words(tokens);
        let scores = self.scores(&words, facts);
        let behind = self.examples.behind(&words);
        let score = |intent: Intent| scores.get(&intent).copied().unwrap_or(0);
        let together = |intent: Intent| {
            let behind = behind
                .get(&intent)
                .map_or(-EXAMPLES_SAY_MAX, |b| (b / EXAMPLES_SHARE).max(-EXAMPLES_SAY_MAX));
            score(intent).saturating_mul(POINT).saturating_add(behind)
        };
        // The first of equals: a request before small talk.
        let best = Intent::ALL
            .into_iter()
            .rev()
            .max_by_key(|intent| together(*intent))
            .unwrap_or(Intent::OutOfScope);
        // What no table supports is believed if the examples at least know its words.
        if score(best) < ENOUGH && !self.examples.knows(&words) {
            return Guess { intent: Intent::OutOfScope, score: 0 };
        }
        Guess { intent: best, score: score(best).max(0) }
    }

    /// What each line of the tables that fits adds up to.
    fn scores(&self, words: &[String], facts: &[Fact]) -> BTreeMap<Intent, i32> {
        let words: Vec<String> = words.iter().map(|word| self.forgive(word.clone())).collect();
        let message = Words { words: &words, facts };
        let mut scores: BTreeMap<Intent, i32> = BTreeMap::new();
        for pattern in self.patterns.iter().filter(|pattern| pattern.fits(&message)) {
            *scores.entry(pattern.intent).or_default() += pattern.weight;
        }
        let beyond = words.len().saturating_sub(SMALL_TALK_WORDS);
        for (intent, score) in &mut scores {
            if matches!(intent, Intent::Greeting | Intent::Confirm | Intent::Deny) {
                *score -= 2 * i32::try_from(beyond).unwrap_or(i32::MAX / 2);
            }
        }
        scores
    }

    /// One wrong letter in a word of the tables, when it can be one of them only.
    fn forgive(&self, word: String) -> String {
        let letters = word.chars().count();
        let known = |list: &[String]| list.binary_search(&word).is_ok();
        if letters < TYPO_LETTERS_MIN
            || known(&self.words)
            || self.stems.iter().any(|stem| word.starts_with(stem.as_str()))
            || word.bytes().any(|b| b.is_ascii_digit())
        {
            return word;
        }
        let near = |known: &str| {
            known.as_bytes()[0] == word.as_bytes()[0] && strsim::osa_distance(known, &word) == 1
        };
        let mut found = self.words.iter().filter(|known| known.len() >= TYPO_LETTERS_MIN && near(known));
        if let Some(only) = found.next() {
            return if found.next().is_none() { only.clone() } else { word };
        }
        let stem = self.stems.iter().find(|stem| stem.len() >= TYPO_STEM_MIN && begins_nearly(&word, stem));
        stem.cloned().unwrap_or(word)
    }
}

/// Is the stem one slip away from how the word begins?
fn begins_nearly(word: &str, stem: &str) -> bool {
    let length = stem.chars().count();
    word.starts_with(&stem[..1])
        && (length - 1..=length + 1).any(|cut| {
            let begin: String = word.chars().take(cut).collect();
            begin.chars().count() == cut && strsim::osa_distance(&begin, stem) == 1
        })
}

/// Words and numbers without signs: "don't" is one word, "holaaa" is "hola".
fn plain_words(tokens: &[Token]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (i, token) in tokens.iter().enumerate() {
        let apostrophe = i > 1
            && token.kind == Kind::Word
            && token.glued
            && tokens[i - 1].glued
            && tokens[i - 1].is_any(&["'", "’", "`"])
            && tokens[i - 2].kind == Kind::Word;
        match (token.kind, out.last_mut()) {
            (Kind::Sign, _) => {}
            (Kind::Word, Some(before)) if apostrophe => before.push_str(&token.plain),
            _ => out.push(shorten(&token.plain)),
        }
    }
    out
}

/// Three or more of one letter are one.
fn shorten(word: &str) -> String {
    let mut out = String::new();
    let chars: Vec<char> = word.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        let run = chars[i..].iter().take_while(|c| **c == chars[i]).count();
        let kept = if run > 2 && chars[i].is_alphabetic() { 1 } else { run };
        out.extend(std::iter::repeat_n(chars[i], kept));
        i += run;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(text: &str) -> Intent {
        Tables::of(Language::Es).guess(&text::tokens(text), &[]).intent
    }

    #[test]
    fn the_tables_parse() {
        for language in [Language::Es, Language::En] {
            assert!(!Tables::of(language).patterns.is_empty());
        }
    }

    #[test]
    fn one_wrong_letter_and_long_vowels_are_forgiven() {
        assert_eq!(guess("mis movimeintos"), Intent::ListTransactions);
        assert_eq!(guess("bloquaer mi tarjta"), Intent::BlockCard);
        assert_eq!(guess("holaaaaa"), Intent::Greeting);
        assert_eq!(guess("siiii"), Intent::Confirm);
    }
}
