//! Numbers of payment cards: a known issuer's beginning, its length, and Luhn's check digit.

use std::ops::Range;

use super::{digits::Run, near};

const WORDS: [&str; 8] = ["card", "tarjeta", "credit", "debit", "cr\u{e9}dito", "visa", "master", "cc"];

pub(super) fn find(text: &str, run: &Run) -> Option<Range<usize>> {
    let start = run.start();
    if !near::begins(text, start) {
        return None;
    }
    run.long_numbers(12..=19).find_map(|groups| {
        let digits = run.digits(groups);
        let end = run.groups()[groups - 1].end;
        let issued = issued(digits) && (digits.len() > 12 || near::said(text, start, &WORDS));
        let is = issued && luhn(digits) && near::ends(text, end) && !near::in_code(text, start, end);
        is.then_some(start..end)
    })
}

pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, digit)| {
            let digit = u32::from(*digit);
            let doubled = digit * 2;
            if i % 2 == 0 { digit } else { doubled / 10 + doubled % 10 }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Does an issuer give out numbers that begin so and have this length?
fn issued(digits: &[u8]) -> bool {
    let first = |count: usize| digits[..count].iter().fold(0, |all, digit| all * 10 + u32::from(*digit));
    let (two, three, four) = (first(2), first(3), first(4));
    match digits.len() {
        12 => matches!(four, 5018 | 5020 | 5038 | 6304 | 6759 | 6761..=6763) || matches!(two, 56..=58 | 67),
        13 => two / 10 == 4,
        14 => matches!(two, 36 | 38 | 39) || matches!(three, 300..=305),
        15 => matches!(two, 34 | 37) || matches!(four, 1800 | 2131),
        16 => {
            matches!(two, 40..=49 | 51..=55 | 50 | 56..=58 | 60 | 62 | 64..=65 | 67 | 36 | 30)
                || matches!(four, 2221..=2720 | 3500..=3599)
        }
        18 | 19 => matches!(two, 40..=49 | 50 | 56..=58 | 60 | 62..=65 | 67) || matches!(four, 3528..=3589),
        _ => false,
    }
}
