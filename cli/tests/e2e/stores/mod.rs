//! Store files of every schema there was: they open, hold together, answer as they did,
//! and what was going on in them goes on. A file of a newer schema is refused.

mod house;
mod make;

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use steadfast_engine::Status;
use steadfast_log::ListQuery;

use crate::{
    http::Client,
    node::{Node, Place, root},
};
use house::{Code, House, tenant, with_node};

fn fixtures() -> PathBuf {
    root().join("cli/tests/stores")
}

fn only_for_me(key: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(key, fs::Permissions::from_mode(0o600)).expect("mode");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), &to).expect("copied");
        }
    }
}

/// Every schema's store, each in a place of its own where commands find it.
fn stores() -> Vec<(String, Place)> {
    let mut found: Vec<_> = fs::read_dir(fixtures())
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").path())
        .map(|folder| {
            let place = Place::new();
            copy(&folder, &place.path("data"));
            only_for_me(&place.path("data/node.key"));
            (folder.file_name().expect("a name").to_string_lossy().into_owned(), place)
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[test]
fn there_is_a_store_of_this_schema() {
    let names: Vec<_> = stores().into_iter().map(|(name, _)| name).collect();
    let newest = format!("v{}", steadfast_log_sqlite::SCHEMA);
    assert!(names.contains(&newest), "{names:?}: see docs/operations.md for how to make {newest}");
}

#[test]
fn stores_of_every_schema_hold_together_and_what_went_on_in_them_goes_on() {
    for (name, place) in stores() {
        eprintln!("{name}");
        place.ok(&["migrate"]);
        let before = place.verify(&["--rebuild"]);
        assert_eq!(before["passed"], true, "{before}");

        with_node(&place.path("data/steadfast.db"), Code::Healed, async |house: &House| {
            let report = house.check().await;
            assert!(report.passed() && report.checked as u64 == before["open_runs"], "{report:?}");
            house.run();
            go_on(house).await;
        });

        let after = place.verify(&["--rebuild"]);
        assert_eq!((&after["passed"], &after["open_runs"]), (&json!(true), &json!(0)), "{after}");
    }
}

/// Gives what waits what it waits for, and sees each run to its end.
async fn go_on(house: &House) {
    house.go(house.named("waits").await).await;
    let letters = ListQuery { tenant: tenant(), limit: 10, ..ListQuery::default() };
    let (letters, _) = house.engine.dead_letters(letters).await.expect("listed");
    for letter in letters.iter().filter(|letter| letter.status == "open") {
        house.engine.replay(&tenant(), letter.id, "operator").await.expect("replayed");
    }
    for (name, wanted) in [
        ("waits", Status::Completed),
        ("parked", Status::Completed),
        ("sleeps", Status::Completed),
        ("stuck", Status::Completed),
        ("undoing", Status::Failed),
        ("dies", Status::Completed),
        ("cancelled", Status::Cancelled),
        ("killed", Status::Killed),
    ] {
        house.until(house.named(name).await, wanted).await;
    }
    let open = || ListQuery {
        tenant: tenant(),
        statuses: Status::OPEN.map(|status| status.as_str().to_owned()).into(),
        limit: 100,
        ..ListQuery::default()
    };
    // What was to be confirmed is void by now: the conversation's run ends by its timer.
    for _ in 0..6_000 {
        let open = house.engine.list_runs(open()).await.expect("listed").rows;
        if open.is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("some runs do not end");
}

/// A store that is held moves nothing while it is asked.
#[tokio::test(flavor = "multi_thread")]
async fn stores_of_every_schema_answer_as_they_did() {
    for (name, place) in stores() {
        let conn = rusqlite::Connection::open(place.path("data/steadfast.db")).expect("opens");
        conn.execute("INSERT INTO meta VALUES ('held', x'01')", []).expect("held");
        drop(conn);
        let node = Node::start(place.command(&["serve", "--listen", "127.0.0.1:0"]));
        insta::assert_json_snapshot!(name, answers(&place, &node).await);
        node.stop();
    }
}

async fn answers(place: &Place, node: &Node) -> Value {
    let client = Client::new(&node.url);
    let operator = place.token("operator", "admin");
    let runs = client.get(&operator, "/runs?limit=200").await;
    let ids = runs["items"].as_array().expect("a list").iter().map(|run| run["id"].as_str().expect("an id"));
    let mut paths: Vec<String> = ids.map(|id| format!("/runs/{id}")).collect();
    let sealed = paths.last().map(|oldest| format!("{oldest}/explain"));
    paths.extend(sealed);
    paths.extend(["/dead-letters", "/bank/products?limit=3", "/events?limit=2"].map(str::to_owned));
    for user in ["ana", "luis", "marta", "mercado"] {
        paths.push(format!("/bank/accounts?user={user}"));
        paths.push(format!("/bank/transactions?user={user}"));
    }
    let mut answers = serde_json::Map::new();
    for path in paths {
        let answer = client.get(&operator, &path).await;
        answers.insert(path, answer);
    }
    Value::Object(answers)
}

#[test]
fn a_store_of_a_newer_schema_is_refused_by_every_command_and_left_alone() {
    let (_, place) = stores().pop().expect("a store");
    let store = place.path("data/steadfast.db");
    let conn = rusqlite::Connection::open(&store).expect("opens");
    let newer = steadfast_log_sqlite::SCHEMA + 1;
    conn.pragma_update(None, "user_version", newer).expect("a newer schema");
    drop(conn);
    let before = fs::read(&store).expect("bytes");
    for command in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["verify"],
        &["runs", "check"],
        &["migrate"],
        &["backup", "copy.db"],
        &["events", "export", "--output", "export.jsonl"],
        &["restore", "data/steadfast.db", "--store", "sqlite:other/steadfast.db"],
    ] {
        let said = place.refused(command);
        let found = format!("has schema {newer}");
        for part in ["steadfast.db", &found, "this binary knows", "run the newer version"] {
            assert!(said.contains(part), "{command:?}: {said}");
        }
        assert!(fs::read(&store).expect("bytes") == before, "{command:?} changed the file");
    }
}

#[test]
fn an_event_of_a_newer_shape_is_told_with_its_place_and_what_to_do() {
    let (_, place) = stores().pop().expect("a store");
    let conn = rusqlite::Connection::open(place.path("data/steadfast.db")).expect("opens");
    let change = "UPDATE events SET schema = 99 WHERE kind = 'account.opened' AND stream =
                  (SELECT key FROM streams WHERE id = 'default/account/ana-checking')";
    assert_eq!(conn.execute(change, []).expect("changed"), 1);
    drop(conn);
    let output = place.run(&["verify"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in ["default/account/ana-checking", "schema 99", "knows schema 1 at most", "run a newer one"] {
        assert!(told.contains(part), "{told}");
    }
}
