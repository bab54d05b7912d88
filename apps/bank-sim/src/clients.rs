//! Clients: they ask for things over a network that loses, repeats and delays, and ask again
//! under the same key until they know.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::future::BoxFuture;
use steadfast_bank::{
    Key, TransferRequest,
    purchase::{PURCHASE, PurchaseRequest},
};
use steadfast_core::{Currency, Failure, Money, Principal, Role, RunId, TenantId, canonical::Hash};
use steadfast_engine::{Data, Start};
use steadfast_log::ClaimKey;
use steadfast_sim::{Fault, Site};
use tokio::sync::{mpsc, oneshot};

use crate::{
    node::{Parts, Request},
    workflows::{GO, Order, WORKFLOWS},
};

/// What a client wants, under a key of its own.
#[derive(Debug, Clone)]
pub(crate) enum Wish {
    Run { workflow: &'static str, order: Order },
    Purchase { user: &'static str, request: PurchaseRequest },
    Transfer { user: &'static str, request: TransferRequest },
    Signal { run: RunId, id: u64 },
    Cancel { run: RunId, id: u64 },
}

/// What became of a wish, as far as its client knows.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) key: String,
    pub(crate) wish: Wish,
    /// Every answer that arrived: the run or the transfer that it names, or why not.
    pub(crate) answers: Vec<Result<String, Failure>>,
}

impl Asked {
    /// What was accepted.
    pub(crate) fn accepted(&self) -> Option<&String> {
        self.answers.iter().find_map(|answer| answer.as_ref().ok())
    }
}

/// What all clients know.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<Asked>>>);

impl Notes {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Vec<Asked>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub(crate) fn all(&self) -> Vec<Asked> {
        self.lock().clone()
    }
}

/// Where nodes are; empty where one is down.
pub(crate) type Doors = Arc<Mutex<Vec<Option<mpsc::UnboundedSender<Request>>>>>;

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) site: Site,
    pub(crate) doors: Doors,
    pub(crate) notes: Notes,
}

impl Client {
    /// Makes `count` wishes, one after another, and then all of them once more.
    pub(crate) async fn live(self, name: usize, count: usize) {
        let mut mine = Vec::new();
        for i in 0..count {
            let asked = Asked { key: format!("client-{name}-{i}"), wish: self.wish(), answers: Vec::new() };
            let place = {
                let mut notes = self.notes.lock();
                notes.push(asked.clone());
                notes.len() - 1
            };
            mine.push(place);
            self.insist(place, asked).await;
            self.pause(2_000).await;
        }
        for place in mine {
            let asked = self.notes.lock()[place].clone();
            self.insist(place, asked).await;
        }
    }

    pub(crate) async fn pause(&self, millis: u64) {
        let pause = Duration::from_millis(self.site.fate.below(millis));
        self.site.world.clock().sleep(pause).await;
    }

    fn wish(&self) -> Wish {
        const USERS: [&str; 3] = ["ana", "luis", "marta"];
        const PRODUCTS: [&str; 3] = ["cafe-chiapas", "alebrije-unico", "telescopio-luna"];
        let pick = |many: usize| usize::try_from(self.site.fate.below(many as u64)).unwrap_or(0);
        let known = self.known_run(pick(1_000));
        match self.site.fate.below(10) {
            0..5 => {
                let size = 1 + self.site.fate.below(4);
                let fails_at = (self.site.fate.below(3) == 0).then(|| self.site.fate.below(size));
                Wish::Run { workflow: WORKFLOWS[pick(WORKFLOWS.len())], order: Order { size, fails_at } }
            }
            5..7 => {
                let amount = i64::try_from(1 + self.site.fate.below(400_000)).unwrap_or(1);
                let request = TransferRequest {
                    to: USERS[pick(3)].into(),
                    from: None,
                    amount: Money::new(amount, Currency::MXN).unwrap_or_else(|_| unreachable!("small")),
                    memo: None,
                };
                Wish::Transfer { user: USERS[pick(3)], request }
            }
            7 => {
                let product = PRODUCTS[pick(3)].parse().unwrap_or_else(|_| unreachable!("a good name"));
                let request = PurchaseRequest { product, quantity: 1, from: None, total: None };
                Wish::Purchase { user: USERS[pick(3)], request }
            }
            8 => known
                .map_or_else(|| self.wish(), |run| Wish::Signal { run, id: self.site.fate.below(u64::MAX) }),
            _ => known
                .map_or_else(|| self.wish(), |run| Wish::Cancel { run, id: self.site.fate.below(u64::MAX) }),
        }
    }

    /// One of the runs that were accepted so far.
    fn known_run(&self, nth: usize) -> Option<RunId> {
        let notes = self.notes.lock();
        let runs: Vec<RunId> = notes
            .iter()
            .filter(|asked| matches!(asked.wish, Wish::Run { .. }))
            .filter_map(|asked| asked.accepted()?.parse().ok())
            .collect();
        (!runs.is_empty()).then(|| runs[nth % runs.len()])
    }

    /// Asks until there is an answer that says what happened.
    pub(crate) async fn insist(&self, place: usize, asked: Asked) {
        loop {
            if let Some(answer) = self.ask(&asked).await {
                let known = match &answer {
                    Ok(_) => true,
                    Err(failure) => failure.nothing_happened && !failure.retryable,
                };
                self.notes.lock()[place].answers.push(answer);
                if known {
                    return;
                }
            }
            self.pause(5_000).await;
        }
    }

    /// One request, over a network that is as bad as the others.
    async fn ask(&self, asked: &Asked) -> Option<Result<String, Failure>> {
        if self.site.fate.strikes(Fault::RequestLost) {
            return None;
        }
        let copies = 1 + u64::from(self.site.fate.strikes(Fault::Duplicated));
        let mut answer = None;
        for _ in 0..copies {
            if self.site.fate.strikes(Fault::Delayed) {
                self.pause(20_000).await;
            }
            answer = self.send(asked);
        }
        let answer = answer?;
        let patience = self.site.world.clock().sleep(Duration::from_secs(30));
        let answer = tokio::select! {
            biased;
            answer = answer => answer.ok(),
            () = patience => None,
        };
        if self.site.fate.strikes(Fault::ReplyLost) { None } else { answer }
    }

    pub(crate) fn send(&self, asked: &Asked) -> Option<oneshot::Receiver<Result<String, Failure>>> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = usize::try_from(self.site.fate.below(doors.len() as u64)).unwrap_or(0);
        let door = doors[nth].clone()?;
        let (reply, answer) = oneshot::channel();
        let (asked, traffic) = (asked.clone(), self.site.traffic.clone());
        traffic.note();
        let request: Request = Box::new(move |parts| -> BoxFuture<'static, ()> {
            Box::pin(async move {
                // A client that is gone needs no answer.
                let _ = reply.send(perform(parts, asked).await);
                traffic.note();
            })
        });
        door.send(request).ok()?;
        Some(answer)
    }
}

fn principal(user: &str) -> Principal {
    Principal { tenant: TenantId::default(), user: user.into(), role: Role::User }
}

async fn perform(parts: Parts, Asked { key, wish, .. }: Asked) -> Result<String, Failure> {
    let tenant = TenantId::default();
    let begin = |user: &str, workflow: &str, input: Data, request: Hash| {
        let mut start = Start::new(tenant.clone(), user, workflow, input);
        start.key = Some((ClaimKey::new(&tenant, user, workflow, &key), request));
        start
    };
    let hash = |value: Result<Hash, serde_json::Error>| {
        value.map_err(|error| Failure::internal("sim.hash", error.to_string()))
    };
    match wish {
        Wish::Run { workflow, order } => {
            let start = begin("ana", workflow, Data::of(&order)?, hash(Hash::of(&order))?);
            Ok(parts.engine.start(start).await?.run.to_string())
        }
        Wish::Purchase { user, request } => {
            let start = begin(user, PURCHASE, Data::of(&request)?, hash(Hash::of(&request))?);
            Ok(parts.engine.start(start).await?.run.to_string())
        }
        Wish::Transfer { user, request } => {
            let reply = parts.bank.transfer(&principal(user), Key::Client(key), request).await?;
            Ok(reply.answer.id)
        }
        Wish::Signal { run, id } => {
            let id = Some(uuid(id));
            let sent = parts.engine.signal(&tenant, run, id, "ana", GO, Data::of(&7_u64)?).await;
            over(sent.map(|_| "sent".into()))
        }
        Wish::Cancel { run, id } => {
            let sent = parts.engine.cancel(&tenant, run, Some(uuid(id)), "ana", "changed my mind").await;
            over(sent.map(|_| "sent".into()))
        }
    }
}

/// A run that has ended needs no message.
fn over(sent: Result<String, Failure>) -> Result<String, Failure> {
    match sent {
        Err(failure) if failure.code == "run.ended" => Ok("ended".into()),
        other => other,
    }
}

fn uuid(id: u64) -> uuid::Uuid {
    uuid::Uuid::from_u64_pair(id, id)
}
