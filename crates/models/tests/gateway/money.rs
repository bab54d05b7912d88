//! Limits and costs, as clients and operators meet them.

mod kept;

use std::path::{Path, PathBuf};

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use steadfast_models::{
    Usd,
    record::{By, Cost, Wanted, costs},
};
use steadfast_models_mock::{Fault, Mock, Plan};

use crate::harness::{Gateway, ask, route};

/// A dollar a token in, two a token out: figures that are easy to see.
const PRICE: &str = "[models.prices.m]\ninput = '1000000'\noutput = '2000000'\nthinks = 'never'\n";

async fn mock(plan: impl Into<Plan>) -> Mock {
    Mock::start(plan).await.expect("runs")
}

fn limit(dollars: &str, more: &str) -> String {
    format!("[models.budget.limits.team]\nlimit = '{dollars}'\n{more}\n")
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a folder")
}

fn file(folder: &Path) -> PathBuf {
    folder.join(steadfast_models::record::FILE)
}

fn dollars(text: &str) -> Usd {
    text.parse().expect("dollars")
}

/// One value of the records.
fn sql<T: rusqlite::types::FromSql>(folder: &Path, query: &str) -> T {
    let connection = rusqlite::Connection::open(file(folder)).expect("the file");
    connection.query_row(query, [], |row| row.get(0)).expect("a row")
}

fn cost(folder: &Path) -> Usd {
    Usd::from_nanos(
        u64::try_from(sql::<i64>(folder, "SELECT coalesce(sum(cost), 0) FROM calls")).expect("a sum"),
    )
}

/// This month's, whichever it is.
fn this_month(folder: &Path, by: &By) -> Vec<Cost> {
    let month: String =
        sql(folder, "SELECT strftime('%Y-%m', begun / 1000000, 'unixepoch') FROM calls LIMIT 1");
    costs(&file(folder), &month, by, None).expect("read").expect("a month")
}

#[tokio::test]
async fn a_call_tells_what_it_cost_and_so_does_its_record() {
    let (upstream, folder) = (mock(Plan { chunks: 4, ..Plan::default() }).await, folder());
    let gateway = Gateway::recorded(&(route(&[&upstream], "") + PRICE), folder.path()).await;
    let whole = gateway.chat(false).await;
    let used = &whole.json()["usage"];
    let due =
        used["prompt_tokens"].as_u64().expect("in") + 2 * used["completion_tokens"].as_u64().expect("out");
    assert_eq!(whole.header("x-steadfast-cost-usd"), due.to_string());
    assert_eq!(whole.header("x-steadfast-queue-ms"), "0");
    let stream = gateway.message(true).await;
    assert!(stream.is_whole_stream());
    assert!(gateway.models.flush().await);
    assert_eq!(cost(folder.path()), dollars(&(2 * due).to_string()));
    let rows: String = sql(
        folder.path(),
        "SELECT group_concat(operation || ' ' || state || ' ' || status || ' ' || attempts || ' ' || provider
            || ' ' || (first_us IS NOT NULL) || ' ' || estimated, '|') FROM calls",
    );
    assert_eq!(rows, "chat done 200 1 p0 0 0|messages done 200 1 p0 1 0");
    let text = std::fs::read(file(folder.path())).expect("the file");
    assert!(!String::from_utf8_lossy(&text).contains("word1"), "nothing that was said is recorded");
}

#[tokio::test]
async fn over_its_limit_a_call_is_refused_with_the_figures_and_nobody_is_asked() {
    let (upstream, folder) = (mock(Plan { chunks: 4, ..Plan::default() }).await, folder());
    let config = route(&[&upstream], "") + PRICE + &limit("1000", "window = 'day'");
    let gateway = Gateway::recorded(&config, folder.path()).await;
    // 100 tokens out and some 90 bytes in: about 290 dollars at most, and 13 tokens in fact.
    let mut spent = 0_u32;
    let refused = loop {
        let answer = gateway.chat(spent.is_multiple_of(2)).await;
        if answer.status != 200 {
            break answer;
        }
        spent += 1;
        assert!(spent < 100);
    };
    assert_eq!((refused.status.as_u16(), u64::from(spent)), (402, upstream.calls()));
    let error = &refused.json()["error"];
    assert_eq!(error["code"], "budget.exceeded");
    let figure = |name: &str| dollars(error["figures"][name].as_str().expect(name));
    let used = figure("spent_usd").plus(figure("reserved_usd"));
    assert_eq!(figure("limit_usd"), dollars("1000"));
    assert!(used <= dollars("1000") && used.plus(figure("asked_usd")) > dollars("1000"));
    let until: u64 = refused.header("retry-after").parse().expect("when the day ends");
    assert!((1..=86_400).contains(&until));
    assert_eq!(refused.header("x-should-retry"), "false");
    let message = gateway.message(false).await.json();
    assert_eq!(message["error"]["type"], "billing_error");

    // A small one still fits: refused is only what could exceed the limit.
    let small = json!({ "model": "m", "max_tokens": 1, "messages": [] }).to_string();
    let answer = gateway.send("/v1/chat/completions", &[], small).await;
    let fits = used.plus(dollars("60")) <= dollars("1000");
    assert_eq!(answer.status == 200, fits, "{used:?}: {}", answer.text);
    assert!(gateway.models.spending().iter().all(|it| it.spent.plus(it.reserved) <= dollars("1000")));
}

#[tokio::test]
async fn where_a_limit_holds_and_the_client_sets_no_bound_the_gateway_does() {
    let upstream = mock(Plan { chunks: 4, ..Plan::default() }).await;
    let legacy = "[models.providers.p0]\nlegacy_max_tokens = true\n";
    for (more, chat) in [("", "max_completion_tokens"), (legacy, "max_tokens")] {
        let config = route(&[&upstream], "").replace(
            "[models.providers.p0]\n",
            &format!("[models.providers.p0]\n{}", more.replace("[models.providers.p0]\n", "")),
        );
        let config = config + PRICE + &limit("100000", "") + "[models.budget]\noutput_max = 77\n";
        let gateway = Gateway::start(&config).await;
        for (path, member) in [("/v1/chat/completions", chat), ("/v1/messages", chat)] {
            for body in [
                json!({ "model": "m", "messages": [{ "role": "user", "content": "go" }] }),
                json!({ "model": "m", "messages": [{ "role": "user", "content": "go" }], "max_tokens": null, "max_completion_tokens": null }),
            ] {
                let answer = gateway.send(path, &[], body.to_string()).await;
                assert_eq!(answer.status, 200, "{}", answer.text);
                let seen = upstream.seen();
                let text = String::from_utf8(seen.last().expect("asked").body.to_vec()).expect("text");
                let sent: Value = serde_json::from_str(&text).expect("JSON");
                assert_eq!(sent[member], 77, "{path}: {text}");
                assert_eq!(text.matches(&format!("\"{member}\"")).count(), 1, "{text}");
            }
            let own = gateway.send(path, &[], ask(false)).await;
            assert_eq!(own.status, 200);
            let seen = upstream.seen();
            let sent: Value = serde_json::from_slice(&seen.last().expect("asked").body).expect("JSON");
            assert_eq!(sent["max_tokens"].as_u64().or(sent["max_completion_tokens"].as_u64()), Some(100));
        }
    }
}

#[tokio::test]
async fn under_a_limit_a_provider_is_told_the_bound_under_the_name_that_it_reads() {
    let upstream = mock(Plan { chunks: 4, ..Plan::default() }).await;
    let (chat, messages, responses) = ("/v1/chat/completions", "/v1/messages", "/v1/responses");
    let cases = [
        ("", chat, "max_output_tokens", "max_completion_tokens", 77),
        ("", messages, "max_completion_tokens", "max_completion_tokens", 77),
        ("", messages, "max_output_tokens", "max_completion_tokens", 77),
        ("responses = false\n", responses, "max_tokens", "max_completion_tokens", 77),
        ("", responses, "max_tokens", "max_output_tokens", 77),
        ("legacy_max_tokens = true\n", chat, "max_completion_tokens", "max_tokens", 1),
        ("legacy_max_tokens = true\n", chat, "max_output_tokens", "max_tokens", 77),
        ("kind = 'anthropic'\n", chat, "max_output_tokens", "max_tokens", 77),
        ("kind = 'anthropic'\n", chat, "max_completion_tokens", "max_tokens", 1),
        ("kind = 'anthropic'\n", messages, "max_output_tokens", "max_tokens", 77),
    ];
    for (provider, path, said, read, told) in cases {
        let config = route(&[&upstream], provider)
            + PRICE
            + &limit("100000", "")
            + "[models.budget]\noutput_max = 77\n";
        let gateway = Gateway::start(&config).await;
        let mut body = json!({ "model": "m", said: 1 });
        let conversation = if path == responses { "input" } else { "messages" };
        body[conversation] = json!([{ "role": "user", "content": "go" }]);
        let before = upstream.calls();
        gateway.send(path, &[], body.to_string()).await;
        assert!(upstream.calls() > before, "{path} {said}: nobody was asked");
        let seen = upstream.seen();
        let sent: Value = serde_json::from_slice(&seen.last().expect("asked").body).expect("JSON");
        assert_eq!(sent[read], told, "{provider}{path} {said}: {sent}");
    }
}

#[tokio::test]
async fn an_unknown_price_is_fine_without_a_limit_and_refused_with_one_naming_the_line_to_add() {
    let upstream = mock(Plan::default()).await;
    let gateway = Gateway::before(&[&upstream]).await;
    let answer = gateway.chat(false).await;
    assert_eq!((answer.status.as_u16(), answer.header("x-steadfast-cost-usd")), (200, ""));
    let gateway = Gateway::start(&(route(&[&upstream], "") + &limit("1", ""))).await;
    let refused = gateway.chat(false).await;
    assert_eq!(refused.status, 402);
    let message = refused.json()["error"]["message"].as_str().expect("words").to_owned();
    assert!(message.contains("[models.prices.\"m\"]"), "{message}");
}

#[tokio::test]
async fn limits_are_kept_by_user_and_route_and_by_name_where_it_is_named() {
    let upstream = mock(Plan { chunks: 4, ..Plan::default() }).await;
    let config = route(&[&upstream], "") + PRICE + &limit("300", "named = true");
    let gateway = Gateway::start(&config).await;
    for _ in 0..10 {
        assert_eq!(gateway.chat(false).await.status, 200, "who names none has none");
    }
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let headers = [("x-steadfast-budget", "team")];
        statuses.push(gateway.send("/v1/chat/completions", &headers, ask(false)).await.status.as_u16());
    }
    assert_eq!(statuses.last(), Some(&402), "{statuses:?}");
    let wrong = gateway.send("/v1/chat/completions", &[("x-steadfast-budget", "taem")], ask(false)).await;
    assert_eq!((wrong.status.as_u16(), &wrong.json()["error"]["code"]), (400, &json!("budget.unknown")));
}

#[tokio::test]
async fn what_went_out_of_a_broken_stream_is_paid_and_so_are_both_who_made_a_continued_one() {
    let (first, second) = (mock(Plan::default()).await, mock(Plan::default()).await);
    let folder = folder();
    let config = route(&[&first, &second], "") + PRICE + "[models.routes.m.retry]\nenabled = false\n";
    let config = config.replace("retry.waits = ['1000h']\n", "");
    let gateway = Gateway::recorded(&config, folder.path()).await;
    first.next([Fault::Cut(5)]);
    let cut = gateway.chat(true).await;
    assert!(!cut.text.contains("[DONE]"));
    gateway.models.flush().await;
    let input = ask(true).len() as u64;
    let said: u64 = (0..5).map(|i| Plan::piece(i).len() as u64).sum();
    assert_eq!(cost(folder.path()), dollars(&(input + 2 * said).to_string()));
    let row: String =
        sql(folder.path(), "SELECT state || ' ' || code || ' ' || estimated || ' ' || output FROM calls");
    assert_eq!(row, format!("done provider.cut 1 {said}"));

    first.next([Fault::Cut(5)]);
    let headers = [("x-steadfast-continue", "true")];
    let whole = gateway.send("/v1/chat/completions", &headers, ask(true)).await;
    assert!(whole.is_whole_stream());
    gateway.models.flush().await;
    let before = dollars(&(input + 2 * said).to_string());
    let continued = cost(folder.path()).minus(before);
    assert!(continued > before, "the broken part is paid as well as its end: {continued:?}");
}

#[tokio::test]
async fn who_goes_on_does_not_spend_what_is_reserved_for_the_part_that_broke_off() {
    let (first, second) = (mock(Fault::Cut(5)).await, mock(Plan::default()).await);
    // 2000 dollars at most for each who answers, and some hundreds for what goes in.
    let body = ask(true).replace("100", "1000");
    for (dollars, whole) in [("3500", false), ("9000", true)] {
        let config = route(&[&first, &second], "") + PRICE + &limit(dollars, "");
        let gateway = Gateway::start(&config.replace("retry.waits = ['1000h']\n", "")).await;
        let headers = [("x-steadfast-continue", "true")];
        let answer = gateway.send("/v1/chat/completions", &headers, body.clone()).await;
        assert_eq!(
            (answer.is_whole_stream(), second.calls() > 0),
            (whole, whole),
            "{dollars}: {}",
            answer.text
        );
        assert!(answer.said().starts_with("word0 word1 "));
    }
}

#[tokio::test]
async fn thoughts_that_nobody_saw_are_paid_by_who_leaves_where_there_may_be_any() {
    let plan = Plan { every: std::time::Duration::from_millis(5), chunks: 10_000, ..Plan::default() };
    let upstream = mock(plan).await;
    let (chat, messages) = ("/v1/chat/completions", "/v1/messages");
    for (thinks, path, more, most) in [
        ("", chat, "", true),
        ("always", chat, "\"reasoning_effort\":\"none\",", true),
        ("never", chat, "\"reasoning_effort\":\"high\",", false),
        ("asked", messages, "", false),
        ("asked", messages, "\"thinking\":{\"type\":\"disabled\"},", false),
        ("asked", messages, "\"thinking\":{\"type\":\"adaptive\"},", true),
        ("asked", chat, "\"reasoning_effort\":\"low\",", true),
        ("unless_none", chat, "", true),
        ("unless_none", chat, "\"reasoning_effort\":\"none\",", false),
        ("unless_none", messages, "\"reasoning_effort\":\"none\",", true),
    ] {
        let folder = folder();
        let thinks = if thinks.is_empty() { String::new() } else { format!("thinks = '{thinks}'") };
        let price = PRICE.replace("thinks = 'never'", &thinks);
        let config = route(&[&upstream], "") + &price + &limit("1000000", "");
        let gateway = Gateway::recorded(&config, folder.path()).await;
        let body = ask(true).replacen('{', &format!("{{{more}"), 1).replace("100", "9999");
        let mut response = gateway.open(Method::POST, path, &[], body.clone()).await;
        let mut said = String::new();
        while !said.contains("word2") {
            let frame = response.body_mut().frame().await.expect("goes on").expect("well");
            said.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
        }
        // A call that goes on is written down once it is not new any more.
        assert!(gateway.models.flush().await && gateway.models.flush().await);
        let output = || sql::<i64>(folder.path(), "SELECT output FROM calls");
        assert_eq!(output() == 9_999, most, "{thinks} {body}: {}, should the node die", output());
        drop(response);
        while gateway.models.spending()[0].reserved > Usd::ZERO {
            tokio::task::yield_now().await;
        }
        gateway.models.flush().await;
        assert_eq!(output() == 9_999, most, "{thinks} {body}: {}", output());
        let least = dollars(&(2 * output()).to_string());
        assert!(gateway.models.spending()[0].spent > least);
    }
}

#[tokio::test]
async fn a_client_that_leaves_pays_what_it_got_and_frees_what_was_reserved() {
    let plan = Plan { every: std::time::Duration::from_millis(20), chunks: 10_000, ..Plan::default() };
    let (upstream, folder) = (mock(plan).await, folder());
    let config = route(&[&upstream], "") + PRICE + &limit("1000", "");
    let gateway = Gateway::recorded(&config, folder.path()).await;
    let mut response = gateway.open(Method::POST, "/v1/chat/completions", &[], ask(true)).await;
    let mut said = String::new();
    while !said.contains("word2") {
        let frame = response.body_mut().frame().await.expect("goes on").expect("well");
        said.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
    }
    assert!(gateway.models.spending()[0].reserved > Usd::ZERO);
    drop(response);
    while gateway.models.spending()[0].reserved > Usd::ZERO {
        tokio::task::yield_now().await;
    }
    gateway.models.flush().await;
    let wanted = Wanted { limit: 2, ..Wanted::default() };
    let calls = gateway.models.calls(wanted.clone()).await.expect("readable");
    let [call] = &calls[..] else { panic!("one call: {calls:?}") };
    assert_eq!((&*call.state, call.status, &*call.code), ("done", 499, "client.left"));
    assert_eq!((call.estimated, call.cost_usd), (true, Some(cost(folder.path()))));
    for none in [
        Wanted { before: Some(call.n), ..wanted.clone() },
        Wanted { run: Some(String::new()), ..wanted.clone() },
        Wanted { id: Some("another".into()), ..wanted },
    ] {
        assert_eq!(gateway.models.calls(none).await.expect("readable"), []);
    }
    let least = dollars(&(2 * "word0 word1 word2 ".len()).to_string());
    assert!(cost(folder.path()) >= least);
    assert_eq!(gateway.models.spending()[0].spent, cost(folder.path()));
    assert_eq!(gateway.models.queue().expect("a queue").running, 0);
}

#[tokio::test]
async fn who_leaves_or_waits_too_long_before_the_first_word_pays_for_thoughts_and_who_is_refused_nothing() {
    let (upstream, folder) = (mock(Fault::Hang).await, folder());
    let config = route(&[&upstream], "") + PRICE + &limit("100000", "");
    let gateway = Gateway::recorded(&config, folder.path()).await;
    let most = dollars(&(ask(true).len() + 2 * 100).to_string());
    let spent = || gateway.models.spending().first().map_or(Usd::ZERO, |it| it.spent);
    upstream.next([Fault::Status(400, None)]);
    assert_eq!(gateway.chat(true).await.status, 400);
    assert_eq!(spent(), Usd::ZERO);
    let headers = [("x-steadfast-deadline", "20ms")];
    let late = gateway.send("/v1/chat/completions", &headers, ask(true)).await;
    assert_eq!((late.status.as_u16(), spent()), (504, most), "{}", late.text);
    let asked = upstream.calls();
    tokio::select! {
        _ = gateway.open(Method::POST, "/v1/messages", &[], ask(true)) => panic!("nobody answers"),
        () = upstream.until(|it| it.calls() > asked) => {}
    }
    let mut gateway = gateway;
    gateway.hang_up();
    while gateway.models.spending()[0].reserved > Usd::ZERO {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.models.spending()[0].spent, most.plus(most));
    // Words that came are counted, and no more.
    upstream.next([Fault::Cut(2)]);
    gateway.chat(true).await;
    assert!(gateway.models.spending()[0].spent < most.plus(most).plus(most));
}

#[tokio::test]
async fn under_a_limit_no_call_takes_a_dearer_tariff() {
    let upstream = mock(Plan { chunks: 4, ..Plan::default() }).await;
    let free = Gateway::start(&(route(&[&upstream], "") + PRICE)).await;
    let limited = Gateway::start(&(route(&[&upstream], "") + PRICE + &limit("100000", ""))).await;
    for (path, member, value, fine) in [
        ("/v1/chat/completions", "service_tier", json!("priority"), false),
        ("/v1/chat/completions", "service_tier", json!("flex"), true),
        ("/v1/chat/completions", "service_tier", json!("auto"), true),
        ("/v1/chat/completions", "service_tier", json!(null), true),
        ("/v1/messages", "speed", json!("fast"), false),
        ("/v1/messages", "speed", json!("standard"), true),
        ("/v1/messages", "service_tier", json!("standard_only"), true),
        ("/v1/messages", "inference_geo", json!("us"), false),
        ("/v1/messages", "inference_geo", json!("global"), true),
    ] {
        let mut body: Value = serde_json::from_str(&ask(false)).expect("JSON");
        body[member] = value;
        assert_eq!(free.send(path, &[], body.to_string()).await.status, 200, "{body}");
        let answer = limited.send(path, &[], body.to_string()).await;
        assert_eq!(answer.status, if fine { 200 } else { 400 }, "{body}: {}", answer.text);
        assert_eq!(answer.text.contains("budget.tariff") && answer.text.contains(member), !fine, "{body}");
    }
}

#[tokio::test]
async fn under_a_limit_sound_is_only_sent_where_its_price_is_known() {
    let upstream = mock(Plan { chunks: 4, ..Plan::default() }).await;
    let mut body: Value = serde_json::from_str(&ask(false)).expect("JSON");
    body["messages"][0]["content"] =
        json!([{ "type": "input_audio", "input_audio": { "data": "AA", "format": "wav" } }]);
    let limit = limit("10000000", "");
    for (limit, known, status) in
        [("", "", 200), (&*limit, "", 400), (&*limit, "audio_as_input = true\n", 200)]
    {
        let gateway = Gateway::start(&(route(&[&upstream], "") + PRICE + known + limit)).await;
        let answer = gateway.send("/v1/chat/completions", &[], body.to_string()).await;
        assert_eq!(answer.status, status, "{limit} {known}: {}", answer.text);
        assert_eq!(answer.text.contains("budget.tariff"), status == 400);
    }
}

#[tokio::test]
async fn many_at_once_never_spend_more_than_the_limit() {
    let upstream = mock(Plan { chunks: 40, ..Plan::default() }).await;
    let folder = folder();
    let config = route(&[&upstream], "") + PRICE + &limit("2000", "per = 'all'");
    let gateway = Gateway::recorded(&config, folder.path()).await;
    let calls = (0..200).map(|i| {
        let gateway = &gateway;
        async move {
            let answer = gateway.chat(i % 3 == 0).await;
            for it in gateway.models.spending() {
                assert!(it.spent.plus(it.reserved) <= dollars("2000"));
            }
            answer.status.as_u16()
        }
    });
    let statuses = futures::future::join_all(calls).await;
    assert!(statuses.contains(&200) && statuses.contains(&402), "{statuses:?}");
    gateway.models.flush().await;
    let standing = &gateway.models.spending()[0];
    assert_eq!((standing.spent, standing.reserved), (cost(folder.path()), Usd::ZERO));
}
