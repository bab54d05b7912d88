//! What users of caches complain of.

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Gateway, route};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const ON: &str = "[models.cache]\nenabled = true\n";

async fn mock(plan: impl Into<Plan>) -> Mock {
    Mock::start(plan).await.expect("runs")
}

/// A gateway with a cache before this upstream. It answers errors at once.
async fn caching(mock: &Mock, more: &str) -> Gateway {
    let config = route(&[mock], "").replace("retry.waits = ['1000h']", "retry.enabled = false");
    Gateway::start(&(config + ON + more)).await
}

/// A question of one user.
fn asking(text: &str, more: Value) -> String {
    let mut body =
        json!({ "model": "m", "max_tokens": 100, "messages": [{ "role": "user", "content": text }] });
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body.to_string()
}

/// Path, headers and body.
type Request<'a> = (&'a str, &'a [(&'a str, &'a str)], String);

/// What the cache said it did, one after another.
async fn asked(gateway: &Gateway, requests: &[Request<'_>]) -> Vec<String> {
    let mut done = Vec::new();
    for (path, headers, body) in requests {
        let answer = gateway.send(path, headers, body.clone()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        done.push(answer.header("x-steadfast-cache").to_owned());
    }
    done
}

#[tokio::test]
async fn the_same_question_is_asked_upstream_once_and_answered_byte_for_byte_again() {
    let mock = mock(Plan::default()).await;
    let gateway = caching(&mock, "").await;
    for path in [CHAT, MESSAGES] {
        for stream in [false, true] {
            let before = mock.calls();
            let first = gateway.send(path, &[], asking("hello", json!({ "stream": stream }))).await;
            let second = gateway.send(path, &[], asking("hello", json!({ "stream": stream }))).await;
            assert_eq!(mock.calls(), before + 1, "{path} {stream}");
            let told = [first.header("x-steadfast-cache"), second.header("x-steadfast-cache")];
            assert_eq!(told, ["miss", "hit"]);
            assert_eq!(first.text, second.text);
            assert_eq!(first.header("content-type"), second.header("content-type"), "a stream stays one");
            assert_eq!(stream, second.is_whole_stream());
            assert_eq!(
                (second.header("x-steadfast-route"), second.header("x-steadfast-provider")),
                ("m", "p0")
            );
            assert_eq!(second.header("x-steadfast-attempts"), "0");
        }
    }
    let embed = json!({ "model": "m", "input": ["a"] }).to_string();
    let told =
        asked(&gateway, &[("/v1/embeddings", &[], embed.clone()), ("/v1/embeddings", &[], embed)]).await;
    assert_eq!(told, ["miss", "hit"]);
}

#[tokio::test]
async fn key_order_white_space_numbers_and_volatile_members_do_not_count() {
    let mock = mock(Plan::default()).await;
    let gateway = caching(&mock, "").await;
    let bodies = [
        r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":0,"max_tokens":50}"#,
        r#" { "max_tokens" : 50, "temperature":0.0,"messages" : [ {"content":"hi" , "role":"user"} ], "model":"m" } "#,
        r#"{"model":"m","messages":[{"role":"user","content":"\u0068i"}],"temperature":0,"max_tokens":50,
            "metadata":{"request":"7"},"store":true,"service_tier":"auto","prompt_cache_key":"x","stream":false}"#,
    ];
    let requests = bodies.map(|body| (CHAT, &[][..], body.to_owned()));
    assert_eq!(asked(&gateway, &requests).await, ["miss", "hit", "hit"]);
    assert_eq!(mock.calls(), 1);
}

#[tokio::test]
async fn whatever_may_change_the_answer_makes_another_question() {
    let mock = mock(Plan::default()).await;
    let gateway = caching(&mock, "").await;
    let variants = [
        json!({}),
        json!({ "max_tokens": 101 }),
        json!({ "temperature": 0.1 }),
        json!({ "seed": 1 }),
        json!({ "stop": ["x"] }),
        json!({ "n": 1 }),
        json!({ "response_format": { "type": "text" } }),
        json!({ "tools": [{ "type": "function", "function": { "name": "a" } }] }),
        json!({ "tools": [{ "type": "function", "function": { "name": "a" } }], "tool_choice": "none" }),
        json!({ "stream": true }),
        json!({ "stream": true, "stream_options": { "include_usage": true } }),
        json!({ "a_member_nobody_knows": 1 }),
        json!({ "messages": [{ "role": "system", "content": "s" }, { "role": "user", "content": "hi" }] }),
        json!({ "safety_identifier": "x" }),
    ];
    let mut requests: Vec<_> =
        variants.iter().map(|more| (CHAT, &[][..], asking("hi", more.clone()))).collect();
    requests.push((CHAT, &[("x-steadfast-persona", "pirate")], asking("hi", json!({}))));
    requests.push((CHAT, &[("openai-beta", "x")], asking("hi", json!({}))));
    requests.push((MESSAGES, &[], asking("hi", json!({}))));
    requests.push((MESSAGES, &[("anthropic-beta", "x")], asking("hi", json!({}))));
    assert_eq!(asked(&gateway, &requests).await, vec!["miss"; requests.len()]);
    assert_eq!(asked(&gateway, &requests).await, vec!["hit"; requests.len()]);
    let same_as_none = [(MESSAGES, &[("anthropic-version", "2023-06-01")][..], asking("hi", json!({})))];
    assert_eq!(asked(&gateway, &same_as_none).await, ["hit"]);
}

#[tokio::test]
async fn an_answer_is_never_anothers_users_nor_another_tenants() {
    let mock = mock(Plan::default()).await;
    let gateway = caching(&mock, "").await;
    let own = || asking("what is my balance?", json!({}));
    let named = |user: &str| asking("what is my balance?", json!({ "user": user }));
    let id = |user: &str| asking("what is my balance?", json!({ "metadata": { "user_id": user } }));
    let callers: [Request<'_>; 13] = [
        (CHAT, &[], own()),
        (CHAT, &[("test-user", "ana")], own()),
        (CHAT, &[("test-user", "luis")], own()),
        (CHAT, &[("test-tenant", "other")], own()),
        (CHAT, &[("test-tenant", "other"), ("test-user", "ana")], own()),
        (CHAT, &[("test-key", "k1")], own()),
        (CHAT, &[("test-key", "k2")], own()),
        (CHAT, &[], named("ana")),
        (CHAT, &[], named("luis")),
        (CHAT, &[("test-user", "ana")], named("luis")),
        (MESSAGES, &[], own()),
        (MESSAGES, &[], id("ana")),
        (MESSAGES, &[], id("luis")),
    ];
    assert_eq!(asked(&gateway, &callers).await, vec!["miss"; callers.len()]);
    assert_eq!(asked(&gateway, &callers).await, vec!["hit"; callers.len()]);

    let shared = caching(&mock, "chat.share = 'tenant'\n").await;
    let told = asked(&shared, &callers[..10]).await;
    let (hits, misses): (Vec<_>, Vec<_>) = told.into_iter().partition(|told| told == "hit");
    assert_eq!((hits.len(), misses.len()), (8, 2), "shared within each of two tenants, never across");
    assert_eq!(asked(&shared, &callers[10..]).await, ["miss"; 3], "and only this operation");
}

#[tokio::test]
async fn an_error_is_never_kept() {
    let mock = mock(Plan::default()).await;
    let gateway = caching(&mock, "[models.providers.p0.breaker]\nenabled = false\n").await;
    let (whole, both, streams) = (&[false][..], &[false, true][..], &[true][..]);
    for (fault, modes) in [
        (Fault::Status(400, None), both),
        (Fault::Status(500, None), both),
        (Fault::Status(429, Some(0)), both),
        (Fault::WrongType, both),
        (Fault::ErrorBody, both),
        (Fault::Malformed, whole),
        (Fault::ErrorEvent(0), streams),
        (Fault::BadChunk(0), streams),
    ] {
        for stream in modes {
            let body = asking(&format!("{fault:?}"), json!({ "stream": stream, "seed": stream }));
            mock.next([fault.clone()]);
            let failed = gateway.send(CHAT, &[], body.clone()).await;
            assert_ne!(failed.status, 200, "{fault:?}");
            // Let a limit of the provider's be over.
            let again = loop {
                let again = gateway.send(CHAT, &[], body.clone()).await;
                if again.status != 429 {
                    break again;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            };
            assert_eq!(
                (again.status.as_u16(), again.header("x-steadfast-cache")),
                (200, "miss"),
                "{fault:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_truncated_answer_or_one_with_tool_calls_is_never_kept() {
    let mock = mock(Plan::default()).await;
    for (path, kind) in [(CHAT, "openai"), (MESSAGES, "anthropic")] {
        let config = route(&[&mock], &format!("kind = '{kind}'\nbreaker.enabled = false")) + ON;
        let gateway = Gateway::start(&config).await;
        for stream in [false, true] {
            let body = |what: &str| asking(what, json!({ "stream": stream }));
            let whole = gateway.send(path, &[], body("whole")).await;
            let cut = whole.text.replace("\"stop\"", "\"length\"").replace("\"end_turn\"", "\"max_tokens\"");
            assert_ne!(cut, whole.text);
            let tools = Plan { tools: 1, ..Plan::default() };
            for (what, plan) in [("cut at its most tokens", Plan::replaying(cut)), ("tools", tools)] {
                mock.next([plan.clone(), plan]);
                let before = mock.calls();
                let told = asked(&gateway, &[(path, &[], body(what)), (path, &[], body(what))]).await;
                assert_eq!((told, mock.calls()), (vec!["miss".to_owned(); 2], before + 2), "{path} {what}");
            }
            if stream {
                mock.next([Fault::Cut(5)]);
                let broken = gateway.send(path, &[], body("broken")).await;
                assert!(!broken.is_whole_stream());
                let told = asked(&gateway, &[(path, &[], body("broken"))]).await;
                assert_eq!(told, ["miss"]);
            }
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_early_leaves_no_half_answer_behind() {
    let mock = mock(Plan { every: std::time::Duration::from_millis(5), ..Plan::default() }).await;
    let gateway = caching(&mock, "").await;
    let body = asking("hi", json!({ "stream": true }));
    let mut opened = gateway.open(Method::POST, CHAT, &[], body.clone()).await;
    opened.frame().await.expect("a frame").expect("good");
    drop(opened);
    mock.until(|mock| mock.cancelled() == 1).await;
    assert_eq!(asked(&gateway, &[(CHAT, &[], body)]).await, ["miss"]);
}

#[tokio::test]
async fn clients_say_whether_and_for_how_long_in_one_unit() {
    let mock = mock(Plan::default()).await;
    let gateway = caching(&mock, "temperature_max = 0.5\n").await;
    let told = async |headers: &[(&str, &str)], more: Value| {
        asked(&gateway, &[(CHAT, headers, asking("hi", more))]).await.remove(0)
    };
    for headers in [("x-steadfast-cache", "bypass"), ("cache-control", "no-store"), ("x-steadfast-ttl", "0s")]
    {
        assert_eq!(told(&[headers], json!({})).await, "bypass");
        assert_eq!(told(&[headers], json!({})).await, "bypass", "{headers:?} kept nothing");
    }
    for headers in [("x-steadfast-cache", "refresh"), ("cache-control", "max-age=0, no-cache")] {
        assert_eq!(told(&[headers], json!({})).await, "miss");
        assert_eq!(told(&[headers], json!({})).await, "miss", "{headers:?} does not look");
        assert_eq!(told(&[], json!({})).await, "hit", "{headers:?} keeps");
    }
    assert_eq!(told(&[], json!({ "temperature": 0.9 })).await, "bypass");
    assert_eq!(told(&[], json!({ "temperature": 0.9 })).await, "bypass");
    assert_eq!(told(&[], json!({ "temperature": 0.5 })).await, "miss");
    assert_eq!(told(&[], json!({ "temperature": 0.5 })).await, "hit");
    let told = async |ttl: &str| {
        let headers = [("x-steadfast-ttl", ttl)];
        gateway.send(CHAT, &headers, asking("hi", json!({}))).await.status.as_u16()
    };
    assert_eq!([told("3600").await, told("1 hour").await, told("1h").await], [400, 400, 200]);
}

#[tokio::test]
async fn identical_calls_at_the_same_time_are_one_call_upstream() {
    let slow = Plan { pause: std::time::Duration::from_millis(60), ..Plan::default() };
    let mock = mock(slow).await;
    let gateway = caching(&mock, "").await;
    for stream in [false, true] {
        let before = mock.calls();
        let body = asking("hi", json!({ "stream": stream }));
        let all = (0..40).map(|_| gateway.send(CHAT, &[], body.clone()));
        let answers = futures::future::join_all(all).await;
        assert_eq!(mock.calls(), before + 1, "stream: {stream}");
        let misses = answers.iter().filter(|it| it.header("x-steadfast-cache") == "miss").count();
        assert_eq!(misses, 1);
        for answer in &answers {
            assert_eq!((answer.status.as_u16(), &answer.text), (200, &answers[0].text));
            assert_eq!(stream, answer.is_whole_stream());
        }
    }
    // Another user's same words are another call.
    let (a, b) = tokio::join!(
        gateway.send(CHAT, &[("test-user", "ana")], asking("x", json!({}))),
        gateway.send(CHAT, &[("test-user", "luis")], asking("x", json!({})))
    );
    assert_eq!([a.header("x-steadfast-cache"), b.header("x-steadfast-cache")], ["miss", "miss"]);
}

#[tokio::test]
async fn who_follows_a_stream_gets_its_first_event_before_it_has_ended() {
    let mock = mock(Plan { fault: Fault::Stall(5), ..Plan::default() }).await;
    let gateway = caching(&mock, "").await;
    let body = asking("hi", json!({ "stream": true }));
    let mut leader = gateway.open(Method::POST, CHAT, &[], body.clone()).await;
    leader.frame().await.expect("a frame").expect("good");
    // The stream stalls for good after five pieces; the follower has them all the same.
    let mut follower = gateway.open(Method::POST, CHAT, &[], body.clone()).await;
    assert_eq!(follower.headers()["x-steadfast-cache"], "hit");
    let mut got = String::new();
    while !got.contains(&Plan::piece(4)) {
        let frame = follower.frame().await.expect("a frame").expect("good");
        got += std::str::from_utf8(frame.data_ref().expect("data")).expect("text");
    }
    assert_eq!(mock.calls(), 1);
    // The leader leaves: the stream goes on for the other. Then that one leaves as well.
    drop(leader);
    let mut third = gateway.open(Method::POST, CHAT, &[], body.clone()).await;
    third.frame().await.expect("a frame").expect("good");
    assert_eq!((mock.calls(), mock.cancelled()), (1, 0));
    drop(follower);
    drop(third);
    mock.until(|mock| mock.cancelled() == 1).await;
}

#[tokio::test]
async fn when_the_leader_fails_or_leaves_another_leads_and_nobody_fails_with_it() {
    let mock = mock(Plan { pause: std::time::Duration::from_millis(40), ..Plan::default() }).await;
    let gateway = caching(&mock, "[models.providers.p0.breaker]\nenabled = false\n").await;
    mock.next([Fault::Status(500, None)]);
    let body = asking("hi", json!({}));
    let answers = futures::future::join_all((0..10).map(|_| gateway.send(CHAT, &[], body.clone()))).await;
    let failed = answers.iter().filter(|it| it.status != 200).count();
    assert_eq!((failed, mock.calls()), (1, 2), "only the one who asked heard of it");

    mock.next([Fault::Hang]);
    let body = asking("left", json!({}));
    let leaving = tokio::time::timeout(
        std::time::Duration::from_millis(300),
        gateway.open(Method::POST, CHAT, &[], body.clone()),
    );
    let following = async {
        mock.until(|mock| mock.calls() == 3).await;
        gateway.send(CHAT, &[], body.clone()).await
    };
    let (left, followed) = tokio::join!(leaving, following);
    assert!(left.is_err());
    assert_eq!((followed.status.as_u16(), mock.calls()), (200, 4));
}

#[tokio::test]
async fn answers_that_are_not_kept_make_nobody_wait_for_another() {
    let slow = Plan { pause: std::time::Duration::from_millis(50), tools: 1, ..Plan::default() };
    let mock = mock(slow).await;
    let gateway = caching(&mock, "").await;
    let tools = json!({ "tools": [{ "type": "function", "function": { "name": "a" } }] });
    let all = (0..10).map(|_| gateway.send(CHAT, &[], asking("hi", tools.clone())));
    let answers = futures::future::join_all(all).await;
    assert!(answers.iter().all(|it| it.header("x-steadfast-cache") == "miss"));
    assert_eq!(mock.calls(), 10, "what calls a tool is for each alone");
}

#[tokio::test]
async fn a_follower_waits_no_longer_than_its_own_deadline() {
    let mock = mock(Fault::Hang).await;
    let gateway = caching(&mock, "").await;
    let body = asking("hi", json!({}));
    let leader = gateway.open(Method::POST, CHAT, &[("x-steadfast-deadline", "20s")], body.clone());
    let follower = async {
        mock.until(|mock| mock.calls() == 1).await;
        gateway.send(CHAT, &[("x-steadfast-deadline", "100ms")], body.clone()).await
    };
    tokio::pin!(leader);
    tokio::select! {
        _ = &mut leader => panic!("it hangs"),
        answer = follower => assert_eq!(answer.status, 504, "{}", answer.text),
    }
    assert_eq!(mock.calls(), 1);
}

#[tokio::test]
async fn a_stream_is_shared_by_those_who_want_the_same_of_it() {
    let mock = mock(Plan { fault: Fault::Stall(5), ..Plan::default() }).await;
    let gateway = caching(&mock, "").await;
    let body = asking("hi", json!({ "stream": true }));
    let mut open = Vec::new();
    for (headers, wanted) in [
        (&[("x-steadfast-deadline", "30s")] as &[_], "miss"),
        (&[("x-steadfast-deadline", "30s")], "hit"),
        // With the first's deadline it would be cut before its own.
        (&[], "miss"),
        (&[], "hit"),
        (&[("x-steadfast-continue", "true")], "miss"),
        (&[("x-steadfast-deadline", "40s")], "miss"),
    ] {
        let mut stream = gateway.open(Method::POST, CHAT, headers, body.clone()).await;
        stream.frame().await.expect("a frame").expect("good");
        assert_eq!(stream.headers()["x-steadfast-cache"], wanted, "{headers:?}");
        open.push(stream);
    }
    assert_eq!(mock.calls(), 4);
}

#[tokio::test]
async fn what_was_asked_before_an_invalidation_is_not_given_after_it() {
    let slow = Plan { pause: std::time::Duration::from_millis(300), ..Plan::default() };
    for stream in [false, true] {
        let mock = mock(slow.clone()).await;
        let gateway = caching(&mock, "").await;
        let body = asking("hi", json!({ "stream": stream }));
        let before = gateway.send(CHAT, &[], body.clone());
        let after = async {
            mock.until(|mock| mock.calls() == 1).await;
            let which = json!({ "operation": "chat" }).to_string();
            let invalidated = gateway.send("/operator/cache/invalidate", &[], which).await;
            assert_eq!(invalidated.json(), json!({ "invalidated": 0 }));
            // Another user's is nobody's here, and harms no answer.
            let which = json!({ "user": "somebody else" }).to_string();
            gateway.send("/operator/cache/invalidate", &[], which).await;
            gateway.send(CHAT, &[], body.clone()).await
        };
        let (before, after) = tokio::join!(before, after);
        let done = [&before, &after].map(|it| it.header("x-steadfast-cache"));
        assert_eq!((done, mock.calls()), (["miss", "miss"], 2), "stream: {stream}");
        assert_eq!(asked(&gateway, &[(CHAT, &[], body)]).await, ["hit"], "the second was kept");
    }
}
