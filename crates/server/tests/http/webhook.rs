//! Events delivered to a receiver.

use std::collections::BTreeMap;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use steadfast_core::{Coded, Failure, World, config::SecretSource};
use steadfast_engine::Deliver;
use steadfast_log::{Commit, Expect, Log, MemoryLog, NewEvent, Position, Recorded, StreamId};
use steadfast_server::{Webhook, WebhookConfig};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

const SECRET: &str = "a secret that both of them know";

fn config(url: &str, secret: &str) -> (WebhookConfig, BTreeMap<String, String>) {
    let config = WebhookConfig {
        url: url.into(),
        secret: SecretSource::Env("HOOK".into()),
        events: vec!["*".into()],
        timeout: std::time::Duration::from_secs(10).into(),
    };
    (config, BTreeMap::from([("HOOK".to_owned(), secret.to_owned())]))
}

fn webhook(url: &str, secret: &str) -> Result<Webhook, &'static str> {
    // Whoever came first installed the same one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let (world, _) = World::manual(1);
    let log = MemoryLog::new(world.clone()).identity();
    let (config, env) = config(url, secret);
    Webhook::new(&config, &env, log, world).map_err(|error| error.code())
}

async fn event() -> Recorded {
    let (world, _) = World::manual(1);
    let log = MemoryLog::new(world.clone());
    let stream = StreamId::new(&"default".parse().expect("a tenant"), "account", "ana");
    let event = NewEvent::new(&world, "account.posted", 1, r#"{"amount":5}"#);
    let commit = Commit::append(stream, Expect::New, vec![event]);
    log.commit(commit).await.expect("committed");
    let page = log.read_all(Position::START, 1).await.expect("read");
    page.events[0].clone()
}

/// Delivers once to a receiver that gives `answer`; what it received, and what came of it.
async fn deliver(answer: &str) -> (String, Result<(), Failure>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    let receiving = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accepts");
        let mut text = String::new();
        while !text.ends_with('}') {
            let mut part = [0; 4_096];
            let read = stream.read(&mut part).await.expect("reads");
            text.push_str(std::str::from_utf8(&part[..read]).expect("text"));
        }
        stream.write_all(answer.as_bytes()).await.expect("answers");
        text
    });
    let hook = webhook(&url, SECRET).expect("configured");
    let delivered = hook.deliver(&event().await).await;
    (receiving.await.expect("received"), delivered)
}

#[tokio::test]
async fn a_delivery_is_a_cloud_event_signed_so_that_the_receiver_can_tell() {
    let (request, delivered) = deliver("204 No Content").await;
    assert_eq!(delivered, Ok(()));
    let (head, body) = request.split_once("\r\n\r\n").expect("a body");
    let header = |name: &str| {
        let line = head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.expect(name).to_owned()
    };
    assert!(head.starts_with("POST /hook HTTP/1.1"));
    assert_eq!(header("content-type"), "application/cloudevents+json");
    let event: serde_json::Value = serde_json::from_str(body).expect("json");
    assert_eq!(event["id"], header("webhook-id"));
    assert_eq!(event["type"], "account.posted");
    assert_eq!(event["subject"], "default/account/ana");
    assert_eq!(event["data"]["amount"], 5);
    let signed = format!("{}.{}.{body}", header("webhook-id"), header("webhook-timestamp"));
    let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes());
    let expected = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
    assert_eq!(header("webhook-signature"), format!("v1,{expected}"));
}

#[tokio::test]
async fn only_success_is_a_delivery_and_only_a_refusal_is_final() {
    for (answer, retryable) in [
        ("500 Internal Server Error", true),
        ("429 Too Many Requests", true),
        ("408 Request Timeout", true),
        ("302 Found\r\nlocation: http://127.0.0.1:9/", true),
        ("400 Bad Request", false),
        ("410 Gone", false),
    ] {
        let (_, delivered) = deliver(answer).await;
        let failure = delivered.expect_err(answer);
        assert_eq!((failure.code.as_str(), failure.retryable), ("sink.refused", retryable), "{answer}");
    }
}

#[tokio::test]
async fn a_receiver_that_is_not_there_may_be_tried_again_and_its_address_is_not_told() {
    let hook = webhook("http://127.0.0.1:1/token-in-the-path", SECRET).expect("configured");
    let failure = hook.deliver(&event().await).await.expect_err("nobody there");
    assert_eq!((failure.code.as_str(), failure.retryable), ("sink.unreachable", true));
    assert!(!failure.message.contains("token-in-the-path"));
    assert!(!format!("{hook:?}").contains("token-in-the-path"));
}

#[test]
fn a_sink_needs_a_web_address_and_a_secret_worth_the_name() {
    for url in
        ["", "example.com", "ftp://example.com/", "file:///etc/passwd", "http://", "https://a:b@example.com/"]
    {
        assert_eq!(webhook(url, SECRET).expect_err(url), "sink.invalid_url");
    }
    assert!(webhook("https://example.com/hook", SECRET).is_ok());
    assert!(webhook("https://example.com/hook", &format!("whsec_{}", STANDARD.encode([7; 24]))).is_ok());
    for weak in ["short", "whsec_????", &format!("whsec_{}", STANDARD.encode([7; 23]))] {
        assert_eq!(webhook("https://example.com/hook", weak).expect_err(weak), "sink.weak_secret");
    }
    assert_eq!(webhook("https://example.com/hook", "").expect_err("empty"), "sink.secret");
}
