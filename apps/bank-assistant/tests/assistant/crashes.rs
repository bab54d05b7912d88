use std::sync::Arc;

use steadfast_bank_assistant::session::ReplyStatus::{Completed, NeedsConfirmation};
use steadfast_core::SessionId;
use steadfast_log::Mortal;

use crate::house::*;

/// More commits than a whole conversation makes.
const COMMITS: u64 = 26;

/// The node dies at a commit; the client sends again what was not acknowledged, as clients
/// do, and learns the outcome from the next node.
async fn survives(text: &str, refused: bool, moved: impl Fn(&str) -> i64) {
    for last_happens in [false, true] {
        for commits in 1..COMMITS {
            let at = format!("{text:?}, crash at commit {commits}, which happens: {last_happens}");
            let house = House::build().await;
            let request = house.request();
            let doomed = house.node_on(Arc::new(Mortal::new(house.log.clone(), commits, last_happens)));
            let session = {
                let mut marta = doomed.customer("marta");
                let crashing = async {
                    marta.send(request, text).await.expect("accepted");
                    let shown = marta.reply(request).await;
                    assert_eq!(shown.status, NeedsConfirmation, "{at}: {}", shown.text);
                    marta.confirm(request, true).await.expect("confirmed");
                    marta.reply(request).await;
                };
                let within = std::time::Duration::from_secs(60);
                let _ = tokio::time::timeout(within, crashing).await;
                marta.session
            };
            let node = house.node();
            let mut marta = node.customer("marta");
            match session {
                Some(session) => marta.resume(session).await,
                None => marta.send(request, text).await.expect("again"),
            }
            let mut reply = marta.reply(request).await;
            if reply.status == NeedsConfirmation {
                marta.confirm(request, true).await.expect("confirmed, or confirmed before");
                reply = marta.reply(request).await;
            }
            assert_eq!(reply.status == Completed, !refused, "{at}: {}", reply.text);
            for name in ["ana", "luis", "marta"] {
                assert_eq!(node.balance(name).await, moved(name), "{at}: {name}");
            }
            house.sleep(60).await;
            let after: Vec<_> = all_replies(&node, marta.session.expect("known")).await;
            let ends = after.iter().filter(|status| **status != NeedsConfirmation).count();
            assert_eq!(ends, 1, "{at}: the outcome is told once");
            house.books_are_right().await;
        }
    }
}

async fn all_replies(node: &Node, session: SessionId) -> Vec<steadfast_bank_assistant::session::ReplyStatus> {
    let tenant = steadfast_core::TenantId::default();
    let (replies, _) = node.conversations.replies(&tenant, session, 0).await.expect("readable");
    replies.into_iter().map(|(_, reply)| reply.status).collect()
}

#[tokio::test(start_paused = true)]
async fn g3_a_transfer_by_conversation_survives_a_crash_at_any_commit_and_moves_once() {
    survives("transfiere 500 pesos a luis", false, |name| match name {
        "marta" => 100_000,
        "luis" => 850_000,
        _ => 2_500_000,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn g3_a_purchase_by_conversation_survives_a_crash_at_any_commit_and_pays_once() {
    survives("compra un chocolate de mesa", false, |name| match name {
        "marta" => 137_100,
        "luis" => 800_000,
        _ => 2_500_000,
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn g4_a_refused_purchase_by_conversation_survives_a_crash_at_any_commit_and_ties_nothing_up() {
    survives("compra una bicicleta plegable", true, |name| match name {
        "marta" => 150_000,
        "luis" => 800_000,
        _ => 2_500_000,
    })
    .await;
}
