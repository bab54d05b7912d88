//! What can go wrong with a provider: one attempt, and what it says of the next.
//!
//! A class answers what routing asks: may another provider help, may the same one be asked
//! again, is it unwell.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::StatusCode;
use steadfast_core::Failure;
use steadfast_resilience::with_retry_after;

/// Which wait was too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// For a connection.
    Connect,
    /// For the head of the answer.
    FirstByte,
    /// For the first content of a stream.
    FirstToken,
    /// For the next event of a stream.
    NextToken,
    /// For the whole of it.
    Total,
}

/// How an attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// No connection: no such host, refused, or broken before the answer began.
    Connect,
    /// Too slow.
    Timeout(Wait),
    /// 429, or our own limit for this provider.
    Limited,
    /// 5xx and 408, or an error body under 200.
    Unwell,
    /// The answer broke off.
    Cut,
    /// Not the answer of such an API: not JSON, another content type, members missing.
    Malformed,
    /// The provider does not accept our key.
    Misconfigured,
    /// The provider does not have this model, or not for us. Clients name models: it says
    /// nothing about how well the provider is.
    NoModel,
    /// The provider cannot do what was asked for.
    Unsupported,
    /// The request is wrong: nobody would answer it.
    Refused,
    /// The breaker is open.
    Open,
    /// It could cost more than may be spent.
    Unaffordable,
}

impl Class {
    /// The code that the client, records and metrics see.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Connect => "provider.unreachable",
            Self::Timeout(Wait::Connect) => "provider.connect_timeout",
            Self::Timeout(Wait::FirstByte | Wait::FirstToken) => "provider.first_token_timeout",
            Self::Timeout(Wait::NextToken) => "provider.stalled",
            Self::Timeout(Wait::Total) => "provider.timeout",
            Self::Limited => "provider.rate_limited",
            Self::Unwell => "provider.error",
            Self::Cut => "provider.cut",
            Self::Malformed => "provider.malformed",
            Self::Misconfigured => "provider.misconfigured",
            Self::NoModel => "provider.no_such_model",
            Self::Unsupported => "provider.unsupported",
            Self::Refused => "provider.refused",
            Self::Open => "provider.open",
            Self::Unaffordable => "budget.exceeded",
        }
    }
    /// May another provider answer where this one did not?
    pub const fn fallback(self) -> bool {
        !matches!(self, Self::Refused)
    }
    /// May the same provider answer later?
    pub const fn retryable(self) -> bool {
        !matches!(
            self,
            Self::Refused | Self::Unsupported | Self::Misconfigured | Self::NoModel | Self::Unaffordable
        )
    }
    /// What the client is told if nobody else helped.
    pub(crate) const fn status(self) -> StatusCode {
        match self {
            Self::Timeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Self::Limited => StatusCode::TOO_MANY_REQUESTS,
            Self::Open | Self::Connect => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unwell | Self::Cut | Self::Malformed | Self::Misconfigured => StatusCode::BAD_GATEWAY,
            Self::Unsupported | Self::Refused => StatusCode::BAD_REQUEST,
            Self::NoModel => StatusCode::NOT_FOUND,
            Self::Unaffordable => StatusCode::PAYMENT_REQUIRED,
        }
    }
}

/// One attempt that failed.
#[derive(Debug, Clone, PartialEq)]
pub struct Failed {
    /// How.
    pub class: Class,
    /// The status that the provider answered with.
    pub status: Option<StatusCode>,
    /// When it wants to be asked again.
    pub retry_after: Option<Duration>,
    /// For people.
    pub message: String,
    /// What the provider said, in the shape of the API that was called.
    pub body: Option<Bytes>,
    /// Tokens in that it took all the same, for the part that it did.
    pub used: u64,
}

impl Failed {
    /// There was no time left.
    pub(crate) fn nobody_asked() -> Self {
        Self::new(Class::Timeout(Wait::Total), "the deadline passed before anybody was asked")
    }
    /// Without an answer.
    pub fn new(class: Class, message: impl Into<String>) -> Self {
        Self { class, status: None, retry_after: None, message: message.into(), body: None, used: 0 }
    }
    /// A provider that speaks, but not as its API does.
    pub(crate) fn malformed(what: impl Into<String>) -> Self {
        Self::new(Class::Malformed, what)
    }
    /// Something that has no counterpart in the provider's API.
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        Self::new(Class::Unsupported, what)
    }
    /// Does it say that the provider is unwell (`Some(true)`) or well, or nothing? A request
    /// that was refused before it was sent says nothing.
    pub(crate) fn unwell(&self) -> Option<bool> {
        match self.class {
            Class::Connect
            | Class::Timeout(_)
            | Class::Unwell
            | Class::Cut
            | Class::Malformed
            | Class::Misconfigured => Some(true),
            Class::Refused => self.status.map(|_| false),
            Class::Limited | Class::Unsupported | Class::NoModel | Class::Open | Class::Unaffordable => None,
        }
    }
    /// As what the policies deal with. Open breakers keep their own code, so that nobody
    /// waits for them.
    pub(crate) fn to_failure(&self) -> Failure {
        let code = if self.class == Class::Open { "resilience.open" } else { self.class.code() };
        let failure = Failure {
            retryable: self.class.retryable(),
            nothing_happened: !matches!(
                self.class,
                Class::Timeout(Wait::FirstByte | Wait::FirstToken | Wait::NextToken | Wait::Total)
                    | Class::Cut
                    | Class::Malformed
                    | Class::Unwell
            ),
            ..Failure::upstream(code, self.message.as_str())
        };
        match self.retry_after {
            Some(wait) => with_retry_after(failure, wait),
            None => failure,
        }
    }
}

/// A failed attempt, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Who.
    pub provider: Arc<str>,
    /// How it failed.
    pub class: Class,
    /// Was it really asked, or turned away before that?
    pub asked: bool,
}
