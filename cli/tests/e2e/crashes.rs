//! Conversations whose server dies at named moments, and after every commit.

use std::path::Path;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use steadfast_core::World;

use crate::{
    books::{balances, listed},
    http::Client,
    node::Place,
    talker::Talker,
};

/// When the server is killed.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    MessageSent,
    Acknowledged,
    Asked,
    Confirmed,
    /// Its client was told that a step is at this point.
    Told(&'static str, &'static str),
}

/// Something to be agreed to, and what it does.
struct Deal {
    says: &'static str,
    payee: &'static str,
    minor: i64,
    moments: &'static [Moment],
}

use Moment::{Acknowledged, Asked, Confirmed, MessageSent, Told};

const TRANSFER: Deal = Deal {
    says: "transfiere 500 pesos a luis",
    payee: "luis-checking",
    minor: 50_000,
    moments: &[
        MessageSent,
        Acknowledged,
        Asked,
        Confirmed,
        Told("transfer", "started"),
        Told("transfer", "done"),
    ],
};

/// Of what there is one only.
const PURCHASE: Deal = Deal {
    says: "compra un alebrije firmado",
    payee: "mercado-checking",
    minor: 149_900,
    moments: &[
        MessageSent,
        Acknowledged,
        Asked,
        Confirmed,
        Told("purchase.reserve", "done"),
        // Between hold and capture, and before the reply.
        Told("purchase.hold", "done"),
        Told("purchase.capture", "started"),
        Told("purchase.complete", "done"),
    ],
};

/// One request of ana's.
struct Request {
    id: String,
    message: Value,
    confirm: Value,
}

impl Request {
    fn new(says: &str) -> Self {
        let id = World::system().uuid().to_string();
        let message = json!({ "type": "message", "request_id": id, "text": says });
        let confirm = json!({ "type": "confirm", "request_id": id, "accept": true });
        Self { id, message, confirm }
    }
    /// As far as a moment; the ack if it came.
    async fn until(&self, moment: Moment, talker: &mut Talker) -> Option<Value> {
        talker.send(&self.message).await;
        if moment == MessageSent {
            return None;
        }
        let ack = talker.ack(&self.id).await;
        if moment == Acknowledged {
            return Some(ack);
        }
        talker.reply(&self.id, "needs_confirmation").await;
        if moment != Asked {
            talker.send(&self.confirm).await;
        }
        if let Told(step, status) = moment {
            talker.step(&self.id, step, status).await;
        }
        Some(ack)
    }
    /// All of the conversation once more: one question and one outcome.
    async fn is_told_once(&self, url: &str, token: &str, session: &Value) {
        let mut talker = Talker::connect(url, token).await;
        talker.resume(session, 0).await;
        for status in ["needs_confirmation", "completed"] {
            let reply = talker.hear(&self.id, |frame| frame["type"] == "reply").await;
            assert_eq!(reply["status"], status, "{reply}");
        }
    }
}

/// Ana's money, the payee's, and what is left of the one piece.
async fn books(place: &Place, client: &Client, payee: &str) -> (i64, i64, Value) {
    let balances = balances(&listed(place, client).await);
    let products = client.get(&place.token("ana", "user"), "/bank/products?limit=100").await;
    let mut products = products["items"].as_array().expect("a list").iter();
    let piece = products.find(|product| product["id"] == "alebrije-unico").expect("listed");
    (balances["ana-checking"], balances[payee], piece["stock"].clone())
}

/// The server is killed at a moment, and its client goes on with the next one.
async fn is_done_once_if_killed(deal: &Deal, moment: Moment) {
    let place = Place::new();
    let mut node = place.serve();
    let token = place.token("ana", "user");
    let before = books(&place, &Client::new(&node.url), deal.payee).await;
    let request = Request::new(deal.says);
    let mut talker = Talker::connect(&node.url, &token).await;
    let ack = request.until(moment, &mut talker).await;
    node.kill();

    let node = place.serve();
    let mut talker = Talker::connect(&node.url, &token).await;
    let ack = if let Some(ack) = ack {
        talker.resume(&ack["session_id"], 0).await;
        ack
    } else {
        talker.send(&request.message).await;
        talker.ack(&request.id).await
    };
    let asked = talker.reply(&request.id, "needs_confirmation").await;
    assert_eq!(asked["run_id"], ack["run_id"], "{moment:?}");
    // Told of a step of what was agreed to, so the yes is durable.
    if !matches!(moment, Told(..)) {
        talker.send(&request.confirm).await;
    }
    talker.reply(&request.id, "completed").await;
    request.is_told_once(&node.url, &token, &ack["session_id"]).await;
    let after = books(&place, &Client::new(&node.url), deal.payee).await;
    assert_eq!((after.0, after.1), (before.0 - deal.minor, before.1 + deal.minor), "{moment:?}");
    node.stop();
    let verdict = place.verify(&["--rebuild"]);
    assert_eq!(verdict["open_runs"], 0, "{moment:?}: {verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_by_conversation_happens_once_whenever_the_server_is_killed() {
    for moment in TRANSFER.moments {
        is_done_once_if_killed(&TRANSFER, *moment).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_by_conversation_happens_once_whenever_the_server_is_killed() {
    for moment in PURCHASE.moments {
        is_done_once_if_killed(&PURCHASE, *moment).await;
    }
}

/// Where the commits in a write-ahead log of SQLite end, in bytes.
fn commits(wal: &[u8]) -> Vec<usize> {
    let number = |at: usize| u32::from_be_bytes(wal[at..at + 4].try_into().expect("four bytes"));
    let (header, salts) = (32, &wal[16..24]);
    let frame = 24 + usize::try_from(number(8)).expect("a page");
    let whole = (0..(wal.len() - header) / frame).map(|n| header + n * frame);
    whole
        .take_while(|at| &wal[at + 8..at + 16] == salts)
        // The last page of a transaction says how large the store is after it.
        .filter(|at| number(at + 4) != 0)
        .map(|at| at + frame)
        .collect()
}

/// A place as another one would be, had its server died when the log was so long.
fn as_of(folder: &Path, wal: usize) -> Place {
    let place = Place::new();
    let data = place.path("data");
    std::fs::create_dir(&data).expect("a folder");
    for file in std::fs::read_dir(folder).expect("readable") {
        let file = file.expect("an entry").path();
        let name = file.file_name().expect("a name").to_owned();
        // What readers share is made anew.
        if name != "steadfast.db-shm" {
            std::fs::copy(&file, data.join(name)).expect("copied");
        }
    }
    let log = std::fs::File::options().write(true).open(data.join("steadfast.db-wal"));
    log.expect("opens").set_len(wal as u64).expect("cut");
    place
}

/// How far ana's purchase is, by what is on the log.
fn stage(place: &Place) -> &'static str {
    let export = place.ok(&["events", "export"]);
    let has = |kind: &str, more: &str| {
        export.lines().any(|line| line.contains(&format!("\"type\":\"{kind}\"")) && line.contains(more))
    };
    match () {
        () if has("session.replied", "\"completed\"") => "replied",
        () if has("product.sold", "") => "before the reply",
        () if has("account.posted", "\"hold\":\"") => "captured",
        () if has("account.held", "") => "between hold and capture",
        () if has("session.heard", "\"decision\"") => "agreed to",
        () if has("session.replied", "") => "waiting for a yes",
        () if has("session.heard", "") => "acknowledged",
        () => "before ack",
    }
}

/// The message is sent, as if for the first time, to a server that died then.
async fn is_done_once_from(place: Place, request: &Request) -> &'static str {
    let stage = stage(&place);
    let node = place.serve();
    let token = place.token("ana", "user");
    let mut talker = Talker::connect(&node.url, &token).await;
    talker.send(&request.message).await;
    let ack = talker.ack(&request.id).await;
    let mut reply = talker.hear(&request.id, |frame| frame["type"] == "reply").await;
    if reply["status"] == "needs_confirmation" {
        talker.send(&request.confirm).await;
        reply = talker.reply(&request.id, "completed").await;
    }
    assert_eq!(reply["data"]["kind"], "purchased", "{stage}: {reply}");
    request.is_told_once(&node.url, &token, &ack["session_id"]).await;
    let after = books(&place, &Client::new(&node.url), PURCHASE.payee).await;
    assert_eq!(after, (2_500_000 - PURCHASE.minor, PURCHASE.minor, json!(0)), "{stage}");
    node.stop();
    let verdict = place.verify(&["--rebuild"]);
    assert_eq!(verdict["open_runs"], 0, "{stage}: {verdict}");
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn a_purchase_by_conversation_happens_once_whichever_commit_was_the_last() {
    let place = Place::new();
    let mut node = place.serve();
    let token = place.token("ana", "user");
    let (data, log) = (place.path("data"), place.path("data/steadfast.db-wal"));
    let before = std::fs::metadata(&log).expect("there").len();
    let request = Request::new(PURCHASE.says);
    let mut talker = Talker::connect(&node.url, &token).await;
    request.until(Confirmed, &mut talker).await;
    talker.reply(&request.id, "completed").await;
    node.kill();
    let ends = commits(&std::fs::read(&log).expect("readable")).into_iter();
    let ends: Vec<_> = ends.filter(|end| *end as u64 >= before).collect();
    let stages = stream::iter(ends)
        .map(|end| is_done_once_from(as_of(&data, end), &request))
        .buffered(2)
        .collect::<Vec<_>>()
        .await;
    eprintln!("{} commits: {stages:?}", stages.len());
    let all = [
        "before ack",
        "acknowledged",
        "waiting for a yes",
        "agreed to",
        "between hold and capture",
        "captured",
        "before the reply",
        "replied",
    ];
    assert!(all.iter().all(|stage| stages.contains(stage)), "{stages:?}");
}
