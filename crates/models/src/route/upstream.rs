//! One provider as routes see it: what it stands behind, and what its answers say about it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use steadfast_core::{
    World,
    config::{Environment, SecretSource},
    observe::Observer,
    secret::Secret,
};
use steadfast_resilience::{Breaker, BreakerState, Deadline, Error, Permit, RateLimit, Site};

use super::busy::Busy;
use crate::{
    answer::{Frame, Sense, Usage},
    books::unaffordable,
    call::Call,
    config::{Kind, ProviderConfig, TimeoutConfig},
    failure::{Class, Failed, Wait},
    providers::{Events, Order, Patience, Provider, ProviderError, Reply, provider},
    record::{Attempt, Bill},
    wire::cut,
};

/// How long a provider that is too busy, and does not say for how long, is left alone while
/// there are others.
const BUSY: Duration = Duration::from_secs(1);
/// Events before the first content of a stream, but for signs of life. More than that is no
/// beginning.
const OPENING_MAX: usize = 1_000;
/// Bytes around the text so far, when somebody is asked to go on with it.
const AROUND: usize = 400;
/// Tokens an answer is taken to have where nobody says how long it may be.
const OUTPUT_GUESS: u64 = 512;

/// What the names of providers' breakers and limits begin with, where policies of other parts
/// of the node are listed too.
pub(super) const SITE: &str = "models.";

/// The secrets that it is called with.
fn secrets(
    name: &str,
    config: &ProviderConfig,
    env: &Environment,
) -> Result<Vec<Secret<String>>, ProviderError> {
    let read = |(field, source): (&'static str, &SecretSource)| {
        source.read(env).map_err(|error| ProviderError::Key(name.into(), field, error))
    };
    config.secrets().map(read).collect()
}

/// One provider, and what protects it.
pub(super) struct Upstream {
    name: Arc<str>,
    /// What it was made from, the secrets as they then were.
    config: ProviderConfig,
    secrets: Vec<Secret<String>>,
    provider: Box<dyn Provider>,
    timeouts: TimeoutConfig,
    breaker: Option<Breaker>,
    requests: Option<RateLimit>,
    tokens: Option<RateLimit>,
    busy: Busy,
    world: World,
}

impl Upstream {
    pub(super) fn new(
        name: &str,
        config: &ProviderConfig,
        env: &Environment,
        world: &World,
        observer: &Arc<dyn Observer>,
    ) -> Result<Self, ProviderError> {
        let name: Arc<str> = name.into();
        let site_name: Arc<str> = format!("{SITE}{name}").into();
        let site = || Site::new(&site_name, world, observer);
        let config = config.or_usual(env);
        Ok(Self {
            // Read first: should the file change meanwhile, the next reload sees that it did.
            secrets: secrets(&name, &config, env)?,
            provider: provider(&name, &config, env, world)?,
            timeouts: config.timeouts.clone(),
            breaker: config.breaker.enabled.then(|| Breaker::new(config.breaker.clone(), site())),
            requests: config.requests.enabled.then(|| RateLimit::new(&config.requests, site())),
            tokens: config.tokens.enabled.then(|| RateLimit::new(&config.tokens, site())),
            busy: Busy::default(),
            world: world.clone(),
            config,
            name,
        })
    }
    pub(super) fn name(&self) -> &Arc<str> {
        &self.name
    }
    /// Does it cost nothing?
    pub(super) fn is_local(&self) -> bool {
        self.config.kind == Kind::Local
    }
    pub(super) fn config(&self) -> &ProviderConfig {
        &self.config
    }
    /// Would `config` make the very same one?
    pub(super) fn is_of(&self, name: &str, config: &ProviderConfig, env: &Environment) -> bool {
        let config = config.or_usual(env);
        *self.name == *name
            && self.config == config
            && secrets(&self.name, &config, env).is_ok_and(|secrets| secrets == self.secrets)
    }
    /// Asks it once, past everything that protects it, and counts nothing.
    pub(super) async fn probe(&self, call: &Call, model: &str, deadline: &Deadline) -> Result<(), Failed> {
        let limit = deadline.within(self.timeouts.total.get());
        self.provider.ask(Order { call, model, so_far: None, deadline: &limit }).await.map(drop)
    }
    /// Closes its breaker.
    pub(super) fn reset(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.reset();
        }
    }
    pub(super) fn breaker(&self) -> Option<BreakerState> {
        self.breaker.as_ref().map(Breaker::state)
    }
    /// Lets a call through, or says at once why not.
    pub(super) fn admit(self: &Arc<Self>, call: &Call, model: &str) -> Result<Admitted<'_>, Failed> {
        if let Some(left) = self.busy.left(model, self.world.clock().elapsed()) {
            let message = format!("provider {} is busy", self.name);
            return Err(Failed { retry_after: Some(left), ..Failed::new(Class::Limited, message) });
        }
        let refused = |error| match error {
            Error::Limited { retry_after, .. } => Failed {
                retry_after: Some(retry_after),
                ..Failed::new(Class::Limited, format!("the limit for provider {} is reached", self.name))
            },
            Error::Open { retry_after, .. } => Failed {
                retry_after,
                ..Failed::new(Class::Open, format!("provider {} does not work at present", self.name))
            },
            other => Failed::new(Class::Open, other.to_string()),
        };
        let mut hold = Hold { of: self.clone(), requests: 0, tokens: 0, begun: false, attempt: None };
        if let Some(limit) = &self.requests {
            limit.try_take(1).map_err(refused)?;
            hold.requests = 1;
        }
        if let Some(limit) = &self.tokens {
            let most = call.input_estimate().saturating_add(call.asked.output_max.unwrap_or(OUTPUT_GUESS));
            let most = u32::try_from(most).unwrap_or(u32::MAX);
            hold.tokens = limit.try_take(most).map_err(refused)?;
        }
        let permit = self.breaker.as_ref().map(Breaker::admit).transpose().map_err(refused)?;
        Ok(Admitted { upstream: self, permit, hold })
    }
    /// A stream broke after it had begun well.
    pub(super) fn broke(&self) {
        if let Some(breaker) = &self.breaker {
            breaker.broke();
        }
    }
}

/// What a call took from a provider's limits. Given back if it was never asked; settled
/// when it is known what it used.
pub(super) struct Hold {
    of: Arc<Upstream>,
    requests: u32,
    tokens: u32,
    /// Content came: tokens were used, if nobody knows how many.
    begun: bool,
    /// What it costs.
    attempt: Option<Attempt>,
}

impl Hold {
    /// One event of a stream.
    pub(super) fn saw(&mut self, frame: &Frame) {
        if let Some(attempt) = &mut self.attempt {
            attempt.saw(frame);
        }
    }
    /// A stream has ended well, and used so much.
    pub(super) fn end(&mut self, usage: Usage) {
        if let Some(attempt) = &mut self.attempt {
            attempt.done(Some(usage));
        }
        self.settle(usage);
    }
    /// It used so much.
    fn settle(&mut self, usage: Usage) {
        let taken = std::mem::take(&mut self.tokens);
        if let Some(limit) = self.of.tokens.as_ref().filter(|_| taken > 0) {
            let used = u32::try_from(usage.total()).unwrap_or(u32::MAX);
            if used < taken { limit.refund(taken - used) } else { limit.charge(used - taken) }
        }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if let Some(limit) = self.of.requests.as_ref().filter(|_| self.requests > 0) {
            limit.refund(self.requests);
        }
        if let Some(limit) = self.of.tokens.as_ref().filter(|_| self.tokens > 0 && !self.begun) {
            limit.refund(self.tokens);
        }
    }
}

/// What a provider began to answer.
enum Opened {
    Whole(Bytes, Option<Usage>),
    Stream(Vec<Frame>, Events, Patience),
}

/// What one attempt gave.
pub(super) enum Asked {
    /// A whole answer.
    Whole(Bytes, Option<Usage>),
    /// A stream with its first content.
    Stream(Box<Begun>),
}

/// A stream that has begun: its events up to the first content, and the rest.
pub(super) struct Begun {
    pub(super) opening: Vec<Frame>,
    pub(super) rest: Events,
    pub(super) patience: Patience,
    pub(super) hold: Hold,
}

/// A call that may be made.
pub(super) struct Admitted<'a> {
    upstream: &'a Arc<Upstream>,
    permit: Option<Permit<'a>>,
    hold: Hold,
}

impl Admitted<'_> {
    /// Makes it, and judges the provider by what comes of it.
    pub(super) async fn ask(
        mut self,
        call: &Call,
        bill: &Arc<Bill>,
        model: &Arc<str>,
        so_far: Option<&str>,
        deadline: &Deadline,
    ) -> Result<Asked, Failed> {
        let upstream = self.upstream;
        let limit =
            if call.asked.stream { deadline.clone() } else { deadline.within(upstream.timeouts.total.get()) };
        let order = Order { call, model, so_far, deadline: &limit };
        // What was said so far goes in once more, with words around it.
        let more = so_far.map_or(0, |text| u64::try_from(text.len() * 2 + AROUND).unwrap_or(u64::MAX));
        let attempt = bill.attempt(&upstream.name, upstream.is_local(), model, more).await;
        self.hold.attempt =
            Some(attempt.map_err(|refused| Failed::new(Class::Unaffordable, unaffordable(&refused)))?);
        self.hold.requests = 0;
        let opened = upstream.open(order, &mut self.hold).await;
        if let (Err(failed), Some(attempt)) = (&opened, &mut self.hold.attempt) {
            attempt.failed(failed.class, failed.used);
        }
        let mut asked = opened.map(|opened| match opened {
            Opened::Whole(bytes, usage) => Asked::Whole(bytes, usage),
            Opened::Stream(opening, rest, patience) => {
                Asked::Stream(Box::new(Begun { opening, rest, patience, hold: self.hold }))
            }
        });
        let unwell = match &mut asked {
            Ok(_) => Some(false),
            // The client had no patience left: that says nothing about the provider.
            Err(_) if deadline.is_over() => None,
            Err(failed) => {
                if failed.class == Class::Limited {
                    let wait = *failed.retry_after.get_or_insert(BUSY);
                    upstream.busy.leave(model, upstream.world.clock().elapsed(), wait);
                }
                failed.unwell()
            }
        };
        match (self.permit, unwell) {
            (Some(permit), Some(true)) => permit.unwell(),
            (Some(permit), Some(false)) => permit.well(),
            _ => {}
        }
        asked
    }
}

impl Upstream {
    async fn open(&self, order: Order<'_>, hold: &mut Hold) -> Result<Opened, Failed> {
        let first = self.timeouts.first.get();
        let mut patience = Patience::new(&self.world, Wait::FirstToken, first, order.deadline);
        let reply = if order.call.asked.stream {
            patience.wait(self.provider.ask(order)).await.map_err(|wait| self.late(wait))?
        } else {
            self.provider.ask(order).await
        };
        let mut rest = match reply? {
            Reply::Whole(bytes, usage) => {
                if let Some(attempt) = &mut hold.attempt {
                    attempt.whole(bytes.len(), usage);
                }
                hold.settle(usage.unwrap_or_default());
                return Ok(Opened::Whole(bytes, usage));
            }
            Reply::Stream(events) => events,
        };
        let mut opening = Vec::with_capacity(4);
        loop {
            let frame = match patience.wait(rest.next()).await {
                Ok(Some(frame)) => frame?,
                Ok(None) => return Err(cut()),
                Err(wait) => return Err(self.late(wait)),
            };
            if frame.sense == Sense::Idle {
                continue;
            }
            let begun = matches!(frame.sense, Sense::Content | Sense::Closing | Sense::End);
            opening.push(frame);
            if begun {
                patience.turn_to(Wait::NextToken, self.timeouts.between.get());
                hold.begun = true;
                return Ok(Opened::Stream(opening, rest, patience));
            }
            if opening.len() > OPENING_MAX {
                return Err(Failed::malformed(format!("provider {} begins without end", self.name)));
            }
        }
    }
    pub(super) fn late(&self, wait: Wait) -> Failed {
        let what = match wait {
            Wait::NextToken => "the stream stalled",
            Wait::Total => "the stream did not end in time",
            Wait::Connect | Wait::FirstByte | Wait::FirstToken => "no content came",
        };
        Failed::new(Class::Timeout(wait), format!("provider {}: {what}", self.name))
    }
}
