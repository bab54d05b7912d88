//! Providers that fail, and who answers instead.

use std::net::SocketAddr;

use serde_json::json;
use steadfast_models::Home;
use steadfast_models_mock::{Fault, Mock, Plan};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::{Gateway, ask, models, route};

async fn mock(plan: impl Into<Plan>) -> Mock {
    Mock::start(plan).await.expect("runs")
}

#[tokio::test]
async fn whatever_fails_the_next_answers_at_once() {
    let second = mock(Plan::default()).await;
    for fault in [
        Fault::Status(500, None),
        Fault::Status(502, None),
        Fault::Status(503, Some(60)),
        Fault::Status(529, None),
        Fault::Status(408, None),
        Fault::Status(429, None),
        Fault::Status(429, Some(3_600)),
        Fault::Status(401, None),
        Fault::Status(404, None),
        Fault::Malformed,
        Fault::WrongType,
        Fault::ErrorBody,
        Fault::CutAtByte(0),
        Fault::CutAtByte(200),
    ] {
        let first = mock(fault.clone()).await;
        let gateway = Gateway::before(&[&first, &second]).await;
        let answer = gateway.chat(false).await;
        assert_eq!((answer.status.as_u16(), answer.said()), (200, Plan::default().text()), "{fault:?}");
        assert_eq!(answer.header("x-steadfast-attempts"), "2", "{fault:?}");
        assert_eq!(first.calls(), 1, "{fault:?}: nobody waits while another could answer");
    }
}

#[tokio::test]
async fn a_name_that_does_not_resolve_and_a_closed_port_fall_back_at_once() {
    let second = mock(Plan::default()).await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("its address")
    };
    // A label of more than 63 letters is refused before anybody on the network is asked.
    let no_name = format!("http://{}.invalid/v1", "a".repeat(70));
    for url in [no_name, format!("http://{closed}/v1")] {
        let config = route(&[&second, &second], "").replacen(&second.url(), &url, 1);
        let gateway = Gateway::start(&config).await;
        let answer = gateway.chat(false).await;
        assert_eq!(answer.said(), Plan::default().text(), "{url}");
        assert_eq!(answer.header("x-steadfast-provider"), "p1");
    }
}

/// An address where something answers that is no HTTP.
async fn no_http() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("its address");
    let answering = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 64];
            assert!(stream.read(&mut request).await.expect("a request") > 0);
            // What a server that wants TLS says to others.
            stream.write_all(b"\x15\x03\x03\x00\x02\x02\x46").await.expect("written");
            open.push(stream);
        }
    });
    (at, answering)
}

#[tokio::test]
async fn why_a_provider_cannot_be_reached_is_told_in_words_and_as_a_code() {
    let plain = mock(Plan::default()).await;
    let closed = {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("its address")
    };
    let (wordless, answering) = no_http().await;
    let no_name = format!("http://{}.invalid/v1", "a".repeat(70));
    for (url, code, words) in [
        (no_name, "provider.name_not_found", "the name of its host could not be found"),
        (format!("http://{closed}/v1"), "provider.connection_refused", "refused the connection"),
        (plain.url().replace("http:", "https:"), "provider.no_tls", "does not speak TLS"),
        (format!("http://{wordless}/v1"), "provider.malformed", "does not answer in HTTP"),
    ] {
        let config = route(&[&plain], "").replacen(&plain.url(), &url, 1);
        let gateway =
            Gateway::start(&config.replace("retry.waits = ['1000h']", "retry.enabled = false")).await;
        let error = gateway.chat(false).await.json()["error"].clone();
        assert_eq!(error["code"], code, "{error}");
        assert!(error["message"].as_str().expect("words").contains(words), "{error}");
        let probe =
            gateway.models.probe(None, std::time::Duration::from_secs(20)).await.expect("asked").remove(0);
        assert!(
            probe.code == code && probe.message.as_deref().is_some_and(|it| it.contains(words)),
            "{probe:?}"
        );
    }
    answering.abort();
    for port in ["99999", "http", "-1"] {
        let config = route(&[&plain], "").replacen(&plain.url(), &format!("http://127.0.0.1:{port}/v1"), 1);
        assert!(models(&Home::default(), &config).is_err(), "{port} is no port");
    }
}

#[tokio::test]
async fn clients_are_told_to_try_again_only_where_that_was_not_done_for_them() {
    let upstream = mock(Fault::Status(500, None)).await;
    let second = "retry.waits = ['1ms', '1ms']";
    for (retry, after, asked, should, header) in [
        (second, None, 3, "false", ""),
        ("retry.enabled = false", None, 1, "true", "1"),
        ("retry.waits = ['1ms']\nretry.reserve = 0\nretry.share = 0.0", None, 1, "false", ""),
        // The deadline is nearer than that, and clients wait as long.
        (second, Some(50), 1, "true", "50"),
        // Clients do not wait as long, and would come at once.
        (second, Some(3_600), 1, "false", "3600"),
    ] {
        upstream.plan(Fault::Status(500, after));
        let config = route(&[&upstream], "breaker.enabled = false").replace("retry.waits = ['1000h']", retry);
        let gateway = Gateway::start(&config).await;
        let before = upstream.calls();
        let answer =
            gateway.send("/v1/chat/completions", &[("x-steadfast-deadline", "20s")], ask(false)).await;
        assert_eq!((answer.status.as_u16(), upstream.calls() - before), (502, asked), "{retry} {after:?}");
        assert_eq!(
            (answer.header("x-should-retry"), answer.header("retry-after")),
            (should, header),
            "{retry}"
        );
    }
}

/// An address that takes no connection and refuses none: its queue is full. It stays so for
/// as long as the returned sockets live.
async fn full_address() -> (SocketAddr, Vec<Box<dyn std::any::Any + Send>>) {
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let listener = socket.listen(1).expect("listens");
    let at = listener.local_addr().expect("its address");
    let mut held: Vec<Box<dyn std::any::Any + Send>> = vec![Box::new(listener)];
    for _ in 0..8 {
        // Those that find no room go on trying by themselves; they are here only to fill it.
        held.push(Box::new(tokio::spawn(tokio::net::TcpStream::connect(at))));
    }
    tokio::task::yield_now().await;
    (at, held)
}

#[tokio::test]
async fn each_wait_has_its_own_limit_and_the_next_answers_when_it_is_over() {
    let (full, _held) = full_address().await;
    let second = mock(Plan::default()).await;
    let hanging = mock(Fault::Hang).await;
    let stalling = mock(Fault::Stall(0)).await;
    let slow = mock(Plan { every: std::time::Duration::from_millis(50), ..Plan::default() }).await;
    for (url, limit, stream, code) in [
        (format!("http://{full}/v1"), "timeouts.connect = '100ms'", false, "provider.connect_timeout"),
        (hanging.url(), "timeouts.first = '100ms'", false, "provider.first_token_timeout"),
        (stalling.url(), "timeouts.first = '100ms'", true, "provider.first_token_timeout"),
        (hanging.url(), "timeouts.total = '100ms'", false, "provider.timeout"),
    ] {
        let only = route(&[&second], limit).replacen(&second.url(), &url, 1) + "retry.enabled = false\n";
        let alone = Gateway::start(&only.replace("retry.waits = ['1000h']\n", "")).await;
        let answer = alone.chat(stream).await;
        assert_eq!(answer.status, 504, "{code}: {}", answer.text);
        assert_eq!(answer.json()["error"]["code"], code);
        let both = Gateway::start(&route(&[&second, &second], limit).replacen(&second.url(), &url, 1)).await;
        assert_eq!(both.chat(stream).await.said(), Plan::default().text(), "{code}");
    }
    let gateway =
        Gateway::start(&route(&[&slow], "timeouts.first = '40s'\ntimeouts.between = '1ms'\n")).await;
    let answer = gateway.chat(true).await;
    assert!(answer.text.contains("provider.stalled"), "{}", answer.text);
}

#[tokio::test]
async fn when_the_fallback_fails_as_well_the_status_says_so() {
    let (first, second) = (mock(Fault::Status(500, None)).await, mock(Fault::ErrorBody).await);
    for stream in [false, true] {
        let config =
            route(&[&first, &second], "").replace("retry.waits = ['1000h']", "retry.enabled = false");
        let gateway = Gateway::start(&config).await;
        let chat = gateway.chat(stream).await;
        assert_eq!(chat.status, 502, "never 200 with an error inside");
        assert_eq!(chat.json()["error"]["type"], "server_error");
        assert_eq!(chat.json()["error"]["code"], "provider.error");
        assert_eq!(chat.header("x-steadfast-attempts"), "2");
        let message = gateway.message(stream).await;
        assert_eq!((message.status.as_u16(), message.json()["type"].clone()), (502, json!("error")));
        assert_eq!(message.json()["error"]["type"], "api_error");
    }
}

#[tokio::test]
async fn what_the_client_did_wrong_is_told_unchanged_and_nobody_else_is_asked() {
    let first = mock(Fault::Status(400, None)).await;
    let second = mock(Plan::default()).await;
    let gateway = Gateway::before(&[&first, &second]).await;
    let answer = gateway.chat(true).await;
    assert_eq!(answer.status, 400);
    let words = json!({ "error": { "message": "mock error 400", "type": "server_error", "param": null,
                                   "code": "mock_error" } });
    assert_eq!(answer.json(), words);
    assert_eq!(answer.header("x-should-retry"), "false");
    // In the other API's shape for a client of the other API.
    let answer = gateway.message(false).await;
    let words = json!({ "type": "error",
                        "error": { "type": "invalid_request_error", "message": "mock error 400" } });
    assert_eq!((answer.status.as_u16(), answer.json()), (400, words));
    assert_eq!(second.calls(), 0);
    assert!(gateway.models.breakers().iter().all(|breaker| breaker.failures == 0), "nobody is unwell");
}

#[tokio::test]
async fn calls_upstream_stay_near_one_for_each_call_when_the_first_provider_is_dead() {
    let (dead, second) = (mock(Fault::Status(503, None)).await, mock(Plan::default()).await);
    let gateway = Gateway::before(&[&dead, &second]).await;
    for _ in 0..200 {
        assert_eq!(gateway.chat(false).await.status, 200);
    }
    let upstream = dead.calls() + second.calls();
    assert!(upstream <= 205, "{upstream} calls upstream for 200");
}

#[tokio::test]
async fn once_the_breaker_is_open_a_provider_that_hangs_costs_nobody_any_time() {
    let (hanging, second) = (mock(Fault::Hang).await, mock(Plan::default()).await);
    let limit = "[models.providers.p0.timeouts]\nfirst = '50ms'\n";
    let (gateway, clock) = Gateway::timed(&(route(&[&hanging, &second], "") + limit)).await;
    for call in 1..=5 {
        let late = async {
            hanging.until(|mock| mock.calls() == call && mock.open() == 1).await;
            clock.advance(std::time::Duration::from_millis(50));
        };
        let (answer, ()) = tokio::join!(gateway.chat(true), late);
        assert_eq!(answer.said(), Plan::default().text());
        hanging.until(|mock| mock.open() == 0).await;
    }
    // From now on no time goes by at all.
    for _ in 0..25 {
        assert_eq!(gateway.chat(true).await.said(), Plan::default().text());
    }
    assert_eq!(hanging.calls(), 5);
}

#[tokio::test]
async fn with_a_first_provider_that_fails_at_random_every_answer_is_whole() {
    let flaky = mock(Plan { percent: 30, ..Fault::Status(500, None).into() }).await;
    let second = mock(Plan::default()).await;
    let gateway = Gateway::before(&[&flaky, &second]).await;
    for i in 0..200 {
        assert_eq!(gateway.chat(i % 2 == 0).await.said(), Plan::default().text());
    }
}

#[tokio::test]
async fn only_where_nobody_else_is_left_is_the_same_one_asked_again() {
    let only = mock(Plan::default()).await;
    let config = route(&[&only], "").replace("'1000h'", "'1ms', '1ms'");
    let gateway = Gateway::start(&config).await;
    only.next([Fault::Status(503, None), Fault::CutAtByte(0)]);
    assert_eq!(gateway.chat(false).await.status, 200);
    assert_eq!(only.calls(), 3);
    // What does not pass by itself is not asked again.
    only.next([Fault::Status(401, None)]);
    let answer = gateway.chat(false).await;
    assert_eq!((answer.status.as_u16(), only.calls()), (502, 4), "our key is wrong, not the client's");
    assert_eq!(answer.json()["error"]["code"], "provider.misconfigured");
}

#[tokio::test]
async fn retries_have_a_budget_that_all_calls_share() {
    let only = mock(Fault::Status(500, None)).await;
    let config = route(&[&only], "breaker.enabled = false").replace("'1000h'", "'1ms', '1ms', '1ms'");
    let gateway = Gateway::start(&(config + "retry.share = 0.1\nretry.reserve = 5\n")).await;
    for _ in 0..100 {
        assert_eq!(gateway.chat(false).await.status, 502);
    }
    let calls = only.calls();
    assert!((100..=115).contains(&calls), "{calls} calls upstream for 100: 5 and a tenth more");
}

#[tokio::test]
async fn who_says_when_to_come_back_is_left_alone_until_then_and_the_client_told() {
    let busy = mock(Fault::Status(429, Some(70))).await;
    let second = mock(Plan::default()).await;
    let gateway = Gateway::before(&[&busy, &second]).await;
    for _ in 0..5 {
        assert_eq!(gateway.chat(false).await.status, 200);
    }
    assert_eq!(busy.calls(), 1);
    let alone = Gateway::before(&[&busy]).await;
    let answer = alone.chat(false).await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (429, "70"));
    assert_eq!(answer.json()["error"]["type"], "rate_limit_error");
    let again = alone.message(false).await;
    assert_eq!((again.status.as_u16(), busy.calls()), (429, 2), "not asked before its time");
    // Limits are each model's own.
    busy.plan(Plan::default());
    let config = route(&[&busy], "") + "models = ['other']\n";
    let gateway = Gateway::start(&config).await;
    busy.next([Fault::Status(429, Some(70))]);
    assert_eq!(gateway.chat(false).await.status, 429);
    let other = ask(false).replace("\"m\"", "\"other\"");
    assert_eq!(gateway.send("/v1/chat/completions", &[], other).await.status, 200);
    assert_eq!(gateway.chat(false).await.status, 429);
}

#[tokio::test]
async fn a_hasty_client_cannot_open_the_breaker_for_others() {
    let slow = mock(Fault::Hang).await;
    let gateway = Gateway::before(&[&slow]).await;
    for _ in 0..8 {
        let answer =
            gateway.send("/v1/chat/completions", &[("x-steadfast-deadline", "5ms")], ask(false)).await;
        assert_eq!(answer.status, 504);
    }
    slow.plan(Fault::Stall(2));
    for _ in 0..30 {
        let option = [("x-steadfast-deadline", "20ms")];
        let answer = gateway.send("/v1/chat/completions", &option, ask(true)).await;
        assert!(!answer.is_whole_stream());
    }
    assert_eq!(gateway.models.breakers()[0].state, "closed");
}

#[tokio::test]
async fn who_asks_for_models_that_are_not_there_is_told_so_and_nobody_is_thought_unwell() {
    let (only, second) = (mock(Fault::Status(404, None)).await, mock(Plan::default()).await);
    let gateway = Gateway::start(&route(&[&only], "kind = 'anthropic'")).await;
    for _ in 0..8 {
        let answer = gateway.message(true).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["message"].clone()),
            (404, json!("mock error 404"))
        );
    }
    assert_eq!(gateway.models.breakers()[0].state, "closed");
    let both = Gateway::before(&[&only, &second]).await;
    assert_eq!(both.chat(false).await.status, 200, "another may have it");
}

#[tokio::test]
async fn a_request_that_is_refused_before_it_is_sent_says_nothing_of_the_provider() {
    let only = mock(Fault::Status(401, None)).await;
    let config = route(&[&only], "breaker = { failures = 2, open = '10s', successes = 1 }");
    let (gateway, clock) = Gateway::timed(&config).await;
    let state = || gateway.models.breakers()[0].state.clone();
    let refused = async || {
        let bad = r#"{"model":"m","max_tokens":9,"messages":[{"role":7,"content":"x"}]}"#;
        let answer = gateway.send("/v1/messages", &[], bad).await;
        assert_eq!(answer.json()["error"]["code"], "provider.refused", "{}", answer.text);
    };
    gateway.chat(false).await;
    refused().await;
    gateway.chat(false).await;
    assert_eq!(state(), "open", "two failures in a row");
    clock.advance(std::time::Duration::from_secs(10));
    refused().await;
    assert_eq!(state(), "probing", "it was no answer, and the next call may try");
    gateway.chat(false).await;
    assert_eq!((state().as_str(), only.calls()), ("open", 3));
}

#[tokio::test]
async fn failing_at_random_for_a_thousand_calls_leaks_no_connection_no_task_and_no_call() {
    let faults =
        ["status:500", "cut:3", "cut_at_byte:300", "bad_chunk:0", "error_event:2", "error_body", "none"];
    let (first, second) = (mock(Plan::default()).await, mock(Plan::default()).await);
    let config = route(&[&first, &second], "breaker.enabled = false") + "continue_streams = true\n";
    let mut gateway = Gateway::start(&config).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let mut calls = Vec::new();
    for i in 0..1_000_usize {
        let fault: Plan = format!("fault={},percent=60", faults[i % faults.len()]).parse().expect("a plan");
        first.next([fault]);
        calls.push(gateway.chat(i % 3 != 0));
        if calls.len() == 20 {
            for answer in futures::future::join_all(calls.drain(..)).await {
                let whole = answer.said() == Plan::default().text();
                assert!(whole && !answer.text.contains("\"error\""), "{}", answer.text);
            }
        }
    }
    first.until(|mock| mock.open() == 0).await;
    second.until(|mock| mock.open() == 0).await;
    drop(calls);
    gateway.hang_up();
    drop((first, second));
    // Both upstreams are gone, and with them what accepted connections there.
    while tasks() > before - 2 {
        tokio::task::yield_now().await;
    }
}
