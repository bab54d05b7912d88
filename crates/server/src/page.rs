use std::{fmt, str::FromStr};

use serde::Serialize;
use steadfast_core::Time;

use crate::{Problem, Query, cursor::invalid, query::unreadable};

/// Items of a page when the request does not say.
pub const LIMIT_DEFAULT: usize = 50;
/// The most that a request may ask for.
pub const LIMIT_MAX: usize = 200;

/// One page of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T> {
    /// What there is.
    pub items: Vec<T>,
    /// Ask again with `cursor` set to this for what follows; nothing when that is all.
    pub next: Option<String>,
}

impl Query {
    /// `limit`: 1 to 200.
    pub fn limit(&mut self, default: usize) -> Result<usize, Problem> {
        let rule = "a whole number from 1 to 200";
        match self.one("limit")? {
            None => Ok(default),
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                .ok_or_else(|| unreadable("limit", &text, rule)),
        }
    }
    /// `cursor`: where an earlier page ended, letter by letter as it was given out.
    pub fn cursor<T: FromStr + fmt::Display>(&mut self) -> Result<Option<T>, Problem> {
        let read = |text: String| {
            let place = text.parse().ok().filter(|place: &T| place.to_string() == text);
            place.ok_or_else(|| invalid(&text))
        };
        self.one("cursor")?.map(read).transpose()
    }
}

/// The last item of a page of a list that is ordered by age and name; as text, a cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last<T> {
    /// When the item began.
    pub created: Time,
    /// What it is called.
    pub name: T,
}

impl<T: fmt::Display> fmt::Display for Last<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.created.micros(), self.name)
    }
}

impl<T: FromStr> FromStr for Last<T> {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let (created, name) = text.split_once('-').ok_or(())?;
        let created = i64::from_str_radix(created, 16).map_err(drop)?;
        Ok(Self { created: Time::from_micros(created), name: name.parse().map_err(drop)? })
    }
}

#[cfg(test)]
mod tests {
    use axum::{extract::FromRequestParts as _, http::Request};
    use futures::FutureExt as _;
    use steadfast_core::RunId;

    use super::*;

    fn cursor<T: FromStr + fmt::Display>(text: &str) -> Option<T> {
        let request = Request::get(format!("/x?cursor={text}")).body(()).expect("a request");
        let (mut parts, ()) = request.into_parts();
        let query = Query::from_request_parts(&mut parts, &()).now_or_never().expect("at once");
        query.expect("a query").cursor().ok().flatten()
    }

    #[test]
    fn a_cursor_is_taken_only_letter_by_letter_as_it_was_given_out() {
        let name: RunId = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e".parse().expect("an id");
        let last = Last { created: Time::from_micros(0xABC), name };
        assert_eq!(cursor(&last.to_string()), Some(last));
        for other in [format!("ABC-{name}"), format!("0abc-{name}"), format!("%2Babc-{name}"), "abc".into()] {
            assert_eq!(cursor::<Last<RunId>>(&other), None, "{other}");
        }
        assert_eq!(cursor::<u64>("7"), Some(7));
        assert_eq!(cursor::<u64>("%2B7"), None);
    }
}
