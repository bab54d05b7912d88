//! Kill -9 in the middle of streams: the records show what was asked, sent and paid, limits
//! count at least what was spent, and nothing counts twice.

use std::time::Duration;

use reqwest::{Method, Response};
use serde_json::{Value, json};
use steadfast_models::Usd;
use steadfast_models_mock::{Mock, Plan};

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
        Node::start(self.place.command(&[SERVE, &["--config", "steadfast.toml"]].concat()))
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
