//! Model calls that outlive their request: responses in the background, and steps of runs.

use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::{
    http::{Client, Reply, send},
    node::{Node, Place, SERVE},
};

/// A server whose route `m` asks this upstream. Its breaker never opens.
fn serve(place: &Place, upstream: &Mock, more: &str) -> Node {
    let text = format!(
        "{more}\n[models.cache]\nenabled = false\n[models.providers.p]\nurl = '{}'\nresponses = false\n\
         breaker.enabled = false\n[models.routes.m]\nretry.enabled = false\ntargets = [{{ provider = 'p' }}]\n",
        upstream.url()
    );
    std::fs::write(place.path("steadfast.toml"), text).expect("written");
    Node::start(place.command(&[SERVE, &["--config", "steadfast.toml"]].concat()))
}

async fn mock(plan: impl Into<Plan>) -> Mock {
    Mock::start(plan).await.expect("runs")
}

/// Somebody who calls models.
struct User {
    client: Client,
    token: String,
}

impl User {
    fn new(place: &Place, node: &Node, name: &str) -> Self {
        Self { client: Client::new(&node.url), token: place.token(name, "user") }
    }
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.raw(method, path).bearer_auth(&self.token)
    }
    async fn begin(&self, body: &Value) -> Reply {
        send(self.request(Method::POST, "/v1/responses").json(body)).await.expect("an answer")
    }
    async fn get(&self, id: &str) -> Reply {
        send(self.request(Method::GET, &format!("/v1/responses/{id}"))).await.expect("an answer")
    }
    async fn cancel(&self, id: &str) -> Reply {
        send(self.request(Method::POST, &format!("/v1/responses/{id}/cancel"))).await.expect("an answer")
    }
    /// Until the response has this status. A test that waits for another one hangs until the
    /// runner stops it.
    async fn until(&self, id: &str, status: &str) -> Value {
        loop {
            let reply = self.get(id).await;
            assert_eq!(reply.status, 200, "{reply:?}");
            if reply.text("status") == status {
                return reply.body;
            }
            let open = matches!(reply.text("status"), "queued" | "in_progress");
            assert!(open, "{status} was expected: {reply:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    /// A run of an agent that lives elsewhere.
    async fn open_run(&self) -> String {
        let body = json!({ "workflow": "models.outside" });
        let run = send(self.request(Method::POST, "/api/v1/runs").json(&body)).await.expect("an answer");
        assert_eq!(run.status, 202, "{run:?}");
        run.text("id").to_owned()
    }
    async fn step(&self, run: &str, step: &str, body: &Value) -> (u16, String, String) {
        let request = self.request(Method::POST, "/v1/chat/completions").json(body);
        let request = request.header("X-Steadfast-Run", run).header("X-Steadfast-Step", step);
        let answer = request.send().await.expect("an answer");
        let step = answer.headers().get("x-steadfast-step").map(|it| it.to_str().expect("text").to_owned());
        (answer.status().as_u16(), step.unwrap_or_default(), answer.text().await.expect("a whole body"))
    }
}

fn background() -> Value {
    json!({ "model": "m", "background": true, "input": "go, says bob@example.com",
            "metadata": { "team": "a", "steadfast-ttl": "1h" } })
}

fn said(response: &Value) -> &Value {
    &response["output"][0]["content"][0]["text"]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_in_the_background_survives_kill_9_and_is_asked_for_again_as_urgent() {
    let place = Place::new();
    let upstream = mock(Fault::Hang).await;
    let mut node = serve(&place, &upstream, "");
    let ana = User::new(&place, &node, "ana");
    let mut unknown = background();
    unknown["model"] = json!("nope");
    let refused = ana.begin(&unknown).await;
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (404, &json!("model.not_found")),
        "{refused:?}"
    );
    let begun = ana.begin(&background()).await;
    assert_eq!((begun.status, begun.text("status")), (200, "queued"), "{begun:?}");
    assert_eq!(
        (&begun.body["background"], &begun.body["output"], &begun.body["metadata"]),
        (&json!(true), &json!([]), &json!({ "team": "a" }))
    );
    let id = begun.text("id").to_owned();
    upstream.until(|it| it.calls() == 1).await;
    assert_eq!(ana.get(&id).await.text("status"), "in_progress");
    node.kill();

    upstream.plan(Plan::default());
    let mut node = serve(&place, &upstream, "");
    let ana = User::new(&place, &node, "ana");
    let done = ana.until(&id, "completed").await;
    assert_eq!(said(&done), &json!(Plan::default().text()), "{done}");
    assert_eq!((&done["id"], &done["background"]), (&json!(id), &json!(true)));
    assert_eq!(done["created_at"], begun.body["created_at"]);
    // What was asked does not say that nobody waits, and what is said there stays here.
    let sent = String::from_utf8(upstream.seen()[1].body.to_vec()).expect("text");
    assert!(!sent.contains("background\":true") && !sent.contains("bob@"), "{sent}");

    // Recorded once: whoever asks later asks the log.
    let calls = upstream.calls();
    node.kill();
    let files = ["steadfast.db", "steadfast.db-wal"].map(|it| std::fs::read(place.path("data").join(it)));
    let bytes: Vec<u8> = files.into_iter().flatten().flatten().collect();
    for planted in ["bob@example.com", "word19"] {
        let found = bytes.windows(planted.len()).any(|it| it == planted.as_bytes());
        assert!(!found, "{planted} lies open in the store");
    }
    let node = serve(&place, &upstream, "");
    let ana = User::new(&place, &node, "ana");
    assert_eq!(ana.get(&id).await.body, done);
    assert_eq!((upstream.calls(), calls), (2, 2));
    // Nobody else knows of it.
    let luis = User::new(&place, &node, "luis");
    for reply in [luis.get(&id).await, luis.cancel(&id).await, ana.get("resp_1").await] {
        assert_eq!((reply.status, &reply.body["error"]["code"]), (404, &json!("response.not_found")));
        assert_eq!(reply.body["error"]["type"], "invalid_request_error");
    }
    let check: Value = serde_json::from_str(&place.ok(&["runs", "check", "--json"])).expect("JSON");
    assert_eq!(check["diverged"], json!([]), "{check}");
    drop(node);
    place.verify(&[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_taken_up_again_waits_as_an_urgent_one() {
    let place = Place::new();
    let upstream = mock(Fault::Hang).await;
    let mut node = serve(&place, &upstream, "");
    let ana = User::new(&place, &node, "ana");
    let first = ana.begin(&background()).await.text("id").to_owned();
    let second = ana.begin(&background()).await.text("id").to_owned();
    upstream.until(|it| it.calls() == 2).await;
    node.kill();

    // There is one place now: one of them takes it, the other one waits.
    let node = serve(&place, &upstream, "[models.admission]\nrunning = 1\n");
    let ana = User::new(&place, &node, "ana");
    let olga = place.token("olga", "admin");
    let waiting = loop {
        let status = ana.client.get(&olga, "/models/status").await;
        if let Some(waiting) = status["queue"]["waiting"].get(0) {
            break waiting.clone();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(waiting["priority"], "high", "{waiting}");
    upstream.until(|it| it.calls() == 3).await;
    // Given up, it leaves the queue; then the other one the upstream.
    for id in [first, second] {
        assert_eq!(ana.cancel(&id).await.text("status"), "cancelled");
    }
    upstream.until(|it| it.open() == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_response_ends_and_so_does_the_call_upstream() {
    let place = Place::new();
    let upstream = mock(Fault::Hang).await;
    let node = serve(&place, &upstream, "");
    let ana = User::new(&place, &node, "ana");
    let id = ana.begin(&background()).await.text("id").to_owned();
    upstream.until(|it| it.calls() == 1).await;
    let cancelled = ana.cancel(&id).await;
    assert_eq!((cancelled.status, cancelled.text("status")), (200, "cancelled"), "{cancelled:?}");
    upstream.until(|it| it.open() == 0 && it.cancelled() == 1).await;
    // Again, the same; and by whatever else ends a run.
    assert_eq!(ana.cancel(&id).await.body, cancelled.body);
    let id = ana.begin(&background()).await.text("id").to_owned();
    upstream.until(|it| it.calls() == 2).await;
    let run = send(ana.request(Method::GET, "/api/v1/runs?workflow=models.response&status=running")).await;
    let run = run.expect("an answer").body["items"][0]["id"].as_str().expect("a run").to_owned();
    assert_eq!(id, format!("resp_{}", run.replace('-', "")));
    place.ok(&["runs", "kill", &run, "--url", &node.url]);
    upstream.until(|it| it.open() == 0 && it.cancelled() == 2).await;
    assert_eq!(ana.get(&id).await.text("status"), "cancelled");
    // One that is done stays done.
    upstream.plan(Plan::default());
    let id = ana.begin(&background()).await.text("id").to_owned();
    ana.until(&id, "completed").await;
    assert_eq!(ana.cancel(&id).await.text("status"), "completed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_that_fails_says_so_and_one_that_cannot_be_is_refused() {
    let place = Place::new();
    let upstream = mock(Fault::Status(400, None)).await;
    let node = serve(&place, &upstream, "");
    let ana = User::new(&place, &node, "ana");
    let id = ana.begin(&background()).await.text("id").to_owned();
    let refused = ana.until(&id, "failed").await;
    assert!(refused["error"]["message"].is_string() && upstream.calls() == 1, "{refused}");
    // What may pass is asked again, until the step has used its attempts.
    upstream.plan(Fault::Status(500, None));
    let id = ana.begin(&background()).await.text("id").to_owned();
    let failed = ana.until(&id, "failed").await;
    assert_eq!((&failed["error"]["code"], upstream.calls()), (&json!("provider.error"), 5), "{failed}");
    assert!(failed["error"]["message"].as_str().is_some_and(|it| it.contains("support id")), "{failed}");
    let letters = ana.client.get(&place.token("olga", "admin"), "/dead-letters").await;
    assert_eq!(letters["items"].as_array().map(Vec::len), Some(1), "{letters}");
    for (more, status, param) in [
        (json!({ "store": false }), 400, json!("store")),
        (json!({ "stream": true }), 400, json!("stream")),
        (json!({ "input": "x".repeat(3 << 20) }), 413, json!(null)),
    ] {
        let mut body = background();
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().expect("an object"));
        let refused = ana.begin(&body).await;
        assert_eq!((refused.status, &refused.body["error"]["param"]), (status, &param), "{refused:?}");
    }
    let streamed = send(ana.request(Method::GET, &format!("/v1/responses/{id}?stream=true"))).await;
    assert_eq!(streamed.expect("an answer").status, 400);
    // The same key is the same response, another request under it is refused.
    let keyed = |body: &Value| {
        let request = ana.request(Method::POST, "/v1/responses").header("Idempotency-Key", "k-1");
        send(request.json(body))
    };
    let first = keyed(&background()).await.expect("an answer");
    let again = keyed(&background()).await.expect("an answer");
    assert_eq!((first.text("id"), first.replayed, again.replayed), (again.text("id"), false, true));
    let other =
        keyed(&json!({ "model": "m", "background": true, "input": "else" })).await.expect("an answer");
    assert_eq!((other.status, &other.body["error"]["code"]), (422, &json!("idempotency_key_reused")));
}

fn ask(stream: bool) -> Value {
    json!({ "model": "m", "stream": stream, "messages": [{ "role": "user", "content": "go" }] })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_a_run_is_asked_once_whoever_asks_and_after_kill_9() {
    let place = Place::new();
    let upstream = mock(Plan { every: Duration::from_millis(5), ..Plan::default() }).await;
    let mut node = serve(&place, &upstream, "");
    let ana = User::new(&place, &node, "ana");
    let run = ana.open_run().await;
    // At once, whole and as a stream: one call upstream each.
    let whole = ask(false);
    let (a, b) = tokio::join!(ana.step(&run, "plan", &whole), ana.step(&run, "plan", &whole));
    assert_eq!((a.0, &a.2, upstream.calls()), (200, &b.2, 1), "{a:?} {b:?}");
    let mut marks = [a.1, b.1];
    marks.sort_unstable();
    assert_eq!(marks, ["", "recorded"]);
    let streamed = ask(true);
    let (c, d) = tokio::join!(ana.step(&run, "tell", &streamed), ana.step(&run, "tell", &streamed));
    assert!(c.0 == 200 && c.2 == d.2 && c.2.ends_with("data: [DONE]\n\n"), "{c:?} {d:?}");
    assert_eq!(upstream.calls(), 2);
    node.kill();

    let node = serve(&place, &upstream, "");
    let ana = User::new(&place, &node, "ana");
    // The same JSON in another spelling, too.
    let spelled = serde_json::from_str::<Value>(&format!(" {} ", ask(false))).expect("JSON");
    assert_eq!(ana.step(&run, "plan", &spelled).await, (200, "recorded".into(), a.2));
    assert_eq!(ana.step(&run, "tell", &streamed).await, (200, "recorded".into(), c.2));
    assert_eq!(upstream.calls(), 2);
    let (status, _, other) = ana.step(&run, "plan", &streamed).await;
    assert_eq!(status, 409, "{other}");
    assert!(
        other.contains("\\\"plan\\\"") && other.contains(&run) && other.contains("step.other_request"),
        "{other}"
    );
    // A step that failed was not done.
    upstream.next([Fault::Status(500, None)]);
    assert_eq!(ana.step(&run, "third", &whole).await.0, 502);
    upstream.next([Fault::Cut(3)]);
    let cut = ana.step(&run, "fourth", &streamed).await;
    assert!(!cut.2.contains("[DONE]"), "{cut:?}");
    for (step, body) in [("third", &whole), ("fourth", &streamed)] {
        let (status, mark, _) = ana.step(&run, step, body).await;
        assert_eq!((status, &*mark), (200, ""), "{step}");
    }
    let story = place.ok(&["explain", &run, "--as", "ana", "--url", &node.url]);
    assert!(story.contains("step plan was done outside by ana"), "{story}");

    // Not there, somebody else's, or ended.
    let luis = User::new(&place, &node, "luis");
    let nobody = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5f";
    for (user, run) in [(&ana, nobody), (&luis, &*run), (&ana, "x")] {
        let (status, _, said) = user.step(run, "plan", &whole).await;
        assert!(status == 404 && said.contains("run.not_found"), "{said}");
    }
    place.ok(&["runs", "kill", &run, "--url", &node.url]);
    let (status, _, said) = ana.step(&run, "new", &whole).await;
    assert!(status == 409 && said.contains("run.ended"), "{said}");
    assert_eq!(ana.step(&run, "plan", &whole).await.1, "recorded", "what was paid for is still told");
    let request = ana.request(Method::POST, "/v1/chat/completions").header("X-Steadfast-Step", "alone");
    let alone = send(request.json(&whole)).await.expect("an answer");
    assert_eq!((alone.status, &alone.body["error"]["param"]), (400, &json!("x-steadfast-run")));
    drop(node);
    place.verify(&[]);
    assert!(place.ok(&["runs", "check"]).contains('0'), "nothing diverges");
}
