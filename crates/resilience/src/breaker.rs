//! A breaker stops calling what does not work, and finds out by itself when it does again.
//!
//! **Closed**, calls pass and are judged. Two signals open it, as each misses what the
//! other sees: so many failures *in a row* (it is down: seen within a few calls), and a
//! *rate* of failures over a sliding window (it is sick: half the calls fail, never five in
//! a row). The rate counts only once the window holds `min_calls`, so one failure in a
//! quiet night is not 100 %.
//!
//! **Open**, calls are refused at once for `open`. Then it is **probing**: one call at a
//! time goes through. `successes` of them in a row close the breaker with a clean slate;
//! one failure opens it for another `open`. A probe that is dropped unjudged makes room
//! for the next one.
//!
//! A failure means that the callee is unwell. An answer that blames the caller (not found,
//! invalid) is a success. Calls that started before the last change of state do not count:
//! they say how it was, not how it is. Time is the monotonic clock's. State is kept in this
//! process: each node finds out by itself, and a restart begins closed.

use std::{
    collections::VecDeque,
    num::NonZeroU32,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use steadfast_core::{
    config::{Period, Share, positive},
    defaults,
    observe::Signal,
};

use crate::{Error, Site};

/// When a breaker opens and closes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerConfig {
    /// Whether there is a breaker at all.
    pub enabled: bool,
    /// Failures in a row that open it.
    pub failures: NonZeroU32,
    /// The time over which the failure rate is measured.
    #[serde(deserialize_with = "positive")]
    pub window: Period,
    /// Calls within the window before the rate counts.
    pub min_calls: NonZeroU32,
    /// The failure rate that opens it.
    pub rate: Share,
    /// How long it stays open before a probe.
    #[serde(deserialize_with = "positive")]
    pub open: Period,
    /// Successful probes in a row that close it.
    pub successes: NonZeroU32,
}

const fn count(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

impl BreakerConfig {
    /// For an action group: it opens sooner and stays open longer, as actions have effects.
    pub fn action_group() -> Self {
        Self {
            failures: count(defaults::ACTION_GROUP_FAILURES),
            open: defaults::ACTION_GROUP_OPEN.into(),
            ..Self::default()
        }
    }
}

impl Default for BreakerConfig {
    fn default() -> Self {
        const RATE: Share = match Share::new(defaults::BREAKER_RATE) {
            Ok(rate) => rate,
            Err(_) => panic!("the default is a share"),
        };
        Self {
            enabled: true,
            failures: count(defaults::BREAKER_FAILURES),
            window: defaults::BREAKER_WINDOW.into(),
            min_calls: count(defaults::BREAKER_MIN_CALLS),
            rate: RATE,
            open: defaults::BREAKER_OPEN.into(),
            successes: count(defaults::BREAKER_SUCCESSES),
        }
    }
}

/// A breaker as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BreakerState {
    /// The policy it belongs to.
    pub name: String,
    /// `closed`, `open` or `probing`.
    pub state: String,
    /// Failures since the last success.
    pub failures_in_a_row: u32,
    /// Calls judged within the window.
    pub calls: u32,
    /// Those that failed.
    pub failures: u32,
    /// Milliseconds until a probe is let through, if it is open.
    pub retry_after_ms: Option<u64>,
}

enum Phase {
    Closed,
    Open { until: Duration },
    Probing { under_way: bool, successes: u32 },
}

impl Phase {
    const fn name(&self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
            Self::Probing { .. } => "probing",
        }
    }
}

/// The window slides in steps of this part of it.
const SLOTS: u32 = 10;

struct State {
    phase: Phase,
    /// Grows with every change of phase.
    era: u64,
    in_a_row: u32,
    /// (slot number, calls, failures), oldest first.
    slots: VecDeque<(u128, u32, u32)>,
}

impl State {
    /// Forgets what was counted.
    fn clear(&mut self) {
        self.in_a_row = 0;
        self.slots.clear();
    }
}

/// See the top of this file.
pub struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
    site: Site,
}

impl Breaker {
    /// A closed one.
    pub fn new(config: BreakerConfig, site: Site) -> Self {
        let state = State { phase: Phase::Closed, era: 0, in_a_row: 0, slots: VecDeque::new() };
        Self { config, state: Mutex::new(state), site }
    }
    /// Lets a call through; judge it with the permit.
    pub fn admit(&self) -> Result<Permit<'_>, Error> {
        let now = self.now();
        let mut state = self.lock();
        let refuse = |retry_after| Error::Open { name: self.site.name.clone(), retry_after };
        let refused = match &mut state.phase {
            Phase::Closed => None,
            Phase::Open { until } if now < *until => Some(refuse(Some(until.saturating_sub(now)))),
            Phase::Open { .. } => {
                self.change(&mut state, Phase::Probing { under_way: true, successes: 0 });
                None
            }
            Phase::Probing { under_way, .. } => std::mem::replace(under_way, true).then(|| refuse(None)),
        };
        let era = state.era;
        drop(state);
        match refused {
            None => Ok(Permit { breaker: self, era, judged: false }),
            Some(error) => Err(self.site.reject(error)),
        }
    }
    /// Counts a failure of a call that was judged well too soon: a stream whose beginning
    /// came in good order, and which then broke.
    pub fn broke(&self) {
        let era = self.lock().era;
        self.judge(era, false);
    }
    /// Closes it with a clean slate, whatever was.
    pub fn reset(&self) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Closed) {
            // Nothing changes for anybody but what was counted so far.
            state.clear();
            state.era += 1;
        } else {
            self.change(&mut state, Phase::Closed);
        }
    }
    /// How it stands.
    pub fn state(&self) -> BreakerState {
        let now = self.now();
        let mut state = self.lock();
        let (calls, failures) = self.window(&mut state);
        let millis = |left: Duration| u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        BreakerState {
            name: self.site.name.to_string(),
            state: state.phase.name().into(),
            failures_in_a_row: state.in_a_row,
            calls,
            failures,
            retry_after_ms: match state.phase {
                Phase::Open { until } => Some(millis(until.saturating_sub(now))),
                Phase::Closed | Phase::Probing { .. } => None,
            },
        }
    }
    fn judge(&self, era: u64, well: bool) {
        let mut state = self.lock();
        if era != state.era {
            return;
        }
        let opened = Phase::Open { until: self.now() + self.config.open.get() };
        match &mut state.phase {
            Phase::Open { .. } => {}
            Phase::Probing { .. } if !well => self.change(&mut state, opened),
            Phase::Probing { under_way, successes } => {
                *under_way = false;
                *successes += 1;
                if *successes >= self.config.successes.get() {
                    self.change(&mut state, Phase::Closed);
                }
            }
            Phase::Closed => {
                self.count(&mut state, well);
                let (calls, failures) = self.window(&mut state);
                let sick = calls >= self.config.min_calls.get()
                    && f64::from(failures) >= self.config.rate.get() * f64::from(calls);
                if !well && (sick || state.in_a_row >= self.config.failures.get()) {
                    self.change(&mut state, opened);
                }
            }
        }
    }
    fn count(&self, state: &mut State, well: bool) {
        let slot = self.slot();
        if state.slots.back().is_none_or(|last| last.0 != slot) {
            state.slots.push_back((slot, 0, 0));
        }
        if let Some((_, calls, failures)) = state.slots.back_mut() {
            *calls = calls.saturating_add(1);
            *failures = failures.saturating_add(u32::from(!well));
        }
        state.in_a_row = if well { 0 } else { state.in_a_row.saturating_add(1) };
    }
    /// Calls and failures within the window; what is older is forgotten.
    fn window(&self, state: &mut State) -> (u32, u32) {
        let oldest = (self.slot() + 1).saturating_sub(SLOTS.into());
        state.slots.retain(|slot| slot.0 >= oldest);
        let sum = |sum: (u32, u32), slot: &(u128, u32, u32)| {
            (sum.0.saturating_add(slot.1), sum.1.saturating_add(slot.2))
        };
        state.slots.iter().fold((0, 0), sum)
    }
    fn change(&self, state: &mut State, phase: Phase) {
        if matches!(phase, Phase::Closed) {
            state.clear();
        }
        let name = phase.name();
        match phase {
            Phase::Open { .. } if !matches!(state.phase, Phase::Probing { .. }) => {
                tracing::warn!(policy = %self.site.name, "a breaker opened: what it guards is left alone");
            }
            Phase::Closed => tracing::info!(policy = %self.site.name, "a breaker closed"),
            _ => {}
        }
        state.phase = phase;
        state.era += 1;
        self.site.observer.observe(Signal::Breaker { name: &self.site.name, state: name });
    }
    fn slot(&self) -> u128 {
        self.now().as_nanos() / (self.config.window.get() / SLOTS).as_nanos().max(1)
    }
    fn now(&self) -> Duration {
        self.site.world.clock().elapsed()
    }
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call that was let through. Dropped unjudged, it says nothing about the callee.
#[must_use = "judge the call, or the breaker learns nothing"]
pub struct Permit<'a> {
    breaker: &'a Breaker,
    era: u64,
    judged: bool,
}

impl Permit<'_> {
    /// The callee is well, whatever it answered.
    pub fn well(mut self) {
        self.judged = true;
        self.breaker.judge(self.era, true);
    }
    /// The callee is unwell.
    pub fn unwell(mut self) {
        self.judged = true;
        self.breaker.judge(self.era, false);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if !self.judged {
            let mut state = self.breaker.lock();
            if self.era == state.era
                && let Phase::Probing { under_way, .. } = &mut state.phase
            {
                *under_way = false;
            }
        }
    }
}

#[cfg(test)]
mod tests;
