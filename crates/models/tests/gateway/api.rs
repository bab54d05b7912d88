//! The API as clients know it, and what of it passes unharmed.

use bytes::Bytes;
use serde_json::{Value, json};
use steadfast_models_mock::{Mock, Plan};

use crate::harness::{Gateway, ask, route};

fn fixture(name: &str) -> String {
    let path = format!("{}/tests/wire/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

async fn mock() -> Mock {
    Mock::start(Plan::default()).await.expect("runs")
}

#[tokio::test]
async fn between_the_same_api_every_byte_passes_as_it_is() {
    let mock = mock().await;
    for (kind, path, request, answer) in [
        ("openai", "/v1/chat/completions", "chat_request.json", "chat_answer.json"),
        ("openai", "/v1/chat/completions", "chat_tools_request.json", "chat_tools_answer.json"),
        ("openai", "/v1/chat/completions", "chat_stream_request.json", "chat_stream.txt"),
        ("openai", "/v1/embeddings", "embeddings_request.json", "embeddings_answer.json"),
        ("anthropic", "/v1/messages", "messages_request.json", "messages_answer.json"),
        ("anthropic", "/v1/messages", "messages_tools_request.json", "messages_tools_answer.json"),
        ("anthropic", "/v1/messages", "messages_stream_request.json", "messages_stream.txt"),
    ] {
        let more = format!("kind = '{kind}'");
        let gateway =
            Gateway::start(&route(&[&mock], &more).replace("routes.m]", "routes.m]\nmodels = ['*']")).await;
        let (request, answer) = (fixture(request), fixture(answer));
        mock.next([Plan::replaying(answer.clone())]);
        let got = gateway.send(path, &[], request.clone()).await;
        assert_eq!(got.text, answer, "{path}");
        let seen = mock.seen().pop().expect("a request");
        assert_eq!(seen.body, request, "{path}");
        assert_eq!(seen.path, path);
    }
}

#[tokio::test]
async fn only_the_models_name_is_changed_and_all_order_is_kept() {
    let mock = mock().await;
    let config =
        route(&[&mock], "").replace("{ provider = 'p0' }", "{ provider = 'p0', model = 'gpt-real' }");
    let gateway = Gateway::start(&config).await;
    let body = r#"{"zeta":1, "messages":[{"content":"é","role":"user"}],"model" : "m" ,"tools":[{"type":"function","function":{"name":"b","parameters":{"z":1,"a":2}}},{"type":"function","function":{"name":"a"}}],"future":{"b":[1,2.50],"a":null},
        "metadata":{"team":"x","steadfast-priority":"high"}}"#;
    let answer = gateway.send("/v1/chat/completions", &[], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let expected = body.replace("\"m\" ,", "\"gpt-real\" ,").replace(r#","steadfast-priority":"high""#, "");
    assert_eq!(mock.seen()[0].body, expected);
    assert_eq!(answer.json()["future_field"], json!({ "kept": true }));
}

#[tokio::test]
async fn providers_get_their_key_and_the_clients_version_but_not_the_clients_key() {
    let mock = mock().await;
    let openai =
        Gateway::start(&route(&[&mock], "headers = { 'x-team' = 'a' }\nquery = 'api-version=1'")).await;
    let headers = [("authorization", "Bearer client"), ("anthropic-beta", "b1"), ("x-api-key", "client")];
    assert_eq!(openai.send("/v1/chat/completions", &headers, ask(false)).await.status, 200);
    let anthropic = Gateway::start(&route(&[&mock], "kind = 'anthropic'")).await;
    assert_eq!(anthropic.send("/v1/messages", &headers, ask(false)).await.status, 200);
    let seen = mock.seen();
    assert_eq!(seen[0].headers["authorization"], "Bearer secret-key");
    assert_eq!(seen[0].headers["x-team"], "a");
    assert!(!seen[0].headers.contains_key("x-api-key"));
    assert_eq!(seen[1].headers["x-api-key"], "secret-key");
    assert_eq!(seen[1].headers["anthropic-version"], "2023-06-01");
    assert_eq!(seen[1].headers["anthropic-beta"], "b1");
    assert!(!seen[1].headers.contains_key("authorization"));
}

#[tokio::test]
async fn all_values_of_a_clients_header_reach_the_provider_instead_of_the_configured_one() {
    let mock = mock().await;
    let config = "kind = 'anthropic'\nheaders = { 'anthropic-beta' = 'ours' }";
    let gateway = Gateway::start(&route(&[&mock], config)).await;
    for (headers, expected) in
        [(&[][..], &["ours"][..]), (&[("anthropic-beta", "b1"), ("anthropic-beta", "b2")], &["b1", "b2"])]
    {
        assert_eq!(gateway.send("/v1/messages", headers, ask(false)).await.status, 200);
        let seen = mock.seen();
        let got = seen.last().expect("a request").headers.get_all("anthropic-beta");
        assert_eq!(got.iter().collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn an_answer_says_where_it_came_from() {
    let mock = mock().await;
    let gateway = Gateway::before(&[&mock]).await;
    let answer = gateway.send("/v1/chat/completions", &[("x-request-id", "mine-1")], ask(false)).await;
    let told = ["x-request-id", "x-steadfast-route", "x-steadfast-provider", "x-steadfast-attempts"];
    assert_eq!(told.map(|name| answer.header(name)), ["mine-1", "m", "p0", "1"]);
    let other = gateway.send("/v1/chat/completions", &[("x-request-id", "no id")], ask(true)).await;
    assert_eq!(other.header("x-request-id").len(), 36, "an id of ours instead of what is none");
    assert_eq!(other.header("content-type"), "text/event-stream; charset=utf-8");
}

#[tokio::test]
async fn every_error_has_the_shape_of_the_api_that_was_called() {
    let mock = mock().await;
    let gateway = Gateway::start(&("[models]\nbody_max = '1KiB'\n".to_owned() + &route(&[&mock], ""))).await;
    let anthropic = [("anthropic-version", "2023-06-01")];
    let large = json!({ "model": "m", "messages": [], "x": "y".repeat(2_000) }).to_string();
    let unknown = r#"{"model":"nobody","messages":[]}"#;
    for (path, headers, body, status, code) in [
        ("/v1/chat/completions", &[][..], unknown, 404, "model.not_found"),
        ("/v1/messages", &anthropic[..], unknown, 404, "model.not_found"),
        ("/v1/chat/completions", &[], "{", 400, "request.invalid"),
        ("/v1/messages", &[], "{\"model\":\"m\"}", 400, "request.missing"),
        ("/v1/embeddings", &[], "{\"model\":\"m\"}", 400, "request.missing"),
        (
            "/v1/chat/completions",
            &[("x-steadfast-cache", "no")],
            "{\"model\":\"m\",\"messages\":[]}",
            400,
            "request.option",
        ),
        ("/v1/messages", &[], &large, 413, "request.too_large"),
        ("/v1/nothing", &[], "{}", 404, "request.no_such_path"),
        ("/v1/nothing", &anthropic, "{}", 404, "request.no_such_path"),
        ("/v1/models", &[], "{}", 405, "request.method_not_allowed"),
    ] {
        let answer = gateway.send(path, headers, body.to_owned()).await;
        assert_eq!(answer.status, status, "{path} {code}: {}", answer.text);
        let error = answer.json();
        assert_eq!(error["error"]["code"], code);
        assert!(error["error"]["message"].is_string() && error["error"]["type"].is_string());
        let anthropic =
            path == "/v1/messages" || !headers.is_empty() && headers[0].0.starts_with("anthropic");
        assert_eq!(error["type"] == "error", anthropic, "{path}: {}", answer.text);
    }
    assert_eq!(mock.calls(), 0);
}

#[tokio::test]
async fn models_are_listed_in_the_shape_of_whose_client_asks() {
    let mock = mock().await;
    let gateway = Gateway::start(&(route(&[&mock], "") + "models = ['gpt-4o', 'claude-*']\n")).await;
    let openai = gateway.get("/v1/models", &[]).await.json();
    let ids = |list: &Value| {
        list["data"].as_array().expect("a list").iter().map(|it| it["id"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((&openai["object"], ids(&openai)), (&json!("list"), vec![json!("gpt-4o")]));
    let anthropic = gateway.get("/v1/models", &[("anthropic-version", "2023-06-01")]).await.json();
    assert_eq!((&anthropic["has_more"], ids(&anthropic)), (&json!(false), vec![json!("gpt-4o")]));
    assert_eq!(gateway.get("/v1/models/gpt-4o", &[]).await.json()["object"], "model");
    assert_eq!(gateway.get("/v1/models/claude-9", &[]).await.json()["id"], "claude-9", "it is let through");
    assert_eq!(gateway.get("/v1/models/nobody", &[]).await.status, 404);
}

#[tokio::test]
async fn connections_to_a_provider_are_kept_for_the_next_call() {
    let mock = mock().await;
    let gateway = Gateway::before(&[&mock]).await;
    for i in 0..30 {
        assert_eq!(gateway.chat(i % 2 == 0).await.status, 200);
    }
    assert!(mock.connections() <= 3, "{} connections for 30 calls", mock.connections());
}

#[tokio::test]
async fn as_a_library_one_call_does_it_all() {
    let mock = mock().await;
    let gateway = Gateway::before(&[&mock]).await;
    let answer = gateway
        .models
        .process(
            "id-1".into(),
            steadfast_models::Operation::Chat,
            Bytes::from(ask(false)),
            steadfast_models::Caller::default(),
            &http::HeaderMap::new(),
        )
        .await
        .expect("an answer");
    let usage = answer.about.usage.expect("usage");
    assert_eq!((usage.input, usage.cached, usage.output), (9, 4, 20));
    assert_eq!(gateway.models.health(), steadfast_models::Health::Healthy);
}

#[tokio::test]
async fn the_local_provider_needs_nobody() {
    let config = "[models.providers.here]\nkind = 'local'\n\
        [models.routes.local]\ntargets = [{ provider = 'here' }]\n";
    let gateway = Gateway::start(config).await;
    let ask = |more: Value| {
        let mut body = json!({ "model": "local", "max_tokens": 50, "messages": [{ "role": "user", "content": "hello there" }] });
        body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
        body.to_string()
    };
    for path in ["/v1/chat/completions", "/v1/messages"] {
        for stream in [false, true] {
            let answer = gateway.send(path, &[], ask(json!({ "stream": stream }))).await;
            assert_eq!(answer.said(), "You said: hello there", "{}", answer.text);
            assert_eq!(stream, answer.is_whole_stream());
        }
    }
    let schema = json!({ "type": "object", "required": ["city", "days"],
        "properties": { "city": { "enum": ["Lima"] }, "days": { "type": "integer", "minimum": 2 } } });
    let format = json!({ "type": "json_schema", "json_schema": { "name": "x", "schema": schema } });
    let answer = gateway.send("/v1/chat/completions", &[], ask(json!({ "response_format": format }))).await;
    assert_eq!(answer.said(), r#"{"city":"Lima","days":2}"#);
    let tools = json!([{ "type": "function", "function": { "name": "weather", "parameters": schema } }]);
    let answer = gateway
        .send("/v1/chat/completions", &[], ask(json!({ "tools": tools, "tool_choice": "required" })))
        .await
        .json();
    let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(call["arguments"], r#"{"city":"Lima","days":2}"#);

    let near = |a: &str, b: &str| {
        let body = json!({ "model": "local", "input": [a, b] }).to_string();
        let gateway = &gateway;
        async move {
            let answer = gateway.send("/v1/embeddings", &[], body).await.json();
            let numbers = |i: usize| {
                let list = answer["data"][i]["embedding"].as_array().expect("numbers");
                list.iter().map(|it| it.as_f64().expect("a number")).collect::<Vec<_>>()
            };
            numbers(0).iter().zip(numbers(1)).map(|(a, b)| a * b).sum::<f64>()
        }
    };
    let (alike, apart) = (
        near("block my credit card", "please block the credit card").await,
        near("block my credit card", "what is the weather").await,
    );
    assert!(alike > apart + 0.3, "{alike} {apart}");
}

#[tokio::test]
async fn a_provider_that_takes_every_name_is_listed_by_those_that_are_known_and_never_by_its_own() {
    let names = async |config: &str| {
        let list = Gateway::start(config).await.get("/v1/models", &[]).await.json();
        let ids = list["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|it| it["id"].as_str().expect("a name").to_owned());
        ids.collect::<Vec<_>>()
    };
    let both = "[models.providers.openai]\n[models.providers.anthropic]\nkind = 'anthropic'\n\
        [models.routes.openai]\nmodels = ['*']\ntargets = [{ provider = 'openai' }]\n\
        [models.routes.anthropic]\nmodels = ['claude-*']\ntargets = [{ provider = 'anthropic' }]\n";
    let seen = names(both).await;
    let has = |name: &str| seen.iter().any(|it| it == name);
    assert!(has("gpt-4o-mini") && has("text-embedding-3-small") && has("claude-sonnet-4-5"), "{seen:?}");
    assert!(!has("openai") && !has("anthropic") && !has("gemini-3.5-flash"), "{seen:?}");
    // Nobody knows what another server has.
    let other = "[models.providers.openai]\nurl = 'http://127.0.0.1:1/v1'\n\
        [models.routes.openai]\nmodels = ['*']\ntargets = [{ provider = 'openai' }]\n\
        [models.routes.smart]\nmodels = ['gpt-*']\ntargets = [{ provider = 'openai', model = 'x' }]\n";
    assert_eq!(names(other).await, ["smart"]);
}
