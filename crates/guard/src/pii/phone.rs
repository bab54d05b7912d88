//! Telephone numbers, and social security numbers of the United States, which look alike.
//!
//! A number with its country or in the groups of a national form is one by itself. Other
//! groups, and ten digits without any, are one only where a word before them says so.

use std::ops::Range;

use super::{
    digits::{Group, Run},
    near,
};

const WORDS: [&str; 25] = [
    "phone",
    "tel",
    "cel",
    "mobile",
    "movil",
    "m\u{f3}vil",
    "whats",
    "wsp",
    "llam",
    "call",
    "ring",
    "sms",
    "text me",
    "fax",
    "contact",
    "marca",
    "dial",
    "reach",
    "n\u{fa}mero",
    "numero",
    "number",
    "hotline",
    "answering",
    "message",
    "registered",
];
/// What else ten digits may be.
const OTHER: [&str; 20] = [
    "order",
    "orden",
    "pedido",
    "folio",
    "rastreo",
    "tracking",
    "gu\u{ed}a",
    "guia",
    "invoice",
    "ref",
    "trace",
    "ticket",
    "cuenta",
    "account",
    "saldo",
    "amount",
    "monto",
    "autoriza",
    "transac",
    "id",
];
const SSN_WORDS: [&str; 3] = ["ssn", "social security", "social sec"];
/// Area codes of Mexico's largest cities.
const CITIES: [u32; 4] = [33, 55, 56, 81];
/// The most digits of an international number.
const DIGITS_MAX: usize = 15;

fn number(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |all, digit| all.saturating_mul(10).saturating_add(u32::from(*digit)))
}

pub(super) fn ssn(text: &str, run: &Run) -> Option<Range<usize>> {
    let start = run.start();
    let sizes = sizes(run.groups());
    let said = || near::said(text, start, &SSN_WORDS);
    let groups = match sizes.as_slice() {
        [3, 2, 4, ..] if run.groups()[1].before == b'-' && run.groups()[2].before == b'-' => 3,
        [3, 2, 4, ..] if said() => 3,
        [9, ..] if said() => 1,
        _ => return None,
    };
    let (digits, end) = (run.digits(groups), run.groups()[groups - 1].end);
    let (area, group, serial) = (number(&digits[..3]), number(&digits[3..5]), number(&digits[5..9]));
    let given = area != 0 && area != 666 && group != 0 && serial != 0;
    let apart = near::begins(text, start) && near::ends(text, end) && !near::in_code(text, start, end);
    // A longer number in the same groups is another.
    let whole = run.groups().get(groups).is_none_or(|next| next.before != b'-');
    (given && apart && whole).then_some(start..end)
}

/// The sizes of the first groups.
fn sizes(groups: &[Group]) -> Vec<usize> {
    groups.iter().take(7).map(|it| it.len).collect()
}

pub(super) fn find(text: &str, run: &Run) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let groups = run.groups();
    let mut start = run.start();
    let bracket = start > 0 && bytes[start - 1] == b'(';
    start -= usize::from(bracket);
    let plus = start > 0 && bytes[start - 1] == b'+';
    start -= usize::from(plus);
    if !near::begins(text, start) {
        return None;
    }
    let count = if plus { international(groups) } else { national(text, start, bracket, run) }?;
    let mut end = groups[count - 1].end;
    if near::in_code(text, start, end) {
        return None;
    }
    end = extension(text, end);
    near::ends(text, end).then_some(start..end)
}

/// How many groups belong to a number after its `+`.
fn international(groups: &[Group]) -> Option<usize> {
    let most = match groups[0].len {
        1 => 11,
        2 => 13,
        _ => DIGITS_MAX,
    };
    let mut total = 0;
    let mut count = 0;
    for (i, group) in groups.iter().enumerate() {
        if group.before == b'\n' || total + group.len > most {
            break;
        }
        total += group.len;
        // A single digit after a blank says something else.
        if i == 0 || group.len > 1 || group.before == b'(' {
            count = i + 1;
        }
    }
    let digits: usize = groups[..count].iter().map(|it| it.len).sum();
    (8..=DIGITS_MAX).contains(&digits).then_some(count)
}

fn national(text: &str, start: usize, bracket: bool, run: &Run) -> Option<usize> {
    let groups = run.groups();
    let near_end = groups.iter().position(|it| it.before == b'\n').unwrap_or(groups.len());
    let groups = &groups[..near_end];
    let sizes = sizes(groups);
    let written = |from: usize, to: usize| {
        groups[from..to].iter().any(|it| matches!(it.before, b'-' | b'.' | b'('))
            && !groups[from..to].iter().any(|it| it.before == b'/')
    };
    let said = || near::said(text, start, &WORDS);
    let area = |digits: &[u8]| digits.first().is_some_and(|it| *it >= 2);
    let digits = run.digits(groups.len());
    match sizes.as_slice() {
        [3, 3, 4, ..] if area(digits) && (bracket || written(1, 3) || said()) => return Some(3),
        [1, 3, 3, 4, ..] if digits[0] == 1 && (written(1, 4) || said()) => return Some(4),
        [3, 3, 3, 4, ..] if digits[..3] == [0, 0, 1] => return Some(4),
        [2, 4, 4, ..]
            if area(digits)
                && (bracket || written(1, 3) || CITIES.contains(&number(&digits[..2])) || said()) =>
        {
            return Some(3);
        }
        [10, ..] if area(digits) => {
            let city = CITIES.contains(&number(&digits[..2])) && !near::said(text, start, &OTHER);
            return (city || said()).then_some(1);
        }
        _ => {}
    }
    // Any other form where a word says what it is, but not a date or a longer list.
    let total: usize = groups.iter().take(6).map(|it| it.len).sum();
    let date = matches!(sizes.as_slice(), [4, 2, 2] | [1 | 2, 1 | 2, 4]);
    // Nothing else begins with a nought and has three groups of this length.
    if digits[0] == 0 && sizes[0] > 2 && (3..=5).contains(&groups.len()) && (9..=11).contains(&total) {
        return Some(groups.len());
    }
    let form = groups.len() <= 6 && (7..=13).contains(&total) && !date;
    let dense = groups.iter().skip(1).all(|it| it.len > 1 && it.before != b'/');
    (form && dense && (groups.len() > 1 || total >= 8 || bracket) && said()).then_some(groups.len())
}

/// Where a number ends with its extension, such as `x123`.
fn extension(text: &str, end: usize) -> usize {
    let rest = &text.as_bytes()[end..];
    for mark in [&b"x"[..], b" x", b" ext. ", b" ext "] {
        if rest.len() > mark.len() && rest[..mark.len()].eq_ignore_ascii_case(mark) {
            let digits = rest[mark.len()..].iter().take_while(|it| it.is_ascii_digit()).count();
            if (1..=6).contains(&digits) {
                return end + mark.len() + digits;
            }
        }
    }
    end
}
