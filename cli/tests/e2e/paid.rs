//! Kill -9 in the middle of streams: the records show what was asked, sent and paid, limits
//! count at least what was spent, and nothing counts twice.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use steadfast_models::Usd;
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::{
    http::Client,
    node::{Node, Place, SERVE},
};

/// A dollar a token in, two a token out.
const CONFIG: &str = "
[models.cache]
enabled = false
[models.routes.m]
targets = [{ provider = 'p0' }]
[models.prices.m]
input = '1000000'
output = '2000000'
thinks = 'never'
[models.budget.limits.all]
limit = '10000000'
window = 'total'
";

struct Scene {
    place: Place,
    upstream: Mock,
}

impl Scene {
    async fn set(mode: &str) -> Self {
        let place = Place::new();
        let upstream = Mock::start(Plan::default()).await.expect("runs");
        let provider = format!("[models.providers.p0]\nurl = '{}'\n", upstream.url());
        let config = format!("{provider}{CONFIG}[models.records]\nmode = '{mode}'\n");
        std::fs::write(place.path("steadfast.toml"), config).expect("written");
        Self { place, upstream }
    }
    fn serve(&self) -> Node {
        self.serve_with("10s")
    }
    fn serve_with(&self, grace: &str) -> Node {
        let mut command = self.place.command(&[SERVE, &["--config", "steadfast.toml"]].concat());
        command.env("STEADFAST_SERVER__GRACE", grace);
        Node::start(command)
    }
    /// The same call, under the same id, however often it is made.
    async fn ask(&self, node: &Node, stream: bool) -> Response {
        let body = json!({ "model": "m", "stream": stream, "max_tokens": 30_000,
                           "messages": [{ "role": "user", "content": "go" }] });
        let request = Client::new(&node.url).raw(Method::POST, "/v1/chat/completions").json(&body);
        let request = request.bearer_auth(self.place.token("ana", "user")).header("x-request-id", "one-call");
        request.send().await.expect("an answer")
    }
    /// A stream that goes on for ever, read until so many pieces have come.
    async fn read(&self, node: &Node, pieces: usize) -> Response {
        let plan = Plan { every: Duration::from_millis(10), chunks: 20_000, ..Plan::default() };
        self.upstream.plan(plan);
        let mut stream = self.ask(node, true).await;
        let mut said = String::new();
        while !said.contains(&format!("word{pieces} ")) {
            said += &String::from_utf8_lossy(&stream.chunk().await.expect("a piece").expect("more"));
        }
        stream
    }
    /// One value of the records, if there are any.
    fn recorded<T: rusqlite::types::FromSql>(&self, sql: &str) -> Option<T> {
        let file = self.place.path("data").join(steadfast_models::record::FILE);
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let connection = rusqlite::Connection::open_with_flags(file, flags).expect("the records");
        connection.query_row(sql, [], |row| row.get(0)).ok()
    }
    fn sum(&self) -> u64 {
        u64::try_from(self.recorded::<i64>("SELECT coalesce(sum(cost), 0) FROM calls").expect("a sum"))
            .expect("a cost")
    }
    /// Costs, as operators are told, and how many calls they are of.
    async fn costs(&self, node: &Node) -> (u64, u64) {
        let (client, admin) = (Client::new(&node.url), self.place.token("olga", "admin"));
        let of =
            async |month: &str| client.get(&admin, &format!("/models/costs?month={month}&by=user")).await;
        // Whoever asks, for whichever month, finds all written down that has ended.
        of("2026-01").await;
        let month = "SELECT strftime('%Y-%m', max(begun) / 1000000, 'unixepoch') FROM calls";
        let costs = of(&self.recorded::<String>(month).expect("a month")).await;
        let items = costs["items"].as_array().expect("costs");
        let nanos = items.iter().map(|it| nanos(&it["cost"])).sum();
        (nanos, items.iter().map(|it| it["calls"].as_u64().expect("calls")).sum())
    }
    /// What the limit counts as spent.
    async fn spent(&self, node: &Node) -> u64 {
        let status = Client::new(&node.url).get(&self.place.token("olga", "admin"), "/models/status").await;
        nanos(&status["spending"][0]["spent"])
    }
}

fn signal(node: &Node, which: &str) {
    let sent = std::process::Command::new("kill").args([which, &node.pid().to_string()]).status();
    assert!(sent.expect("kill runs").success());
}

fn nanos(value: &Value) -> u64 {
    value.as_str().expect("dollars").parse::<Usd>().expect("dollars").nanos()
}

const DOLLAR: u64 = 1_000_000_000;

#[tokio::test(flavor = "multi_thread")]
async fn killed_in_a_stream_the_record_shows_what_was_sent_and_paid_and_nothing_counts_twice() {
    for mode in ["batched", "durable"] {
        let scene = Scene::set(mode).await;
        let mut node = scene.serve();
        let stream = scene.read(&node, 5).await;
        // What goes on is written down once a second.
        let told = "SELECT output FROM calls WHERE state = 'open'";
        let sent = loop {
            match scene.recorded::<u32>(told) {
                Some(output) if output >= 36 => break u64::from(output),
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        node.kill();
        drop(stream);

        let mut calls = 1;
        let mut lost = None;
        for _ in 0..2 {
            scene.upstream.plan(Plan { chunks: 4, ..Plan::default() });
            let node = scene.serve();
            let row =
                "SELECT concat_ws(' ', state, code, asked, provider, user, stream, estimated, id) FROM calls
                ORDER BY n LIMIT 1";
            let row = scene.recorded::<String>(row).expect("a record");
            assert_eq!(row, "lost node.died m p0 ana 1 1 one-call", "{mode}");
            let cost = scene.recorded::<i64>("SELECT cost FROM calls ORDER BY n LIMIT 1");
            assert!(cost.expect("a cost").unsigned_abs() >= 2 * sent * DOLLAR, "{mode}: {cost:?} for {sent}");
            assert_eq!(*lost.get_or_insert(cost), cost, "a restart does not change it");
            assert_eq!(scene.costs(&node).await, (scene.sum(), calls), "{mode}");

            // The same again is a call of its own: 9 tokens in, 4 out.
            let before = scene.sum();
            assert_eq!(scene.ask(&node, false).await.headers()["x-steadfast-cost-usd"], "17");
            calls += 1;
            assert_eq!(scene.costs(&node).await, (before + 17 * DOLLAR, calls), "{mode}");
            assert_eq!(scene.sum(), before + 17 * DOLLAR);
            // What was set apart when it died counts as spent: more than the truth, never less.
            let spent = scene.spent(&node).await;
            assert!((scene.sum()..=10_000_000 * DOLLAR).contains(&spent), "{mode}: {spent}");
            node.stop();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_the_middle_of_calls_their_clients_are_told_and_the_records_say_so() {
    let scene = Scene::set("batched").await;
    let mut node = scene.serve_with("100ms");
    let mut stream = scene.read(&node, 5).await;
    scene.upstream.plan(Fault::Hang);
    let before = scene.upstream.calls();
    let whole = scene.ask(&node, false);
    let stopping = async {
        scene.upstream.until(|mock| mock.calls() > before).await;
        signal(&node, "-TERM");
    };
    let streamed = async {
        let mut said = String::new();
        while let Some(piece) = stream.chunk().await.expect("it ends by itself") {
            said += &String::from_utf8_lossy(&piece);
        }
        said
    };
    let (whole, streamed, ()) = tokio::join!(whole, streamed, stopping);
    while node.alive() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((whole.status().as_u16(), &whole.headers()["retry-after"]), (503, &"1".parse().expect("one")));
    let told: Value = whole.json().await.expect("JSON");
    assert_eq!(told["error"]["code"], "node.stopping");
    assert!(streamed.contains("node.stopping") && !streamed.contains("[DONE]"), "{streamed}");
    let ended = "SELECT group_concat(code) FROM calls WHERE state <> 'open'";
    assert_eq!(scene.recorded::<String>(ended).as_deref(), Some("node.stopping,node.stopping"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_node_to_stop_twice_does_not_wait() {
    let scene = Scene::set("batched").await;
    let mut node = scene.serve_with("1h");
    let _stream = scene.read(&node, 5).await;
    while node.alive() {
        signal(&node, "-INT");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_once_a_limit_counts_what_went_out_and_an_intent_is_kept() {
    for mode in ["batched", "durable"] {
        let scene = Scene::set(mode).await;
        let (mut words, mut durable) = (0, 0);
        for round in 0..4 {
            let mut node = scene.serve();
            let pieces = 3 + 20 * round;
            let stream = scene.read(&node, pieces).await;
            node.kill();
            drop(stream);
            words += pieces as u64 + 1;
            durable += u64::from(mode == "durable");
        }
        scene.upstream.plan(Plan { chunks: 4, ..Plan::default() });
        let node = scene.serve();
        assert_eq!(scene.ask(&node, false).await.status(), 200);
        let (cost, calls) = scene.costs(&node).await;
        assert_eq!(cost, scene.sum(), "{mode}");
        // The last second may be lost, but not to the limit, and not where intents are durable.
        assert!((durable + 1..=5).contains(&calls), "{mode}: {calls} calls");
        let spent = scene.spent(&node).await;
        assert!(spent >= cost.max(2 * words * DOLLAR), "{mode}: {spent} for {words} words, {cost} recorded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_node_knows_keys_and_calls_and_lets_nobody_spend_a_limit_twice() {
    let scene = Scene::set("batched").await;
    let place = &scene.place;
    let node = scene.serve();
    let (client, admin) = (Client::new(&node.url), place.token("olga", "admin"));
    let key = json!({ "name": "web", "user": "ana", "budget": { "limit": "600", "window": "total" } });
    let made = client.raw(Method::POST, "/api/v1/models/keys").bearer_auth(&admin).json(&key).send().await;
    let secret = made.expect("an answer").json::<Value>().await.expect("JSON")["secret"].clone();
    let ask = async |node: &Node| {
        let body =
            json!({ "model": "m", "max_tokens": 2, "messages": [{ "role": "user", "content": "go" }] });
        let request = Client::new(&node.url).raw(Method::POST, "/v1/chat/completions").json(&body);
        request
            .bearer_auth(secret.as_str().expect("a key"))
            .send()
            .await
            .expect("an answer")
            .status()
            .as_u16()
    };
    scene.upstream.plan(Plan { chunks: 2, ..Plan::default() });
    let mut paid = 0;
    while ask(&node).await == 200 {
        paid += 1;
    }
    assert!((1..200).contains(&paid), "the key's budget ends: {paid}");
    let all = scene.costs(&node).await;
    place.ok(&["backup", "copy.db"]);
    let again = place.refused(&["backup", "copy.db", "--json"]);
    assert!(again.contains("records.exists") || again.contains("store.exists"), "{again}");
    node.stop();

    // Another folder, as on another machine.
    std::fs::create_dir(place.path("new")).expect("made");
    std::fs::copy(place.path("data/node.key"), place.path("new/node.key")).expect("copied");
    let store = ["--store", "sqlite:new/bank.db"];
    let restored = place.ok(&[&["restore", "copy.db", "--json"], &store[..]].concat());
    let restored: Value = serde_json::from_str(&restored).expect("JSON");
    assert_eq!(restored["records"], "restored", "{restored}");
    place.ok(&[&["verify", "--rebuild"], &store[..]].concat());
    place.ok(&[&["resume"], &store[..]].concat());
    let serve = [SERVE, &["--config", "steadfast.toml"], &store[..]].concat();
    let node = Node::start(place.command(&serve));
    assert_eq!(ask(&node).await, 402, "its budget is spent");
    let (client, admin) = (Client::new(&node.url), place.token("olga", "admin"));
    let calls = client.get(&admin, "/models/calls").await;
    let done = calls["items"].as_array().expect("calls").iter().filter(|it| it["status"] == 200).count();
    assert_eq!(done, paid);
    let status = client.get(&admin, "/models/status").await;
    let accounts = status["spending"].as_array().expect("accounts");
    let spent = accounts.iter().map(|it| nanos(&it["spent"])).max().expect("some");
    assert!(spent >= all.0, "{status}: {all:?}");
    node.stop();

    // Records that went on since stay, such that know less are not taken for the backup's, and
    // such that do not hold together are told.
    let other = ["--store", "sqlite:new/other.db"];
    let kept = place.ok(&[&["restore", "copy.db", "--json"], &other[..]].concat());
    assert!(kept.contains("\"kept\""), "{kept}");
    let records = rusqlite::Connection::open(place.path("new/gateway.db")).expect("opens");
    records.execute("UPDATE days SET cost = cost / 2, calls = 0", []).expect("written");
    let wrong = place.run(&[&["verify"], &store[..]].concat());
    assert!(String::from_utf8_lossy(&wrong.stdout).contains("sums of a day are less"), "{wrong:?}");
    records.execute("DELETE FROM days", []).expect("written");
    let third = ["--store", "sqlite:new/third.db"];
    let older = place.refused(&[&["restore", "copy.db", "--json"], &third[..]].concat());
    assert!(older.contains("records.older") && !place.path("new/third.db").exists(), "{older}");
}
