//! Clients that ask whatever comes, so many a second, and judge what they get.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use steadfast_core::{
    World,
    chance::{Chance as _, Seeded, split_mix},
};
use tokio::{task::JoinSet, time::timeout};

use super::answers::{self, Shape};
use crate::http::Client;

/// How long after its deadline a client may have its answer on a machine that is busy with
/// other things. Who has none by then waits for ever.
const SLACK: Duration = Duration::from_secs(20);

/// What all clients got.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) counts: Mutex<BTreeMap<String, u64>>,
    pub(super) complaints: Mutex<Vec<String>>,
    /// The longest that an answer came after its deadline.
    pub(super) late_us: AtomicU64,
}

impl Tally {
    fn add(&self, result: Result<String, String>) {
        match result {
            Ok(what) => *self.counts.lock().expect("counts").entry(what).or_default() += 1,
            Err(what) => self.complaints.lock().expect("complaints").push(what),
        }
    }
}

/// Who asks: users of the node, and holders of virtual keys.
#[derive(Clone)]
pub(super) struct Clients {
    pub(super) client: Client,
    pub(super) tokens: Arc<[String]>,
    pub(super) keys: Arc<[String]>,
}

/// One call.
struct One {
    shape: Shape,
    stream: bool,
    body: Value,
    headers: Vec<(&'static str, String)>,
    secret: String,
    /// In which header the secret goes.
    bearer: bool,
    deadline: Duration,
    /// When the client has had enough.
    leaves: Option<Duration>,
}

impl Clients {
    /// A call from a seed.
    fn any(&self, seed: u64) -> One {
        let chance = Seeded::new(seed);
        let below = |bound: usize| usize::try_from(chance.below(bound as u64)).expect("small");
        let shape =
            [Shape::Chat, Shape::Chat, Shape::Messages, Shape::Responses, Shape::Embeddings][below(5)];
        let stream = shape != Shape::Embeddings && below(2) == 0;
        let model = if shape == Shape::Embeddings { "e" } else { ["m", "m", "plain"][below(3)] };
        // Some ask what others asked.
        let text = if below(3) == 0 { format!("go {}", below(6)) } else { format!("go {}", chance.bits()) };
        let body = match shape {
            Shape::Embeddings => json!({ "model": model, "input": text }),
            Shape::Responses => {
                json!({ "model": model, "input": text, "stream": stream, "max_output_tokens": 100 })
            }
            Shape::Chat | Shape::Messages => json!({
                "model": model, "stream": stream, "max_tokens": 100,
                "messages": [{ "role": "user", "content": text }],
            }),
        };
        let deadline = Duration::from_millis(200 + chance.below(4_000));
        let mut headers = vec![("x-steadfast-deadline", format!("{}ms", deadline.as_millis()))];
        headers.push(("x-steadfast-priority", ["low", "normal", "high", "critical"][below(4)].into()));
        if below(4) == 0 {
            headers.push(("x-steadfast-budget", "tight".into()));
        }
        if below(4) == 0 {
            headers.push(("x-steadfast-cache", ["refresh", "bypass"][below(2)].into()));
        }
        let secrets = if below(2) == 0 { &self.tokens } else { &self.keys };
        let secret = secrets[below(secrets.len())].clone();
        let leaves = (below(12) == 0).then(|| Duration::from_millis(chance.below(400)));
        One { shape, stream, body, headers, secret, bearer: below(2) == 0, deadline, leaves }
    }
    /// One that is well as soon as everybody is.
    pub(super) fn plain(&self, model: &str, number: u64) -> RequestBuilder {
        let shape = if model == "e" { Shape::Embeddings } else { Shape::Chat };
        let body = json!({ "model": model, "input": number.to_string(), "max_tokens": 100, "stream": number.is_multiple_of(2),
                           "messages": [{ "role": "user", "content": number.to_string() }] });
        let request = self.client.raw(Method::POST, shape.path()).bearer_auth(&self.tokens[0]);
        request.header("x-steadfast-cache", "bypass").json(&body)
    }
    async fn ask(&self, one: &One) -> Result<String, String> {
        let mut request = self.client.raw(Method::POST, one.shape.path()).json(&one.body);
        for (name, value) in &one.headers {
            request = request.header(*name, value);
        }
        request = if one.bearer {
            request.bearer_auth(&one.secret)
        } else {
            request.header("x-api-key", &one.secret)
        };
        let broken = |error: reqwest::Error| format!("the connection broke: {error:?}");
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status().as_u16();
        let header = |name: &str| {
            answer.headers().get(name).map_or("", |it| it.to_str().unwrap_or_default()).to_owned()
        };
        let (kind, id) = (header("content-type"), header("x-request-id"));
        let (cache, degraded) = (header("x-steadfast-cache"), header("x-steadfast-degraded"));
        let body = answer.text().await.map_err(broken)?;
        if id.is_empty() {
            return Err(format!("an answer without an id: {body}"));
        }
        if status != 200 {
            return answers::error(one.shape, status, &id, &body);
        }
        let what = match (one.stream, kind.starts_with("text/event-stream")) {
            (true, true) => answers::stream(one.shape, &body)?,
            (false, false) => answers::whole(one.shape, &body)?,
            _ => return Err(format!("{kind} is not what was asked for: {body}")),
        };
        let from = match (cache.as_str(), degraded.as_str()) {
            ("hit", "") => " from the cache",
            (_, "") => "",
            _ => " kept from before",
        };
        Ok(format!("{what}{from}"))
    }
    async fn call(self, one: One, tally: Arc<Tally>) {
        let world = World::system();
        let asked = world.clock().elapsed();
        let limit = one.leaves.unwrap_or(one.deadline + SLACK);
        let result = match (timeout(limit, self.ask(&one)).await, one.leaves) {
            (Ok(result), _) => result,
            (Err(_), Some(_)) => Ok("clients that left".into()),
            (Err(_), None) => Err(format!("no answer {SLACK:?} after its deadline: {:?}", one.body)),
        };
        let late = world.clock().elapsed().saturating_sub(asked + one.deadline);
        tally.late_us.fetch_max(u64::try_from(late.as_micros()).unwrap_or(u64::MAX), SeqCst);
        tally.add(result.map_err(|what| format!("{:?} {:?}: {what}", one.shape, one.headers)));
    }
    /// A hundred calls a second for so long, whether or not the earlier ones are answered.
    /// `every_second` is called once a second. Returns when all clients have what they get.
    pub(super) async fn storm(
        &self,
        seed: u64,
        seconds: u64,
        tally: &Arc<Tally>,
        mut every_second: impl FnMut(u64),
    ) {
        let mut calls = JoinSet::new();
        let mut tick = tokio::time::interval(Duration::from_millis(10));
        for number in 0..seconds * 100 {
            tick.tick().await;
            calls.spawn(self.clone().call(self.any(split_mix(seed, number)), tally.clone()));
            while let Some(done) = calls.try_join_next() {
                done.expect("a client ends well");
            }
            if number % 100 == 99 {
                every_second(number / 100 + 1);
            }
        }
        while let Some(done) = calls.join_next().await {
            done.expect("a client ends well");
        }
    }
}
