//! A client who doubts what others take for granted: that a key is kept for as long as its run
//! goes on, that what "did not happen" has not, and that a run which listens to one word at a
//! time hears all of them.

use std::time::Duration;

use serde_json::json;
use tokio::sync::oneshot;

use crate::{
    calls::{Answer, Call, Demand},
    clients::{Asked, Client},
    node::WINDOW,
    wishes::{What, Wish},
    workflows::{GO, LASTING, LISTENING, Order, Play, known},
};

/// The label of what is asked for only once.
pub(crate) const ONCE: &str = "once";

impl Client {
    pub(crate) async fn doubt(self, lasting: bool) {
        self.speak().await;
        self.spend_all().await;
        for i in 0..self.network.site.fate.below(6) {
            self.change_mind(i).await;
            self.ask_twice(format!("twice-{i}")).await;
        }
        for i in 0..self.network.site.fate.below(10) {
            self.ask_once(format!("once-{i}")).await;
        }
        if lasting {
            self.outlast().await;
        }
    }

    /// Several words, faster than they are taken.
    async fn speak(&self) {
        let place = self.want(run(LISTENING, "words")).await;
        let Some(run) = self.notes.lock()[place].run() else { return };
        for i in 0..3 {
            let key = format!("word-{i}");
            let call = Call::post("ana", format!("/api/v1/runs/{run}/signals/{GO}"), json!(7));
            self.want(wish(&key, call, What::Signal)).await;
        }
    }

    /// Buys and pays at once, out of an account that has too little for both.
    async fn spend_all(&self) {
        let body = json!({ "product": "audifonos-nube", "quantity": 1 });
        let call = Call::post("marta", "/api/v1/bank/purchases", body);
        let buying = self.want(wish("buy", call, What::Purchase));
        let paying = async {
            for i in 0..6 {
                self.network.pause(400).await;
                let body = json!({ "to": "luis", "amount": { "minor": 30_000, "currency": "MXN" } });
                let call = Call::post("marta", "/api/v1/bank/transfers", body);
                let what = What::Transfer { from: "marta", to: "luis".into(), amount: 30_000 };
                self.want(wish(&format!("pay-{i}"), call, what)).await;
            }
        };
        futures::join!(buying, paying);
    }

    /// Asks for something and cancels it at once.
    async fn change_mind(&self, i: u64) {
        let key = format!("no-{i}");
        let asked = match i % 3 {
            0 => run(plain("crowd"), &key),
            1 => run(plain("saga"), &key),
            _ => {
                let body = json!({ "product": "cafe-chiapas", "quantity": 1 });
                wish(&key, Call::post("ana", "/api/v1/bank/purchases", body), What::Purchase)
            }
        };
        let place = self.want(asked).await;
        let Some(run) = self.notes.lock()[place].run() else { return };
        self.network.pause(500).await;
        let body = json!({ "reason": "changed my mind" });
        let call = Call::post("ana", format!("/api/v1/runs/{run}/cancel"), body);
        self.want(wish(&format!("cancel-{i}"), call, What::Cancel(run))).await;
    }

    /// The same twice at the same moment; both answers count.
    async fn ask_twice(&self, key: String) {
        let wish = run(plain("sleeper"), &key);
        let place = {
            let mut notes = self.notes.lock();
            notes.push(Asked { wish: wish.clone(), answers: Vec::new() });
            notes.len() - 1
        };
        let mut answers = Vec::new();
        for answer in [self.send(&wish), self.send(&wish)].into_iter().flatten() {
            answers.extend(self.patiently(answer).await);
        }
        // Whichever of them was heard first, a repeat rests on the other.
        answers.sort_by_key(|answer| answer.replayed);
        self.notes.lock()[place].answers.extend(answers);
        self.insist(place, wish).await;
    }

    async fn patiently(&self, answer: oneshot::Receiver<Answer>) -> Option<Answer> {
        let patience = self.network.site.world.clock().sleep(Duration::from_secs(30));
        tokio::select! {
            biased;
            answer = answer => answer.ok(),
            () = patience => None,
        }
    }

    async fn ask_once(&self, key: String) {
        let wish = Wish { what: What::Once, ..run(plain("sleeper"), &key) };
        if let Some(answer) = self.send(&wish) {
            let answer = self.patiently(answer).await;
            self.notes.lock().push(Asked { wish, answers: answer.into_iter().collect() });
        }
        self.network.pause(2_000).await;
    }

    /// The same request again and again, for longer than keys are kept once runs have ended.
    async fn outlast(&self) {
        let place = self.want(run(LASTING, "lasting")).await;
        let wish = self.notes.lock()[place].wish.clone();
        let step = Duration::from_mins(5);
        for _ in 0..(WINDOW + Duration::from_mins(30)).as_secs() / step.as_secs() {
            self.network.site.world.clock().sleep(step).await;
            self.insist(place, wish.clone()).await;
        }
    }
}

fn plain(name: &str) -> Play {
    known(name).expect("it is one of the plain ones")
}

fn wish(key: &str, call: Call, what: What) -> Wish {
    Wish { key: key.to_owned(), demand: Demand::Http(call.keyed(key)), what }
}

fn run(play: Play, key: &str) -> Wish {
    let size = match play.name {
        "sleeper" => 1,
        "crowd" | "saga" => 4,
        _ => 0,
    };
    let order = Order { size, ..Order::default() };
    let body = json!({ "workflow": play.name, "input": order, "labels": { ONCE: key } });
    wish(key, Call::post("ana", "/api/v1/runs", body), What::Run { play, order })
}
