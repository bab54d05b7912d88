//! Anthropic's messages.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::HeaderName;
use hyper::Uri;
use steadfast_core::{World, config::Environment};

use super::{
    Order, Provider, Reply, SetupError, edits,
    http::{Http, Manners},
    no_such, same_api,
};
use crate::{
    call::{Api, Operation},
    config::ProviderConfig,
    failure::Failed,
    wire::{
        self, Reader,
        translate::{
            StreamAsChat, StreamAsResponses, Through, responses_to_chat, to_messages, whole_as_chat,
            whole_as_response,
        },
    },
};

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
    ) -> Result<Self, SetupError> {
        let manners = Manners {
            url: "https://api.anthropic.com/v1",
            key_header: HeaderName::from_static("x-api-key"),
            headers: &[("anthropic-version", "2023-06-01")],
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
        let body = match call.operation {
            Operation::Messages => same_api(&order, false).apply(&call.body),
            Operation::Chat => {
                let body = edits(&order, false).apply(&call.body);
                to_messages(&body, order.model, self.output_max)?
            }
            Operation::Responses => {
                let body = edits(&order, false).apply(&call.body);
                let chat = responses_to_chat(&body, order.model, false)?;
                to_messages(&chat, order.model, self.output_max)?
            }
            Operation::Embeddings | Operation::Transcription => return Err(no_such(call.operation)),
        };
        let apis = (call.operation.api(), Api::Anthropic);
        let response = self.http.post(&self.messages, body, &call.forwarded, apis, order.deadline).await?;
        let created = self.world.now().seconds();
        if call.asked.stream {
            let reader: Box<dyn Reader> = match call.operation {
                Operation::Chat => Box::new(StreamAsChat::new(created, call.asked.usage_in_stream)),
                Operation::Responses => Box::new(Through {
                    chat: StreamAsChat::new(created, true),
                    then: StreamAsResponses::default(),
                }),
                _ => Box::new(wire::messages::PassThrough::default()),
            };
            return self.http.events(response, reader, order.deadline).await.map(Reply::Stream);
        }
        let body = self.http.whole(response, order.deadline).await?;
        let (body, usage) = match call.operation {
            Operation::Chat => whole_as_chat(&body, created)?,
            Operation::Responses => {
                let (chat, usage) = whole_as_chat(&body, created)?;
                (whole_as_response(&chat)?.0, usage)
            }
            Operation::Messages | Operation::Embeddings | Operation::Transcription => {
                let usage = wire::messages::read_whole(&body)?;
                (body, usage)
            }
        };
        Ok(Reply::Whole(body, usage))
    }
}

impl Provider for Anthropic {
    fn ask<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Reply, Failed>> {
        Box::pin(self.answer(order))
    }
}
