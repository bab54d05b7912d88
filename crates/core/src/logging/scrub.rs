//! Finds what must not be seen in text that may otherwise be shown. The second line of
//! defense: it knows spellings, not meanings, and masks rather too much.

use std::ops::Range;

/// What secrets of well-known services begin with.
const TOKEN_STARTS: [&str; 12] =
    ["eyj", "sk-", "sk_", "pk_", "rk_", "ghp_", "gho_", "github_pat_", "glpat-", "xox", "akia", "ya29."];
/// Words after which a secret stands.
const SECRET_NAMES: [&str; 10] =
    ["authorization", "basic", "bearer", "cookie", "key", "passwd", "password", "pin", "secret", "token"];
const CURRENCIES: [&str; 14] = [
    "mxn", "usd", "eur", "gbp", "jpy", "cad", "brl", "cop", "ars", "clp", "pesos", "peso", "dollars", "euros",
];

/// `text` with e-mail addresses, tokens, amounts and digit runs of six or more, however
/// grouped, replaced by `[masked]`. UUIDs and RFC 3339 times stay. Full-width and other
/// digits are read as ASCII ones.
///
/// ```
/// # use steadfast_core::logging::scrub;
/// assert_eq!(scrub("call 55 1234-5678 now"), "call [masked] now");
/// ```
pub fn scrub(text: &str) -> String {
    let chars: Vec<char> = text.chars().filter(|c| !is_invisible(*c)).map(plain).collect();
    let kept = kept(&chars);
    let mut masked = vec![false; chars.len()];
    let mut mask = |range: Range<usize>| {
        for i in range {
            masked[i] |= !kept[i];
        }
    };
    words(&chars, &kept, &mut mask);
    numbers(&chars, &kept, &mut mask);
    let mut out = String::with_capacity(text.len());
    for (i, c) in chars.iter().enumerate() {
        if !masked[i] {
            out.push(*c);
        } else if i == 0 || !masked[i - 1] {
            out.push_str("[masked]");
        }
    }
    out
}

/// Soft hyphens, joiners, direction marks: they split what a reader sees as one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// Full-width forms and other scripts' digits as ASCII.
pub(super) fn plain(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        '\u{fe6b}' => '@',
        c if !c.is_ascii() && c.is_numeric() => '0',
        c => c,
    }
}

/// Marks UUIDs and times that stand alone.
fn kept(chars: &[char]) -> Vec<bool> {
    let mut kept = vec![false; chars.len()];
    let inner = |c: char| c.is_alphanumeric() || c == '-';
    let mut start = 0;
    while start < chars.len() {
        let alone = start == 0 || !inner(chars[start - 1]);
        let rest = &chars[start..];
        let ends = |len: &usize| rest.get(*len).is_none_or(|c| !inner(*c));
        match [uuid(rest), time(rest)].into_iter().flatten().find(ends).filter(|_| alone) {
            Some(len) => {
                kept[start..start + len].fill(true);
                start += len;
            }
            None => start += 1,
        }
    }
    kept
}

/// Does `chars` begin as `shape` says: `x` hexadecimal, `0` a digit, else itself?
fn begins(chars: &[char], shape: &str) -> Option<usize> {
    let fits = |(c, s): (&char, char)| match s {
        'x' => c.is_ascii_hexdigit(),
        '0' => c.is_ascii_digit(),
        s => *c == s,
    };
    (chars.len() >= shape.len() && chars.iter().zip(shape.chars()).all(fits)).then_some(shape.len())
}

fn uuid(chars: &[char]) -> Option<usize> {
    begins(chars, "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx")
}

fn time(chars: &[char]) -> Option<usize> {
    let mut len = begins(chars, "0000-00-00T00:00:00")?;
    if chars.get(len) == Some(&'.') {
        len += 1 + chars[len + 1..].iter().take(9).take_while(|c| c.is_ascii_digit()).count();
    }
    let zone = |shape| begins(&chars[len..], shape);
    zone("Z").or_else(|| zone("+00:00")).or_else(|| zone("-00:00")).map(|zone| len + zone)
}

/// The ranges of `chars` that `inside` accepts.
fn runs(chars: &[char], inside: impl Fn(char) -> bool) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (i, _) in chars.iter().enumerate().filter(|(_, c)| inside(**c)) {
        match found.last_mut() {
            Some(last) if last.end == i => last.end += 1,
            _ => found.push(i..i + 1),
        }
    }
    found
}

/// E-mail addresses, tokens, and what follows a secret's name.
fn words(chars: &[char], kept: &[bool], mask: &mut impl FnMut(Range<usize>)) {
    let lower: Vec<char> = chars.iter().map(char::to_ascii_lowercase).collect();
    let text = |range: &Range<usize>| lower[range.clone()].iter().collect::<String>();
    let spaced = runs(chars, |c| !c.is_whitespace());
    for (i, range) in spaced.iter().enumerate() {
        let word = text(range);
        if ["@", "%40", "(at)", "[at]", "\\u0040", "&#64;"].iter().any(|at| word.contains(at)) {
            mask(range.clone());
        }
        let next = |n: usize| spaced.get(i + n).map(text).unwrap_or_default();
        let spelled = next(2) == "dot" || next(1).trim_end_matches('.').contains('.');
        if word == "at" && i > 0 && spelled {
            mask(spaced[i - 1].start..spaced[(i + 3).min(spaced.len() - 1)].end);
        }
    }
    let chunks = runs(chars, |c| c.is_alphanumeric() || "-_.~+/%".contains(c));
    for (i, range) in chunks.iter().enumerate() {
        let word = text(range);
        let named = word.rsplit(['_', '-', '.']).next().is_some_and(|last| SECRET_NAMES.contains(&last));
        if named && let Some(next) = chunks.get(i + 1) {
            mask(next.clone());
        }
        let begins =
            |part: &str| TOKEN_STARTS.iter().any(|start| part.starts_with(start) && part.len() >= 12);
        let random = |part: &str| {
            let (letters, digits) =
                (part.chars().any(char::is_alphabetic), part.chars().any(char::is_numeric));
            part.len() >= 32 || (part.len() >= 20 && letters && digits)
        };
        let parts = || word.split(|c: char| !c.is_alphanumeric());
        if !kept[range.start] && (begins(&word) || parts().any(random)) {
            mask(range.clone());
        }
    }
}

/// Runs of six or more digits, with anything but letters between them, and amounts.
fn numbers(chars: &[char], kept: &[bool], mask: &mut impl FnMut(Range<usize>)) {
    const GAP_MAX: usize = 3;
    let digits = runs(chars, |c| c.is_ascii_digit());
    let digits: Vec<_> = digits.into_iter().filter(|range| !kept[range.start]).collect();
    let joined = |a: &Range<usize>, b: &Range<usize>| {
        let gap = a.end..b.start;
        gap.len() <= GAP_MAX && gap.clone().all(|i| !chars[i].is_alphabetic() && !kept[i])
    };
    let near = digits.chunk_by(|a, b| joined(a, b));
    for groups in near {
        let (start, end) = (groups[0].start, groups[groups.len() - 1].end);
        if groups.iter().map(ExactSizeIterator::len).sum::<usize>() >= 6 {
            mask(start..end);
            continue;
        }
        let tight = |a: &Range<usize>, b: &Range<usize>| {
            b.start == a.end + 1 && ".,' _\u{a0}\u{202f}\u{2019}".contains(chars[a.end])
        };
        for groups in groups.chunk_by(|a, b| tight(a, b)) {
            let (start, end) = (groups[0].start, groups[groups.len() - 1].end);
            let lens: Vec<usize> = groups.iter().map(ExactSizeIterator::len).collect();
            if is_amount(&lens) || beside_currency(chars, start, end) {
                mask(start..end);
            }
        }
    }
}

/// `25,000`, `1 500.00`, `500.00`, `8000.0`: by the number of digits in each group.
fn is_amount(lens: &[usize]) -> bool {
    let grouped = |lens: &[usize]| lens[0] <= 3 && lens[1..].iter().all(|len| *len == 3);
    match lens {
        [] | [_] => false,
        [whole, _] if *whole >= 4 => true,
        [whole @ .., 2] if grouped(whole) => true,
        all => grouped(all),
    }
}

fn beside_currency(chars: &[char], start: usize, end: usize) -> bool {
    let gap = |c: &char| c.is_whitespace() || "-+:".contains(*c);
    let letter = |c: &char| c.is_alphabetic();
    let before = || chars[..start].iter().rev().copied().skip_while(gap);
    let after = || chars[end..].iter().copied().skip_while(gap);
    let sign = |c: Option<char>| c.is_some_and(|c| "$€£¥₩₹₱¢".contains(c));
    let left: Vec<char> = before().take_while(letter).collect();
    let named = |word: String| CURRENCIES.contains(&word.to_lowercase().as_str());
    sign(before().next())
        || sign(after().next())
        || named(left.iter().rev().collect())
        || named(after().take_while(letter).collect())
}
