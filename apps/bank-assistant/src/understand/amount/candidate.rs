//! One amount in the text: marks before, number, marks after, cents.

use steadfast_core::{Currency, Money};

use super::{
    super::{
        meaning::Unclear,
        text::{Kind, Token},
    },
    lexicon::Lex,
    phrase::{Grammar, Phrase, add_part},
    units::{self, Mark},
};

/// Something that may be an amount.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// Its tokens.
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) value: Result<u128, Unclear>,
    pub(super) negative: bool,
    pub(super) marks: Vec<Mark>,
    /// Digits alone, so many.
    pub(super) plain_digits: Option<usize>,
}

/// Codes and signs before a number, at most: "U$S", "usd $".
const MARKS_BEFORE_MAX: usize = 4;

/// The amount that begins exactly at `start`.
pub(super) fn at(grammar: &Grammar<'_>, start: usize) -> Option<Candidate> {
    let tokens = grammar.tokens;
    if let Some(candidate) = unit_and_half(grammar, start) {
        return Some(candidate);
    }
    let mut marks = Vec::new();
    let mut negative = false;
    let mut i = start;
    while i < start + MARKS_BEFORE_MAX {
        if let Some((next, mark)) = mark_before(tokens, i) {
            marks.push(mark);
            i = next;
        } else if minus(tokens, i) {
            negative = true;
            i += 1;
        } else {
            break;
        }
    }
    let phrase = half_unit(grammar, i).or_else(|| grammar.number(i))?;
    let mut candidate = Candidate {
        start,
        end: phrase.end,
        value: phrase.value,
        negative,
        marks,
        plain_digits: phrase.plain_digits,
    };
    after(grammar, &mut candidate);
    let article = phrase.article && candidate.marks.is_empty() && candidate.value.is_ok();
    (!article).then_some(candidate)
}

/// A minus that belongs to the number: it touches it, and nothing else; or the word.
fn minus(tokens: &[Token], i: usize) -> bool {
    let Some(token) = tokens.get(i) else { return false };
    let next_glued = tokens.get(i + 1).is_some_and(|next| next.glued);
    let free = !token.glued || tokens[i - 1].is("$");
    let bound = i > 0 && tokens[i - 1].is_any(&["o", "al", "lo"]);
    token.is_any(&["-", "−", "–", "—"]) && next_glued && free
        || token.is_any(&["menos", "minus", "negative"]) && !bound
}

/// A code or sign that stands before a number, with the token after it.
fn mark_before(tokens: &[Token], i: usize) -> Option<(usize, Mark)> {
    let token = tokens.get(i)?;
    let follows = |n: usize, sign: &str| tokens.get(i + n).is_some_and(|next| next.is(sign) && next.glued);
    if token.is_any(&["us", "u"]) && follows(1, "$") {
        let end = i + 2 + usize::from(follows(2, "s"));
        return Some((end, Mark::Is(Currency::USD)));
    }
    match units::mark(token)? {
        mark @ (Mark::Dollar | Mark::Is(_)) => Some((i + 1, mark)),
        Mark::Unclear if token.kind == Kind::Sign => Some((i + 1, Mark::Unclear)),
        Mark::Named(_) | Mark::Unclear | Mark::Cents => None,
    }
}

/// "peso y medio", "dólar y medio".
fn unit_and_half(grammar: &Grammar<'_>, start: usize) -> Option<Candidate> {
    let token = grammar.tokens.get(start)?;
    let mark @ Mark::Named(_) = units::mark(token)? else { return None };
    let half = grammar.lex(start + 1) == Some(Lex::And) && grammar.lex(start + 2) == Some(Lex::Half);
    half.then(|| Candidate {
        start,
        end: start + 3,
        value: Ok(150),
        negative: false,
        marks: vec![mark],
        plain_digits: None,
    })
}

/// "medio peso", "half a dollar".
fn half_unit(grammar: &Grammar<'_>, i: usize) -> Option<Phrase> {
    if grammar.lex(i) != Some(Lex::Half) {
        return None;
    }
    let unit = i + 1 + usize::from(matches!(grammar.lex(i + 1), Some(Lex::Article)));
    matches!(units::mark(grammar.tokens.get(unit)?), Some(Mark::Named(_))).then(|| Phrase::whole(unit, 50))
}

/// Units, nations, halves and cents after the number.
fn after(grammar: &Grammar<'_>, candidate: &mut Candidate) {
    if candidate.value.is_ok() && cents_alone(grammar, candidate) {
        return;
    }
    marks_after(grammar.tokens, candidate);
    let unit_seen = !candidate.marks.is_empty();
    let end = candidate.end;
    if unit_seen && grammar.lex(end) == Some(Lex::And) {
        let half = end + 1 + usize::from(grammar.lex(end + 1) == Some(Lex::Article));
        if grammar.lex(half) == Some(Lex::Half) {
            candidate.end = half + 1;
            // "mil pesos y medio" is not how anybody says 1,000.50.
            let value = candidate.value.and_then(|value| add_part(value, 50));
            candidate.value =
                value.and_then(|v| if v < 100_000 { Ok(v) } else { Err(Unclear::NotUnderstood) });
            return;
        }
    }
    cents_after(grammar, candidate, unit_seen);
    marks_after(grammar.tokens, candidate);
}

/// "50 centavos" with nothing before. From a hundred on nobody knows where the pesos end.
fn cents_alone(grammar: &Grammar<'_>, candidate: &mut Candidate) -> bool {
    let is_cents = |i| grammar.tokens.get(i).and_then(units::mark) == Some(Mark::Cents);
    if !is_cents(candidate.end) {
        return false;
    }
    candidate.end += 1;
    candidate.marks.push(Mark::Cents);
    candidate.value = match candidate.value {
        Ok(value) if value < 10_000 && value.is_multiple_of(100) => Ok(value / 100),
        _ => Err(Unclear::NotUnderstood),
    };
    let of_dollar = grammar.tokens.get(candidate.end).is_some_and(|t| t.is("de"))
        && grammar.tokens.get(candidate.end + 1).is_some_and(|t| t.is_any(&["dolar", "dolares"]));
    if of_dollar {
        candidate.end += 2;
        candidate.marks.push(Mark::Is(Currency::USD));
    }
    true
}

/// Units, codes, signs, nations; "de" before a unit; "m.n.".
fn marks_after(tokens: &[Token], candidate: &mut Candidate) {
    loop {
        let i = candidate.end;
        let Some(token) = tokens.get(i) else { return };
        let next = tokens.get(i + 1);
        if token.is("de") && next.is_some_and(units::is_money) {
            candidate.end += 2;
            candidate.marks.push(Mark::Dollar);
        } else if token.is("de")
            && next.and_then(units::mark).is_some_and(|mark| matches!(mark, Mark::Named(_)))
        {
            candidate.end += 1;
        } else if token.is("m")
            && next.is_some_and(|dot| dot.is("."))
            && tokens.get(i + 2).is_some_and(|n| n.is("n"))
        {
            candidate.end += 3;
            candidate.marks.push(Mark::Is(Currency::MXN));
        } else if token.is("moneda") && next.is_some_and(|word| word.is("nacional")) {
            candidate.end += 2;
            candidate.marks.push(Mark::Is(Currency::MXN));
        } else if token.is("us") && candidate.marks == [Mark::Dollar] {
            candidate.end += 1;
            candidate.marks.push(Mark::Is(Currency::USD));
        } else if let Some(mark) = adjective(candidate, token, next) {
            candidate.end += 1;
            candidate.marks.push(mark);
        } else if let Some(mark) = units::mark(token).filter(|mark| *mark != Mark::Cents) {
            // "500 $600": that sign is the next one's.
            if token.kind == Kind::Sign && next.is_some_and(|next| next.kind == Kind::Number) {
                return;
            }
            candidate.end += 1;
            candidate.marks.push(mark);
        } else {
            return;
        }
    }
}

/// "pesos mexicanos", "Canadian dollars": the nation replaces what the noun alone would say.
fn adjective(candidate: &mut Candidate, token: &Token, next: Option<&Token>) -> Option<Mark> {
    if let Some(Mark::Named(named)) = candidate.marks.last().copied()
        && let Some(mark) = units::of_nation(named, &token.plain)
    {
        candidate.marks.pop();
        return Some(mark);
    }
    if let Some(Mark::Named(named)) = next.and_then(units::mark)
        && let Some(mark) = units::of_nation(named, &token.plain)
    {
        candidate.end += 1;
        return Some(mark);
    }
    None
}

/// "con 50", "con cincuenta centavos", "50 centavos", "and 50 cents", "50/100".
fn cents_after(grammar: &Grammar<'_>, candidate: &mut Candidate, unit_seen: bool) {
    let tokens = grammar.tokens;
    let word = |i: usize, any: &[&str]| tokens.get(i).is_some_and(|token| token.is_any(any));
    let con = word(candidate.end, &["con", "with"]);
    let joined = con || word(candidate.end, &["y", "and"]);
    let Some(part) = grammar.number(candidate.end + usize::from(joined)) else { return };
    let named = word(part.end, &["centavo", "centavos", "ctvs", "cent", "cents", "ctv", "cts"]);
    let of_hundred = word(part.end, &["/"]) && word(part.end + 1, &["100"]);
    if !(con || unit_seen && (named || of_hundred)) {
        return;
    }
    candidate.plain_digits = None;
    candidate.end = if of_hundred { part.end + 2 } else { part.end + usize::from(named) };
    let cents = part.value.or_else(|unclear| two_digits(tokens, part).ok_or(unclear)).and_then(|value| {
        if value.is_multiple_of(100) { Ok(value / 100) } else { Err(Unclear::NotUnderstood) }
    });
    // "quinientos con 5" may be 500.05 or 500.50; with "centavos" it is not.
    let bare_digit = !named && cents.is_ok_and(|cents| cents < 10) && part.value.is_ok();
    candidate.value = if bare_digit {
        Err(Unclear::NotUnderstood)
    } else {
        candidate.value.and_then(|value| add_part(value, cents))
    };
}

/// "05": refused as an amount, plain as cents.
fn two_digits(tokens: &[Token], part: Phrase) -> Option<u128> {
    let text = &tokens.get(part.end.checked_sub(1)?)?.plain;
    (text.len() == 2).then(|| text.parse::<u128>().ok()).flatten().map(|cents| cents * 100)
}

impl Candidate {
    /// The money it says.
    pub(super) fn money(&self, usual: Currency) -> Result<Money, Unclear> {
        let hundredths = self.value?;
        let currency = units::agree(&self.marks, usual).map_err(|()| Unclear::Currency)?;
        let minor = match currency.decimals() {
            0 if !hundredths.is_multiple_of(100) => return Err(Unclear::TooPrecise),
            0 => hundredths / 100,
            1 if !hundredths.is_multiple_of(10) => return Err(Unclear::TooPrecise),
            decimals => {
                hundredths / 100 * 10_u128.pow(decimals) + hundredths % 100 * 10_u128.pow(decimals) / 100
            }
        };
        let minor = i64::try_from(minor).map_err(|_| Unclear::OutOfRange)?;
        Money::new(minor, currency).map_err(|_| Unclear::OutOfRange)
    }
}
