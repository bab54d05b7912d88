//! What is wrong with a body, in the words of the interface: which member, what it says,
//! and what it should say. The parser's own sentences are about our types.

use steadfast_core::shown;

/// The longest value that a complaint repeats.
const SHOWN_MAX: usize = 64;
/// The longest path of a member: its names may be the caller's choice.
const FIELD_MAX: usize = 128;
/// The longest rule of a type of ours, which may repeat a value too.
const SENTENCE_MAX: usize = 400;

/// A complaint about a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Complaint {
    /// The member, `amount.minor`; nothing when it is the whole body.
    pub(crate) field: Option<String>,
    /// For people.
    pub(crate) message: String,
}

impl Complaint {
    /// Of the parser's error at a path, `.` for the top.
    pub(crate) fn new(path: &str, error: &serde_json::Error) -> Self {
        let place = format!(" at line {} column {}", error.line(), error.column());
        let text = error.to_string();
        Self::of(path, text.strip_suffix(&place).unwrap_or(&text))
    }

    fn of(path: &str, text: &str) -> Self {
        if let Some(name) = named(text, "missing field `") {
            return Self::about(Some(below(path, name)), "is missing: it is required");
        }
        if let Some(name) = named(text, "duplicate field `") {
            return Self::about(Some(below(path, name)), "is given more than once");
        }
        if let Some(name) = named(text, "unknown field `") {
            let known = text.split_once(", expected ").map(|(_, known)| known.trim_start_matches("one of "));
            let rule = match known {
                Some(known) => format!("is not known here: use {known}"),
                None => "is not known here: leave it out".into(),
            };
            return Self::about(Some(below(path, name)), &rule);
        }
        if let Some(given) = named(text, "unknown variant `") {
            let known = text.rsplit_once(", expected ").map_or("", |(_, known)| known);
            let known = known.trim_start_matches("one of ").replace('`', "\"");
            return Self::wrong(path, &told(&format!("{given:?}")), &known);
        }
        let typed = ["invalid type: ", "invalid value: "].iter().find_map(|start| text.strip_prefix(start));
        match typed.and_then(|rest| rest.rsplit_once(", expected ")) {
            Some((given, expected)) => Self::wrong(path, &value(given), rule(expected)),
            // A type of ours that says its own rule.
            None => Self::about(top(path), &format!("does not read: {}", shown(text, SENTENCE_MAX))),
        }
    }

    fn wrong(path: &str, given: &str, expected: &str) -> Self {
        Self::about(top(path), &format!("is {given}: expected {expected}"))
    }

    fn about(field: Option<String>, rule: &str) -> Self {
        let message = match &field {
            Some(field) => format!("{} {rule}", told(field)),
            None => format!("the body {rule}"),
        };
        Self { field: field.map(|field| shown(&field, FIELD_MAX)), message }
    }
}

fn named<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.strip_prefix(start)?.split('`').next()
}

fn top(path: &str) -> Option<String> {
    (path != ".").then(|| path.to_owned())
}

/// The member `name` of what the path leads to, which is the member itself at times.
fn below(path: &str, name: &str) -> String {
    match path {
        "." => name.into(),
        path if path.rsplit('.').next() == Some(name) => path.into(),
        path => format!("{path}.{name}"),
    }
}

/// What the parser calls a value, as JSON spells it.
fn value(given: &str) -> String {
    let bare = ["integer `", "floating point `", "boolean `"];
    let inner = bare.iter().find_map(|start| given.strip_prefix(start)?.strip_suffix('`'));
    match (inner, given) {
        (Some(inner), _) => inner.into(),
        (None, "sequence") => "an array".into(),
        (None, "map") => "an object".into(),
        (None, "unit value") => "null".into(),
        (None, other) => told(other.strip_prefix("string ").unwrap_or(other)),
    }
}

/// What the parser calls a kind of number when one is out of its range.
fn rule(expected: &str) -> &str {
    match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" => "a whole number from 0 to 18446744073709551615",
        "i8" | "i16" | "i32" | "i64" => "a smaller whole number",
        other => other,
    }
}

/// A value or the name of a member, told back.
fn told(text: &str) -> String {
    if text.is_empty() { "\"\"".into() } else { shown(text, SHOWN_MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_mistake_is_told_by_member_value_and_rule() {
        for (path, said, field, told) in [
            (".", "missing field `to`", "to", "to is missing: it is required"),
            ("amount", "missing field `minor`", "amount.minor", "amount.minor is missing: it is required"),
            ("a.b", "duplicate field `b`", "a.b", "a.b is given more than once"),
            (
                "fee",
                "unknown field `fee`, expected one of `to`, `from`",
                "fee",
                "fee is not known here: use `to`, `from`",
            ),
            ("x", "unknown field `x`, there are no fields", "x", "x is not known here: leave it out"),
            (
                "priority",
                "unknown variant `urgent`, expected one of `high`, `low`",
                "priority",
                "priority is \"urgent\": expected \"high\", \"low\"",
            ),
            (
                "amount",
                "invalid type: sequence, expected an object",
                "amount",
                "amount is an array: expected an object",
            ),
            (
                "n",
                "invalid type: string \"a, expected b\", expected a whole number",
                "n",
                "n is \"a, expected b\": expected a whole number",
            ),
            (
                "n",
                "invalid value: integer `-1`, expected u16",
                "n",
                "n is -1: expected a whole number from 0 to 65535",
            ),
            ("p", "\"5\" is no period", "p", "p does not read: \"5\" is no period"),
        ] {
            let expected = Complaint { field: Some(field.into()), message: told.into() };
            assert_eq!(Complaint::of(path, said), expected, "{said}");
        }
        let whole = Complaint::of(".", "invalid type: map, expected an array");
        assert_eq!(
            whole,
            Complaint { field: None, message: "the body is an object: expected an array".into() }
        );
    }

    #[test]
    fn a_long_value_is_not_repeated_whole() {
        let said = format!("invalid type: string \"{}\", expected null", "é".repeat(1_000));
        assert!(Complaint::of("x", &said).message.chars().count() < 100);
    }

    #[test]
    fn what_is_told_back_has_bounds_and_makes_no_terminal_do_anything() {
        let name = format!("a\u{7f}b\u{85}{}", "c".repeat(1_000));
        let told = Complaint::of(".", &format!("unknown field `{name}`, expected `to`"));
        assert!(!told.message.contains(char::is_control) && told.message.starts_with("a\\u{7f}b\\u{85}cc"));
        assert!(told.field.is_some_and(|field| field.chars().count() < 200));
        assert_eq!(Complaint::of(".", "missing field ``").message, "\"\" is missing: it is required");
    }
}
