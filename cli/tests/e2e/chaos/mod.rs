//! The gateway before upstreams that fail in every way there is, under load, for as long as
//! is wanted: every client gets an answer or a clear error, and afterwards nothing is left.
//!
//! `STEADFAST_CHAOS_SECONDS` and `STEADFAST_LEAK_SECONDS` say how long, `STEADFAST_CHAOS_SEED`
//! repeats what fails when.

mod answers;
mod load;
mod upstreams;

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering::SeqCst},
    time::Duration,
};

use serde_json::{Value, json};
use steadfast_core::World;

use crate::{
    http::{Client, send},
    kill::setting,
    node::{Node, Place, SERVE},
};
use load::{Clients, Tally};
use upstreams::Upstreams;

const CONFIG: &str = "
[models.routes.m]
order = 'weight'
targets = [{ provider = 'p0' }, { provider = 'p1' }, { provider = 'a0' }, { provider = 'p3' }]
continue_streams = true
retry.waits = ['20ms', '50ms']
[models.routes.plain]
targets = [{ provider = 'p0' }, { provider = 'p3' }]
retry.enabled = false
[models.routes.e]
order = 'weight'
targets = [{ provider = 'p0' }, { provider = 'p1' }, { provider = 'p3' }]
retry.waits = ['20ms']
[models.prices.m]
input = '1'
output = '2'
thinks = 'never'
[models.prices.plain]
input = '3'
output = '4'
thinks = 'never'
[models.prices.e]
input = '5'
[models.budget.limits.all]
limit = '1000000'
window = 'total'
[models.budget.limits.user]
limit = '1000000'
window = 'total'
per = 'user'
[models.budget.limits.tight]
limit = '0.2'
window = 'total'
named = true
[models.admission]
running = 8
waiting = 40
ageing = '500ms'
[models.cache]
ttl = '2s'
entries_max = 300
chat.similar = true
";

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    resident_kib: u64,
    sockets: usize,
    files: usize,
    threads: usize,
}

impl Held {
    fn of(node: &Node) -> Self {
        let at = format!("/proc/{}", node.pid());
        let status = std::fs::read_to_string(format!("{at}/status")).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
        let resident = line.split_whitespace().next().expect("a figure");
        let open = std::fs::read_dir(format!("{at}/fd")).expect("its files");
        // Some are gone by the time they are looked at.
        let open: Vec<_> = open.flatten().filter_map(|it| std::fs::read_link(it.path()).ok()).collect();
        let sockets = open.iter().filter(|it| it.to_string_lossy().starts_with("socket:")).count();
        let threads = std::fs::read_dir(format!("{at}/task")).expect("its threads").count();
        Self { resident_kib: resident.parse().expect("a number"), sockets, files: open.len(), threads }
    }
}

/// A gateway, its upstreams, and who asks.
struct Scene {
    place: Place,
    node: Node,
    upstreams: Upstreams,
    clients: Clients,
    admin: String,
    /// What the gateway held before anybody had asked.
    idle: Held,
    seed: u64,
}

impl Scene {
    async fn set() -> Self {
        let seed = setting("STEADFAST_CHAOS_SEED").unwrap_or_else(|| World::system().chance().bits());
        eprintln!("STEADFAST_CHAOS_SEED={seed}");
        let place = Place::new();
        let upstreams = Upstreams::start().await;
        let config = upstreams.providers() + CONFIG;
        std::fs::write(place.path("steadfast.toml"), config).expect("written");
        let node = Node::start(place.command(&[SERVE, &["--config", "steadfast.toml"]].concat()));
        let idle = Held::of(&node);
        let client = Client::new(&node.url);
        let admin = place.token("olga", "admin");
        let tokens = ["ana", "luis", "marta"].map(|user| place.token(user, "user"));
        let mut keys = Vec::new();
        for key in [
            json!({ "name": "free", "user": "ana" }),
            json!({ "name": "poor", "budget": { "limit": "0.05", "window": "total" } }),
            json!({ "name": "slow", "requests_per_minute": 900, "tokens_per_minute": 100_000 }),
        ] {
            let request =
                client.raw(reqwest::Method::POST, "/api/v1/models/keys").bearer_auth(&admin).json(&key);
            let made = send(request).await.expect("an answer");
            assert_eq!(made.status, 201, "{made:?}");
            keys.push(made.text("secret").to_owned());
        }
        let clients = Clients { client, tokens: tokens.to_vec().into(), keys: keys.into() };
        Self { place, node, upstreams, clients, admin, idle, seed }
    }
    async fn get(&self, path: &str) -> Value {
        self.clients.client.get(&self.admin, path).await
    }
    /// Everything has run once.
    async fn warm_up(&self) {
        for number in 0..40 {
            for model in ["m", "plain", "e"] {
                let answer = send(self.clients.plain(model, number)).await.expect("an answer");
                assert_eq!(answer.status, 200, "{answer:?}");
            }
        }
    }
    /// Asks until all breakers have closed, which they do by themselves.
    async fn until_well(&self) {
        for number in 0..1_200 {
            for model in ["m", "plain", "e"] {
                send(self.clients.plain(model, number)).await.expect("an answer");
            }
            let found = self.get("/models").await;
            let providers = found["providers"].as_array().expect("providers");
            if providers.iter().all(|it| it["breaker"] == "closed") {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("breakers stay open: {}", self.get("/models").await);
    }
    /// Waits until nothing is under way, and looks at the books.
    async fn at_rest(&self) {
        let mut status = Value::Null;
        for _ in 0..600 {
            status = self.get("/models/status").await;
            let spending = status["spending"].as_array().expect("limits");
            let reserved = spending.iter().any(|it| it["reserved"] != "0");
            let queue = &status["queue"];
            if !reserved && queue["running"] == 0 && queue["waiting"] == json!([]) {
                assert_eq!(self.upstreams.open().await, 0, "nobody is being asked");
                return self.books(&status).await;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("something is still under way: {status}");
    }
    /// What limits think was spent is what the records say.
    async fn books(&self, status: &Value) {
        let month =
            recorded(&self.place, "SELECT strftime('%Y-%m', max(begun) / 1000000, 'unixepoch') FROM calls");
        let costs = self.get(&format!("/models/costs?month={month}&by=route")).await;
        let nanos = |value: &Value| {
            let dollars: steadfast_models::Usd = value.as_str().expect("dollars").parse().expect("dollars");
            dollars.nanos()
        };
        let sum: u64 = costs["items"].as_array().expect("costs").iter().map(|it| nanos(&it["cost"])).sum();
        let sum_of = |sql: &str| -> u64 { recorded(&self.place, sql).parse().expect("a number") };
        assert_eq!(
            sum,
            sum_of("SELECT CAST(sum(cost) AS TEXT) FROM calls"),
            "costs are the sum of the records"
        );
        assert_eq!(sum_of("SELECT CAST(count(*) AS TEXT) FROM calls WHERE state <> 'done'"), 0);
        let mut by_limit = BTreeMap::<&str, u64>::new();
        for it in status["spending"].as_array().expect("limits") {
            *by_limit.entry(it["budget"].as_str().expect("a name")).or_default() += nanos(&it["spent"]);
        }
        eprintln!("spent, in nano-dollars: {by_limit:?}, recorded: {sum}");
        assert_eq!((by_limit["all"], by_limit["user"]), (sum, sum), "{status}");
        assert_eq!(
            by_limit["tight"],
            sum_of("SELECT CAST(sum(cost) AS TEXT) FROM calls WHERE budget = 'tight'")
        );
        assert!(by_limit["tight"] <= 200_000_000, "within its limit");
    }
}

fn recorded(place: &Place, sql: &str) -> String {
    let file = place.path("data").join(steadfast_models::record::FILE);
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = rusqlite::Connection::open_with_flags(file, flags).expect("the records");
    connection.query_row(sql, [], |row| row.get(0)).expect("a row")
}

fn report(tally: &Tally, upstreams: &Upstreams) {
    let counts = tally.counts.lock().expect("counts");
    eprintln!("{} clients, {} calls of steady upstreams:", counts.values().sum::<u64>(), upstreams.calls());
    for (what, count) in &*counts {
        eprintln!("{count:>8} {what}");
    }
    eprintln!("the latest came {} ms after its deadline", tally.late_us.load(SeqCst) / 1_000);
    let complaints = tally.complaints.lock().expect("complaints");
    let first: Vec<_> = complaints.iter().take(5).collect();
    assert!(complaints.is_empty(), "{} complaints: {first:#?}", complaints.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_upstreams_do_every_client_is_answered_and_nothing_is_left_afterwards() {
    let seconds = setting("STEADFAST_CHAOS_SECONDS").unwrap_or(10);
    let mut scene = Scene::set().await;
    scene.warm_up().await;
    let before = Held::of(&scene.node);
    let tally = Arc::new(Tally::default());
    scene.upstreams.fail(scene.seed);
    scene.clients.storm(scene.seed, seconds, &tally, |_| {}).await;
    report(&tally, &scene.upstreams);
    scene.upstreams.recover().await;
    scene.until_well().await;
    scene.at_rest().await;
    let loaded = Held::of(&scene.node);
    // Whoever is connected goes away, and with them every connection.
    let Scene { node, upstreams, clients, idle, .. } = scene;
    drop((upstreams, clients));
    let mut after = Held::of(&node);
    for _ in 0..600 {
        if after.sockets <= idle.sockets {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        after = Held::of(&node);
    }
    eprintln!("idle   {idle:?}\nwarm   {before:?}\nloaded {loaded:?}\nafter  {after:?}");
    assert!(after.sockets <= idle.sockets, "sockets are left: {idle:?}, {after:?}");
    // Threads for what blocks come and go.
    assert!(after.threads <= before.threads + 8, "threads are left: {before:?}, {after:?}");
    assert!(after.files <= idle.files + 4, "files are left: {idle:?}, {after:?}");
    assert!(after.resident_kib < before.resident_kib + 64 * 1_024, "memory grew: {before:?}, {after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn under_mixed_load_with_cuts_memory_is_flat() {
    let seconds = setting("STEADFAST_LEAK_SECONDS").unwrap_or(20);
    let mut scene = Scene::set().await;
    scene.warm_up().await;
    scene.upstreams.fail(scene.seed);
    let tally = Arc::new(Tally::default());
    let mut samples = Vec::new();
    let take = |second| samples.push((second, Held::of(&scene.node)));
    scene.clients.storm(scene.seed, seconds, &tally, take).await;
    for (second, held) in samples.iter().filter(|(second, _)| second % (seconds / 20).max(1) == 0) {
        eprintln!("{second:>4} s {held:?}");
    }
    report(&tally, &scene.upstreams);
    let peak = |from: u64, to: u64| {
        let part = samples.iter().filter(|(second, _)| (from..=to).contains(&(second * 5)));
        part.map(|(_, held)| held.resident_kib).max().expect("samples")
    };
    let (early, late) = (peak(seconds, 2 * seconds), peak(4 * seconds, 5 * seconds));
    eprintln!("peak of the second fifth {early} KiB, of the last {late} KiB");
    assert!(late < early + early / 10 + 8 * 1_024, "memory grows: {early} KiB, then {late} KiB");
    let sockets = |held: &Held| held.sockets;
    assert!(samples.iter().map(|(_, held)| sockets(held)).max().expect("samples") < 2_000);
    scene.upstreams.recover().await;
    scene.until_well().await;
    scene.at_rest().await;
}
