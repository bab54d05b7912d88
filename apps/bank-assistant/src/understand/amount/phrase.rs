//! The grammar of numbers: words, digits, and both together ("25 mil", "two and a half million").

use super::{
    super::{
        meaning::{Language, Unclear},
        text::{Kind, Token},
    },
    digits,
    lexicon::{Lex, lex},
};

const THOUSAND: u128 = 1_000;
const MILLION: u128 = 1_000_000;

/// A number found in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Phrase {
    /// The token after it.
    pub(super) end: usize,
    /// In hundredths, or why not.
    pub(super) value: Result<u128, Unclear>,
    /// "un" or "one" alone, which is an article unless a unit follows.
    pub(super) article: bool,
    /// Digits alone, so many of them, without marks: it may be an account.
    pub(super) plain_digits: Option<usize>,
    /// Ended with a scale: nothing may be halved after it.
    scale: Option<u128>,
}

impl Phrase {
    /// A number that needs no grammar.
    pub(super) const fn whole(end: usize, hundredths: u128) -> Self {
        Self { end, value: Ok(hundredths), article: false, plain_digits: None, scale: None }
    }
}

/// A part of a number, before its scale.
#[derive(Debug, Clone, Copy)]
struct Group {
    end: usize,
    hundredths: u128,
    unclear: Option<Unclear>,
    digits: Option<digits::Digits>,
    one: bool,
}

/// Reads numbers from tokens.
pub(super) struct Grammar<'t> {
    pub(super) tokens: &'t [Token],
    pub(super) language: Language,
}

impl Grammar<'_> {
    /// What the token does in a number.
    pub(super) fn lex(&self, i: usize) -> Option<Lex> {
        let token = self.tokens.get(i)?;
        match token.kind {
            // "20k": only when it touches the digits.
            Kind::Word if token.is("k") && token.glued && self.is_number(i.wrapping_sub(1)) => {
                Some(Lex::Thousand)
            }
            Kind::Word => lex(&token.plain, self.language),
            Kind::Number | Kind::Sign => None,
        }
    }

    /// Is the token digits?
    pub(super) fn is_number(&self, i: usize) -> bool {
        self.tokens.get(i).is_some_and(|token| token.kind == Kind::Number)
    }

    /// The number that begins exactly here.
    pub(super) fn number(&self, from: usize) -> Option<Phrase> {
        let mut phrase = self.halves(from).or_else(|| self.scaled(from))?;
        if let Some(end) = self.and_half(phrase.end) {
            phrase = Self::plus_half(phrase, end);
        } else if let Some((end, hundredths)) = self.spoken_decimals(phrase.end) {
            phrase =
                Phrase { end, value: phrase.value.and_then(|value| add_part(value, hundredths)), ..phrase };
        }
        // "dos cincuenta", "veinte diez", "treinta y diez": not one number, maybe two, so none.
        let and = usize::from(self.lex(phrase.end) == Some(Lex::And));
        let more =
            self.lex(phrase.end + and).is_some_and(|lex| !matches!(lex, Lex::And | Lex::Article | Lex::Half));
        if more {
            phrase.value = Err(Unclear::NotUnderstood);
        }
        Some(phrase)
    }

    /// "medio millón", "half a million", "dos y medio millones", "two and a half thousand".
    fn halves(&self, from: usize) -> Option<Phrase> {
        let (count, half) = match self.lex(from)? {
            Lex::Half => (0, from),
            Lex::Digit(n) if self.lex(from + 1) == Some(Lex::And) => {
                (n, from + 2 + usize::from(self.lex(from + 2) == Some(Lex::Article)))
            }
            _ => return None,
        };
        if self.lex(half) != Some(Lex::Half) {
            return None;
        }
        let scale_at = half + 1 + usize::from(matches!(self.lex(half + 1), Some(Lex::Article | Lex::One)));
        let value = match (self.lex(scale_at)?, self.language) {
            (Lex::Million, _) => Ok((u128::from(count) * 2 + 1) * MILLION * 50),
            (Lex::Thousand, Language::En) => Ok((u128::from(count) * 2 + 1) * THOUSAND * 50),
            (Lex::Thousand, Language::Es) => Err(Unclear::NotUnderstood),
            _ => return None,
        };
        Some(Phrase { end: scale_at + 1, value, article: false, plain_digits: None, scale: None })
    }

    /// A group, thousands, millions.
    fn scaled(&self, from: usize) -> Option<Phrase> {
        let first = self.below_million(from)?;
        if self.lex(first.end) != Some(Lex::Million) {
            return Some(first);
        }
        let millions = first.value.map(|value| value * MILLION);
        let bare = Phrase {
            end: first.end + 1,
            value: millions,
            article: false,
            plain_digits: None,
            scale: Some(MILLION),
        };
        let and = usize::from(self.language == Language::En && self.lex(bare.end) == Some(Lex::And));
        if self.lex(bare.end + and) == Some(Lex::Article) {
            return Some(bare);
        }
        let Some(rest) = self.below_million(bare.end + and).filter(|rest| !rest.article) else {
            return Some(bare);
        };
        // "un millón doscientos" is 1,200,000 to some and 1,000,200 to others.
        let value = match (millions, rest.value) {
            (Ok(millions), Ok(rest)) if rest >= THOUSAND * 100 || rest % 10_000 != 0 && rest > 10_000 => {
                Ok(millions + rest)
            }
            (Err(unclear), _) | (_, Err(unclear)) => Err(unclear),
            _ => Err(Unclear::NotUnderstood),
        };
        Some(Phrase { end: rest.end, value, scale: rest.scale, ..bare })
    }

    fn below_million(&self, from: usize) -> Option<Phrase> {
        let implicit = matches!(self.lex(from), Some(Lex::Thousand | Lex::Million));
        let group = if implicit {
            Group { end: from, hundredths: 100, unclear: None, digits: None, one: false }
        } else {
            self.group(from)?
        };
        let whole = Phrase {
            end: group.end,
            value: group.unclear.map_or(Ok(group.hundredths), Err),
            article: group.one,
            plain_digits: group.digits.filter(|d| !d.grouped && !d.decimals).map(|d| d.length),
            scale: None,
        };
        let scale_follows = matches!(self.lex(group.end), Some(Lex::Thousand | Lex::Million));
        if !scale_follows {
            return Some(whole);
        }
        let grouped = group.digits.is_some_and(|digits| digits.grouped);
        let whole = Phrase {
            article: false,
            plain_digits: None,
            value: if grouped { Err(Unclear::NotUnderstood) } else { whole.value },
            ..whole
        };
        if self.lex(group.end) != Some(Lex::Thousand) {
            return Some(whole);
        }
        let thousands = Phrase {
            end: group.end + 1,
            value: whole.value.map(|value| value * THOUSAND),
            scale: Some(THOUSAND),
            ..whole
        };
        Some(self.after_thousand(thousands, group.digits.is_some_and(|digits| digits.decimals)))
    }

    /// "mil quinientos", "3 mil 500", "one thousand and five".
    fn after_thousand(&self, thousands: Phrase, decimals: bool) -> Phrase {
        let and = usize::from(self.language == Language::En && self.lex(thousands.end) == Some(Lex::And));
        let Some(rest) = self.group(thousands.end + and) else { return thousands };
        if rest.one && !self.one_counts(rest.end) {
            return thousands;
        }
        // "2 mil 5" may be 2,005 or 2,500; "1.5 mil 200" is nothing.
        let odd = rest.digits.is_some_and(|d| d.grouped || d.length < 2 || d.length > 3);
        let unclear = rest
            .unclear
            .or((odd || decimals || rest.hundredths >= THOUSAND * 100).then_some(Unclear::NotUnderstood));
        let value = match (thousands.value, unclear) {
            (Ok(value), None) => Ok(value + rest.hundredths),
            (Err(unclear), _) | (_, Some(unclear)) => Err(unclear),
        };
        Phrase { end: rest.end, value, scale: None, ..thousands }
    }

    /// "mil uno" has a one; "mil un" and "mil una" only before a unit: else it is an article.
    fn one_counts(&self, after: usize) -> bool {
        self.tokens[after - 1].is_any(&["uno", "one"])
            || matches!(self.lex(after), Some(Lex::Thousand | Lex::Million))
            || self.tokens.get(after).is_some_and(super::units::is_unit)
    }

    /// Digits, or words below a thousand.
    fn group(&self, from: usize) -> Option<Group> {
        if self.is_number(from) {
            return Some(self.digits(from));
        }
        self.words(from)
    }

    /// One token of digits, or several when spaces group thousands.
    fn digits(&self, from: usize) -> Group {
        let mut end = from + 1;
        while self.is_number(end) {
            end += 1;
        }
        let run: Vec<&str> = self.tokens[from..end].iter().map(|token| token.plain.as_str()).collect();
        let unsure = |unclear| Group { end, hundredths: 0, unclear: Some(unclear), digits: None, one: false };
        let read = match run.as_slice() {
            [one] => digits::read(one),
            several => digits::read_spaced(several),
        };
        match read {
            Ok(digits) => {
                Group { end, hundredths: digits.hundredths, unclear: None, digits: Some(digits), one: false }
            }
            // Groups that are no thousands may be a CLABE, a card, a telephone.
            Err(unclear) if run.len() > 1 => {
                Group { end, digits: Some(digits::apart(&run)), ..unsure(unclear) }
            }
            Err(unclear) => Group { end, ..unsure(unclear) },
        }
    }

    fn words(&self, from: usize) -> Option<Group> {
        let sure = |end, value: u64| Group {
            end,
            hundredths: u128::from(value) * 100,
            unclear: None,
            digits: None,
            one: false,
        };
        let unsure = |end| Group { unclear: Some(Unclear::NotUnderstood), ..sure(end, 0) };
        Some(match self.lex(from)? {
            Lex::Unsure => unsure(from + 1),
            Lex::Zero => sure(from + 1, 0),
            Lex::Cien => sure(from + 1, 100),
            Lex::Hundreds(hundreds) => match self.below_hundred(from + 1) {
                Some((end, rest)) if rest != 1 || self.one_counts(end) => sure(end, hundreds + rest),
                // "ciento" alone is half a word.
                _ if hundreds == 100 && self.lex(from + 1) != Some(Lex::Thousand) => unsure(from + 1),
                _ => sure(from + 1, hundreds),
            },
            Lex::Article if self.lex(from + 1) == Some(Lex::Hundred) => self.hundreds(from + 1, 1),
            Lex::Article if matches!(self.lex(from + 1), Some(Lex::Thousand | Lex::Million)) => {
                sure(from + 1, 1)
            }
            Lex::Hundred if self.language == Language::En => self.hundreds(from, 1),
            _ => {
                let (end, value) = self.below_hundred(from)?;
                if self.lex(end) == Some(Lex::Hundred) {
                    return Some(if value < 20 { self.hundreds(end, value) } else { unsure(end + 1) });
                }
                Group { one: value == 1 && end == from + 1, ..sure(end, value) }
            }
        })
    }

    /// After "hundred": "five hundred and five".
    fn hundreds(&self, hundred: usize, count: u64) -> Group {
        let and = usize::from(self.lex(hundred + 1) == Some(Lex::And));
        let (end, rest) = self.below_hundred(hundred + 1 + and).unwrap_or((hundred + 1, 0));
        Group {
            end,
            hundredths: u128::from(count * 100 + rest) * 100,
            unclear: None,
            digits: None,
            one: false,
        }
    }

    /// 1 to 99 in words.
    fn below_hundred(&self, from: usize) -> Option<(usize, u64)> {
        let digit = |i| match self.lex(i) {
            Some(Lex::Digit(digit)) => Some(digit),
            Some(Lex::One) => Some(1),
            _ => None,
        };
        let and = |i| self.lex(i) == Some(Lex::And);
        let spanish = self.language == Language::Es;
        Some(match self.lex(from)? {
            Lex::One => (from + 1, 1),
            Lex::Prefix(tens) => (from + 2, tens + digit(from + 1)?),
            // "diez y seis", "veinte y cinco": old, and still written.
            Lex::Teen(tens @ (10 | 20))
                if spanish && and(from + 1) && digit(from + 2).is_some_and(|d| tens == 20 || d > 5) =>
            {
                (from + 3, tens + digit(from + 2)?)
            }
            Lex::Digit(value) | Lex::Joined(value) | Lex::Teen(value) => (from + 1, value),
            Lex::Tens(tens) if spanish && and(from + 1) && digit(from + 2).is_some() => {
                (from + 3, tens + digit(from + 2)?)
            }
            Lex::Tens(tens) if spanish => (from + 1, tens),
            Lex::Tens(tens) => {
                let hyphen = self.tokens.get(from + 1).is_some_and(|token| token.is("-") && token.glued);
                let next = from + 1 + usize::from(hyphen);
                digit(next).map_or((from + 1, tens), |digit| (next + 1, tens + digit))
            }
            _ => return None,
        })
    }

    /// "y medio", "and a half", here.
    fn and_half(&self, at: usize) -> Option<usize> {
        if self.lex(at) != Some(Lex::And) {
            return None;
        }
        let half = at + 1 + usize::from(self.lex(at + 1) == Some(Lex::Article));
        (self.lex(half) == Some(Lex::Half)).then_some(half + 1)
    }

    /// A million and a half is half a million more; "mil y medio" is anybody's guess.
    fn plus_half(phrase: Phrase, end: usize) -> Phrase {
        let value = phrase.value.and_then(|value| match phrase.scale {
            Some(MILLION) => Ok(value + MILLION * 50),
            Some(_) => Err(Unclear::NotUnderstood),
            None => add_part(value, 50),
        });
        Phrase { end, value, article: false, plain_digits: None, scale: None }
    }

    /// "punto cinco", "punto cero cinco", "coma veinte", "point five", in hundredths.
    fn spoken_decimals(&self, at: usize) -> Option<(usize, Result<u128, Unclear>)> {
        if !self.tokens.get(at)?.is_any(&["punto", "coma", "point"]) {
            return None;
        }
        if self.is_number(at + 1) {
            let text = &self.tokens[at + 1].plain;
            let read = match (text.len(), text.parse::<u128>()) {
                (1, Ok(value)) => Ok(value * 10),
                (2, Ok(value)) => Ok(value),
                _ => Err(Unclear::TooPrecise),
            };
            return Some((at + 2, read));
        }
        let zeros = usize::from(self.lex(at + 1) == Some(Lex::Zero));
        let group = self.words(at + 1 + zeros)?;
        let whole = group.hundredths / 100;
        let read = match (group.unclear, zeros, whole) {
            (None, 1, 1..=9) | (None, 0, 10..=99) => Ok(whole),
            (None, 0, 1..=9) => Ok(whole * 10),
            _ => Err(Unclear::TooPrecise),
        };
        Some((group.end, read))
    }
}

/// Adds what follows the whole number; twice decimals is nothing.
pub(super) fn add_part(value: u128, part: impl Into<Part>) -> Result<u128, Unclear> {
    let part = part.into().0?;
    if value.is_multiple_of(100) && part < 100 { Ok(value + part) } else { Err(Unclear::NotUnderstood) }
}

/// Hundredths below one, if they could be read.
pub(super) struct Part(Result<u128, Unclear>);

impl From<u128> for Part {
    fn from(value: u128) -> Self {
        Self(Ok(value))
    }
}
impl From<Result<u128, Unclear>> for Part {
    fn from(value: Result<u128, Unclear>) -> Self {
        Self(value)
    }
}
