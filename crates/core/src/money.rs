//! Money is a whole number of minor units and a currency; never a float.

use std::{fmt, str::FromStr};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, Unexpected, Visitor},
};

use crate::{
    error::{Coded, Fault},
    strict::Strict,
};

/// The largest magnitude: 2^53 − 1, which every JSON reader holds exactly.
pub const MAX_MINOR: i64 = (1 << 53) - 1;

/// An ISO 4217 currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Currency(&'static str, u32);

/// Code and number of decimals (ISO 4217).
const CURRENCIES: [Currency; 14] = [
    Currency("ARS", 2),
    Currency("BRL", 2),
    Currency("CAD", 2),
    Currency("CHF", 2),
    Currency("CLP", 0),
    Currency("COP", 2),
    Currency("EUR", 2),
    Currency("GBP", 2),
    Currency("JPY", 0),
    Currency("KWD", 3),
    Currency("MXN", 2),
    Currency("PEN", 2),
    Currency("USD", 2),
    Currency("UYU", 2),
];

impl Currency {
    /// The Mexican peso.
    pub const MXN: Self = Self("MXN", 2);
    /// The United States dollar.
    pub const USD: Self = Self("USD", 2);

    /// Its three letters.
    pub const fn code(self) -> &'static str {
        self.0
    }
    /// How many decimals its minor unit has.
    pub const fn decimals(self) -> u32 {
        self.1
    }
}

impl FromStr for Currency {
    type Err = MoneyError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        CURRENCIES
            .iter()
            .find(|known| known.0 == text)
            .copied()
            .ok_or_else(|| MoneyError::UnknownCurrency(text.chars().take(16).collect()))
    }
}
impl<'de> Deserialize<'de> for Currency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}
impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.0.into()
    }
}
impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}
impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// What can be wrong with money.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// The result or input is beyond ±(2^53 − 1) minor units.
    #[error("the amount is beyond 9007199254740991 minor units, the most there may be")]
    OutOfRange,
    /// Two currencies met in one sum.
    #[error("cannot combine {0} with {1}: convert first")]
    CurrencyMismatch(Currency, Currency),
    /// Not a currency we know.
    #[error("currency {0:?} is not known: use an ISO 4217 code such as MXN or USD")]
    UnknownCurrency(String),
    /// Zero or less where money must move.
    #[error("the amount must be above zero")]
    NotPositive,
    /// Not an amount.
    #[error("{0:?} is not an amount: write it like 1250.50")]
    NotAnAmount(String),
}

impl Coded for MoneyError {
    fn code(&self) -> &'static str {
        match self {
            Self::OutOfRange => "money.out_of_range",
            Self::CurrencyMismatch(..) => "money.currency_mismatch",
            Self::UnknownCurrency(_) => "money.unknown_currency",
            Self::NotPositive => "money.not_positive",
            Self::NotAnAmount(_) => "money.not_an_amount",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Caller
    }
}

/// An amount of one currency, in minor units. Display is `23,249.50 MXN`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Money {
    minor: i64,
    currency: Currency,
}

impl<'de> Deserialize<'de> for Money {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            minor: Minor,
            currency: Currency,
        }
        // Wherever money is read from, `[1, "MXN"]` is none.
        let raw = Raw::deserialize(Strict(deserializer))?;
        Self::new(raw.minor.0, raw.currency).map_err(D::Error::custom)
    }
}

/// Minor units as JSON has them: a whole number, perhaps too large for money. What does
/// not fit becomes the nearest that does, which [`Money::new`] then refuses as beyond all
/// amounts: 2^53 and 1e29 are the same mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Minor(pub i64);

impl<'de> Deserialize<'de> for Minor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Minor;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number of minor units")
            }
            fn visit_i64<E>(self, minor: i64) -> Result<Minor, E> {
                Ok(Minor(minor))
            }
            fn visit_u64<E>(self, minor: u64) -> Result<Minor, E> {
                Ok(Minor(i64::try_from(minor).unwrap_or(i64::MAX)))
            }
            fn visit_f64<E: serde::de::Error>(self, minor: f64) -> Result<Minor, E> {
                if minor.abs() <= FRACTIONS_END {
                    return Err(E::invalid_type(Unexpected::Float(minor), &self));
                }
                Ok(Minor(if minor > 0.0 { i64::MAX } else { i64::MIN }))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

/// [`MAX_MINOR`]: a number beyond it has no fraction.
const FRACTIONS_END: f64 = 9_007_199_254_740_991.0;

impl Money {
    /// Checked against ±(2^53 − 1).
    pub const fn new(minor: i64, currency: Currency) -> Result<Self, MoneyError> {
        if minor > MAX_MINOR || minor < -MAX_MINOR {
            return Err(MoneyError::OutOfRange);
        }
        Ok(Self { minor, currency })
    }
    /// Nothing of a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self { minor: 0, currency }
    }
    /// Minor units.
    pub const fn minor(self) -> i64 {
        self.minor
    }
    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }
    /// The sum; currencies must agree.
    pub fn plus(self, other: Self) -> Result<Self, MoneyError> {
        self.agree(other)?;
        let minor = self.minor.checked_add(other.minor).ok_or(MoneyError::OutOfRange)?;
        Self::new(minor, self.currency)
    }
    /// The difference; currencies must agree.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        self.plus(Self { minor: -other.minor, currency: other.currency })
    }
    /// `self` × `count`.
    pub fn times(self, count: i64) -> Result<Self, MoneyError> {
        let minor = self.minor.checked_mul(count).ok_or(MoneyError::OutOfRange)?;
        Self::new(minor, self.currency)
    }
    /// Refuses zero and less.
    pub fn positive(self) -> Result<Self, MoneyError> {
        if self.minor > 0 { Ok(self) } else { Err(MoneyError::NotPositive) }
    }
    fn agree(self, other: Self) -> Result<(), MoneyError> {
        if self.currency == other.currency {
            Ok(())
        } else {
            Err(MoneyError::CurrencyMismatch(self.currency, other.currency))
        }
    }
    /// Reads `1250.50`, also `1,250.50`; never more decimals than the currency has.
    pub fn parse(text: &str, currency: Currency) -> Result<Self, MoneyError> {
        let wrong = || MoneyError::NotAnAmount(text.chars().take(32).collect());
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let whole = ungroup(whole).ok_or_else(wrong)?;
        let decimals = currency.decimals() as usize;
        let dotted = digits.contains('.');
        if part.len() > decimals || dotted && part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        let minor: i64 = format!("{whole}{part:0<decimals$}").parse().map_err(|_| MoneyError::OutOfRange)?;
        Self::new(sign * minor, currency)
    }
}

/// Digits with or without well-placed thousands commas.
fn ungroup(whole: &str) -> Option<String> {
    let mut groups = whole.split(',');
    let first = groups.next()?;
    let grouped = whole.contains(',');
    let all_digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !all_digits(first) || grouped && first.len() > 3 {
        return None;
    }
    let mut out = first.to_owned();
    for group in groups {
        if group.len() != 3 || !all_digits(group) {
            return None;
        }
        out.push_str(group);
    }
    Some(out)
}

impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = 10u64.pow(self.currency.decimals());
        let magnitude = self.minor.unsigned_abs();
        let digits = (magnitude / scale).to_string();
        if self.minor < 0 {
            f.write_str("-")?;
        }
        for (i, digit) in digits.chars().enumerate() {
            if i > 0 && (digits.len() - i).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        if scale > 1 {
            let width = self.currency.decimals() as usize;
            write!(f, ".{:0width$}", magnitude % scale)?;
        }
        write!(f, " {}", self.currency)
    }
}

/// Masked: amounts do not belong in logs. Use Display where a person asked for it.
impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[amount {}]", self.currency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mxn(text: &str) -> Result<i64, MoneyError> {
        Money::parse(text, Currency::MXN).map(Money::minor)
    }

    #[test]
    fn amounts_read_as_people_write_them_and_never_round() {
        assert_eq!(mxn("1250.5"), Ok(125_050));
        assert_eq!(mxn("1,250.50"), Ok(125_050));
        assert_eq!(mxn("0.01"), Ok(1));
        for wrong in ["", ".", "1.", "1.001", "12,50", "1e3", "0x10", " 1", "1,2345", ",1", "+1", "--1", "١"]
        {
            assert!(mxn(wrong).is_err(), "{wrong:?}");
        }
        assert_eq!(mxn("90071992547409.91"), Ok(MAX_MINOR));
        assert_eq!(mxn("90071992547409.92"), Err(MoneyError::OutOfRange));
        assert_eq!(mxn("99999999999999999999999999"), Err(MoneyError::OutOfRange));
    }

    #[test]
    fn amounts_print_with_their_own_decimals() {
        let show = |minor, code: &str| {
            Money::new(minor, code.parse().expect("known")).expect("in range").to_string()
        };
        assert_eq!(show(2_324_950, "MXN"), "23,249.50 MXN");
        assert_eq!(show(-5, "USD"), "-0.05 USD");
        assert_eq!(show(1_234, "JPY"), "1,234 JPY");
        assert_eq!(show(1_234, "KWD"), "1.234 KWD");
    }

    #[test]
    fn json_refuses_fractions_unknown_fields_and_currencies() {
        let read = |text: &str| serde_json::from_str::<Money>(text);
        assert!(read(r#"{"minor":1,"currency":"MXN"}"#).is_ok());
        for wrong in [
            r#"{"minor":1.5,"currency":"MXN"}"#,
            r#"{"minor":"1","currency":"MXN"}"#,
            r#"{"minor":9007199254740992,"currency":"MXN"}"#,
            r#"{"minor":1,"currency":"ZZZ"}"#,
            r#"{"minor":1,"currency":"MXN","extra":1}"#,
            r#"[1,"MXN"]"#,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        for beyond in ["9007199254740992", "-9007199254740992", "18446744073709551616", "1e29", "-1e29"] {
            let text = format!(r#"{{"minor":{beyond},"currency":"MXN"}}"#);
            let error = read(&text).expect_err(beyond);
            assert!(error.to_string().contains("beyond"), "{beyond}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn display_and_parse_agree(minor in -MAX_MINOR..=MAX_MINOR) {
            let money = Money::new(minor, Currency::MXN).expect("in range");
            let text = money.to_string();
            proptest::prop_assert_eq!(Money::parse(text.trim_end_matches(" MXN"), Currency::MXN), Ok(money));
        }

        #[test]
        fn sums_never_wrap(a in -MAX_MINOR..=MAX_MINOR, b in -MAX_MINOR..=MAX_MINOR) {
            let m = |x| Money::new(x, Currency::MXN).expect("in range");
            match m(a).plus(m(b)) {
                Ok(sum) => proptest::prop_assert_eq!(sum.minor(), a + b),
                Err(_) => proptest::prop_assert!((a + b).abs() > MAX_MINOR),
            }
        }
    }
}
