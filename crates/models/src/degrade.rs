//! What is answered when nobody could be asked.
//!
//! 1. What was answered before to the same question, or to the same in other words, even if
//!    it is past its time (`cached`).
//! 2. A text that the operator wrote for this operation and persona (`template`).
//! 3. What the `local` provider makes of it (`simplified`), if that is wanted.
//! 4. The error, with a support id.
//!
//! A degraded answer is a proper one of the API and the mode that were asked for, says what
//! it is, and is never kept. What would do harm is not made up: no text for a call that must
//! have JSON or a tool call or several choices, and no embeddings, which mean nothing beside
//! those of another model. What is the client's own fault stays its error.
//!
//! How bad things are is measured, not remembered: of the calls of the last window that went
//! to a route, none, some or all found no provider that works; those without a place, and those
//! that a limit kept out, do not count. So it recovers by itself, with the first call
//! that is answered, and completely when the window is over.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::{StreamExt as _, future};
use http::StatusCode;
use serde::Serialize;
use steadfast_core::{Fault, World};
use steadfast_resilience::Deadline;

use crate::{
    Answer, Call, Operation, Rejected,
    answer::{About, Body, Degraded},
    cache::{Cache, Miss},
    config::{DegradeConfig, TemplateConfig},
    failure::Tried,
    providers::{Local, Order, Provider as _, Reply},
};

/// How many calls find nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// None.
    None,
    /// Some.
    Partial,
    /// All of them.
    Full,
}

/// What is answered instead.
pub(crate) struct Degrade {
    config: DegradeConfig,
    local: Local,
    calls: Arc<Mutex<Calls>>,
    world: World,
}

/// Calls of the last window.
#[derive(Debug)]
struct Calls {
    /// Half of the window.
    length: Duration,
    /// This half, and the one before it.
    halves: [Half; 2],
}

/// Calls of half a window.
#[derive(Debug, Clone, Copy, Default)]
struct Half {
    number: u64,
    answered: u64,
    failed: u64,
}

impl Degrade {
    pub(crate) fn new(config: &DegradeConfig, world: &World) -> Self {
        Self {
            config: config.clone(),
            local: Local::new(world),
            calls: Arc::new(Mutex::new(Calls {
                length: config.window.get() / 2,
                halves: Default::default(),
            })),
            world: world.clone(),
        }
    }
    /// The same under another configuration. How bad things are does not change by it.
    pub(crate) fn reloaded(&self, config: &DegradeConfig) -> Self {
        let mut calls = self.now();
        let length = config.window.get() / 2;
        if calls.length != length {
            let [this, before] = calls.halves;
            let (answered, failed) = (this.answered + before.answered, this.failed + before.failed);
            let all = Half { number: self.number(length), answered, failed };
            *calls = Calls { length, halves: [all, Half::default()] };
        }
        drop(calls);
        Self {
            config: config.clone(),
            local: Local::new(&self.world),
            calls: self.calls.clone(),
            world: self.world.clone(),
        }
    }
    /// How bad things are.
    pub(crate) fn level(&self) -> Degradation {
        let halves = self.now().halves;
        let (answered, failed) =
            halves.iter().fold((0, 0), |sum, half| (sum.0 + half.answered, sum.1 + half.failed));
        match (answered, failed) {
            (_, 0) => Degradation::None,
            (0, _) => Degradation::Full,
            _ => Degradation::Partial,
        }
    }
    /// A route answered a call, or it found nobody.
    pub(crate) fn note(&self, answered: bool) {
        let mut calls = self.now();
        let [half, _] = &mut calls.halves;
        half.answered += u64::from(answered);
        half.failed += u64::from(!answered);
    }
    /// Which half of a window it is, if halves are so long.
    fn number(&self, length: Duration) -> u64 {
        let number = self.world.clock().elapsed().as_nanos() / length.as_nanos().max(1);
        u64::try_from(number).unwrap_or(u64::MAX)
    }
    /// Both halves, after those that are over were taken out.
    fn now(&self) -> MutexGuard<'_, Calls> {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        let number = self.number(calls.length);
        let [this, before] = calls.halves;
        if this.number != number {
            let next = Half { number, ..Half::default() };
            calls.halves = if this.number + 1 == number { [next, this] } else { [next, Half::default()] };
        } else if before.number + 1 != number {
            calls.halves[1] = Half::default();
        }
        calls
    }
    /// An answer to a call that found nobody, or `rejected` again.
    pub(crate) async fn answer(
        &self,
        call: &Arc<Call>,
        rejected: Rejected,
        miss: Miss,
        cache: &Cache,
    ) -> Result<Answer, Rejected> {
        if rejected.failure.fault == Fault::Caller {
            return Err(rejected);
        }
        // No room, no time or no money left says nothing about providers.
        if rejected.about.tried.iter().any(Tried::in_trouble) {
            self.note(false);
        }
        if !self.config.enabled {
            return Err(rejected);
        }
        let (mut answer, degraded) = match cache.last_resort(&miss) {
            Some(answer) => (answer, Degraded::Cached),
            None => match self.text(call).await {
                Some((body, degraded)) => {
                    (Answer { status: StatusCode::OK, body, about: About::default() }, degraded)
                }
                None => return Err(rejected),
            },
        };
        let about = &mut answer.about;
        about.degraded = Some(degraded);
        about.cache = about.cache.or(Some(miss.result()));
        about.route = rejected.about.route;
        about.attempts = rejected.about.attempts;
        about.tried = rejected.about.tried;
        Ok(answer)
    }
    /// A text of the operator's, or one that is made here.
    async fn text(&self, call: &Arc<Call>) -> Option<(Body, Degraded)> {
        let asked = &call.asked;
        let plain = !asked.json && !asked.must_call && asked.choices == 1;
        if !matches!(call.operation, Operation::Chat | Operation::Messages) || !plain {
            return None;
        }
        if let Some(template) = self.template(call) {
            let reply = self.local.say(call, template.text.clone()).ok()?;
            return Some((body(reply), Degraded::Template));
        }
        if !self.config.simplified || asked.tools {
            return None;
        }
        let deadline = Deadline::after(&self.world, Duration::from_secs(1));
        let order = Order { call, model: &call.asked.model, so_far: None, deadline: &deadline };
        let reply = self.local.ask(order).await.ok()?;
        Some((body(reply), Degraded::Simplified))
    }
    /// Of those that fit, the one that says most about when it is for.
    fn template(&self, call: &Call) -> Option<&TemplateConfig> {
        let persona = call.options.persona.as_deref().unwrap_or_default();
        let fits = |template: &&TemplateConfig| {
            (template.operation.is_empty() || template.operation == call.operation.name())
                && (template.persona.is_empty() || template.persona == persona)
        };
        let fitting = self.config.templates.iter().filter(fits);
        // The last of equals wins in `max_by_key`: the other way round, the first.
        fitting.rev().max_by_key(|it| (!it.persona.is_empty(), !it.operation.is_empty()))
    }
}

fn body(reply: Reply) -> Body {
    match reply {
        Reply::Whole(bytes, _) => Body::Whole(bytes),
        // What is made here does not fail on its way.
        Reply::Stream(events) => Body::Stream(Box::pin(events.filter_map(|event| future::ready(event.ok())))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_follows_the_calls_of_the_last_window_and_recovers_by_itself() {
        let (world, clock) = World::manual(1);
        let degrade = Degrade::new(&DegradeConfig::default(), &world);
        let note = |all: &[bool]| all.iter().for_each(|answered| degrade.note(*answered));
        assert_eq!(degrade.level(), Degradation::None);
        note(&[false, false]);
        assert_eq!(degrade.level(), Degradation::Full);
        note(&[true]);
        assert_eq!(degrade.level(), Degradation::Partial);
        clock.advance(Duration::from_secs(31));
        assert_eq!(degrade.level(), Degradation::Partial, "it is within the window");
        note(&[true]);
        clock.advance(Duration::from_secs(30));
        assert_eq!(degrade.level(), Degradation::None);
        note(&[false]);
        assert_eq!(degrade.level(), Degradation::Partial);
        clock.advance(Duration::from_secs(3_600));
        assert_eq!(degrade.level(), Degradation::None, "nobody asked, nobody failed");
    }

    #[test]
    fn the_level_is_none_of_the_configurations() {
        let (world, clock) = World::manual(1);
        let window = |seconds| DegradeConfig {
            window: Duration::from_secs(seconds).into(),
            ..DegradeConfig::default()
        };
        let degrade = Degrade::new(&window(60), &world);
        clock.advance(Duration::from_secs(45));
        degrade.note(false);
        let (same, longer) = (degrade.reloaded(&window(60)), degrade.reloaded(&window(600)));
        for it in [&degrade, &same, &longer] {
            assert_eq!(it.level(), Degradation::Full);
        }
        // Calls that began before count too.
        degrade.note(true);
        assert_eq!(longer.level(), Degradation::Partial);
        clock.advance(Duration::from_secs(200));
        assert_eq!(longer.level(), Degradation::Partial, "its window is longer now");
        clock.advance(Duration::from_secs(600));
        assert_eq!(longer.level(), Degradation::None);
    }
}
