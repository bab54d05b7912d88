//! Clients: they ask for things over a network that loses, repeats and delays, and ask again
//! under the same key until they know.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use steadfast_bank::{HoldId, Op, ProductId, ReservationId};
use steadfast_core::RunId;
use steadfast_sim::{Fault, Site};
use tokio::sync::{mpsc, oneshot};

use crate::{
    calls::{Answer, By, Call, Demand, perform},
    node::{Node, Request},
    tally::Tally,
    wishes::{Chooser, USERS, What, Wish},
    workflows::LASTING,
};

/// What became of a wish, as far as its client knows.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) wish: Wish,
    /// Every answer that arrived.
    pub(crate) answers: Vec<Answer>,
}

impl Asked {
    /// What was accepted.
    pub(crate) fn accepted(&self) -> Option<&Answer> {
        self.answers.iter().find(|answer| answer.ok())
    }
    /// The run that was accepted, if it is one.
    pub(crate) fn run(&self) -> Option<RunId> {
        match self.wish.what {
            What::Run { .. } | What::Purchase => self.accepted()?.id()?.parse().ok(),
            _ => None,
        }
    }
    /// The dead letters that it shows.
    pub(crate) fn letters(&self) -> Vec<String> {
        let items = self.answers.last().and_then(|answer| answer.body["items"].as_array());
        let letters = items.into_iter().flatten().filter(|item| item["cause"].is_object());
        letters.filter_map(|item| Some(item["id"].as_str()?.to_owned())).collect()
    }
    fn by(&self) -> &'static str {
        match &self.wish.demand {
            Demand::Http(Call { by: By::User(user, _), .. }) => user,
            _ => USERS[0],
        }
    }
    fn op(&self) -> Option<(&'static str, &Op, &str)> {
        let Demand::Ledger(asked) = &self.wish.demand else { return None };
        let user = USERS.into_iter().find(|user| *user == asked.0.user)?;
        Some((user, &asked.1, self.accepted()?.id()?))
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
    fn collect<T>(&self, known: impl Fn(&Asked) -> Option<T>) -> Vec<T> {
        self.lock().iter().filter_map(known).collect()
    }

    /// The runs of Ana's that were accepted so far, but for one that must not be ended.
    pub(crate) fn runs(&self) -> Vec<RunId> {
        let open = |what: &What| matches!(what, What::Run { play, .. } if *play != LASTING);
        self.collect(|asked| asked.run().filter(|_| open(&asked.wish.what)))
    }
    /// Purchases, and whose.
    pub(crate) fn purchases(&self) -> Vec<(&'static str, RunId)> {
        let purchase = |asked: &Asked| matches!(asked.wish.what, What::Purchase);
        self.collect(|asked| Some((asked.by(), asked.run().filter(|_| purchase(asked))?)))
    }
    pub(crate) fn accepted_runs(&self) -> Vec<String> {
        let run = |asked: &Asked| matches!(asked.wish.what, What::Run { .. });
        self.collect(|asked| asked.accepted().filter(|_| run(asked)).map(|_| asked.wish.key.clone()))
    }
    pub(crate) fn accepted_transfers(&self) -> Vec<(&'static str, String)> {
        let transfer = |asked: &Asked| matches!(asked.wish.what, What::Transfer { .. });
        self.collect(|asked| {
            asked.accepted().filter(|_| transfer(asked)).map(|_| (asked.by(), asked.wish.key.clone()))
        })
    }
    /// Dead letters that somebody saw.
    pub(crate) fn letters(&self) -> Vec<String> {
        self.lock().iter().flat_map(Asked::letters).collect()
    }
    /// Holds, from whom and for whom.
    pub(crate) fn holds(&self) -> Vec<(&'static str, &'static str, HoldId)> {
        let user = |account: &str| USERS.into_iter().find(|user| account == format!("{user}-checking"));
        self.collect(|asked| match asked.op()? {
            (from, Op::Hold(op), id) => Some((from, user(op.to.as_str())?, id.parse().ok()?)),
            _ => None,
        })
    }
    pub(crate) fn reservations(&self) -> Vec<(&'static str, ProductId, ReservationId)> {
        self.collect(|asked| match asked.op()? {
            (user, Op::Reserve(op), id) => Some((user, op.product.clone(), id.parse().ok()?)),
            _ => None,
        })
    }
}

/// Where nodes are; empty where one is down.
pub(crate) type Doors = Arc<Mutex<Vec<Option<mpsc::UnboundedSender<Request>>>>>;

/// The network between people and nodes.
#[derive(Clone)]
pub(crate) struct Network {
    pub(crate) site: Site,
    pub(crate) doors: Doors,
}

impl Network {
    /// A while, of at most so many milliseconds.
    pub(crate) async fn pause(&self, millis: u64) {
        let pause = Duration::from_millis(self.site.fate.below(millis));
        self.site.world.clock().sleep(pause).await;
    }
    /// Hands something to a node, if one is there.
    pub(crate) fn knock(&self, request: Request) -> Option<()> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = usize::try_from(self.site.fate.below(doors.len() as u64)).unwrap_or(0);
        self.site.traffic.note();
        doors[nth].as_ref()?.send(request).ok()
    }
}

#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) network: Network,
    pub(crate) notes: Notes,
    pub(crate) tally: Tally,
    pub(crate) narrow: bool,
}

impl Client {
    /// Makes `count` wishes, one after another, and then once more all those whose answer is
    /// remembered.
    pub(crate) async fn live(self, name: usize, count: usize) {
        let mut mine = Vec::new();
        for i in 0..count {
            let chooser = self.chooser(format!("client-{name}-{i}"));
            let place = self.want(chooser.wish()).await;
            mine.push(place);
            if let Some(run) = self.stuck(place) {
                let chooser = self.chooser(format!("client-{name}-{i}-kill"));
                self.want(chooser.kill_of(run)).await;
            }
            self.network.pause(2_000).await;
        }
        for place in mine {
            let asked = self.notes.lock()[place].clone();
            if asked.wish.what.remembers() {
                self.insist(place, asked.wish).await;
            }
        }
    }

    pub(crate) fn chooser(&self, key: String) -> Chooser<'_> {
        Chooser { fate: &self.network.site.fate, notes: &self.notes, narrow: self.narrow, key }
    }

    /// The run that was asked for, if it is one that never ends.
    fn stuck(&self, place: usize) -> Option<RunId> {
        let notes = self.notes.lock();
        let stuck = matches!(notes[place].wish.what, What::Run { play, .. } if play.stuck);
        notes[place].run().filter(|_| stuck)
    }

    pub(crate) async fn want(&self, wish: Wish) -> usize {
        let place = {
            let mut notes = self.notes.lock();
            notes.push(Asked { wish: wish.clone(), answers: Vec::new() });
            notes.len() - 1
        };
        self.insist(place, wish).await;
        place
    }

    /// Asks until there is an answer that says what happened.
    pub(crate) async fn insist(&self, place: usize, wish: Wish) {
        loop {
            if let Some(answer) = self.ask(&wish).await {
                let code = answer.code().unwrap_or_default();
                self.tally.note(code);
                let mistaken = matches!(&wish.what, What::Mistake(codes) if codes.contains(&code));
                let known = answer.is_final() || mistaken;
                self.notes.lock()[place].answers.push(answer);
                if known {
                    return;
                }
            }
            self.network.pause(5_000).await;
        }
    }

    /// One request, over a network that is as bad as the others.
    async fn ask(&self, wish: &Wish) -> Option<Answer> {
        let fate = &self.network.site.fate;
        if fate.strikes(Fault::RequestLost) {
            return None;
        }
        let twice = matches!(wish.what, What::TryTwice);
        let copies = 1 + u64::from(twice || fate.strikes(Fault::Duplicated));
        let mut answer = None;
        for _ in 0..copies {
            if fate.strikes(Fault::Delayed) {
                self.network.pause(20_000).await;
            }
            answer = self.send(wish);
        }
        let answer = answer?;
        let patience = self.network.site.world.clock().sleep(Duration::from_secs(30));
        let answer = tokio::select! {
            biased;
            answer = answer => answer.ok(),
            () = patience => None,
        };
        if fate.strikes(Fault::ReplyLost) { None } else { answer }
    }

    pub(crate) fn send(&self, wish: &Wish) -> Option<oneshot::Receiver<Answer>> {
        let (reply, answer) = oneshot::channel();
        let Wish { key, demand, .. } = wish.clone();
        let (world, traffic) = (self.network.site.world.clone(), self.network.site.traffic.clone());
        let request: Request = Box::new(move |node: Node| {
            Box::pin(async move {
                if let Some(answer) = perform(node, demand, key, world).await {
                    // A client that is gone needs no answer.
                    let _ = reply.send(answer);
                }
                traffic.note();
            })
        });
        self.network.knock(request)?;
        Some(answer)
    }
}
