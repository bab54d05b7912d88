//! One key in use: what its calls may do, and how many of them.

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc, time::Duration};

use http::StatusCode;
use steadfast_core::{Failure, Time};
use steadfast_resilience::{Error as Limited, RateLimit, RateLimitConfig, Site, with_retry_after};

use super::KeyRequest;
use crate::{
    Caller,
    answer::Usage,
    budget::{
        ledger::Claim,
        rules::{About, Rule},
    },
    call::Call,
    config::{LimitConfig, Per},
    rejected::Rejected,
};

/// Tokens an answer is taken to have where nobody says how long it may be.
const OUTPUT_GUESS: u64 = 512;

/// One key, ready for use.
pub(crate) struct Key {
    pub(super) id: Arc<str>,
    pub(super) created: Time,
    pub(super) request: KeyRequest,
    labels: Arc<str>,
    requests: Option<RateLimit>,
    tokens: Option<RateLimit>,
    budget: Option<Rule>,
    revoked: bool,
}

impl Key {
    pub(super) fn new(id: Arc<str>, created: Time, request: KeyRequest, revoked: bool, site: &Site) -> Self {
        let limit = |most: NonZeroU32| {
            let per = Duration::from_secs(60).into();
            let config = RateLimitConfig {
                enabled: true,
                permits: most,
                per,
                burst: most,
                wait: Duration::ZERO.into(),
            };
            RateLimit::new(&config, site.clone())
        };
        let labels: Vec<_> = request.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let budget = request.budget.map(|of| {
            let config = LimitConfig {
                limit: of.limit,
                window: of.window,
                per: Per::Key,
                named: false,
                tenants: Vec::new(),
                users: Vec::new(),
                keys: vec![id.to_string()],
                routes: Vec::new(),
            };
            Rule::new("key", config)
        });
        Self {
            requests: request.requests_per_minute.map(limit),
            tokens: request.tokens_per_minute.map(limit),
            labels: labels.join(",").into(),
            id,
            created,
            request,
            budget,
            revoked,
        }
    }
    pub(super) fn state(&self, now: Time) -> &'static str {
        match self.request.expires {
            _ if self.revoked => "revoked",
            Some(at) if at <= now => "expired",
            _ => "active",
        }
    }
    pub(super) fn caller(&self) -> Caller {
        let request = &self.request;
        Caller { tenant: request.tenant.clone(), user: request.user.clone(), key: Some(self.id.clone()) }
    }
    /// What its budget says of a call.
    pub(crate) fn claim(&self, about: &About<'_>) -> Option<Claim> {
        self.budget.as_ref()?.claim(about)
    }
    /// Its labels, and those of the call that it does not have.
    pub(crate) fn labels(&self, own: Option<&Arc<str>>) -> Arc<str> {
        let Some(own) = own.filter(|_| !self.labels.is_empty()) else {
            return own.unwrap_or(&self.labels).clone();
        };
        let mut all: BTreeMap<&str, &str> = own.split(',').filter_map(|it| it.split_once('=')).collect();
        all.extend(self.labels.split(',').filter_map(|it| it.split_once('=')));
        let all: Vec<_> = all.iter().map(|(name, value)| format!("{name}={value}")).collect();
        all.join(",").into()
    }
    /// May it be used on that route?
    pub(crate) fn may_use(&self, route: &str) -> bool {
        let routes = &self.request.routes;
        routes.is_empty() || routes.iter().any(|it| it == route)
    }
    /// Lets a call through. What it takes of tokens is settled when what is returned is.
    pub(crate) fn admit(self: &Arc<Self>, call: &Call, route: &str) -> Result<Taken, Rejected> {
        if !self.may_use(route) {
            let message = format!("this key may not use route {route:?}");
            let failure = Failure::refused("key.route_not_allowed", message);
            return Err(Rejected::new(failure, StatusCode::FORBIDDEN));
        }
        let limited = |error: Limited| {
            let wait = match error {
                Limited::Limited { retry_after, .. } => retry_after,
                _ => Duration::from_secs(1),
            };
            let failure =
                Failure::refused("key.rate_limited", "this key has no more calls or tokens this minute");
            Rejected::new(with_retry_after(failure.retryable(), wait), StatusCode::TOO_MANY_REQUESTS)
        };
        if let Some(requests) = &self.requests {
            requests.try_take(1).map_err(limited)?;
        }
        let mut taken = Taken { key: self.clone(), tokens: 0 };
        if let Some(tokens) = &self.tokens {
            let most = call.input_estimate().saturating_add(call.asked.output_max.unwrap_or(OUTPUT_GUESS));
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            taken.tokens = tokens.try_take(most).map_err(|error| {
                // It is not made, so it does not count.
                if let Some(requests) = &self.requests {
                    requests.refund(1);
                }
                limited(error)
            })?;
        }
        Ok(taken)
    }
}

/// Tokens that a call took of its key's.
pub(crate) struct Taken {
    key: Arc<Key>,
    tokens: u32,
}

impl Taken {
    /// It used so many.
    pub(crate) fn settle(self, usage: Usage) {
        let Some(limit) = self.key.tokens.as_ref().filter(|_| self.tokens > 0) else { return };
        let used = u32::try_from(usage.total()).unwrap_or(u32::MAX);
        if used < self.tokens {
            limit.refund(self.tokens - used);
        } else {
            limit.charge(used - self.tokens);
        }
    }
}
