//! Streams that break.

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::Value;
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Gateway, ask, route};

/// The first upstream is given up soon. The others have all the time of a busy machine.
pub(crate) const QUICK: &str = "[models.providers.p0.timeouts]\nfirst = '400ms'\nbetween = '400ms'\n";

/// What keeps a stream from its first content.
pub(crate) const BEFORE_CONTENT: [Fault; 14] = [
    Fault::Hang,
    Fault::Cut(0),
    Fault::CutAtByte(0),
    Fault::CutAtByte(40),
    Fault::Stall(0),
    Fault::BadChunk(0),
    Fault::ErrorEvent(0),
    Fault::EndEarly(0),
    Fault::WrongType,
    Fault::ErrorBody,
    Fault::Status(500, None),
    Fault::Status(503, Some(60)),
    Fault::Status(429, Some(60)),
    Fault::Status(401, None),
];

/// What breaks it after five pieces.
pub(crate) const AFTER_CONTENT: [Fault; 5] =
    [Fault::Cut(5), Fault::Stall(5), Fault::BadChunk(5), Fault::ErrorEvent(5), Fault::EndEarly(5)];

#[tokio::test]
async fn a_stream_that_fails_before_its_first_content_falls_back_unseen() {
    let (first, second) = (
        Mock::start(Plan::default()).await.expect("runs"),
        Mock::start(Plan::default()).await.expect("runs"),
    );
    for fault in BEFORE_CONTENT {
        // A gateway for each, so that no breaker remembers the last fault.
        let gateway = Gateway::start(&(route(&[&first, &second], "") + QUICK)).await;
        for path in ["/v1/chat/completions", "/v1/messages"] {
            first.next([fault.clone()]);
            let answer = gateway.send(path, &[], ask(true)).await;
            assert_eq!(answer.status, 200, "{fault:?}: {}", answer.text);
            assert_eq!(answer.said(), Plan::default().text(), "{fault:?}");
            assert!(answer.is_whole_stream(), "{fault:?}");
            assert!(!answer.text.contains("error"), "{fault:?}: {}", answer.text);
            assert_eq!(answer.header("x-steadfast-provider"), "p1", "{fault:?}");
            if matches!(fault, Fault::Status(_, Some(_))) {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_breaks_after_content_ends_with_one_clear_error_and_never_as_if_whole() {
    let first = Mock::start(Plan::default()).await.expect("runs");
    let gateway =
        Gateway::start(&(route(&[&first], "") + QUICK + "[models.providers.p0.breaker]\nenabled = false\n"))
            .await;
    for fault in AFTER_CONTENT {
        first.next([fault.clone(), fault.clone()]);
        let sent: String = (0..5).map(Plan::piece).collect();

        let chat = gateway.chat(true).await;
        assert_eq!(chat.said(), sent, "{fault:?}: {}", chat.text);
        assert!(!chat.text.contains("[DONE]"), "{fault:?}");
        let events = chat.events();
        let errors: Vec<_> = events.iter().filter(|event| event.contains("\"error\"")).collect();
        assert_eq!(errors.len(), 1, "{fault:?}: {}", chat.text);
        let last: Value = serde_json::from_str(events.last().expect("events")).expect("JSON");
        let code = last["error"]["code"].as_str().expect("our code");
        assert!(code.starts_with("provider."), "{code}");
        assert!(last["error"]["message"].as_str().expect("words").contains(chat.header("x-request-id")));

        let messages = gateway.message(true).await;
        assert_eq!(messages.said(), sent, "{fault:?}");
        assert!(!messages.text.contains("message_stop") && !messages.text.contains("message_delta"));
        assert_eq!(messages.text.matches("event: error\n").count(), 1, "{fault:?}: {}", messages.text);
        let last: Value = serde_json::from_str(messages.events().last().expect("events")).expect("JSON");
        assert_eq!(last["type"], "error", "{fault:?}");
    }
}

#[tokio::test]
async fn by_option_a_broken_stream_is_continued_from_the_text_so_far_without_doubled_text() {
    for (kinds, begins_anew) in [
        ("openai openai", false),
        ("openai openai", true),
        ("anthropic openai", false),
        ("openai anthropic", true),
        ("anthropic anthropic", false),
    ] {
        let first = Mock::start(Plan::default()).await.expect("runs");
        let second = Mock::start(Plan { begins_anew, ..Plan::default() }).await.expect("runs");
        let kinds: Vec<_> = kinds.split(' ').collect();
        let config = route(&[&first, &second], "")
            .replace("[models.providers.p0]", &format!("[models.providers.p0]\nkind = '{}'", kinds[0]))
            .replace("[models.providers.p1]", &format!("[models.providers.p1]\nkind = '{}'", kinds[1]));
        let gateway = Gateway::start(&(config + "continue_streams = true\n" + QUICK)).await;
        for fault in AFTER_CONTENT {
            for path in ["/v1/chat/completions", "/v1/messages"] {
                first.next([fault.clone()]);
                let asked = second.calls();
                let answer = gateway.send(path, &[], ask(true)).await;
                let case = format!("{kinds:?} {begins_anew} {fault:?} {path}: {}", answer.text);
                assert_eq!(answer.said(), Plan::default().text(), "{case}");
                assert!(answer.is_whole_stream() && !answer.text.contains("error"), "{case}");
                assert_eq!(second.calls(), asked + 1, "{case}");
                one_answer(path, &answer.events());
            }
        }
        let seen = second.seen();
        let body: Value = serde_json::from_slice(&seen[0].body).expect("JSON");
        let messages = body["messages"].as_array().expect("messages");
        assert_eq!(messages[1]["role"], "assistant");
        assert!(messages[1].to_string().contains("word4"), "it is told what was said");
    }
}

/// The seam cannot be seen: one id, one beginning, blocks in order.
fn one_answer(path: &str, events: &[&str]) {
    let events: Vec<Value> = events.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    if path.ends_with("messages") {
        let count = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        let counts =
            ["message_start", "content_block_start", "content_block_stop", "message_delta"].map(count);
        assert_eq!(counts, [1, 1, 1, 1]);
        assert!(events.iter().all(|event| event.get("index").is_none_or(|index| *index == 0)));
    } else {
        let of = |member: &str| {
            let mut values: Vec<_> = events.iter().map(|event| event[member].to_string()).collect();
            values.dedup();
            values.len()
        };
        assert_eq!((of("id"), of("created"), of("model")), (1, 1, 1));
        let roles = events.iter().filter(|event| event["choices"][0]["delta"]["role"].is_string());
        assert_eq!(roles.count(), 1);
    }
}

#[tokio::test]
async fn a_stream_cut_after_ten_chunks_is_always_completed_with_the_option_to_continue() {
    let first = Mock::start(Fault::Cut(10)).await.expect("runs");
    let second = Mock::start(Plan::default()).await.expect("runs");
    let gateway = Gateway::before(&[&first, &second]).await;
    for _ in 0..50 {
        let option = [("x-steadfast-continue", "true")];
        let answer = gateway.send("/v1/chat/completions", &option, ask(true)).await;
        assert_eq!(answer.said(), Plan::default().text());
        assert!(answer.is_whole_stream());
    }
}

#[tokio::test]
async fn a_message_may_be_continued_with_a_tool_call_or_with_nothing() {
    for kinds in
        [["openai", "openai"], ["anthropic", "openai"], ["openai", "anthropic"], ["anthropic", "anthropic"]]
    {
        let first = Mock::start(Fault::Cut(5)).await.expect("runs");
        let second = Mock::start(Plan::default()).await.expect("runs");
        let config = route(&[&first, &second], "")
            .replace("[models.providers.p0]", &format!("[models.providers.p0]\nkind = '{}'", kinds[0]))
            .replace("[models.providers.p1]", &format!("[models.providers.p1]\nkind = '{}'", kinds[1]));
        let gateway = Gateway::start(&(config + "continue_streams = true\n")).await;
        let said: String = (0..5).map(Plan::piece).collect();
        for tools in [0, 2] {
            second.next([Plan { tools, chunks: 0, ..Plan::default() }]);
            let answer = gateway.message(true).await;
            let mut expected = vec![("text".to_owned(), said.clone())];
            for tool in 0..tools {
                let given = format!(r#"{{"city":"City {tool}","days":{tool}}}"#);
                expected.push(("tool_use".into(), given));
            }
            assert_eq!(answer.blocks(), expected, "{kinds:?}: {}", answer.text);
            assert!(answer.is_whole_stream(), "{kinds:?}: {}", answer.text);
            let reason = if tools > 0 { "tool_use" } else { "end_turn" };
            assert!(answer.text.contains(&format!(r#""stop_reason":"{reason}""#)), "{}", answer.text);
        }
    }
}

#[tokio::test]
async fn what_was_begun_with_a_tool_call_is_not_continued() {
    let first = Mock::start(Plan { tools: 1, fault: Fault::Cut(1), ..Plan::default() }).await.expect("runs");
    let second = Mock::start(Plan::default()).await.expect("runs");
    let gateway = Gateway::start(&(route(&[&first, &second], "") + "continue_streams = true\n")).await;
    let answer = gateway.chat(true).await;
    assert!(answer.text.contains("provider.cut") && !answer.is_whole_stream(), "{}", answer.text);
    assert_eq!(second.calls(), 0);
}

#[tokio::test]
async fn wherever_the_connection_closes_the_client_gets_a_whole_answer_from_the_next() {
    let first = Mock::start(Plan { chunks: 4, ..Plan::default() }).await.expect("runs");
    let plan = Plan { chunks: 4, ..Plan::default() };
    let second = Mock::start(plan.clone()).await.expect("runs");
    let config = route(&[&first, &second], "breaker.enabled = false") + "continue_streams = true\n";
    let gateway = Gateway::start(&config).await;
    for (path, stream, bytes) in [
        ("/v1/chat/completions", false, 700),
        ("/v1/chat/completions", true, 1_700),
        ("/v1/messages", true, 1_700),
    ] {
        let mut cut = 0;
        for byte in (0..bytes).step_by(3) {
            first.next([Plan { fault: Fault::CutAtByte(byte), ..plan.clone() }]);
            let answer = gateway.send(path, &[], ask(stream)).await;
            let case = format!("{path} {stream} at byte {byte}: {}", answer.text);
            assert_eq!(answer.status, 200, "{case}");
            // After all content nobody can go on; then the stream says that it broke.
            let told = answer.text.contains("provider.cut");
            assert_eq!(answer.said(), plan.text(), "{case}");
            assert!(!stream || answer.is_whole_stream() != told, "{case}");
            cut += u32::from(told);
        }
        assert!(cut < 200, "most are whole");
    }
}

#[tokio::test]
async fn a_stream_that_drips_byte_by_byte_arrives_whole() {
    let mock = Mock::start(Fault::Drip(1)).await.expect("runs");
    let gateway = Gateway::before(&[&mock]).await;
    for answer in [gateway.chat(true).await, gateway.message(true).await, gateway.chat(false).await] {
        assert_eq!(answer.said(), Plan::default().text());
    }
}

#[tokio::test]
async fn the_upstream_is_cancelled_when_the_client_leaves() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let gateway = Gateway::before(&[&mock]).await;
    // In the middle of a stream.
    mock.next([Fault::Stall(3)]);
    let mut response = gateway.open(Method::POST, "/v1/chat/completions", &[], ask(true)).await;
    response.body_mut().frame().await.expect("content").expect("content");
    drop(response);
    mock.until(|mock| mock.cancelled() == 1 && mock.open() == 0).await;
    // Before anything came.
    mock.next([Fault::Hang]);
    let leaving = gateway.open(Method::POST, "/v1/messages", &[], ask(false));
    tokio::select! {
        _ = leaving => panic!("nothing can come"),
        () = mock.until(|mock| mock.calls() == 2) => {}
    }
    mock.until(|mock| mock.cancelled() == 2 && mock.open() == 0).await;
    assert_eq!(gateway.chat(true).await.said(), Plan::default().text());
}

#[tokio::test]
async fn the_usage_of_a_stream_is_told_only_to_those_who_ask() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let gateway = Gateway::before(&[&mock]).await;
    let answer = gateway.chat(true).await;
    assert!(!answer.text.contains("prompt_tokens"), "{}", answer.text);
    let body = ask(true).replacen('{', r#"{"stream_options":{"include_usage":true,"other":1},"#, 1);
    let answer = gateway.send("/v1/chat/completions", &[], body).await;
    assert!(answer.text.contains("prompt_tokens"), "{}", answer.text);
    let seen = mock.seen();
    let options = |i: usize| {
        let body: Value = serde_json::from_slice(&seen[i].body).expect("JSON");
        body["stream_options"].to_string()
    };
    assert_eq!(options(0), r#"{"include_usage":true}"#);
    assert_eq!(options(1), r#"{"include_usage":true,"other":1}"#);
}
