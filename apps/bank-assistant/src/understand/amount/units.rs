//! What money is called: codes, signs, names, and names of the street that are certain.

use steadfast_core::Currency;

use super::super::text::{Kind, Token, listed};

/// What a word or sign says about the currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// `$`: pesos or dollars, whichever is usual here.
    Dollar,
    /// This one.
    Is(Currency),
    /// "dollars", "pesos": this one, unless a nationality follows.
    Named(Currency),
    /// Some money of which nobody knows the currency: "bucks".
    Unclear,
    /// Hundredths: "centavos".
    Cents,
}

const PESOS: &str = "\
    peso pesos pesito pesitos pesillo pesillos varo varos varito varitos baro baros barito baritos";
const MEXICAN: &[&str] = &["mn", "mxp", "mx"];
const DOLLARS: &[&str] = &["dolar", "dolares", "dolarito", "dolaritos", "dollar", "dollars"];
const AMERICAN: &[&str] = &["dls", "dlls", "dlrs", "dlr", "usdollars"];
const CENTS: &[&str] = &["centavo", "centavos", "ctvs", "ctv", "centavitos"];
/// Words for money, or for sums, that name no currency.
const NAMELESS: &str = "\
    buck bucks cent cents quid bolas morlacos varas lucas";
/// "500 de lana": money, and money here is the usual currency.
const MONEY: &[&str] = &["lana", "feria", "plata", "marmaja"];

/// Words one letter from "pesos", "dolares" or "centavos".
const NOT_UNITS: &str = "\
    pasos pisos pesas pesan peses pesto pesca dolores pecos pelos";

const NATIONS: &[(&str, &str, &str)] = &[
    ("pesos", "mexican", "MXN"),
    ("pesos", "nacional", "MXN"),
    ("pesos", "colombian", "COP"),
    ("pesos", "argentin", "ARS"),
    ("pesos", "chilen", "CLP"),
    ("pesos", "uruguay", "UYU"),
    ("dollars", "american", "USD"),
    ("dollars", "estadounidense", "USD"),
    ("dollars", "us", "USD"),
    ("dollars", "canad", "CAD"),
];
/// Nations whose money the bank does not know.
const FOREIGN: &str = "\
    cuban dominican filipin australian neozeland hong singap zimbab jamai";

/// The mark of one token.
pub(super) fn mark(token: &Token) -> Option<Mark> {
    let word = token.plain.as_str();
    if token.kind == Kind::Number {
        return None;
    }
    let known = match word {
        "$" => Mark::Dollar,
        "¥" | "₡" | "₿" | "¢" => Mark::Unclear,
        "€" | "euro" | "euros" | "eurito" | "euritos" => Mark::Is(currency("EUR")?),
        "£" | "libras" | "pounds" => Mark::Is(currency("GBP")?),
        "yenes" | "yen" => Mark::Is(currency("JPY")?),
        _ if listed(PESOS, word) => Mark::Named(Currency::MXN),
        _ if MEXICAN.contains(&word) => Mark::Is(Currency::MXN),
        _ if DOLLARS.contains(&word) => Mark::Named(Currency::USD),
        _ if AMERICAN.contains(&word) => Mark::Is(Currency::USD),
        _ if CENTS.contains(&word) => Mark::Cents,
        _ if listed(NAMELESS, word) => Mark::Unclear,
        "pen" => return None,
        _ if word.len() == 3 => Mark::Is(currency(&word.to_ascii_uppercase())?),
        _ => return misspelt(word),
    };
    Some(known)
}

fn currency(code: &str) -> Option<Currency> {
    code.parse().ok()
}

fn misspelt(word: &str) -> Option<Mark> {
    if word.len() < 5 || listed(NOT_UNITS, word) {
        return None;
    }
    let near =
        |known: &str| word.as_bytes()[0] == known.as_bytes()[0] && strsim::osa_distance(word, known) == 1;
    match () {
        () if near("pesos") || near("pesitos") => Some(Mark::Named(Currency::MXN)),
        () if near("dolares") || near("dollars") => Some(Mark::Named(Currency::USD)),
        () if near("centavos") => Some(Mark::Cents),
        () => None,
    }
}

/// Is it a name, a code or a sign of money?
pub(super) fn is_unit(token: &Token) -> bool {
    mark(token).is_some()
}

/// Is it "lana", after "de"?
pub(super) fn is_money(token: &Token) -> bool {
    token.is_any(MONEY)
}

/// What "canadienses" makes of "dólares"; `None` for a word that is no nation.
pub(super) fn of_nation(named: Currency, word: &str) -> Option<Mark> {
    if FOREIGN.split_whitespace().any(|stem| word.starts_with(stem)) {
        return Some(Mark::Unclear);
    }
    if named == Currency::USD && word.starts_with("mexican") {
        return Some(Mark::Unclear);
    }
    let family = if named == Currency::USD { "dollars" } else { "pesos" };
    let fits = |stem: &str| if stem == "us" { word == stem } else { word.starts_with(stem) };
    let (_, _, code) = NATIONS.iter().find(|(of, stem, _)| *of == family && fits(stem))?;
    currency(code).map(Mark::Is)
}

/// The currency that all marks together say; `Err` when they quarrel.
pub(super) fn agree(marks: &[Mark], usual: Currency) -> Result<Currency, ()> {
    let mut found = None;
    for mark in marks {
        match mark {
            Mark::Is(currency) | Mark::Named(currency) if found.is_none_or(|other| other == *currency) => {
                found = Some(*currency);
            }
            Mark::Dollar | Mark::Cents => {}
            Mark::Is(_) | Mark::Named(_) | Mark::Unclear => return Err(()),
        }
    }
    let dollar = marks.contains(&Mark::Dollar);
    match found {
        Some(currency) if dollar && ["EUR", "GBP", "JPY", "CHF"].contains(&currency.code()) => Err(()),
        Some(currency) => Ok(currency),
        None => Ok(usual),
    }
}
