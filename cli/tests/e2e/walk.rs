//! The README's and the examples' commands, as they stand there.

use std::process::{Command, Output};

use crate::{
    books::balances,
    http::Client,
    node::{Node, Place, binary, root},
};

/// Runs a script in the place, with `steadfast` on the path and the server's address.
fn shell(place: &Place, node: &Node, script: &str) -> Output {
    let bin = place.path("bin");
    std::fs::create_dir_all(&bin).expect("a folder");
    let link = bin.join("steadfast");
    if !link.exists() {
        std::os::unix::fs::symlink(binary(), &link).expect("a link");
    }
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("a path"));
    Command::new("sh")
        .args(["-eu", "-c", script])
        .current_dir(place.path(""))
        .env("PATH", path)
        .env("STEADFAST_URL", &node.url)
        .env_remove("STEADFAST_TOKEN")
        .output()
        .expect("sh runs")
}

fn shell_ok(place: &Place, node: &Node, script: &str) -> String {
    let output = shell(place, node, script);
    let (out, said) = (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    );
    assert!(output.status.success(), "{script}\n{out}\n{said}");
    out
}

/// The shell blocks of the README's walk, with what only a person can do left out.
fn readme() -> Vec<String> {
    let readme = std::fs::read_to_string(root().join("README.md")).expect("a README");
    let walk = readme.split("## The first ten minutes").nth(1).expect("the walk");
    let walk = walk.split("\n## ").next().expect("its end");
    let mut blocks = Vec::new();
    for block in walk.split("```sh\n").skip(1) {
        let block = block.split("```").next().expect("closed");
        let leave = ["alias ", "make run", "kill -9"];
        let lines = block.lines().filter(|line| !leave.iter().any(|left| line.starts_with(left)));
        blocks.push(lines.collect::<Vec<_>>().join("\n"));
    }
    blocks
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_commands_do_what_it_says() {
    let place = Place::new();
    let node = place.serve();
    let blocks: Vec<_> = readme().iter().map(|it| it.replace("http://127.0.0.1:7400", &node.url)).collect();
    assert_eq!(blocks.len(), 2);
    let list = "$(steadfast runs list --json | python3 -c 'import json, sys; print(json.load(sys.stdin)[\"items\"][0][\"id\"])')";
    let walk = blocks[0].replace("explain RUN", &format!("explain {list}"));
    let out = shell_ok(&place, &node, &walk);
    assert!(out.contains("1,750.50 MXN"), "{out}");
    assert!(out.contains("verified"), "{out}");
    assert!(out.contains("chat.completion"), "{out}");
    let answer = shell_ok(&place, &node, &blocks[1]);
    let answer: serde_json::Value = serde_json::from_str(&answer).expect("JSON");
    assert!(answer["id"].is_string(), "{answer}");
    let client = Client::new(&node.url);
    let accounts = crate::books::listed(&place, &client).await;
    // Twice 1 750.50: the repeat under the first key moved nothing.
    assert_eq!(balances(&accounts)["ana-checking"], 2_500_000 - 2 * 175_050);
}

#[test]
fn the_examples_run_to_their_end() {
    let place = Place::new();
    let node = place.serve();
    let examples = root().join("examples");
    let sh = format!("sh {}", examples.join("walk.sh").display());
    assert!(shell_ok(&place, &node, &sh).contains("verified"));
    let python = format!(
        "STEADFAST_TOKEN=$(steadfast token --user luis) python3 {}",
        examples.join("walk.py").display()
    );
    assert!(shell_ok(&place, &node, &python).contains("the same answer"));
}
