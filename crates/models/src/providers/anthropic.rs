//! Anthropic's messages.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderName;
use hyper::Uri;
use steadfast_core::{World, config::Environment};

use super::{
    Order, Provider, ProviderError, Reply, by_messages,
    http::{Framing, Http, Manners},
    status,
};
use crate::{call::Api, config::ProviderConfig, failure::Failed};

pub(super) struct Anthropic {
    http: Http,
    messages: Uri,
    output_max: u64,
    world: World,
}

impl Anthropic {
    pub(super) fn new(
        name: &Arc<str>,
        config: &ProviderConfig,
        env: &Environment,
        world: &World,
    ) -> Result<Self, ProviderError> {
        let manners = Manners {
            url: "https://api.anthropic.com/v1",
            key_header: HeaderName::from_static("x-api-key"),
            headers: &[("anthropic-version", "2023-06-01")],
            class: status::class,
        };
        let http = Http::new(name, config, &manners, env, world)?;
        Ok(Self {
            messages: http.address("/messages"),
            http,
            output_max: config.output_max.get().into(),
            world: world.clone(),
        })
    }
    async fn answer(&self, order: Order<'_>) -> Result<Reply, Failed> {
        let call = order.call;
        let body = by_messages::asked(&order, self.output_max)?;
        let apis = (call.operation.api(), Some(Api::Anthropic));
        let response = self.http.post(&self.messages, body, &call.forwarded, apis, order.deadline).await?;
        let created = self.world.now().seconds();
        if call.asked.stream {
            let reader = by_messages::reader(call, created);
            let events = self.http.events(response, Framing::default(), reader, order.deadline);
            return events.await.map(Reply::Stream);
        }
        let body = self.http.whole(response, order.deadline).await?;
        by_messages::whole(call, body, created).map(|(body, usage)| Reply::Whole(body, usage))
    }
}

impl Provider for Anthropic {
    fn ask<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Reply, Failed>> {
        Box::pin(self.answer(order))
    }
}
