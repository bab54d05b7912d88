//! How much money a text speaks of: one certain amount, or what to ask.
//!
//! A wrong amount moves wrong money, so the reading is built to fail towards asking:
//!
//! 1. every place of the text where a number begins is a [`candidate`]: marks, number, unit, cents;
//! 2. [`surroundings`] throw out dates, accounts and counts, and spoil what is "about" or "each";
//! 3. what is left must agree: two different amounts, a bare number beside a marked one, or a
//!    stray unit are asked about.
//!
//! Numbers are read by the grammar of the message's language; the other language's is tried when
//! that finds nothing, and believed only with a unit.

mod candidate;
mod digits;
mod lexicon;
mod phrase;
mod surroundings;
mod units;

use steadfast_core::Currency;

use self::{
    candidate::Candidate,
    phrase::Grammar,
    surroundings::{Surroundings, Verdict},
};
use super::{
    meaning::{Amount, Language, Unclear},
    text::{Kind, Token},
};

/// An amount, and the tokens it takes up.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) amount: Amount,
    /// Of each candidate, money or not.
    pub(super) spans: Vec<(usize, usize)>,
    /// Has any of them a unit?
    pub(super) marked: bool,
    /// Was any of them about money?
    any: bool,
}

/// Reads the amount of a text. `usual` is the currency where none is said.
pub(super) fn find(tokens: &[Token], language: Language, usual: Currency) -> Found {
    let found = find_in(tokens, language, usual);
    if found.any {
        return found;
    }
    let other = match language {
        Language::Es => Language::En,
        Language::En => Language::Es,
    };
    Some(find_in(tokens, other, usual)).filter(|found| found.marked).unwrap_or(found)
}

fn find_in(tokens: &[Token], language: Language, usual: Currency) -> Found {
    let grammar = Grammar { tokens, language };
    let surroundings = Surroundings::new(tokens);
    let candidates = candidates(&grammar);
    let spans = candidates.iter().map(|candidate| (candidate.start, candidate.end)).collect();
    let marked = candidates.iter().any(|candidate| !candidate.marks.is_empty());
    let mut kept = Vec::new();
    let mut spoilt = None;
    for candidate in &candidates {
        match surroundings.verdict(candidate) {
            Verdict::Amount => kept.push(candidate),
            Verdict::Other => {}
            Verdict::Unclear(reason) => spoilt = spoilt.or(Some(reason)),
        }
    }
    let amount = match spoilt {
        Some(reason) => Amount::Ambiguous { reason },
        None => agree(tokens, &surroundings, &candidates, &kept, usual),
    };
    Found { amount, spans, marked, any: spoilt.is_some() || !kept.is_empty() }
}

/// Is it a word for a number in that language, and nothing else?
pub(super) fn is_number(word: &str, language: Language) -> bool {
    lexicon::counts(word, language)
}

/// The number that begins at the token, as a count of things: "dos", "3".
pub(super) fn count_at(tokens: &[Token], i: usize, language: Language) -> Option<(usize, Option<u32>)> {
    let grammar = Grammar { tokens, language };
    let negative = i > 0 && tokens[i - 1].is_any(&["-", "−", "menos", "minus"]);
    let phrase = grammar.number(i)?;
    let whole =
        phrase.value.ok().filter(|value| value.is_multiple_of(100) && !negative).map(|value| value / 100);
    Some((phrase.end, whole.and_then(|whole| u32::try_from(whole).ok())))
}

/// Every number of the text, left to right, none overlapping.
fn candidates(grammar: &Grammar<'_>) -> Vec<Candidate> {
    let mut out = Vec::new();
    let mut i = 0;
    while i < grammar.tokens.len() {
        match candidate::at(grammar, i) {
            Some(candidate) => {
                i = candidate.end;
                out.push(candidate);
            }
            None => i += 1,
        }
    }
    out
}

fn agree(
    tokens: &[Token],
    surroundings: &Surroundings<'_>,
    candidates: &[Candidate],
    kept: &[&Candidate],
    usual: Currency,
) -> Amount {
    let unclear = |reason| Amount::Ambiguous { reason };
    let outside =
        |i: usize| !candidates.iter().any(|candidate| (candidate.start..candidate.end).contains(&i));
    // Digits nobody can type by accident, such as `²` or `٣`, could be part of any number.
    let odd = |token: &Token| token.kind == Kind::Sign && token.end - token.start > 1 && odd_digit(token);
    if tokens.iter().any(odd) {
        return unclear(Unclear::NotUnderstood);
    }
    let Some((first, others)) = kept.split_first() else {
        let stray = (0..tokens.len()).any(|i| outside(i) && units::is_unit(&tokens[i]));
        let relative = surroundings.relative() || surroundings.all() || stray && candidates.is_empty();
        return if relative { unclear(Unclear::Relative) } else { Amount::Missing };
    };
    if surroundings.relative() {
        return unclear(Unclear::Relative);
    }
    if surroundings.each() {
        return unclear(Unclear::Several);
    }
    let money = match first.money(usual) {
        Ok(money) => money,
        Err(reason) => return unclear(reason),
    };
    for other in others {
        let same = other.money(usual).is_ok_and(|other| other == money) && other.negative == first.negative;
        if !same {
            return unclear(Unclear::Several);
        }
    }
    let stray = (0..tokens.len())
        .any(|i| outside(i) && units::mark(&tokens[i]).is_some_and(|m| !fits(m, first, usual)));
    if stray {
        return unclear(Unclear::Currency);
    }
    if first.negative {
        Amount::NotPositive
    } else {
        money.positive().map_or(Amount::NotPositive, Amount::Exact)
    }
}

/// A unit away from the number, "de mi cuenta en dólares", must not contradict it.
fn fits(stray: units::Mark, candidate: &Candidate, usual: Currency) -> bool {
    let mut marks = candidate.marks.clone();
    let alone = units::agree(&marks, usual);
    marks.push(stray);
    alone.is_ok() && !candidate.marks.is_empty() && units::agree(&marks, usual) == alone
}

/// A numeral of another kind or script.
fn odd_digit(token: &Token) -> bool {
    token.plain.chars().any(|c| c.is_numeric() || c == '⁄')
}

#[cfg(test)]
mod tests;
