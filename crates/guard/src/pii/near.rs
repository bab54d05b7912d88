//! What stands around a find.

/// How far back a word may stand that says what a number is.
const CONTEXT: usize = 48;

/// May something begin at `at`? Not inside a word. A letter that belongs to an escape (`\n`
/// in JSON within text) is no part of one.
pub(super) fn begins(text: &str, at: usize) -> bool {
    let before = &text.as_bytes()[..at];
    match before {
        [.., b'\\', b'n' | b't' | b'r' | b'b' | b'f'] => true,
        [.., last] if last.is_ascii_alphanumeric() || *last == b'_' => {
            matches!(before, [.., b'\\', b'u', a, b, c, d] if [a, b, c, d].iter().all(|it| it.is_ascii_hexdigit()))
        }
        _ => true,
    }
}

/// May something end at `at`?
pub(super) fn ends(text: &str, at: usize) -> bool {
    !text.as_bytes().get(at).is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_')
}

/// Is it a part of a longer code whose parts hyphens join, such as a UUID?
pub(super) fn in_code(text: &str, start: usize, end: usize) -> bool {
    let bytes = text.as_bytes();
    let code = |token: &[u8]| {
        let hex = token.iter().all(u8::is_ascii_hexdigit) && matches!(token.len(), 4 | 8 | 12);
        hex || (token.iter().any(u8::is_ascii_digit) && token.iter().any(u8::is_ascii_alphabetic))
    };
    let left = start > 0 && bytes[start - 1] == b'-' && {
        let before = &bytes[..start - 1];
        let token = before.iter().rposition(|it| !it.is_ascii_alphanumeric()).map_or(0, |at| at + 1);
        code(&before[token..])
    };
    let right = bytes.get(end) == Some(&b'-') && {
        let after = &bytes[end + 1..];
        let token = after.iter().position(|it| !it.is_ascii_alphanumeric()).unwrap_or(after.len());
        code(&after[..token])
    };
    left || right
}

/// Does one of these words, or one that begins so, stand shortly before `at`? Words are in
/// small letters.
pub(super) fn said(text: &str, at: usize, words: &[&str]) -> bool {
    let bytes = text.as_bytes();
    let from = at.saturating_sub(CONTEXT);
    let window = &bytes[from..at];
    words.iter().any(|word| {
        let word = word.as_bytes();
        (0..(window.len() + 1).saturating_sub(word.len())).any(|i| {
            let first = i == 0 || !window[i - 1].is_ascii_alphabetic();
            first && window[i..i + word.len()].eq_ignore_ascii_case(word)
        })
    })
}
