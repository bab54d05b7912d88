//! Number words of both languages, and the misspellings that can only mean one of them.

use super::super::{meaning::Language, text::listed};

/// What a word does in a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lex {
    Zero,
    /// "un", "una", "uno", "one": also an article, a number only before a scale or a unit.
    One,
    /// 2 to 9.
    Digit(u64),
    /// 10 to 29 in one word ("veintiuno"), 10 to 19 in English.
    Teen(u64),
    /// 20 or 30 to 90.
    Tens(u64),
    /// "treintaiuno": a whole number below a hundred.
    Joined(u64),
    /// "dieci", "veinti", written apart.
    Prefix(u64),
    /// "cien": nothing below a hundred may follow.
    Cien,
    /// "ciento", "doscientos".
    Hundreds(u64),
    /// "hundred".
    Hundred,
    Thousand,
    Million,
    /// "medio", "half".
    Half,
    /// "y", "and".
    And,
    /// "a": only before "hundred", "thousand", "million".
    Article,
    /// A number word nobody can be sure of: "billón", "miles", a bad misspelling.
    Unsure,
}

const ES: &[(&str, Lex)] = &[
    ("cero", Lex::Zero),
    ("un", Lex::One),
    ("una", Lex::One),
    ("uno", Lex::One),
    ("dos", Lex::Digit(2)),
    ("tres", Lex::Digit(3)),
    ("cuatro", Lex::Digit(4)),
    ("cinco", Lex::Digit(5)),
    ("seis", Lex::Digit(6)),
    ("siete", Lex::Digit(7)),
    ("ocho", Lex::Digit(8)),
    ("nueve", Lex::Digit(9)),
    ("diez", Lex::Teen(10)),
    ("dies", Lex::Teen(10)),
    ("once", Lex::Teen(11)),
    ("doce", Lex::Teen(12)),
    ("trece", Lex::Teen(13)),
    ("catorce", Lex::Teen(14)),
    ("quince", Lex::Teen(15)),
    ("dieciseis", Lex::Teen(16)),
    ("diecisiete", Lex::Teen(17)),
    ("dieciocho", Lex::Teen(18)),
    ("diecinueve", Lex::Teen(19)),
    ("veinte", Lex::Teen(20)),
    ("beinte", Lex::Teen(20)),
    ("veintiun", Lex::Teen(21)),
    ("veintiuno", Lex::Teen(21)),
    ("veintiuna", Lex::Teen(21)),
    ("veintidos", Lex::Teen(22)),
    ("veintitres", Lex::Teen(23)),
    ("veinticuatro", Lex::Teen(24)),
    ("veinticinco", Lex::Teen(25)),
    ("veintiseis", Lex::Teen(26)),
    ("veintisiete", Lex::Teen(27)),
    ("veintiocho", Lex::Teen(28)),
    ("veintinueve", Lex::Teen(29)),
    ("dieci", Lex::Prefix(10)),
    ("veinti", Lex::Prefix(20)),
    ("treinta", Lex::Tens(30)),
    ("cuarenta", Lex::Tens(40)),
    ("cincuenta", Lex::Tens(50)),
    ("sesenta", Lex::Tens(60)),
    ("setenta", Lex::Tens(70)),
    ("ochenta", Lex::Tens(80)),
    ("noventa", Lex::Tens(90)),
    ("cien", Lex::Cien),
    ("ciento", Lex::Hundreds(100)),
    ("doscientos", Lex::Hundreds(200)),
    ("trescientos", Lex::Hundreds(300)),
    ("cuatrocientos", Lex::Hundreds(400)),
    ("quinientos", Lex::Hundreds(500)),
    ("seiscientos", Lex::Hundreds(600)),
    ("setecientos", Lex::Hundreds(700)),
    ("ochocientos", Lex::Hundreds(800)),
    ("novecientos", Lex::Hundreds(900)),
    ("doscientas", Lex::Hundreds(200)),
    ("trescientas", Lex::Hundreds(300)),
    ("cuatrocientas", Lex::Hundreds(400)),
    ("quinientas", Lex::Hundreds(500)),
    ("seiscientas", Lex::Hundreds(600)),
    ("setecientas", Lex::Hundreds(700)),
    ("ochocientas", Lex::Hundreds(800)),
    ("novecientas", Lex::Hundreds(900)),
    ("mil", Lex::Thousand),
    ("millon", Lex::Million),
    ("millones", Lex::Million),
    ("medio", Lex::Half),
    ("media", Lex::Half),
    ("y", Lex::And),
    ("miles", Lex::Unsure),
    ("cientos", Lex::Unsure),
    ("centenas", Lex::Unsure),
    ("decenas", Lex::Unsure),
    ("docena", Lex::Unsure),
    ("billon", Lex::Unsure),
    ("billones", Lex::Unsure),
];

const EN: &[(&str, Lex)] = &[
    ("zero", Lex::Zero),
    ("one", Lex::One),
    ("two", Lex::Digit(2)),
    ("three", Lex::Digit(3)),
    ("four", Lex::Digit(4)),
    ("five", Lex::Digit(5)),
    ("six", Lex::Digit(6)),
    ("seven", Lex::Digit(7)),
    ("eight", Lex::Digit(8)),
    ("nine", Lex::Digit(9)),
    ("ten", Lex::Teen(10)),
    ("eleven", Lex::Teen(11)),
    ("twelve", Lex::Teen(12)),
    ("thirteen", Lex::Teen(13)),
    ("fourteen", Lex::Teen(14)),
    ("fifteen", Lex::Teen(15)),
    ("sixteen", Lex::Teen(16)),
    ("seventeen", Lex::Teen(17)),
    ("eighteen", Lex::Teen(18)),
    ("nineteen", Lex::Teen(19)),
    ("twenty", Lex::Tens(20)),
    ("thirty", Lex::Tens(30)),
    ("forty", Lex::Tens(40)),
    ("fourty", Lex::Tens(40)),
    ("fifty", Lex::Tens(50)),
    ("sixty", Lex::Tens(60)),
    ("seventy", Lex::Tens(70)),
    ("eighty", Lex::Tens(80)),
    ("ninety", Lex::Tens(90)),
    ("ninty", Lex::Tens(90)),
    ("hundred", Lex::Hundred),
    ("thousand", Lex::Thousand),
    ("grand", Lex::Thousand),
    ("million", Lex::Million),
    ("half", Lex::Half),
    ("and", Lex::And),
    ("a", Lex::Article),
    ("hundreds", Lex::Unsure),
    ("thousands", Lex::Unsure),
    ("millions", Lex::Unsure),
    ("billion", Lex::Unsure),
    ("trillion", Lex::Unsure),
    ("dozen", Lex::Unsure),
];

/// Is it a number of that language, and no article or "and"?
pub(super) fn counts(word: &str, language: Language) -> bool {
    lex(word, language).is_some_and(|lex| !matches!(lex, Lex::And | Lex::Article | Lex::One))
}

/// Words and names one letter from a number word that mean something else.
const NOT_NUMBERS: &str = "\
    cuarto cuartos milton renta venta cuenta cuentas quincena ciento cientos vente siento tienta \
    hundreds millions frente treintena sesentas fort asientos fifth eighth seventh gente viente millon \
    ocho twenties thirsty";

/// The shortest word in which one wrong letter is forgiven.
const TYPO_LETTERS_MIN: usize = 6;

/// What a plain word does in a number of that language, if anything.
pub(super) fn lex(word: &str, language: Language) -> Option<Lex> {
    let words = match language {
        Language::Es => ES,
        Language::En => EN,
    };
    if let Some((_, lex)) = words.iter().find(|(known, _)| *known == word) {
        return Some(*lex);
    }
    if language == Language::Es
        && let Some(value) = joined(word)
    {
        return Some(Lex::Joined(value));
    }
    // "million" is English, not a slip in "millón".
    if ES.iter().chain(EN).any(|(known, _)| *known == word) {
        return None;
    }
    let letters = word.chars().count();
    if letters < TYPO_LETTERS_MIN || listed(NOT_NUMBERS, word) {
        return None;
    }
    misspelt(word, letters, words)
}

/// "treintaiuno", "cuarentaycinco".
fn joined(word: &str) -> Option<u64> {
    for (tens, lex) in ES {
        let Lex::Tens(value) = lex else { continue };
        let Some(rest) = word.strip_prefix(tens).and_then(|rest| rest.strip_prefix(['i', 'y'])) else {
            continue;
        };
        return match ES.iter().find(|(known, _)| *known == rest) {
            Some((_, Lex::Digit(digit))) => Some(value + digit),
            Some((_, Lex::One)) => Some(value + 1),
            _ => None,
        };
    }
    None
}

/// One letter away from one number word is that word; a little further is a number word that
/// nobody can be sure of, which must be asked about rather than passed over.
fn misspelt(word: &str, letters: usize, words: &[(&str, Lex)]) -> Option<Lex> {
    let mut found: Option<Lex> = None;
    let mut near = false;
    for (known, lex) in words.iter().filter(|(known, _)| known.len() >= TYPO_LETTERS_MIN) {
        match strsim::osa_distance(word, known) {
            1 if found.is_some_and(|other| other != *lex) => return Some(Lex::Unsure),
            1 => found = Some(*lex),
            2 if letters > 7 && known.len() > 7 && word.as_bytes()[0] == known.as_bytes()[0] => near = true,
            _ => {}
        }
    }
    let looks = ["cientos", "cientas", "sientos", "sientas"].iter().any(|end| word.contains(end));
    found.or((near || looks).then_some(Lex::Unsure))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_wrong_letter_is_forgiven_where_it_can_mean_one_word_only() {
        for (word, expected) in [
            ("docientos", Some(Lex::Hundreds(200))),
            ("dosientos", Some(Lex::Hundreds(200))),
            ("seicientos", Some(Lex::Hundreds(600))),
            ("quinietos", Some(Lex::Hundreds(500))),
            ("treintaiuno", Some(Lex::Joined(31))),
            ("cuarentaycinco", Some(Lex::Joined(45))),
            ("secientoss", Some(Lex::Unsure)),
            ("sexenta", Some(Lex::Unsure)),
            ("seienta", Some(Lex::Unsure)),
            ("cuenta", None),
            ("renta", None),
            ("milton", None),
            ("garcia", None),
        ] {
            assert_eq!(lex(word, Language::Es), expected, "{word}");
        }
        assert_eq!(lex("once", Language::En), None);
    }
}
