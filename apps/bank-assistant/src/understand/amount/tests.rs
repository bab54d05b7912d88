use steadfast_core::{Currency, Money};

use super::{super::text, *};

fn read(said: &str, language: Language) -> Amount {
    find(&text::tokens(said), language, Currency::MXN).amount
}
fn es(said: &str) -> Amount {
    read(said, Language::Es)
}
fn exact(minor: i64, code: &str) -> Amount {
    Amount::Exact(Money::new(minor, code.parse().expect("known")).expect("in range"))
}
fn because(reason: Unclear) -> Amount {
    Amount::Ambiguous { reason }
}

#[test]
fn each_doubt_has_its_reason() {
    for (said, expected) in [
        ("manda dinero a Ana", Amount::Missing),
        ("transfiere 12.345 pesos", because(Unclear::Separator)),
        ("$10.9999", because(Unclear::TooPrecise)),
        ("500 a Juan y 300 a Ana", because(Unclear::Several)),
        ("unos 500 pesos", because(Unclear::Approximate)),
        ("mil y pico de pesos", because(Unclear::Approximate)),
        ("todo lo que tengo", because(Unclear::Relative)),
        ("el 10% de mi saldo", because(Unclear::Relative)),
        ("500 bitcoins", because(Unclear::Currency)),
        ("$90,071,992,547,409.92", because(Unclear::OutOfRange)),
        ("$90,071,992,547,409.91", exact(9_007_199_254_740_991, "MXN")),
        ("dos cincuenta", because(Unclear::NotUnderstood)),
        ("cero pesos", Amount::NotPositive),
        ("-500", Amount::NotPositive),
        ("menos quinientos pesos", Amount::NotPositive),
    ] {
        assert_eq!(es(said), expected, "{said}");
    }
}

#[test]
fn a_number_that_names_something_is_not_money() {
    for said in [
        "manda 500 pesos a la cuenta 1234567890",
        "manda 500 pesos a la CLABE 032180000118359719",
        "manda 500 pesos a Ana el 15 de mayo",
        "manda 500 pesos a Ana a las 7",
        "manda 500 desde la cuenta terminación 4521",
        "manda 500 pesos por 3 meses",
    ] {
        assert_eq!(es(said), exact(50_000, "MXN"), "{said}");
    }
}

#[test]
fn numbers_that_touch_are_never_joined_by_chance() {
    for said in [
        "5²",
        "2½ pesos",
        "٣٠٠ pesos",
        "55 1234 5678 500 pesos",
        "cuenta 12 500 300 a Juan",
        "1\u{200b}500 pesos",
        "1/2 pesos",
    ] {
        assert!(es(said).exact().is_none(), "{said}");
    }
}

#[test]
fn another_languages_number_counts_with_a_unit_only() {
    assert_eq!(read("send quinientos pesos to Juan", Language::En), exact(50_000, "MXN"));
    assert_eq!(read("tell Juan once", Language::En), Amount::Missing);
}
