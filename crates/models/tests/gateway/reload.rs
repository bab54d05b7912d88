//! The configuration read again.

use steadfast_models::Degradation;
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Gateway, env, read, route};

fn open(gateway: &Gateway) -> Vec<String> {
    let breakers = gateway.current.get().breakers();
    breakers.into_iter().filter(|it| it.state == "open").map(|it| it.name).collect()
}

#[tokio::test]
async fn a_provider_that_did_not_change_keeps_its_breaker_and_one_that_did_begins_anew() {
    let dead = Mock::start(Fault::Status(503, None)).await.expect("runs");
    let well = Mock::start(Plan::default()).await.expect("runs");
    let config = route(&[&dead, &well], "");
    let gateway = Gateway::start(&config).await;
    for _ in 0..8 {
        assert_eq!(gateway.chat(false).await.status, 200);
    }
    assert_eq!((open(&gateway), dead.calls()), (vec!["models.p0".to_owned()], 5));

    let more = config.clone() + "[models.routes.other]\ntargets = [{ provider = 'p1' }]\n";
    gateway.current.reload(read(&more), &env()).expect("fine");
    assert_eq!(gateway.chat(false).await.status, 200);
    assert_eq!((open(&gateway), dead.calls()), (vec!["models.p0".to_owned()], 5));

    let changed = config.replace("[models.providers.p0]\n", "[models.providers.p0]\nquery = 'a=b'\n");
    gateway.current.reload(read(&changed), &env()).expect("fine");
    assert!(open(&gateway).is_empty());
    assert_eq!(gateway.chat(false).await.status, 200);
    assert_eq!(dead.calls(), 6);
}

#[tokio::test]
async fn keys_are_read_again_and_what_cannot_be_set_up_changes_nothing() {
    let well = Mock::start(Plan::default()).await.expect("runs");
    let config = route(&[&well], "");
    let gateway = Gateway::start(&config).await;
    gateway.chat(false).await;
    let renewed = [("KEY".to_owned(), "another-key".to_owned())].into();
    gateway.current.reload(read(&config), &renewed).expect("fine");
    gateway.chat(false).await;
    let error = gateway.current.reload(read(&config), &[].into()).expect_err("no key");
    assert!(error.to_string().contains("KEY"), "{error}");
    gateway.chat(false).await;
    let keys: Vec<_> = well.seen().iter().map(|it| it.headers["authorization"].clone()).collect();
    assert_eq!(keys, ["Bearer secret-key", "Bearer another-key", "Bearer another-key"]);
}

#[tokio::test]
async fn a_stream_that_began_before_ends_as_it_began() {
    let plan = Plan { every: std::time::Duration::from_millis(5), ..Plan::default() };
    let (first, second) = (Mock::start(plan.clone()).await, Mock::start(Plan::default()).await);
    let (first, second) = (first.expect("runs"), second.expect("runs"));
    let gateway = Gateway::start(&route(&[&first], "")).await;
    let (answer, ()) = tokio::join!(gateway.chat(true), async {
        first.until(|it| it.open() == 1).await;
        gateway.current.reload(read(&route(&[&second], "")), &env()).expect("fine");
    });
    assert!(answer.is_whole_stream(), "{}", answer.text);
    assert_eq!(answer.said(), plan.text());
    gateway.chat(false).await;
    assert_eq!((first.calls(), second.calls()), (1, 1));
}

#[tokio::test]
async fn the_room_for_kept_answers_follows_and_how_bad_things_are_stays() {
    let (well, dead) = (Mock::start(Plan::default()).await, Mock::start(Fault::Status(503, None)).await);
    let (well, dead) = (well.expect("runs"), dead.expect("runs"));
    let room = |entries: u32, memory: &str| format!("entries_max = {entries}\nmemory_max = '{memory}'\n");
    let config = |mock: &Mock, room: &str| route(&[mock], &format!("[models.cache]\n{room}"));
    let gateway = Gateway::start(&config(&well, &room(3, "1MiB"))).await;
    let ask = async |n: u32| {
        let body =
            serde_json::json!({ "model": "m", "messages": [{ "role": "user", "content": n.to_string() }] });
        gateway.send("/v1/chat/completions", &[], body.to_string()).await.status.as_u16()
    };
    let reload = |config: &str| gateway.current.reload(read(config), &env()).expect("fine");
    let stats = || gateway.current.get().cache_stats();
    for n in 0..5 {
        assert_eq!(ask(n).await, 200);
    }
    assert_eq!(stats().entries, 3);
    reload(&config(&well, &room(10, "2MiB")));
    for n in 5..10 {
        ask(n).await;
    }
    assert_eq!((stats().entries, stats().bytes_max), (8, 2 << 20), "there is more room at once");
    reload(&config(&well, &room(2, "2MiB")));
    assert_eq!(stats().entries, 2, "and less");
    assert_eq!((ask(9).await, stats().hits), (200, 1), "the last ones stay");

    let level = || gateway.current.get().degradation();
    reload(&(config(&dead, &room(2, "2MiB")) + "[models.degrade]\nenabled = false\n"));
    assert_ne!(ask(20).await, 200);
    assert_eq!(level(), Degradation::Partial);
    reload(&config(&well, &room(2, "2MiB")));
    assert_eq!(level(), Degradation::Partial, "the window is not over");
}

#[tokio::test]
async fn the_bound_of_calls_under_way_follows_while_calls_wait() {
    let silent = Mock::start(Fault::Hang).await.expect("runs");
    let config = |running: &str| route(&[&silent], &format!("[models.admission]\n{running}\n"));
    let gateway = Gateway::start(&config("running = 1")).await;
    let reload = |running: &str| gateway.current.reload(read(&config(running)), &env()).expect("fine");
    let queue = || gateway.current.get().queue().map(|it| (it.running, it.running_max, it.waiting.len()));
    let calls = async { tokio::join!(gateway.chat(false), gateway.chat(false), gateway.chat(false)) };
    let reloads = async {
        silent.until(|it| it.calls() == 1).await;
        while queue() != Some((1, 1, 2)) {
            tokio::task::yield_now().await;
        }
        reload("running = 2");
        assert_eq!(queue(), Some((2, 2, 1)));
        silent.until(|it| it.calls() == 2).await;
        reload("enabled = false");
        assert_eq!(queue(), None);
        silent.until(|it| it.calls() == 3).await;
    };
    tokio::select! {
        answers = calls => panic!("{answers:?}"),
        () = reloads => {}
    }
}
