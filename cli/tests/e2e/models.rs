//! The model gateway in the binary, before upstreams in another process: this one.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::{
    http::{Client, send},
    node::{Node, Place, SERVE},
};

/// A server whose route `m` asks these upstreams in order.
fn serve(place: &Place, mocks: &[&Mock]) -> Node {
    configure(place, mocks);
    Node::start(place.command(&[SERVE, &["--config", "steadfast.toml"]].concat()))
}

fn configure(place: &Place, mocks: &[&Mock]) {
    // Every call is to reach the upstream.
    let mut text = String::from("[models.cache]\nenabled = false\n");
    for (i, mock) in mocks.iter().enumerate() {
        text.extend([format!("[models.providers.p{i}]\nurl = '{}'\n", mock.url())]);
    }
    let targets: Vec<_> = (0..mocks.len()).map(|i| format!("{{ provider = 'p{i}' }}")).collect();
    text.extend([format!("[models.routes.m]\nretry.enabled = false\ntargets = [{}]\n", targets.join(", "))]);
    std::fs::write(place.path("steadfast.toml"), text).expect("written");
}

fn ask(stream: bool) -> Value {
    json!({ "model": "m", "stream": stream, "max_tokens": 50, "messages": [{ "role": "user", "content": "go" }] })
}

async fn chat(client: &Client, token: &str, stream: bool) -> Response {
    let request = client.raw(Method::POST, "/v1/chat/completions").bearer_auth(token);
    request.json(&ask(stream)).send().await.expect("an answer")
}

/// All that a stream says, if it ends as a whole one.
async fn said(response: Response) -> String {
    let text = response.text().await.expect("a whole body");
    assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
    let events = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let content = |event: &str| {
        let event: Value = serde_json::from_str(event).ok()?;
        Some(event["choices"][0]["delta"]["content"].as_str()?.to_owned())
    };
    events.filter_map(content).collect()
}

async fn mock(plan: impl Into<Plan>) -> Mock {
    Mock::start(plan).await.expect("runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_both_apis_are_answered_whole_and_in_streams_and_strangers_are_not() {
    let place = Place::new();
    let upstream = mock(Plan::default()).await;
    let node = serve(&place, &[&upstream]);
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let whole = chat(&client, &token, false).await;
    assert_eq!(whole.headers()["x-steadfast-provider"], "p0");
    let whole: Value = whole.json().await.expect("JSON");
    assert_eq!(whole["choices"][0]["message"]["content"], Plan::default().text());
    assert_eq!(said(chat(&client, &token, true).await).await, Plan::default().text());
    let message = client.raw(Method::POST, "/v1/messages").header("x-api-key", &token).json(&ask(false));
    let message = send(message).await.expect("an answer");
    assert_eq!(message.body["content"][0]["text"], Plan::default().text(), "{message:?}");

    let stranger = client.raw(Method::POST, "/v1/chat/completions").json(&ask(false));
    let refused = send(stranger).await.expect("an answer");
    assert_eq!(
        (refused.status, &refused.body["error"]["code"]),
        (401, &json!("auth.missing")),
        "{refused:?}"
    );
    let stranger = client.raw(Method::POST, "/v1/messages").header("x-api-key", "sk-1").json(&ask(false));
    let refused = send(stranger).await.expect("an answer");
    assert_eq!((refused.status, &refused.body["type"]), (401, &json!("error")), "{refused:?}");
    let nowhere = send(client.raw(Method::GET, "/v1/nowhere")).await.expect("an answer");
    assert_eq!((nowhere.status, &nowhere.body["error"]["code"]), (404, &json!("request.no_such_path")));
    // Bodies here may be larger than the node's own.
    let mut large = ask(false);
    large["messages"][0]["content"] = "x".repeat(3 << 20).into();
    let large = client.raw(Method::POST, "/v1/chat/completions").bearer_auth(&token).json(&large);
    assert_eq!(send(large).await.expect("an answer").status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_alone_makes_it_work() {
    let place = Place::new();
    let mut command = place.command(SERVE);
    command.env("OPENAI_API_KEY", "sk-test").env_remove("ANTHROPIC_API_KEY");
    let node = Node::start(command);
    let list = place.ok(&["models", "list", "--json", "--url", &node.url]);
    let list: Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list["providers"][0]["name"], "openai", "{list}");
    assert_eq!(list["routes"][0]["models"], json!(["*"]), "{list}");
    drop(node);

    // The same with the provider here: the key is sent, and no route is needed.
    let place = Place::new();
    let upstream = mock(Plan::default()).await;
    let config = format!(
        "[models.providers.openai]\nurl = '{}'\nkey = {{ env = 'OPENAI_API_KEY' }}\n",
        upstream.url()
    );
    std::fs::write(place.path("steadfast.toml"), config).expect("written");
    let mut command = place.command(&["serve", "--listen", "127.0.0.1:0", "--config", "steadfast.toml"]);
    command.env("OPENAI_API_KEY", "sk-test");
    let node = Node::start(command);
    let client = Client::new(&node.url);
    let answer = chat(&client, &place.token("ana", "user"), false).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(upstream.seen()[0].headers["authorization"], "Bearer sk-test");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_key_the_demo_answers_offline() {
    let place = Place::new();
    let mut command = place.command(SERVE);
    command.env_remove("OPENAI_API_KEY").env_remove("ANTHROPIC_API_KEY");
    let node = Node::start(command);
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let answer: Value = chat(&client, &token, false).await.json().await.expect("JSON");
    assert_eq!(answer["choices"][0]["message"]["content"], "You said: go");
    assert_eq!(said(chat(&client, &token, true).await).await, "You said: go");
    let models = send(client.raw(Method::GET, "/v1/models").bearer_auth(&token)).await.expect("an answer");
    assert_eq!(models.body["data"][0]["id"], "local", "{models:?}");
    let tested = place.ok(&["models", "test", "--url", &node.url]);
    assert!(tested.contains("answers"), "{tested}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_configuration_is_read_again_under_load_and_no_request_is_dropped() {
    let place = Place::new();
    let (first, second) = (mock(Plan::default()).await, mock(Plan::default()).await);
    let node = serve(&place, &[&first]);
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    let stop = std::sync::Arc::new(tokio::sync::Notify::new());
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let (client, token, stop) = (client.clone(), token.clone(), stop.clone());
            tokio::spawn(async move {
                let mut answered = 0;
                let mut stopped = std::pin::pin!(stop.notified());
                stopped.as_mut().enable();
                while futures::poll!(stopped.as_mut()).is_pending() {
                    let answer = chat(&client, &token, answered % 2 == 0).await;
                    assert_eq!(answer.status(), StatusCode::OK);
                    answer.bytes().await.expect("a whole body");
                    answered += 1;
                }
                answered
            })
        })
        .collect();
    first.until(|it| it.calls() > 10).await;
    let reload = || place.ok(&["config", "reload", "--url", &node.url]);
    for to in [&second, &first, &second, &first, &second] {
        configure(&place, &[to]);
        reload();
        let calls = to.calls();
        to.until(|it| it.calls() > calls + 10).await;
    }
    // A wrong file is told, and nothing changes.
    std::fs::write(place.path("steadfast.toml"), "[models.routes.m]\ntargets = [{ provider = 'nobody' }]\n")
        .expect("written");
    let said = place.refused(&["config", "reload", "--url", &node.url]);
    assert!(
        said.contains("\"nobody\": there is no such provider") && said.contains("config.invalid"),
        "{said}"
    );
    let calls = second.calls();
    second.until(|it| it.calls() > calls + 10).await;
    // So is one that a signal has read: by the log, without its values.
    let wrong =
        "[models.providers.p]\nurl = 'https://u:hunter2@x y'\n[models.providers.q]\nkee = 'hunter2'\n";
    std::fs::write(place.path("steadfast.toml"), wrong).expect("written");
    assert!(Command::new("kill").args(["-HUP", &node.pid().to_string()]).status().expect("runs").success());
    let ended = |log: &str| log.matches("was not read again").count() > 1;
    let log = loop {
        let log = std::fs::read_to_string(place.path("log.txt")).expect("a log");
        if ended(&log) {
            break log;
        }
        tokio::task::yield_now().await;
    };
    let told = |code: &str, line: u64, field: &str| {
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|it| it["context"]["code"] == code && it["context"]["field"] == field).any(|it| {
            it["metrics"]["line"] == line
                && it["context"]["file"] == "steadfast.toml"
                && it["level"] == "ERROR"
        })
    };
    assert!(told("config.unknown_key", 4, "models.providers.q.kee"), "{log}");
    assert!(told("config.unknown_name", 2, "models.routes.m.targets.0.provider"), "{log}");
    assert!(log.contains("steadfast config check") && !log.contains("hunter2"), "{log}");
    // Right again, it is taken by a signal too.
    configure(&place, &[&first]);
    let calls = first.calls();
    assert!(Command::new("kill").args(["-HUP", &node.pid().to_string()]).status().expect("runs").success());
    first.until(|it| it.calls() > calls + 10).await;
    stop.notify_waiters();
    for asking in asking {
        assert!(asking.await.expect("no request was dropped") > 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_frees_the_upstream() {
    let place = Place::new();
    let upstream = mock(Fault::Stall(3)).await;
    let node = serve(&place, &[&upstream]);
    let client = Client::new(&node.url);
    let mut stream = chat(&client, &place.token("ana", "user"), true).await;
    assert!(stream.chunk().await.expect("a piece").is_some());
    assert_eq!(upstream.open(), 1);
    drop(stream);
    upstream.until(|it| it.open() == 0 && it.cancelled() == 1).await;

    // Also one that has seen nothing yet.
    upstream.plan(Fault::Hang);
    let token = place.token("ana", "user");
    let waiting = tokio::spawn(async move { chat(&client, &token, false).await });
    upstream.until(|it| it.calls() == 2).await;
    waiting.abort();
    upstream.until(|it| it.open() == 0 && it.cancelled() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_lets_streams_end() {
    let place = Place::new();
    let plan = Plan { every: Duration::from_millis(50), ..Plan::default() };
    let upstream = mock(plan.clone()).await;
    let node = serve(&place, &[&upstream]);
    let client = Client::new(&node.url);
    let mut stream = chat(&client, &place.token("ana", "user"), true).await;
    let first = stream.chunk().await.expect("a piece").expect("more");
    let stopped = tokio::task::spawn_blocking(move || node.stop());
    let rest = stream.bytes().await.expect("the rest");
    let text = String::from_utf8_lossy(&[first, rest].concat()).into_owned();
    assert!(text.ends_with("data: [DONE]\n\n") && text.contains("word19"), "{text}");
    stopped.await.expect("it stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_see_who_does_not_answer_and_close_breakers_by_hand() {
    let place = Place::new();
    let (dead, well) = (mock(Fault::Status(503, None)).await, mock(Plan::default()).await);
    let node = serve(&place, &[&dead, &well]);
    let client = Client::new(&node.url);
    let token = place.token("ana", "user");
    for _ in 0..8 {
        assert_eq!(chat(&client, &token, false).await.status(), StatusCode::OK);
    }
    assert_eq!(dead.calls(), 5, "then its breaker is open");
    let ready = send(client.raw(Method::GET, "/readyz")).await.expect("an answer");
    assert_eq!(ready.body, json!({ "status": "ready", "apps": { "models": "degraded" } }));
    let verb = |args: &[&str]| place.ok(&[args, &["--url", &node.url]].concat());
    let list = verb(&["models", "list"]);
    assert!(list.contains("p0, then p1") && list.contains("Models are degraded."), "{list}");
    assert!(verb(&["breakers", "list"]).contains("models.p0"));
    let tested = place.run(&["models", "test", "m", "--json", "--url", &node.url]);
    let probes: Value = serde_json::from_slice(&tested.stdout).expect("JSON");
    assert_eq!(tested.status.code(), Some(1));
    assert_eq!(
        (&probes["items"][0]["code"], &probes["items"][1]["ok"]),
        (&json!("provider.error"), &json!(true))
    );
    verb(&["breakers", "reset", "models.p0"]);
    dead.plan(Plan::default());
    assert_eq!(chat(&client, &token, false).await.headers()["x-steadfast-provider"], "p0");
    let users = place.run(&["models", "list", "--as", "ana", "--url", &node.url]);
    assert!(String::from_utf8_lossy(&users.stderr).contains("auth.forbidden"), "{users:?}");
}

#[test]
fn a_litellm_configuration_is_printed_as_one_that_is_accepted() {
    let place = Place::new();
    let yaml =
        "model_list: [{ model_name: gpt-4o, litellm_params: { model: openai/gpt-4o, rpm: 10 } }]\nx: 1\n";
    std::fs::write(place.path("config.yaml"), yaml).expect("written");
    let ours = place.ok(&["config", "import-litellm", "config.yaml"]);
    assert!(ours.contains("x has no counterpart"), "{ours}");
    std::fs::write(place.path("ours.toml"), &ours).expect("written");
    let check = ["config", "check", "--config", "ours.toml"];
    let checked = place.command(&check).env("OPENAI_API_KEY", "k").output().expect("the binary runs");
    assert!(checked.status.success(), "{checked:?}");
    let shown = place.ok(&["config", "show", "--json", "--config", "ours.toml"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["models"]["routes"]["gpt-4o"]["targets"][0]["model"], "gpt-4o");
    let refused = place.refused(&["config", "import-litellm", "ours.toml"]);
    assert!(refused.contains("import.invalid"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_the_keys_costs_and_calls_of_their_own_tenant_and_of_no_other() {
    let place = Place::new();
    let upstream = mock(Plan::default()).await;
    let node = serve(&place, &[&upstream]);
    let client = Client::new(&node.url);
    let token = |tenant: &str, role: &str| {
        let made = place.ok(&["token", "--user", "op", "--role", role, "--tenant", tenant]);
        made.trim().to_owned()
    };
    let (ours, theirs, admin) =
        (token("acme", "operator"), token("bank", "operator"), token("default", "admin"));
    let make = async |token: &str, wanted: Value| {
        let request = client.raw(Method::POST, "/api/v1/models/keys").bearer_auth(token);
        let answer = request.json(&wanted).send().await.expect("an answer");
        (answer.status(), answer.json::<Value>().await.expect("JSON"))
    };
    let refused = make(&theirs, json!({ "name": "spy", "tenant": "acme", "user": "ana" })).await;
    assert_eq!((refused.0, &refused.1["code"]), (StatusCode::FORBIDDEN, &json!("auth.forbidden")));
    let lost = make(&ours, json!({ "name": "web", "tenant": "acme", "routes": ["n"] })).await;
    assert_eq!(lost.1["code"], "key.unknown_route", "{lost:?}");
    let (status, made) = make(&ours, json!({ "name": "web", "tenant": "acme", "routes": ["m"] })).await;
    assert_eq!(status, StatusCode::CREATED, "{made}");
    for (wrong, what) in [
        (json!({ "name": "", "tenant": "acme" }), "name: "),
        (json!({ "name": "old", "tenant": "acme", "expires": "2020-01-01T00:00:00Z" }), "expires: "),
    ] {
        let (_, refused) = make(&ours, wrong).await;
        assert!(refused["detail"].as_str().is_some_and(|it| it.starts_with(what)), "{refused}");
    }
    let answer = chat(&client, made["secret"].as_str().expect("a key"), false).await;
    assert_eq!(answer.status(), StatusCode::OK);

    // Keys are asked for by id or by name, and named beside their ids.
    let id = made["id"].as_str().expect("an id");
    for key in [id, "web"] {
        let page = client.get(&ours, &format!("/models/calls?key={key}")).await;
        assert_eq!(page["items"].as_array().map(Vec::len), Some(1), "{page}");
    }
    let nobody = ["models", "calls", "--key", "nope", "--url", &node.url, "--token", &ours];
    assert!(place.refused(&nobody).contains("key.not_found"));
    let costs = client.get(&ours, "/models/costs?by=key").await;
    assert_eq!((&costs["items"][0]["name"], &costs["items"][0]["key_name"]), (&json!(id), &json!("web")));
    let keys = client.get(&ours, "/models/keys").await;
    assert_eq!(keys["items"][0]["spent_usd"], costs["items"][0]["cost_usd"], "{keys}");
    let listed = place.ok(&["keys", "list", "--url", &node.url, "--token", &ours]);
    assert!(listed.contains("ROUTES") && listed.contains("web"), "{listed}");

    for (who, seen) in [(&ours, 1), (&theirs, 0), (&admin, 1)] {
        for list in ["keys", "calls", "costs"] {
            let page = client.get(who, &format!("/models/{list}")).await;
            assert_eq!(page["items"].as_array().map(Vec::len), Some(seen), "{list}: {page}");
        }
        let status = client.get(who, "/models/status").await;
        assert_eq!(status.get("spending").is_some(), who == &admin, "{status}");
    }
    // The verbs ask the server that is named: as whose token it is, and what the file says.
    for verb in [&["costs", "--by", "user"][..], &["models", "calls", "--user", "none", "--limit", "5"]] {
        let server = |token: &str| {
            let args = [verb, &["--json", "--url", &node.url, "--token", token]].concat();
            serde_json::from_str::<Value>(&place.ok(&args)).expect("JSON")
        };
        let here: Value = serde_json::from_str(&place.ok(&[verb, &["--json"]].concat())).expect("JSON");
        assert_eq!(server(&admin), here);
        assert_eq!(server(&theirs)["items"], json!([]));
        let calls = verb[0] == "models";
        assert_eq!(here["items"].as_array().map(Vec::len), Some(usize::from(!calls)), "{here}");
        let unheard = [verb, &["--url", "http://127.0.0.1:1", "--token", "x"]].concat();
        assert!(place.refused(&unheard).contains("server.unreachable"));
        let store = [&unheard[..], &["--store", "sqlite:data/steadfast.db"]].concat();
        place.ok(&store);
    }
    let all = place.ok(&["models", "calls", "--url", &node.url, "--token", &admin]);
    assert!(all.contains("done") && all.contains("200"), "{all}");
    let path = format!("/api/v1/models/keys/{}", made["id"].as_str().expect("an id"));
    for (who, status) in [(&theirs, StatusCode::NOT_FOUND), (&ours, StatusCode::OK)] {
        let answer = client.raw(Method::DELETE, &path).bearer_auth(who).send().await.expect("an answer");
        assert_eq!(answer.status(), status);
    }
}

#[test]
fn a_start_says_where_keys_come_from_and_commands_say_whose_configuration_they_read() {
    let place = Place::new();
    let mut command = place.command(SERVE);
    command.env("OPENAI_API_KEY", "sk-hidden").env("OPENAI_BASE_URL", "http://127.0.0.1:1/v1");
    let mut node = command.stdout(Stdio::piped()).spawn().expect("the binary starts");
    let lines = BufReader::new(node.stdout.take().expect("stdout")).lines();
    let told: Vec<_> = lines.map(|line| line.expect("text")).take_while(|line| !line.is_empty()).collect();
    node.kill().expect("it was running");
    node.wait().expect("it ends");
    let said = "The provider openai: its key is in the variable OPENAI_API_KEY.";
    assert!(told.iter().any(|line| line == said), "{told:?}");

    std::fs::write(place.path("ours.toml"), "[models.prices.ours]\ninput = '1'\n").expect("written");
    let with = |args: &[&str]| place.ok(&[args, &["--config", "ours.toml"]].concat());
    assert!(with(&["config", "check"]).contains("ours.toml"));
    assert!(place.ok(&["config", "check"]).contains("No file was named"));
    assert!(with(&["models", "price", "ours"]).contains("From ours.toml."));
    let unknown = place.refused(&["models", "price", "ours"]);
    assert!(unknown.contains("a server's own file is named with --config"), "{unknown}");

    // All that is missing is told at once, and nothing starts.
    let keys = "[models.providers.a]\nkey = { env = 'GONE_A' }\n[models.providers.b]\nkind = 'anthropic'\n\
        key = { env = 'GONE_B' }\n";
    std::fs::write(place.path("keys.toml"), keys).expect("written");
    for verb in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"]] {
        let said = place.refused(&[verb, &["--config", "keys.toml"]].concat());
        assert!(said.contains("GONE_A") && said.contains("GONE_B"), "{said}");
    }
}
