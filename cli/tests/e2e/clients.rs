//! The official clients of model APIs, unchanged, before the real binary.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use steadfast_models_mock::{Fault, Mock, Plan};

use crate::node::{Node, Place, SERVE, root};

/// What `make services` installs.
fn installed(what: &str) -> PathBuf {
    let folder = root().join("target/clients").canonicalize().unwrap_or_default();
    assert!(folder.join("installed").exists(), "the official clients are not installed: run `make services`");
    folder.join(what)
}

/// Upstreams, and a server before them as the scripts expect it.
async fn server(place: &Place) -> (Node, [Mock; 5]) {
    let start = async |plan: Plan| Mock::start(plan).await.expect("runs");
    let well = start(Plan::default()).await;
    let flaky = start(Plan::default()).await;
    flaky.next([Fault::Status(503, None), Fault::Status(503, None)]);
    let down = start(Fault::Status(500, None).into()).await;
    let spent = start(Fault::Status(500, None).into()).await;
    let busy = start(Fault::Status(429, None).into()).await;
    let mut config = String::from("[models.providers.local]\nkind = 'local'\n");
    let all = [("well", &well), ("flaky", &flaky), ("down", &down), ("busy", &busy), ("spent", &spent)];
    for (name, mock) in all {
        config.extend([format!("[models.providers.{name}]\nurl = '{}'\n", mock.url())]);
    }
    let once = "retry.enabled = false";
    for (route, more, provider) in [
        ("m", once, "well"),
        ("plan", "models = ['plan/*']\nretry.enabled = false", "well"),
        ("flaky", once, "flaky"),
        ("down", once, "down"),
        ("busy", once, "busy"),
        ("local", once, "local"),
        ("spent", "retry.waits = ['1ms', '1ms']", "spent"),
    ] {
        config.extend([format!(
            "[models.routes.{route}]\n{more}\ntargets = [{{ provider = '{provider}' }}]\n"
        )]);
    }
    std::fs::write(place.path("steadfast.toml"), config).expect("written");
    let node = Node::start(place.command(&[SERVE, &["--config", "steadfast.toml"]].concat()));
    (node, [well, flaky, down, busy, spent])
}

/// Runs a script to its end, off the threads that the upstreams need.
async fn run(program: PathBuf, script: PathBuf, url: &str, token: &str) {
    let mut command = Command::new(program);
    command.arg(script).args([url, token]);
    let ran = tokio::task::spawn_blocking(move || command.output()).await.expect("ends").expect("it runs");
    let (out, said) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{out}\n{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_python_clients_work_unchanged() {
    let place = Place::new();
    let python = installed("venv/bin/python");
    let (node, _upstreams) = server(&place).await;
    let script = root().join("cli/tests/clients/python.py");
    run(python, script, &node.url, &place.token("ana", "user")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_official_javascript_client_works_unchanged() {
    let place = Place::new();
    // It finds its modules beside it.
    let script = installed("javascript.mjs");
    std::fs::copy(root().join("cli/tests/clients/javascript.mjs"), &script).expect("copied");
    let (node, _upstreams) = server(&place).await;
    run(Path::new("node").into(), script, &node.url, &place.token("ana", "user")).await;
}
