use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use steadfast_resilience::Deadline;

use super::{Asker, Embedder};
use crate::{
    Call, Operation,
    admission::{Admission, Seat, Visitor},
    answer::{Answer, Body},
    books::{Books, Entry},
    call::CallOptions,
    rejected::Rejected,
    route::{Route, Routes},
};

/// Has questions embedded by a model of the gateway's own routes, on behalf of who asks them:
/// whoever's question it is pays, and waits for a place as for any call.
pub(crate) struct Asking {
    pub(crate) model: String,
    pub(crate) routes: Arc<Routes>,
    pub(crate) books: Arc<Books>,
    pub(crate) admission: Admission,
}

impl Asking {
    async fn ask(&self, asker: Asker<'_>, text: &str, deadline: &Deadline) -> Option<Vec<f32>> {
        #[derive(Deserialize)]
        struct Embedded {
            data: Vec<Point>,
        }
        #[derive(Deserialize)]
        struct Point {
            embedding: Vec<f32>,
        }
        let body = json!({ "model": self.model, "input": text }).to_string().into();
        let (none, caller) = (HeaderMap::new(), asker.call.caller.clone());
        let mut call = Call::read(asker.call.id.clone(), Operation::Embeddings, &none, body, caller).ok()?;
        let CallOptions { priority, budget, run, labels, .. } = asker.call.options.clone();
        call.options = CallOptions { priority, budget, run, labels, ..CallOptions::default() };
        let route = self.routes.find(&call)?;
        // It is recorded by itself, as of the asker's route, which limits look at.
        let of = asker.bill.map(|bill| bill.route());
        let mut entry = self.books.open(&call, Some(of.as_ref().unwrap_or(route.name())));
        let answer = self.answer(asker, call, route, deadline, &mut entry).await;
        let Body::Whole(bytes) = entry.finish(answer).ok()?.body else { return None };
        let embedded: Embedded = serde_json::from_slice(&bytes).ok()?;
        embedded.data.into_iter().next().map(|point| point.embedding)
    }
    async fn answer(
        &self,
        asker: Asker<'_>,
        call: Call,
        route: &Arc<Route>,
        deadline: &Deadline,
        entry: &mut Entry,
    ) -> Result<Answer, Rejected> {
        entry.reserve_for(asker.bill, &call, route.prospects(&call)).await?;
        let visitor = Visitor::of(&call, route.name());
        let (seat, queued) = Seat::take(&self.admission, visitor, deadline).await?;
        entry.seated(seat, queued);
        entry.intend().await?;
        self.routes.answer(route, &Arc::new(call), entry.bill(), deadline.clone()).await
    }
}

impl Embedder for Asking {
    fn embed<'a>(
        &'a self,
        asker: Asker<'a>,
        text: &'a str,
        deadline: &'a Deadline,
    ) -> BoxFuture<'a, Option<Vec<f32>>> {
        Box::pin(self.ask(asker, text, deadline))
    }
}
