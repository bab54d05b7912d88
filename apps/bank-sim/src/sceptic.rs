//! A client who doubts what others take for granted: that a key is kept for as long as its run
//! goes on, that what "did not happen" has not, and that a run which listens to one word at a
//! time hears all of them.

use std::time::Duration;

use serde_json::json;

use crate::{
    calls::Call,
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
            let call = Call::post("ana", format!("/api/v1/runs/{run}/signals/{GO}"), json!(7)).keyed(&key);
            self.want(Wish { key, demand: crate::calls::Demand::Http(call), what: What::Signal }).await;
        }
    }

    async fn ask_once(&self, key: String) {
        let wish = Wish { what: What::Once, ..run(plain(), &key) };
        if let Some(answer) = self.send(&wish) {
            let patience = self.network.site.world.clock().sleep(Duration::from_secs(30));
            let answer = tokio::select! {
                biased;
                answer = answer => answer.ok(),
                () = patience => None,
            };
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

fn plain() -> Play {
    known("sleeper").expect("it is one of the plain ones")
}

fn run(play: Play, key: &str) -> Wish {
    let order = Order { size: u64::from(play.name == "sleeper"), ..Order::default() };
    let body = json!({ "workflow": play.name, "input": order, "labels": { ONCE: key } });
    let call = Call::post("ana", "/api/v1/runs", body).keyed(key);
    Wish { key: key.to_owned(), demand: crate::calls::Demand::Http(call), what: What::Run { play, order } }
}
