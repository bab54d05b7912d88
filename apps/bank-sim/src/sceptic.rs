//! A client who doubts what others take for granted: that a key stands for one request, and
//! for as long as its run goes on; that what "did not happen" has not; and that a run which
//! listens to one word at a time hears all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use steadfast_bank::{TransferRequest, purchase::PurchaseRequest};
use steadfast_core::{Currency, Money, RunId, TenantId};
use steadfast_engine::{
    Status,
    record::{Started, Undone, kind},
};
use steadfast_log::ClaimKey;

use crate::{
    check::Story,
    clients::{Asked, Client, Wish},
    node::WINDOW,
    workflows::{LASTING, LISTENING, Order},
};

/// Asked for once and never again.
const ONCE: &str = "once";

impl Client {
    pub(crate) async fn doubt(self, lasting: bool) {
        self.speak().await;
        self.use_a_key_again().await;
        self.spend_all().await;
        for i in 0..self.site.fate.below(6) {
            self.change_mind(i).await;
        }
        for i in 0..self.site.fate.below(10) {
            self.ask_once(i).await;
        }
        if lasting {
            self.outlast().await;
        }
    }

    /// Several words, faster than they are taken.
    async fn speak(&self) {
        let run = self.wish_for("words", run(LISTENING, 0)).await;
        let Some(run) = run.and_then(|run| run.parse().ok()) else { return };
        for i in 0..3 {
            let id = self.site.fate.below(u64::MAX);
            self.wish_for(&format!("word-{i}"), Wish::Signal { run, id }).await;
        }
    }

    async fn use_a_key_again(&self) {
        self.wish_for("again", run("sleeper", 1)).await;
        self.wish_for("again", run("sleeper", 2)).await;
    }

    /// Buys and pays at once, out of an account that has too little for both.
    async fn spend_all(&self) {
        let product = "audifonos-nube".parse().expect("a good name");
        let request = PurchaseRequest { product, quantity: 1, from: None, total: None };
        let buying = self.wish_for("buy", Wish::Purchase { user: "marta", request });
        let paying = async {
            for i in 0..6 {
                self.pause(400).await;
                let amount = Money::new(30_000, Currency::MXN).expect("a small amount");
                let request = TransferRequest { to: "luis".into(), from: None, amount, memo: None };
                self.wish_for(&format!("pay-{i}"), Wish::Transfer { user: "marta", request }).await;
            }
        };
        futures::join!(buying, paying);
    }

    /// Asks for something and cancels it at once.
    async fn change_mind(&self, i: u64) {
        let wish = match i % 3 {
            0 => run("crowd", 4),
            1 => run("saga", 4),
            _ => {
                let product = "cafe-chiapas".parse().expect("a good name");
                let request = PurchaseRequest { product, quantity: 1, from: None, total: None };
                Wish::Purchase { user: "marta", request }
            }
        };
        let asked = self.wish_for(&format!("no-{i}"), wish).await;
        let Some(run) = asked.and_then(|run| run.parse().ok()) else { return };
        self.pause(500).await;
        self.wish_for(&format!("cancel-{i}"), Wish::Cancel { run, id: i }).await;
    }

    async fn ask_once(&self, i: u64) {
        let (place, asked) = self.note(&format!("{ONCE}-{i}"), run("sleeper", 1));
        if let Some(answer) = self.send(&asked) {
            let patience = self.site.world.clock().sleep(Duration::from_secs(30));
            tokio::select! {
                biased;
                answer = answer => self.notes.lock()[place].answers.extend(answer.ok()),
                () = patience => {}
            }
        }
        self.pause(2_000).await;
    }

    /// The same request again and again, for longer than keys are kept once runs have ended.
    async fn outlast(&self) {
        let (place, asked) = self.note("lasting", run(LASTING, 0));
        let step = Duration::from_mins(5);
        for _ in 0..(WINDOW + Duration::from_mins(30)).as_secs() / step.as_secs() {
            self.insist(place, asked.clone()).await;
            self.site.world.clock().sleep(step).await;
        }
    }

    fn note(&self, key: &str, wish: Wish) -> (usize, Asked) {
        let asked = Asked { key: key.to_owned(), wish, answers: Vec::new() };
        let mut notes = self.notes.lock();
        notes.push(asked.clone());
        (notes.len() - 1, asked)
    }

    /// Asks until it is known what happened; what was accepted.
    async fn wish_for(&self, key: &str, wish: Wish) -> Option<String> {
        let (place, asked) = self.note(key, wish);
        self.insist(place, asked).await;
        self.notes.lock()[place].accepted().cloned()
    }
}

fn run(workflow: &'static str, size: u64) -> Wish {
    Wish::Run { workflow, order: Order { size, fails_at: None } }
}

impl Story {
    pub(crate) fn keys_stand_for_one_request(&self, problems: &mut Vec<String>) {
        let started = self.events.iter().filter(|recorded| recorded.event.kind == kind::STARTED);
        let claimed: BTreeSet<ClaimKey> = started
            .filter_map(|recorded| serde_json::from_slice::<Started>(&recorded.event.body).ok()?.claim)
            .collect();
        let mut accepted: BTreeMap<&str, u32> = BTreeMap::new();
        for Asked { key, wish, answers } in &self.asked {
            let Wish::Run { workflow, .. } = wish else { continue };
            if answers.iter().any(Result::is_ok) {
                *accepted.entry(key).or_default() += 1;
            }
            let nothing = answers.iter().filter_map(|it| it.as_ref().err()).any(|it| it.nothing_happened);
            let claim = ClaimKey::new(&TenantId::default(), "ana", workflow, key);
            if key.starts_with(ONCE) && nothing && claimed.contains(&claim) {
                problems.push(format!("G5: {key} was answered that nothing happened, and it runs"));
            }
        }
        for (key, requests) in accepted.into_iter().filter(|(_, requests)| *requests > 1) {
            problems.push(format!("G5: {key} was accepted for {requests} requests"));
        }
    }
}

#[derive(serde::Deserialize)]
struct Reserving {
    reservation: String,
    purchase: Option<RunId>,
}

impl Story {
    /// What is undone stays away, however late it comes.
    pub(crate) fn purchases_that_fail_keep_nothing(&self, problems: &mut Vec<String>) {
        let mut open: BTreeMap<String, RunId> = BTreeMap::new();
        for recorded in self.events.iter().filter(|recorded| recorded.stream.category() == "product") {
            let Ok(Reserving { reservation, purchase }) = serde_json::from_slice(&recorded.event.body) else {
                continue;
            };
            match purchase.filter(|_| recorded.event.kind == "product.reserved") {
                Some(purchase) => drop(open.insert(reservation, purchase)),
                None => drop(open.remove(&reservation)),
            }
        }
        for (reservation, run) in open {
            let failed = self.endings.get(&run).is_some_and(|ending| ending.status != Status::Completed);
            let gave_up = self.events.iter().any(|recorded| {
                recorded.stream.name() == run.to_string() && recorded.event.kind == kind::UNDONE && {
                    let undone = serde_json::from_slice::<Undone>(&recorded.event.body);
                    undone.is_ok_and(|undone| undone.failure.is_some())
                }
            });
            if failed && !gave_up {
                problems.push(format!("G4: purchase {run} failed, and reservation {reservation} stands"));
            }
        }
    }
}
