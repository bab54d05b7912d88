//! What is written down must be what the code does.

use crate::node::{Place, root};

#[test]
fn the_configuration_reference_and_example_are_what_the_code_prints() {
    let place = Place::new();
    for (verb, file) in [("reference", "docs/configuration.md"), ("init", "docs/steadfast.example.toml")] {
        let printed = place.ok(&["config", verb]);
        let written = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        assert!(printed == written, "{file} is stale: run `make docs`");
    }
}

#[test]
fn the_example_configuration_is_accepted_and_changes_nothing() {
    let place = Place::new();
    let example = root().join("docs/steadfast.example.toml");
    let path = example.to_str().expect("a path");
    place.ok(&["config", "check", "--config", path]);
    let with = place.ok(&["config", "show", "--config", path]);
    assert_eq!(with, place.ok(&["config", "show"]));
}

#[test]
fn every_verb_explains_itself() {
    let place = Place::new();
    for verb in [
        "serve",
        "token",
        "explain",
        "runs",
        "dead-letters",
        "events",
        "breakers",
        "models",
        "cache",
        "bank",
        "chat",
        "verify",
        "migrate",
        "backup",
        "restore",
        "resume",
        "config",
        "bench",
    ] {
        let help = place.ok(&[verb, "--help"]);
        assert!(help.contains("Usage: steadfast"), "{verb}: {help}");
    }
}
