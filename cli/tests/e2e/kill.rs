//! Kill -9 at random moments under load: nothing is lost, nothing is doubled.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use steadfast_core::{World, chance::Chance, chance::Seeded};

use crate::{
    books::{balances, listed, recompute, seeded},
    http::{Ask, Client, Reply, purchase, transfer},
    node::{Node, Place},
    recovery::Recovery,
    talks::{self, Said, TALKERS},
};

const CLIENTS: u64 = 8;
const PRODUCTS: [(&str, i64); 4] = [
    ("cuaderno-amate", 15_900),
    ("chocolate-mesa", 12_900),
    ("miel-azahar", 18_500),
    ("alebrije-unico", 149_900),
];
/// The last one sells, and pays back what it earned so that the others can go on.
const USERS: [&str; 4] = ["ana", "luis", "marta", "mercado"];

/// Everything ever asked, with the first answer where there was one.
type Asked = Arc<Mutex<Vec<(Ask, Option<Reply>)>>>;

/// Everything ever said, with its outcome where there is one.
type Talked = Arc<Mutex<Vec<Said>>>;

pub(crate) fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn killing_it_at_any_moment_loses_and_doubles_nothing() {
    let rounds = setting("STEADFAST_KILL_ROUNDS").unwrap_or(20);
    let seed = setting("STEADFAST_KILL_SEED").unwrap_or_else(|| World::system().chance().bits());
    eprintln!("STEADFAST_KILL_SEED={seed} STEADFAST_KILL_ROUNDS={rounds}");
    let chance = Arc::new(Seeded::new(seed));
    let place = Place::new();
    let (asked, talked) = (Asked::default(), Talked::default());
    let mut recovery = Recovery::default();
    for round in 0..rounds {
        let mut node = recovery.serve(&place);
        let client = Client::new(&node.url);
        let tokens = Arc::new(tokens(&place));
        let mut load = Vec::new();
        let unanswered = take_unanswered(&asked);
        for number in 0..CLIENTS {
            let (client, tokens, asked) = (client.clone(), tokens.clone(), asked.clone());
            let chance = chance.clone();
            // What was cut off is asked again first, under the same keys.
            let again = share(&unanswered, number, CLIENTS);
            load.push(tokio::spawn(async move {
                for ask in again {
                    send(&client, &tokens, &asked, ask).await;
                }
                for count in 0.. {
                    let key = format!("r{round}-c{number}-{count}");
                    let ask = any(&chance, key);
                    if !send(&client, &tokens, &asked, ask).await {
                        return;
                    }
                }
            }));
        }
        let open = take_open(&talked);
        for number in 0..TALKERS {
            let (url, tokens, talked) = (node.url.clone(), tokens.clone(), talked.clone());
            let (chance, again) = (chance.clone(), share(&open, number, TALKERS));
            load.push(tokio::spawn(async move {
                for said in again {
                    talk(&url, &tokens, &talked, said).await;
                }
                let mut last = None;
                loop {
                    let said = Said::any(&chance, last.as_ref());
                    last = talk(&url, &tokens, &talked, said).await;
                    if last.is_none() {
                        return;
                    }
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(50 + chance.below(900))).await;
        recovery.kills();
        node.kill();
        for client in load {
            client.await.expect("clients end with the server");
        }
        let verdict = place.verify(&[]);
        eprintln!(
            "round {round}: {} asked, {} said, {} events, {} runs, {} of them open",
            asked.lock().expect("asked").len(),
            talked.lock().expect("talked").len(),
            verdict["bank"]["events"],
            verdict["runs"],
            verdict["open_runs"]
        );
    }
    judge(&place, &asked, &talked, recovery).await;
}

/// Converses and remembers. `None` when the server is gone.
async fn talk(
    url: &str,
    tokens: &BTreeMap<&'static str, String>,
    talked: &Talked,
    mut said: Said,
) -> Option<Said> {
    let stayed = said.converse(url, &tokens[said.user]).await;
    talked.lock().expect("talked").push(said.clone());
    stayed.map(|()| said)
}

fn take_open(talked: &Talked) -> Vec<Said> {
    let mut talked = talked.lock().expect("talked");
    let (open, done) = talked.drain(..).partition(Said::is_open);
    *talked = done;
    open
}

fn tokens(place: &Place) -> BTreeMap<&'static str, String> {
    USERS.iter().map(|user| (*user, place.token(user, "user"))).collect()
}

/// A transfer, a purchase or a run of five steps.
fn any(chance: &Seeded, key: String) -> Ask {
    let pick = |bound| usize::try_from(chance.below(bound)).expect("small");
    let amount = |below| i64::try_from(1 + chance.below(below)).expect("in range");
    let user = USERS[pick(4)];
    let kind = chance.below(10);
    if user == "mercado" {
        return transfer(user, &key, USERS[pick(3)], amount(60_000));
    }
    match kind {
        0..6 => {
            let to = USERS[pick(4)];
            let to = if to == user { "ana-savings" } else { to };
            // Now and then more than anyone has.
            let below = if chance.below(20) == 0 { 1 << 40 } else { 3_000 };
            transfer(user, &key, to, amount(below))
        }
        6..8 => purchase(user, &key, PRODUCTS[pick(4)].0, 1),
        _ => Ask {
            user,
            path: "/runs",
            key,
            body: json!({ "workflow": "bench.steps", "input": { "steps": 5, "millis": chance.below(20) } }),
        },
    }
}

/// Sends and remembers. False when the server is gone.
async fn send(client: &Client, tokens: &BTreeMap<&'static str, String>, asked: &Asked, ask: Ask) -> bool {
    let reply = client.post(&tokens[ask.user], &ask).await;
    let gone = reply.is_none();
    // Told to come again: not an outcome.
    let reply = reply.filter(|reply| !again(reply));
    asked.lock().expect("asked").push((ask, reply));
    !gone
}

fn again(reply: &Reply) -> bool {
    matches!(reply.status, 409 | 429 | 500..) && reply.body["retryable"] == true
}

fn take_unanswered(asked: &Asked) -> Vec<Ask> {
    let mut asked = asked.lock().expect("asked");
    let (done, open): (Vec<_>, Vec<_>) = asked.drain(..).partition(|(_, reply)| reply.is_some());
    *asked = done;
    open.into_iter().map(|(ask, _)| ask).collect()
}

fn share<T: Clone>(all: &[T], number: u64, among: u64) -> Vec<T> {
    let mine = |(place, _): &(usize, &T)| *place as u64 % among == number;
    all.iter().enumerate().filter(mine).map(|(_, one)| one.clone()).collect()
}

/// Every request has one outcome, every repeat gives it, and the books are what the
/// outcomes say.
async fn judge(place: &Place, asked: &Asked, talked: &Talked, mut recovery: Recovery) {
    let node = recovery.serve(place);
    let client = Client::new(&node.url);
    let tokens = tokens(place);
    let mut expected = seeded();
    let sold = settle_asked(&client, &tokens, asked, &mut expected).await;
    let said = settle_talks(&node, &tokens, talked, &mut expected).await;
    assert!(sold + talks::pieces(&said) <= 1, "there was one, and more were sold");
    let accounts = listed(place, &client).await;
    assert_eq!(balances(&accounts), expected);
    node.stop();
    let verdict = place.verify(&["--rebuild"]);
    let summary = recompute(place, &accounts);
    let waiting = talks::judge(place, &said);
    assert!(verdict["open_runs"].as_u64().expect("a number") <= waiting as u64, "{waiting} wait: {verdict}");
    eprintln!("{} effects, {} of them repeated", summary["effects"], summary["repeated_effects"]);
    recovery.report(place).await;
}

/// All that was asked; how often the one piece was sold.
async fn settle_asked(
    client: &Client,
    tokens: &BTreeMap<&'static str, String>,
    asked: &Asked,
    expected: &mut BTreeMap<String, i64>,
) -> usize {
    let all = std::mem::take(&mut *asked.lock().expect("asked"));
    let mut outcomes: BTreeMap<String, u32> = BTreeMap::new();
    let mut sold = 0;
    for (ask, first) in &all {
        let reply = settled(client, tokens, ask).await;
        if let Some(first) = first {
            assert!(reply.replayed || reply.status >= 400, "{ask:?}: {reply:?}");
            if first.status == 202 {
                assert_eq!(first.body["id"], reply.body["id"], "{ask:?}");
            } else {
                assert_eq!(first.outcome(), reply.outcome(), "{ask:?}");
            }
        }
        let name = format!("{} {}", ask.path, reply.status);
        *outcomes.entry(name).or_default() += 1;
        sold += usize::from(ask.body["product"] == PRODUCTS[3].0 && reply.text("status") == "completed");
        book(expected, ask, &reply);
    }
    eprintln!("{} requests: {outcomes:?}", all.len());
    sold
}

/// All that was said, with its outcome, save what waits for a person.
async fn settle_talks(
    node: &Node,
    tokens: &BTreeMap<&'static str, String>,
    talked: &Talked,
    expected: &mut BTreeMap<String, i64>,
) -> Vec<Said> {
    let mut all = std::mem::take(&mut *talked.lock().expect("talked"));
    for said in &mut all {
        if said.is_open() {
            said.converse(&node.url, &tokens[said.user]).await.expect("the server stays");
        }
        said.book(expected);
    }
    all
}

/// The outcome, waited for.
async fn settled(client: &Client, tokens: &BTreeMap<&'static str, String>, ask: &Ask) -> Reply {
    for _ in 0..600 {
        let reply = client.post(&tokens[ask.user], ask).await;
        let reply = reply.expect("the server stays");
        if reply.status != 202 && !again(&reply) {
            return reply;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{ask:?} has no outcome within a minute");
}

/// What an outcome did to the balances.
fn book(balances: &mut BTreeMap<String, i64>, ask: &Ask, reply: &Reply) {
    let (to, minor) = match ask.path {
        "/bank/transfers" if reply.status < 300 => {
            let to = ask.body["to"].as_str().expect("a payee");
            let to = if to.contains('-') { to.to_owned() } else { format!("{to}-checking") };
            (to, ask.body["amount"]["minor"].as_i64().expect("centavos"))
        }
        "/bank/purchases" if reply.text("status") == "completed" => {
            let product = &ask.body["product"];
            let price = PRODUCTS.iter().find(|(id, _)| product == id);
            ("mercado-checking".to_owned(), price.expect("known").1)
        }
        _ => return,
    };
    let mut add = |account: String, minor: i64| {
        *balances.get_mut(&account).expect("an account") += minor;
    };
    add(format!("{}-checking", ask.user), -minor);
    add(to, minor);
}
