//! E-mail addresses, plain, percent-encoded, and written out in words.

use std::ops::Range;

use super::{digits::unseen, near};

/// What an address that is written out or encoded must have, in small letters.
pub(super) const SPOKEN: [&str; 8] =
    ["%40", "\u{ff20}", "(at)", "[at]", "{at}", " arroba ", " dot ", "\\u0040"];

/// The longest address.
const LENGTH_MAX: usize = 254;

fn in_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '.' | '_' | '%' | '+' | '-' | '\'') || is_unseen(letter)
}

fn is_unseen(letter: char) -> bool {
    unseen(letter.encode_utf8(&mut [0; 4]).as_bytes()).is_some()
}

/// The address around an at sign.
pub(super) fn around(text: &str, sign: Range<usize>) -> Option<Range<usize>> {
    let end = domain(text, sign.end)?;
    let start = name(text, sign.start)?;
    (end - start <= LENGTH_MAX).then_some(start..end)
}

/// Where the name before the sign begins.
fn name(text: &str, sign: usize) -> Option<usize> {
    let mut start = sign;
    for (at, letter) in text[..sign].char_indices().rev().take(LENGTH_MAX) {
        if !in_name(letter) {
            break;
        }
        start = at;
    }
    let bytes = text.as_bytes();
    // A letter that belongs to an escape is not the address's.
    if start > 0 && bytes[start - 1] == b'\\' {
        match &bytes[start..sign] {
            [b'n' | b't' | b'r' | b'b' | b'f', ..] => start += 1,
            [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|it| it.is_ascii_hexdigit()) => start += 5,
            _ => {}
        }
    }
    let named = text[start..sign].trim_start_matches(['.', '\'', '-', '%', '+']);
    (!named.is_empty() && !named.ends_with('.')).then_some(sign - named.len())
}

/// Where the domain after the sign ends: labels, and a last one of two letters or more.
fn domain(text: &str, from: usize) -> Option<usize> {
    let mut end = None;
    let (mut label, mut letters, mut labels) = (0, 0, 0);
    let mut rest = text[from..].char_indices().take(LENGTH_MAX).peekable();
    loop {
        let next = rest.next();
        match next {
            Some((_, letter)) if is_unseen(letter) && label > 0 => {}
            Some((_, letter)) if letter.is_alphanumeric() => {
                label += 1;
                letters += usize::from(letter.is_alphabetic());
            }
            Some((_, '-')) if label > 0 => label += 1,
            _ => {
                let at = next.map_or(text.len(), |(at, _)| from + at);
                if label >= 2 && labels > 0 && letters >= 2 {
                    end = Some(at);
                }
                if !matches!(next, Some((_, '.'))) || label == 0 {
                    break;
                }
                (label, letters, labels) = (0, 0, labels + 1);
            }
        }
    }
    let end = end?;
    let trimmed = text[from..end].trim_end_matches(|letter| letter == '-' || is_unseen(letter));
    Some(from + trimmed.len())
}

/// The address that a hit of [`SPOKEN`] belongs to.
pub(super) fn spoken(text: &str, hit: Range<usize>) -> Option<Range<usize>> {
    match &text.as_bytes()[hit.clone()] {
        [b'%' | 0xEF | b'\\', ..] => around(text, hit),
        [b'(' | b'[' | b'{', ..] => {
            let tight = |text: &str, at: usize| text.as_bytes().get(at) == Some(&b' ');
            let left = hit.start - usize::from(hit.start > 0 && tight(text, hit.start - 1));
            let right = hit.end + usize::from(tight(text, hit.end));
            around(text, left..right).or_else(|| written(text, left, right, &DOTS))
        }
        [b' ', b'a' | b'A', ..] => written(text, hit.start, hit.end, &DOTS),
        _ => {
            // " dot ": the sign stands one word before it.
            let host = word_before(text, hit.start)?;
            let sign = text[..host].len().checked_sub(4)?;
            let is_sign = text.as_bytes()[sign..host].eq_ignore_ascii_case(b" at ");
            written(text, Some(sign).filter(|_| is_sign)?, host, &DOTS)
        }
    }
}

/// Words for a point, and others that stand inside of names.
const DOTS: [&str; 6] = [" dot ", " punto ", " (dot) ", "(dot)", "[dot]", "."];
const JOINTS: [&str; 10] = [
    " dot ",
    " punto ",
    "(dot)",
    "[dot]",
    " underscore ",
    " guion bajo ",
    " dash ",
    " hyphen ",
    " guion ",
    " gui\u{f3}n ",
];

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '.' | '_' | '-')
}

fn word_before(text: &str, end: usize) -> Option<usize> {
    let start = text[..end].char_indices().rev().take_while(|(_, it)| is_word(*it)).last()?.0;
    Some(start)
}

fn word_after(text: &str, start: usize) -> Option<usize> {
    let rest = &text[start..];
    let length = rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '-')).unwrap_or(rest.len());
    (length > 0).then_some(start + length)
}

/// An address in words, its sign between `left` and `right`.
fn written(text: &str, left: usize, right: usize, dots: &[&str]) -> Option<Range<usize>> {
    let ends_with = |end: usize, word: &str| {
        let from = end.checked_sub(word.len())?;
        text.get(from..end).filter(|it| it.eq_ignore_ascii_case(word)).map(|_| from)
    };
    let mut start = word_before(text, left)?;
    while let Some(earlier) = JOINTS.iter().find_map(|word| ends_with(start, word)) {
        match word_before(text, earlier) {
            Some(word) => start = word,
            None => break,
        }
    }
    let mut end = word_after(text, right)?;
    // People also meet "at the dot com".
    if ["the", "a", "an", "this", "that"].iter().any(|it| text[right..end].eq_ignore_ascii_case(it)) {
        return None;
    }
    let mut labels = 1;
    while let Some(next) = dots.iter().find_map(|dot| {
        let to = end + dot.len();
        text.get(end..to).filter(|it| it.eq_ignore_ascii_case(dot)).and_then(|_| word_after(text, to))
    }) {
        (end, labels) = (next, labels + 1);
    }
    let near = near::begins(text, start) && end - start <= LENGTH_MAX;
    (labels > 1 && near).then_some(start..end)
}
