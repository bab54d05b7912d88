//! Recordings travel in forms, and forms travel unharmed.

use bytes::Bytes;
use serde_json::{Value, json};
use steadfast_models_mock::{Mock, Plan};

use crate::harness::{Gateway, route};

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=\"x-1\"");

fn form(parts: &[(&str, &str)]) -> Bytes {
    let mut body = Vec::new();
    for (name, value) in parts {
        body.extend_from_slice(
            format!("--x-1\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n").as_bytes(),
        );
    }
    body.extend_from_slice(
        b"--x-1\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n",
    );
    body.extend_from_slice(b"\xFF\xFB\0--x-1?\r\n\r\0\r\n--x-1--\r\n");
    body.into()
}

async fn send(gateway: &Gateway, body: Bytes) -> crate::harness::Answer {
    gateway.send("/v1/audio/transcriptions", &[FORM], body).await
}

#[tokio::test]
async fn the_form_goes_through_as_it_came_but_for_the_models_name() {
    let mock = Mock::start(Plan::replaying(
        r#"{"text":"hello","usage":{"type":"tokens","input_tokens":14,"output_tokens":3}}"#,
    ))
    .await
    .expect("runs");
    let config = route(&[&mock], "").replace("{ provider = 'p0' }", "{ provider = 'p0', model = 'whisper' }");
    let gateway = Gateway::start(&config).await;
    let sent = form(&[("model", "m"), ("language", "es"), ("future", "é")]);
    let answer = send(&gateway, sent.clone()).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["text"]), (200, &json!("hello")), "{}", answer.text);
    let seen = &mock.seen()[0];
    assert_eq!(seen.path, "/v1/audio/transcriptions");
    assert_eq!(seen.headers["content-type"], FORM.1);
    assert_eq!(seen.body, form(&[("model", "whisper"), ("language", "es"), ("future", "é")]));
}

#[tokio::test]
async fn answers_that_are_no_json_keep_their_type() {
    let mock = Mock::start(Plan::replaying("WEBVTT\n\n00:00 hello")).await.expect("runs");
    let gateway = Gateway::before(&[&mock]).await;
    let answer = send(&gateway, form(&[("model", "m"), ("response_format", "vtt")])).await;
    assert_eq!(
        (answer.text.as_str(), answer.header("content-type")),
        ("WEBVTT\n\n00:00 hello", "text/vtt; charset=utf-8")
    );
}

#[tokio::test]
async fn the_prompt_of_a_recording_leaves_redacted_and_the_answer_comes_back_restored() {
    let delta =
        |text: &str| format!("data: {}\n\n", json!({ "type": "transcript.text.delta", "delta": text }));
    let done = json!({ "type": "transcript.text.done", "text": "to <EMAIL_1>." });
    let stream = [delta("to <EM"), delta("AIL_1>."), format!("data: {done}\n\n")].concat();
    for (more, says, expected) in [
        (&[][..], r#"{"text":"to <EMAIL_1>."}"#.to_owned(), r#"{"text":"to bob@example.com."}"#),
        (&[("response_format", "text")], "to <EMAIL_1>.".into(), "to bob@example.com."),
        (&[("stream", "true")], stream, ""),
    ] {
        let mock = Mock::start(Plan::replaying(says)).await.expect("runs");
        let gateway = Gateway::before(&[&mock]).await;
        let parts = |prompt| [&[("model", "m"), ("prompt", prompt)], more].concat();
        let answer = send(&gateway, form(&parts("It is bob@example.com"))).await;
        assert_eq!(mock.seen()[0].body, form(&parts("It is <EMAIL_1>")));
        if !expected.is_empty() {
            assert_eq!(answer.text, expected);
            continue;
        }
        let events: Vec<Value> =
            answer.events().iter().map(|event| serde_json::from_str(event).expect("JSON")).collect();
        let said: String = events.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(said, "to bob@example.com.", "{}", answer.text);
        assert_eq!(events.last().expect("an end")["text"], "to bob@example.com.");
    }
}

#[tokio::test]
async fn streams_pass_and_broken_ones_fall_back_before_the_first_word() {
    let delta = "data: {\"type\":\"transcript.text.delta\",\"delta\":\"hel\"}\n\n";
    let whole = format!(
        "{delta}data: {{\"type\":\"transcript.text.done\",\"text\":\"hel\",\"usage\":{{\"input_tokens\":5}}}}\n\n"
    );
    let first = Mock::start(Plan::replaying("data: {\"nothing\":1}\n\n")).await.expect("runs");
    let second = Mock::start(Plan::replaying(whole.clone())).await.expect("runs");
    let gateway = Gateway::before(&[&first, &second]).await;
    let answer = send(&gateway, form(&[("model", "m"), ("stream", "true")])).await;
    assert_eq!((answer.text.as_str(), answer.header("x-steadfast-provider")), (whole.as_str(), "p1"));
    second.plan(Plan::replaying(delta));
    let gateway = Gateway::before(&[&second]).await;
    let answer = send(&gateway, form(&[("model", "m"), ("stream", "true")])).await;
    assert!(answer.text.starts_with(delta) && answer.text.contains("provider.cut"), "{}", answer.text);
}

#[tokio::test]
async fn what_is_no_form_is_refused_and_the_local_provider_needs_nobody() {
    let config = "[models]\nbody_max = '2KiB'\n[models.providers.here]\nkind = 'local'\n\
        [models.routes.local]\ntargets = [{ provider = 'here' }]\n";
    let gateway = Gateway::start(config).await;
    let large = "x".repeat(3_000);
    for (headers, body, status) in [
        (&[FORM][..], form(&[("model", "local"), ("prompt", &large)]), 413),
        (&[FORM], Bytes::from_static(b"--x-1\r\n"), 400),
        (&[FORM], form(&[("language", "es")]), 400),
        (&[("content-type", "application/json")], Bytes::from_static(b"{\"model\":\"local\"}"), 400),
        (&[], form(&[("model", "local")]), 400),
    ] {
        let answer = gateway.send("/v1/audio/transcriptions", headers, body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
    }
    let whole = send(&gateway, form(&[("model", "local")])).await.json();
    let streamed = send(&gateway, form(&[("model", "local"), ("stream", "true")])).await;
    let said: String = streamed
        .events()
        .iter()
        .filter_map(|it| Some(serde_json::from_str::<Value>(it).ok()?["delta"].as_str()?.to_owned()))
        .collect();
    assert!(said.starts_with("A recording, ") && streamed.text.contains("transcript.text.done"));
    assert!(whole["text"].as_str().is_some_and(|it| it.starts_with("A recording, ")));
}
