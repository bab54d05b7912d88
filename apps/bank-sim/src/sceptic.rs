//! A client who doubts what others take for granted: that a key stands for one request, and
//! for as long as its run goes on; that what "did not happen" has not; and that a run which
//! listens to one word at a time hears all of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::future::join_all;
use steadfast_bank::purchase::PurchaseRequest;
use steadfast_core::TenantId;
use steadfast_engine::record::{Started, kind};
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
    pub(crate) async fn doubt(self) {
        self.speak().await;
        self.use_a_key_again().await;
        for i in 0..self.site.fate.below(6) {
            self.change_mind(i).await;
        }
        for i in 0..self.site.fate.below(10) {
            self.ask_once(i).await;
        }
        if self.site.fate.below(16) == 0 {
            self.outlast().await;
        }
    }

    /// Several words, faster than they are taken.
    async fn speak(&self) {
        let run = self.wish_for("words", run(LISTENING, 0)).await;
        let Some(run) = run.and_then(|run| run.parse().ok()) else { return };
        let words = (0..3).map(|_| Wish::Signal { run, id: self.site.fate.below(u64::MAX) });
        join_all(words.map(|word| self.wish_for("word", word))).await;
    }

    async fn use_a_key_again(&self) {
        self.wish_for("again", run("sleeper", 1)).await;
        self.wish_for("again", run("sleeper", 2)).await;
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
            let nothing = answers.iter().flat_map(|it| it.as_ref().err()).any(|it| it.nothing_happened);
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
