//! Amazon Bedrock: Converse for everything that is said, Titan for embeddings, and a
//! guardrail for both where one is configured.
//!
//! Clients' APIs reach Converse by way of Anthropic's messages, which it resembles. Requests
//! are signed as Amazon wants it, or carry a key of Bedrock's own; connections, waits and
//! limits are those of every provider.

mod embed;
mod errors;
mod frames;
mod guard;
mod sign;

use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Response, StatusCode, header::AUTHORIZATION};
use hyper::body::Incoming;
use steadfast_core::{World, config::Environment};

pub(crate) use frames::Frames;
use sign::Signer;

use super::{
    Order, Provider, ProviderError, Reply, by_messages,
    http::{Framing, Http, Manners},
};
use crate::{
    call::Operation,
    config::ProviderConfig,
    failure::{Class, Failed},
    wire::{
        Reader,
        translate::{Converse, StreamConverse, Through, converse_as_messages, to_converse},
    },
};

/// The longest name of a model.
const MODEL_MAX: usize = 2_048;

pub(super) struct Bedrock {
    http: Http,
    /// Nobody, where requests carry a key.
    signer: Option<Signer>,
    /// Id and version.
    guardrail: Option<(String, String)>,
    output_max: u64,
    world: World,
}

impl Bedrock {
    pub(super) fn new(
        name: &Arc<str>,
        config: &ProviderConfig,
        env: &Environment,
        world: &World,
    ) -> Result<Self, ProviderError> {
        let signer = Signer::new(name, config, env)?;
        let bedrock = &config.bedrock;
        if bedrock.region.is_empty() && (signer.is_some() || config.url.is_empty()) {
            return Err(ProviderError::NoRegion(name.to_string()));
        }
        let mut config = config.clone();
        if config.url.is_empty() {
            config.url = format!("https://bedrock-runtime.{}.amazonaws.com", config.bedrock.region);
        }
        let manners = Manners {
            url: "",
            key_header: AUTHORIZATION,
            headers: &[("accept", "*/*")],
            class: errors::class,
        };
        let bedrock = &config.bedrock;
        let guardrail = (bedrock.guardrail.clone(), bedrock.guardrail_version.clone());
        Ok(Self {
            http: Http::new(name, &config, &manners, env, world)?,
            signer,
            guardrail: Some(guardrail).filter(|(id, _)| !id.is_empty()),
            output_max: config.output_max.get().into(),
            world: world.clone(),
        })
    }
    /// Asks for one operation of the model.
    async fn post(&self, order: &Order<'_>, verb: &str, body: Bytes) -> Result<Response<Incoming>, Failed> {
        if order.model.len() > MODEL_MAX {
            return Err(Failed::new(Class::NoModel, "the model's name is too long"));
        }
        self.send(order, &format!("/model/{}/{verb}", encoded(order.model)), body).await
    }
    async fn send(&self, order: &Order<'_>, path: &str, body: Bytes) -> Result<Response<Incoming>, Failed> {
        let apis = (order.call.operation.api(), None);
        let to = self.http.address(path);
        let mut request = self.http.request(&to, body.clone(), &order.call.forwarded, apis);
        if let Some(signer) = &self.signer {
            signer.sign(&mut request, &body, self.world.now())?;
        }
        self.http.send(request, apis, order.deadline).await.map_err(|failed| match failed.status {
            // Its words name accounts and roles of ours.
            Some(StatusCode::FORBIDDEN) => Failed { body: None, ..failed },
            _ => failed,
        })
    }
    async fn answer(&self, order: Order<'_>) -> Result<Reply, Failed> {
        let call = order.call;
        if call.operation == Operation::Embeddings {
            return self.embed(&order).await;
        }
        let about = Converse {
            model: order.model,
            output_max: call.output_forced.or(call.asked.output_max),
            guardrail: self.guardrail.as_ref().map(|(id, version)| (&**id, &**version)),
        };
        let body = to_converse(&by_messages::asked(&order, self.output_max)?, &about)?;
        let verb = if call.asked.stream { "converse-stream" } else { "converse" };
        let response = self.post(&order, verb, body).await?;
        let created = self.world.now().seconds();
        if call.asked.stream {
            let first = StreamConverse::new(&call.id, order.model);
            let reader: Box<dyn Reader> = match call.operation {
                Operation::Messages => Box::new(first),
                _ => Box::new(Through { first, then: by_messages::reader(call, created) }),
            };
            let framing = Framing::Aws(Frames::default());
            return self.http.events(response, framing, reader, order.deadline).await.map(Reply::Stream);
        }
        let body = self.http.whole(response, order.deadline).await?;
        let message = converse_as_messages(&body, &call.id, order.model)?;
        by_messages::whole(call, message, created).map(|(body, usage)| Reply::Whole(body, usage))
    }
}

impl Provider for Bedrock {
    fn ask<'a>(&'a self, order: Order<'a>) -> BoxFuture<'a, Result<Reply, Failed>> {
        Box::pin(self.answer(order))
    }
}

/// `text` as one segment of a path.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.extend(["%", &hex::encode_upper([byte])]),
        }
    }
    out
}
