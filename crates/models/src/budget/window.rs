//! Days and months by the wall clock, UTC.

use std::time::Duration;

use steadfast_core::Time;

use crate::config::Window;

const DAY: u64 = 86_400;

impl Window {
    /// Which one `now` lies in. Later ones have greater numbers.
    pub(crate) fn at(self, now: Time) -> i64 {
        match self {
            Self::Day => now.day(),
            Self::Month => {
                let (year, month, _) = civil(now.day());
                year * 12 + month - 1
            }
            Self::Total => 0,
        }
    }
    /// How long until it ends.
    pub(crate) fn ends_in(self, now: Time) -> Option<Duration> {
        let end = match self {
            Self::Day => now.day() + 1,
            Self::Month => first_day(self.at(now) + 1),
            Self::Total => return None,
        };
        let end = Time::from_micros(end.saturating_mul(i64::try_from(DAY).unwrap_or(0) * 1_000_000));
        Some(end.since(now))
    }
}

/// The first and the last day of a window.
pub(crate) fn days_of(window: Window, at: i64) -> (i64, i64) {
    match window {
        Window::Day => (at, at),
        Window::Month => (first_day(at), first_day(at + 1) - 1),
        Window::Total => (0, i64::from(i32::MAX)),
    }
}

/// The first and the last day of a month such as `2026-11`.
pub(crate) fn days_of_month(text: &str) -> Option<(i64, i64)> {
    let (year, month) = text.split_once('-')?;
    let digits = |text: &str, n| text.len() == n && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(year, 4) || !digits(month, 2) {
        return None;
    }
    let (year, month): (i64, i64) = (year.parse().ok()?, month.parse().ok()?);
    let at = year * 12 + month - 1;
    (1..=12).contains(&month).then(|| (first_day(at), first_day(at + 1) - 1))
}

/// The day since 1970-01-01 on which a month begins, counted from year 0.
fn first_day(month: i64) -> i64 {
    let (year, month) = (month.div_euclid(12), month.rem_euclid(12) + 1);
    // Years begin in March here, so that the odd day is at their end.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Year, month and day of a day since 1970-01-01.
fn civil(day: i64) -> (i64, i64, i64) {
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let date = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + i64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Time {
        text.parse().expect("a time")
    }

    #[test]
    fn days_and_months_begin_at_midnight_utc() {
        let last = at("2026-12-31T23:59:59.999999Z");
        let first = at("2027-01-01T00:00:00Z");
        for window in [Window::Day, Window::Month] {
            assert_eq!(window.at(first), window.at(last) + 1);
            assert_eq!(window.ends_in(last), Some(Duration::from_micros(1)));
        }
        assert_eq!(Window::Month.ends_in(first), Some(Duration::from_secs(31 * DAY)));
        assert_eq!(Window::Total.ends_in(first), None);
    }

    #[test]
    fn every_day_of_four_hundred_years_is_in_its_month() {
        let mut day = first_day(1900 * 12);
        for year in 1900..2301 {
            for month in 1..=12 {
                let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
                let length = match month {
                    2 => 28 + i64::from(leap),
                    4 | 6 | 9 | 11 => 30,
                    _ => 31,
                };
                assert_eq!(days_of_month(&format!("{year}-{month:02}")), Some((day, day + length - 1)));
                for date in 1..=length {
                    assert_eq!(civil(day), (year, month, date));
                    day += 1;
                }
            }
        }
        assert_eq!(days_of_month("1970-01"), Some((0, 30)));
        for wrong in ["2026-13", "2026-0", "2026-00", "26-01", "2026", "2026-1a", "+026-01"] {
            assert_eq!(days_of_month(wrong), None, "{wrong}");
        }
    }
}
