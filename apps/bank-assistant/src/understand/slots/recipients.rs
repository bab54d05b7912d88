//! Who receives: the words after "a", "para", "to", or after the verb in English.

use super::{
    super::meaning::{Language, Recipient},
    super::text::{Kind, Token},
    Message,
};

/// Digits of a CLABE.
const CLABE_DIGITS: usize = 18;
/// No name has more words.
const WORDS_MAX: usize = 7;

const TO_ES: &[&str] = &["a", "al", "hacia", "pa"];
/// What follows "a" when it is no recipient: hours, verbs, ways.
const NOBODY_ES: &str = "\
    banco las fin partir traves meses plazos cuenta ver tiempo cambio mas menos cada favor hoy manana diario \
    medias";
const VERBS_ES: &str = "\
    transfer mandar enviar deposit pasar pagar girar prestar hacer dar abonar realizar echar meter mover \
    traspas";
/// Whoever follows "a" after these pays, or is asked to.
const TAKING_ES: &str = "sacale sacales quitale quitales cobrale cobrales retirale retirales pidele pideles";
const GIVING_ES: &str = "mand envi transf pas das deposit abon pon pag";
/// After "para": what money is for, not who gets it.
const PURPOSES_ES: &str = "\
    la el los las lo que pagar comprar hoy manana este esta gastos comida renta gasolina despensa su sus \
    cubrir completar ahorrar cenar comer";
/// Who may follow "para la", "para el" all the same.
const PEOPLE_ES: &str = "\
    senor senora senorita sr sra doctor doctora dr dra lic licenciado licenciada ing maestro maestra \
    profe profesor profesora cuenta clabe tarjeta jefe jefa don dona muchacha chico chica nino nina \
    primo prima vecino vecina contador plomero guero";
const STOP_ES: &str = "\
    por para porfa porfis porfavor favor plis hoy manana ahorita ahora ya desde con en sus que los las \
    otros unos usando cuando antes mediante como urgente gracias pues este cada pa porque son le te";
const OWN_ES: &str = "\
    mi mis la el ahorro ahorros cheques nomina debito cuenta";
const HOLDERS: &str = "\
    cuenta cuentas tarjeta terminacion numero celular tel telefono clabe account card";

const TO_EN: &[&str] = &["to", "into"];
const NOBODY_EN: &str = "\
    send pay transfer wire give make move lend be do get";
const VERBS_EN: &str = "\
    send give pay lend wire transfer owe";
const NOT_NAMES_EN: &str = "\
    money some the a an another about around payment it this that to from half all everything";
const PURPOSES_EN: &str = "\
    the rent food lunch dinner groceries a gas today tomorrow this his her their it";
const STOP_EN: &str = "\
    for from please pls today tomorrow now on at in using with via by as because out this right asap \
    thanks once when through tonight another the";
/// "Sr. Pérez": that point ends nothing.
const TITLES: &str = "\
    sr sra srta dr dra lic ing mr mrs ms prof arq";

/// The recipient a message names.
pub(super) fn read(message: &Message<'_>) -> Option<Recipient> {
    if let Some(digits) = clabe(message.tokens) {
        return Some(digits);
    }
    let start = match message.language {
        Language::Es => after_a(message).or_else(|| after_para(message)).or_else(|| into_account(message)),
        Language::En => after_to(message).or_else(|| after_verb(message)).or_else(|| after_for(message)),
    };
    // A Spanish name in an English sentence, or the other way round, is still a name.
    let start = start.or_else(|| match message.language {
        Language::Es => after_to(message),
        Language::En => after_a(message),
    })?;
    let recipient = phrase(message, start)?;
    // "A luis, no, a marta": whoever of them is meant is asked for.
    let others = match message.language {
        Language::Es => starts_after_a(message).collect::<Vec<_>>(),
        Language::En => starts_after_to(message).collect(),
    };
    let another = |start: &usize| phrase(message, *start).is_some_and(|other| other != recipient);
    if others.iter().filter(|other| **other > start).any(another) {
        return None;
    }
    Some(recipient)
}

/// A whole answer as a recipient: "a luis", "para mi mamá", "Luis".
pub(super) fn words_as_recipient(message: &Message<'_>) -> Option<Recipient> {
    if let Some(digits) = clabe(message.tokens) {
        return Some(digits);
    }
    let first = (0..message.tokens.len()).find(|i| message.tokens[*i].kind != Kind::Sign)?;
    let marker = message.is_any(first, TO_ES)
        || message.is_any(first, TO_EN)
        || message.is_any(first, &["para", "for", "es", "its"]);
    phrase(message, if marker { first + 1 } else { first })
}

/// Eighteen digits, written with or without spaces.
pub(in super::super) fn clabe(tokens: &[Token]) -> Option<Recipient> {
    let digits_only =
        |token: &Token| token.kind == Kind::Number && token.plain.bytes().all(|b| b.is_ascii_digit());
    for start in 0..tokens.len() {
        let mut digits = String::new();
        for token in tokens[start..].iter().take_while(|token| digits_only(token)) {
            digits.push_str(&token.plain);
            if digits.len() >= CLABE_DIGITS {
                break;
            }
        }
        if digits.len() == CLABE_DIGITS {
            let valid = control_digit_fits(&digits);
            return Some(Recipient::Clabe { digits, valid });
        }
    }
    None
}

/// The last digit is ten minus the sum of the others weighted 3, 7, 1, each modulo ten.
fn control_digit_fits(digits: &str) -> bool {
    let values: Vec<u32> = digits.chars().filter_map(|c| c.to_digit(10)).collect();
    let Some((control, others)) = values.split_last() else { return false };
    let sum: u32 =
        others.iter().zip([3, 7, 1].into_iter().cycle()).map(|(digit, weight)| digit * weight % 10).sum();
    (10 - sum % 10) % 10 == *control
}

fn word(message: &Message<'_>, i: usize) -> bool {
    message.tokens.get(i).is_some_and(|token| token.kind == Kind::Word) && !message.in_number(i)
}

fn capital(message: &Message<'_>, i: usize) -> bool {
    message.written(i, i + 1).chars().next().is_some_and(char::is_uppercase)
}

fn after_a(message: &Message<'_>) -> Option<usize> {
    starts_after_a(message).next()
}

fn starts_after_a<'a>(message: &'a Message<'_>) -> impl Iterator<Item = usize> + 'a {
    (0..message.tokens.len()).filter(|i| message.is_any(*i, TO_ES)).map(|i| i + 1).filter(|i| {
        let verb = |stem: &&str| message.tokens[*i].plain.starts_with(*stem);
        let hour = message.is_any(*i, &["la"])
            && message.tokens.get(*i + 1).is_some_and(|t| t.plain.len() < 3 && t.kind == Kind::Number);
        let telephone = message.tokens.get(*i).is_some_and(|t| t.kind == Kind::Number && t.plain.len() > 9);
        telephone
            || word(message, *i)
                && !message.is_in(*i, NOBODY_ES)
                && !VERBS_ES.split_whitespace().any(|stem| verb(&stem))
                && !hour
                && !taken_from(message, *i)
    })
}

/// "Sácale 200 a luis": he is no recipient. "… y mándaselos a memo": he is.
fn taken_from(message: &Message<'_>, start: usize) -> bool {
    let gives = |token: &Token| GIVING_ES.split_whitespace().any(|stem| token.plain.starts_with(stem));
    let verb = message.tokens[..start].iter().rev().find(|token| token.is_in(TAKING_ES) || gives(token));
    verb.is_some_and(|verb| verb.is_in(TAKING_ES))
}

fn after_para(message: &Message<'_>) -> Option<usize> {
    (0..message.tokens.len()).filter(|i| message.is_any(*i, &["para"])).map(|i| i + 1).find(|i| {
        let person = message.is_any(*i, &["la", "el"]) && message.is_in(*i + 1, PEOPLE_ES);
        let infinitive = message.tokens.get(*i).is_some_and(|t| {
            !capital(message, *i)
                && t.plain.len() > 4
                && ["ar", "er", "ir", "arle", "erle"].iter().any(|end| t.plain.ends_with(end))
        });
        word(message, *i) && (person || !message.is_in(*i, PURPOSES_ES) && !infinitive)
    })
}

/// "deposita 500 en mi cuenta de ahorro", "en la cuenta de Juan".
fn into_account(message: &Message<'_>) -> Option<usize> {
    (0..message.tokens.len()).filter(|i| message.is_any(*i, &["en"])).map(|i| i + 1).find(|i| {
        message.is_any(*i, &["mi", "la", "su"]) && (*i + 1..*i + 3).any(|n| message.is_in(n, OWN_ES))
    })
}

fn after_to(message: &Message<'_>) -> Option<usize> {
    starts_after_to(message).next()
}

fn starts_after_to<'a>(message: &'a Message<'_>) -> impl Iterator<Item = usize> + 'a {
    (0..message.tokens.len())
        .filter(|i| message.is_any(*i, TO_EN))
        .map(|i| i + 1)
        .filter(|i| word(message, *i) && !message.is_in(*i, NOBODY_EN))
        .filter(|i| *i < 2 || !message.is_any(*i - 2, &["not"]))
}

fn after_verb(message: &Message<'_>) -> Option<usize> {
    (0..message.tokens.len())
        .filter(|i| message.is_in(*i, VERBS_EN))
        .map(|i| i + 1)
        .find(|i| word(message, *i) && !message.is_in(*i, NOT_NAMES_EN))
}

fn after_for(message: &Message<'_>) -> Option<usize> {
    (0..message.tokens.len()).filter(|i| message.is_any(*i, &["for"])).map(|i| i + 1).find(|i| {
        word(message, *i)
            && !message.is_in(*i, PURPOSES_EN)
            && (capital(message, *i) || message.is_any(*i, &["my"]))
    })
}

/// The words from here to where the name ends.
fn phrase(message: &Message<'_>, start: usize) -> Option<Recipient> {
    let start = skip_holder(message, start);
    let mut end = start;
    while end < message.tokens.len() && end < start + 2 * WORDS_MAX && !ends(message, start, end) {
        end += 1;
    }
    let written = message.written(start, end).trim_end_matches(['-', '_', '.', ' ']);
    (!written.is_empty()).then(|| Recipient::Words(written.to_owned()))
}

/// "la cuenta de Juan" is Juan's; "la cuenta de ahorro" is not a person's.
fn skip_holder(message: &Message<'_>, start: usize) -> usize {
    let held = message.is_any(start, &["la"])
        && message.is_any(start + 1, &["cuenta", "tarjeta", "clabe"])
        && message.is_any(start + 2, &["de"])
        && !message.is_any(start + 3, &["ahorro", "ahorros", "cheques", "nomina", "debito", "credito"]);
    if held { start + 3 } else { start }
}

fn ends(message: &Message<'_>, start: usize, i: usize) -> bool {
    let token = &message.tokens[i];
    if i == start {
        return token.kind == Kind::Sign || message.number_at(i) && token.kind == Kind::Word;
    }
    let before = &message.tokens[i - 1];
    match token.kind {
        Kind::Sign => {
            let joint = token.glued
                && token.is_any(&["-", "_", "'", "’"])
                && message.tokens.get(i + 1).is_some_and(|next| next.glued);
            !(joint || token.is(".") && before.is_in(TITLES))
        }
        Kind::Number => !(before.is_in(HOLDERS) || before.is("en") || token.glued),
        Kind::Word if token.glued => false,
        Kind::Word => {
            let stop = match message.language {
                Language::Es => STOP_ES,
                Language::En => STOP_EN,
            };
            let out_of = token.is("de") && message.number_at(i + 1)
                || token.is("de") && message.is_in(i + 1, OWN_ES) && !before.is_in(HOLDERS);
            let sum =
                token.is_any(&["la", "una"]) && message.is_any(i + 1, &["cantidad", "suma", "transferencia"]);
            let named_in = token.is("en") && before.is_any(&["terminada", "terminacion"]);
            message.number_at(i)
                || token.is_in(stop) && !named_in
                || out_of
                || sum
                || token.is_any(TO_ES) && message.language == Language::Es
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clabe_is_checked_by_its_last_digit() {
        assert!(control_digit_fits("032180000118359719"));
        assert!(control_digit_fits("002010077777777771"));
        assert!(!control_digit_fits("032180000118359718"));
    }
}
