//! What of it is on the disk: after restarts, before a provider is asked, and after a kill.

use super::*;

#[tokio::test]
async fn costs_equal_the_sum_of_the_records_by_whatever_they_are_asked_for() {
    let (upstream, folder) = (mock(Plan { chunks: 4, ..Plan::default() }).await, folder());
    let gateway = Gateway::recorded(&(route(&[&upstream], "") + PRICE), folder.path()).await;
    for (i, labels) in
        ["team=search,workflow=triage", "workflow=triage, team=search", "team=bank", ""].iter().enumerate()
    {
        for _ in 0..=i {
            let headers = [("x-steadfast-labels", *labels)];
            let answer = gateway.send("/v1/chat/completions", &headers, ask(i == 2)).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }
    gateway.models.flush().await;
    for by in ["team", "workflow", "user", "key", "tenant", "model", "route", "provider", "label:nothing"] {
        let lines = this_month(folder.path(), &by.parse().expect("known"));
        let sum = lines.iter().fold(Usd::ZERO, |sum, line| sum.plus(line.cost));
        assert_eq!((sum, lines.iter().map(|it| it.calls).sum::<u64>()), (cost(folder.path()), 10), "{by}");
    }
    let teams: Vec<_> = this_month(folder.path(), &"team".parse().expect("known"))
        .into_iter()
        .map(|it| (it.name, it.calls))
        .collect();
    assert_eq!(teams, [(String::new(), 4), ("bank".into(), 3), ("search".into(), 3)]);
    assert!("colour".parse::<By>().is_err());
}

#[tokio::test]
async fn limits_survive_restarts_and_new_ones_count_what_was_spent_before() {
    let (upstream, folder) = (mock(Plan { chunks: 4, ..Plan::default() }).await, folder());
    let plain = route(&[&upstream], "") + PRICE;
    let gateway = Gateway::recorded(&plain, folder.path()).await;
    for i in 0..5 {
        assert_eq!(gateway.chat(i % 2 == 0).await.status, 200);
    }
    assert!(gateway.models.flush().await);
    let spent = cost(folder.path());
    gateway.stopped().await;
    for _ in 0..2 {
        let config = plain.clone() + &limit("100000", "");
        let gateway = Gateway::recorded(&config, folder.path()).await;
        let before = cost(folder.path());
        assert_eq!(gateway.chat(false).await.status, 200);
        gateway.models.flush().await;
        assert_eq!(gateway.models.spending()[0].spent, cost(folder.path()));
        gateway.stopped().await;
        assert!(before >= spent && cost(folder.path()) > before);
    }
}

#[tokio::test]
async fn no_figure_of_a_client_or_a_provider_stops_the_books() {
    let (upstream, folder) = (mock(Fault::Hang).await, folder());
    let config = route(&[&upstream], "") + PRICE + &limit("100000", "named = true");
    let gateway = Gateway::recorded(&config, folder.path()).await;
    let body = ask(false).replace("100", &u64::MAX.to_string());
    let usage = json!({ "prompt_tokens": u64::MAX, "completion_tokens": u64::MAX, "total_tokens": u64::MAX });
    let choice =
        json!({ "index": 0, "message": { "role": "assistant", "content": "a" }, "finish_reason": "stop" });
    let told =
        json!({ "id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice],
        "usage": usage })
        .to_string();
    for round in 1..=3 {
        upstream.plan(Fault::Hang);
        let headers = [("x-steadfast-deadline", "5ms")];
        let late = gateway.send("/v1/chat/completions", &headers, body.clone()).await;
        assert_eq!(late.status, 504, "{}", late.text);
        upstream.plan(Plan::replaying(told.clone()));
        let answer = gateway.chat(false).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        assert!(gateway.models.flush().await, "written");
        assert_eq!(sql::<i64>(folder.path(), "SELECT sum(calls) FROM days"), 2 * round);
    }
    // Sums that are as great as a number can be are no error.
    let connection = rusqlite::Connection::open(file(folder.path())).expect("the file");
    let most = "UPDATE days SET output = 9223372036854775807, cost = 9223372036854775807;
        INSERT INTO days SELECT day, tenant, 'another', key, budget, labels, route, provider, model,
            calls, unpriced, input, cached, output, cost FROM days";
    connection.execute_batch(most).expect("changed");
    assert_eq!(gateway.chat(false).await.status, 200);
    assert!(gateway.models.flush().await, "written");
    let lines = this_month(folder.path(), &By::Route);
    let most = u64::try_from(i64::MAX).expect("positive");
    assert_eq!((lines[0].output, lines[0].cost), (most, Usd::from_nanos(most)));
}

#[tokio::test]
async fn a_durable_intent_is_there_before_the_provider_is_asked() {
    let plan = Plan { pause: std::time::Duration::from_secs(3_600), ..Plan::default() };
    let (upstream, folder) = (mock(plan).await, folder());
    let config = route(&[&upstream], "") + PRICE + "[models.records]\nmode = 'durable'\n";
    let gateway = Gateway::recorded(&config, folder.path()).await;
    let body = ask(false);
    let call = gateway.send("/v1/chat/completions", &[], body);
    let seen = async {
        while upstream.calls() == 0 {
            tokio::task::yield_now().await;
        }
        sql::<String>(folder.path(), "SELECT state || ' ' || asked FROM calls")
    };
    tokio::select! {
        _ = call => panic!("nobody answers"),
        row = seen => assert_eq!(row, "open m"),
    }
}

#[tokio::test]
async fn a_disk_that_is_stuck_holds_nobody_up_beyond_their_deadline() {
    let durable = "[models.records]\nmode = 'durable'\n";
    for more in [durable.to_owned(), limit("100000", "")] {
        let (upstream, folder) = (mock(Plan::default()).await, folder());
        let config = route(&[&upstream], "") + PRICE + &more;
        let gateway = Gateway::recorded(&config, folder.path()).await;
        let other = rusqlite::Connection::open(file(folder.path())).expect("the file");
        other.execute_batch("BEGIN IMMEDIATE").expect("nobody else writes");
        let headers = [("x-steadfast-deadline", "50ms")];
        let late = gateway.send("/v1/chat/completions", &headers, ask(false)).await;
        assert_eq!((late.status.as_u16(), upstream.calls()), (504, 0), "{}", late.text);
        other.execute_batch("ROLLBACK").expect("free");
        drop(other);
        gateway.models.flush().await;
        let reserved: Vec<_> = gateway.models.spending().iter().map(|it| it.reserved.nanos()).collect();
        assert!(reserved.iter().all(|it| *it == 0), "{reserved:?}");
        assert_eq!(gateway.chat(false).await.status, 200);
    }
}

/// Where the child of the next test works.
const KILLED_IN: &str = "STEADFAST_TEST_KILLED_IN";

#[tokio::test]
async fn killed_during_a_stream_the_record_shows_what_was_sent_and_nothing_counts_twice() {
    let slow = || {
        let every = std::time::Duration::from_millis(20);
        mock(Plan { every, chunks: 10_000, ..Plan::default() })
    };
    if let Ok(folder) = std::env::var(KILLED_IN) {
        let upstream = slow().await;
        let config = route(&[&upstream], "") + PRICE + &limit("100000", "");
        let gateway = Gateway::recorded(&config, Path::new(&folder)).await;
        let mut response = gateway.open(Method::POST, "/v1/chat/completions", &[], ask(true)).await;
        let mut said = String::new();
        while !said.contains("word5") {
            let frame = response.body_mut().frame().await.expect("goes on").expect("well");
            said.push_str(&String::from_utf8_lossy(frame.data_ref().expect("data")));
        }
        // A call is written down once it is not new any more.
        assert!(gateway.models.flush().await && gateway.models.flush().await);
        std::fs::write(Path::new(&folder).join("ready"), "").expect("said so");
        std::future::pending::<()>().await;
    }
    let folder = folder();
    let name = "money::kept::killed_during_a_stream_the_record_shows_what_was_sent_and_nothing_counts_twice";
    let mut child = std::process::Command::new(std::env::current_exe().expect("this test"))
        .args([name, "--exact", "--nocapture"])
        .env(KILLED_IN, folder.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .expect("runs");
    while !folder.path().join("ready").exists() {
        assert!(child.try_wait().expect("asked").is_none(), "it ended by itself");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    child.kill().expect("killed");
    child.wait().expect("dead");

    let upstream = mock(Plan { chunks: 4, ..Plan::default() }).await;
    let config = route(&[&upstream], "") + PRICE + &limit("100000", "");
    let said = "word0 word1 word2 word3 word4 word5 ".len();
    let mut sums = Vec::new();
    for start in 0..3_u64 {
        let gateway = Gateway::recorded(&config, folder.path()).await;
        let row: String =
            sql(folder.path(), "SELECT state || ' ' || code || ' ' || stream FROM calls ORDER BY n LIMIT 1");
        assert_eq!(row, "lost node.died 1");
        let lost = sql::<i64>(folder.path(), "SELECT cost FROM calls ORDER BY n LIMIT 1");
        assert!(u64::try_from(lost).expect("a cost") >= dollars(&(2 * said).to_string()).nanos());
        let lines = this_month(folder.path(), &By::Route);
        assert_eq!((lines[0].calls, lines[0].cost), (start + 1, cost(folder.path())));
        sums.push(lost);
        assert_eq!(gateway.chat(false).await.status, 200);
        gateway.models.flush().await;
        // What was booked when it died counts as spent, for the limit.
        assert!(gateway.models.spending()[0].spent >= cost(folder.path()));
        gateway.stopped().await;
    }
    assert!(sums.iter().all(|it| *it == sums[0]), "{sums:?}");
}
