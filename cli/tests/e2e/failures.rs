//! How commands fail: a line for people, one JSON object for programs.

use serde_json::Value;

use crate::node::Place;

/// Runs a command under `--json` that must fail, and reads the one object on stderr.
fn failed(place: &Place, args: &[&str]) -> Value {
    let mut all = vec!["--json"];
    all.extend(args);
    let output = place.run(&all);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{args:?}: {said}");
    let failed: Value =
        serde_json::from_str(&said).unwrap_or_else(|_| panic!("{args:?} says one object: {said}"));
    for (member, fine) in [
        ("code", failed["code"].is_string()),
        ("message", failed["message"].as_str().is_some_and(|message| !message.is_empty())),
        ("retryable", failed["retryable"].is_boolean()),
        ("nothing_happened", failed["nothing_happened"].is_boolean()),
    ] {
        assert!(fine, "{args:?}: {member}: {failed}");
    }
    failed
}

#[test]
fn every_error_under_json_is_one_object_with_code_message_and_what_is_known() {
    let place = Place::new();
    std::fs::write(place.path("typo.toml"), "[server]\nlistne = \"x\"\n").expect("written");
    std::fs::write(place.path("letter.txt"), "dear reader, ".repeat(1_000)).expect("written");
    std::fs::write(place.path("wrong.csv"), "user,name\nzoe\n").expect("written");
    let nobody = "01a1fdd7-a1ca-7000-b92d-b0adec9d491e";
    let dead = ["--url", "http://127.0.0.1:1", "--token", "x"];
    for (args, code) in [
        (&["nonsense"][..], "command.usage"),
        (&["runs", "show", "seven"], "command.usage"),
        (&["bank", "transfer", "luis"], "command.usage"),
        (&["config", "check", "--config", "typo.toml"], "config.invalid"),
        (&["config", "show", "--config", "none.toml"], "config.unreadable"),
        (&["serve", "--config", "typo.toml"], "config.invalid"),
        (&["serve", "--store", "sqlite:letter.txt"], "store.foreign_file"),
        (&["token", "--user", "ana"], "key.missing"),
        (&["bank", "accounts"], "token.missing"),
        (&["bank", "transfer", "luis", "-5"], "money.not_positive"),
        (&["bank", "transfer", "luis", "-1,000.50"], "money.not_positive"),
        (&["bank", "transfer", "luis", "5,00"], "money.not_an_amount"),
        (&["bank", "import", "none.csv"], "import.unreadable"),
        (&["verify", "--store", "sqlite:none.db"], "store.missing"),
        (&["explain", nobody, "--store", "sqlite:none.db"], "store.missing"),
        (&["bank", "accounts", "--store", "sqlite:none.db"], "store.missing"),
        (&["config", "import-litellm", "none.yaml"], "import.unreadable"),
        (&["runs", "check", "--store", "sqlite:none.db"], "store.missing"),
        (&["events", "export", "--store", "sqlite:none.db"], "store.missing"),
        (&["backup", "copy.db", "--store", "sqlite:none.db"], "store.missing"),
        (&["restore", "none.db", "--store", "sqlite:new.db"], "store.missing"),
        (&["resume", "--store", "sqlite:none.db"], "store.missing"),
        (&["migrate", "--store", "sqlite:none.db"], "store.missing"),
    ] {
        let failed = failed(&place, args);
        assert_eq!(failed["code"], code, "{args:?}: {failed}");
        assert_eq!(failed["nothing_happened"], true, "{args:?}: {failed}");
    }
    for args in [
        &["bank", "transfer", "luis", "5"][..],
        &["bank", "buy", "taza-barro"],
        &["runs", "start", "bench.steps"],
        &["runs", "cancel", nobody],
        &["dead-letters", "replay", nobody],
        &["breakers", "list"],
        &["models", "list"],
        &["models", "test"],
        &["config", "reload"],
        &["events", "tail"],
        &["explain", nobody],
    ] {
        let failed = failed(&place, &[&dead, args].concat());
        assert_eq!((&failed["code"], &failed["retryable"]), (&"server.unreachable".into(), &true.into()));
    }
}

#[test]
fn a_refusal_by_the_server_keeps_its_code_its_figures_and_the_key_to_ask_again_with() {
    let place = Place::new();
    let node = place.serve();
    let marta = |args: &[&str]| failed(&place, &[&["--url", &node.url, "--as", "marta"], args].concat());
    let poor = marta(&["bank", "transfer", "luis", "5000"]);
    assert_eq!(poor["code"], "insufficient_funds");
    assert_eq!(poor["data"]["available"]["minor"], 150_000);
    assert!(poor["id"].is_string() && poor["idempotency_key"].is_string(), "{poor}");
    let own = marta(&["bank", "transfer", "luis", "5000", "--key", "mine"]);
    assert_eq!(own["idempotency_key"], "mine");
    let bought = marta(&["bank", "buy", "guitarra-viajera"]);
    assert_eq!(bought["code"], "insufficient_funds");
    assert_eq!(marta(&["bank", "buy", "unicornio"])["field"], "product");
    assert_eq!(marta(&["events", "tail"])["code"], "auth.forbidden");
    let busy = failed(&place, &["serve", "--listen", "127.0.0.1:0"]);
    assert_eq!((&busy["code"], &busy["retryable"]), (&"store.locked".into(), &true.into()));
}

#[test]
fn a_negative_amount_is_told_what_is_wrong_with_it() {
    let place = Place::new();
    for amount in ["-5", "-5.50", "-1,000", "0"] {
        let said = place.refused(&["bank", "transfer", "luis", amount, "--memo", "x"]);
        assert!(said.contains("must be above zero") && said.contains("money.not_positive"), "{said}");
    }
}

#[test]
fn what_only_reads_says_the_same_of_a_store_as_its_server_did() {
    let place = Place::new();
    let node = place.serve();
    place.ok(&["--url", &node.url, "--as", "ana", "bank", "transfer", "luis", "12.50", "--key", "k"]);
    place.ok(&["--url", &node.url, "--as", "ana", "bank", "buy", "taza-barro", "--key", "k"]);
    let runs: Value =
        serde_json::from_str(&place.ok(&["--url", &node.url, "--json", "runs", "list"])).expect("JSON");
    let run = runs["items"][0]["id"].as_str().expect("a run").to_owned();
    let verbs = [
        &["bank", "accounts"][..],
        &["bank", "accounts", "--user", "ana"],
        &["bank", "accounts", "--as", "ana"],
        &["bank", "transactions", "ana-checking", "--limit", "1"],
        &["bank", "products", "--limit", "3"],
        &["runs", "list", "--as", "ana"],
        &["runs", "list", "--workflow", "bank.purchase"],
        &["runs", "show", &run],
        &["dead-letters", "list"],
    ];
    let by_server: Vec<String> =
        verbs.iter().map(|verb| place.ok(&[&["--url", &node.url, "--json"], *verb].concat())).collect();
    let hidden = place.run(&["runs", "show", &run, "--as", "luis", "--store", "sqlite:data/steadfast.db"]);
    assert!(String::from_utf8_lossy(&hidden.stderr).contains("run.not_found"), "{hidden:?}");
    node.stop();
    for (verb, by_server) in verbs.iter().zip(by_server) {
        let by_store = [&["--json"], *verb, &["--store", "sqlite:data/steadfast.db"]].concat();
        assert_eq!(place.ok(&by_store), by_server, "{verb:?}");
    }
    // A cursor that the server gave goes on in its store.
    let page: Value = serde_json::from_str(&place.ok(&[
        "--json",
        "bank",
        "transactions",
        "ana-checking",
        "--limit",
        "1",
        "--store",
        "sqlite:data/steadfast.db",
    ]))
    .expect("JSON");
    let next = page["next"].as_str().expect("more");
    place.ok(&[
        "bank",
        "transactions",
        "ana-checking",
        "--cursor",
        next,
        "--store",
        "sqlite:data/steadfast.db",
    ]);
}
