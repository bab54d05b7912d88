//! What a client gets, in the API that it called.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::Stream;
use http::StatusCode;

use crate::{failure::Tried, usd::Usd};

/// Tokens, as the provider counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Usage {
    /// All that went in, with what came from the provider's own cache.
    pub input: u64,
    /// Of these, read from the provider's cache.
    pub cached: u64,
    /// Of these, written to the provider's cache.
    pub cache_written: u64,
    /// Of what was written, to be kept for an hour.
    #[serde(default)]
    pub cache_written_hour: u64,
    /// What came out.
    pub output: u64,
    /// Seconds of sound that went in, where these are counted instead.
    #[serde(default)]
    pub seconds: u64,
}

impl Usage {
    /// In and out.
    pub const fn total(self) -> u64 {
        self.input.saturating_add(self.output)
    }
    /// The sum of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            cache_written: self.cache_written.saturating_add(other.cache_written),
            cache_written_hour: self.cache_written_hour.saturating_add(other.cache_written_hour),
            output: self.output.saturating_add(other.output),
            seconds: self.seconds.saturating_add(other.seconds),
        }
    }
    /// Each at most so much.
    #[must_use]
    pub(crate) fn at_most(self, most: u64) -> Self {
        Self {
            input: self.input.min(most),
            cached: self.cached.min(most),
            cache_written: self.cache_written.min(most),
            cache_written_hour: self.cache_written_hour.min(most),
            output: self.output.min(most),
            seconds: self.seconds.min(most),
        }
    }
    /// The larger of each: providers report usage in parts, each part cumulative.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            cached: self.cached.max(other.cached),
            cache_written: self.cache_written.max(other.cache_written),
            cache_written_hour: self.cache_written_hour.max(other.cache_written_hour),
            output: self.output.max(other.output),
            seconds: self.seconds.max(other.seconds),
        }
    }
}

/// What an event of a stream means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sense {
    /// Comes before or between content, and says nothing by itself.
    Opening,
    /// Something that the client may already have shown to a person.
    Content,
    /// Why the answer ends, or what comes after that.
    Closing,
    /// The answer is whole.
    End,
    /// Says nothing at all: a sign of life.
    Idle,
    /// From here on another provider speaks. No bytes.
    Moved(Arc<str>),
    /// The stream broke; these bytes say so to the client. Nothing follows.
    Failed(&'static str),
}

/// One event of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// As it goes over the wire, with the blank line that ends it.
    pub bytes: Bytes,
    /// What it means.
    pub sense: Sense,
    /// The usage so far, if it says so.
    pub usage: Option<Usage>,
}

impl Frame {
    /// An event without usage.
    pub const fn new(bytes: Bytes, sense: Sense) -> Self {
        Self { bytes, sense, usage: None }
    }
}

/// A stream's events. The last is [`Sense::End`] or [`Sense::Failed`]. Dropped before that,
/// the call upstream is cancelled.
pub type Frames = Pin<Box<dyn Stream<Item = Frame> + Send>>;

/// The body of an answer.
pub enum Body {
    /// At once.
    Whole(Bytes),
    /// As it comes.
    Stream(Frames),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Whole(bytes) => write!(f, "Whole({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
        }
    }
}

/// What the cache did for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// The same question was answered before, or is being answered to somebody else.
    Hit,
    /// The same question in other words was.
    Similar,
    /// It was not.
    Miss,
    /// Nobody looked.
    Bypass,
}

impl CacheResult {
    /// As headers and records have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Similar => "similar",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
        }
    }
}

/// What an answer is instead of one of the route's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Degraded {
    /// An earlier one.
    Cached,
    /// A text of the operator's.
    Template,
    /// Made here.
    Simplified,
}

impl Degraded {
    /// As headers and records have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Template => "template",
            Self::Simplified => "simplified",
        }
    }
}

/// Where an answer came from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// The route it took.
    pub route: Arc<str>,
    /// Who answered.
    pub provider: Arc<str>,
    /// The model that the provider was asked for.
    pub model: Arc<str>,
    /// Calls upstream, with the one that succeeded.
    pub attempts: u32,
    /// Those that did not.
    pub tried: Vec<Tried>,
    /// The tokens of a whole answer; those of a stream are in its frames.
    pub usage: Option<Usage>,
    /// What a whole answer cost, if that is known; what a stream costs is in its record.
    pub cost: Option<Usd>,
    /// How long it waited for a place.
    pub queued: Duration,
    /// What the cache did.
    pub cache: Option<CacheResult>,
    /// It was recorded as a step of a run before, and nobody was asked now.
    pub recorded: bool,
    /// What it is instead of an answer of the route's.
    pub degraded: Option<Degraded>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    /// The body.
    pub body: Body,
    /// Where it came from.
    pub about: About,
}
