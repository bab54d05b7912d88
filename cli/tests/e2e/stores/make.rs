//! Makes the store file of today's schema.

use std::{fs, path::Path, time::Duration};

use steadfast_bank::{AccountId, Ask, Key, Op, TransferRequest, op::PlaceHold, purchase::PURCHASE};
use steadfast_bank_assistant::Message;
use steadfast_core::{
    Currency, Money, Principal, RequestId, Role, RunId, World, canonical::Hash, secret::Secret,
};
use steadfast_engine::{Data, Start, Status, record::RUN};
use steadfast_log::{ClaimKey, Log as _};
use steadfast_log_sqlite::{SCHEMA, SealRule};

use super::{
    fixtures,
    house::{Code, House, tenant, with_node},
};

fn user(name: &str, role: Role) -> Principal {
    Principal { tenant: tenant(), user: name.into(), role }
}

fn pesos(pesos: i64) -> Money {
    Money::new(pesos * 100, Currency::MXN).expect("in range")
}

fn account(name: &str) -> AccountId {
    name.parse().expect("a name")
}

/// `cargo test -p steadfast-cli --test e2e -- --ignored --exact stores::make::the_store_of_this_schema`
#[test]
#[ignore = "writes a fixture; run once for each schema, and before it is released"]
fn the_store_of_this_schema() {
    let folder = fixtures().join(format!("v{SCHEMA}"));
    assert!(!folder.exists(), "{} is there: a store that was released is never made again", folder.display());
    fs::create_dir_all(&folder).expect("a folder");
    let store = folder.join("steadfast.db");
    // Fixed, since it is no secret: whoever reads the fixture needs it.
    fs::write(folder.join("node.key"), format!("{}\n", "5e".repeat(32))).expect("a key");
    super::only_for_me(&folder.join("node.key"));
    let run = with_node(&store, Code::Troubled, fill);
    with_node(&store, Code::Changed, async |house: &House| park(house, run).await);
    tidy(&folder, &store);
}

async fn fill(house: &House) -> RunId {
    house.seed().await;
    house.run();
    money(house).await;
    for name in ["done", "refused"] {
        let run = house.start(name).await;
        let wanted = if name == "done" { Status::Completed } else { Status::Failed };
        house.until(run, wanted).await;
    }
    buy(house).await;
    let ended = [Status::Completed, Status::Failed].map(|status| status.as_str().to_owned());
    let later = World::system().now().after(Duration::from_secs(60));
    let rule = SealRule { category: RUN.into(), statuses: ended.into(), ended_before: later };
    assert!(house.log.seal(rule).await.expect("sealed").events > 0);
    // From here on nothing is sealed.
    let again = house.start("refused").await;
    house.until(again, Status::Failed).await;
    for (name, wanted) in [
        ("waits", Status::Waiting),
        ("sleeps", Status::Waiting),
        ("stuck", Status::Running),
        ("undoing", Status::Compensating),
        ("dies", Status::Dead),
    ] {
        let run = house.start(name).await;
        house.until(run, wanted).await;
    }
    let cancelled = house.start("cancelled").await;
    house.until(cancelled, Status::Waiting).await;
    house.engine.cancel(&tenant(), cancelled, None, "ana", "changed my mind").await.expect("sent");
    house.until(cancelled, Status::Cancelled).await;
    let killed = house.start("killed").await;
    house.until(killed, Status::Waiting).await;
    house.engine.kill(&tenant(), killed, "operator", "as a test").await.expect("killed");
    house.until(killed, Status::Killed).await;
    talk(house).await;
    let parked = house.start("parked").await;
    house.until(parked, Status::Waiting).await;
    parked
}

/// Money that moved, was refused and is set aside; people who know each other.
async fn money(house: &House) {
    let (bank, ana) = (&house.bank, user("ana", Role::User));
    for (key, amount) in [("rent", 500), ("more", 20), ("too much", 9_000_000)] {
        let request =
            TransferRequest { to: "luis".into(), from: None, amount: pesos(amount), memo: Some(key.into()) };
        bank.transfer(&ana, Key::Client(key.replace(' ', "-")), request).await.expect("decided");
    }
    let hold = PlaceHold {
        from: account("marta-checking"),
        to: account("mercado-checking"),
        amount: pesos(10),
        ttl: Some(Duration::from_secs(3_600)),
    };
    let marta = user("marta", Role::User);
    bank.ask(Ask::new(Op::Hold(hold), marta, Key::Client("aside".into()))).await.expect("held");
    bank.add_contact(&ana, "Mi hermano", "luis").await.expect("added");
    bank.remove_contact(&ana, "Mi hermano").await.expect("removed");
    let operator = user("operator", Role::Admin);
    for active in [false, true] {
        bank.set_active(&operator, "marta", active).await.expect("set");
    }
}

/// A purchase that ends, and one whose payment is refused.
async fn buy(house: &House) {
    for (who, product) in [("ana", "miel-azahar"), ("marta", "telescopio-luna")] {
        let input = serde_json::json!({ "product": product, "quantity": 1 });
        let key = ClaimKey::new(&tenant(), who, PURCHASE, product);
        let start = Start {
            key: Some((key, Hash::of(&input).expect("JSON"))),
            ..Start::new(tenant(), who, PURCHASE, Data::of(&input).expect("JSON"))
        };
        let run = house.engine.start(start).await.expect("accepted").run;
        let wanted = if who == "ana" { Status::Completed } else { Status::Failed };
        house.until(run, wanted).await;
    }
}

/// A conversation with an answer, and one that waits for a yes.
async fn talk(house: &House) {
    let ana = user("ana", Role::User);
    for (text, wanted) in
        [("¿cuánto tengo?", Status::Completed), ("transfiere 5 pesos a luis", Status::Waiting)]
    {
        let request = RequestId::next(house.engine.world());
        let message = Message { request, session: None, text: text.into() };
        let accepted = house.conversations.hear(&ana, message).await.expect("heard");
        house.until(accepted.run, wanted).await;
    }
}

/// Another binary meets a run that it does not fit.
async fn park(house: &House, run: RunId) {
    house.run();
    house.go(run).await;
    house.until(run, Status::Parked).await;
    let snapshot = house.log.snapshot(&account("ana-checking").stream(&tenant())).await;
    assert!(snapshot.expect("read").is_some(), "there are snapshots");
}

/// One small file, as a stopped server leaves it.
fn tidy(folder: &Path, store: &Path) {
    let conn = rusqlite::Connection::open(store).expect("opens");
    conn.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)").expect("small");
    drop(conn);
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if [".lock", "-wal", "-shm"].iter().any(|end| name.ends_with(end)) {
            fs::remove_file(path).expect("removed");
        }
    }
    let bytes = fs::metadata(store).expect("a file").len();
    assert!(bytes < 400_000, "{bytes} bytes are too many for a fixture");
    // Where the key is none, the next test would say so less clearly.
    assert!(Secret::from_hex(&fs::read_to_string(folder.join("node.key")).expect("a key")).is_some());
}
