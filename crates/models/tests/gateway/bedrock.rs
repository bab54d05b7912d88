//! Clients of either API before Amazon Bedrock.

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steadfast_core::{World, config::Environment, observe::silent};
use steadfast_models::{Home, Models, Usd};
use steadfast_models_mock::{Fault, Mock, Plan, bedrock::FORBIDDEN, signature};

use crate::{
    harness::{Gateway, ask, read, route},
    streams::{AFTER_CONTENT, BEFORE_CONTENT, QUICK},
};

const KIND: &str = "kind = 'bedrock'\n";
/// With a guardrail.
const GUARDED: &str = "kind = 'bedrock'\nbedrock = { guardrail = 'gr-1', guardrail_version = '3' }\n";
const PATHS: [&str; 3] = ["/v1/chat/completions", "/v1/messages", "/v1/responses"];

async fn mock(plan: impl Into<Plan>) -> Mock {
    Mock::start(plan).await.expect("runs")
}

/// One before Bedrock alone.
async fn gateway(mock: &Mock) -> Gateway {
    Gateway::start(&route(&[mock], KIND)).await
}

/// One before Bedrock, and behind it somebody who speaks OpenAI's API.
async fn with_fallback(first: &Mock, second: &Mock, more: &str) -> Gateway {
    let config = route(&[first, second], "").replacen("url", "kind = 'bedrock'\nurl", 1);
    Gateway::start(&(config + more)).await
}

/// A responses request, or the body that is a request in both other APIs.
fn body(path: &str, stream: bool) -> String {
    if path.ends_with("responses") {
        json!({ "model": "m", "stream": stream, "input": "go" }).to_string()
    } else {
        ask(stream)
    }
}

fn sent(mock: &Mock, at: usize) -> Value {
    serde_json::from_slice(&mock.seen()[at].body).expect("JSON")
}

#[tokio::test]
async fn text_and_usage_come_through_in_every_api_whole_and_as_streams() {
    let mock = mock(Plan::default()).await;
    let gateway = gateway(&mock).await;
    for path in PATHS {
        for stream in [false, true] {
            let body = match path {
                "/v1/chat/completions" if stream => {
                    body(path, stream).replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1)
                }
                _ => body(path, stream),
            };
            let answer = gateway.send(path, &[], body).await;
            let case = format!("{path} {stream}: {}", answer.text);
            assert_eq!(answer.status, 200, "{case}");
            assert!(answer.text.contains("word19 "), "{case}");
            let usage = match path {
                "/v1/chat/completions" => [r#""prompt_tokens":9"#, r#""completion_tokens":20"#],
                "/v1/messages" => [r#""cache_read_input_tokens":4"#, r#""output_tokens":20"#],
                _ => [r#""cached_tokens":4"#, r#""output_tokens":20"#],
            };
            assert!(usage.iter().all(|part| answer.text.contains(part)), "{case}");
            if path != "/v1/responses" {
                assert_eq!(answer.said(), Plan::default().text(), "{case}");
                assert!(!stream || answer.is_whole_stream(), "{case}");
            }
        }
    }
    let seen = mock.seen();
    assert!(seen[0].path.ends_with("/model/m/converse"), "{}", seen[0].path);
    assert!(seen[1].path.ends_with("/model/m/converse-stream"), "{}", seen[1].path);
    assert_eq!(seen[0].headers["authorization"], "Bearer secret-key", "a key of Bedrock's own");
    let said = json!([{ "role": "user", "content": [{ "text": "go" }] }]);
    assert_eq!(sent(&mock, 0), json!({ "messages": said, "inferenceConfig": { "maxTokens": 100 } }));
}

#[tokio::test]
async fn parallel_tool_calls_come_through_whole_and_as_streams() {
    let mock = mock(Plan { tools: 2, ..Plan::default() }).await;
    let gateway = gateway(&mock).await;
    let called = |index: usize| json!({ "city": format!("City {index}"), "days": index });
    let whole = gateway.message(false).await.json();
    assert_eq!(whole["stop_reason"], "tool_use");
    let chat = gateway.chat(false).await.json();
    let stream = gateway.chat(true).await;
    assert!(stream.text.contains(r#""finish_reason":"tool_calls""#) && stream.is_whole_stream());
    for index in 0..2 {
        let id = format!("tooluse_{index}");
        let block = json!({ "type": "tool_use", "id": id, "name": "weather", "input": called(index) });
        assert_eq!(whole["content"][index], block);
        let call = &chat["choices"][0]["message"]["tool_calls"][index];
        let arguments = call["function"]["arguments"].as_str().expect("text");
        assert_eq!(
            (&call["id"], serde_json::from_str::<Value>(arguments).expect("JSON")),
            (&json!(id), called(index))
        );
        let mut streamed = String::new();
        for event in stream.events() {
            let Ok(event) = serde_json::from_str::<Value>(event) else { continue };
            let call = &event["choices"][0]["delta"]["tool_calls"][0];
            if call["index"] == index {
                streamed.push_str(call["function"]["arguments"].as_str().unwrap_or_default());
            }
        }
        assert_eq!(serde_json::from_str::<Value>(&streamed).expect("JSON"), called(index));
    }
}

#[tokio::test]
async fn requests_are_signed_for_their_region_and_model() {
    let mock = mock(Plan::default()).await;
    let url = mock.url();
    let config = format!(
        "[models.providers.p0]\nkind = 'bedrock'\nurl = '{url}'\nbedrock.region = 'eu-central-1'\n\
         bedrock.access_key_id = {{ env = 'KEY' }}\nbedrock.secret_access_key = {{ env = 'KEY' }}\n\
         bedrock.session_token = {{ env = 'KEY' }}\n[models.routes.m]\n\
         targets = [{{ provider = 'p0', model = 'arn:aws:bedrock:eu-central-1::model/x y-v1:0' }}]\n"
    );
    let gateway = Gateway::start(&config).await;
    let embeddings = json!({ "model": "m", "input": "x" }).to_string();
    assert_eq!(gateway.chat(false).await.said(), Plan::default().text());
    assert!(gateway.message(true).await.is_whole_stream());
    assert_eq!(gateway.send("/v1/embeddings", &[], embeddings).await.status, 400, "not Titan");
    let seen = mock.seen();
    assert_eq!(seen.len(), 2);
    for request in seen {
        assert!(signature::is_right(&request, "secret-key"), "{request:?}");
        assert!(!signature::is_right(&request, "another-key"));
        assert!(
            request.path.contains("/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A%3Amodel%2Fx%20y-v1%3A0/")
        );
        let authorization = request.headers["authorization"].to_str().expect("text");
        assert!(authorization.contains("/eu-central-1/bedrock/aws4_request"), "{authorization}");
        assert_eq!(request.headers["x-amz-security-token"], "secret-key");
    }
}

#[tokio::test]
async fn what_fails_before_the_first_content_falls_back_unseen() {
    let (first, second) = (mock(Plan::default()).await, mock(Plan::default()).await);
    let of_its_own = [
        Fault::Malformed,
        Fault::Status(403, None),
        Fault::Status(404, None),
        Fault::Status(408, None),
        Fault::Status(424, None),
        Fault::Status(429, None),
    ];
    for fault in BEFORE_CONTENT.into_iter().chain(of_its_own) {
        let at_streams = matches!(
            fault,
            Fault::Cut(_) | Fault::Stall(_) | Fault::BadChunk(_) | Fault::ErrorEvent(_) | Fault::EndEarly(_)
        );
        for (path, stream) in [(PATHS[0], true), (PATHS[1], true), (PATHS[0], false)] {
            if !stream && at_streams || stream && fault == Fault::Malformed {
                continue;
            }
            // A gateway for each, so that no breaker remembers the last fault.
            let gateway = with_fallback(&first, &second, QUICK).await;
            first.next([fault.clone()]);
            let answer = gateway.send(path, &[], ask(stream)).await;
            let case = format!("{fault:?} {path} {stream}: {}", answer.text);
            assert_eq!((answer.status.as_u16(), answer.said()), (200, Plan::default().text()), "{case}");
            assert_eq!(answer.header("x-steadfast-provider"), "p1", "{case}");
        }
    }
}

#[tokio::test]
async fn what_breaks_after_it_is_told_once_or_continued_by_option() {
    let (first, second) = (mock(Plan::default()).await, mock(Plan::default()).await);
    let gateway = with_fallback(&first, &second, QUICK).await;
    let sent: String = (0..5).map(Plan::piece).collect();
    for fault in AFTER_CONTENT {
        for path in &PATHS[..2] {
            gateway.models.reset("models.p0");
            first.next([fault.clone(), fault.clone()]);
            let broken = gateway.send(path, &[], ask(true)).await;
            let case = format!("{fault:?} {path}: {}", broken.text);
            assert_eq!((broken.said(), broken.is_whole_stream()), (sent.clone(), false), "{case}");
            assert_eq!(broken.text.matches("support id").count(), 1, "{case}");
            gateway.models.reset("models.p0");
            let option = [("x-steadfast-continue", "true")];
            let whole = gateway.send(path, &option, ask(true)).await;
            assert_eq!((whole.said(), whole.is_whole_stream()), (Plan::default().text(), true), "{case}");
        }
    }
    // And the other way about: Bedrock goes on where another broke off.
    let config = route(&[&second, &first], "")
        .replace("[models.providers.p1]", "[models.providers.p1]\nkind = 'bedrock'");
    let gateway = Gateway::start(&(config + "continue_streams = true\n")).await;
    second.next([Fault::Cut(5)]);
    assert_eq!(gateway.message(true).await.said(), Plan::default().text());
    let body: Value = serde_json::from_slice(&first.seen().pop().expect("asked").body).expect("JSON");
    assert_eq!(body["messages"][1]["content"][0]["text"], sent);
}

#[tokio::test]
async fn wherever_the_connection_closes_the_client_gets_a_whole_answer() {
    let plan = Plan { chunks: 3, ..Plan::default() };
    let (first, second) = (mock(plan.clone()).await, mock(plan.clone()).await);
    let more = "continue_streams = true\n[models.providers.p0.breaker]\nenabled = false\n";
    let gateway = with_fallback(&first, &second, more).await;
    for byte in (0..1_500).step_by(7) {
        first.next([Plan { fault: Fault::CutAtByte(byte), ..plan.clone() }]);
        let answer = gateway.message(true).await;
        let case = format!("at byte {byte}: {}", answer.text);
        // After all content nobody can go on; then the stream says that it broke.
        let told = answer.text.contains("provider.cut");
        assert_eq!((answer.said(), answer.is_whole_stream()), (plan.text(), !told), "{case}");
    }
}

#[tokio::test]
async fn a_stream_that_drips_byte_by_byte_arrives_whole_and_is_cancelled_when_its_client_leaves() {
    let mock = mock(Fault::Drip(1)).await;
    let gateway = gateway(&mock).await;
    for answer in [gateway.chat(true).await, gateway.message(true).await, gateway.chat(false).await] {
        assert_eq!(answer.said(), Plan::default().text());
    }
    mock.next([Fault::Stall(3)]);
    let mut response = gateway.open(Method::POST, PATHS[0], &[], ask(true)).await;
    response.body_mut().frame().await.expect("content").expect("content");
    drop(response);
    mock.until(|mock| mock.cancelled() == 1 && mock.open() == 0).await;
}

#[tokio::test]
async fn errors_keep_their_status_and_words_but_for_those_about_our_account() {
    let mock = mock(Plan::default()).await;
    let config = route(&[&mock], KIND) + "retry.waits = []\n";
    let gateway = Gateway::start(&config.replace("retry.waits = ['1000h']\n", "")).await;
    for (status, told, code, said) in [
        (400, 400, "", "mock error 400"),
        (403, 403, "provider.no_such_model", "answered 403"),
        (404, 404, "", "mock error 404"),
        (424, 502, "provider.error", "answered 424"),
        (503, 502, "provider.error", "answered 503"),
        (429, 429, "provider.rate_limited", "answered 429"),
    ] {
        mock.next([Fault::Status(status, None)]);
        let answer = gateway.message(false).await;
        let error = &answer.json()["error"];
        assert_eq!(answer.status.as_u16(), told, "{status}: {}", answer.text);
        assert_eq!(error["code"].as_str().unwrap_or_default(), code, "{}", answer.text);
        assert!(error["message"].as_str().expect("words").contains(said), "{}", answer.text);
    }
}

#[tokio::test]
async fn what_it_cannot_do_is_asked_of_the_next() {
    let (first, second) = (mock(Plan::default()).await, mock(Plan::default()).await);
    let gateway = with_fallback(&first, &second, "").await;
    let picture = json!({ "model": "m", "messages": [{ "role": "user", "content": [
        { "type": "image_url", "image_url": { "url": "https://example.org/a.png" } },
    ]}]});
    let several = json!({ "model": "m", "n": 2, "messages": [] });
    for body in [picture, several] {
        let answer = gateway.send(PATHS[0], &[], body.to_string()).await;
        assert_eq!(answer.header("x-steadfast-provider"), "p1", "{}", answer.text);
    }
    assert_eq!(first.calls(), 0);
}

/// A gateway whose model `titan-embed-text` is Bedrock's.
async fn embedder(mock: &Mock, more: &str) -> Gateway {
    let config = route(&[mock], more)
        .replace("provider = 'p0'", "provider = 'p0', model = 'amazon.titan-embed-text-v2:0'");
    Gateway::start(&config).await
}

#[tokio::test]
async fn several_texts_are_embedded_by_as_many_calls() {
    let mock = mock(Plan::default()).await;
    let gateway = embedder(&mock, KIND).await;
    let texts: Vec<String> = (0..20).map(|i| format!("text {i}")).collect();
    let body = json!({ "model": "m", "input": texts, "dimensions": 256 }).to_string();
    let answer = gateway.send("/v1/embeddings", &[], body).await.json();
    let data = answer["data"].as_array().expect("vectors");
    assert_eq!((data.len(), mock.calls()), (20, 20));
    for (index, vector) in data.iter().enumerate() {
        let expected = json!({ "object": "embedding", "index": index, "embedding": [0.25, -0.5, 0.75] });
        assert_eq!(*vector, expected);
    }
    assert_eq!(answer["usage"], json!({ "prompt_tokens": 180, "total_tokens": 180 }));
    let seen = mock.seen();
    assert!(seen.iter().all(|it| it.path.ends_with("/model/amazon.titan-embed-text-v2%3A0/invoke")));
    let mut asked: Vec<Value> =
        seen.iter().map(|it| serde_json::from_slice(&it.body).expect("JSON")).collect();
    asked.sort_by_key(|body| texts.iter().position(|text| body["inputText"] == *text));
    assert_eq!(asked[19], json!({ "inputText": "text 19", "dimensions": 256 }));

    let packed = json!({ "model": "m", "input": "x", "encoding_format": "base64" }).to_string();
    let packed = gateway.send("/v1/embeddings", &[], packed).await.json();
    assert_eq!(packed["data"][0]["embedding"], "AACAPgAAAL8AAEA/");
    for (input, status) in [(json!([1, 2]), 400), (json!([]), 400), (json!(["x", 1]), 400)] {
        let body = json!({ "model": "m", "input": input }).to_string();
        assert_eq!(gateway.send("/v1/embeddings", &[], body).await.status, status, "{input}");
    }
    mock.next([Fault::None, Fault::Status(429, Some(7))]);
    let body = json!({ "model": "m", "input": ["a", "b", "c"] }).to_string();
    let answer = gateway.send("/v1/embeddings", &[], body).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "7"));
}

#[tokio::test]
async fn texts_that_were_embedded_before_one_failed_are_paid() {
    let mock = mock(Plan::default()).await;
    let limit = "[models.budget.limits.all]\nlimit = '1'\n";
    let gateway = embedder(&mock, &(KIND.to_owned() + limit)).await;
    mock.next([Fault::None, Fault::None, Fault::Status(400, None)]);
    let body = json!({ "model": "m", "input": ["a", "b", "c"] }).to_string();
    assert_eq!(gateway.send("/v1/embeddings", &[], body).await.status, 400);
    let [account] = &gateway.models.spending()[..] else { panic!("one limit") };
    assert!(account.spent > Usd::ZERO && account.reserved == Usd::ZERO, "{account:?}");
}

#[tokio::test]
async fn a_guardrail_goes_with_every_call_and_what_it_holds_back_is_a_refusal() {
    let mock = mock(Plan::default()).await;
    let gateway = Gateway::start(&route(&[&mock], GUARDED)).await;
    assert_eq!(gateway.chat(true).await.said(), Plan::default().text());
    let carried = json!({ "guardrailIdentifier": "gr-1", "guardrailVersion": "3" });
    assert_eq!(sent(&mock, 0)["guardrailConfig"], carried);
    for stream in [false, true] {
        let asked = ask(stream).replace("go", FORBIDDEN);
        let chat = gateway.send(PATHS[0], &[], asked.clone()).await;
        assert_eq!((chat.status.as_u16(), chat.said()), (200, "Sorry, not that.".into()), "{}", chat.text);
        assert!(chat.text.contains(r#""finish_reason":"content_filter""#), "{}", chat.text);
        let message = gateway.send(PATHS[1], &[], asked).await;
        assert!(message.text.contains(r#""stop_reason":"refusal""#), "{}", message.text);
    }
}

#[tokio::test]
async fn texts_to_embed_pass_the_guardrail_first_and_are_refused_by_it() {
    let mock = mock(Plan::default()).await;
    let gateway = embedder(&mock, GUARDED).await;
    let send = async |input: Value| {
        let body = json!({ "model": "m", "input": input }).to_string();
        gateway.send("/v1/embeddings", &[], body).await
    };
    assert_eq!(send(json!("fine")).await.json()["data"].as_array().map(Vec::len), Some(1));
    let seen = mock.seen();
    assert!(seen[0].path.ends_with("/guardrail/gr-1/version/3/apply"), "{}", seen[0].path);
    assert_eq!(sent(&mock, 0), json!({ "source": "INPUT", "content": [{ "text": { "text": "fine" } }] }));
    let refused = send(json!([FORBIDDEN])).await;
    assert_eq!((refused.status.as_u16(), &refused.json()["error"]["code"]), (400, &json!("content_filter")));
    assert_eq!(mock.calls(), 3, "what is refused is not embedded");
    mock.next([Fault::Status(404, None)]);
    let answer = send(json!("fine")).await;
    assert_eq!(answer.json()["error"]["code"], "provider.misconfigured", "{}", answer.text);
}

#[tokio::test]
async fn without_a_region_or_credentials_nothing_starts() {
    let config =
        "[models.providers.p0]\nkind = 'bedrock'\n[models.routes.m]\ntargets = [{ provider = 'p0' }]\n";
    let start = |variables: &[(&str, &str)]| {
        let env: Environment = variables.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect();
        let made = Models::at(&Home::default(), read(config), &env, &World::system(), &silent());
        made.map(drop).map_err(|error| error.to_string())
    };
    let bearer = ("AWS_BEARER_TOKEN_BEDROCK", "key");
    assert!(start(&[]).expect_err("no key").contains("AWS_BEARER_TOKEN_BEDROCK"));
    assert!(start(&[bearer]).expect_err("no region").contains("AWS_REGION"));
    assert_eq!(start(&[bearer, ("AWS_REGION", "eu-central-1")]), Ok(()));
}
