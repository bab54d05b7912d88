use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderMap;
use serde::Deserialize;
use serde_json::json;
use steadfast_resilience::Deadline;

use super::Embedder;
use crate::{Call, Caller, Operation, answer::Body, route::Routes};

/// Has questions embedded by a model of the gateway's own routes.
pub(crate) struct Asking {
    model: String,
    routes: Arc<Routes>,
}

impl Asking {
    pub(crate) fn new(model: &str, routes: &Arc<Routes>) -> Self {
        Self { model: model.into(), routes: routes.clone() }
    }
    async fn ask(&self, text: &str, deadline: &Deadline) -> Option<Vec<f32>> {
        #[derive(Deserialize)]
        struct Embedded {
            data: Vec<Point>,
        }
        #[derive(Deserialize)]
        struct Point {
            embedding: Vec<f32>,
        }
        let body = json!({ "model": self.model, "input": text }).to_string().into();
        let none = HeaderMap::new();
        let call = Call::read("embed".into(), Operation::Embeddings, &none, body, Caller::default());
        let call = Arc::new(call.ok()?);
        let route = self.routes.find(&call)?;
        let answer = self.routes.answer(route, &call, deadline.clone()).await.ok()?;
        let Body::Whole(bytes) = answer.body else { return None };
        let embedded: Embedded = serde_json::from_slice(&bytes).ok()?;
        embedded.data.into_iter().next().map(|point| point.embedding)
    }
}

impl Embedder for Asking {
    fn embed<'a>(&'a self, text: &'a str, deadline: &'a Deadline) -> BoxFuture<'a, Option<Vec<f32>>> {
        Box::pin(self.ask(text, deadline))
    }
}
