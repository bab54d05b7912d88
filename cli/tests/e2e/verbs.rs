//! The command line's verbs against a running server.

use serde_json::Value;

use crate::node::{Node, Place};

/// A command with the server's address, whose answer is JSON.
fn ask(place: &Place, node: &Node, args: &[&str]) -> Value {
    let mut all = vec!["--url", &node.url, "--json"];
    all.extend(args);
    let out = place.ok(&all);
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{args:?} answers JSON: {out}"))
}

#[test]
fn a_run_is_started_watched_cancelled_killed_and_explained() {
    let place = Place::new();
    let node = place.serve();
    let slow = r#"{"steps":3,"millis":20000}"#;
    let start = |key: &str| {
        let args = ["runs", "start", "bench.steps", slow, "--key", key, "--label", "day=monday"];
        let run = ask(&place, &node, &args);
        run["id"].as_str().expect("an id").to_owned()
    };
    let (one, other) = (start("one"), start("other"));
    assert_eq!(start("one"), one, "the same key, the same run");
    let listed = ask(&place, &node, &["runs", "list", "--label", "day=monday"]);
    assert_eq!(listed["items"].as_array().expect("a list").len(), 2);
    ask(&place, &node, &["runs", "kill", &one, "--reason", "enough"]);
    ask(&place, &node, &["runs", "cancel", &other]);
    ask(&place, &node, &["runs", "check"]);
    assert_eq!(ask(&place, &node, &["runs", "show", &one])["status"], "killed");
    let said = place.refused(&["--url", &node.url, "runs", "signal", &one, "go", "1"]);
    assert!(said.contains("run.ended"), "{said}");
    let story = ask(&place, &node, &["explain", &one]);
    assert_eq!(story["run"]["id"], one.as_str());
    let store = ["explain", &one, "--store", "sqlite:data/steadfast.db"];
    assert_eq!(ask(&place, &node, &store), story, "with and without a server");
    let told = place.ok(&["--url", &node.url, "explain", &one]);
    assert!(told.contains("killed by operator") && told.contains("enough"), "{told}");
    let none = ask(&place, &node, &["dead-letters", "list"]);
    assert_eq!(none["items"], Value::Array(Vec::new()));
    ask(&place, &node, &["breakers", "list"]);
    let tail = ["--url", &node.url, "events", "tail", "--stream", "default/run", "-n", "3"];
    assert!(place.ok(&tail).lines().count() == 3);
    let said = place.refused(&["--url", &node.url, "--as", "ana", "runs", "show", &one]);
    assert!(said.contains("run.not_found"), "{said}");
}

#[test]
fn a_file_is_imported_once_through_the_server_and_a_wrong_line_stops_it_before_it_begins() {
    let place = Place::new();
    let node = place.serve();
    let write = |name: &str, text: &str| std::fs::write(place.path(name), text).expect("written");
    write("people.csv", "user,name,currency,balance\nzoe,checking,MXN,\"1,250.50\"\nmax,checking,MXN,0\n");
    let movement = |id: &str, amount: &str| {
        format!(
            "{{\"id\":\"{id}\",\"from\":\"zoe-checking\",\"to\":\"max-checking\",\"amount\":\"{amount}\",\"currency\":\"MXN\"}}\n"
        )
    };
    let movements: String = (0..150).map(|n| movement(&format!("t{n}"), "1.00")).collect();
    write("movements.jsonl", &movements);
    write("wrong.jsonl", &(movement("good", "1.00") + &movement("bad", "1.005")));
    let import = |file: &str| ask(&place, &node, &["bank", "import", file]);
    assert_eq!(import("people.csv")["imported"], 2);
    let report = import("movements.jsonl");
    assert_eq!((&report["imported"], &report["repeated"]), (&150.into(), &0.into()));
    assert_eq!(import("movements.jsonl")["repeated"], 150);
    let output = place.run(&["--url", &node.url, "bank", "import", "wrong.jsonl"]);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("line 2: amount \"1.005\""), "{told}");
    let zoe = ask(&place, &node, &["bank", "accounts", "--as", "zoe"]);
    assert_eq!(zoe["items"][0]["balance"]["minor"], 125_050 - 15_000);
    let args = ["bank", "transactions", "zoe-checking", "--as", "zoe"];
    let page = ask(&place, &node, &args);
    assert_eq!(page["items"].as_array().expect("a list").len(), 20);
    assert!(page["next"].is_string());
    node.stop();
    place.verify(&["--rebuild"]);
}

#[test]
fn money_and_goods_move_by_command_and_a_refusal_ends_with_exit_code_1() {
    let place = Place::new();
    let node = place.serve();
    let marta = |args: &[&str]| {
        let mut all = vec!["--url", node.url.as_str(), "--as", "marta"];
        all.extend(args);
        place.run(&all)
    };
    let fine = marta(&["bank", "buy", "taza-barro", "--key", "mug"]);
    assert!(fine.status.success(), "{fine:?}");
    for (args, code) in [
        (["bank", "buy", "guitarra-viajera"], "insufficient_funds"),
        (["bank", "buy", "unicornio"], "product.not_found"),
    ] {
        let output = marta(&args);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(code), "{said}");
    }
    let output = marta(&["bank", "transfer", "luis", "5000"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("insufficient_funds"), "{said}");
    let output = marta(&["bank", "transfer", "luis", "1.005"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not an amount"), "{said}");
}

#[test]
fn contacts_and_customers_are_kept_by_command() {
    let place = Place::new();
    let node = place.serve();
    let ana = |args: &[&str]| ask(&place, &node, &[&["--as", "ana", "bank"], args].concat());
    let added = ana(&["contacts", "add", "Luis Pérez/2", "luis"]);
    assert_eq!(added["name"], "Luis Pérez/2");
    assert_eq!(ana(&["contacts", "list"])["items"].as_array().expect("a list").len(), 3);
    assert_eq!(ana(&["contacts", "remove", "luis perez/2"])["removed"], true);
    assert_eq!(ana(&["contacts", "remove", "luis perez/2"])["removed"], false);
    assert_eq!(ask(&place, &node, &["bank", "customers", "deactivate", "ana"])["active"], false);
    let pay = ["--url", &node.url, "--as", "ana", "bank", "transfer", "luis", "1"];
    let output = place.run(&pay);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && said.contains("customer.inactive"), "{said}");
    assert_eq!(ask(&place, &node, &["bank", "customers", "activate", "ana"])["active"], true);
    assert!(place.run(&pay).status.success());
    node.stop();
    place.verify(&["--rebuild"]);
}

#[test]
fn without_a_server_or_a_key_a_verb_says_what_to_do() {
    let place = Place::new();
    let said = place.refused(&["bank", "accounts"]);
    assert!(said.contains("--token"), "{said}");
    let said = place.refused(&["token", "--user", "ana"]);
    assert!(said.contains("--store"), "{said}");
    place.serve().stop();
    let said = place.refused(&["--url", "http://127.0.0.1:1", "bank", "accounts"]);
    assert!(said.contains("steadfast serve"), "{said}");
    let said = place.refused(&["verify", "--store", "sqlite:none.db"]);
    assert!(said.contains("does not exist"), "{said}");
}
