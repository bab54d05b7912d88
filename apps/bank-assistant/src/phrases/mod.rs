//! The words for what is told, in each language. Plain sentences; amounts as `23,249.50`.

mod en;
mod es;

use steadfast_core::{Money, Time};

use crate::{told::Told, understand::Language};

/// What the user reads.
pub(crate) fn say(told: &Told, language: Language) -> String {
    match language {
        Language::Es => es::say(told),
        Language::En => en::say(told),
    }
}

/// `23,249.50 MXN`
pub(crate) fn money(money: Money) -> String {
    let minor = money.minor();
    let whole = (minor.unsigned_abs() / 100).to_string();
    let mut grouped = String::with_capacity(whole.len() + whole.len() / 3);
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    let sign = if minor < 0 { "-" } else { "" };
    format!("{sign}{grouped}.{:02} {}", minor.unsigned_abs() % 100, money.currency().code())
}

/// The name in the reader's language, where a name has both: `Café / Coffee`.
pub(crate) fn name(name: &str, language: Language) -> &str {
    match (name.split_once(" / "), language) {
        (Some((es, _)), Language::Es) => es,
        (Some((_, en)), Language::En) => en,
        (None, _) => name,
    }
}

/// `2026-11-21`
pub(crate) fn day(time: Time) -> String {
    time.to_string().chars().take(10).collect()
}

/// `a, b o c`
pub(crate) fn list<T: AsRef<str>>(items: &[T], or: &str) -> String {
    match items {
        [] => String::new(),
        [one] => one.as_ref().to_owned(),
        [first @ .., last] => {
            let first: Vec<&str> = first.iter().map(AsRef::as_ref).collect();
            format!("{} {or} {}", first.join(", "), last.as_ref())
        }
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::Currency;

    use super::*;

    #[test]
    fn amounts_read_as_people_write_them() {
        for (minor, text) in [
            (2_324_950, "23,249.50 MXN"),
            (5, "0.05 MXN"),
            (100_000, "1,000.00 MXN"),
            (99_999, "999.99 MXN"),
            (-150_000_000, "-1,500,000.00 MXN"),
        ] {
            let amount = Money::new(minor, Currency::MXN).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(money(amount), text);
        }
    }

    #[test]
    fn lists_read_as_people_say_them() {
        assert_eq!(list(&["Luis"], "o"), "Luis");
        assert_eq!(list(&["Luis", "Ana", "Marta"], "o"), "Luis, Ana o Marta");
    }
}
