use serde::Serialize;

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
    /// `cursor`: where an earlier page ended.
    pub fn cursor<T>(&mut self, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, Problem> {
        self.one("cursor")?.map(|text| read(&text).ok_or_else(|| invalid(&text))).transpose()
    }
}
