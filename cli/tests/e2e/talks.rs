//! Conversations as a load: several users who ask, confirm, refuse and buy, in two
//! languages, and who take up again whatever was cut off.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use steadfast_core::{World, chance::Chance as _, chance::Seeded};

use crate::{node::Place, talker::Talker};

pub(crate) const TALKERS: u64 = 6;
/// They know each other.
const PEOPLE: [&str; 3] = ["ana", "luis", "marta"];
/// In Spanish and in English.
const TRANSFERS: [&str; 2] = ["transfiere {} pesos a {}", "send {} pesos to {}"];
/// There is one of the last.
const PURCHASES: [[&str; 2]; 3] = [
    ["quiero comprar un chocolate de mesa", "buy a table chocolate"],
    ["compra una miel de azahar", "buy an orange blossom honey"],
    ["compra un alebrije firmado", "buy a signed alebrije"],
];
const QUESTIONS: [[&str; 2]; 2] =
    [["¿cuánto tengo?", "what is my balance?"], ["¿qué productos tienen?", "what products do you have?"]];
/// No and yes.
const WORDS: [[&str; 2]; 2] = [["no", "no"], ["sí", "yes"]];

/// What somebody does when asked.
#[derive(Debug, Clone)]
enum Decision {
    Frame(bool),
    /// Yes or no in words: a request of its own, as which it is acknowledged too.
    Words {
        accept: bool,
        text: &'static str,
        request: String,
        acked: bool,
    },
    /// Walks away.
    None,
}

/// A request, and what its client knows of it.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub(crate) user: &'static str,
    text: String,
    decision: Decision,
    request: String,
    session: Value,
    acked: bool,
    asked: bool,
    /// The last that was told.
    frame: u64,
    outcome: Option<Value>,
}

fn fresh() -> String {
    World::system().uuid().to_string()
}

impl Said {
    /// Anything that somebody may say: after something else in its conversation, or first.
    pub(crate) fn any(chance: &Seeded, last: Option<&Self>) -> Self {
        let pick = |bound| usize::try_from(chance.below(bound)).expect("small");
        let language = pick(2);
        let (user, session) = match last.filter(|last| !last.is_left() && chance.below(2) == 0) {
            Some(last) => (last.user, last.session.clone()),
            None => (PEOPLE[pick(3)], Value::Null),
        };
        let text = match chance.below(10) {
            0..5 => {
                let to = PEOPLE.into_iter().filter(|other| *other != user).nth(pick(2)).expect("two others");
                // Now and then more than anyone has.
                let pesos = if chance.below(20) == 0 { 900_000_000 } else { chance.below(30) };
                let amount = format!("{pesos}.{:02}", 1 + chance.below(99));
                TRANSFERS[language].replacen("{}", &amount, 1).replacen("{}", to, 1)
            }
            5..8 => PURCHASES[pick(3)][language].to_owned(),
            _ => QUESTIONS[pick(2)][language].to_owned(),
        };
        let decision = match chance.below(10) {
            0..5 => Decision::Frame(true),
            5 => Decision::Frame(false),
            choice @ 6..9 => {
                let accept = choice > 6;
                let text = WORDS[usize::from(accept)][language];
                Decision::Words { accept, text, request: fresh(), acked: false }
            }
            _ => Decision::None,
        };
        let (acked, asked, frame, outcome) = (false, false, 0, None);
        Self { user, text, decision, request: fresh(), session, acked, asked, frame, outcome }
    }
    /// Its client waits for something.
    pub(crate) fn is_open(&self) -> bool {
        self.outcome.is_none() && !self.is_left()
    }
    fn is_left(&self) -> bool {
        self.asked && matches!(self.decision, Decision::None)
    }
    fn accepts(&self) -> bool {
        matches!(self.decision, Decision::Frame(true) | Decision::Words { accept: true, .. })
    }

    /// Says it, or takes it up again, until there is an outcome. `None`: the server is gone.
    pub(crate) async fn converse(&mut self, url: &str, token: &str) -> Option<()> {
        let mut talker = Talker::reach(url, token).await?;
        if self.acked {
            talker.resume(&self.session, self.frame).await;
        } else {
            self.say(&mut talker).await;
        }
        if self.asked {
            self.decide(&mut talker).await;
        }
        while self.is_open() {
            let frame = talker.next().await?;
            self.told(&mut talker, frame).await;
        }
        Some(())
    }
    async fn say(&self, talker: &mut Talker) {
        let (request, session) = (&self.request, &self.session);
        let frame =
            json!({ "type": "message", "request_id": request, "session_id": session, "text": self.text });
        talker.send(&frame).await;
    }
    async fn decide(&self, talker: &mut Talker) {
        let frame = match &self.decision {
            Decision::Frame(accept) => {
                json!({ "type": "confirm", "request_id": self.request, "accept": accept })
            }
            Decision::Words { text, request, .. } => {
                let session = &self.session;
                json!({ "type": "message", "request_id": request, "session_id": session, "text": text })
            }
            Decision::None => return,
        };
        talker.send(&frame).await;
    }
    async fn told(&mut self, talker: &mut Talker, frame: Value) {
        let about = frame["request_id"].as_str().unwrap_or_default();
        if let Decision::Words { request, acked, .. } = &mut self.decision
            && about == request.as_str()
        {
            *acked |= frame["type"] == "ack";
        }
        if frame["type"] == "error" {
            return self.mistaken(talker, &frame).await;
        }
        if about != self.request {
            return;
        }
        if frame["type"] == "ack" {
            self.acked = true;
            self.session = frame["session_id"].clone();
        } else if frame["type"] == "reply" {
            self.frame = frame["frame"].as_u64().expect("a number");
            if frame["status"] == "needs_confirmation" {
                self.asked = true;
                self.decide(talker).await;
            } else {
                self.outcome = Some(frame);
            }
        }
    }
    async fn mistaken(&self, talker: &mut Talker, frame: &Value) {
        if frame["retryable"] == true {
            if self.acked { self.decide(talker).await } else { self.say(talker).await }
        } else {
            // Its outcome is told all the same.
            assert_eq!(frame["code"], "confirmation.expired", "{self:?}: {frame}");
        }
    }

    /// What its outcome did to the balances.
    pub(crate) fn book(&self, balances: &mut BTreeMap<String, i64>) {
        let Some(outcome) = self.outcome.as_ref().filter(|outcome| outcome["status"] == "completed") else {
            return;
        };
        let done = &outcome["data"];
        if !matches!(done["kind"].as_str(), Some("transferred" | "purchased")) {
            return;
        }
        assert!(self.accepts(), "{self:?} was done and not agreed to");
        let proposal = &done["proposal"];
        let text = |field: &str| proposal[field].as_str().expect("text").to_owned();
        let (to, amount) = if done["kind"] == "transferred" {
            (text("to"), &proposal["amount"])
        } else {
            ("mercado-checking".to_owned(), &proposal["total"])
        };
        let minor = amount["minor"].as_i64().expect("centavos");
        *balances.get_mut(&text("from")).expect("an account") -= minor;
        *balances.get_mut(&to).expect("an account") += minor;
    }
    /// What became of it, for people.
    fn end(&self) -> String {
        let kind = self.outcome.as_ref().map(|outcome| outcome["data"]["kind"].as_str().expect("a kind"));
        kind.unwrap_or("left").to_owned()
    }
    /// It was the one of its kind.
    fn took_the_last(&self) -> bool {
        self.text.contains("alebrije") && self.end() == "purchased"
    }
    /// The requests that must have an answer.
    fn requests(&self) -> impl Iterator<Item = &str> {
        let words = match &self.decision {
            Decision::Words { request, acked: true, .. } => Some(request.as_str()),
            _ => None,
        };
        words.into_iter().chain(self.acked.then_some(self.request.as_str()))
    }
}

/// How often the one piece was sold here.
pub(crate) fn pieces(said: &[Said]) -> usize {
    said.iter().filter(|said| said.took_the_last()).count()
}

/// Holds what was told against the log, from an export of it: one final reply for each
/// request that was acknowledged, the one that was told. The answer is how many wait for a
/// person.
pub(crate) fn judge(place: &Place, said: &[Said]) -> usize {
    let export = std::fs::read_to_string(place.path("export.jsonl")).expect("exported");
    let mut heard = BTreeSet::new();
    let mut finals: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in export.lines() {
        let event: Value = serde_json::from_str(line).expect("JSON");
        let (body, version) = (&event["body"], &event["version"]);
        match event["type"].as_str() {
            Some("session.heard") if body["said"]["words"].is_object() => {
                let request = body["request"].as_str().expect("an id").to_owned();
                assert!(heard.insert(request), "heard twice: {event}");
            }
            Some("session.replied") if body["status"] != "needs_confirmation" => {
                for request in body["answers"].as_array().expect("whom") {
                    let told = json!({ "frame": version, "status": body["status"], "data": body["data"] });
                    finals.entry(request.as_str().expect("an id").to_owned()).or_default().push(told);
                }
            }
            _ => {}
        }
    }
    let (mut ends, mut waiting) = (BTreeMap::<String, u32>::new(), 0);
    for one in said {
        *ends.entry(one.end()).or_default() += 1;
        for request in one.requests() {
            assert!(heard.contains(request), "{request} was acknowledged and is not there: {one:?}");
            let replies = finals.get(request).map_or(&[][..], Vec::as_slice);
            if replies.is_empty() && one.is_left() {
                waiting += 1;
                continue;
            }
            assert_eq!(replies.len(), 1, "{one:?}: {replies:?}");
            if let Some(outcome) = one.outcome.as_ref().filter(|_| request == one.request) {
                for field in ["frame", "status", "data"] {
                    assert_eq!(replies[0][field], outcome[field], "{field} of {request}: {one:?}");
                }
            }
        }
    }
    eprintln!("{} said: {ends:?}", said.len());
    waiting
}
