//! Whose account pays, and that none forgets.

use serde_json::json;
use steadfast_models::budget::Usd;
use steadfast_models_mock::{Mock, Plan};

use crate::harness::{Gateway, ask, route};

const CHAT: &str = "/v1/chat/completions";
/// A dollar a token in, two a token out.
const PRICE: &str = "[models.prices.m]\ninput = '1000000'\noutput = '2000000'\n";

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
