//! What is kept: over restarts, in the clear or not, within its memory, and until it is
//! forgotten.

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use steadfast_core::{
    World,
    secret::{Keyring, Secret},
};
use steadfast_models::{
    Answer, Caller, Home, Models, Operation,
    answer::{Body, CacheResult},
};
use steadfast_models_mock::{Mock, Plan};

use crate::harness::{Gateway, models, route};

const CHAT: &str = "/v1/chat/completions";
const ON: &str = "[models.cache]\nenabled = true\n";

fn home(folder: &Path, key: Option<u8>) -> Home {
    let ring = |byte: u8| Keyring::new(format!("k{byte}"), &Secret::new([byte; 32]), World::system());
    Home { folder: Some(folder.to_owned()), keyring: key.map(ring), production: false }
}

fn asking(text: &str) -> String {
    json!({ "model": "m", "messages": [{ "role": "user", "content": text }] }).to_string()
}

async fn told(gateway: &Gateway, text: &str) -> String {
    let answer = gateway.send(CHAT, &[("test-user", "ana")], asking(text)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.header("x-steadfast-cache").to_owned()
}

fn config(mock: &Mock) -> String {
    route(&[mock], "") + ON
}

#[tokio::test]
async fn answers_survive_a_restart_and_a_file_that_was_cut_gives_all_that_is_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = home(folder.path(), None);
    let mock = Mock::start(Plan::default()).await.expect("runs");
    for text in ["a", "b"] {
        let gateway = Gateway::at(&home, &config(&mock)).await;
        assert_eq!(told(&gateway, text).await, "miss");
        let stream =
            json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": text }] });
        gateway.send(CHAT, &[], stream.to_string()).await;
        gateway.stopped().await;
    }
    let file = folder.path().join("cache.log");
    let whole = std::fs::read(&file).expect("a file");
    for cut in [whole.len() - 1, whole.len() - 40, whole.len()] {
        let mut bytes = whole[..cut].to_vec();
        bytes.extend_from_slice(b"half a record");
        std::fs::write(&file, bytes).expect("written");
        let gateway = Gateway::at(&home, &config(&mock)).await;
        assert_eq!([told(&gateway, "a").await, told(&gateway, "b").await], ["hit", "hit"]);
        let stream =
            json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "a" }] });
        let again = gateway.send(CHAT, &[], stream.to_string()).await;
        assert_eq!((again.header("x-steadfast-cache"), again.is_whole_stream()), ("hit", true));
        gateway.stopped().await;
    }
}

#[tokio::test]
async fn with_a_key_the_file_has_no_plain_text_and_a_file_in_the_clear_is_sealed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let text = || std::fs::read(folder.path().join("cache.log")).expect("a file");
    let says = |words: &str| memchr::memmem::find(&text(), words.as_bytes()).is_some();
    let run = async |key, expected: &str| {
        let gateway = Gateway::at(&home(folder.path(), key), &config(&mock)).await;
        assert_eq!(told(&gateway, "secret question").await, expected);
        gateway.stopped().await;
    };
    run(None, "miss").await;
    assert!(says("word1 ") && says("ana"), "without a key it lies in the clear");
    run(Some(1), "hit").await;
    for words in ["word1", "ana", "secret", "choices", "provider"] {
        assert!(!says(words), "{words}");
    }
    assert!(says("k1"), "the key's id, to find it by");
    // Without that key nothing opens; it is asked again.
    run(Some(2), "miss").await;
    run(None, "miss").await;
}

#[test]
fn in_production_nothing_is_kept_in_the_clear() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = "[models.providers.p]\nkind = 'local'\n[models.routes.m]\ntargets = [{ provider = 'p' }]\n";
    let production = |key| Home { production: true, ..home(folder.path(), key) };
    let refused = models(&production(None), &(local.to_owned() + ON)).expect_err("refused").to_string();
    assert!(refused.contains("store.key"), "{refused}");
    for (key, cache) in
        [(Some(1), ON), (None, "[models.cache]\nfile = false\n"), (None, "[models.cache]\nenabled = false\n")]
    {
        drop(models(&production(key), &(local.to_owned() + cache)).expect("starts"));
    }
}

#[test]
fn two_processes_do_not_write_one_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let local = "[models.providers.p]\nkind = 'local'\n[models.routes.m]\ntargets = [{ provider = 'p' }]\n";
    let first = models(&home(folder.path(), None), &(local.to_owned() + ON)).expect("starts");
    let second = models(&home(folder.path(), None), &(local.to_owned() + ON)).expect_err("refused");
    assert!(second.to_string().contains("another process"), "{second}");
    drop(first);
    drop(models(&home(folder.path(), None), &(local.to_owned() + ON)).expect("starts"));
}

async fn ask(models: &Models, user: &str, text: &str, headers: &[(&'static str, &str)]) -> Answer {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().expect("a value"));
    }
    let caller = Caller { user: Some(user.into()), ..Caller::default() };
    let answer = models.process("1".into(), Operation::Chat, Bytes::from(asking(text)), caller, &map).await;
    answer.expect("an answer")
}

/// The memory of this process, in bytes.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: usize = statm.split(' ').nth(1).expect("pages").parse().expect("a number");
    pages * 4_096
}

#[tokio::test]
async fn ten_thousand_answers_stay_within_the_stated_memory() {
    const MEMORY: usize = 16 << 20;
    let local = "[models.providers.p]\nkind = 'local'\n[models.routes.m]\ntargets = [{ provider = 'p' }]\n\
        [models.cache]\nmemory_max = '16MiB'\ncompress_from = '1KiB'\n";
    let models = models(&Home::default(), local).expect("starts");
    // Text that does not compress, so that memory and not the number of entries is the bound.
    let noise = |seed: u64| -> String {
        let world = World::manual(seed).0;
        (0..100).map(|_| hex::encode(world.chance().bits().to_be_bytes())).collect()
    };
    ask(&models, "ana", &noise(0), &[]).await;
    let before = resident();
    for seed in 1..12_000 {
        ask(&models, "ana", &noise(seed), &[]).await;
    }
    let stats = models.cache_stats();
    assert!(stats.bytes <= MEMORY && stats.entries <= 10_000, "{stats:?}");
    assert!(stats.bytes > MEMORY * 3 / 4 && stats.evicted > 0, "the bound was reached: {stats:?}");
    let grown = resident().saturating_sub(before);
    assert!(grown < MEMORY * 3 / 2, "{grown} bytes for {} stated", stats.bytes);
    let newest = ask(&models, "ana", &noise(11_999), &[]).await;
    assert_eq!(newest.about.cache, Some(CacheResult::Hit));
}

#[tokio::test]
async fn no_more_entries_are_kept_than_are_allowed_and_the_least_used_go_first() {
    let local = "[models.providers.p]\nkind = 'local'\n[models.routes.m]\ntargets = [{ provider = 'p' }]\n\
        [models.cache]\nentries_max = 3\n";
    let models = models(&Home::default(), local).expect("starts");
    let mut told = Vec::new();
    for text in ["a", "b", "c", "a", "d", "a", "b"] {
        told.push(ask(&models, "ana", text, &[]).await.about.cache.expect("told").name());
    }
    assert_eq!(told, ["miss", "miss", "miss", "hit", "miss", "hit", "miss"]);
    let stats = models.cache_stats();
    assert_eq!((stats.entries, stats.evicted, stats.hits, stats.misses), (3, 2, 2, 5));
    assert_eq!(stats.hit_rate, Some(2.0 / 7.0));
}

#[tokio::test]
async fn answers_are_forgotten_by_operation_user_and_tag_in_memory_and_on_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let config = config(&mock);
    let gateway = Gateway::at(&home(folder.path(), None), &config).await;
    let calls: [(&str, &[(&str, &str)]); 5] = [
        (CHAT, &[("test-user", "ana"), ("x-steadfast-tags", "rates, cards")]),
        (CHAT, &[("test-user", "luis"), ("x-steadfast-tags", "rates")]),
        (CHAT, &[("test-user", "marta")]),
        ("/v1/messages", &[("test-user", "ana")]),
        (CHAT, &[("test-user", "ana"), ("test-tenant", "other")]),
    ];
    let fill = async || {
        for (path, headers) in calls {
            gateway.send(path, headers, asking("hi")).await;
        }
    };
    let hits = async || {
        let mut hits = String::new();
        for (path, headers) in calls {
            let peek = [headers, &[("x-steadfast-ttl", "1h")]].concat();
            let answer = gateway.send(path, &peek, asking("hi")).await;
            hits.push(if answer.header("x-steadfast-cache") == "hit" { '1' } else { '0' });
        }
        hits
    };
    let invalidate =
        async |which: Value| gateway.send("/operator/cache/invalidate", &[], which.to_string()).await;
    fill().await;
    assert_eq!(hits().await, "11111");
    for (which, left, gone) in [
        (json!({ "tag": "cards" }), "01111", 1),
        (json!({ "tag": "rates" }), "00111", 2),
        (json!({ "user": "ana" }), "01101", 2),
        (json!({ "operation": "messages" }), "11101", 1),
        (json!({ "operation": "chat", "user": "ana" }), "01111", 1),
        (json!({ "all": true }), "00001", 4),
        (json!({ "user": "nobody" }), "11111", 0),
    ] {
        let answer = invalidate(which.clone()).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({ "invalidated": gone })), "{which}");
        assert_eq!(hits().await, left, "{which}");
    }
    for wrong in [json!({}), json!({ "usr": "ana" }), json!({ "operation": "chats" })] {
        let answer = invalidate(wrong.clone()).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        assert_eq!(answer.json()["code"], "request.invalid");
    }
    let file = || std::fs::read(folder.path().join("cache.log")).expect("a file");
    invalidate(json!({ "all": true })).await;
    assert!(memchr::memmem::find(&file(), b"marta").is_none(), "gone from the disk when it is told");
    gateway.stopped().await;
}

#[tokio::test]
async fn lines_of_a_file_are_kept_as_if_they_had_been_answered() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let gateway = Gateway::at(&Home::default(), &config(&mock)).await;
    let stream = json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "hi" }] });
    let streamed = gateway.send(CHAT, &[("x-steadfast-cache", "bypass")], stream.to_string()).await.text;
    let whole = gateway.send(CHAT, &[("x-steadfast-cache", "bypass")], asking("hi")).await.json();
    let calls = mock.calls();
    let request: Value = serde_json::from_str(&asking("hi")).expect("JSON");
    let mut cut = whole.clone();
    cut["choices"][0]["finish_reason"] = json!("length");
    let lines = [
        json!({ "request": request, "answer": whole, "user": "ana", "headers": { "x-steadfast-tags": "warm" } }),
        json!({ "operation": "chat", "request": stream, "answer": streamed, "user": "ana" }),
        json!({ "request": request, "answer": cut, "user": "luis" }),
        json!({ "request": stream, "answer": whole, "user": "luis" }),
        json!({ "request": { "model": "m" }, "answer": whole }),
        json!({ "request": { "model": "nobody", "messages": [] }, "answer": whole }),
        json!({ "request": request, "answer": { "error": {} } }),
        json!({ "request": request, "answer": whole, "headers": { "x-steadfast-cache": "bypass" } }),
        json!({ "reqest": request }),
    ];
    let body = lines.map(|line| line.to_string()).join("\n\n");
    let warmed = gateway.send("/operator/cache/warm", &[], body).await.json();
    assert_eq!(warmed["kept"], 2, "{warmed}");
    let refused: Vec<_> =
        warmed["refused"].as_array().expect("a list").iter().map(|it| &it["line"]).collect();
    assert_eq!(refused, [5, 7, 9, 11, 13, 15, 17], "{warmed}");
    let ana = [("test-user", "ana")];
    let told = gateway.send(CHAT, &ana, asking("hi")).await;
    assert_eq!((told.header("x-steadfast-cache"), told.json()), ("hit", whole));
    let told = gateway.send(CHAT, &ana, stream.to_string()).await;
    assert_eq!((told.header("x-steadfast-cache"), told.text.as_str()), ("hit", streamed.as_str()));
    assert_eq!(mock.calls(), calls);
    let stats = gateway.get("/operator/cache", &[]).await.json();
    assert_eq!(
        (&stats["entries"], &stats["hits"], &stats["kept"]),
        (&json!(2), &json!(2), &json!(2)),
        "{stats}"
    );
}

#[tokio::test]
async fn an_answer_of_another_model_is_not_given_when_the_route_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let home = home(folder.path(), None);
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let first = config(&mock);
    let other = first.replace("{ provider = 'p0' }", "{ provider = 'p0', model = 'other' }");
    for (config, expected) in [(&first, "miss"), (&other, "miss"), (&first, "hit"), (&other, "hit")] {
        let gateway = Gateway::at(&home, config).await;
        assert_eq!(told(&gateway, "hi").await, expected);
        gateway.stopped().await;
    }
}

/// For readers of whole bodies.
#[tokio::test]
async fn an_answer_from_the_cache_says_what_it_had_cost_and_that_nobody_was_asked() {
    let mock = Mock::start(Plan::default()).await.expect("runs");
    let models: Arc<Models> = models(&Home::default(), &config(&mock)).expect("starts");
    let first = ask(&models, "ana", "hi", &[]).await;
    let second = ask(&models, "ana", "hi", &[]).await;
    assert_eq!((first.about.attempts, second.about.attempts), (1, 0));
    assert_eq!(first.about.usage, second.about.usage);
    assert!(matches!(second.body, Body::Whole(_)));
}
