//! Mexican ids: letters, a date, and more letters. CURP and RFC are known by form and date;
//! real RFCs often fail their check digit, so it is not asked for.

use std::ops::Range;

use super::{
    digits::{Run, unseen},
    near,
};

const RFC_WORDS: [&str; 3] = ["rfc", "contribuyente", "factura"];

/// Between the parts of an id something that says nothing may stand: a hyphen, a blank, or
/// what nobody sees.
fn skip(rest: &[u8]) -> usize {
    match rest {
        [b'-' | b' ', ..] => 1,
        _ => unseen(rest).unwrap_or(0),
    }
}

/// Where letters begin that end at `end`, at most `max` of them, and how many they are.
fn letters_before(text: &str, end: usize, max: usize) -> (usize, usize, bool) {
    let (mut start, mut count, mut capitals) = (end, 0, true);
    for (at, letter) in text[..end].char_indices().rev().take(max) {
        if !(letter.is_ascii_alphabetic() || matches!(letter, 'Ñ' | 'ñ' | '&')) {
            break;
        }
        capitals &= !letter.is_lowercase();
        (start, count) = (at, count + 1);
    }
    (start, count, capitals)
}

/// The letters before the date where `run` begins: where they begin, how many, all capitals?
fn before(text: &str, run: &Run, max: usize) -> (usize, usize, bool) {
    let bytes = text.as_bytes();
    let mut end = run.start();
    let direct = letters_before(text, end, max);
    if direct.1 > 0 {
        return direct;
    }
    for width in 1..=3 {
        let Some(at) = end.checked_sub(width).filter(|at| text.is_char_boundary(*at)) else { continue };
        if skip(&bytes[at..]) == width {
            end = at;
            break;
        }
    }
    letters_before(text, end, max)
}

fn date(run: &Run) -> bool {
    let digits = run.digits(1);
    let two = |at: usize| digits[at] * 10 + digits[at + 1];
    digits.len() >= 6 && (1..=12).contains(&two(2)) && (1..=31).contains(&two(4))
}

/// Takes `wanted` characters from `at` on, each as its place allows.
fn after(text: &str, at: usize, wanted: &[fn(u8) -> bool]) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = at + skip(&bytes[at..]);
    for fits in wanted {
        while let Some(width) = unseen(&bytes[at..]) {
            at += width;
        }
        bytes.get(at).filter(|byte| fits(**byte))?;
        at += 1;
    }
    near::ends(text, at).then_some(at)
}

fn letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic()
}
fn digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}
fn either(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}
fn sex(byte: u8) -> bool {
    matches!(byte.to_ascii_uppercase(), b'H' | b'M' | b'X')
}

/// Where the sixth digit ends, if the first group holds a date; it may go on without a break.
fn date_end(text: &str, run: &Run) -> Option<usize> {
    let group = run.groups()[0];
    if !date(run) {
        return None;
    }
    if group.len == 6 {
        return Some(group.end);
    }
    // The rest of the group belongs to what follows: only where it is plain ASCII.
    let end = group.start + 6;
    text.get(group.start..end)?.bytes().all(digit).then_some(end)
}

pub(super) fn curp(text: &str, run: &Run) -> Option<Range<usize>> {
    const REST: [fn(u8) -> bool; 8] = [sex, letter, letter, letter, letter, letter, either, digit];
    let (start, count, _) = before(text, run, 4);
    if count != 4 || !near::begins(text, start) {
        return None;
    }
    let end = after(text, date_end(text, run)?, &REST)?;
    Some(start..end)
}

pub(super) fn rfc(text: &str, run: &Run) -> Option<Range<usize>> {
    let (start, count, capitals) = before(text, run, 4);
    if !(3..=4).contains(&count) || !near::begins(text, start) {
        return None;
    }
    let end = after(text, date_end(text, run)?, &[either as fn(u8) -> bool; 3])?;
    let apart = !near::in_code(text, start, end);
    // In small letters, or in parts, much else looks like it.
    let plain = capitals
        && end - start
            == text[start..end]
                .chars()
                .filter(|it| *it != '-' && *it != ' ')
                .map(char::len_utf8)
                .sum::<usize>();
    (apart && (plain || near::said(text, start, &RFC_WORDS))).then_some(start..end)
}
