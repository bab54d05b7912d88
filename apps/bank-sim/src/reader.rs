//! Whoever reads along: all events of the log, page by page over HTTP.

use std::sync::{Arc, Mutex, PoisonError};

use steadfast_core::Role;
use tokio::sync::oneshot;

use crate::{
    calls::{Answer, Call, Demand, perform},
    clients::Network,
    node::{Node, Request},
    wishes::OPERATOR,
};

/// The events that were read, in that order: their ids.
#[derive(Clone, Default)]
pub(crate) struct Reading(Arc<Mutex<Vec<String>>>);

impl Reading {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// So many answers are read, and then no more: the log goes on for longer than anyone reads.
const PAGES: u32 = 12;

/// Reads from the log's beginning, and goes on from where an answer ended.
pub(crate) async fn read(network: Network, reading: Reading) {
    let mut after: Option<String> = None;
    for _ in 0..PAGES {
        network.pause(20_000).await;
        let Some(answer) = page(&network, after.as_deref()).await.filter(Answer::ok) else { continue };
        let items = answer.body["items"].as_array().cloned().unwrap_or_default();
        let ids = items.iter().filter_map(|item| item["id"].as_str().map(str::to_owned));
        reading.0.lock().unwrap_or_else(PoisonError::into_inner).extend(ids);
        after = answer.body["next"].as_str().map(str::to_owned).or(after);
    }
}

async fn page(network: &Network, after: Option<&str>) -> Option<Answer> {
    let after = after.map(|after| format!("&after={after}")).unwrap_or_default();
    let call = Call::get(OPERATOR, format!("/api/v1/events?limit=200&wait=5{after}")).role(Role::Admin);
    let (reply, answer) = oneshot::channel();
    let (world, traffic) = (network.site.world.clone(), network.site.traffic.clone());
    let request: Request = Box::new(move |node: Node| {
        Box::pin(async move {
            if let Some(answer) = perform(node, Demand::Http(call), String::new(), world).await {
                let _ = reply.send(answer);
            }
            traffic.note();
        })
    });
    network.knock(request)?;
    answer.await.ok()
}
