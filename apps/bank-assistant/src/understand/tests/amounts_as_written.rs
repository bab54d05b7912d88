//! Any amount, written in any known form, is read back as itself; any text is survived.

use proptest::prelude::*;
use steadfast_core::{Currency, Money, money::MAX_MINOR};

use super::{Amount, Context, Language, RULES, read};

const UNDER_30: [&str; 30] = [
    "cero",
    "uno",
    "dos",
    "tres",
    "cuatro",
    "cinco",
    "seis",
    "siete",
    "ocho",
    "nueve",
    "diez",
    "once",
    "doce",
    "trece",
    "catorce",
    "quince",
    "dieciséis",
    "diecisiete",
    "dieciocho",
    "diecinueve",
    "veinte",
    "veintiuno",
    "veintidós",
    "veintitrés",
    "veinticuatro",
    "veinticinco",
    "veintiséis",
    "veintisiete",
    "veintiocho",
    "veintinueve",
];
const TENS: [&str; 10] =
    ["", "", "", "treinta", "cuarenta", "cincuenta", "sesenta", "setenta", "ochenta", "noventa"];
const HUNDREDS: [&str; 10] = [
    "",
    "ciento",
    "doscientos",
    "trescientos",
    "cuatrocientos",
    "quinientos",
    "seiscientos",
    "setecientos",
    "ochocientos",
    "novecientos",
];
const EN_UNDER_20: [&str; 20] = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
];
const EN_TENS: [&str; 10] =
    ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"];

fn place(digit: i64) -> usize {
    usize::try_from(digit).expect("a digit")
}

/// Below a thousand, before a noun: "veintiún", "ciento un".
fn spanish_group(n: i64) -> String {
    let mut out = Vec::new();
    if n == 100 {
        return "cien".into();
    }
    if n > 99 {
        out.push(HUNDREDS[place(n / 100)].to_owned());
    }
    match n % 100 {
        0 => {}
        1 => out.push("un".into()),
        21 => out.push("veintiún".into()),
        rest @ ..30 => out.push(UNDER_30[place(rest)].into()),
        rest if rest % 10 == 0 => out.push(TENS[place(rest / 10)].into()),
        rest if rest % 10 == 1 => out.push(format!("{} y un", TENS[place(rest / 10)])),
        rest => out.push(format!("{} y {}", TENS[place(rest / 10)], UNDER_30[place(rest % 10)])),
    }
    out.join(" ")
}

fn spanish(n: i64) -> String {
    let (thousands, rest) = (n / 1_000, n % 1_000);
    let mut out = Vec::new();
    match thousands {
        0 => {}
        1 => out.push("mil".to_owned()),
        _ => out.push(format!("{} mil", spanish_group(thousands))),
    }
    if rest > 0 {
        out.push(spanish_group(rest));
    }
    out.join(" ")
}

fn english_group(n: i64, and: bool) -> String {
    let mut out = Vec::new();
    if n > 99 {
        out.push(format!("{} hundred", EN_UNDER_20[place(n / 100)]));
    }
    let rest = n % 100;
    if rest > 0 && n > 99 && and {
        out.push("and".into());
    }
    match rest {
        0 => {}
        1..20 => out.push(EN_UNDER_20[place(rest)].into()),
        _ if rest % 10 == 0 => out.push(EN_TENS[place(rest / 10)].into()),
        _ => out.push(format!("{}-{}", EN_TENS[place(rest / 10)], EN_UNDER_20[place(rest % 10)])),
    }
    out.join(" ")
}

fn english(n: i64, and: bool) -> String {
    let (thousands, rest) = (n / 1_000, n % 1_000);
    let mut out = Vec::new();
    if thousands > 0 {
        out.push(format!("{} thousand", english_group(thousands, and)));
    }
    if rest > 0 {
        out.push(english_group(rest, and));
    }
    out.join(" ")
}

fn in_minor(minor: i64, currency: Currency) -> Amount {
    Amount::Exact(Money::new(minor, currency).expect("in range"))
}

fn amount(text: &str) -> Amount {
    read(text, Context::default()).slots.amount
}

#[test]
fn every_number_in_words_is_itself() {
    let numbers = (1..1_100).chain((1_100..1_000_000).step_by(1_237));
    for n in numbers {
        let text = format!("manda {} pesos a Luis", spanish(n));
        assert_eq!(amount(&text), in_minor(n * 100, Currency::MXN), "{text}");
        let text = format!("send {} dollars to Luis", english(n, n % 2 == 0));
        assert_eq!(amount(&text), in_minor(n * 100, Currency::USD), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn digits_in_every_known_form_are_themselves(minor in 1..=MAX_MINOR) {
            let money = Money::new(minor, Currency::MXN).expect("in range");
        let grouped = money.to_string().replace(" MXN", "");
        let plain = grouped.replace(',', "");
        let spaced = grouped.replace(',', " ");
        for text in [
            format!("transfiere ${grouped} a María"),
            format!("manda {plain} pesos a mi mamá por favor"),
            format!("quiero enviar {grouped} MXN"),
            format!("MXN {plain} para la renta"),
            format!("MXN{plain} para Ana"),
            format!("{grouped}pesos para Ana"),
            format!("send {spaced} pesos to Ana"),
            format!("pásale {} varos con {} centavos a Juan", minor / 100, minor % 100),
        ] {
            if minor < 100 && text.contains("varos") {
                continue;
            }
            prop_assert_eq!(amount(&text), Amount::Exact(money), "{}", text);
        }
        let dollars = Money::new(minor, Currency::USD).expect("in range");
        for text in [format!("US${grouped} para la renta"), format!("{plain} dólares"), format!("$ {grouped} usd")] {
            prop_assert_eq!(amount(&text), Amount::Exact(dollars), "{}", text);
        }
    }

    #[test]
    fn decimals_written_with_a_comma_are_never_read(whole in 0..1_000_000_i64, cents in 0..100_i64) {
        let said = read(&format!("transfiere {whole},{cents:02} pesos a Ana"), Context::default());
        prop_assert_eq!(said.slots.amount.exact(), None);
    }

    #[test]
    fn any_text_is_survived(text in any::<String>(), english in any::<bool>()) {
        let language = if english { Language::En } else { Language::Es };
            let _ = RULES.read(&text, &Context { language, ..Context::default() });
    }

    #[test]
    fn any_words_about_money_are_survived_and_never_read_beyond_the_range(
        parts in proptest::collection::vec(
            proptest::sample::select(vec![
                "mil", "millones", "y", "medio", "cien", "veinti", "dos", "500", "1,250.50", "12.345", "$", "-", "pesos",
                "con", "centavos", "de", "dólares", "a", "hundred", "thousand", "and", "half", "million", "punto", "cero",
                "us", "%", ".", "k", "un", "o", "99999999999999999999", "peso", "lana",
            ]),
            0..12,
        ),
    ) {
        let said = read(&parts.join(" "), Context::default());
        if let Some(money) = said.slots.amount.exact() {
            prop_assert!(money.minor() > 0 && money.minor() <= MAX_MINOR);
        }
    }
}
