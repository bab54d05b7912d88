//! Conversations by the chat command.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

use crate::{
    books::{balances, listed, recompute, seeded},
    http::Client,
    node::{Node, Place},
};

/// A chat over a pipe.
struct Chat {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Chat {
    fn start(place: &Place, user: &str, url: &str) -> Self {
        let mut command = place.command(&["chat", "--user", user, "--url", url, "--json"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let input = child.stdin.take().expect("stdin");
        let output = BufReader::new(child.stdout.take().expect("stdout"));
        Self { child, input, output }
    }
    fn say(&mut self, text: &str) {
        writeln!(self.input, "{text}").expect("it reads");
    }
    /// The next frame of a type, with all before it.
    fn until(&mut self, kind: &str, status: &str, frames: &mut Vec<Value>) {
        let mut line = String::new();
        while self.output.read_line(&mut line).expect("readable") > 0 {
            let frame: Value = serde_json::from_str(&line).expect("a frame on each line");
            line.clear();
            frames.push(frame);
            let frame = frames.last().expect("just pushed");
            if frame["type"] == kind && (status.is_empty() || frame["status"] == status) {
                return;
            }
        }
        panic!("the chat ended before {kind} {status}: {frames:?}");
    }
    fn end(mut self) -> Output {
        drop(self.input);
        // It may have more to say, and says nothing at all where nobody reads.
        std::io::copy(&mut self.output, &mut std::io::sink()).expect("readable");
        self.child.wait_with_output().expect("it ends")
    }
}

/// All lines at once, to the end; what it printed.
fn piped(mut command: Command, lines: &[&str]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut input = child.stdin.take().expect("stdin");
    for line in lines {
        writeln!(input, "{line}").expect("it reads");
    }
    drop(input);
    child.wait_with_output().expect("it ends")
}

fn restart(place: &Place, url: &str) -> Node {
    let address = url.trim_start_matches("http://");
    Node::start(place.command(&["serve", "--demo", "--listen", address]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_tells_pays_and_refuses_in_both_languages() {
    let place = Place::new();
    let node = place.serve();
    let chat = |user: &str, lines: &[&str]| {
        let output = piped(place.command(&["chat", "--user", user, "--url", &node.url]), lines);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{told}{said}");
        assert!(!told.contains("eyJ") && !said.contains("eyJ"), "no token is printed");
        told
    };
    let told = chat("ana", &["¿cuánto tengo?", "transfiere $1,750.50 a luis", "sí", "mi saldo"]);
    assert!(told.contains("25,000.00 MXN"), "{told}");
    for argument in
        ["amount    1,750.50 MXN", "to        luis-checking", "from      ana-checking", "expires   2"]
    {
        assert!(told.contains(argument), "{argument}: {told}");
    }
    assert!(told.contains("23,249.50 MXN"), "{told}");
    assert_eq!(told.matches("1,750.50 MXN a Luis").count(), 2, "asked once and done once: {told}");

    let told = chat("luis", &["what is my balance?", "send 300 pesos to marta", "yes"]);
    assert!(told.contains("9,750.50 MXN") && told.contains("Done: you sent 300.00 MXN to Marta."), "{told}");

    let told = chat("marta", &["quiero comprar una bicicleta plegable", "sí", "mi saldo"]);
    assert!(told.contains("6,890.00 MXN") && told.contains("1,800.00 MXN"), "nothing was paid: {told}");
    let told = chat("marta", &["buy a folding bicycle", "yes"]);
    assert!(told.contains("No money moved."), "{told}");

    let client = Client::new(&node.url);
    let accounts = listed(&place, &client).await;
    let mut expected = seeded();
    expected.extend([
        ("ana-checking".to_owned(), 2_324_950),
        ("luis-checking".to_owned(), 945_050),
        ("marta-checking".to_owned(), 180_000),
    ]);
    assert_eq!(balances(&accounts), expected);
    node.stop();
    place.verify(&["--rebuild"]);
    std::fs::write(place.path("effects.txt"), "").expect("written");
    recompute(&place, &accounts);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_can_go_on_later_and_mistakes_are_told() {
    let place = Place::new();
    let node = place.serve();
    let mut chat = Chat::start(&place, "ana", &node.url);
    chat.say("transfiere 500 pesos a luis");
    let mut frames = Vec::new();
    chat.until("reply", "needs_confirmation", &mut frames);
    let session = frames[0]["session_id"].as_str().expect("an ack comes first").to_owned();
    let output = chat.end();
    assert!(output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("nothing moves without a yes"), "{said}");

    let go_on = ["chat", "--user", "ana", "--url", &node.url, "--session", &session];
    let output = piped(place.command(&go_on), &["sí"]);
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && told.contains("500.00 MXN a Luis"), "{told}");

    let wrong = piped(
        place.command(&["chat", "--user", "luis", "--url", &node.url, "--session", &session]),
        &["hola"],
    );
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(1) && said.contains("session.not_found"), "{said}");
    let wrong = piped(place.command(&["chat", "--user", "nobody", "--url", &node.url]), &["hola"]);
    assert_eq!(wrong.status.code(), Some(1));
    let wrong = piped(place.command(&["chat", "--url", &node.url, "--token", "none"]), &["hola"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(1) && said.contains("token.invalid"), "{said}");
    let url = node.url.clone();
    node.stop();
    let wrong = piped(place.command(&["chat", "--user", "ana", "--url", &url]), &["hola"]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(1) && said.contains("server.unreachable"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_whose_server_is_killed_finds_it_again_and_the_outcome_comes_once() {
    let place = Place::new();
    let mut node = place.serve();
    let url = node.url.clone();
    let mut chat = Chat::start(&place, "ana", &url);
    let mut frames = Vec::new();
    chat.say("transfiere 500 pesos a luis");
    chat.until("ack", "", &mut frames);
    node.kill();
    let mut node = restart(&place, &url);
    chat.until("reply", "needs_confirmation", &mut frames);
    node.kill();
    let node = restart(&place, &url);
    chat.say("sí");
    chat.until("reply", "completed", &mut frames);
    let output = chat.end();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let asked = frames.iter().filter(|frame| frame["status"] == "needs_confirmation").count();
    let numbers: Vec<_> = frames
        .iter()
        .filter(|frame| frame["type"] == "reply")
        .map(|frame| (frame["frame"].as_u64(), frame["request_id"].as_str()))
        .collect();
    let mut once = numbers.clone();
    once.dedup();
    assert_eq!((asked, &numbers), (1, &once), "{frames:?}");
    let client = Client::new(&node.url);
    let balances = balances(&listed(&place, &client).await);
    assert_eq!((balances["ana-checking"], balances["luis-checking"]), (2_450_000, 850_000));
    node.stop();
    place.verify(&["--rebuild"]);
}
