//! Amounts: no reading may make another amount of what a person wrote.

use std::sync::LazyLock;

use steadfast_bank_assistant::understand::{Context, Language, Rules};
use steadfast_core::{Currency, Money, money::MAX_MINOR};

use crate::told;

/// In digits, and as JSON.
pub(crate) fn digits(data: &[u8]) {
    if let Ok(money) = serde_json::from_slice::<Money>(data) {
        in_bounds(money);
        as_json(money);
    }
    let Ok(text) = str::from_utf8(data) else { return };
    match text.parse::<Currency>() {
        Ok(currency) => assert_eq!(currency.code(), text),
        Err(error) => told::text(&error.to_string()),
    }
    for code in ["MXN", "JPY", "KWD"] {
        let currency: Currency = code.parse().expect("a currency");
        match Money::parse(text, currency) {
            Ok(money) => {
                in_bounds(money);
                as_json(money);
                let shown = money.to_string();
                let digits = shown.strip_suffix(code).expect("its currency").trim_end();
                assert_eq!(Money::parse(digits, currency), Ok(money));
            }
            Err(error) => told::text(&error.to_string()),
        }
    }
}

fn in_bounds(money: Money) {
    assert!(money.minor().abs() <= MAX_MINOR);
}

fn as_json(money: Money) {
    let text = serde_json::to_string(&money).expect("JSON");
    assert_eq!(serde_json::from_str::<Money>(&text).expect("an amount"), money, "{text}");
}

static RULES: LazyLock<Rules> = LazyLock::new(Rules::new);

/// In a message of a conversation.
pub(crate) fn words(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for language in [Language::Es, Language::En] {
        let context = Context { language, ..Context::default() };
        let understood = match RULES.read(text, &context) {
            Ok(understood) => understood,
            Err(failure) => {
                told::failure(&failure);
                continue;
            }
        };
        let again = RULES.read(&format!(" {text}\n"), &context);
        if let Ok(again) = again {
            assert_eq!(again, understood, "blanks around it change what it means");
        }
        let Some(money) = understood.slots.amount.exact() else { continue };
        assert!((1..=MAX_MINOR).contains(&money.minor()));
        // What is shown to be confirmed means what was understood.
        let shown = RULES.read(&format!("transfiere {money} a Ana"), &context).expect("short");
        assert_eq!(shown.slots.amount.exact(), Some(money), "{money}");
    }
}
