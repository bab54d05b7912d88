//! The benches that run the real binary: what they count, never how fast it was.

use serde_json::Value;

use crate::node::Place;

#[test]
fn a_server_that_is_killed_loses_no_run_and_repeats_no_recorded_step() {
    let place = Place::new();
    let report = place.ok(&["bench", "recovery", "--kills", "2", "--seed", "3", "--json"]);
    let report: Value = serde_json::from_str(&report).expect("JSON");
    assert_eq!((&report["kills"], &report["runs"]), (&2.into(), &64.into()), "{report}");
    assert_eq!((&report["lost"], &report["recorded_again"]), (&0.into(), &0.into()), "{report}");
}

#[test]
fn a_load_counts_only_the_answers_that_were_expected() {
    let place = Place::new();
    let node = place.serve();
    let (url, token) = (format!("{}/api/v1/runs", node.url), place.token("ana", "user"));
    let token = format!("Authorization: Bearer {token}");
    let body = r#"{"workflow":"bench.steps","input":{"steps":5,"millis":0}}"#;
    let load =
        ["bench", "load", &url, "--header", &token, "--body", body, "--callers", "4", "--seconds", "1"];
    let expecting = |status: &str, more: &[&str]| {
        let expected = format!("\"status\":\"{status}\"");
        place.run(&[&load[..], more, &["--expect", &expected, "--json"]].concat())
    };
    let waited = expecting("completed", &["--keyed", "--header", "Prefer: wait=30"]);
    let report: Value = serde_json::from_slice(&waited.stdout).expect("JSON");
    assert!(waited.status.success() && report["answered"].as_u64() > Some(0), "{report}");
    // Nobody waits for these to end.
    let accepted = expecting("completed", &[]);
    let report: Value = serde_json::from_slice(&accepted.stdout).expect("JSON");
    assert_eq!((accepted.status.code(), &report["failed"]), (Some(1), &4.into()), "{report}");
}
