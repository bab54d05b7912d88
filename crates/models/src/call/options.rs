//! What a client wants beyond the API: headers `x-steadfast-NAME`, or members
//! `steadfast-NAME` of the request's `metadata`. A header goes first.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderMap, header::CACHE_CONTROL};
use serde::Deserialize;
use serde_json::value::RawValue;
use steadfast_core::{
    config::{Period, nearest},
    principal::check_name,
};

use super::{Unreadable, unreadable};

const HEADER: &str = "x-steadfast-";
const MEMBER: &str = "steadfast-";
/// All there are. Others are refused: a client that misspells one would not get what it pays for.
const NAMES: [&str; 11] = [
    "priority", "deadline", "cache", "ttl", "tags", "continue", "budget", "labels", "persona", "run", "step",
];

/// How urgent a call is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// When nothing else waits.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Somebody waits.
    High,
    /// Before everything else.
    Critical,
}

impl Priority {
    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// What the cache may do for a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum CacheUse {
    /// Look, and keep.
    #[default]
    Use,
    /// Don't look, but keep what comes.
    Refresh,
    /// Neither.
    Bypass,
}

/// The most tags of one call, and the most letters of a tag.
const TAGS_MAX: usize = 8;
const TAG_MAX: usize = 64;
/// The longest name of a step.
const STEP_MAX: usize = 128;

/// What a client wants beyond the API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallOptions {
    /// `priority`: `critical`, `high`, `normal` or `low`.
    pub priority: Priority,
    /// `cache`: `use`, `refresh` or `bypass`. Without it `Cache-Control: no-store` means
    /// `bypass`, and `no-cache` means `refresh`.
    pub cache: CacheUse,
    /// `ttl`: how long the answer may be kept, such as `1h`.
    pub ttl: Option<Duration>,
    /// `tags`: names, with commas between, by which kept answers are found again to forget
    /// them.
    pub tags: Vec<String>,
    /// `budget`: the name of the budget that pays.
    pub budget: Option<String>,
    /// `run`: the run that the call belongs to.
    pub run: Option<Arc<str>>,
    /// `step`: the step of that run that the answer is recorded as.
    pub step: Option<Arc<str>>,
    /// `labels`: what costs are summed up by, such as `team=search,workflow=triage`. Sorted.
    pub labels: Option<Arc<str>>,
    /// `persona`: in whose voice degraded answers are given.
    pub persona: Option<String>,
    /// `deadline`: how long the client waits, such as `20s`.
    pub deadline: Option<Duration>,
    /// `continue`: whether a stream that breaks is continued by another provider.
    pub continue_stream: Option<bool>,
}

impl CallOptions {
    /// Takes one option. False if there is none of that name.
    fn set(&mut self, name: &str, value: &str) -> Result<bool, &'static str> {
        let period = |text: &str| text.parse::<Period>().map(Period::get);
        match name {
            "priority" => {
                self.priority = match value {
                    "critical" => Priority::Critical,
                    "high" => Priority::High,
                    "normal" => Priority::Normal,
                    "low" => Priority::Low,
                    _ => return Err("critical, high, normal or low"),
                }
            }
            "cache" => {
                self.cache = match value {
                    "use" => CacheUse::Use,
                    "refresh" => CacheUse::Refresh,
                    "bypass" => CacheUse::Bypass,
                    _ => return Err("use, refresh or bypass"),
                }
            }
            "ttl" => self.ttl = Some(period(value).map_err(|_| "a period such as \"1h\"")?),
            "deadline" => self.deadline = Some(period(value).map_err(|_| "a period such as \"20s\"")?),
            "tags" => {
                let tags = value.split(',').map(str::trim).filter(|tag| !tag.is_empty());
                self.tags = tags.map(str::to_owned).collect();
                if self.tags.len() > TAGS_MAX || self.tags.iter().any(|tag| tag.len() > TAG_MAX) {
                    return Err("at most 8 names of at most 64 bytes, with commas between");
                }
            }
            "budget" => self.budget = Some(value.into()),
            "run" => {
                let run = check_name("run", value).map(|()| value.into());
                self.run = Some(run.map_err(|_| "a name of 1 to 64 letters, digits, '.', '_' and '-'")?);
            }
            "step" => {
                let fine =
                    (1..=STEP_MAX).contains(&value.len()) && value.bytes().all(|b| b.is_ascii_graphic());
                let step = fine.then(|| value.into());
                self.step = Some(step.ok_or("a name of 1 to 128 visible ASCII characters")?);
            }
            "labels" => self.labels = Some(labels(value).ok_or(LABELS_RULE)?.into()),
            "persona" => self.persona = Some(value.into()),
            "continue" => {
                self.continue_stream = Some(value.parse().map_err(|_| "true or false")?);
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
    fn take(&mut self, prefix: &str, name: &str, value: &str) -> Result<(), Unreadable> {
        let full = || format!("{prefix}{}", steadfast_core::shown(name, 40));
        match self.set(name, value) {
            Ok(true) => Ok(()),
            Ok(false) => {
                let meant = nearest(name, NAMES).map(|it| format!("; did you mean {it}?"));
                let known = NAMES.join(", ");
                Err(Unreadable::NoOption { name: full(), meant: meant.unwrap_or_default(), known })
            }
            Err(expected) => {
                Err(Unreadable::Option { name: full(), value: steadfast_core::shown(value, 40), expected })
            }
        }
    }
    /// Takes those among the headers.
    pub(super) fn take_headers(&mut self, headers: &HeaderMap) -> Result<(), Unreadable> {
        for value in headers.get_all(CACHE_CONTROL) {
            for part in value.to_str().unwrap_or_default().split(',') {
                match part.trim() {
                    it if it.eq_ignore_ascii_case("no-store") => self.cache = CacheUse::Bypass,
                    it if it.eq_ignore_ascii_case("no-cache") && self.cache == CacheUse::Use => {
                        self.cache = CacheUse::Refresh;
                    }
                    _ => {}
                }
            }
        }
        for (name, value) in headers {
            if let Some(option) = name.as_str().strip_prefix(HEADER) {
                let value = value.to_str().map_err(|_| Unreadable::Option {
                    name: steadfast_core::shown(name.as_str(), 60),
                    value: String::from_utf8_lossy(value.as_bytes()).chars().take(40).collect(),
                    expected: "visible ASCII; other text may stand in `metadata`",
                })?;
                self.take(HEADER, option, value)?;
            }
        }
        Ok(())
    }
    /// Takes those among `metadata`, and gives what is left of it without them.
    pub(super) fn take_members(&mut self, metadata: &RawValue) -> Result<Option<String>, Unreadable> {
        if !metadata.get().contains(MEMBER) {
            return Ok(None);
        }
        let members: Members<'_> = serde_json::from_str(metadata.get()).map_err(unreadable)?;
        let mut left = String::from("{");
        for (name, value) in &members.0 {
            if let Some(option) = name.strip_prefix(MEMBER) {
                let value: Cow<'_, str> = match serde_json::from_str::<String>(value.get()) {
                    Ok(text) => text.into(),
                    Err(_) => value.get().into(),
                };
                self.take("metadata.steadfast-", option, &value)?;
                continue;
            }
            if left.len() > 1 {
                left.push(',');
            }
            left.push_str(&serde_json::Value::from(name.as_ref()).to_string());
            left.push(':');
            left.push_str(value.get());
        }
        left.push('}');
        Ok(Some(left))
    }
}

/// The most labels of a call.
const LABELS_MAX: usize = 16;
const LABELS_RULE: &str = "a list such as team=search,workflow=triage: up to 16 names with values";

/// Labels in the order of their names. Names and values follow the rule for names.
fn labels(text: &str) -> Option<String> {
    let mut labels = std::collections::BTreeMap::new();
    for label in text.split(',').map(str::trim).filter(|label| !label.is_empty()) {
        let (name, value) = label.split_once('=')?;
        check_name("label", name).and_then(|()| check_name("label", value)).ok()?;
        labels.insert(name, value);
    }
    let all: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    (all.len() <= LABELS_MAX).then(|| all.join(","))
}

/// An object's members in their order.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> serde::de::Visitor<'de> for Reader {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry::<Cow<'de, str>, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_told_are_those_that_are_taken() {
        let mut options = CallOptions::default();
        for name in NAMES {
            assert_ne!(options.set(name, ""), Ok(false), "{name}");
        }
    }
}
