use std::{fmt::Write as _, io::Write as _, path::PathBuf, sync::Arc};

use steadfast_bank::{
    AccountId, BankConfig,
    import::{self, Kind, Report},
};
use tempfile::TempDir;

use crate::support::*;

struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }
    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        let mut file = std::fs::File::create(&path).expect("a file");
        file.write_all(text.as_bytes()).expect("written");
        path
    }
}

async fn load(desk: &Desk, kind: Kind, path: &std::path::Path) -> Report {
    let mut last = 0;
    let mut tell = |progress: import::Progress| {
        assert!(progress.done > last && progress.done <= progress.total);
        last = progress.done;
    };
    let report = import::import(&desk.bank, &admin(), kind, path, &mut tell).await;
    report.expect("readable")
}

const ACCOUNTS: &str = "user,name,currency,balance\n\
    zoe,checking,MXN,\"1,250.50\"\n\
    zoe,savings,MXN,0\n\
    max,checking,MXN,10\n";

#[tokio::test]
async fn a_file_imported_twice_changes_nothing_the_second_time() {
    let (desk, files) = (desk(), Files::new());
    let accounts = files.write("accounts.csv", ACCOUNTS);
    let report = load(&desk, Kind::Accounts, &accounts).await;
    assert_eq!((report.imported, report.repeated), (3, 0));
    let mut lines = String::new();
    for n in 0..150 {
        let (from, to) =
            if n % 2 == 0 { ("zoe-checking", "max-checking") } else { ("max-checking", "zoe-checking") };
        writeln!(
            lines,
            r#"{{"id":"t{n}","from":"{from}","to":"{to}","amount":"5.00","currency":"MXN","time":"2025-06-01T10:00:00Z"}}"#
        )
        .expect("text");
    }
    lines += r#"{"id":"in","from":"system-equity-mxn","to":"zoe-savings","amount":"99.00","currency":"MXN","memo":"Depósito"}"#;
    let transactions = files.write("transactions.jsonl", &lines);
    let first = load(&desk, Kind::Transactions, &transactions).await;
    assert_eq!((first.lines, first.imported, first.problems.len()), (151, 151, 0));
    let (checking, savings) = (id("zoe-checking"), id("zoe-savings"));
    assert_eq!(desk.balance(&checking).await.0, 125_050);
    assert_eq!(desk.balance(&savings).await.0, 9_900);

    let events = desk.events();
    desk.clock.advance(std::time::Duration::from_secs(30 * 24 * 3_600));
    for (kind, path) in [(Kind::Accounts, &accounts), (Kind::Transactions, &transactions)] {
        let again = load(&desk, kind, path).await;
        assert_eq!((again.imported, again.repeated), (0, again.lines));
    }
    assert_eq!(desk.events(), events);
    let page = desk.bank.transactions(&user("zoe"), &checking, None, None).await.expect("page");
    let booked = page.transactions[0].booked.expect("a time");
    assert_eq!(booked.to_string(), "2025-06-01T10:00:00.000000Z");
    desk.verified().await;
}

#[tokio::test]
async fn one_bad_line_and_nothing_of_the_file_is_done() {
    let (desk, files) = (desk(), Files::new());
    let text = "user,name,currency,balance\n\
        good,checking,MXN,10.00\n\
        bad user,checking,MXN,10.00\n\
        good,check/ing,MXN,10.00\n\
        good,a,PESO,10.00\n\
        good,b,MXN,10.001\n\
        good,c,MXN,-1\n\
        system,d,MXN,1\n\
        good,e,MXN\n\
        good,f,MXN,\n";
    let path = files.write("a.csv", text);
    let report = load(&desk, Kind::Accounts, &path).await;
    let found: Vec<_> =
        report.problems.iter().map(|p| (p.line, p.field.as_deref(), p.value.as_str())).collect();
    assert_eq!(
        found,
        [
            (3, Some("user"), "bad user"),
            (4, Some("name"), "check/ing"),
            (5, Some("currency"), "PESO"),
            (6, Some("balance"), "10.001"),
            (7, Some("balance"), "-1"),
            (8, Some("user"), "system"),
            (9, None, ""),
            (10, Some("balance"), ""),
        ]
    );
    assert!(report.problems.iter().all(|problem| !problem.rule.is_empty()));
    assert_eq!((report.imported, desk.events()), (0, 0));
}

#[tokio::test]
async fn bad_lines_of_json_are_named_too() {
    let (desk, files) = (desk(), Files::new());
    let text = concat!(
        r#"{"id":"1","from":"a","to":"a","amount":"1","currency":"MXN"}"#,
        "\n\n",
        r#"{"id":"2","from":"a","to":"b","amount":"0","currency":"MXN"}"#,
        "\n",
        r#"{"id":"3","from":"a","to":"b","amount":1.5,"currency":"MXN"}"#,
        "\n",
        r#"{"id":"4","from":"a","to":"b","amount":"1","currency":"MXN","when":"now"}"#,
        "\n",
        r#"{"id":"5","from":"a","to":"b","amount":"1","currency":"MXN","time":"now"}"#,
        "\nnot JSON",
    );
    let path = files.write("t.jsonl", text);
    let report = load(&desk, Kind::Transactions, &path).await;
    let found: Vec<_> = report.problems.iter().map(|p| (p.line, p.field.as_deref())).collect();
    let expected =
        [(1, Some("to")), (3, Some("amount")), (4, None), (5, Some("when")), (6, Some("time")), (7, None)];
    assert_eq!(found, expected);
    assert_eq!(desk.events(), 0);
}

#[tokio::test]
async fn lines_that_the_books_refuse_are_named_and_the_others_stand() {
    let (desk, files) = (desk(), Files::new());
    load(&desk, Kind::Accounts, &files.write("a.csv", ACCOUNTS)).await;
    let text = "id,from,to,amount,currency\n\
        1,max-checking,zoe-checking,4.00,MXN\n\
        2,max-checking,zoe-checking,7.00,MXN\n\
        3,max-checking,nobody,1.00,MXN\n\
        1,max-checking,zoe-checking,5.00,MXN\n\
        4,max-checking,zoe-checking,6.00,MXN\n";
    let report = load(&desk, Kind::Transactions, &files.write("t.csv", text)).await;
    let lines: Vec<_> = report.problems.iter().map(|p| (p.line, p.value.as_str())).collect();
    assert_eq!(lines, [(3, "2"), (4, "3"), (5, "1")]);
    assert_eq!(report.imported, 2);
    let max: AccountId = id("max-checking");
    assert_eq!(desk.balance(&max).await.0, 0);
    desk.verified().await;
}

#[tokio::test(start_paused = true)]
async fn a_file_that_was_cut_off_goes_on_in_its_order() {
    let files = Files::new();
    let world = paused_world(9);
    let log = Arc::new(SlowLog::new(&world));
    let bank = start(log.clone(), &world, BankConfig::default());
    open(&bank, "zoe", "checking", 1_000).await;
    open(&bank, "max", "checking", 1_000).await;
    // Max gives all he has and gets it back: each line needs the one before it, and all
    // of them more than one commit.
    let file = |name: &str, lines: std::ops::Range<u32>| {
        let mut text = "id,from,to,amount,currency\n".to_owned();
        for n in lines {
            let (from, to) = if n.is_multiple_of(2) { ("max", "zoe") } else { ("zoe", "max") };
            writeln!(text, "{n},{from}-checking,{to}-checking,10.00,MXN").expect("text");
        }
        files.write(name, &text)
    };
    for (path, imported, repeated) in [(file("part.csv", 0..3), 3, 0), (file("all.csv", 0..40), 37, 3)] {
        let report =
            import::import(&bank, &admin(), Kind::Transactions, &path, &mut |_| {}).await.expect("readable");
        assert_eq!(report.problems, []);
        assert_eq!((report.imported, report.repeated), (imported, repeated));
    }
    verified(&log.inner).await;
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused() {
    let (desk, files) = (desk(), Files::new());
    for name in ["a.xlsx", "none.csv"] {
        let path = if name == "a.xlsx" { files.write(name, "") } else { files.0.path().join(name) };
        let result = import::import(&desk.bank, &admin(), Kind::Accounts, &path, &mut |_| {}).await;
        assert!(result.expect_err("refused").code.starts_with("import."));
    }
}
