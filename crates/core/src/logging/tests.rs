use std::{
    io,
    sync::{Arc, Mutex},
};

use serde_json::{Value, json};

use super::*;

#[derive(Clone, Default)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("page").write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything logged by `speak`: each line, parsed.
fn logged(third_party: bool, speak: impl FnOnce()) -> Vec<Value> {
    let page = Page::default();
    let config = LogConfig { third_party, ..LogConfig::default() };
    let lines = JsonLines::new(page.clone(), &config, World::manual(1).0);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), speak);
    let bytes = page.0.lock().expect("page").clone();
    let text = String::from_utf8(bytes).expect("utf-8");
    text.lines().map(|line| serde_json::from_str(line).expect("a line is JSON")).collect()
}

/// Amounts, accounts, e-mail addresses, phone numbers and tokens, each in many spellings.
const CANARIES: &[&str] = &[
    "25,000.00",
    "$25,000",
    "25000.00",
    "25.000,00",
    "25 000.00",
    "25'000.00",
    "MXN 750",
    "750 MXN",
    "750MXN",
    "2500000",
    "２５０００００",
    "８,０００.００",
    "8000.0",
    "25\u{a0}000",
    "€90",
    "٢٥٠٠٠٠٠",
    "002180700512345678",
    "0021-8070-0512-3456-78",
    "4111 1111 1111 1111",
    "4111.1111.1111.1111",
    "MX12ABCD34567890123456",
    "ana@example.com",
    "ANA@EXAMPLE.COM",
    "ana%40example.com",
    "ana＠example.com",
    "ana(at)example.com",
    "ana at example.com",
    "ana at example dot com",
    "\"ana\\u0040example.com\"",
    "+52 55 1234 5678",
    "(55) 1234-5678",
    "5512345678",
    "55.12.34.56.78",
    "55\u{200b}1234\u{200b}5678",
    "+52/55/1234/5678",
    "tel:+525512345678",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl",
    "Bearer abcDEF",
    "authorization: hunter2",
    "password=hunter2",
    "api_key=hunter2",
    "sk-proj-abcdefgh",
    "sk_live_abcdefgh",
    "ghp_abcdefghijkl",
    "AKIAIOSFODNN7EXAMPLE",
    "3f786850e387550fdab836ed7e6dc881de23001b",
    "c2VjcmV0IHRva2VuIG9mIGFuYQ0123456789",
];

/// What identifies a canary, so that part of it does not slip through either.
fn hides(line: &str, canary: &str) -> bool {
    let bare = |text: &str| {
        let keep = |c: &char| c.is_alphanumeric();
        text.chars().map(scrub::plain).filter(keep).collect::<String>().to_lowercase()
    };
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    let (line, canary) = (bare(line), bare(canary));
    !line.contains(&canary) && (digits(&canary).len() < 4 || !line.contains(&digits(&canary)))
}

#[test]
fn the_scrubber_masks_every_spelling_of_every_canary() {
    for canary in CANARIES {
        for text in [(*canary).to_owned(), format!("Paid {canary} today."), format!("(x={canary};y)")] {
            let shown = scrub(&text);
            assert!(shown.contains("[masked]") && hides(&shown, canary), "{text:?} became {shown:?}");
        }
    }
}

#[test]
fn the_scrubber_leaves_ids_times_and_plain_words() {
    for text in [
        "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e",
        "12345678-1234-7123-8123-123456789012",
        "2026-11-21T09:30:00.250000Z",
        "turn 12 of run 0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e at 2026-11-21T09:30:00Z took 250 ms",
        "/api/v1/runs/{id}/signals/{name}",
        "bench.steps answered 404 on attempt 3",
        "idempotency_key_reused",
    ] {
        assert_eq!(scrub(text), text);
    }
}

#[test]
fn no_canary_gets_into_a_line_by_any_way() {
    #[derive(Debug)]
    #[allow(dead_code, reason = "read by Debug")]
    struct Order {
        status: &'static str,
    }
    for third_party in [false, true] {
        for canary in CANARIES {
            let lines = logged(third_party, || {
                let error = io::Error::other(*canary);
                let minor = 2_500_000_u64;
                tracing::info!(amount = canary, account = %canary, "A field that is not on the list.");
                tracing::info!(status = canary, run_id = ?canary, step = %canary, "A listed field.");
                tracing::info!(count = canary, listen = canary, version = canary, "A field of another kind.");
                tracing::info!(order = ?Order { status: canary }, status = ?Order { status: canary }, "Debug.");
                tracing::info!(error = &error as &dyn std::error::Error, code = %error, "An error.");
                tracing::info!(correlation_id = canary, id = minor, "Ids.");
                tracing::info!("Formatted: {canary}.");
                tracing::info!(message = canary);
                tracing::info!(target: "hyper::client", status = canary, "sent {canary}");
                tracing::info!(target: "steadfastly", "sent {canary}");
                let span = tracing::info_span!(
                    "s",
                    tenant = canary,
                    amount = canary,
                    run_id = tracing::field::Empty
                );
                span.record("run_id", canary);
                span.in_scope(|| tracing::info!("Within a span."));
            });
            assert_eq!(lines.len(), 11);
            for line in lines {
                let text = line.to_string();
                let text = text.replace("2026-01-01T00:00:00.000000Z", "");
                assert!(hides(&text, canary) && hides(&text, "2500000"), "{canary:?} is in {text}");
            }
        }
    }
}

#[test]
fn a_line_has_its_context_and_metrics_and_its_spans() {
    let lines = logged(false, || {
        let id = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";
        let span = tracing::info_span!("run", correlation_id = %id, workflow = "purchase", attempt = 1);
        span.in_scope(|| {
            tracing::warn!(run_id = %id, attempt = 2, duration_ms = 1_234_567.5, retryable = true, listen = "127.0.0.1:7400", version = "0.10.12", secret = 7, "A step failed.");
        });
    });
    let id = "0190f5a0-8c5e-7c3b-9d43-0f6a2b1c4d5e";
    assert_eq!(
        lines,
        [json!({
            "timestamp": "2026-01-01T00:00:00.000000Z",
            "level": "WARN",
            "message": "A step failed.",
            "component": "steadfast_core::logging::tests",
            "correlation_id": id,
            "context": {
                "run_id": id, "workflow": "purchase", "retryable": true, "listen": "127.0.0.1:7400",
                "version": "0.10.12", "secret": "[masked]",
            },
            "metrics": { "attempt": 2, "duration_ms": 1_234_567.5 },
        })]
    );
}

#[test]
fn a_message_of_ours_that_is_put_together_is_withheld_even_if_it_looks_harmless() {
    let name = "Zacarias";
    let lines = logged(false, || {
        tracing::info!("Sent to {name}.");
        tracing::info!(message = name);
    });
    for line in lines {
        assert_eq!(line["message"], "[formatted message withheld]");
    }
}

#[test]
fn third_party_messages_are_withheld_unless_asked_for() {
    let speak = || tracing::info!(target: "hyper::client", status = "ok", "connected to 10.20.30.40");
    let line = &logged(false, speak)[0];
    assert_eq!(line["message"], "third-party message withheld");
    assert_eq!(line["component"], "hyper::client");
    assert_eq!(line["context"], json!({}));
    let line = &logged(true, speak)[0];
    assert_eq!(line["message"], "connected to [masked]");
    assert_eq!(line["context"], json!({ "status": "ok" }));
}

#[test]
fn a_panic_logs_its_place_and_not_its_message() {
    let lines = logged(false, || {
        let before = std::panic::take_hook();
        install_panic_hook();
        let result = std::panic::catch_unwind(|| panic!("hunter2 of ana@example.com"));
        std::panic::set_hook(before);
        assert!(result.is_err());
    });
    assert_eq!(lines[0]["message"], "A thread panicked.");
    assert!(lines[0]["context"]["file"].as_str().expect("a file").ends_with("logging/tests.rs"));
    assert!(lines[0]["metrics"]["line"].is_u64());
    assert!(!lines[0].to_string().contains("hunter2"));
}

#[test]
fn setting_up_twice_or_with_a_bad_level_is_an_error() {
    let bad = LogConfig { level: "info,steadfast=loud".into(), ..LogConfig::default() };
    let world = World::manual(1).0;
    assert_eq!(init(&bad, &world), Err(LogError::Level(bad.level.clone())));
    let quiet = LogConfig { level: "off".into(), ..LogConfig::default() };
    assert_eq!(init(&quiet, &world), Ok(()));
    assert_eq!(init(&quiet, &world), Err(LogError::Installed));
}
