use serde_json::json;
use steadfast_core::{Role, RunId};

use super::{Chooser, OPERATOR, What, Wish};
use crate::{
    calls::{Call, Sent},
    workflows::{CHANGED, GO, ODD, Order, PLAIN},
};

impl Chooser<'_> {
    pub(super) fn run(&self) -> Wish {
        let play = match self.below(10) {
            0..6 => self.one(&PLAIN),
            6..8 => self.one(&CHANGED),
            _ => self.one(&ODD),
        };
        let play = *play.unwrap_or(&PLAIN[0]);
        let size = 1 + self.below(4);
        let fails_at = self.once_in(3).then(|| self.below(size));
        let padding = if play.name == "heavy" { "p".repeat(18_000) } else { String::new() };
        let order = Order { size, fails_at, padding };
        let body = json!({
            "workflow": play.name, "input": order,
            "labels": { "by": "sim" }, "priority": if self.once_in(4) { "low" } else { "normal" },
        });
        let mut call = Call::post("ana", "/api/v1/runs", body).keyed(&self.key);
        if self.once_in(5) {
            call = call.with("prefer", "wait=8");
        }
        self.http(call, What::Run { play, order })
    }

    fn known_run(&self) -> Option<RunId> {
        self.one(&self.notes.runs()).copied()
    }

    /// Something is said to a run; it may have ended by then, or hear something else.
    pub(super) fn signal(&self) -> Option<Wish> {
        let run = self.known_run()?;
        let path = format!("/api/v1/runs/{run}/signals/{GO}");
        let call = Call::post("ana", path, json!(7)).keyed(&self.key);
        Some(self.http(call, What::Signal))
    }

    pub(super) fn cancel(&self) -> Option<Wish> {
        // Of a purchase, too: whoever bought it.
        let (by, run) = match self.one(&self.notes.purchases()) {
            Some((by, run)) if self.once_in(2) => (*by, *run),
            _ => ("ana", self.known_run()?),
        };
        let path = format!("/api/v1/runs/{run}/cancel");
        let call = Call::post(by, path, json!({ "reason": "changed my mind" })).keyed(&self.key);
        Some(self.http(call, What::Cancel(run)))
    }

    /// Runs that never end are killed; others now and then.
    pub(super) fn kill(&self) -> Option<Wish> {
        Some(self.kill_of(self.known_run()?))
    }

    pub(crate) fn kill_of(&self, run: RunId) -> Wish {
        let path = format!("/api/v1/runs/{run}/kill");
        let call = Call::post(OPERATOR, path, json!({ "reason": "it must end" })).role(Role::Operator);
        self.http(call, What::Kill(run))
    }

    pub(super) fn replay(&self) -> Wish {
        let letters = self.notes.letters();
        let Some(letter) = self.late_one(&letters).filter(|_| !self.once_in(3)) else {
            return self.letters();
        };
        Wish { what: What::TryTwice, ..self.replay_of(letter) }
    }

    pub(crate) fn replay_of(&self, letter: &str) -> Wish {
        let path = format!("/api/v1/dead-letters/{letter}/replay");
        let call = Call { sent: Sent::Nothing, ..Call::post(OPERATOR, path, json!(null)) };
        self.http(call.role(Role::Operator), What::Try)
    }
}
