//! What is kept about every call: its bill, its record, its figures.
//!
//! A call gets an [`Entry`] when it comes in. Whatever happens then, the entry is closed once:
//! with the answer, with the end of its stream, with what refused it, or, dropped before any of
//! these, because the client left.

mod entry;
mod refused;

use std::{path::Path, sync::Arc};

use http::StatusCode;
use serde::Serialize;
use steadfast_core::{Failure, World, observe::Observer};

pub(crate) use entry::Entry;
pub(crate) use refused::unaffordable;

use crate::{
    budget::{
        ledger::{AccountId, Ledger},
        prices::{Price, Prices},
        rules::{self, Rule},
    },
    call::Call,
    config::ModelsConfig,
    record::{Bill, Opening, RecordError, Recorder},
    rejected::Rejected,
    usd::Usd,
    vitals::Vitals,
};

/// One that a call may be sent to.
pub(crate) struct Prospect<'a> {
    pub(crate) provider: &'a Arc<str>,
    pub(crate) local: bool,
    pub(crate) model: &'a str,
}

/// All books.
pub(crate) struct Books {
    prices: Arc<Prices>,
    rules: Arc<[Rule]>,
    ledger: Arc<Ledger>,
    recorder: Option<Arc<Recorder>>,
    config: ModelsConfig,
    pub(crate) vitals: Arc<Vitals>,
    world: World,
    observer: Arc<dyn Observer>,
}

impl Books {
    /// Books that nothing is written down of.
    pub(crate) fn new(config: &ModelsConfig, world: &World, observer: &Arc<dyn Observer>) -> Self {
        Self {
            prices: Arc::new(Prices::new(config)),
            rules: rules::rules(&config.budget),
            ledger: Arc::new(Ledger::in_memory()),
            recorder: None,
            config: config.clone(),
            vitals: Arc::new(Vitals::new(world)),
            world: world.clone(),
            observer: observer.clone(),
        }
    }
    /// The same, kept in a file.
    pub(crate) fn kept(mut self, file: &Path) -> Result<Self, RecordError> {
        let ahead = self.config.budget.booked.get();
        let (rules, records) = (self.rules.clone(), &self.config.records);
        let ledger = |wake: Box<dyn Fn() + Send + Sync>| Arc::new(Ledger::kept(ahead, wake));
        let (recorder, ledger) = Recorder::start(file, records, rules, &self.world, ledger)?;
        (self.ledger, self.recorder) = (ledger, Some(Arc::new(recorder)));
        Ok(self)
    }
    /// The same books under another configuration. How much is booked ahead, and when records
    /// are forgotten, stays as it is until the next start.
    pub(crate) fn reloaded(&self, config: &ModelsConfig) -> Self {
        let rules = rules::rules(&config.budget);
        if let Some(recorder) = &self.recorder {
            recorder.ruled_by(rules.clone());
            self.ledger.ruled_by(|id| rules::in_force(&rules, id));
        }
        Self {
            prices: Arc::new(Prices::new(config)),
            rules,
            ledger: self.ledger.clone(),
            recorder: self.recorder.clone(),
            config: config.clone(),
            vitals: self.vitals.clone(),
            world: self.world.clone(),
            observer: self.observer.clone(),
        }
    }
    /// What `provider` takes for `model`.
    fn price(&self, of: &Prospect<'_>) -> Option<Price> {
        self.prices.find(of.provider, of.local, of.model)
    }
    /// A call comes in.
    pub(crate) fn open(self: &Arc<Self>, call: &Call, route: Option<&Arc<str>>) -> Entry {
        let opening = Opening {
            n: self.recorder.as_ref().map_or(0, |recorder| recorder.number()),
            begun: self.world.now(),
            labels: call.options.labels.clone().unwrap_or_default(),
            route: route.cloned().unwrap_or_default(),
        };
        let bill = Arc::new(Bill::new(call, opening, &self.prices, &self.world));
        if let Some(recorder) = &self.recorder {
            recorder.opened(&bill);
        }
        Entry::new(self.clone(), bill, call.operation)
    }
    fn check_name(&self, call: &Call) -> Result<(), Rejected> {
        let Some(name) = &call.options.budget else { return Ok(()) };
        if self.rules.iter().any(|rule| rule.name() == name) {
            return Ok(());
        }
        let name = steadfast_core::shown(name, 64);
        let message = format!("there is no budget {name:?}: add [models.budget.limits.{name:?}] to have one");
        let rejected = Rejected::new(Failure::refused("budget.unknown", message), StatusCode::BAD_REQUEST);
        Err(Rejected { param: Some("x-steadfast-budget".into()), ..rejected })
    }
    /// Writes down all that has ended. False if that cannot be.
    pub(crate) async fn flush(&self) -> bool {
        match &self.recorder {
            Some(recorder) => recorder.flush().await,
            None => true,
        }
    }
    /// How all accounts of limits stand that were used of late.
    pub(crate) fn spending(&self) -> Vec<Spending> {
        let of = |(id, spent, reserved): (AccountId, Usd, Usd)| Spending {
            budget: id.rule.split(' ').next().unwrap_or_default().into(),
            of: id.value,
            spent,
            reserved,
        };
        self.ledger.standing().into_iter().map(of).collect()
    }
    /// Calls whose records the disk did not take.
    pub(crate) fn lost(&self) -> u64 {
        self.recorder.as_ref().map_or(0, |recorder| recorder.lost())
    }
}

/// How an account of a limit stands, in the present window or one that calls are open of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Spending {
    /// The limit.
    pub budget: String,
    /// Whose account. Users, keys and runs stand after their tenant: `acme/ana`, or `acme/` for
    /// those without a name.
    pub of: Arc<str>,
    /// What was spent.
    pub spent: Usd,
    /// What calls under way may cost.
    pub reserved: Usd,
}
