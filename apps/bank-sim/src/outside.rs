//! The world outside of the nodes: what actions do to it is noted, under the key they did it
//! with, and stays when nodes die.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use steadfast_bank::{
    Answer, Ask, Bank, Key, Op, ProductId, ReservationId,
    op::{ReservationAt, Reserve, Undo},
};
use steadfast_core::{Failure, NodeId, Principal, Role, RunId, TenantId, canonical::Hash};
use steadfast_engine::{Action, ActionOptions, Record, Recording, Registry, StepTask};
use steadfast_log::{Append, Claim, ClaimChange, Commit, CommitError, Expect, Log, NewEvent, StreamId};
use steadfast_sim::{Fault, Site};

use crate::node::Traces;

/// Something is done.
pub(crate) const DO: Action<Deed, u64> = Action::new("sim.do");
/// The same by the same name, answered in another shape by the code of before.
pub(crate) const COUNT: Action<Deed, Counted> = Action::new("sim.count");
/// It is undone.
pub(crate) const UNDO: Action<Deed, ()> = Action::new("sim.undo");
/// It is undone at times.
pub(crate) const RARELY_UNDO: Action<Deed, ()> = Action::new("sim.undo.rarely");
/// It works at times.
pub(crate) const RARELY_DO: Action<Deed, u64> = Action::new("sim.do.rarely");
/// Something is done that the code of before does not know.
pub(crate) const NEW: Action<Deed, u64> = Action::new("sim.new");
/// Something is done under a policy.
pub(crate) const GUARDED: Action<Deed, u64> = Action::new("sim.guarded");
/// What does it falls over.
pub(crate) const FALL_OVER: Action<Deed, u64> = Action::new("sim.fall_over");
/// It answers with as many bytes.
pub(crate) const TELL_MUCH: Action<usize, String> = Action::new("sim.tell_much");
/// An entry is written to a book on our own log.
pub(crate) const BOOK: Action<Deed, u64> = Action::new("sim.book");
/// Something is sold by hand, and taken back.
pub(crate) const SELL: Action<ProductId, ()> = Action::new("sim.sell");
pub(crate) const TAKE_BACK: Action<ProductId, ()> = Action::new("sim.take_back");

/// The category of books.
pub(crate) const BOOKS: &str = "book";
/// The policy of [`GUARDED`].
pub(crate) const POLICY: &str = "sim";

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deed {
    pub(crate) what: String,
    /// It is refused, for good.
    #[serde(default)]
    pub(crate) refused: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) padding: String,
}

impl Deed {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), refused: false, padding: String::new() }
    }
}

/// A result that has had two shapes: today's code reads both, the code of before only the
/// plain one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Counted {
    Plain(u64),
    Full { count: u64 },
}

/// Something that happened outside.
#[derive(Debug, Clone)]
pub(crate) struct Effect {
    pub(crate) run: RunId,
    pub(crate) generation: u32,
    pub(crate) step: String,
    pub(crate) key: String,
    /// It undoes what was done in the step.
    pub(crate) undoes: bool,
    pub(crate) what: String,
    /// How much of the log there was.
    pub(crate) tail: u64,
    /// When, by the time that really passes.
    pub(crate) at: Duration,
    /// Which engine did it.
    pub(crate) by: Option<NodeId>,
}

#[derive(Clone, Default)]
pub(crate) struct Outside(Arc<Mutex<Vec<Effect>>>);

impl Outside {
    fn lock(&self) -> MutexGuard<'_, Vec<Effect>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn effects(&self) -> Vec<Effect> {
        self.lock().clone()
    }
}

/// One node's hands.
#[derive(Clone)]
pub(crate) struct Hands {
    pub(crate) traces: Traces,
    pub(crate) site: Site,
    pub(crate) bank: Bank,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) me: Arc<OnceLock<NodeId>>,
}

impl Hands {
    async fn act(self, task: StepTask, deed: Deed) -> Result<u64, Failure> {
        let (clock, fate) = (self.site.world.clock(), &self.site.fate);
        clock.sleep(Duration::from_millis(fate.below(200))).await;
        if fate.strikes(Fault::ActionSlow) {
            clock.sleep(Duration::from_secs(45)).await;
        }
        if deed.refused && task.undoes.is_none() {
            return Err(Failure::refused("sim.refused", "this cannot be done"));
        }
        if fate.strikes(Fault::ActionFails) {
            return Err(Failure::upstream("sim.failed", "this did not work; try again"));
        }
        let effect = Effect {
            run: task.run,
            generation: task.generation,
            step: task.step.as_str().to_owned(),
            key: task.key.to_string(),
            undoes: task.undoes.is_some(),
            what: deed.what,
            tail: self.log.tail().borrow().n,
            at: clock.elapsed(),
            by: self.me.get().copied(),
        };
        let count = {
            let mut effects = self.traces.outside.lock();
            effects.push(effect);
            effects.len() as u64
        };
        if fate.strikes(Fault::ActionAnswerLost) {
            let lost = Failure::upstream("sim.answer_lost", "the answer was lost");
            return Err(Failure { nothing_happened: false, ..lost });
        }
        Ok(count)
    }

    /// As [`Self::act`], but for whoever has no luck.
    async fn rarely(self, task: StepTask, deed: Deed) -> Result<u64, Failure> {
        if self.site.fate.below(3) > 0 {
            return Err(Failure::internal("sim.broken", "this does not work at present"));
        }
        self.act(task, deed).await
    }

    async fn undo(self, task: StepTask, deed: Deed) -> Result<(), Failure> {
        self.act(task, deed).await.map(drop)
    }

    async fn rarely_undo(self, task: StepTask, deed: Deed) -> Result<(), Failure> {
        self.rarely(task, deed).await.map(drop)
    }

    async fn count(self, task: StepTask, deed: Deed) -> Result<Counted, Failure> {
        let old_code = self.site.old_code;
        let count = self.act(task, deed).await?;
        Ok(if old_code { Counted::Plain(count) } else { Counted::Full { count } })
    }

    async fn book(self, task: StepTask, deed: Deed, record: Record<u64>) -> Result<Recording, Failure> {
        if deed.refused {
            return Err(Failure::refused("sim.refused", "this cannot be booked"));
        }
        let outcome = Ok(deed.what.len() as u64);
        let claim =
            Claim { request: Hash::of_bytes(deed.what.as_bytes()), answer: "{}".into(), expires: None };
        let event = NewEvent::new(&self.site.world, "book.entry", 1, task.key.to_string().into_bytes());
        let stream = book(&task.tenant);
        let commit = Commit {
            appends: vec![
                Append { stream, expect: Expect::Any, events: vec![event] },
                record.append(&outcome)?,
            ],
            claims: vec![ClaimChange::Take(task.key.claim(&task.tenant), claim)],
            ..Commit::default()
        };
        match self.log.commit(commit).await {
            Ok(committed) => record.committed(&outcome, &committed, 1),
            Err(CommitError::Claimed(..)) => Ok(Recording::earlier()),
            Err(error) => Err(steadfast_core::Coded::failure(&error).retryable()),
        }
    }

    /// Sells one piece: reserved and handed over, each under a key of the step's.
    async fn sell(self, task: StepTask, product: ProductId) -> Result<(), Failure> {
        let reserve = Op::Reserve(Reserve { product: product.clone(), quantity: 1, ttl: None });
        let reserved = self.ledger(&task, reserve, format!("{}/reserve", task.key)).await?.into_result()?;
        let sale = sale(product, &reserved)?;
        self.ledger(&task, sale, task.key.to_string()).await?.into_result().map(drop)
    }

    /// Takes the sale back; the reservation goes by itself.
    async fn take_back(self, task: StepTask, product: ProductId) -> Result<(), Failure> {
        let forward = task.undoes.as_ref().map(ToString::to_string).unwrap_or_default();
        let reserve = Op::Reserve(Reserve { product: product.clone(), quantity: 1, ttl: None });
        // The same request under the same key has the same answer.
        let reserved = self.ledger(&task, reserve, format!("{forward}/reserve")).await?.into_result();
        let Ok(reserved) = reserved else { return Ok(()) };
        let undo = Op::Undo(Undo { forward: Box::new(sale(product, &reserved)?), key: forward });
        self.ledger(&task, undo, task.key.to_string()).await.map(drop)
    }

    async fn ledger(&self, task: &StepTask, op: Op, key: String) -> Result<Answer, Failure> {
        let (tenant, user) = (task.tenant.clone(), task.principal.clone());
        let principal = Principal { tenant, user, role: Role::User };
        let mut ask = Ask::new(op, principal, Key::Effect(key));
        ask.correlation = task.correlation;
        Ok(self.bank.ask(ask).await?.answer)
    }

    /// Adds what can be done.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let options = || ActionOptions { timeout: Duration::from_secs(30), ..ActionOptions::default() };
        // A compensation is tried for longer than any fault lasts.
        let patient = || ActionOptions { waits: vec![Duration::from_secs(20); 40], ..options() };
        let guarded = ActionOptions { policy: Some(POLICY), ..options() };
        registry
            .action(&DO, options(), self.by(Self::act))
            .action(&COUNT, options(), self.by(Self::count))
            .action(&UNDO, patient(), self.by(Self::undo))
            .action(&RARELY_DO, options(), self.by(Self::rarely))
            .action(&RARELY_UNDO, options(), self.by(Self::rarely_undo))
            .action(&GUARDED, guarded, self.by(Self::act))
            .action(&SELL, patient(), self.by(Self::sell))
            .action(&TAKE_BACK, patient(), self.by(Self::take_back))
            .action(&TELL_MUCH, options(), |_, bytes| async move { Ok("m".repeat(bytes)) })
            .action(&FALL_OVER, options(), |_, deed: Deed| async move {
                assert!(deed.refused, "{}: an action falls over", crate::ON_PURPOSE);
                Ok(0)
            });
        let booking = self.clone();
        registry.commit_action(&BOOK, options(), move |task, deed, record| {
            booking.clone().book(task, deed, record)
        });
        if !self.site.old_code {
            registry.action(&NEW, options(), self.by(Self::act));
        }
    }

    /// An action as the engine wants it, of one of the methods above.
    fn by<I, F>(
        &self,
        perform: impl Fn(Self, StepTask, I) -> F + Send + Sync + 'static,
    ) -> impl Fn(StepTask, I) -> F + Send + Sync + 'static {
        let hands = self.clone();
        move |task, input| perform(hands.clone(), task, input)
    }
}

fn sale(product: ProductId, reserved: &Answer) -> Result<Op, Failure> {
    let reservation: Result<ReservationId, _> = reserved.id.parse();
    let reservation = reservation.map_err(|error| Failure::internal("sim.reservation", error.to_string()))?;
    Ok(Op::Sell(ReservationAt { product, reservation }))
}

pub(crate) fn book(tenant: &TenantId) -> StreamId {
    StreamId::new(tenant, BOOKS, "one")
}
