use std::sync::Arc;

use steadfast_core::{CorrelationId, Failure, Principal, Time, World, canonical::Hash};
use steadfast_log::{Append, Claim, ClaimKey, Log, StreamId};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::{Answer, BankConfig, Op, PurchaseId, Reply, Status, books::unreadable, op::effect_claim};

/// What a repeat of a request is recognized by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Chosen by the caller; remembered for the idempotency window.
    Client(String),
    /// Of a run's step; remembered until the engine starts its window.
    Effect(String),
    /// Of a line of an import; remembered for ever.
    Import(String),
    /// None: the operation is its own guard, as with timers.
    None,
}

/// Makes the append that is written in the same commit as the effect, from its outcome: a
/// run's record of a step. Called anew whenever the request is decided anew. The append
/// must expect [`steadfast_log::Expect::Any`].
pub type Attach = Arc<dyn Fn(&Result<Answer, Failure>) -> Result<Append, Failure> + Send + Sync>;

/// Something asked of the bank, and by whom.
#[derive(Clone)]
pub struct Ask {
    /// What.
    pub op: Op,
    /// By whom.
    pub principal: Principal,
    /// How a repeat is recognized.
    pub key: Key,
    /// The outside request it belongs to.
    pub correlation: Option<CorrelationId>,
    /// The purchase it is a part of.
    pub purchase: Option<PurchaseId>,
    /// What else its commit writes.
    pub attach: Option<Attach>,
    /// The canonical request, where that is not the operation itself.
    pub request: Option<Hash>,
}

impl Ask {
    /// A plain one.
    pub fn new(op: Op, principal: Principal, key: Key) -> Self {
        Self { op, principal, key, correlation: None, purchase: None, attach: None, request: None }
    }

    fn claim_key(&self) -> Option<ClaimKey> {
        let tenant = &self.principal.tenant;
        if matches!(self.op, Op::Undo(_)) {
            return Some(effect_claim(tenant, &self.op, ""));
        }
        Some(match &self.key {
            Key::Client(key) => ClaimKey::new(tenant, &self.principal.user, self.op.name(), key),
            Key::Effect(key) => effect_claim(tenant, &self.op, key),
            Key::Import(key) => ClaimKey::new(tenant, "@import", self.op.name(), key),
            Key::None => return None,
        })
    }
}

/// A claim that a request takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taking {
    pub(super) key: ClaimKey,
    pub(super) request: Hash,
    /// Does it lapse a while after the answer?
    pub(super) lapses: bool,
}

/// What is known of the effect that an undo is about.
#[derive(Debug, Clone, Default)]
pub(super) enum Forward {
    /// As far as we know it has not happened.
    #[default]
    Open,
    /// It has come to this.
    Known(Answer),
}

/// A request on its way to its answer.
pub(crate) struct Request {
    pub(super) ask: Ask,
    pub(super) id: Uuid,
    pub(super) streams: Vec<StreamId>,
    pub(super) taking: Option<Taking>,
    /// For an undo: the key of what it is about.
    pub(super) forward_key: Option<ClaimKey>,
    pub(super) forward: Forward,
    pub(super) conflicts: u32,
    /// Must have a commit to itself: it spoiled one, or stood in a spoiled one.
    pub(super) alone: bool,
    pub(super) reply: oneshot::Sender<Result<Reply, Failure>>,
}

impl Request {
    pub(crate) fn new(
        ask: Ask,
        world: &World,
        reply: oneshot::Sender<Result<Reply, Failure>>,
    ) -> Result<Self, Failure> {
        let unhashable =
            |error| Failure::refused("request.invalid", format!("cannot be made canonical: {error}"));
        let taking = match ask.claim_key() {
            None => None,
            Some(key) => Some(Taking {
                key,
                request: match ask.request {
                    Some(request) => request,
                    None => Hash::of(&ask.op).map_err(unhashable)?,
                },
                lapses: matches!(ask.key, Key::Client(_)),
            }),
        };
        let tenant = &ask.principal.tenant;
        let forward_key = match &ask.op {
            Op::Undo(undo) => Some(effect_claim(tenant, &undo.forward, &undo.key)),
            _ => None,
        };
        Ok(Self {
            id: world.uuid(),
            streams: ask.op.streams(tenant),
            taking,
            forward_key,
            forward: Forward::Open,
            conflicts: 0,
            alone: false,
            reply,
            ask,
        })
    }

    /// For an undo: what is known of what it is about, so that it need not be found out
    /// by a refused commit.
    pub(crate) async fn find_forward(&mut self, log: &dyn Log) -> Result<(), Failure> {
        if let Some(key) = self.forward_key {
            let claim = log.claim(key).await.map_err(|error| unreadable(&error))?;
            if let Some(claim) = claim {
                self.forward = Forward::Known(read_answer(&claim)?);
            }
        }
        Ok(())
    }

    pub(super) fn key(&self) -> Option<ClaimKey> {
        self.taking.map(|taking| taking.key)
    }

    /// The key that an undo takes so that its forward stays away, until that is known.
    pub(super) fn forestalled_key(&self) -> Option<ClaimKey> {
        self.forward_key.filter(|_| matches!(self.forward, Forward::Open))
    }

    pub(super) fn claim(&self, answer: &Answer, now: Time, config: &BankConfig) -> Option<(ClaimKey, Claim)> {
        let taking = self.taking?;
        let answer = serde_json::to_string(answer).ok()?;
        let expires = taking.lapses.then(|| now.after(config.idempotency_window.get()));
        let claim = Claim { request: taking.request, answer: answer.into(), expires };
        Some((taking.key, claim))
    }

    /// The answer that was given before, under the same key.
    pub(super) fn by_claim(&self, claim: &Claim) -> Result<Reply, Failure> {
        let answer = read_answer(claim)?;
        if answer.status == Status::Compensated {
            return Err(answer.into_result().err().unwrap_or_else(unreadable_claim));
        }
        if self.taking.is_some_and(|taking| taking.request != claim.request) {
            return Err(reused());
        }
        Ok(self.repeated(answer))
    }

    pub(super) fn repeated(&self, answer: Answer) -> Reply {
        Reply { answer, replayed: true, conflicts: self.conflicts, attached: None }
    }
}

pub(super) fn read_answer(claim: &Claim) -> Result<Answer, Failure> {
    serde_json::from_str(&claim.answer).map_err(|_| unreadable_claim())
}

fn unreadable_claim() -> Failure {
    Failure::internal("claim.unreadable", "the recorded answer cannot be read")
}

pub(super) fn reused() -> Failure {
    Failure::refused(
        "idempotency_key_reused",
        "this idempotency key was used for another request: choose a new key",
    )
}
