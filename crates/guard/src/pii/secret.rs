//! Keys and tokens with beginnings that their makers chose so that they are found.

use std::ops::Range;

use super::near;

/// What follows a beginning.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape {
    /// At least so many letters, digits, `_` and `-`, some of them digits or capitals.
    Token(usize),
    /// The same, and points between.
    Dotted(usize),
    /// Exactly so many capitals and digits.
    Capitals(usize),
    /// A token in three parts.
    Jwt,
    /// All up to the line that ends it.
    Block,
    /// A name and the password of an address, up to its `@`.
    Login,
}

/// Beginnings, and what comes after each.
pub(super) const BEGINNINGS: [(&str, Shape); 44] = [
    ("sk-", Shape::Token(20)),
    ("sk_live_", Shape::Token(16)),
    ("sk_test_", Shape::Token(16)),
    ("rk_live_", Shape::Token(16)),
    ("rk_test_", Shape::Token(16)),
    ("pk_live_", Shape::Token(16)),
    ("whsec_", Shape::Token(16)),
    ("gsk_", Shape::Token(32)),
    ("xai-", Shape::Token(32)),
    ("tvly-", Shape::Token(16)),
    ("hf_", Shape::Token(30)),
    ("r8_", Shape::Token(30)),
    ("AIza", Shape::Token(35)),
    ("ya29.", Shape::Dotted(20)),
    ("GOCSPX-", Shape::Token(20)),
    ("AKIA", Shape::Capitals(16)),
    ("ASIA", Shape::Capitals(16)),
    ("ABSK", Shape::Token(60)),
    ("ghp_", Shape::Token(30)),
    ("gho_", Shape::Token(30)),
    ("ghu_", Shape::Token(30)),
    ("ghs_", Shape::Token(30)),
    ("ghr_", Shape::Token(30)),
    ("github_pat_", Shape::Token(22)),
    ("glpat-", Shape::Token(20)),
    ("xoxb-", Shape::Token(10)),
    ("xoxa-", Shape::Token(10)),
    ("xoxp-", Shape::Token(10)),
    ("xoxr-", Shape::Token(10)),
    ("xoxs-", Shape::Token(10)),
    ("xapp-", Shape::Token(10)),
    ("SG.", Shape::Dotted(40)),
    ("npm_", Shape::Token(36)),
    ("pypi-", Shape::Token(50)),
    ("dop_v1_", Shape::Token(60)),
    ("shpat_", Shape::Token(32)),
    ("lin_api_", Shape::Token(32)),
    ("sq0atp-", Shape::Token(20)),
    ("AGE-SECRET-KEY-1", Shape::Capitals(58)),
    ("hvs.", Shape::Token(20)),
    ("eyJ", Shape::Jwt),
    ("Bearer ", Shape::Dotted(20)),
    ("-----BEGIN ", Shape::Block),
    ("://", Shape::Login),
];

/// The longest block between two lines.
const BLOCK_MAX: usize = 16 << 10;

fn token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn run(bytes: &[u8], fits: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|byte| !fits(*byte)).unwrap_or(bytes.len())
}

/// The secret that begins at `start`, if one does.
pub(super) fn at(text: &str, start: usize, beginning: &str, shape: Shape) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let body = start + beginning.len();
    let exact = text.get(start..body) == Some(beginning);
    let exact = exact || (beginning == "Bearer " && text.get(start..body)?.eq_ignore_ascii_case(beginning));
    if !exact || !(near::begins(text, start) || matches!(shape, Shape::Block | Shape::Login)) {
        return None;
    }
    let rest = &bytes[body..];
    // A word is no key: keys have digits or capitals.
    let mixed = |length: usize| {
        rest[..length].iter().any(|it| it.is_ascii_digit() || it.is_ascii_uppercase()).then_some(length)
    };
    let at_least = |length: usize, least: usize| Some(length).filter(|it| *it >= least).and_then(mixed);
    match shape {
        Shape::Token(least) => Some(start..body + at_least(run(rest, token), least)?),
        Shape::Dotted(least) => {
            let dotted = |byte: u8| token(byte) || matches!(byte, b'.' | b'~' | b'+' | b'/' | b'=');
            let mut length = at_least(run(rest, dotted), least)?;
            while rest[length - 1] == b'.' {
                length -= 1;
            }
            // The word before it is no secret.
            let start = if beginning == "Bearer " { body } else { start };
            Some(start..body + length)
        }
        Shape::Capitals(count) => {
            let length = run(rest, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
            (length == count && near::ends(text, body + length)).then_some(start..body + length)
        }
        Shape::Jwt => {
            let mut length = run(rest, token);
            let mut parts = 1;
            while parts < 3 && rest.get(length) == Some(&b'.') {
                let more = run(&rest[length + 1..], token);
                if more == 0 {
                    break;
                }
                (length, parts) = (length + 1 + more, parts + 1);
            }
            (parts == 3 && length >= 20).then_some(start..body + length)
        }
        Shape::Block => {
            let heading = &rest[..rest.len().min(60)];
            memchr::memmem::find(heading, b"PRIVATE KEY")?;
            let window = &rest[..rest.len().min(BLOCK_MAX)];
            let close = memchr::memmem::find(window, b"-----END ")?;
            let after = memchr::memmem::find(&window[close + 9..], b"-----")?;
            Some(start..body + close + 9 + after + 5)
        }
        Shape::Login => {
            let length = run(rest, |byte| {
                byte.is_ascii_graphic() && !matches!(byte, b'/' | b'@' | b'"' | b'\'' | b'<' | b'>')
            });
            let colon = rest[..length].iter().position(|byte| *byte == b':')?;
            (rest.get(length) == Some(&b'@') && length > colon + 1).then_some(body + colon + 1..body + length)
        }
    }
}
