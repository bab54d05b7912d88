//! Digits in groups: how numbers are written.
//!
//! Digits may be full-width ones, and characters that nobody sees may stand between them.

/// The most digits that are looked at together.
const DIGITS_MAX: usize = 40;
/// The fewest digits of anything but an address and an IBAN: those of a date.
pub(super) const FEWEST: usize = 6;
/// The most groups: those of a card that is said digit by digit.
const GROUPS_MAX: usize = 20;
/// The most characters between two groups, such as `) -`.
const BETWEEN_MAX: usize = 3;

/// Bytes that a digit may begin with: ASCII's, and the first of full-width ones.
pub(super) const MAY_BEGIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = b'0';
    while byte <= b'9' {
        table[byte as usize] = true;
        byte += 1;
    }
    table[0xEF] = true;
    table
};

/// The digit that `text` begins with, and its length.
pub(super) fn digit(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [ascii @ b'0'..=b'9', ..] => Some((ascii - b'0', 1)),
        [0xEF, 0xBC, wide @ 0x90..=0x99, ..] => Some((wide - 0x90, 3)),
        _ => None,
    }
}

/// The length of what nobody sees that `text` begins with: zero-width characters.
pub(super) fn unseen(text: &[u8]) -> Option<usize> {
    match text {
        [0xE2, 0x80, 0x8B..=0x8D, ..] | [0xE2, 0x81, 0xA0, ..] | [0xEF, 0xBB, 0xBF, ..] => Some(3),
        [0xC2, 0xAD, ..] => Some(2),
        _ => None,
    }
}

/// What may stand between groups, by what it stands for.
fn separator(text: &[u8]) -> Option<(u8, usize)> {
    match text {
        [b'-', ..] => Some((b'-', 1)),
        [b'.', ..] => Some((b'.', 1)),
        [b' ' | b'\t', ..] => Some((b' ', 1)),
        [b'\n' | b'\r', ..] => Some((b'\n', 1)),
        [b'(' | b')', ..] => Some((b'(', 1)),
        [b'/', ..] => Some((b'/', 1)),
        [0xC2, 0xA0, ..] => Some((b' ', 2)),
        [0xE2, 0x80, 0x80..=0x8A | 0xAF, ..] => Some((b' ', 3)),
        [0xE2, 0x80, 0x90..=0x95, ..] => Some((b'-', 3)),
        _ => None,
    }
}

/// Digits that stand together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    /// Which of the run's digits is its first.
    first: usize,
    /// How many it has.
    pub(super) len: usize,
    /// Where it begins and ends in the text.
    pub(super) start: usize,
    pub(super) end: usize,
    /// What stands before it; of the first, nothing. Brackets go before hyphens and points,
    /// and those before blanks.
    pub(super) before: u8,
}

/// Groups of digits, one after another.
pub(super) struct Run {
    digits: [u8; DIGITS_MAX],
    groups: [Group; GROUPS_MAX],
    count: usize,
}

/// Are there at least so many digits from `at` on, as far as a run may go? Asked before more
/// is done, as most digits are few.
pub(super) fn at_least(bytes: &[u8], at: usize, wanted: usize) -> bool {
    let mut count = 0;
    for byte in &bytes[at..] {
        match byte {
            b'0'..=b'9' => {
                count += 1;
                if count == wanted {
                    return true;
                }
            }
            b' ' | b'\t' | b'-' | b'.' | b'\n' | b'\r' | b'(' | b')' | b'/' => {}
            // A full-width digit or what nobody sees may begin here: left to a closer look.
            0xC2 | 0xE2 | 0xEF => return true,
            _ => return false,
        }
    }
    false
}

impl Run {
    /// The run that begins at `at`, if a digit is there.
    pub(super) fn at(text: &str, at: usize) -> Option<Self> {
        let bytes = text.as_bytes();
        digit(&bytes[at..])?;
        let empty = Group { first: 0, len: 0, start: at, end: at, before: 0 };
        let mut run = Self { digits: [0; DIGITS_MAX], groups: [empty; GROUPS_MAX], count: 0 };
        let (mut at, mut total, mut before) = (at, 0, 0);
        loop {
            let mut group = Group { first: total, len: 0, start: at, end: at, before };
            loop {
                if let Some((value, width)) = digit(&bytes[at..]) {
                    if let Some(place) = run.digits.get_mut(total) {
                        *place = value;
                    } else if run.count > 0 {
                        // What is cut off is no group.
                        return Some(run);
                    }
                    (total, at) = (total + 1, at + width);
                    group.end = at;
                } else if let Some(width) = unseen(&bytes[at..]) {
                    at += width;
                } else {
                    break;
                }
            }
            group.len = total - group.first;
            run.groups[run.count] = group;
            run.count += 1;
            if total >= DIGITS_MAX || run.count == GROUPS_MAX {
                return Some(run);
            }
            at = group.end;
            before = 0;
            for _ in 0..BETWEEN_MAX {
                let Some((kind, width)) = separator(&bytes[at..]) else { break };
                let rank = |kind: u8| match kind {
                    b'(' => 4,
                    b'\n' => 3,
                    b'-' | b'.' | b'/' => 2,
                    b' ' => 1,
                    _ => 0,
                };
                if rank(kind) > rank(before) {
                    before = kind;
                }
                at += width;
                while let Some(width) = unseen(&bytes[at..]) {
                    at += width;
                }
            }
            if before == 0 || digit(&bytes[at..]).is_none() {
                return Some(run);
            }
        }
    }
    pub(super) fn groups(&self) -> &[Group] {
        &self.groups[..self.count]
    }
    /// Where it begins.
    pub(super) fn start(&self) -> usize {
        self.groups[0].start
    }
    /// Where its first group ends.
    pub(super) fn first_end(&self) -> usize {
        self.groups[0].end
    }
    /// The digits of its first `groups`. Fewer than there are if there are too many.
    pub(super) fn digits(&self, groups: usize) -> &[u8] {
        let total: usize = self.groups()[..groups.min(self.count)].iter().map(|it| it.len).sum();
        &self.digits[..total.min(DIGITS_MAX)]
    }
    /// Numbers of groups, from the first on, that have so many digits and are written as
    /// long numbers are: together, in groups of two and more, or digit by digit.
    pub(super) fn long_numbers(&self, len: std::ops::RangeInclusive<usize>) -> impl Iterator<Item = usize> {
        let groups = self.groups();
        let mut total = 0;
        let mut found = [0; GROUPS_MAX];
        let mut count = 0;
        for (i, group) in groups.iter().enumerate() {
            total += group.len;
            let uniform =
                groups[1..=i].iter().all(|it| matches!(it.before, b' ' | b'-' | b'.' | b'\n' | b'/'))
                    && groups[1..=i]
                        .windows(2)
                        .all(|two| two[0].before == two[1].before || two.iter().any(|it| it.before == b'\n'));
            let all_but_last = &groups[..i];
            let sizes = all_but_last.iter().all(|it| (2..=13).contains(&it.len))
                || groups[..=i].iter().all(|it| it.len == 1);
            if total > *len.end() || !uniform {
                break;
            }
            if len.contains(&total) && (i == 0 || sizes) {
                found[count] = i + 1;
                count += 1;
            }
        }
        found.into_iter().take(count)
    }
}
