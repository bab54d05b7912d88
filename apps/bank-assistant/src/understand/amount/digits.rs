//! Numbers in digits, as Mexico writes them: a comma between thousands, a point before cents.

use super::super::meaning::Unclear;

/// A number in hundredths, and how it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Digits {
    pub(super) hundredths: u128,
    /// With `1,000`: nobody adds a scale to that.
    pub(super) grouped: bool,
    /// With a point.
    pub(super) decimals: bool,
    /// How many digits before the point.
    pub(super) length: usize,
}

/// More digits than any amount has.
const LENGTH_MAX: usize = 24;

/// Reads one token of digits. `1,250.50`, `1250.5`, `1'500,000` are certain; `12.345`, `1,25`
/// and `1.250,50` are not: elsewhere they are right, and here they are slips.
pub(super) fn read(text: &str) -> Result<Digits, Unclear> {
    let (whole, part) = match text.split_once('.') {
        Some((whole, part)) => (whole, Some(part)),
        None => (text, None),
    };
    let decimals = match part {
        None => 0,
        Some(part) if !part.bytes().all(|b| b.is_ascii_digit()) => return Err(Unclear::Separator),
        Some(part) => match part.len() {
            1 => number(part)? * 10,
            2 => number(part)?,
            3 => return Err(Unclear::Separator),
            _ => return Err(Unclear::TooPrecise),
        },
    };
    let grouped = whole.contains([',', '\'']);
    let plain = if grouped { ungroup(whole).ok_or(Unclear::Separator)? } else { whole.to_owned() };
    if plain.len() > 1 && plain.starts_with('0') {
        return Err(Unclear::NotUnderstood);
    }
    let hundredths = number(&plain)? * 100 + decimals;
    Ok(Digits { hundredths, grouped, decimals: part.is_some(), length: plain.len() })
}

/// Reads `1 250.50`, given as its tokens: a first group of up to three, then threes.
pub(super) fn read_spaced(groups: &[&str]) -> Result<Digits, Unclear> {
    let (first, rest) = groups.split_first().ok_or(Unclear::NotUnderstood)?;
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let last = rest.last().ok_or(Unclear::NotUnderstood)?;
    let whole_of_last = last.split('.').next().unwrap_or(last);
    let middle = &rest[..rest.len() - 1];
    let well = first.len() <= 3
        && all_digits(first)
        && middle.iter().all(|group| group.len() == 3 && all_digits(group))
        && whole_of_last.len() == 3
        && all_digits(whole_of_last);
    if !well {
        return Err(Unclear::NotUnderstood);
    }
    Ok(Digits { grouped: true, ..read(&groups.concat())? })
}

/// Groups of digits that make no amount; what counts is how many digits they have together.
pub(super) fn apart(groups: &[&str]) -> Digits {
    let length = groups.iter().map(|group| group.len()).sum();
    Digits { hundredths: 0, grouped: false, decimals: false, length }
}

fn number(digits: &str) -> Result<u128, Unclear> {
    if digits.is_empty() {
        return Ok(0);
    }
    if digits.len() > LENGTH_MAX {
        return Err(Unclear::OutOfRange);
    }
    digits.parse().map_err(|_| Unclear::NotUnderstood)
}

/// Takes thousands marks out: `,` everywhere, or `'` between the millions and `,` after.
fn ungroup(whole: &str) -> Option<String> {
    let body = match whole.split_once('\'') {
        None => whole.to_owned(),
        Some((millions, rest)) => {
            let well =
                millions.len() <= 3 && !millions.contains(',') && rest.len() == 7 && rest.contains(',');
            well.then(|| format!("{millions},{rest}"))?
        }
    };
    let mut groups = body.split(',');
    let first = groups.next()?;
    let well = !first.is_empty()
        && first.len() <= 3
        && groups.all(|group| group.len() == 3 && group.bytes().all(|b| b.is_ascii_digit()));
    well.then(|| body.replace(',', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_certain_is_read_and_the_rest_is_not() {
        for (text, hundredths) in [
            ("1250", 125_000),
            ("1,250.50", 125_050),
            ("1250.5", 125_050),
            ("0.01", 1),
            (".50", 50),
            ("1,500,000", 150_000_000),
            ("1'500,000.25", 150_000_025),
        ] {
            assert_eq!(read(text).map(|d| d.hundredths), Ok(hundredths), "{text}");
        }
        for text in [
            "12.345",
            "1,25",
            "1.250,50",
            "1.234.567",
            "1,2345",
            "12,34,567",
            "1250,50",
            "1'500",
            "1,500'000",
        ] {
            assert_eq!(read(text), Err(Unclear::Separator), "{text}");
        }
        assert_eq!(read("0500"), Err(Unclear::NotUnderstood));
        assert_eq!(read("1.2345"), Err(Unclear::TooPrecise));
        assert_eq!(read_spaced(&["1", "250.50"]).map(|d| d.hundredths), Ok(125_050));
        assert_eq!(read_spaced(&["1", "500", "000"]).map(|d| d.hundredths), Ok(150_000_000));
        assert!(read_spaced(&["5678", "500"]).is_err());
        assert!(read_spaced(&["12", "50"]).is_err());
        assert!(read_spaced(&["1,000", "500"]).is_err());
    }
}
