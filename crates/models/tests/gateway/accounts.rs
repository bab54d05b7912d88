//! Whose account pays, and that none forgets.

use serde_json::json;
use steadfast_models::Usd;
use steadfast_models_mock::{Mock, Plan};

use crate::harness::{Gateway, ask, env, read, route};

const CHAT: &str = "/v1/chat/completions";
/// A dollar a token in, two a token out.
const PRICE: &str = "[models.prices.m]\ninput = '1000000'\noutput = '2000000'\nthinks = 'never'\n";

async fn mock() -> Mock {
    Mock::start(Plan { chunks: 4, ..Plan::default() }).await.expect("runs")
}

fn limit(dollars: &str, more: &str) -> String {
    format!("[models.budget.limits.team]\nlimit = '{dollars}'\n{more}\n")
}

#[tokio::test]
async fn users_and_keys_of_the_same_name_in_other_tenants_pay_for_themselves() {
    let upstream = mock().await;
    for (per, who) in [("user", "test-user"), ("key", "test-key")] {
        let folder = tempfile::tempdir().expect("a folder");
        let config = route(&[&upstream], "") + PRICE + &limit("300", &format!("per = '{per}'"));
        let gateway = Gateway::recorded(&config, folder.path()).await;
        let asked = |tenant: &'static str, name: &'static str| {
            let headers = [("test-tenant", tenant), (who, name)];
            let headers = if name.is_empty() { headers[..1].to_vec() } else { headers.to_vec() };
            let gateway = &gateway;
            async move { gateway.send(CHAT, &headers, ask(false)).await }
        };
        for (tenant, name) in [("acme", "ana"), ("bank", "ana"), ("acme", ""), ("bank", "")] {
            assert_eq!(asked(tenant, name).await.status, 200, "{tenant} {name:?}");
            let refused = asked(tenant, name).await;
            assert_eq!(refused.status, 402, "{tenant} {name:?}");
            assert_eq!(refused.json()["error"]["figures"]["of"], json!(format!("{tenant}/{name}")));
        }
        let all = gateway.models.spending();
        let mut names: Vec<_> = all.iter().map(|it| &*it.of).collect();
        names.sort_unstable();
        assert_eq!(names, ["acme/", "acme/ana", "bank/", "bank/ana"]);
        // Summed up anew, they are the same.
        gateway.models.flush().await;
        gateway.stopped().await;
        let config = config.replace("'300'", "'300.5'") + "window = 'total'\n";
        let gateway = Gateway::recorded(&config, folder.path()).await;
        for (tenant, name) in [("acme", "ana"), ("bank", "ana"), ("acme", ""), ("bank", "")] {
            let headers = [("test-tenant", tenant), (who, name)];
            let headers = if name.is_empty() { &headers[..1] } else { &headers };
            assert_eq!(gateway.send(CHAT, headers, ask(false)).await.status, 402, "{tenant} {name:?}");
        }
        let anew = gateway.models.spending();
        assert_eq!(anew.len(), all.len());
        for it in all {
            assert!(anew.iter().any(|new| new.of == it.of && new.spent == it.spent), "{it:?} {anew:?}");
            assert!(it.spent > Usd::ZERO);
        }
    }
}

#[tokio::test]
async fn a_run_that_nobody_vouches_for_is_refused_with_a_step_and_without() {
    let upstream = mock().await;
    let gateway = Gateway::start(&route(&[&upstream], "")).await;
    let run = ("x-steadfast-run", "0192d5a0-0000-7000-8000-000000000001");
    for headers in [&[run][..], &[run, ("x-steadfast-step", "plan")]] {
        let refused = gateway.send(CHAT, headers, ask(false)).await;
        assert_eq!((refused.status.as_u16(), &refused.json()["error"]["param"]), (400, &json!(run.0)));
    }
    let named = ask(false).replacen('{', r#"{"metadata":{"steadfast-run":"mine"},"#, 1);
    assert_eq!(gateway.send(CHAT, &[], named).await.status, 400);
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test]
async fn who_asks_pays_for_the_embedding_that_finds_a_similar_answer() {
    let upstream = mock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let config = route(&[&upstream], "")
        + PRICE
        + "[models.routes.embed]\ntargets = [{ provider = 'p0' }]\n[models.prices.embed]\ninput = '1000000'\n\
           output = '0'\n[models.cache]\nchat.similar = true\nsimilar.model = 'embed'\n"
        + &limit("600", "per = 'user'\nroutes = ['m']\nwindow = 'total'");
    let gateway = Gateway::recorded(&config, folder.path()).await;
    let asked = async |words: &str| {
        let body =
            json!({ "model": "m", "max_tokens": 20, "messages": [{ "role": "user", "content": words }] });
        gateway.send(CHAT, &[("test-user", "ana")], body.to_string()).await
    };
    let mut statuses = Vec::new();
    for words in ["How do I raise my limit?", "how can I raise the limit"] {
        statuses.push(asked(words).await.header("x-steadfast-cache").to_owned());
    }
    assert_eq!(statuses, ["miss", "similar"]);
    let paths = || upstream.seen().iter().map(|it| it.path.clone()).collect::<Vec<_>>();
    assert_eq!(paths(), ["/v1/embeddings", CHAT, "/v1/embeddings"]);
    gateway.models.flush().await;
    let file =
        rusqlite::Connection::open(folder.path().join(steadfast_models::record::FILE)).expect("the file");
    let one = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a row");
    let embeddings =
        "operation = 'embeddings' AND user = 'ana' AND route = 'm' AND model = 'embed' AND cost > 0";
    assert_eq!(one(&format!("SELECT count(*) FROM calls WHERE {embeddings}")), 2);
    let spent = &gateway.models.spending()[0];
    assert_eq!(
        (i64::try_from(spent.spent.nanos()), spent.reserved),
        (Ok(one("SELECT sum(cost) FROM calls")), Usd::ZERO)
    );

    // What does not fit into the limit is not embedded either.
    let long = "please ".repeat(120);
    assert_eq!(asked(&long).await.status, 402);
    assert_eq!(upstream.calls(), 3);
}

#[tokio::test]
async fn a_limit_that_was_off_for_a_while_counts_what_was_spent_meanwhile() {
    let upstream = mock().await;
    let plain = route(&[&upstream], "") + PRICE;
    let limited = plain.clone() + &limit("100000", "window = 'total'");
    for restart in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut gateway = Gateway::recorded(&limited, folder.path()).await;
        let mut seen = Vec::new();
        for config in [&limited, &plain, &limited, &plain, &limited] {
            if restart {
                gateway.models.flush().await;
                gateway.stopped().await;
                gateway = Gateway::recorded(config, folder.path()).await;
            } else {
                gateway.current.reload(read(config), &env()).expect("reads");
            }
            assert_eq!(gateway.chat(false).await.status, 200);
            let models = gateway.current.get();
            assert!(models.flush().await);
            seen.extend(models.spending().first().filter(|_| config == &limited).map(|it| it.spent));
        }
        let one = seen[0].nanos();
        assert_eq!(seen.iter().map(|it| it.nanos() / one).collect::<Vec<_>>(), [1, 3, 5], "{restart}");
    }
}

#[tokio::test]
async fn without_records_days_are_summed_up_and_a_disk_that_comes_back_is_written_again() {
    let (upstream, folder) = (mock().await, tempfile::tempdir().expect("a folder"));
    let config = route(&[&upstream], "") + PRICE + "[models.records]\nenabled = false\n";
    let gateway = Gateway::recorded(&(config + &limit("1000", "window = 'total'")), folder.path()).await;
    let path = folder.path().join(steadfast_models::record::FILE);
    let file = rusqlite::Connection::open(path).expect("the file");
    file.execute_batch("ALTER TABLE accounts RENAME TO away").expect("renamed");
    assert_eq!(gateway.chat(false).await.status, 503);
    file.execute_batch("ALTER TABLE away RENAME TO accounts").expect("renamed");
    assert!(gateway.models.flush().await);
    assert_eq!(gateway.chat(false).await.status, 200);
    assert!(gateway.models.flush().await);
    let one = |sql: &str| file.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a row");
    let spent = gateway.models.spending()[0].spent.nanos();
    assert_eq!(u64::try_from(one("SELECT sum(cost) FROM days")), Ok(spent));
    assert_eq!((one("SELECT sum(calls) FROM days"), one("SELECT count(*) FROM calls")), (2, 0));
}
