//! OpenAI's API, and the many that speak it.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::AUTHORIZATION;
use hyper::Uri;
use serde_json::{Map, Value, json};
use steadfast_core::{World, config::Environment};

use super::{
    Order, Provider, ProviderError, Reply, edits,
    http::{Framing, Http, Manners},
    same_api, status,
};
use crate::{
    call::{Api, Operation},
    config::ProviderConfig,
    failure::Failed,
    wire::{
        self, Reader,
        edit::first_member,
        translate::{
            StreamAsMessages, StreamAsResponses, responses_to_chat, to_chat, whole_as_messages,
            whole_as_response,
        },
    },
};

pub(super) struct OpenAi {
    http: Http,
    chat: Uri,
    embeddings: Uri,
    transcriptions: Uri,
    /// If it has them.
    responses: Option<Uri>,
    legacy_max: bool,
    stream_usage: bool,
}

impl OpenAi {
    pub(super) fn new(
        name: &Arc<str>,
        config: &ProviderConfig,
        env: &Environment,
        world: &World,
    ) -> Result<Self, ProviderError> {
        let manners = Manners {
            url: "https://api.openai.com/v1",
            key_header: AUTHORIZATION,
            headers: &[],
            class: status::class,
        };
        let http = Http::new(name, config, &manners, env, world)?;
        Ok(Self {
            chat: http.address("/chat/completions"),
            embeddings: http.address("/embeddings"),
            transcriptions: http.address("/audio/transcriptions"),
            responses: config.responses.then(|| http.address("/responses")),
            http,
            legacy_max: config.legacy_max_tokens,
            stream_usage: config.stream_usage,
        })
    }
    /// Do we ask a stream for the usage although the client did not?
    fn asks_usage(&self, order: &Order<'_>) -> bool {
        let asked = &order.call.asked;
        self.stream_usage && asked.stream && !asked.usage_in_stream
    }
    fn chat_body(&self, order: &Order<'_>) -> Bytes {
        let call = order.call;
        let mut edits = same_api(order, self.legacy_max);
        if self.asks_usage(order) {
            match &call.asked.at.stream_options {
                None => {
                    let member = r#""stream_options":{"include_usage":true},"#;
                    edits.replace(first_member(&call.body), member);
                }
                Some(place) => {
                    let said = call.body.get(place.clone()).unwrap_or_default();
                    let mut options: Map<String, Value> = serde_json::from_slice(said).unwrap_or_default();
                    options.insert("include_usage".into(), json!(true));
                    edits.replace(place.clone(), Value::Object(options).to_string());
                }
            }
        }
        edits.apply(&call.body)
    }
    async fn answer(&self, order: Order<'_>) -> Result<Reply, Failed> {
        let call = order.call;
        let api = call.operation.api();
        let (to, body) = match call.operation {
            Operation::Chat => (&self.chat, self.chat_body(&order)),
            Operation::Embeddings => (&self.embeddings, same_api(&order, self.legacy_max).apply(&call.body)),
            Operation::Transcription => (&self.transcriptions, same_api(&order, false).apply(&call.body)),
            Operation::Messages => {
                let body = edits(&order, false).apply(&call.body);
                (&self.chat, to_chat(&body, order.model, self.legacy_max)?)
            }
            Operation::Responses => match &self.responses {
                Some(to) => (to, same_api(&order, false).apply(&call.body)),
                None => (
                    &self.chat,
                    responses_to_chat(&edits(&order, false).apply(&call.body), order.model, self.legacy_max)?,
                ),
            },
        };
        let apis = (api, Some(Api::OpenAi));
        let response = self.http.post(to, body, &call.forwarded, apis, order.deadline).await?;
        if call.asked.stream && call.operation != Operation::Embeddings {
            let reader: Box<dyn Reader> = match call.operation {
                Operation::Messages => Box::new(StreamAsMessages::default()),
                Operation::Responses if self.responses.is_some() => {
                    Box::new(wire::responses::PassThrough::default())
                }
                Operation::Responses => Box::new(StreamAsResponses::default()),
                Operation::Transcription => Box::new(wire::transcription::PassThrough::default()),
                Operation::Chat | Operation::Embeddings => {
                    Box::new(wire::chat::PassThrough::new(self.asks_usage(&order), call.asked.choices))
                }
            };
            let events = self.http.events(response, Framing::default(), reader, order.deadline);
            return events.await.map(Reply::Stream);
        }
        if call.asked.media_type.is_some() {
            let text = self.http.text(response, order.deadline).await?;
            return Ok(Reply::Whole(text, None));
        }
        let body = self.http.whole(response, order.deadline).await?;
        let (body, usage) = match call.operation {
            Operation::Chat => {
                let usage = wire::chat::read_whole(&body)?;
                (body, usage)
            }
            Operation::Embeddings => {
                let usage = wire::embeddings::read_whole(&body)?;
                (body, usage)
            }
            Operation::Transcription => {
                let usage = wire::transcription::read_whole(&body)?;
                (body, usage)
            }
            Operation::Responses if self.responses.is_some() => {
                let usage = wire::responses::read_whole(&body)?;
                (body, usage)
            }
            Operation::Responses => whole_as_response(&body)?,
            Operation::Messages => whole_as_messages(&body)?,
        };
        Ok(Reply::Whole(body, usage))
    }
}

impl Provider for OpenAi {
    fn ask<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Reply, Failed>> {
        Box::pin(self.answer(order))
    }
}
