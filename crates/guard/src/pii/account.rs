//! Numbers of bank accounts: IBAN and CLABE, by their control digits.

use std::ops::Range;

use super::{
    digits::{Run, digit, unseen},
    near,
};

/// Countries and the lengths of their IBANs.
const COUNTRIES: &[u8] = b"AD24AE23AL28AT20AZ28BA20BE16BG22BH22BI27BR29BY28CH21CR22CY28CZ24DE22DJ27DK18DO28\
EE20EG29ES24FI18FK18FO18FR27GB22GE22GI23GL18GR27GT28HN28HR21HU28IE22IL23IQ23IS26IT27JO30KW30KZ20LB28LC32LI21\
LT20LU20LV21LY25MC27MD24ME22MK19MN20MR27MT31MU30NI28NL18NO15OM23PK24PL28PS29PT25QA29RO24RS22RU33SA24SC31SD18\
SE24SI19SK24SM27SO23ST25SV28TL23TN24TR26UA29VA22VG24XK20YE30";

/// The longest there are.
const IBAN_MAX: usize = 34;

fn length(country: [u8; 2]) -> Option<usize> {
    let entry = COUNTRIES.chunks_exact(4).find(|it| it[..2] == country)?;
    Some(usize::from(entry[2] - b'0') * 10 + usize::from(entry[3] - b'0'))
}

/// Does a country stand before `at`, where digits are?
pub(super) fn may_be_iban(text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    at >= 2
        && bytes[at - 1].is_ascii_alphabetic()
        && length([bytes[at - 2].to_ascii_uppercase(), bytes[at - 1].to_ascii_uppercase()]).is_some()
}

/// An IBAN whose check digits are where `run` begins.
pub(super) fn iban(text: &str, run: &Run) -> Option<Range<usize>> {
    let bytes = text.as_bytes();
    let start = run.start().checked_sub(2)?;
    let country = [bytes[start].to_ascii_uppercase(), bytes[start + 1].to_ascii_uppercase()];
    let wanted = length(country)?;
    if !near::begins(text, start) {
        return None;
    }
    let mut letters = [0_u8; IBAN_MAX];
    let (mut count, mut at) = (0, start);
    loop {
        let rest = &bytes[at..];
        if let Some((value, width)) = digit(rest) {
            letters[count] = value;
            at += width;
        } else if let Some(letter) = rest.first().filter(|it| it.is_ascii_alphabetic()) {
            letters[count] = letter.to_ascii_uppercase() - b'A' + 10;
            at += 1;
        } else if let Some(width) = unseen(rest) {
            at += width;
            continue;
        } else if count > 0 && matches!(rest, [b' ' | b'-', next, ..] if next.is_ascii_alphanumeric()) {
            at += 1;
            continue;
        } else {
            return None;
        }
        count += 1;
        if count == wanted {
            break;
        }
    }
    let all = &letters[..wanted];
    let rest = all[4..].iter().chain(&all[..4]).fold(0_u32, |rest, value| {
        let value = u32::from(*value);
        if value > 9 { (rest * 100 + value) % 97 } else { (rest * 10 + value) % 97 }
    });
    (rest == 1 && near::ends(text, at)).then_some(start..at)
}

/// A CLABE: a bank of Mexico, and the control digit over weights 3, 7, 1.
pub(super) fn clabe(text: &str, run: &Run) -> Option<Range<usize>> {
    let start = run.start();
    let groups = run.long_numbers(18..=18).next()?;
    let (digits, end) = (run.digits(groups), run.groups()[groups - 1].end);
    let bank = digits[..3].iter().fold(0, |all, digit| all * 10 + u32::from(*digit));
    let sum: u32 =
        digits[..17].iter().zip([3, 7, 1].into_iter().cycle()).map(|(d, w)| u32::from(*d) * w % 10).sum();
    let check = (10 - sum % 10) % 10;
    let is = matches!(bank, 1..=168 | 600..=741 | 901..=903) && check == u32::from(digits[17]);
    let apart = near::begins(text, start) && near::ends(text, end) && !near::in_code(text, start, end);
    (is && apart).then_some(start..end)
}
